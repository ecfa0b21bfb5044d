//! How processes end, and who ended them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_id, container_path},
    check_eq,
    oomtrace::{Oomtrace, losses, of_kind},
    scenarios::{Scenario, only},
    workload,
};

pub(crate) const ALL: &[Scenario] = &[
    ("an_end_gives_the_containers_exit_code_and_how_long_a_victim_took_to_die", process_exit),
    ("a_signal_into_a_container_is_reported_with_its_sender", signals),
    ("an_end_says_how_long_the_reaper_took_where_it_had_to_come", reaped),
    ("signals_among_a_containers_processes_are_reported_in_moderation_and_the_rest_counted", signals_in_moderation),
];

/// However a first process ends, its container's exit code follows; a victim's end says how long it took to die.
fn process_exit() -> Outcome {
    let container = Cgroup::make(&container_path(16, 16))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    workload::start("init", &container.procs())?.wait()?;
    workload::start("init-that-fails", &container.procs())?.wait()?;
    let lines = oomtrace.stop()?;
    let [killed, failed] = of_kind(&lines, "process_exit")[..] else { anyhow::bail!("not two ends: {lines:#?}") };
    for (exit, expected) in
        [(killed, json!([null, "SIGKILL", 9, 137, true])), (failed, json!([3, null, null, 3, false]))]
    {
        let fields = ["exit_code", "signal", "signal_number", "container_exit_code", "oom_victim"];
        let reported = json!(fields.map(|field| &exit[field]));
        check_eq!(reported, expected, "{fields:?}");
        check_eq!(exit["container_init"], json!(true), "container_init");
        check_eq!(exit["container"]["id"], json!(container_id(16)), "container.id");
        check_eq!(exit["mark_to_reaped_ms"], Value::Null, "mark_to_reaped_ms of one that ended at once");
        check_eq!(exit["since_mark_ms"].is_f64(), exit["oom_victim"] == true, "since_mark_ms is known");
    }
    check_eq!(killed["pid"], only(&lines, "oom_kill")?["victim"]["tgid"], "pid");
    ensure!(killed["seq"].as_u64() > only(&lines, "oom_kill")?["seq"].as_u64(), "the end was reported before the kill");
    Ok(())
}

/// 137 without an OOM kill has an author: somebody on the node, the container itself, or the kernel for a fault.
fn signals() -> Outcome {
    let container = Cgroup::make(&container_path(17, 17))?;
    let oomtrace = Oomtrace::start(&[])?;
    let mut killed = workload::start("rest", &container.procs())?;
    thread::sleep(Duration::from_millis(500));
    killed.kill()?;
    killed.wait()?;
    workload::start("fault", &container.procs())?.wait()?;
    workload::start("terminate-itself", &container.procs())?.wait()?;
    let lines = oomtrace.stop()?;
    let reported: Vec<_> = of_kind(&lines, "signal")
        .iter()
        .map(|signal| json!([signal["signal"], signal["sender"]["role"], signal["container"]["id"]]))
        .collect();
    let id = container_id(17);
    let expected =
        [json!(["SIGKILL", "process", id]), json!(["SIGSEGV", "kernel", id]), json!(["SIGTERM", "same_container", id])];
    check_eq!(reported, expected, "signals");
    let first = of_kind(&lines, "signal")[0];
    check_eq!(first["sender"]["tgid"], json!(std::process::id()), "sender.tgid");
    check_eq!(first["target"]["tgid"], json!(killed.id()), "target.tgid");
    Ok(())
}

/// The reaper takes a victim that does not end by itself: after two seconds since 5.18 and in stable kernels of before, else at
/// once. It is held up here for six.
fn reaped() -> Outcome {
    let container = Cgroup::make(&container_path(46, 46))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    ensure!(workload::start("slow-to-die", &container.procs())?.wait()?.success(), "the workload failed");
    let lines = oomtrace.stop()?;
    let exit = only(&lines, "process_exit")?;
    let reaped = only(&lines, "oom_reaped")?;
    check_eq!(reaped["tgid"], exit["tgid"], "the tgid of the reaped and the ended");
    check_eq!(reaped["container"]["id"], json!(container_id(46)), "container.id");
    check_eq!(exit["mark_to_reaped_ms"], reaped["since_kill_ms"], "mark_to_reaped_ms");
    let ms = |field: &str| exit[field].as_f64().with_context(|| format!("{field} is not known"));
    let (reaped, ended) = (ms("mark_to_reaped_ms")?, ms("since_mark_ms")?);
    println!("reaped after {reaped} ms, ended after {ended} ms");
    ensure!(reaped < 5_500.0 && ended > 5_900.0, "reaped after {reaped} ms, ended after {ended} ms");
    Ok(())
}

fn signals_in_moderation() -> Outcome {
    let container = Cgroup::make(&container_path(47, 47))?;
    let oomtrace = Oomtrace::start(&[])?;
    let started = Instant::now();
    ensure!(workload::start("kill-children", &container.procs())?.wait()?.success(), "the workload failed");
    let seconds = started.elapsed().as_secs();
    // A container's first process is reported whatever its children have used up.
    workload::start("init-that-is-killed", &container.procs())?.wait()?;
    let lines = oomtrace.stop()?;
    let signals = of_kind(&lines, "signal");
    let children = signals.iter().filter(|signal| signal["target"]["container_init"] != json!(true)).count() as u64;
    let untold = lines.last().and_then(|status| status["untold_signals"].as_u64()).context("untold_signals")?;
    check_eq!(children + untold, workload::CHILDREN, "signals, reported and untold");
    ensure!(untold > 0 && children <= (seconds + 2) * 10, "{children} reported in {seconds} s, {untold} untold");
    check_eq!(signals.len() as u64 - children, 1, "signals to the first process");
    ensure!(losses(&lines).is_empty(), "lost: {lines:#?}");
    Ok(())
}
