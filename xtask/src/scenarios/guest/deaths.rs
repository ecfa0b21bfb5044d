//! The deaths, and what is to be said of each.

use std::fs;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::pod::{MIB, container, killed_by, kubepods, limit, pod, start, start_logged};

/// How a death comes about.
pub(super) enum Death {
    /// Here and now.
    Made(fn() -> Result<()>),
    /// The same, with a program that may not be there.
    MadeWith(&'static str, fn() -> Result<()>),
    /// On a node, some time ago: what to give `oomtrace timeline` of what was recorded there.
    Recorded(&'static [&'static str]),
    /// The same, reported to a running oomtrace: the kubelet's log in this folder grows as fast as it did there.
    Replayed(&'static str),
}

/// What is to be said of it.
pub(super) struct Expected {
    pub(super) scenario: &'static str,
    /// Of the verdict's modifiers those that are certain here.
    pub(super) modifiers: &'static [(&'static str, bool)],
    pub(super) incidents: usize,
}

const fn one(scenario: &'static str, modifiers: &'static [(&'static str, bool)]) -> Expected {
    Expected { scenario, modifiers, incidents: 1 }
}

/// Each with its name. The node's own end comes last: whatever else runs then may be its victim.
pub(super) const ALL: &[(&str, Death, Expected)] = &[
    (
        "a container over its limit",
        Death::Made(over_its_limit),
        one("container_limit", &[("invisible", false), ("group_kill", false)]),
    ),
    (
        "the only container of a pod, over the pod's limit",
        Death::Made(only_container),
        one("container_limit", &[("invisible", false)]),
    ),
    ("a child, while the first process lives", Death::Made(child), one("container_limit", &[("invisible", true)])),
    (
        "all of a container at once",
        Death::Made(group),
        one("container_limit", &[("group_kill", true), ("invisible", false)]),
    ),
    ("two containers over their pod's limit", Death::Made(two_containers), one("pod_limit", &[("invisible", false)])),
    ("pods over allocatable, fast", Death::Made(all_pods), one("allocatable_oom", &[])),
    ("a runtime that gives up below the limit", Death::Made(refused), one("runtime_refused", &[])),
    (
        "Node.js at the limit of its own heap",
        Death::MadeWith("/usr/bin/node", node_heap),
        one("runtime_refused", &[("invisible", false)]),
    ),
    ("killed by a process", Death::Made(killed), one("killed", &[])),
    ("a crash", Death::Made(crashed), one("crashed", &[])),
    (
        "pods over allocatable, slowly (kubelet 1.20)",
        Death::Recorded(&["--kubelet-log", "RECORDINGS/evict-1.20-systemd/kubelet.log.zst"]),
        one("allocatable_evicted", &[]),
    ),
    (
        "pods over allocatable, slowly (kubelet 1.36)",
        Death::Recorded(&[
            "--kubelet-log",
            "RECORDINGS/evict-1.36-systemd/kubelet.journal.json.zst",
            "--kubelet-metrics",
            "RECORDINGS/evict-1.36-systemd/metrics-evict.txt",
        ]),
        Expected { scenario: "allocatable_evicted", modifiers: &[], incidents: 2 },
    ),
    (
        "pods over allocatable, slowly, as it happens",
        Death::Replayed("evict-1.20-systemd"),
        one("allocatable_evicted", &[]),
    ),
    (
        "a node short of memory (kubelet 1.36, its counter set)",
        Death::Recorded(&[
            "--kubelet-log",
            "RECORDINGS/evict-1.36-systemd/kubelet.log.zst",
            "--kubelet-metrics",
            super::NODE_PRESSURE,
        ]),
        Expected { scenario: "node_pressure_evicted", modifiers: &[], incidents: 2 },
    ),
    ("a node out of memory", Death::Made(node), one("system_oom", &[("invisible", false)])),
];

/// A leak that exceeds any limit here.
const LEAK: &str = "exec oomtrace leak --block 4MiB --every 20ms --max 300MiB";

fn over_its_limit() -> Result<()> {
    let container = container(1, 1)?;
    limit(&container, 24 * MIB)?;
    killed_by(start(&container, LEAK)?.wait()?, Signal::KILL)
}

/// The kubelet gives a pod the sum of its containers' limits, and the kernel names the uppermost cgroup that is full.
fn only_container() -> Result<()> {
    let container = container(2, 1)?;
    limit(&container, 24 * MIB)?;
    limit(&pod(2)?, 24 * MIB)?;
    killed_by(start(&container, LEAK)?.wait()?, Signal::KILL)
}

fn child() -> Result<()> {
    let container = container(3, 1)?;
    limit(&container, 24 * MIB)?;
    start(&container, &format!("{LEAK} --child --hold"))?.wait_for_kill()
}

fn group() -> Result<()> {
    let container = container(4, 1)?;
    limit(&container, 32 * MIB)?;
    fs::write(container.join("memory.oom.group"), "1")?;
    killed_by(start(&container, &format!("{LEAK} --children 2 --hold"))?.wait()?, Signal::KILL)
}

fn two_containers() -> Result<()> {
    limit(&pod(5)?, 48 * MIB)?;
    let holds = start(&container(5, 1)?, "exec oomtrace leak --block 4MiB --every 1ms --max 24MiB")?;
    holds.wait_for_use(24 * MIB)?;
    killed_by(start(&container(5, 2)?, LEAK)?.wait()?, Signal::KILL)
}

fn all_pods() -> Result<()> {
    limit(&kubepods()?, 64 * MIB)?;
    let holds = start(&container(6, 1)?, "exec oomtrace leak --block 4MiB --every 1ms --max 24MiB")?;
    holds.wait_for_use(24 * MIB)?;
    killed_by(start(&container(7, 1)?, LEAK)?.wait()?, Signal::KILL)
}

/// What a runtime does that has a heap limit of its own: asks, is refused, says so, and exits.
fn refused() -> Result<()> {
    let container = container(8, 1)?;
    limit(&container, 256 * MIB)?;
    let status = start(&container, &format!("ulimit -v 65536 && {LEAK}"))?.wait()?;
    ensure!(status.code() == Some(1), "it ended with {status} instead of giving up");
    Ok(())
}

/// What Node.js does by itself at its old space's limit: it says so on standard error, and aborts. The kernel refuses nothing.
fn node_heap() -> Result<()> {
    let container = container(12, 1)?;
    limit(&container, 256 * MIB)?;
    let leak =
        "exec node --max-old-space-size=32 -e 'const kept = []; for (;;) kept.push(new Array(100000).fill(1.5));'";
    let status = start_logged(&container, "default", "shop-0", "app", leak)?.wait()?;
    ensure!(!status.success(), "it ended well instead of giving up");
    Ok(())
}

fn killed() -> Result<()> {
    let container = container(9, 1)?;
    limit(&container, 64 * MIB)?;
    let running = start(&container, "exec oomtrace leak --block 4MiB --every 1ms --max 16MiB")?;
    running.wait_for_use(16 * MIB)?;
    running.signal(Signal::KILL)?;
    killed_by(running.wait()?, Signal::KILL)
}

fn crashed() -> Result<()> {
    let container = container(10, 1)?;
    limit(&container, 64 * MIB)?;
    killed_by(start(&container, "exec scenes in-guest fault")?.wait()?, Signal::SEGV)
}

fn node() -> Result<()> {
    let container = container(11, 1)?;
    killed_by(start(&container, "exec oomtrace leak --block 16MiB --every 1ms --max 8GiB")?.wait()?, Signal::KILL)
}
