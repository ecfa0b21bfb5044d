//! What makes the kernel choose besides the ordinary, and what it may do instead of killing.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_id, container_path},
    check_eq,
    oomtrace::{Oomtrace, of_kind, wait_until},
    scenarios::{Scenario, Spared, only, run_to_death},
    workload,
};

pub(crate) const ALL: &[Scenario] = &[
    ("a_kill_that_a_person_asked_for_is_reported_as_such", sysrq),
    ("a_kill_of_whoever_asked_for_memory_is_reported_as_such", allocating_task),
    ("a_kill_because_the_limit_set_below_what_is_in_use_is_reported_as_such", limit_lowered),
    ("a_limit_that_is_set_is_reported_with_who_set_it", limit_changed),
    ("a_container_frozen_instead_of_killed_is_reported_from_its_first_wait_to_its_last", frozen),
    ("a_node_that_panics_instead_of_killing_says_so_in_its_status", panic_on_oom),
];

/// A setting of the kernel, put back when dropped.
pub(crate) struct Sysctl {
    path: String,
    before: String,
}

impl Sysctl {
    pub(crate) fn set(name: &str, value: &str) -> Result<Self> {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = fs::read_to_string(&path).with_context(|| path.clone())?;
        fs::write(&path, value).with_context(|| path.clone())?;
        Ok(Self { path, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, &self.before);
    }
}

fn sysrq() -> Outcome {
    let container = Cgroup::make(&container_path(40, 40))?;
    let oomtrace = Oomtrace::start(&[])?;
    let mut held = workload::start("hold-30", &container.procs())?;
    fs::write(format!("/proc/{}/oom_score_adj", held.id()), "1000")?;
    thread::sleep(Duration::from_millis(500));
    fs::write("/proc/sysrq-trigger", "f")?;
    held.wait()?;
    let lines = oomtrace.stop()?;
    let kill = only(&lines, "oom_kill")?;
    check_eq!(kill["victim"]["tgid"], json!(held.id()), "victim.tgid");
    check_eq!(kill["cause"], json!("sysrq"), "cause");
    check_eq!(kill["order"], json!(-1), "order");
    ensure!(of_kind(&lines, "charge_failures").is_empty(), "no limit was hit: {lines:#?}");
    Ok(())
}

/// With this setting the kernel kills the process that asks, be it this test or oomtrace: both are spared.
fn allocating_task() -> Outcome {
    let container = Cgroup::make(&container_path(41, 41))?;
    let oomtrace = Oomtrace::start(&[])?;
    let mut bystander = workload::start("hold-8", &container.procs())?;
    fs::write(format!("/proc/{}/oom_score_adj", bystander.id()), "1000")?;
    let spared = Spared::new()?;
    fs::write(format!("/proc/{}/oom_score_adj", oomtrace.pid()), "-1000")?;
    let setting = Sysctl::set("vm.oom_kill_allocating_task", "1")?;
    let killed = run_to_death("eat-killable", &container);
    drop(setting);
    drop(spared);
    killed?;
    let lines = oomtrace.stop()?;
    ensure!(bystander.try_wait()?.is_none(), "the one to be killed first was killed");
    bystander.kill()?;
    bystander.wait()?;
    let kill = only(&lines, "oom_kill")?;
    check_eq!(kill["cause"], json!("allocating_task"), "cause");
    check_eq!(kill["trigger"]["tgid"], kill["victim"]["tgid"], "the trigger and the victim");
    check_eq!(kill["candidates"], Value::Null, "candidates, since nobody was weighed");
    Ok(())
}

fn limit_lowered() -> Outcome {
    let container = Cgroup::make(&container_path(42, 42))?;
    let oomtrace = Oomtrace::start(&[])?;
    let mut held = workload::start("hold-16", &container.procs())?;
    thread::sleep(Duration::from_millis(800));
    container.limit(8)?;
    held.wait()?;
    let lines = oomtrace.stop()?;
    let kill = only(&lines, "oom_kill")?;
    check_eq!(kill["cause"], json!("limit_lowered"), "cause");
    check_eq!(kill["trigger"]["tgid"], json!(std::process::id()), "trigger.tgid");
    check_eq!(kill["limit"]["cgroup"], json!(container.path), "limit.cgroup");
    check_eq!(kill["limit"]["limit_bytes"], json!(8 << 20), "limit.limit_bytes");
    Ok(())
}

fn limit_changed() -> Outcome {
    for rung in ["fentry", "kprobe"] {
        let container = Cgroup::make(&container_path(45, 45))?;
        container.limit(40)?;
        let oomtrace = Oomtrace::start(&["--probe", rung])?;
        container.limit(30)?;
        // The same again is no change.
        container.limit(30)?;
        let high = container.folder().join("memory.high");
        let is_v2 = high.exists();
        if is_v2 {
            fs::write(high, "8388608")?;
        }
        let lines = oomtrace.stop()?;
        let changes = of_kind(&lines, "limit_changed");
        check_eq!(changes.len(), 1 + usize::from(is_v2), "changes of {rung}");
        check_eq!(changes[0]["limit_kind"], json!("max"), "limit");
        check_eq!(changes[0]["from_bytes"], json!(40 << 20), "from_bytes");
        check_eq!(changes[0]["to_bytes"], json!(30 << 20), "to_bytes");
        check_eq!(changes[0]["container"]["id"], json!(container_id(45)), "container.id");
        check_eq!(changes[0]["set_by"]["tgid"], json!(std::process::id()), "set_by.tgid");
        if is_v2 {
            check_eq!(changes[1]["limit_kind"], json!("high"), "the second limit");
            check_eq!(changes[1]["from_bytes"], Value::Null, "from_bytes of none");
            check_eq!(changes[1]["to_bytes"], json!(8 << 20), "to_bytes of the second");
        }
    }
    Ok(())
}

fn frozen() -> Outcome {
    for rung in ["fentry", "kprobe"] {
        let container = Cgroup::make(&container_path(43, 43))?;
        container.limit(20)?;
        fs::write(container.folder().join("memory.oom_control"), "1")?;
        let oomtrace = Oomtrace::start(&["--probe", rung])?;
        // More than the kernel follows to their returns on a kprobe: of the others it never tells.
        let mut held = (0..5).map(|_| workload::start("hold-16", &container.procs())).collect::<Result<Vec<_>>>()?;
        wait_until("the cgroup is under OOM", || {
            let control = fs::read_to_string(container.folder().join("memory.oom_control"))?;
            Ok(control.contains("under_oom 1"))
        })?;
        thread::sleep(Duration::from_secs(1));
        for process in &mut held {
            ensure!(process.try_wait()?.is_none(), "a process was killed");
        }
        container.limit(200)?;
        thread::sleep(Duration::from_secs(4));
        let lines = oomtrace.stop()?;
        let ids: Vec<_> = held.iter().map(|process| json!(process.id())).collect();
        for process in &mut held {
            process.kill()?;
            process.wait()?;
        }
        let waits = of_kind(&lines, "under_oom");
        let [began, ended] = waits[..] else { anyhow::bail!("not a beginning and an end: {lines:#?}") };
        check_eq!(began["state"], json!("began"), "the first state");
        check_eq!(began["container"]["id"], json!(container_id(43)), "container.id");
        ensure!(ids.contains(&began["first_task"]["tgid"]), "first_task is {}", began["first_task"]);
        check_eq!(began["limit"]["limit_bytes"], json!(20 << 20), "limit.limit_bytes");
        check_eq!(ended["state"], json!("ended"), "the last state");
        let waited = ended["waited_ms"].as_f64().context("waited_ms is not known")?;
        ensure!((900.0..20_000.0).contains(&waited), "it waited {waited} ms");
        ensure!(of_kind(&lines, "oom_kill").is_empty(), "somebody was killed: {lines:#?}");
    }
    Ok(())
}

/// 1 spares cgroups that are over their own limits: the panic itself would end this test.
fn panic_on_oom() -> Outcome {
    let container = Cgroup::make(&container_path(44, 44))?;
    container.limit(20)?;
    let setting = Sysctl::set("vm.panic_on_oom", "1")?;
    let oomtrace = Oomtrace::start(&[])?;
    let said = |status: &Value| status["degraded"].to_string().contains("vm.panic_on_oom is 1");
    ensure!(said(&oomtrace.status), "{}", oomtrace.status);
    run_to_death("eat", &container)?;
    drop(setting);
    thread::sleep(Duration::from_millis(1200));
    let lines = oomtrace.stop()?;
    check_eq!(only(&lines, "oom_kill")?["cause"], json!("ordinary"), "cause");
    ensure!(of_kind(&lines, "panic_on_oom").is_empty(), "a panic was reported: {lines:#?}");
    let status: Vec<_> =
        of_kind(&lines, "status").into_iter().map(|status| (status["phase"].clone(), said(status))).collect();
    check_eq!(status, [(json!("running"), false), (json!("stopped"), false)], "phases, and what they say of panics");
    Ok(())
}
