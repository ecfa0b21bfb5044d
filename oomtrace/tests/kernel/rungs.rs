//! The same death, reported by every rung of the ladder at once; and the lowest rung by itself.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{self, Cgroup, container_id, container_path, uid},
    check_eq,
    oomtrace::{Oomtrace, losses, of_kind},
    page_bytes,
    scenarios::{Scenario, Spared, run_to_death},
    workload,
};

pub(crate) const ALL: &[Scenario] = &[
    ("all_rungs_tell_the_same_of_a_container_over_its_limit", container_limit),
    ("all_rungs_tell_the_same_of_a_group_kill", group_kill),
    ("all_rungs_tell_the_same_of_a_node_out_of_memory", global_oom),
    ("a_kill_comes_with_what_memory_looked_like_on_every_rung", pressure),
    ("the_log_places_kills_whose_reports_the_kernel_left_out", left_out_reports),
    ("the_log_overwritten_before_it_was_read_is_reported_as_lost", overrun),
    ("a_kill_that_the_log_lost_is_reported_by_its_cgroups_count", counted),
    ("the_log_of_before_is_reported_where_that_is_asked_for", backlog),
    ("the_log_is_read_where_no_probe_attaches", fallback),
    ("a_log_that_may_not_be_read_is_said_with_its_remedy", no_syslog),
];

/// The rungs, best first.
const RUNGS: [&str; 4] = ["fentry", "kprobe", "tracepoint", "kmsg"];

/// Records of some 900 bytes.
const FLOOD: u64 = 8000;

/// How far the sizes of a process may differ between its mark, its table row and the line of its kill: what
/// `percpu_counter` leaves unadded on two CPUs, 32 pages each, and what it gives back or takes meanwhile.
const SLACK_PAGES: u64 = 4 * 32;

/// Runs a workload to its death in a cgroup with oomtrace on every rung, and gives the lines of each.
fn on_every_rung(happens: impl FnOnce() -> Outcome) -> Result<Vec<(&'static str, Vec<Value>)>> {
    let started: Vec<_> =
        RUNGS.iter().map(|rung| Ok((*rung, Oomtrace::start(&["--probe", rung])?))).collect::<Result<_>>()?;
    happens()?;
    // So long the log is waited for: more lines might follow.
    thread::sleep(Duration::from_millis(1500));
    started.into_iter().map(|(rung, oomtrace)| Ok((rung, oomtrace.stop()?))).collect()
}

fn only_kill<'a>(rung: &str, lines: &'a [Value]) -> Result<&'a Value> {
    let kills = of_kind(lines, "oom_kill");
    ensure!(kills.len() == 1, "{rung} reported {} kills: {lines:#?}", kills.len());
    Ok(kills[0])
}

/// Every field of an event that is not an object or a list, by its path.
fn fields(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                fields(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            found.push((format!("{path}[]"), json!(list.len())));
            for (at, value) in list.iter().enumerate() {
                fields(value, &format!("{path}[{at}]"), found);
            }
        }
        _ => found.push((path.to_owned(), value.clone())),
    }
}

/// Compares a kill as every rung tells it: what two of them know, they know alike. Prints who knows what.
fn compare(reported: &[(&'static str, &Value)]) -> Outcome {
    // Of oomtrace itself, not of the kill.
    const OWN: [&str; 6] = ["ts", "boot_ns", "seq", "source", "node", "decision"];
    let mut table: Vec<(String, Vec<Value>)> = Vec::new();
    for (at, (_, kill)) in reported.iter().enumerate() {
        let mut found = Vec::new();
        fields(kill, "", &mut found);
        for (path, value) in found {
            let known = table.iter_mut().find(|(known, _)| *known == path);
            if let Some((_, values)) = known {
                values[at] = value;
            } else {
                let mut values = vec![Value::Null; reported.len()];
                values[at] = value;
                table.push((path, values));
            }
        }
    }
    // Of candidates with nearly the same points any may come first, but for the victim.
    let is_of_others = |path: &str| path.starts_with("candidates[") && !path.starts_with("candidates[0]");
    for (path, values) in table.iter().filter(|(path, _)| !OWN.contains(&path.as_str()) && !is_of_others(path)) {
        let marks: Vec<_> = values.iter().map(|value| if value.is_null() { "-" } else { "x" }).collect();
        println!("FIELD {path} {}", marks.join(" "));
        let mut known = values.iter().zip(reported).filter(|(value, _)| !value.is_null());
        let Some((first, (best, _))) = known.next() else { continue };
        for (value, (rung, _)) in known {
            let alike = match (first.as_i64(), value.as_i64()) {
                (Some(one), Some(other)) if path.ends_with("_bytes") => {
                    one.abs_diff(other) <= SLACK_PAGES * page_bytes()
                }
                // The log lists those that still have memory, the probes also those that have just given it up.
                (Some(one), Some(other)) if path == "candidates_weighed" || path == "candidates[]" => {
                    (0..=2).contains(&(one - other))
                }
                (Some(one), Some(other)) if path.ends_with("points") => one.abs_diff(other) <= SLACK_PAGES,
                _ => first == value,
            };
            ensure!(alike, "{path}: {best} tells {first}, {rung} tells {value}");
        }
    }
    // A tracepoint alone tells a kill at its mark, which comes after the kernel has written its report.
    let of_decision = reported.iter().filter(|(rung, _)| *rung != "tracepoint");
    let moments: Vec<_> = of_decision
        .map(|(rung, kill)| kill["boot_ns"].as_u64().with_context(|| format!("{rung}: no boot_ns")))
        .collect::<Result<_>>()?;
    let (first, last) = (moments.iter().min().unwrap_or(&0), moments.iter().max().unwrap_or(&0));
    println!("all within {} ms", (last - first) / 1_000_000);
    ensure!(last - first < 1_000_000_000, "the rungs differ by {} ns", last - first);
    Ok(())
}

fn container_limit() -> Outcome {
    let container = Cgroup::make(&container_path(40, 40))?;
    container.limit(20)?;
    let reported = on_every_rung(|| run_to_death("eat", &container))?;
    let kills =
        reported.iter().map(|(rung, lines)| Ok((*rung, only_kill(rung, lines)?))).collect::<Result<Vec<_>>>()?;
    compare(&kills)?;
    for (rung, kill) in &kills {
        check_eq!(kill["pod"]["uid"], json!(uid(40)), "{rung}: pod.uid");
        check_eq!(kill["container"]["id"], json!(container_id(40)), "{rung}: container.id");
    }
    for (rung, kill) in kills.iter().filter(|(rung, _)| *rung != "tracepoint") {
        check_eq!(kill["limit"]["level"], json!("container"), "{rung}: limit.level");
        check_eq!(kill["limit"]["limit_bytes"], json!(20 << 20), "{rung}: limit.limit_bytes");
        check_eq!(kill["constraint"], json!("MEMCG"), "{rung}: constraint");
        ensure!(kill["trigger"]["comm"].is_string() && kill["gfp"].is_string(), "{rung}: {kill:#}");
        ensure!(kill["candidates"].as_array().is_some_and(|list| !list.is_empty()), "{rung}: {kill:#}");
    }
    for (rung, lines) in &reported {
        let why: Vec<_> = of_kind(lines, "oom_victim").iter().map(|victim| victim["why"].clone()).collect();
        check_eq!(why, [json!("killed")], "{rung}: oom_victim.why");
        let lost = losses(lines);
        ensure!(lost.is_empty() && of_kind(lines, "error").is_empty(), "{rung}: {lines:#?}");
    }
    Ok(())
}

fn group_kill() -> Outcome {
    if cgroup::is_v1() {
        return Ok(());
    }
    let container = Cgroup::make(&container_path(41, 41))?;
    container.limit(20)?;
    fs::write(container.folder().join("memory.oom.group"), "1")?;
    let mut others = [workload::start("rest", &container.procs())?, workload::start("rest", &container.procs())?];
    thread::sleep(Duration::from_millis(300));
    let reported = on_every_rung(|| run_to_death("eat", &container))?;
    for other in &mut others {
        other.wait()?;
    }
    let mut expected: Vec<_> = others.iter().map(|other| u64::from(other.id())).collect();
    expected.sort_unstable();
    // A tracepoint alone does not tell one decision from the next.
    let reported: Vec<_> = reported.iter().filter(|(rung, _)| *rung != "tracepoint").collect();
    let kills =
        reported.iter().map(|(rung, lines)| Ok((*rung, only_kill(rung, lines)?))).collect::<Result<Vec<_>>>()?;
    for (rung, kill) in &kills {
        check_eq!(kill["group"], json!(true), "{rung}: group");
    }
    for (rung, lines) in &reported {
        let victims = of_kind(lines, "oom_victim");
        check_eq!(victims.len(), 3, "{rung}: oom_victim lines");
        let group = victims.iter().filter(|victim| victim["why"] == json!("group"));
        let mut pids: Vec<_> = group.clone().filter_map(|member| member["pid"].as_u64()).collect();
        pids.sort_unstable();
        check_eq!(pids, expected, "{rung}: oom_victim lines of the group");
        for member in group {
            check_eq!(member["container"]["id"], json!(container_id(41)), "{rung}: a member's container");
        }
    }
    Ok(())
}

fn global_oom() -> Outcome {
    let container = Cgroup::make(&container_path(42, 42))?;
    let reported = on_every_rung(|| {
        let _spared = Spared::new()?;
        run_to_death("eat-killable", &container)
    })?;
    let kills =
        reported.iter().map(|(rung, lines)| Ok((*rung, only_kill(rung, lines)?))).collect::<Result<Vec<_>>>()?;
    for (rung, kill) in &kills {
        check_eq!(kill["container"]["id"], json!(container_id(42)), "{rung}: container.id");
    }
    // The rungs run beside one another and change each other's candidates; the node's total they must agree on.
    let totals: Vec<_> = kills
        .iter()
        .filter(|(rung, _)| *rung != "tracepoint")
        .map(|(rung, kill)| {
            check_eq!(kill["limit"]["level"], json!("node"), "{rung}: limit.level");
            check_eq!(kill["limit"]["cgroup"], Value::Null, "{rung}: limit.cgroup");
            kill["limit"]["total_bytes"].as_u64().with_context(|| format!("{rung}: no total_bytes"))
        })
        .collect::<Result<_>>()?;
    ensure!(
        totals.iter().all(|total| total.abs_diff(totals[0]) <= SLACK_PAGES * page_bytes()),
        "total_bytes: {totals:?}"
    );
    compare(&kills)
}

fn pressure() -> Outcome {
    let container = Cgroup::make(&container_path(48, 48))?;
    container.limit(20)?;
    // Lives on, so that there is something to be read after the kill.
    let mut other = workload::start("hold-4", &container.procs())?;
    thread::sleep(Duration::from_millis(500));
    let reported = on_every_rung(|| run_to_death("eat", &container))?;
    other.kill()?;
    other.wait()?;
    for (rung, lines) in &reported {
        ensure!(of_kind(lines, "error").is_empty(), "{rung}: {lines:#?}");
        let samples: Vec<_> =
            of_kind(lines, "pressure").into_iter().filter(|sample| sample["scope"] == json!("kill")).collect();
        let levels: Vec<_> = samples.iter().map(|sample| sample["level"].clone()).collect();
        let expected = ["container", "pod", "qos", "kubepods", "node"].map(|level| json!(level));
        check_eq!(levels, expected, "{rung}: levels");
        let of_container = samples[0];
        check_eq!(of_container["limit_bytes"], json!(20 << 20), "{rung}: limit_bytes");
        check_eq!(of_container["container"]["id"], json!(container_id(48)), "{rung}: container.id");
        check_eq!(of_container["cgroup"]["id"], json!(container.id()?), "{rung}: cgroup.id");
        check_eq!(of_container["events_oom_kill"], json!(1), "{rung}: events_oom_kill");
        let size = |field: &str| of_container[field].as_u64().with_context(|| format!("{rung}: no {field}"));
        ensure!((4 << 20..=20 << 20).contains(&size("usage_bytes")?), "{rung}: {of_container:#}");
        ensure!(size("working_set_bytes")? <= size("usage_bytes")?, "{rung}: {of_container:#}");
        // The kernel adds to these some pages at a time.
        ensure!(size("anon_bytes")? >= 3 << 20, "{rung}: {of_container:#}");
        ensure!(size("events_max")? > 0, "{rung}: {of_container:#}");
        let node = samples[4];
        let size = |field: &str| node[field].as_u64().with_context(|| format!("{rung}: the node has no {field}"));
        ensure!(size("available_bytes")? < size("limit_bytes")?, "{rung}: {node:#}");
        ensure!(size("working_set_bytes")? > 0, "{rung}: {node:#}");
    }
    Ok(())
}

/// More kills than the kernel reports: 10 in 5 seconds.
fn left_out_reports() -> Outcome {
    let containers = [Cgroup::make(&container_path(43, 43))?, Cgroup::make(&container_path(43, 44))?];
    for container in &containers {
        container.limit(6)?;
    }
    let oomtrace = Oomtrace::start(&["--probe", "kmsg"])?;
    for number in 0..40 {
        run_to_death("eat", &containers[number % 2])?;
    }
    // Until the kernel reports again (`oom_rs`, `mm/oom_kill.c`): the next test has a kill, too.
    thread::sleep(Duration::from_secs(6));
    let lines = oomtrace.stop()?;
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 40, "kills");
    let without_limit = kills.iter().filter(|kill| kill["limit"].is_null()).count();
    ensure!(without_limit > 0, "the kernel left no report out: the burst is too slow to prove anything");
    let placed = kills.iter().filter(|kill| kill["container"]["id"].is_string()).count();
    println!("{without_limit} of 40 without a limit, {placed} of 40 placed");
    for (number, kill) in kills.iter().enumerate() {
        let expected = container_id(43 + u32::try_from(number % 2)?);
        let id = &kill["container"]["id"];
        ensure!(id.is_null() || *id == json!(expected), "kill {number} is placed in {id}");
        ensure!(id.is_string() || kill["limit"].is_null(), "a kill with its report has no container: {kill:#}");
    }
    // Some victims are gone before their line is read; most of them are not. On cgroup v1 the kernel does not say where
    // an exiting task was.
    let none_placed = placed <= 40 - without_limit && !cgroup::is_v1();
    ensure!(!none_placed, "of {without_limit} kills without a report none was placed");
    Ok(())
}

/// A stopped oomtrace reads nothing, while somebody fills the log.
fn overrun() -> Outcome {
    let container = Cgroup::make(&container_path(45, 45))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&["--probe", "kmsg"])?;
    oomtrace.signal(libc::SIGSTOP)?;
    flood_log()?;
    oomtrace.signal(libc::SIGCONT)?;
    thread::sleep(Duration::from_secs(1));
    run_to_death("eat", &container)?;
    thread::sleep(Duration::from_millis(1500));
    let lines = oomtrace.stop()?;
    let lost: u64 = of_kind(&lines, "lost")
        .iter()
        .filter(|lost| lost["from"] == json!("kernel_log"))
        .filter_map(|lost| lost["count"].as_u64())
        .sum();
    ensure!(lost > FLOOD / 2 && lost < FLOOD + 100, "{lost} records were reported as lost of {FLOOD}");
    let stopped = lines.last().context("no lines")?;
    let in_status = stopped["losses"].as_array().into_iter().flatten().find(|loss| loss["from"] == json!("kernel_log"));
    check_eq!(in_status.map(|loss| &loss["count"]), Some(&json!(lost)), "lost in the last status");
    let kill = only_kill("kmsg", &lines)?;
    check_eq!(kill["limit"]["cgroup"], json!(container.path), "limit.cgroup");
    Ok(())
}

/// Writes a few times what the log's buffer holds in the matrix's kernels.
fn flood_log() -> Outcome {
    fs::write("/proc/sys/kernel/printk_devkmsg", "on\n").context("printk_devkmsg")?;
    let mut log = OpenOptions::new().write(true).open("/dev/kmsg")?;
    let line = "x".repeat(900);
    for number in 0..FLOOD {
        // In one write: each is a record.
        log.write_all(format!("{number} {line}\n").as_bytes())?;
    }
    Ok(())
}

/// One kill that the log tells, in a container that was there before, and one that it loses, in a new one.
fn counted() -> Outcome {
    let container = Cgroup::make(&container_path(49, 49))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&["--probe", "kmsg"])?;
    let attached = oomtrace.status["attached"].as_object().into_iter().flatten();
    let by: Vec<_> = attached.map(|(_, attached)| attached).collect();
    check_eq!(by, ["kernel_log", "cgroup_events"], "what is attached, and how");
    run_to_death("eat", &container)?;
    let made_later = Cgroup::make(&container_path(49, 50))?;
    made_later.limit(20)?;
    thread::sleep(Duration::from_millis(1500));
    oomtrace.signal(libc::SIGSTOP)?;
    run_to_death("eat", &made_later)?;
    flood_log()?;
    oomtrace.signal(libc::SIGCONT)?;
    // So long a count waits for its line in the log.
    thread::sleep(Duration::from_secs(25));
    let lines = oomtrace.stop()?;
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 2, "kills");
    check_eq!(kills[0]["container"]["id"], json!(container_id(49)), "the container of the kill in the log");
    ensure!(kills[0]["victim"]["pid"].is_u64(), "{:#}", kills[0]);
    check_eq!(kills[1]["container"]["id"], json!(container_id(50)), "the container of the kill that the log lost");
    check_eq!(kills[1]["cgroup"]["id"], json!(made_later.id()?), "its cgroup.id");
    check_eq!(kills[1]["victim"]["pid"], Value::Null, "its victim.pid");
    Ok(())
}

fn backlog() -> Outcome {
    let container = Cgroup::make(&container_path(46, 46))?;
    container.limit(20)?;
    run_to_death("eat", &container)?;
    for (arguments, expected) in [(&["--probe", "kmsg"][..], 0), (&["--probe", "kmsg", "--kernel-log-backlog"], 1)] {
        let oomtrace = Oomtrace::start(arguments)?;
        thread::sleep(Duration::from_millis(1500));
        let lines = oomtrace.stop()?;
        let path = json!(container.path);
        let reported = of_kind(&lines, "oom_kill").iter().filter(|kill| kill["cgroup"]["path"] == path).count();
        check_eq!(reported, expected, "kills reported with {arguments:?}");
    }
    Ok(())
}

/// Lets a command run without some capabilities, though as root: what it executes gets what the bounding set leaves.
pub(crate) fn without(command: &mut Command, capabilities: &'static [CapabilitySet]) {
    let drop = move || {
        for capability in capabilities {
            remove_capability_from_bounding_set(*capability)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec this makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(drop) };
}

fn fallback() -> Outcome {
    let container = Cgroup::make(&container_path(47, 47))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start_as(&[], |command| {
        without(command, &[CapabilitySet::SYS_ADMIN, CapabilitySet::BPF, CapabilitySet::PERFMON]);
    })?;
    check_eq!(oomtrace.status["attached"]["/dev/kmsg"], json!("kernel_log"), "how the kernel's log is attached");
    let degraded = oomtrace.status["degraded"].to_string();
    ensure!(degraded.contains("CAP_BPF") && degraded.contains("no limit of a kill"), "{degraded}");
    run_to_death("eat", &container)?;
    let lines = oomtrace.stop()?;
    let kill = only_kill("auto", &lines)?;
    check_eq!(kill["source"], json!("kmsg"), "source");
    check_eq!(kill["container"]["id"], json!(container_id(47)), "container.id");
    Ok(())
}

fn no_syslog() -> Outcome {
    fs::write("/proc/sys/kernel/dmesg_restrict", "1").context("dmesg_restrict")?;
    let mut command = Command::new("oomtrace");
    command.args(["run", "--probe", "kmsg"]);
    without(&mut command, &[CapabilitySet::SYSLOG, CapabilitySet::SYS_ADMIN]);
    let output = command.output()?;
    fs::write("/proc/sys/kernel/dmesg_restrict", "0")?;
    check_eq!(output.status.code(), Some(1), "exit status");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(said.contains("/dev/kmsg may not be read") && said.contains("CAP_SYSLOG"), "{said}");
    Ok(())
}
