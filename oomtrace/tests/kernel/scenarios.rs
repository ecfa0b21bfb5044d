//! The deaths that oomtrace has to tell right.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{self, Cgroup, container_id, container_path, uid},
    check_eq,
    kernel_log::{self, KernelLog, killed},
    oomtrace::{Oomtrace, of_kind, wait_until},
    workload,
};

/// A test and what it says about the world.
pub(crate) type Scenario = (&'static str, fn() -> Outcome);

pub(crate) const ALL: &[Scenario] = &[
    ("a_container_over_its_limit_is_told_as_the_kernel_tells_it", container_limit),
    ("every_function_rung_tells_the_same", every_rung),
    ("a_tracepoint_alone_still_tells_a_kill_with_its_container", tracepoint_rung),
    ("a_pod_with_one_container_is_killed_at_the_pods_limit", pod_limit),
    ("a_systemd_style_path_gives_pod_and_container", systemd_path),
    ("a_child_killed_while_the_first_process_lives_is_not_the_containers_first", child_killed),
    ("the_first_process_of_a_pid_namespace_is_known_as_such", container_init),
    ("an_end_gives_the_containers_exit_code_and_how_long_a_victim_took_to_die", process_exit),
    ("a_signal_into_a_container_is_told_with_its_sender", signals),
    ("every_process_that_the_kernel_weighed_is_a_candidate", candidates),
    ("a_group_kill_is_one_kill_with_its_members", group_kill),
    ("a_task_that_was_dying_already_is_not_a_kill", already_dying),
    ("a_name_with_quotes_newlines_and_control_bytes_is_data", hostile_name),
    ("a_cgroup_removed_right_after_the_kill_still_has_its_path", removed_cgroup),
    ("of_200_kills_in_a_burst_none_is_lost_where_the_kernels_log_loses_some", burst),
    ("what_does_not_fit_the_ring_is_counted_and_told", ring_full),
    ("a_kill_after_a_step_of_the_clock_is_told_in_the_new_time", clock_step),
    ("a_node_out_of_memory_is_told_and_oomtrace_survives", global_oom),
];

/// How far the kernel's own figures may be off: what `percpu_counter` leaves unadded on two CPUs, 32 pages each
/// (`percpu_counter_batch`). The kernel logs the approximate sum, oomtrace the exact one.
const COUNTER_SLACK_KIB: u64 = 2 * 32 * 4;

/// How far a cgroup's usage may move between oomtrace's reading and the kernel's: what two CPUs have charged ahead
/// (`MEMCG_CHARGE_BATCH`, 64 pages each) may be given back meanwhile.
const STOCK_SLACK_KIB: u64 = 2 * 64 * 4;

/// Whether a scenario can be had on cgroup v1, which has no `memory.oom.group` and no `memory.high`.
pub(crate) fn possible_on_v1(name: &str) -> bool {
    !name.contains("group_kill") && !name.contains("memory_high")
}

/// Runs a workload in a cgroup until it is dead.
fn run_to_death(what: &str, cgroup: &Cgroup) -> Outcome {
    let status = workload::start(what, &cgroup.procs())?.wait()?;
    ensure!(!status.success(), "the workload {what} was not killed");
    Ok(())
}

fn only<'a>(lines: &'a [Value], kind: &str) -> Result<&'a Value> {
    let found = of_kind(lines, kind);
    ensure!(found.len() == 1, "{} lines of kind {kind} instead of one: {lines:#?}", found.len());
    Ok(found[0])
}

/// One kill, with every field that the kernel's log has, compared with it.
fn compare_with_log(kill: &Value, log: &[String]) -> Outcome {
    let find =
        |what: &str| log.iter().find(|line| line.contains(what)).with_context(|| format!("no {what:?} in {log:#?}"));
    let report = find("oom-kill:constraint=")?;
    let invoked = find("invoked oom-killer")?;
    let line = find("Killed process")?;
    let told = killed(line).with_context(|| line.clone())?;

    let victim = &kill["victim"];
    check_eq!(victim["pid"], json!(told.pid), "victim.pid");
    check_eq!(victim["uid"], json!(told.uid), "victim.uid");
    check_eq!(victim["oom_score_adj"], json!(told.oom_score_adj), "victim.oom_score_adj");
    check_eq!(victim["total_vm_bytes"], json!(told.total_vm_kib * 1024), "victim.total_vm_bytes");
    check_eq!(victim["pgtables_bytes"], json!(told.pgtables_kib * 1024), "victim.pgtables_bytes");
    for (field, kib) in
        [("rss_anon_bytes", told.anon_kib), ("rss_file_bytes", told.file_kib), ("rss_shmem_bytes", told.shmem_kib)]
    {
        let ours = victim[field].as_u64().with_context(|| format!("victim.{field} is not known"))? / 1024;
        ensure!(ours.abs_diff(kib) <= COUNTER_SLACK_KIB, "victim.{field}: {ours} KiB is not {kib} KiB");
    }
    let name = kernel_log::value(report, ",task=");
    check_eq!(victim["comm"].as_str(), name, "victim.comm");
    let task_memcg = kernel_log::value(report, "task_memcg=");
    check_eq!(kill["cgroup"]["path"].as_str(), task_memcg, "cgroup.path");
    let constraint = kernel_log::value(report, "constraint=CONSTRAINT_");
    check_eq!(kill["constraint"].as_str(), constraint, "constraint");
    check_eq!(kill["limit"]["cgroup"].as_str(), kernel_log::value(report, "oom_memcg="), "limit.cgroup");

    let (mask, names) =
        kernel_log::value(invoked, "gfp_mask=").and_then(|mask| mask.split_once('(')).context("gfp_mask")?;
    check_eq!(kill["gfp"].as_str(), names.strip_suffix(')'), "gfp");
    check_eq!(kill["gfp_mask"], json!(u32::from_str_radix(mask.trim_start_matches("0x"), 16)?), "gfp_mask");
    check_eq!(kill["order"].to_string().as_str(), kernel_log::value(invoked, "order=").unwrap_or(""), "order");
    check_eq!(kill["trigger"]["comm"].as_str(), invoked.split(" invoked").next(), "trigger.comm");
    let message = line.split(": Killed process").next();
    check_eq!(kill["message"].as_str(), message, "message");

    if let Some(memory) = log.iter().find(|line| line.starts_with("memory: usage")) {
        let kib = |key| kernel_log::value(memory, key)?.strip_suffix("kB")?.parse::<u64>().ok();
        let (ours, told) = (kill["limit"]["usage_bytes"].as_u64(), kib("usage ").context("no usage")?);
        let ours = ours.context("limit.usage_bytes is not known")? / 1024;
        ensure!(ours.abs_diff(told) <= STOCK_SLACK_KIB, "limit.usage_bytes: {ours} KiB is not {told} KiB");
        check_eq!(kill["limit"]["limit_bytes"].as_u64(), kib("limit ").map(|kib| kib * 1024), "limit.limit_bytes");
    }
    Ok(())
}

fn kill_in_container(arguments: &[&str]) -> Result<(Value, Vec<Value>, Vec<String>, Value)> {
    let container = Cgroup::make(&container_path(1, 1))?;
    container.limit(20)?;
    let id = container.id()?;
    let oomtrace = Oomtrace::start(arguments)?;
    let status = oomtrace.status.clone();
    let mut log = KernelLog::from_now()?;
    run_to_death("eat", &container)?;
    let lines = oomtrace.stop()?;
    let kill = only(&lines, "oom_kill")?.clone();
    check_eq!(kill["cgroup"]["id"], json!(id), "cgroup.id");
    check_eq!(kill["pod"]["uid"], json!(uid(1)), "pod.uid");
    check_eq!(kill["pod"]["qos"], json!("Burstable"), "pod.qos");
    check_eq!(kill["container"]["id"], json!(container_id(1)), "container.id");
    let victim = only(&lines, "oom_victim")?;
    check_eq!(victim["why"], json!("killed"), "oom_victim.why");
    check_eq!(victim["pid"], kill["victim"]["pid"], "oom_victim.pid");
    Ok((kill, lines, log.lines()?, status))
}

fn container_limit() -> Outcome {
    let (kill, lines, log, status) = kill_in_container(&[])?;
    compare_with_log(&kill, &log)?;
    check_eq!(kill["limit"]["level"], json!("container"), "limit.level");
    check_eq!(kill["limit"]["cgroup_id"], kill["cgroup"]["id"], "limit.cgroup_id");
    check_eq!(kill["limit"]["limit_bytes"], json!(20 << 20), "limit.limit_bytes");
    check_eq!(kill["group"], json!(false), "group");
    ensure!(kill["victim"]["points"].as_i64().is_some_and(|points| points > 4000), "{}", kill["victim"]["points"]);
    ensure!(of_kind(&lines, "lost").is_empty() && of_kind(&lines, "error").is_empty(), "{lines:#?}");
    for probe in status["probes"].as_array().into_iter().flatten() {
        ensure!(!probe["attached"].is_null(), "{} is not attached: {}", probe["symbol"], probe["refused"]);
        println!("{} attached by {}", probe["symbol"], probe["attached"]);
    }
    Ok(())
}

fn every_rung() -> Outcome {
    for rung in ["fentry", "kprobe"] {
        let (kill, _, log, status) = kill_in_container(&["--probe", rung]).with_context(|| rung.to_owned())?;
        compare_with_log(&kill, &log).with_context(|| rung.to_owned())?;
        for symbol in ["oom_kill_process", "mark_oom_victim"] {
            let attached = status["probes"].as_array().into_iter().flatten().find(|probe| probe["symbol"] == symbol);
            check_eq!(attached.map(|probe| &probe["attached"]), Some(&json!(rung)), "{symbol}");
        }
    }
    Ok(())
}

fn tracepoint_rung() -> Outcome {
    let (kill, _, log, _) = kill_in_container(&["--probe", "tracepoint"])?;
    let told = log.iter().find_map(|line| killed(line)).context("no \"Killed process\" in the log")?;
    check_eq!(kill["victim"]["pid"], json!(told.pid), "victim.pid");
    check_eq!(kill["victim"]["total_vm_bytes"], json!(told.total_vm_kib * 1024), "victim.total_vm_bytes");
    check_eq!(kill["limit"], Value::Null, "limit");
    check_eq!(kill["group"], Value::Null, "group");
    Ok(())
}

fn pod_limit() -> Outcome {
    let pod = Cgroup::make(&format!("/kubepods/burstable/pod{}", uid(2)))?;
    let container = Cgroup::make(&container_path(2, 2))?;
    pod.limit(20)?;
    container.limit(20)?;
    // The pause container's memory makes the pod's limit come first.
    let pause = Cgroup::make(&container_path(2, 3))?;
    let mut paused = workload::start("hold-8", &pause.procs())?;
    thread::sleep(Duration::from_millis(500));
    let oomtrace = Oomtrace::start(&[])?;
    let mut log = KernelLog::from_now()?;
    run_to_death("eat", &container)?;
    let lines = oomtrace.stop()?;
    paused.kill()?;
    paused.wait()?;
    let kill = only(&lines, "oom_kill")?;
    compare_with_log(kill, &log.lines()?)?;
    check_eq!(kill["limit"]["level"], json!("pod"), "limit.level");
    check_eq!(kill["limit"]["cgroup_id"], json!(pod.id()?), "limit.cgroup_id");
    check_eq!(kill["limit"]["pod"]["uid"], json!(uid(2)), "limit.pod.uid");
    check_eq!(kill["limit"]["container"], Value::Null, "limit.container");
    check_eq!(kill["container"]["id"], json!(container_id(2)), "container.id");
    Ok(())
}

fn systemd_path() -> Outcome {
    let slice = format!("kubepods-pod{}.slice", uid(4).replace('-', "_"));
    let container = Cgroup::make(&format!("/kubepods.slice/{slice}/cri-containerd-{}.scope", container_id(4)))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    run_to_death("eat", &container)?;
    let lines = oomtrace.stop()?;
    let kill = only(&lines, "oom_kill")?;
    check_eq!(kill["pod"], json!({"namespace": null, "name": null, "uid": uid(4), "qos": "Guaranteed"}), "pod");
    check_eq!(kill["container"]["id"], json!(container_id(4)), "container.id");
    check_eq!(kill["cgroup"]["path"], json!(container.path), "cgroup.path");
    Ok(())
}

fn child_killed() -> Outcome {
    let container = Cgroup::make(&container_path(5, 5))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    let mut log = KernelLog::from_now()?;
    let mut parent = workload::start("parent", &container.procs())?;
    let mut seen = Vec::new();
    wait_until("the kernel has killed", || {
        seen.extend(log.lines()?);
        Ok(seen.iter().any(|line| line.contains("Killed process")))
    })?;
    thread::sleep(Duration::from_millis(200));
    ensure!(parent.try_wait()?.is_none(), "the first process died");
    let lines = oomtrace.stop()?;
    let first = parent.id();
    parent.kill()?;
    parent.wait()?;
    let kill = only(&lines, "oom_kill")?;
    compare_with_log(kill, &seen)?;
    ensure!(kill["victim"]["tgid"] != json!(first), "the victim is the first process");
    check_eq!(kill["trigger"]["pid"], kill["victim"]["pid"], "trigger.pid");
    Ok(())
}

/// However a first process ends, its container's exit code follows; a victim's end says how long it took to die.
fn process_exit() -> Outcome {
    let container = Cgroup::make(&container_path(16, 16))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    workload::start("init", &container.procs())?.wait()?;
    workload::start("init-that-fails", &container.procs())?.wait()?;
    let lines = oomtrace.stop()?;
    let [killed, failed] = of_kind(&lines, "process_exit")[..] else { anyhow::bail!("not two ends: {lines:#?}") };
    for (exit, expected) in [(killed, json!([null, 9, 137, true])), (failed, json!([3, null, 3, false]))] {
        let told = json!([exit["exit_code"], exit["signal"], exit["container_exit_code"], exit["oom_victim"]]);
        check_eq!(told, expected, "exit_code, signal, container_exit_code, oom_victim");
        check_eq!(exit["container_init"], json!(true), "container_init");
        check_eq!(exit["container"]["id"], json!(container_id(16)), "container.id");
        check_eq!(exit["since_mark_ms"].is_f64(), exit["oom_victim"] == true, "since_mark_ms is known");
    }
    check_eq!(killed["pid"], only(&lines, "oom_kill")?["victim"]["tgid"], "pid");
    ensure!(killed["seq"].as_u64() > only(&lines, "oom_kill")?["seq"].as_u64(), "the end was told before the kill");
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
    let told: Vec<_> = of_kind(&lines, "signal")
        .iter()
        .map(|signal| json!([signal["name"], signal["sender"]["role"], signal["container"]["id"]]))
        .collect();
    let id = container_id(17);
    let expected =
        [json!(["SIGKILL", "process", id]), json!(["SIGSEGV", "kernel", id]), json!(["SIGTERM", "same_container", id])];
    check_eq!(told, expected, "signals");
    let first = of_kind(&lines, "signal")[0];
    check_eq!(first["sender"]["tgid"], json!(std::process::id()), "sender.tgid");
    check_eq!(first["target"]["tgid"], json!(killed.id()), "target.tgid");
    Ok(())
}

fn container_init() -> Outcome {
    let container = Cgroup::make(&container_path(6, 6))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    workload::start("init", &container.procs())?.wait()?;
    let lines = oomtrace.stop()?;
    check_eq!(only(&lines, "oom_kill")?["victim"]["container_init"], json!(true), "victim.container_init");
    Ok(())
}

fn candidates() -> Outcome {
    for rung in ["fentry", "kprobe"] {
        let container = Cgroup::make(&container_path(15, 15))?;
        container.limit(30)?;
        let mut others =
            [workload::start("hold-8", &container.procs())?, workload::start("hold-6", &container.procs())?];
        fs::write(format!("/proc/{}/oom_score_adj", others[1].id()), "-1000")?;
        thread::sleep(Duration::from_millis(500));
        let oomtrace = Oomtrace::start(&["--probe", rung])?;
        let mut log = KernelLog::from_now()?;
        run_to_death("eat", &container)?;
        let lines = oomtrace.stop()?;
        for other in &mut others {
            other.kill()?;
            other.wait()?;
        }
        let kill = only(&lines, "oom_kill")?;
        check_eq!(kill["candidates_weighed"], json!(3), "candidates_weighed");
        let candidates = kill["candidates"].as_array().context("no candidates")?;
        let table: Vec<_> = log.lines()?.iter().filter_map(|line| kernel_log::task(line)).collect();
        check_eq!(table.len(), 3, "tasks in the kernel's table");
        let killable: Vec<_> = table.iter().filter(|task| task.oom_score_adj > -1000).collect();
        check_eq!(candidates.len(), killable.len(), "candidates");
        for task in killable {
            let found = candidates.iter().find(|candidate| candidate["pid"] == json!(task.pid));
            let candidate = found.with_context(|| format!("{task:?} is no candidate"))?;
            check_eq!(candidate["total_vm_bytes"], json!(task.total_vm_pages * 4096), "total_vm_bytes");
            check_eq!(candidate["pgtables_bytes"], json!(task.pgtables_bytes), "pgtables_bytes");
            check_eq!(candidate["oom_score_adj"], json!(task.oom_score_adj), "oom_score_adj");
            check_eq!(candidate["comm"], json!(task.comm), "comm");
        }
        check_eq!(candidates[0]["pid"], kill["victim"]["pid"], "the pid of the candidate with the most points");
        check_eq!(candidates[0]["points"], kill["victim"]["points"], "its points");
    }
    Ok(())
}

fn group_kill() -> Outcome {
    let container = Cgroup::make(&container_path(7, 7))?;
    container.limit(20)?;
    fs::write(container.folder().join("memory.oom.group"), "1")?;
    let mut others = [workload::start("rest", &container.procs())?, workload::start("rest", &container.procs())?];
    thread::sleep(Duration::from_millis(300));
    let oomtrace = Oomtrace::start(&[])?;
    let mut log = KernelLog::from_now()?;
    run_to_death("eat", &container)?;
    let mut expected = Vec::new();
    for other in &mut others {
        other.wait()?;
        expected.push(json!(other.id()));
    }
    let lines = oomtrace.stop()?;
    let kill = only(&lines, "oom_kill")?;
    compare_with_log(kill, &log.lines()?)?;
    check_eq!(kill["group"], json!(true), "group");
    let mut members: Vec<_> =
        kill["members"].as_array().into_iter().flatten().map(|member| member["pid"].clone()).collect();
    members.sort_by_key(Value::as_u64);
    expected.sort_by_key(Value::as_u64);
    check_eq!(members, expected, "members");
    let why: Vec<_> = of_kind(&lines, "oom_victim").iter().map(|victim| victim["why"].clone()).collect();
    check_eq!(why.len(), 3, "oom_victim lines");
    check_eq!(why.iter().filter(|why| **why == json!("group")).count(), 2, "oom_victim lines of the group");
    Ok(())
}

/// A process that is frozen by cgroup v1's freezer does not die of SIGKILL before it is thawed, and has its memory
/// still. The OOM killer chooses it, finds it dying, and thaws it: no kill.
fn already_dying() -> Outcome {
    let freezer = if cgroup::is_v1() {
        Path::new("/sys/fs/cgroup/freezer").to_owned()
    } else {
        let folder = Path::new("/tmp/freezer");
        if !folder.join("frozen").is_dir() {
            fs::create_dir_all(folder)?;
            rustix::mount::mount("freezer", folder, "cgroup", rustix::mount::MountFlags::empty(), Some(c"freezer"))?;
        }
        folder.to_owned()
    };
    let frozen = freezer.join("frozen");
    fs::create_dir_all(&frozen)?;
    let container = Cgroup::make(&container_path(8, 8))?;
    container.limit(20)?;
    let mut dying = workload::start("hold-12", &container.procs())?;
    wait_until("the process holds its memory", || {
        let statm = fs::read_to_string(format!("/proc/{}/statm", dying.id()))?;
        let pages: u64 = statm.split(' ').nth(1).context("statm has no resident pages")?.parse()?;
        Ok(pages * rustix::param::page_size() as u64 >= 12 << 20)
    })?;
    fs::write(frozen.join("cgroup.procs"), dying.id().to_string())?;
    fs::write(frozen.join("freezer.state"), "FROZEN")?;
    wait_until("the process is frozen", || Ok(fs::read_to_string(frozen.join("freezer.state"))?.trim() == "FROZEN"))?;
    dying.kill()?;

    let oomtrace = Oomtrace::start(&[])?;
    // Together they exceed the limit, and each has less than the dying one.
    let mut eater = workload::start("hold-6", &container.procs())?;
    let mut second = workload::start("hold-6", &container.procs())?;
    wait_until("the dying process is gone", || Ok(dying.try_wait()?.is_some()))?;
    for child in [&mut eater, &mut second] {
        child.kill()?;
        child.wait()?;
    }
    fs::write(frozen.join("freezer.state"), "THAWED")?;
    let lines = oomtrace.stop()?;
    let marks = of_kind(&lines, "oom_victim");
    let ours: Vec<_> = marks.iter().filter(|mark| mark["tgid"] == json!(dying.id())).collect();
    ensure!(!ours.is_empty(), "the dying process was not marked: {lines:#?}");
    for mark in ours {
        check_eq!(mark["why"], json!("already_dying"), "why");
    }
    for kill in of_kind(&lines, "oom_kill") {
        ensure!(kill["victim"]["tgid"] != json!(dying.id()), "the dying process was told as killed: {kill}");
    }
    Ok(())
}

fn hostile_name() -> Outcome {
    let container = Cgroup::make(&container_path(9, 9))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    run_to_death("hostile-name", &container)?;
    let lines = oomtrace.stop()?;
    check_eq!(only(&lines, "oom_kill")?["victim"]["comm"], json!("a\"b\\\n\u{1b}[31m\u{fffd}{"), "victim.comm");
    Ok(())
}

fn removed_cgroup() -> Outcome {
    let container = Cgroup::make(&container_path(10, 10))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    run_to_death("eat", &container)?;
    container.remove()?;
    let path = container.path.clone();
    let lines = oomtrace.stop()?;
    let kill = only(&lines, "oom_kill")?;
    check_eq!(kill["cgroup"]["path"], json!(path), "cgroup.path");
    check_eq!(kill["limit"]["cgroup"], json!(path), "limit.cgroup");
    Ok(())
}

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

fn global_oom() -> Outcome {
    let container = Cgroup::make(&container_path(12, 12))?;
    let oomtrace = Oomtrace::start(&[])?;
    let pid = oomtrace.pid();
    check_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?.trim(), "-999", "oomtrace's oom_score_adj");
    let mut log = KernelLog::from_now()?;
    run_to_death("eat", &container)?;
    let lines = oomtrace.stop()?;
    let kill = only(&lines, "oom_kill")?;
    compare_with_log(kill, &log.lines()?)?;
    check_eq!(kill["limit"]["level"], json!("node"), "limit.level");
    check_eq!(kill["limit"]["cgroup_id"], Value::Null, "limit.cgroup_id");
    check_eq!(kill["container"]["id"], json!(container_id(12)), "container.id");
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
