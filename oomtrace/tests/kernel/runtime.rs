//! Names of containers that a real runtime made: containerd and runc, asked as a kubelet asks them.

mod deployed;
mod journal;
mod kubelet;
mod manifest;
mod requests;

use std::{
    collections::HashMap,
    env, fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::thread::CapabilitySet;
use serde_json::Value;

use self::kubelet::{Container, IMAGE, Kubelet, Pod, SOCKET, start_containerd, stop_containerd};
use crate::{
    Outcome,
    cgroup::uid,
    check_eq,
    oomtrace::{Oomtrace, of_kind, only_kill},
    rungs::without,
    scenarios::{Scenario, after, boot_ns},
};

pub(crate) const ALL: &[Scenario] = &[
    ("a_container_over_its_limit_is_named", over_limit),
    ("the_runtimes_events_tell_an_end_with_its_exit_code", events),
    ("a_container_that_outlived_a_kill_is_called_oom_killed_when_it_is_stopped", called_oom_killed),
    ("a_container_that_is_gone_before_anybody_looks_is_named", gone_at_once),
    ("a_pod_in_slices_is_named", in_slices),
    ("containers_made_killed_and_removed_several_at_a_time_are_all_named_right", short_lives),
    ("without_a_runtimes_socket_its_files_name_containers_that_are_removed_as_soon_as_killed", files_alone),
    ("a_runtime_that_comes_later_and_restarts_is_asked_again", runtime_restarts),
    ("without_a_runtime_the_folders_of_logs_name_the_same", logs_alone),
    ("doctor_finds_the_sources_of_names_that_a_node_has", doctor),
    ("the_image_run_as_the_manifest_says_names_a_kill_and_pairs_it_with_the_kubelets_words", deployed::names_and_pairs),
    ("root_needs_no_capability_for_names_and_anybody_reads_those_of_links_to_logs", least_privileges),
    ("pods_shows_sandbox_and_container_with_limit_and_source", pods),
];

const EAT: [&str; 4] = ["/workload", "--workload", "eat", ""];
/// Begins to eat after two seconds.
const EAT_LATER: [&str; 3] = ["/bin/sh", "-c", "sleep 2; exec /workload --workload eat ''"];
/// How long the kills of a test are waited for.
const LONG: Duration = Duration::from_mins(2);

/// Waits until the kernel has killed in a container, or its cgroup is gone for that.
fn wait_for_kill(container: &Container) -> Result<()> {
    let events = Path::new("/sys/fs/cgroup").join(container.cgroup.trim_start_matches('/')).join("memory.events");
    let started = Instant::now();
    loop {
        match fs::read_to_string(&events) {
            Ok(events) if !events.lines().any(|line| line == "oom_kill 0") => return Ok(()),
            Ok(_) => thread::sleep(Duration::from_millis(1)),
            Err(_) => return Ok(()),
        }
        ensure!(started.elapsed() < LONG, "{} is not killed", container.name);
    }
}

/// That an object of a line names this pod and container.
fn check_names(what: &Value, pod: &Pod, container: &Container) -> Outcome {
    check_eq!(what["pod"]["namespace"], "shop", "the namespace in {what}");
    check_eq!(what["pod"]["name"], pod.name.as_str(), "the pod in {what}");
    check_eq!(what["pod"]["uid"], pod.uid.as_str(), "the uid in {what}");
    check_eq!(what["container"]["name"], container.name.as_str(), "the container in {what}");
    check_eq!(what["container"]["id"], container.id.as_str(), "the id in {what}");
    Ok(())
}

fn over_limit() -> Outcome {
    reported_with_its_end(900, &[])
}

fn events() -> Outcome {
    reported_with_its_end(906, &["--cri-events"])
}

fn reported_with_its_end(number: u32, arguments: &[&str]) -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let oomtrace = Oomtrace::start(arguments)?;
    let pod = kubelet.pod(number)?;
    let container = kubelet.container(&pod, "app", 3, &EAT)?;
    wait_for_kill(&container)?;
    // Without events the runtime is asked every 3 s.
    thread::sleep(Duration::from_secs(5));
    let lines = oomtrace.stop()?;
    kubelet.remove_pod(&pod)?;
    let kill = only_kill(&lines)?;
    check_names(kill, &pod, &container)?;
    check_names(&kill["victim"], &pod, &container)?;
    check_names(&kill["limit"], &pod, &container)?;
    check_eq!(kill["container"]["image"], IMAGE, "the image");
    check_eq!(kill["container"]["restart_count"], 3, "the restart count, which only CRI tells here");
    let ends = of_kind(&lines, "process_exit");
    let end = ends.iter().find(|end| end["oom_victim"] == true).context("no end of the victim")?;
    check_names(end, &pod, &container)?;
    // What the runtime reports of it in its own time.
    let changes = of_kind(&lines, "container");
    let died = changes.iter().find(|change| change["action"] == "died").context("the runtime reported no end")?;
    check_names(died, &pod, &container)?;
    check_eq!(died["exit_code"], 137, "the exit code");
    check_eq!(died["source"], "cri", "the source");
    Ok(())
}

/// containerd calls a container `OOMKilled` in whose cgroup anything was killed, whatever it ends of.
fn called_oom_killed() -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let oomtrace = Oomtrace::start(&["--cri-events"])?;
    let pod = kubelet.pod(907)?;
    let outlives = "trap 'exit 143' TERM; /workload --workload eat ''; while :; do sleep 1; done";
    let container = kubelet.container(&pod, "app", 0, &["/bin/sh", "-c", outlives])?;
    wait_for_kill(&container)?;
    // By then it has nothing to do with the kill.
    thread::sleep(Duration::from_secs(5));
    kubelet.stop(&container)?;
    thread::sleep(Duration::from_secs(5));
    let lines = oomtrace.stop()?;
    kubelet.remove_pod(&pod)?;
    let incidents = of_kind(&lines, "incident");
    let last = |scenario: &str| incidents.iter().rfind(|incident| incident["verdict"]["scenario"] == scenario);
    let kill = last("container_limit").context("no incident of the kill")?;
    check_eq!(kill["verdict"]["invisible"], true, "whether the container outlived it: {kill}");
    let end = last("killed").context("no incident of the end")?;
    check_names(end, &pod, &container)?;
    check_eq!(end["verdict"]["kubernetes_shows"], serde_json::json!(["OOMKilled 143"]), "what Kubernetes shows");
    let summary = end["verdict"]["summary"].as_str().unwrap_or_default();
    for words in [
        "by the container runtime",
        "not by the OOM killer",
        "Kubernetes calls it OOMKilled because",
        "was OOM-killed in it",
    ] {
        ensure!(summary.contains(words), "{words:?} is not in {summary:?}");
    }
    Ok(())
}

fn gone_at_once() -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let oomtrace = Oomtrace::start(&[])?;
    let pod = kubelet.pod(901)?;
    let container = kubelet.container(&pod, "app", 0, &EAT_LATER)?;
    thread::sleep(Duration::from_secs(1));
    // From before the kill until everything is gone, nothing can be read or asked.
    oomtrace.signal(libc::SIGSTOP)?;
    wait_for_kill(&container)?;
    kubelet.remove(&container)?;
    let gone_ns = boot_ns();
    kubelet.remove_pod(&pod)?;
    ensure!(!Path::new("/sys/fs/cgroup").join(&container.cgroup[1..]).exists(), "its cgroup is still there");
    oomtrace.signal(libc::SIGCONT)?;
    let lines = oomtrace.stop()?;
    let kill = only_kill(&lines)?;
    println!("removed {:?} after the kill", after(kill, gone_ns)?);
    check_names(kill, &pod, &container)
}

fn in_slices() -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let oomtrace = Oomtrace::start(&[])?;
    let slice = format!("kubepods-burstable-pod{}.slice", uid(902).replace('-', "_"));
    let pod = kubelet.pod_in(902, &format!("/kubepods.slice/kubepods-burstable.slice/{slice}"))?;
    let container = kubelet.container(&pod, "app", 0, &EAT)?;
    wait_for_kill(&container)?;
    thread::sleep(Duration::from_secs(1));
    let lines = oomtrace.stop()?;
    kubelet.remove_pod(&pod)?;
    check_names(only_kill(&lines)?, &pod, &container)
}

/// How many containers live for a moment at a time.
const AT_A_TIME: usize = 4;

/// How many there are in all: each takes an emulated guest seconds, so that 100 of them take four minutes. What 20 a second
/// come to is in [`names`](crate::names).
fn short_lives_wanted() -> Result<usize> {
    env::var("OOMTRACE_TEST_SHORT_LIVES").map_or(Ok(16), |number| Ok(number.parse()?))
}

/// A container that was made, killed and removed as soon as that was seen.
struct ShortLife<'a> {
    pod: &'a Pod,
    container: Container,
    restarts: u32,
    gone_ns: u64,
}

/// One after the other.
fn lives(pod: &Pod, numbers: impl Iterator<Item = usize>) -> Result<Vec<ShortLife<'_>>> {
    let mut kubelet = Kubelet::connect()?;
    let live = |number: usize| {
        let restarts = u32::try_from(number)?;
        let container = kubelet.container(pod, &format!("app-{number}"), restarts, &EAT)?;
        wait_for_kill(&container)?;
        kubelet.remove(&container)?;
        Ok(ShortLife { pod, container, restarts, gone_ns: boot_ns() })
    };
    numbers.map(live).collect()
}

fn short_lives() -> Outcome {
    short_lives_named(910, short_lives_wanted()?, &[], |kill, life| {
        check_eq!(kill["container"]["restart_count"], life.restarts, "the restart count of {}", life.container.name);
        Ok(())
    })
}

/// As on a node whose runtime's socket oomtrace may not have.
fn files_alone() -> Outcome {
    short_lives_named(920, AT_A_TIME, &["--cri-endpoint", "/nowhere.sock"], |_, _| Ok(()))
}

fn short_lives_named(
    first_pod: u32,
    wanted: usize,
    arguments: &[&str],
    check: impl Fn(&Value, &ShortLife<'_>) -> Outcome,
) -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let pods: Vec<_> = (first_pod..).take(AT_A_TIME).map(|number| kubelet.pod(number)).collect::<Result<_>>()?;
    let oomtrace = Oomtrace::start(arguments)?;
    let started = Instant::now();
    let removed = thread::scope(|scope| {
        let start = |(first, pod)| scope.spawn(move || lives(pod, (first..wanted).step_by(AT_A_TIME)));
        let threads: Vec<_> = pods.iter().enumerate().map(start).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let took = started.elapsed();
    let lines = oomtrace.stop()?;
    for pod in &pods {
        kubelet.remove_pod(pod)?;
    }
    let removed: Vec<_> = removed.into_iter().flatten().collect();
    let kills: HashMap<_, _> =
        of_kind(&lines, "oom_kill").into_iter().map(|kill| (kill["container"]["id"].as_str(), kill)).collect();
    check_eq!(removed.len(), wanted, "containers");
    let mut gone = Vec::new();
    for life in &removed {
        let ShortLife { pod, container, gone_ns, .. } = life;
        let kill = kills.get(&Some(&container.id)).with_context(|| format!("no kill in {}", container.name))?;
        gone.push(after(kill, *gone_ns)?);
        check_names(kill, pod, container)?;
        check_names(&kill["victim"], pod, container)?;
        check_eq!(kill["container"]["image"], IMAGE, "the image of {}", container.name);
        check(kill, life)?;
    }
    gone.sort_unstable();
    println!(
        "{wanted} containers in {took:?}: {:.1} a second, removed {:?} (the quickest), {:?} (half), {:?} (all) after the kill",
        f64::from(u32::try_from(wanted)?) / took.as_secs_f64(),
        gone[0],
        gone[gone.len() / 2],
        gone[gone.len() - 1],
    );
    Ok(())
}

fn runtime_restarts() -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let pod = kubelet.pod(903)?;
    stop_containerd()?;
    let oomtrace = Oomtrace::start(&[])?;
    thread::sleep(Duration::from_secs(1));
    start_containerd()?;
    let mut kubelet = Kubelet::start()?;
    let first = kubelet.container(&pod, "first", 5, &EAT_LATER)?;
    wait_for_kill(&first)?;
    stop_containerd()?;
    start_containerd()?;
    let mut kubelet = Kubelet::start()?;
    // It begins anew after 100 ms, 200 ms, … 5 s.
    thread::sleep(Duration::from_secs(6));
    let second = kubelet.container(&pod, "second", 6, &EAT_LATER)?;
    wait_for_kill(&second)?;
    thread::sleep(Duration::from_secs(2));
    let lines = oomtrace.stop()?;
    kubelet.remove_pod(&pod)?;
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 2, "kills");
    for (kill, (container, restarts)) in kills.iter().zip([(first, 5), (second, 6)]) {
        check_names(kill, &pod, &container)?;
        check_eq!(kill["container"]["restart_count"], restarts, "what only CRI knows");
    }
    Ok(())
}

/// `oomtrace pods` with these arguments, by container.
fn ask_pods(arguments: &[&str]) -> Result<HashMap<String, Value>> {
    ask_pods_as(arguments, |_| {})
}

/// The same, with something done to the command before it runs.
fn ask_pods_as(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Result<HashMap<String, Value>> {
    let mut command = Command::new("oomtrace");
    command.args(["pods", "--format", "json", "--kubelet-url", "off"]).args(arguments);
    prepare(&mut command);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let by_id = rows.into_iter().filter_map(|row| Some((row["container"]["id"].as_str()?.to_owned(), row)));
    Ok(by_id.collect())
}

fn logs_alone() -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let pod = kubelet.pod(904)?;
    let container = kubelet.container(&pod, "app", 2, &["/bin/sleep", "1000"])?;
    let folder = Path::new("/tmp/logs-alone/var");
    fs::create_dir_all(folder)?;
    std::os::unix::fs::symlink("/var/log", folder.join("log"))
        .or_else(|error| if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })?;
    let alone = ask_pods(&["--host-root", "/tmp/logs-alone"])?;
    let with_cri = ask_pods(&[])?;
    kubelet.remove_pod(&pod)?;
    let (alone, with_cri) = (&alone[&container.id], &with_cri[&container.id]);
    check_eq!(alone["source"], "pod_logs", "who reported");
    check_eq!(with_cri["source"], "cri", "who reported");
    check_eq!(alone["pod"], with_cri["pod"], "the pod");
    for what in ["name", "id", "restart_count"] {
        check_eq!(alone["container"][what], with_cri["container"][what], "the container's {what}");
    }
    check_names(alone, &pod, &container)
}

fn least_privileges() -> Outcome {
    const NOBODY: u32 = 65_534;
    let mut kubelet = Kubelet::start()?;
    let pod = kubelet.pod(908)?;
    let container = kubelet.container(&pod, "app", 1, &["/bin/sleep", "1000"])?;
    // `CAP_CHECKPOINT_RESTORE` is the last of them.
    let capabilities = (0..=40).map(|bit| CapabilitySet::from_bits_retain(1 << bit)).collect::<Vec<_>>().leak();
    let root = ask_pods_as(&[], |command| without(command, capabilities))?;
    let files = ask_pods_as(&["--cri-endpoint", "/nowhere.sock"], |command| without(command, capabilities))?;
    let nobody = ask_pods_as(&[], |command| {
        command.uid(NOBODY).gid(NOBODY);
    })?;
    kubelet.remove_pod(&pod)?;
    for (rows, source) in [(root, "cri"), (files, "oci_config"), (nobody, "pod_logs")] {
        let row = rows.get(&container.id).with_context(|| format!("{source}: the container is not shown"))?;
        check_eq!(row["source"], source, "who reported");
        check_names(row, &pod, &container)?;
        check_eq!(row["limit_bytes"], 20 << 20, "the limit in force");
        // A sandbox has no log, and so nothing tells it from a container.
        let role = if source == "pod_logs" { Value::Null } else { Value::from("sandbox") };
        check_eq!(rows[&pod.sandbox]["container"]["role"], role, "{source}: the sandbox's role");
    }
    Ok(())
}

fn pods() -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let pod = kubelet.pod(905)?;
    let container = kubelet.container(&pod, "app", 0, &["/bin/sleep", "1000"])?;
    let rows = ask_pods(&[])?;
    let table = Command::new("oomtrace").args(["pods", "--kubelet-url", "off"]).output()?;
    kubelet.remove_pod(&pod)?;
    let row = rows.get(&container.id).context("the container is not shown")?;
    check_names(row, &pod, &container)?;
    check_eq!(row["limit_bytes"], 20 << 20, "the limit in force");
    check_eq!(row["spec_limit_bytes"], 20 << 20, "the limit of the specification");
    check_eq!(row["cgroup"]["path"], container.cgroup.as_str(), "the cgroup");
    ensure!(row["usage_bytes"].as_u64().is_some_and(|usage| usage > 0), "no usage: {row}");
    ensure!(row["oom_score_adj"].is_i64(), "no oom_score_adj: {row}");
    check_eq!(row["labels"], serde_json::json!([["app", "web"]]), "the pod's labels");
    let sandbox = rows.get(&pod.sandbox).context("the sandbox is not shown")?;
    check_eq!(sandbox["container"]["role"], "sandbox", "the sandbox's role");
    check_eq!(sandbox["pod"]["name"], pod.name.as_str(), "the sandbox's pod");
    let table = String::from_utf8(table.stdout)?;
    let line = table.lines().find(|line| line.contains(&container.id)).context("not in the table")?;
    ensure!(line.starts_with("shop/web-905 ") && line.contains(" app ") && line.contains(" 20 MiB "), "{line}");
    Ok(())
}

fn doctor() -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let pod = kubelet.pod(907)?;
    kubelet.container(&pod, "app", 0, &["/bin/sleep", "1000"])?;
    let ask = |arguments: &[&str]| {
        let output = Command::new("oomtrace").args(["doctor", "--format", "json"]).args(arguments).output()?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        Ok::<_, anyhow::Error>(report["checks"].as_array().cloned().unwrap_or_default())
    };
    let here = ask(&["--kubelet-url", "off"])?;
    let elsewhere = ask(&["--cri-endpoint", "/nowhere.sock", "--host-root", "/nowhere"])?;
    kubelet.remove_pod(&pod)?;
    let check = |checks: &[Value], name: &str| {
        checks.iter().find(|check| check["name"] == name).cloned().with_context(|| format!("no check {name}"))
    };
    for (name, said) in [
        ("container runtime", SOCKET),
        ("folders of pods' logs", "/var/log/containers"),
        ("runtimes' state files", "/run/containerd/io.containerd.runtime.v2.task"),
    ] {
        let found = check(&here, name)?;
        ensure!(found["ok"] == true && found["found"].as_str().is_some_and(|found| found.contains(said)), "{found}");
        let missing = check(&elsewhere, name)?;
        ensure!(missing["ok"] == false && missing["remedy"].is_string() && missing["lost"].is_string(), "{missing}");
    }
    Ok(())
}
