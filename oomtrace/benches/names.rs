//! What ten thousand containers' names cost: a lookup, the walk at start-up, and memory. `cargo bench --bench names`; the
//! exit status is 1 where a goal is missed.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    hint::black_box,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::Result;
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

fn main() -> Result<ExitCode> {
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut index = Index::new(Bounds { entries: CONTAINERS as usize, keep: Duration::from_mins(10) });
    for number in 0..CONTAINERS {
        for fact in facts(number)? {
            index.learn(fact, 0);
        }
    }
    let memory = ALLOCATED.load(Ordering::Relaxed) - before;

    let mut events = (0..CONTAINERS).map(event).collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let missing = events.iter_mut().map(|event| index.fill(black_box(event))).filter(|missing| *missing).count();
    let lookup = started.elapsed() / CONTAINERS;

    let root = tempfile::Builder::new().prefix("oomtrace-names-").tempdir_in("/dev/shm")?;
    for number in 0..CONTAINERS {
        fs::create_dir_all(root.path().join(&path(number)?[1..]))?;
    }
    let started = Instant::now();
    let found = cgroups::walk(root.path()).len();
    let walk = started.elapsed();

    println!("containers          {CONTAINERS}, {missing} without a name, {found} cgroups of pods and containers");
    println!(
        "memory of the index {:.2} MiB (goal: below {} MiB)",
        f64::from(u32::try_from(memory)?) / f64::from(1 << 20),
        MEMORY >> 20
    );
    println!("names into an event {lookup:?} (goal: below {LOOKUP:?})");
    println!("walk at start-up    {walk:?} (goal: below {WALK:?})");
    let met = missing == 0 && memory < MEMORY && lookup < LOOKUP && walk < WALK;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
