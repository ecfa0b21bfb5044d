//! What could be lost, or told in the wrong time.

use std::{thread, time::Duration};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::json;

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    check_eq,
    kernel_log::KernelLog,
    oomtrace::{Oomtrace, of_kind},
    scenarios::{Scenario, run_to_death},
    workload,
};

pub(crate) const ALL: &[Scenario] = &[
    ("of_200_kills_in_a_burst_none_is_lost_where_the_kernels_log_loses_some", burst),
    ("what_does_not_fit_the_ring_is_counted_and_told", ring_full),
    ("a_kill_after_a_step_of_the_clock_is_told_in_the_new_time", clock_step),
];

fn burst() -> Outcome {
    let container = Cgroup::make(&container_path(11, 11))?;
    container.limit(6)?;
    let oomtrace = Oomtrace::start(&[])?;
    let mut log = KernelLog::from_now()?;
    let mut reports = 0;
    let mut kills = 0;
    for _ in 0..200 {
        workload::start("eat", &container.procs())?.wait()?;
        for line in log.lines()? {
            reports += usize::from(line.contains("oom-kill:constraint="));
            kills += usize::from(line.contains("Killed process"));
        }
    }
    let lines = oomtrace.stop()?;
    check_eq!(of_kind(&lines, "oom_kill").len(), 200, "kills told");
    check_eq!(kills, 200, "kills logged by the kernel");
    ensure!(reports < 200, "the kernel's log lost nothing: the burst is too slow to prove anything");
    ensure!(of_kind(&lines, "lost").is_empty(), "lost: {:?}", of_kind(&lines, "lost"));
    for kill in of_kind(&lines, "oom_kill") {
        check_eq!(kill["limit"]["cgroup"], json!(container.path), "limit.cgroup");
    }
    Ok(())
}

/// A stopped oomtrace reads nothing, and a ring of one page holds the records of a kill or two.
fn ring_full() -> Outcome {
    let container = Cgroup::make(&container_path(14, 14))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&["--ring-size", "4"])?;
    oomtrace.signal(libc::SIGSTOP)?;
    for _ in 0..5 {
        run_to_death("eat", &container)?;
    }
    oomtrace.signal(libc::SIGCONT)?;
    thread::sleep(Duration::from_secs(1));
    run_to_death("eat", &container)?;
    let lines = oomtrace.stop()?;
    let lost: u64 = of_kind(&lines, "lost").iter().filter_map(|line| line["count"].as_u64()).sum();
    let stopped = lines.last().context("no lines")?;
    check_eq!(stopped["lost"], json!(lost), "lost in the last status");
    let kills = of_kind(&lines, "oom_kill");
    ensure!(lost > 0 && kills.len() < 6, "{} kills were told, and {lost} records lost", kills.len());
    let fresh = kills.last().context("nothing was told after the ring had room again")?;
    check_eq!(fresh["cgroup"]["path"], json!(container.path), "cgroup.path");
    check_eq!(fresh["limit"]["cgroup"], json!(container.path), "limit.cgroup");
    Ok(())
}

fn clock_step() -> Outcome {
    let container = Cgroup::make(&container_path(13, 13))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    run_to_death("eat", &container)?;
    let real = clock_gettime(ClockId::Realtime);
    let stepped = Timespec { tv_sec: real.tv_sec - 86_400, ..real };
    clock_settime(ClockId::Realtime, stepped)?;
    thread::sleep(Duration::from_millis(1200));
    let before = Timestamp::now();
    run_to_death("eat", &container)?;
    let after = Timestamp::now();
    let lines = oomtrace.stop()?;
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 2, "kills");
    let told: Timestamp = kills[1]["ts"].as_str().context("no ts")?.parse()?;
    ensure!(before <= told && told <= after, "{told} is not between {before} and {after}");
    ensure!(kills[0]["boot_ns"].as_u64() < kills[1]["boot_ns"].as_u64(), "the boot-time clock went back");
    Ok(())
}
