//! Names of containers that are there for a moment only, faster than an emulated runtime can make them: real cgroups, with a
//! real process that the kernel kills, made and removed one after the other. Only the names' source is the test's own, a
//! different one in each test; each is as short-lived as the container, or as a node keeps it.
//!
//! How fast that goes depends on the machine, so nothing is said of it here, but in a guest whose clock counts instructions
//! ([`TIMED`]): a thousand in a microsecond, of one processor, whatever the machine outside is busy with. There it is 20
//! containers a second and more, each of them gone within 10 ms of its kill.
//!
//! What a real runtime does, at the rate that it reaches in emulation, is in [`runtime`](crate::runtime).

mod cri_server;
mod files;
mod lives;

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use self::{
    cri_server::CriServer,
    files::{Bundles, Links},
    lives::{Ended, Life, Source, live},
};
use crate::{
    Outcome, check_eq,
    oomtrace::{Oomtrace, of_kind},
    scenarios::{Scenario, after},
};

pub(crate) const ALL: &[Scenario] = &[
    ("of_containers_gone_within_milliseconds_a_runtimes_events_name_each", || by_events(24)),
    ("a_runtime_without_events_is_asked_about_each_container", || by_questions(24)),
    ("links_to_logs_alone_name_each_container", || by_links(24)),
    ("names_that_were_learnt_before_a_kill_are_reported_when_nothing_is_left_to_be_asked", frozen),
];

/// In a guest whose clock counts instructions.
pub(crate) const TIMED: &[Scenario] = &[
    ("of_100_containers_gone_within_milliseconds_at_20_a_second_a_runtimes_events_name_each", || by_events(100)),
    ("of_100_containers_gone_within_milliseconds_at_20_a_second_the_runtimes_files_name_each", || by_bundles(100)),
    ("a_runtime_without_events_is_asked_about_each_of_40_containers_at_20_a_second", || by_questions(40)),
    ("links_to_logs_alone_name_each_of_40_containers_at_20_a_second", || by_links(40)),
    ("a_container_removed_within_10_ms_is_named_though_nothing_is_left_to_be_asked", frozen),
];

const SOCKET: &str = "/tmp/cri.sock";
/// No socket, and a node without files.
const NOWHERE: &str = "/nowhere";
/// So soon after its kill is a container gone that is removed at once.
const AT_ONCE: Duration = Duration::from_millis(10);
/// A second.
const RATE: f64 = 20.0;

fn timed() -> bool {
    env::var("OOMTRACE_VM_CLOCK").is_ok_and(|clock| clock == "instructions")
}

/// The runtime reports a container when it is made, and forgets it as soon as its cgroup is gone: containerd from 2.0, CRI-O.
fn by_events(wanted: u32) -> Outcome {
    let server = CriServer::start(SOCKET, true)?;
    all_are_named(wanted, &["--cri-endpoint", SOCKET, "--host-root", NOWHERE], &server)
}

/// The runtime is asked when the cgroup is seen to be made: containerd 1.x. It has the dead listed until a kubelet, seconds
/// later, has them removed.
fn by_questions(wanted: u32) -> Outcome {
    let server = CriServer::start(SOCKET, false)?;
    all_are_named(wanted, &["--cri-endpoint", SOCKET, "--host-root", NOWHERE], &server.keeping_the_dead())
}

/// The runtime's `config.json` is there shortly before the cgroup, and goes right after it. A late reader finds nothing.
fn by_bundles(wanted: u32) -> Outcome {
    all_are_named(wanted, &["--cri-endpoint", NOWHERE], &Bundles)
}

/// The kubelet's link is made after the container's start, and stays until a kubelet, seconds later, removes it.
fn by_links(wanted: u32) -> Outcome {
    let links = Links::in_folder("/tmp/links")?;
    all_are_named(wanted, &["--cri-endpoint", NOWHERE, "--host-root", links.root()], &links)
}

fn all_are_named(wanted: u32, arguments: &[&str], source: &dyn Source) -> Outcome {
    // A machine may take long for what it is asked.
    let patience: &[&str] = if timed() { &[] } else { &["--name-wait", "10s"] };
    let oomtrace = Oomtrace::start(&[arguments, patience].concat())?;
    source.is_heard()?;
    let lived = live(wanted, source)?;
    if !timed() {
        // What is not named when oomtrace ends stays so. A runtime that was asked too early is asked again within 3 s.
        thread::sleep(Duration::from_secs(6));
    }
    let lines = oomtrace.stop()?;
    source.end()?;
    let kills: HashMap<_, _> =
        of_kind(&lines, "oom_kill").into_iter().map(|kill| (kill["container"]["id"].as_str(), kill)).collect();
    let mut after_kill = Vec::new();
    let mut unnamed = Vec::new();
    for Ended { life, gone_ns } in &lived.ended {
        let id = life.id();
        let kill = kills.get(&Some(id.as_str())).with_context(|| format!("no kill in {}", life.name()))?;
        after_kill.push(after(kill, *gone_ns)?);
        if kill["container"]["name"].is_null() || kill["pod"]["name"].is_null() {
            unnamed.push(life.number);
        } else {
            check_names(kill, *life, source)?;
            check_names(&kill["victim"], *life, source)?;
        }
    }
    after_kill.sort_unstable();
    let at_once = after_kill.iter().filter(|after| **after <= AT_ONCE).count();
    println!(
        "{} containers in {:?}: {:.1} a second; gone {:?} (the quickest), {:?} (half), {:?} (all) after the kill, {at_once} \
         within {AT_ONCE:?}",
        lived.ended.len(),
        lived.took,
        lived.rate(),
        after_kill[0],
        after_kill[after_kill.len() / 2],
        after_kill[after_kill.len() - 1],
    );
    ensure!(unnamed.is_empty(), "of {wanted} containers these have no names: {unnamed:?}");
    if !timed() {
        return Ok(());
    }
    ensure!(lived.rate() >= RATE, "only {:.1} containers a second", lived.rate());
    // That is how they were meant to live; now and then one is held up, and then it is no less named.
    ensure!(at_once * 10 >= after_kill.len() * 9, "only {at_once} are gone within {AT_ONCE:?} of their kills");
    Ok(())
}

fn check_names(what: &Value, life: Life, source: &dyn Source) -> Outcome {
    check_eq!(what["pod"]["namespace"], "shop", "the namespace of {}", life.name());
    check_eq!(what["pod"]["name"], life.pod_name(), "the pod of {}", life.name());
    check_eq!(what["pod"]["uid"], life.uid(), "the pod's uid of {}", life.name());
    check_eq!(what["container"]["name"], life.name(), "the container");
    if source.knows_restarts() {
        check_eq!(what["container"]["restart_count"], life.restarts(), "the restarts of {}", life.name());
    }
    Ok(())
}

/// oomtrace does not run from before the kill until the cgroup, the runtime's word and every file are gone.
fn frozen() -> Outcome {
    let logs = Links::in_folder("/tmp/frozen")?;
    let oomtrace = Oomtrace::start(&["--cri-endpoint", NOWHERE, "--host-root", logs.root()])?;
    let life = Life { number: 900 };
    let container = life.make(&logs)?;
    // Its logs' link is read by now.
    thread::sleep(Duration::from_secs(1));
    oomtrace.signal(libc::SIGSTOP)?;
    let Ended { gone_ns, .. } = container.die(&logs)?;
    fs::remove_dir_all(logs.root())?;
    ensure!(!Path::new(logs.root()).exists(), "its files are still there");
    oomtrace.signal(libc::SIGCONT)?;
    let lines = oomtrace.stop()?;
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 1, "kills");
    let after_kill = after(kills[0], gone_ns)?;
    println!("gone {after_kill:?} after the kill");
    ensure!(!timed() || after_kill <= AT_ONCE, "it is gone {after_kill:?} after its kill only");
    check_names(kills[0], life, &logs)?;
    let named: HashSet<_> = of_kind(&lines, "process_exit").iter().map(|exit| exit["pod"]["name"].clone()).collect();
    check_eq!(named, HashSet::from([Value::from(life.pod_name())]), "pods of ends");
    Ok(())
}
