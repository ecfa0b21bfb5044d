//! What ten thousand containers' names cost: a lookup, the walk at start-up, and memory. `cargo xtask bench names`; the exit
//! status is 1 where a goal is missed.
//!
//! In a machine of its own (`OOMTRACE_VM`) the walk is one of real cgroups, else of folders in memory.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env, fs,
    hint::black_box,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use oomtrace::{
    event::{Cgroup, Container, ContainerAction, ContainerChange, ContainerId, Event, Pod, PodUid},
    node::{
        cgroup_path::CgroupIdentity,
        fact::{ContainerFact, Fact, NameSource, PodFact},
        index::{Bounds, Index},
        names::cgroups,
    },
};

const CONTAINERS: u32 = 10_000;
/// Of each pod two containers and a sandbox.
const PER_POD: u32 = 3;

const LOOKUP: Duration = Duration::from_micros(1);
const WALK: Duration = Duration::from_millis(100);
const MEMORY: usize = 6 << 20;

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn uid(number: u32) -> Result<PodUid> {
    Ok(format!("{number:08x}-23d2-4099-bf62-d501a2753c91").parse()?)
}

fn id(number: u32) -> Result<ContainerId> {
    Ok(format!("{number:064x}").parse()?)
}

fn path(number: u32) -> Result<String> {
    let pod = uid(number / PER_POD)?.to_string().replace('-', "_");
    Ok(format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod}.slice/cri-containerd-{}.scope",
        id(number)?
    ))
}

fn facts(number: u32) -> Result<[Fact; 3]> {
    let pod = number / PER_POD;
    let labels = [("app", "web"), ("pod-template-hash", "5d5f7b9c6d"), ("tier", "front")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    Ok([
        Fact::Cgroup { id: u64::from(number) + 1000, path: path(number)? },
        Fact::Pod(PodFact {
            namespace: Some(format!("namespace-{}", pod % 20)),
            name: Some(format!("deployment-{}-5d5f7b9c6d-{pod:05}", pod % 100)),
            labels: Some(labels),
            ..PodFact::new(NameSource::Cri, uid(pod)?)
        }),
        Fact::Container(ContainerFact {
            pod: Some(uid(pod)?),
            name: Some(format!("container-{}", number % PER_POD)),
            image: Some(format!("registry.example/team/image-{}:v1.2.3", number % 300)),
            restart_count: Some(number % 5),
            limit_bytes: Some(512 << 20),
            ..ContainerFact::new(NameSource::Cri, id(number)?)
        }),
    ])
}

/// An event as the probes make it.
fn event(number: u32) -> Result<Event> {
    let path = path(number)?;
    let identity = CgroupIdentity::parse(&path);
    let pod = Pod { uid: identity.pod_uid, qos: identity.qos, ..Pod::default() };
    let container = Container { id: identity.container_id, ..Container::default() };
    let cgroup = Cgroup { path: Some(path), id: Some(u64::from(number) + 1000), ..Cgroup::default() };
    let change = ContainerChange {
        pod: Some(pod),
        container: Some(container),
        cgroup: Some(cgroup),
        ..ContainerChange::new(ContainerAction::Died)
    };
    Ok(Event::Container(Box::new(change)))
}

/// The events of all containers, in an order that is not the index's.
fn events() -> Result<Vec<Event>> {
    (0..CONTAINERS).map(|number| event(number * 7919 % CONTAINERS)).collect()
}

/// Names into each event: how long one takes, and how many still lack a name.
fn fill(index: &Index, events: &mut [Event]) -> (Duration, usize) {
    let started = Instant::now();
    let missing = events.iter_mut().map(|event| index.fill(black_box(event))).filter(|missing| *missing).count();
    (started.elapsed() / CONTAINERS, missing)
}

/// Makes the folder of a cgroup. Of real ones each parent gives its children the memory controller, without which there
/// are hardly any files to be listed.
fn make(root: &Path, path: &str) -> Result<()> {
    let mut folder = root.to_path_buf();
    for name in Path::new(path.trim_start_matches('/')) {
        let control = folder.join("cgroup.subtree_control");
        folder.push(name);
        if !folder.is_dir() {
            if control.exists() {
                fs::write(&control, "+memory +pids").with_context(|| control.display().to_string())?;
            }
            fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        }
    }
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

fn mib(bytes: usize) -> Result<f64> {
    Ok(f64::from(u32::try_from(bytes)?) / f64::from(1 << 20))
}

fn main() -> Result<ExitCode> {
    let bounds = Bounds { entries: CONTAINERS as usize, ..Bounds::default() };
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut index = Index::new(bounds);
    for number in 0..CONTAINERS {
        for fact in facts(number)? {
            index.learn(fact, 0);
        }
    }
    let memory = ALLOCATED.load(Ordering::Relaxed) - before;

    let mut events = events()?;
    let (filled, missing) = fill(&index, &mut events);
    // Now that the events have all texts, it is the search alone.
    let (lookup, _) = fill(&index, &mut events);

    let in_memory = tempfile::Builder::new().prefix("oomtrace-names-").tempdir_in("/dev/shm")?;
    let (root, what) = match env::var_os("OOMTRACE_VM") {
        Some(_) => (Path::new("/sys/fs/cgroup"), "real cgroups"),
        None => (in_memory.path(), "folders in memory"),
    };
    for number in 0..CONTAINERS {
        make(root, &path(number)?)?;
    }
    let (found, walk) = timed(|| cgroups::walk(root));
    let cgroups = found.len();
    let mut empty = Index::new(bounds);
    let ((), learn) = timed(|| found.into_iter().for_each(|fact| empty.learn(fact, 0)));

    let known = empty.containers();
    println!("containers             {CONTAINERS}, {missing} without a name; {known} found among {cgroups} cgroups");
    println!("memory of the index    {:.2} MiB (goal: below {:.0} MiB)", mib(memory)?, mib(MEMORY)?);
    println!("lookup                 {lookup:?} (goal: below {LOOKUP:?})");
    println!("lookup, texts into an event {filled:?}");
    println!("walk at start-up       {walk:?}, {what} (goal: below {WALK:?})");
    println!("taking it into an index {learn:?}");
    let met = (missing, known) == (0, CONTAINERS as usize) && memory < MEMORY && lookup < LOOKUP && walk + learn < WALK;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
