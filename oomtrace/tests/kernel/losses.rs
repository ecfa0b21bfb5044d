//! What could be lost, or reported in the wrong time.

use std::{collections::HashMap, fs, sync::Mutex, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::json;

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    check_eq,
    kernel_log::KernelLog,
    oomtrace::{Oomtrace, losses, of_kind, wait_until},
    page_bytes,
    scenarios::{Scenario, run_to_death},
    workload,
};

pub(crate) const ALL: &[Scenario] = &[
    ("of_200_kills_in_a_burst_none_is_lost_where_the_kernels_log_loses_some", burst),
    ("what_does_not_fit_the_ring_is_counted_and_reported", ring_full),
    ("a_group_kill_of_720_processes_fits_the_ring_while_nobody_reads_it", group_of_720),
    ("paths_of_exits_and_signals_in_deep_cgroups_beside_kills_are_all_their_own", deep_paths),
    ("runs_of_a_probe_that_the_kernel_skipped_are_counted_with_its_name", skipped),
    ("a_kill_after_a_step_of_the_clock_is_reported_in_the_new_time", clock_step),
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
    check_eq!(of_kind(&lines, "oom_kill").len(), 200, "kills reported");
    check_eq!(kills, 200, "kills logged by the kernel");
    ensure!(reports < 200, "the kernel's log lost nothing: the burst is too slow to prove anything");
    ensure!(losses(&lines).is_empty(), "lost: {:?}", losses(&lines));
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
    // More than a page holds, be it larger than usual.
    let killed = 5 * usize::try_from(page_bytes() / 4096)?;
    for _ in 0..killed {
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
    ensure!(lost > 0 && kills.len() <= killed, "{} kills were reported, and {lost} records lost", kills.len());
    let fresh = kills.last().context("nothing was reported after the ring had room again")?;
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
    let reported: Timestamp = kills[1]["ts"].as_str().context("no ts")?.parse()?;
    ensure!(before <= reported && reported <= after, "{reported} is not between {before} and {after}");
    ensure!(kills[0]["boot_ns"].as_u64() < kills[1]["boot_ns"].as_u64(), "the boot-time clock went back");
    Ok(())
}

fn group_of_720() -> Outcome {
    let container = Cgroup::make(&container_path(15, 15))?;
    container.limit(400)?;
    fs::write(container.folder().join("memory.oom.group"), "1")?;
    let oomtrace = Oomtrace::start(&[])?;
    let mut group = workload::start("group", &container.procs())?;
    let members = || anyhow::Ok(fs::read_to_string(container.procs())?.lines().count());
    wait_until("the group is there", || Ok(members()? >= workload::GROUP))?;
    oomtrace.signal(libc::SIGSTOP)?;
    group.wait()?;
    wait_until("the group is gone", || Ok(members()? == 0))?;
    oomtrace.signal(libc::SIGCONT)?;
    thread::sleep(Duration::from_secs(2));
    let lines = oomtrace.stop()?;
    ensure!(losses(&lines).is_empty(), "lost: {:?}", losses(&lines));
    check_eq!(of_kind(&lines, "oom_kill").len(), 1, "kills");
    let victims = of_kind(&lines, "oom_victim");
    check_eq!(victims.len(), workload::GROUP, "victims");
    for victim in victims {
        check_eq!(victim["cgroup"]["path"], json!(container.path), "cgroup.path");
    }
    Ok(())
}

/// A container's cgroup with others in it, whose names say whose they are.
fn deep(number: u32, letter: char) -> Result<Cgroup> {
    let nested = letter.to_string().repeat(120);
    Cgroup::make(&format!("{}/{nested}/{nested}/{nested}", container_path(number, number)))
}

fn deep_paths() -> Outcome {
    const THREADS: u8 = 4;
    const ROUNDS: u32 = 12;
    let oomtrace = Oomtrace::start(&[])?;
    let known = Mutex::new(HashMap::new());
    let container = Cgroup::make(&container_path(16, 16))?;
    container.limit(8)?;
    let dies = |thread: u8| {
        let letter = char::from(b'a' + thread);
        for round in 0..ROUNDS {
            let cgroup = deep(1000 + u32::from(thread) * 100 + round, letter)?;
            known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(cgroup.id()?, cgroup.path.clone());
            for what in ["init-that-is-killed", "terminate-itself", "init-that-fails"] {
                workload::start(what, &cgroup.procs())?.wait()?;
            }
            cgroup.remove()?;
        }
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || dies(thread))).collect();
        for _ in 0..ROUNDS {
            run_to_death("eat", &container)?;
        }
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("it panicked"))?)
    })?;
    let lines = oomtrace.stop()?;
    let known = known.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    ensure!(losses(&lines).is_empty(), "lost: {:?}", losses(&lines));
    check_eq!(of_kind(&lines, "oom_kill").len(), ROUNDS as usize, "kills");
    let mut compared = 0;
    for line in
        lines.iter().filter(|line| ["oom_kill", "signal", "process_exit"].iter().any(|kind| line["kind"] == *kind))
    {
        let id = line["cgroup"]["id"].as_u64().context("no cgroup")?;
        let path = known.get(&id).unwrap_or(&container.path);
        check_eq!(line["cgroup"]["path"], json!(path), "the path of {line}");
        compared += 1;
    }
    ensure!(compared > usize::from(THREADS) * ROUNDS as usize * 3, "only {compared} paths were compared");
    Ok(())
}

/// A program that was preempted is not run a second time on its processor meanwhile. Before 6.12 these kernels preempt no program,
/// nor do those for arm64, whose `preempt=full` is ignored.
fn skipped() -> Outcome {
    let uname = rustix::system::uname();
    let (release, version) = (uname.release().to_string_lossy(), uname.version().to_string_lossy());
    if ["5.", "6.1."].iter().any(|old| release.starts_with(old)) || !version.contains("PREEMPT") {
        return Ok(());
    }
    let container = Cgroup::make(&container_path(17, 17))?;
    let oomtrace = Oomtrace::start(&["--probe", "fentry"])?;
    let mut mapping = (0..6).map(|_| workload::start("map-on", &container.procs())).collect::<Result<Vec<_>>>()?;
    thread::sleep(Duration::from_secs(12));
    for process in &mut mapping {
        process.kill()?;
        process.wait()?;
    }
    let lines = oomtrace.stop()?;
    let lost = of_kind(&lines, "lost");
    ensure!(!lost.is_empty(), "no program was skipped");
    for line in &lost {
        check_eq!(line["from"], json!("program"), "from of {line}");
        ensure!(line["program"].is_string() && line["count"].as_u64() > Some(0), "{line}");
    }
    let of_map = lost.iter().filter(|line| line["program"] == json!("vm_enough_memory_fexit"));
    let reported: u64 = of_map.filter_map(|line| line["count"].as_u64()).sum();
    let losses = lines.last().context("no lines")?["losses"].as_array().cloned().unwrap_or_default();
    let in_status = losses.iter().find(|lost| lost["program"] == json!("vm_enough_memory_fexit"));
    check_eq!(in_status.and_then(|lost| lost["count"].as_u64()), Some(reported), "the count in the last status");
    Ok(())
}
