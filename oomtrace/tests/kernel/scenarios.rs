//! What the tests have in common: what they are, and what nearly each of them does.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde_json::Value;

use crate::{
    Outcome,
    cgroup::{self, Cgroup},
    oomtrace::of_kind,
    workload,
};

/// Where a guest has the manifests.
pub(crate) const MANIFESTS: &str = "/vm/deployed/manifests.json";

/// A test and what it says about the world.
pub(crate) type Scenario = (&'static str, fn() -> Outcome);

/// Whether a scenario can be had on the version of cgroups here. What v1 lacks: `memory.oom.group`, `memory.high`, and kills by a
/// limit that is lowered, which v1 refuses to lower then. What v2 lacks: `oom_kill_disable`.
pub(crate) fn possible(name: &str) -> bool {
    let (only_v2, only_v1) = (["group_kill", "memory_high", "limit_set_below"], ["frozen_instead_of_killed"]);
    // The manifests are read by a tool that the machine outside may not have.
    if name.contains("as_the_manifest_says") && !Path::new(MANIFESTS).exists() {
        return false;
    }
    let missing: &[&str] = if cgroup::is_v1() { &only_v2 } else { &only_v1 };
    !missing.iter().any(|what| name.contains(what))
}

/// Runs a workload in a cgroup until it is dead.
pub(crate) fn run_to_death(what: &str, cgroup: &Cgroup) -> Outcome {
    let status = workload::start(what, &cgroup.procs())?.wait()?;
    ensure!(!status.success(), "the workload {what} was not killed");
    Ok(())
}

/// This process, which the kernel does not kill meanwhile. What it starts is not killed either: `eat-killable` is.
pub(crate) struct Spared(());

impl Spared {
    pub(crate) fn new() -> Result<Self> {
        fs::write("/proc/self/oom_score_adj", "-1000")?;
        Ok(Self(()))
    }
}

impl Drop for Spared {
    fn drop(&mut self) {
        let _ = fs::write("/proc/self/oom_score_adj", "0");
    }
}

/// The one line of a kind.
pub(crate) fn only<'a>(lines: &'a [Value], kind: &str) -> Result<&'a Value> {
    let found = of_kind(lines, kind);
    ensure!(found.len() == 1, "{} lines of kind {kind} instead of one: {lines:#?}", found.len());
    Ok(found[0])
}

/// Nanoseconds of `CLOCK_BOOTTIME`: the clock of events.
pub(crate) fn boot_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    u64::try_from(tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(tv_nsec).unwrap_or(0)
}

/// From the kill, by its own time, to this one.
pub(crate) fn after(kill: &Value, boot_ns: u64) -> Result<Duration> {
    let killed_ns = kill["boot_ns"].as_u64().context("a kill without time")?;
    Ok(Duration::from_nanos(boot_ns.checked_sub(killed_ns).context("it is before the kill")?))
}
