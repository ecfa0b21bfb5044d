//! Deaths made by `oomtrace leak`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    check_eq,
    oomtrace::{Oomtrace, of_kind, only_kill},
    scenarios::Scenario,
};

pub(crate) const ALL: &[Scenario] = &[
    ("a_leak_over_its_containers_limit_is_killed", killed),
    ("a_leaking_child_is_killed_while_the_first_process_lives", child_killed),
    ("a_leak_that_touches_little_lives_under_a_limit_below_what_it_asked_for", untouched),
    ("a_leak_of_shared_memory_is_reported_as_such", shared),
    ("how_memory_grew_before_a_kill_is_recorded", recorded),
];

/// Starts `oomtrace leak` in a cgroup: a shell enters it first, and becomes it.
fn start(container: &Cgroup, arguments: &str) -> Result<(Child, BufReader<ChildStdout>)> {
    let script = format!("echo $$ > '{}' && exec oomtrace leak {arguments}", container.procs().display());
    let mut child = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no standard output")?;
    Ok((child, BufReader::new(stdout)))
}

fn killed() -> Outcome {
    let container = Cgroup::make(&container_path(30, 30))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    let (mut leak, stdout) = start(&container, "--block 4MiB --every 10ms --max 300MiB")?;
    let steps = stdout.lines().count();
    leak.wait()?;
    let lines = oomtrace.stop()?;
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 1, "kills");
    check_eq!(kills[0]["victim"]["tgid"], json!(leak.id()), "victim.tgid");
    check_eq!(kills[0]["victim"]["comm"], json!("oomtrace"), "victim.comm");
    ensure!((2..=5).contains(&steps), "{steps} steps of 4 MiB below 20 MiB");
    Ok(())
}

/// Five MiB a second, from the cgroup's making to its limit.
fn recorded() -> Outcome {
    let oomtrace = Oomtrace::start(&[])?;
    let container = Cgroup::make(&container_path(34, 34))?;
    container.limit(40)?;
    let (mut leak, stdout) = start(&container, "--block 1MiB --every 200ms --max 300MiB")?;
    let steps = stdout.lines().count();
    ensure!(steps >= 30, "{steps} steps of 1 MiB to 40 MiB");
    leak.wait()?;
    let lines = oomtrace.stop()?;
    let kill = only_kill(&lines)?;
    let of_kill = |read: &&&Value| {
        read["scope"] == "kill"
            && read["cgroup"]["path"] == kill["limit"]["cgroup"]
            && kill["limit"]["cgroup"].is_string()
    };
    let pressures = of_kind(&lines, "pressure");
    let read = pressures.iter().find(of_kill).context("no reading of the cgroup at its limit")?;
    let earlier = read["earlier"].as_array().context("nothing from before")?;
    let number = |reading: &Value, field: &str| reading[field].as_u64().unwrap_or(0);
    ensure!((4..=20).contains(&earlier.len()), "{} readings of some 8 s: {earlier:?}", earlier.len());
    for pair in earlier.windows(2) {
        ensure!(number(&pair[0], "age_ms") > number(&pair[1], "age_ms"), "not in the order of time: {earlier:?}");
        ensure!(number(&pair[0], "usage_bytes") <= number(&pair[1], "usage_bytes"), "it did not fall: {earlier:?}");
    }
    let incidents = of_kind(&lines, "incident");
    let verdict = &incidents.last().context("no incident")?["verdict"];
    check_eq!(verdict["shape"], json!("spike"), "the shape of {verdict}");
    ensure!(verdict["shape_basis"].as_str().is_some_and(|basis| basis.starts_with("rose by ")), "{verdict}");
    Ok(())
}

fn child_killed() -> Outcome {
    let container = Cgroup::make(&container_path(31, 31))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    let (mut leak, stdout) = start(&container, "--block 4MiB --every 10ms --max 300MiB --child --hold")?;
    // Kept to the end: without a reader the first process would end.
    let mut steps = stdout.lines();
    let reported = steps.find(|line| !line.as_ref().is_ok_and(|line| line.contains(": step "))).context("no end")??;
    let lives_on = steps.next().context("the first process says nothing more")??;
    ensure!(lives_on.contains("lives on"), "{lives_on}");
    ensure!(reported.contains("was killed (SIGKILL)"), "{reported}");
    ensure!(leak.try_wait()?.is_none(), "the first process ended, too");
    let lines = oomtrace.stop()?;
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 1, "kills");
    ensure!(kills[0]["victim"]["tgid"] != json!(leak.id()), "the first process was the victim");
    leak.kill()?;
    leak.wait()?;
    Ok(())
}

fn untouched() -> Outcome {
    let container = Cgroup::make(&container_path(32, 32))?;
    container.limit(20)?;
    let (mut leak, stdout) = start(&container, "--block 10MiB --every 10ms --max 100MiB --touch 5%")?;
    let mut steps = stdout.lines();
    let held = steps.find(|line| line.as_ref().is_ok_and(|line| line.contains("holds 100 MiB")));
    ensure!(held.is_some(), "it did not come to hold 100 MiB");
    ensure!(leak.try_wait()?.is_none(), "it ended by itself");
    leak.kill()?;
    leak.wait()?;
    Ok(())
}

fn shared() -> Outcome {
    let container = Cgroup::make(&container_path(33, 33))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[])?;
    let (mut leak, _stdout) = start(&container, "--block 4MiB --every 10ms --max 300MiB --shm")?;
    leak.wait()?;
    let lines = oomtrace.stop()?;
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 1, "kills");
    let shmem = kills[0]["victim"]["rss_shmem_bytes"].as_u64().context("rss_shmem_bytes is not known")?;
    ensure!(shmem > 12 << 20, "only {shmem} bytes of shared memory");
    Ok(())
}
