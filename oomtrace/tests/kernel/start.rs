//! How oomtrace starts.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    check_eq,
    oomtrace::{Oomtrace, of_kind, only_kill, validated, wait_until},
    scenarios::{Scenario, run_to_death},
};

pub(crate) const ALL: &[Scenario] = &[
    ("oomtrace_starts_in_a_container_of_28_mib_and_says_that_this_is_too_little", small_container),
    ("oomtrace_says_nothing_of_a_limit_that_is_enough", ample_container),
    ("oomtrace_starts_with_three_lines_and_prints_nothing_twice", three_lines),
    ("oomtrace_that_prints_nothing_on_standard_output_starts_with_the_same_lines_on_standard_error", elsewhere),
    ("oomtrace_that_hangs_or_ends_is_not_healthy", healthy),
    ("a_kubelet_that_is_not_there_is_reported_and_ends_nothing", no_kubelet),
];

/// What its first line says in a container with this limit.
fn status_within(number: u32, mib: u64) -> Result<(Cgroup, Value)> {
    let container = Cgroup::make(&container_path(number, number))?;
    container.limit(mib)?;
    let script = format!(
        "echo $$ > '{}' && exec oomtrace run --format json --duration 1s --log-level warn",
        container.procs().display()
    );
    let output = Command::new("sh").args(["-c", &script]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "it ended with {}", output.status);
    let first = String::from_utf8_lossy(&output.stdout).lines().next().context("it printed nothing")?.to_owned();
    let status = validated(&first)?;
    check_eq!(status["phase"], "started", "the phase of {first}");
    Ok((container, status))
}

/// What it says of its own memory.
fn own_memory(status: &Value) -> Result<Vec<&str>> {
    let degraded = status["degraded"].as_array().context("no list of what is degraded")?;
    Ok(degraded.iter().filter_map(Value::as_str).filter(|words| words.contains("own memory")).collect())
}

fn small_container() -> Outcome {
    let (container, status) = status_within(40, 28)?;
    let said = own_memory(&status)?;
    let file = container.limit_file();
    let expected =
        format!("oomtrace's own memory is limited to 28 MiB ({}), and it may take up to 48 MiB", file.display());
    ensure!(said.len() == 1 && said[0].starts_with(&expected), "{said:?} is not `{expected} …`");
    Ok(())
}

fn ample_container() -> Outcome {
    let (_container, status) = status_within(41, 64)?;
    check_eq!(own_memory(&status)?, Vec::<&str>::new(), "what is said of 64 MiB");
    Ok(())
}

/// Whether `oomtrace healthy` finds it so, and what it says of that.
fn asked(within: &str) -> Result<(bool, String)> {
    // As in a container: by the variable that tells `oomtrace run` the same.
    let mut healthy = Command::new("oomtrace");
    let output = healthy.args(["healthy", "--within", within]).env("OOMTRACE_ALIVE_FILE", ALIVE).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(said)?))
}

const ALIVE: &str = "/tmp/alive";

fn healthy() -> Outcome {
    fs::write(ALIVE, "1")?;
    let oomtrace = Oomtrace::start(&["--alive-file", ALIVE])?;
    wait_until("it is healthy", || Ok(asked("1m")?.0))?;
    oomtrace.signal(libc::SIGSTOP)?;
    // It is written every second: what was written before it was stopped is older then.
    thread::sleep(Duration::from_secs(5));
    let (alive, said) = asked("3s")?;
    ensure!(!alive && said.contains("the main loop has not gone round for"), "while it is stopped: {said}");
    oomtrace.signal(libc::SIGCONT)?;
    wait_until("it is healthy again", || Ok(asked("3s")?.0))?;
    oomtrace.stop()?;
    let (alive, said) = asked("1m")?;
    ensure!(!alive && said.contains("not tracing: there is no /tmp/alive"), "when it has ended: {said}");
    Ok(())
}

/// What it prints on standard output and on standard error.
fn printed(arguments: &[&str]) -> Result<(String, String)> {
    let output = Command::new("oomtrace").args(["run", "--duration", "1s"]).args(arguments).output()?;
    ensure!(output.status.success(), "it ended with {}", output.status);
    Ok((String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

/// The first word of each line at the start. A line of the log, which begins with its time, may stand between.
fn start(text: &str) -> Vec<&str> {
    let logged = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    text.lines().filter(|line| !logged(line)).take(3).filter_map(|line| line.split(' ').next()).collect()
}

fn three_lines() -> Outcome {
    let (stdout, stderr) = printed(&["--format", "text"])?;
    check_eq!(start(&stdout), ["Tracing", "Degraded:", "Stop"], "the first lines of {stdout}");
    ensure!(!stderr.contains("attached") && !stderr.contains("Tracing"), "again on standard error: {stderr}");
    let (stdout, stderr) = printed(&["--format", "json"])?;
    check_eq!(validated(stdout.lines().next().context("nothing")?)?["phase"], "started", "the first line");
    ensure!(!stderr.contains("Tracing") && !stderr.contains("attached"), "again on standard error: {stderr}");
    Ok(())
}

fn elsewhere() -> Outcome {
    let file = std::env::temp_dir().join("elsewhere.jsonl");
    let (stdout, stderr) = printed(&["--output", &format!("jsonl:{}", file.display())])?;
    std::fs::remove_file(file)?;
    check_eq!(stdout, "", "standard output");
    check_eq!(start(&stderr), ["Tracing", "Degraded:", "Stop"], "the first lines of {stderr}");
    Ok(())
}

/// Whatever it is asked through and whatever of it is missing.
fn no_kubelet() -> Outcome {
    let container = Cgroup::make(&container_path(42, 42))?;
    container.limit(20)?;
    let folder = std::env::temp_dir();
    let token = folder.join("no-kubelet-token");
    std::fs::write(&token, "a token")?;
    let (token, log) = (token.display().to_string(), folder.join("no-kubelet.log").display().to_string());
    let oomtrace = Oomtrace::start(&[
        "--kubelet-metrics",
        "https://127.0.0.1:10250/metrics",
        "--kubelet-url",
        "https://127.0.0.1:10250",
        "--kubelet-token",
        &token,
        "--kubelet-insecure",
        "--kubelet-log",
        &log,
    ])?;
    thread::sleep(Duration::from_secs(2));
    run_to_death("eat", &container)?;
    let lines = oomtrace.stop()?;
    only_kill(&lines)?;
    let running = of_kind(&lines, "status").last().map(|status| status["degraded"].to_string());
    let running = running.context("no status")?;
    for said in ["evictions may lack their signal", "no limits, owners and roles from the kubelet", "no-kubelet.log"] {
        ensure!(running.contains(said), "`{said}` is not in {running}");
    }
    Ok(())
}
