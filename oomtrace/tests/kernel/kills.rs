//! Kills: whom the kernel chose, at whose limit, and of which container.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{self, Cgroup, container_id, container_path, uid},
    check_eq,
    compare::compare_with_log,
    kernel_log::{self, KernelLog, killed},
    oomtrace::{Oomtrace, losses, of_kind, wait_until},
    page_bytes,
    scenarios::{Scenario, Spared, only, run_to_death},
    workload,
};

pub(crate) const ALL: &[Scenario] = &[
    ("a_container_over_its_limit_is_reported_as_the_kernel_tells_it", container_limit),
    ("every_function_rung_tells_the_same", every_rung),
    ("a_tracepoint_alone_still_tells_a_kill_with_its_container", tracepoint_rung),
    ("a_pod_with_one_container_is_killed_at_the_pods_limit", pod_limit),
    ("a_systemd_style_path_gives_pod_and_container", systemd_path),
    ("a_child_killed_while_the_first_process_lives_is_not_the_containers_first", child_killed),
    ("the_first_process_of_a_pid_namespace_is_known_as_such", container_init),
    ("every_process_that_the_kernel_weighed_is_a_candidate", candidates),
    ("a_process_whose_first_thread_has_ended_is_a_candidate_and_one_that_is_not_to_be_killed_is_none", odd_candidates),
    ("a_group_kill_is_one_kill_with_its_members", group_kill),
    ("a_task_that_was_dying_already_is_not_a_kill", already_dying),
    ("a_name_with_quotes_newlines_and_control_bytes_is_data", hostile_name),
    ("a_victims_command_line_is_reported_unless_it_is_not_to_be_read", command_line),
    ("a_cgroup_removed_right_after_the_kill_still_has_its_path", removed_cgroup),
    ("a_node_out_of_memory_is_reported_and_oomtrace_survives", global_oom),
];

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
    ensure!(losses(&lines).is_empty() && of_kind(&lines, "error").is_empty(), "{lines:#?}");
    let degraded = status["degraded"].to_string();
    for (symbol, attached) in status["attached"].as_object().into_iter().flatten() {
        // Linux 5.10 and 6.1: the compiler has made this function a part of its callers, and status says so.
        if symbol == "may_expand_vm" && degraded.contains("a part of its callers") {
            continue;
        }
        ensure!(!attached.is_null(), "{symbol} is not attached: {degraded}");
        println!("{symbol} attached by {attached}");
    }
    Ok(())
}

fn every_rung() -> Outcome {
    for rung in ["fentry", "kprobe"] {
        let (kill, _, log, status) = kill_in_container(&["--probe", rung]).with_context(|| rung.to_owned())?;
        compare_with_log(&kill, &log).with_context(|| rung.to_owned())?;
        for symbol in ["oom_kill_process", "mark_oom_victim"] {
            check_eq!(status["attached"][symbol], json!(rung), "{symbol}");
        }
    }
    Ok(())
}

fn tracepoint_rung() -> Outcome {
    let (kill, _, log, _) = kill_in_container(&["--probe", "tracepoint"])?;
    let reported = log.iter().find_map(|line| killed(line)).context("no \"Killed process\" in the log")?;
    check_eq!(kill["victim"]["pid"], json!(reported.pid), "victim.pid");
    check_eq!(kill["victim"]["total_vm_bytes"], json!(reported.total_vm_kib * 1024), "victim.total_vm_bytes");
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
            check_eq!(candidate["total_vm_bytes"], json!(task.total_vm_pages * page_bytes()), "total_vm_bytes");
            check_eq!(candidate["pgtables_bytes"], json!(task.pgtables_bytes), "pgtables_bytes");
            check_eq!(candidate["oom_score_adj"], json!(task.oom_score_adj), "oom_score_adj");
            check_eq!(candidate["comm"], json!(task.comm), "comm");
        }
        check_eq!(candidates[0]["pid"], kill["victim"]["pid"], "the pid of the candidate with the most points");
        check_eq!(candidates[0]["points"], kill["victim"]["points"], "its points");
    }
    Ok(())
}

fn odd_candidates() -> Outcome {
    for rung in ["fentry", "kprobe"] {
        let container = Cgroup::make(&container_path(16, 16))?;
        container.limit(60)?;
        let mut headless = workload::start("headless-8", &container.procs())?;
        let mut parent = workload::start("vfork-6", &container.procs())?;
        thread::sleep(Duration::from_millis(800));
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id()))?;
        let child: u32 = children.trim().parse().context("no child")?;
        let oomtrace = Oomtrace::start(&["--probe", rung])?;
        run_to_death("eat", &container)?;
        let lines = oomtrace.stop()?;
        // SAFETY: no precondition.
        unsafe { libc::kill(child.try_into()?, libc::SIGKILL) };
        for process in [&mut headless, &mut parent] {
            process.kill()?;
            process.wait()?;
        }
        let kill = only(&lines, "oom_kill")?;
        check_eq!(kill["candidates_weighed"], json!(4), "candidates_weighed");
        let candidates = kill["candidates"].as_array().context("no candidates")?;
        let points = |id: u32| {
            let candidate = candidates.iter().find(|candidate| candidate["tgid"] == json!(id));
            candidate.and_then(|candidate| candidate["points"].as_i64())
        };
        ensure!(points(headless.id()).is_some_and(|points| points >= 2048), "the headless one: {candidates:#?}");
        ensure!(points(parent.id()).is_some_and(|points| points >= 1536), "the parent: {candidates:#?}");
        // On 5.10 the compiler has made `oom_badness` a part of its caller, and nobody says that the child is spared.
        if !rustix::system::uname().release().to_bytes().starts_with(b"5.10") {
            check_eq!(points(child), None, "the points of a child that is not to be killed");
        }
        for candidate in candidates {
            ensure!(candidate["points"].as_i64().is_some_and(|points| points > 0), "{candidate}");
        }
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
    // The kill was emitted before they were killed.
    let of_group = of_kind(&lines, "oom_victim").into_iter().filter(|victim| victim["why"] == json!("group"));
    let mut members: Vec<_> = of_group.map(|victim| victim["pid"].clone()).collect();
    members.sort_by_key(Value::as_u64);
    expected.sort_by_key(Value::as_u64);
    check_eq!(members, expected, "members");
    let incidents = of_kind(&lines, "incident");
    let incident = incidents.last().context("no incident")?;
    check_eq!(incident["processes_killed"], json!(3), "processes_killed of the incident");
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
        Ok(pages * page_bytes() >= 12 << 20)
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
        ensure!(kill["victim"]["tgid"] != json!(dying.id()), "the dying process was reported as killed: {kill}");
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

fn command_line() -> Outcome {
    let container = Cgroup::make(&container_path(17, 17))?;
    container.limit(20)?;
    for rung in ["fentry", "kprobe"] {
        let oomtrace = Oomtrace::start(&["--probe", rung])?;
        run_to_death("eat", &container)?;
        let lines = oomtrace.stop()?;
        let line = only(&lines, "oom_kill")?["victim"]["command_line"].clone();
        ensure!(line.as_str().is_some_and(|line| line.contains(" --workload eat ")), "{rung}: {line}");
    }
    let oomtrace = Oomtrace::start(&["--no-command-lines"])?;
    run_to_death("eat", &container)?;
    check_eq!(only(&oomtrace.stop()?, "oom_kill")?["victim"]["command_line"], Value::Null, "command_line");
    // One that another process's allocation has killed is read before.
    let oomtrace = Oomtrace::start(&[])?;
    let mut held = workload::start("hold-12", &container.procs())?;
    thread::sleep(Duration::from_millis(500));
    fs::write(format!("/proc/{}/oom_score_adj", held.id()), "1000")?;
    let mut second = workload::start("hold-12", &container.procs())?;
    held.wait()?;
    second.kill()?;
    second.wait()?;
    // Before its memory is free the kernel may kill the other one, too.
    let lines = oomtrace.stop()?;
    let kills = of_kind(&lines, "oom_kill");
    let of_held = kills.iter().find(|kill| kill["victim"]["tgid"] == json!(held.id())).context("no kill of the one")?;
    let line = of_held["victim"]["command_line"].clone();
    ensure!(line.as_str().is_some_and(|line| line.contains(" --workload hold-12 ")), "of another: {line}");
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

fn global_oom() -> Outcome {
    let container = Cgroup::make(&container_path(12, 12))?;
    let oomtrace = Oomtrace::start(&[])?;
    let pid = oomtrace.pid();
    check_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?.trim(), "-999", "oomtrace's oom_score_adj");
    let mut log = KernelLog::from_now()?;
    let spared = Spared::new()?;
    run_to_death("eat-killable", &container)?;
    drop(spared);
    let lines = oomtrace.stop()?;
    let kill = only(&lines, "oom_kill")?;
    compare_with_log(kill, &log.lines()?)?;
    check_eq!(kill["limit"]["level"], json!("node"), "limit.level");
    check_eq!(kill["limit"]["cgroup_id"], Value::Null, "limit.cgroup_id");
    check_eq!(kill["container"]["id"], json!(container_id(12)), "container.id");
    Ok(())
}
