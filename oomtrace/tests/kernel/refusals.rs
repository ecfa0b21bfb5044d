//! Allocations that the kernel refuses without an OOM.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_id, container_path},
    check_eq,
    decisions::Sysctl,
    oomtrace::{Oomtrace, of_kind},
    scenarios::Scenario,
    workload,
};

pub(crate) const ALL: &[Scenario] = &[
    ("an_allocation_refused_by_overcommit_accounting_is_reported_with_its_limit", overcommit),
    ("an_allocation_refused_by_a_limit_of_the_process_is_reported_with_its_limit", rlimits),
    ("an_allocation_refused_outside_of_containers_is_not_reported", outside),
    ("oomtrace_doctor_in_a_container_beside_the_daemon_makes_no_events_of_its_own_probing", doctor_beside),
];

/// How often each workload is refused, and how much it asks for.
const TIMES: u64 = 10;
const ASKED: u64 = 4 << 30;

/// Runs a workload that is refused; gives the one event.
fn refused(what: &str, rung: &str) -> Result<Value> {
    let container = Cgroup::make(&container_path(45, 45))?;
    let oomtrace = Oomtrace::start(&["--probe", rung])?;
    let mut workload = workload::start(what, &container.procs())?;
    check_eq!(workload.wait()?.code().map(i64::from), Some(TIMES.cast_signed()), "how often it was refused");
    let lines = oomtrace.stop()?;
    // The counts are fetched twice a second, perhaps between two refusals: the first window is reported, then the rest.
    let events = of_kind(&lines, "allocation_refused");
    let counted: u64 = events.iter().filter_map(|event| event["count"].as_u64()).sum();
    check_eq!(counted, TIMES, "the counts of all windows together");
    let event = *events.last().context("no allocation_refused")?;
    check_eq!(event["tgid"], json!(workload.id()), "tgid");
    check_eq!(event["container"]["id"], json!(container_id(45)), "container.id");
    check_eq!(event["count_total"], json!(TIMES), "count_total");
    // The arguments are had at the better rung only.
    let requested = if rung == "fentry" { json!(ASKED) } else { Value::Null };
    check_eq!(event["requested_bytes"], requested, "requested_bytes");
    Ok(event.clone())
}

fn meminfo(key: &str) -> Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn overcommit() -> Outcome {
    for rung in ["fentry", "kprobe"] {
        for (policy, limit) in [("0", "MemTotal"), ("2", "CommitLimit")] {
            let _setting = Sysctl::set("vm.overcommit_memory", policy)?;
            let event = refused("map-too-much", rung).with_context(|| format!("policy {policy}, {rung}"))?;
            check_eq!(event["by"], json!("overcommit"), "by");
            check_eq!(event["limit_bytes"], json!(meminfo(limit)?), "limit_bytes");
        }
    }
    Ok(())
}

fn rlimits() -> Outcome {
    let oomtrace = Oomtrace::start(&["--probe", "fentry"])?;
    let hooked = oomtrace.status["attached"].get("may_expand_vm").cloned();
    let hooked = hooked.context("may_expand_vm is not in the status")?;
    let degraded = oomtrace.status["degraded"].to_string();
    oomtrace.stop()?;
    if hooked.is_null() {
        // Where the compiler has made it a part of its callers, nothing cheap is left to hook.
        println!("not attached: {degraded}");
        ensure!(degraded.contains("RLIMIT_AS or RLIMIT_DATA refuses are not seen"), "{degraded}");
        return Ok(());
    }
    for (what, by) in [("map-beyond-rlimit-as", "rlimit_as"), ("map-beyond-rlimit-data", "rlimit_data")] {
        let event = refused(what, "fentry").with_context(|| what.to_owned())?;
        check_eq!(event["by"], json!(by), "by");
        check_eq!(event["limit_bytes"], json!(workload::RLIMIT), "limit_bytes");
        let event = refused(what, "kprobe").with_context(|| format!("{what}, kprobe"))?;
        check_eq!(event["by"], json!("rlimit"), "by");
        check_eq!(event["limit_bytes"], Value::Null, "limit_bytes");
    }
    Ok(())
}

fn outside() -> Outcome {
    let outside = Cgroup::make("/system.slice/refused.service")?;
    let oomtrace = Oomtrace::start(&[])?;
    workload::start("map-too-much", &outside.procs())?.wait()?;
    let lines = oomtrace.stop()?;
    ensure!(of_kind(&lines, "allocation_refused").is_empty(), "{lines:#?}");
    Ok(())
}

/// On both rungs, as a return probe does not see what was asked for.
fn doctor_beside() -> Outcome {
    for rung in ["fentry", "kprobe"] {
        let container = Cgroup::make(&container_path(46, 46))?;
        let oomtrace = Oomtrace::start(&["--probe", rung])?;
        let script = format!("echo $$ > '{}' && exec oomtrace doctor", container.procs().display());
        let doctor = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).status()?;
        ensure!(doctor.success(), "the doctor ended with {doctor}");
        let lines = oomtrace.stop()?;
        for kind in ["allocation_refused", "incident", "oom_kill", "process_exit", "signal"] {
            let events = of_kind(&lines, kind);
            ensure!(events.is_empty(), "{rung}: {events:?}");
        }
    }
    Ok(())
}
