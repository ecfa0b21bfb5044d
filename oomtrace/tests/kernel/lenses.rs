//! `oomtrace memory` and `oomtrace node` beside the kernel's own figures, and its own choice.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{self, Cgroup, container_path},
    check_eq,
    kernel_log::{KernelLog, killed},
    page_bytes,
    scenarios::Scenario,
};

pub(crate) const ALL: &[Scenario] = &[
    ("memory_of_200_mib_in_a_limit_of_300_is_what_each_lens_counts_of_it", anonymous),
    ("memory_shared_in_a_container_is_no_rss_of_its_cgroup_and_never_inactive", shared),
    ("node_computes_what_is_available_from_the_kernels_own_files", node),
    ("node_names_the_process_that_a_limit_set_below_use_kills_in_kubepods", order),
];

const MIB: u64 = 1 << 20;
/// What a program needs beside what it takes: its own pages, stacks, page tables.
const BESIDE: u64 = 16 * MIB;

/// A leak that has taken all that it was to take.
struct Holding {
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Holding {
    fn start(container: &Cgroup, arguments: &str) -> Result<Self> {
        let script = format!("echo $$ > '{}' && exec oomtrace leak {arguments}", container.procs().display());
        let mut child = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        while !line.contains(" holds ") {
            line.clear();
            ensure!(stdout.read_line(&mut line)? > 0, "the leak ended");
        }
        Ok(Self { child, _stdout: stdout })
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All pods together, with a limit for as long as a test needs it.
struct Kubepods(Cgroup);

impl Kubepods {
    fn limited(mib: u64) -> Result<Self> {
        let kubepods = Self(Cgroup { path: "/kubepods".to_owned() });
        kubepods.0.limit(mib)?;
        Ok(kubepods)
    }
}

impl Drop for Kubepods {
    fn drop(&mut self) {
        let _ = fs::write(self.0.limit_file(), if cgroup::is_v1() { "-1" } else { "max" });
        // It stays: other tests have their pods in it.
        "/kubepods/none".clone_into(&mut self.0.path);
    }
}

fn report(arguments: &[&str]) -> Result<Value> {
    let output =
        Command::new("oomtrace").args(arguments).args(["--format", "json", "--kubelet-url", "off"]).output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn lens(report: &Value, name: &str) -> Result<u64> {
    let found = report["lenses"].as_array().into_iter().flatten().find(|lens| lens["name"] == name);
    found.and_then(|lens| lens["bytes"].as_u64()).with_context(|| format!("no {name} in {report}"))
}

/// What `memory.stat` may lack: changes of 64 pages for each of two processors that are not added yet.
const LAG_PAGES: u64 = 2 * 64;

/// A figure is this much, and no more beside it than a program needs.
fn about(figure: u64, expected: u64, what: &str) -> Outcome {
    println!("{what}: {figure} for {expected}");
    ensure!(
        (expected - LAG_PAGES * page_bytes()..expected + BESIDE).contains(&figure),
        "{what} is {figure}, not {expected} and a little more"
    );
    Ok(())
}

/// Every sum adds up, and what is only in flight is little.
fn adds_up(report: &Value) -> Outcome {
    for sum in report["sums"].as_array().context("no sums")? {
        let parts = sum["parts"].as_array().context("no parts")?;
        check_eq!(
            parts.iter().filter_map(|part| part["bytes"].as_i64()).sum::<i64>(),
            sum["bytes"].as_i64().unwrap_or(-1),
            "{sum}"
        );
        let in_flight = parts.iter().find(|part| part["name"] == "in flight").and_then(|part| part["bytes"].as_i64());
        if let Some(bytes) = in_flight.filter(|_| sum["name"] == "usage") {
            println!("in flight: {bytes}");
            // 64 pages for each of two processors, and what memory.stat may lag behind.
            ensure!(bytes.unsigned_abs() <= 4 * 64 * page_bytes(), "{bytes} bytes in flight: {sum}");
        }
    }
    Ok(())
}

fn anonymous() -> Outcome {
    let container = Cgroup::make(&container_path(81, 81))?;
    container.limit(300)?;
    let leak = Holding::start(&container, "--block 50MiB --every 1ms --max 200MiB")?;
    for what in [container.path.clone(), leak.child.id().to_string()] {
        let report = report(&["memory", &what])?;
        adds_up(&report)?;
        check_eq!(report["limit_bytes"], json!(300 * MIB), "the limit");
        for name in ["usage", "working set", "RSS of the cgroup", "RES of processes"] {
            about(lens(&report, name)?, 200 * MIB, name)?;
        }
        for name in ["PSS of processes", "USS of processes"] {
            about(lens(&report, name)?, 200 * MIB, name)?;
        }
        ensure!(lens(&report, "page cache")? < BESIDE, "page cache: {report}");
        let (usage, anon) = (lens(&report, "usage")?, lens(&report, "RSS of the cgroup")?);
        ensure!(usage > anon, "the kernel's own memory for it is in {usage}, not in {anon}");
        check_eq!(report["processes"].as_array().map(Vec::len), Some(1), "processes");
    }
    let text = Command::new("oomtrace").args(["memory", &container.path, "--kubelet-url", "off"]).output()?;
    println!("{}", String::from_utf8_lossy(&text.stdout));
    Ok(())
}

fn shared() -> Outcome {
    let container = Cgroup::make(&container_path(82, 82))?;
    container.limit(300)?;
    let _leak = Holding::start(&container, "--block 50MiB --every 1ms --max 100MiB --shm")?;
    let report = report(&["memory", &container.path])?;
    adds_up(&report)?;
    for name in ["usage", "working set", "page cache", "  shared and tmpfs", "RES of processes", "  SHR"] {
        about(lens(&report, name)?, 100 * MIB, name)?;
    }
    ensure!(lens(&report, "RSS of the cgroup")? < BESIDE, "shared memory is not anonymous: {report}");
    Ok(())
}

/// A number of a file of `name value` lines, or of `/proc/meminfo`.
fn number(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find(|line| line.split([' ', ':']).next() == Some(name));
    let line = line.with_context(|| format!("no {name} in {path}"))?;
    let value: u64 = line.split_whitespace().nth(1).context("no value")?.parse()?;
    Ok(if line.ends_with(" kB") { value * 1024 } else { value })
}

fn node() -> Outcome {
    let container = Cgroup::make(&container_path(83, 83))?;
    let _kubepods = Kubepods::limited(400)?;
    let _leak = Holding::start(&container, "--block 50MiB --every 1ms --max 100MiB")?;
    let report = report(&["node", "--interval", "200ms"])?;
    let signals = report["now"]["signals"].as_array().context("no signals")?;
    check_eq!(signals.len(), 2, "signals");
    check_eq!(signals[0]["capacity_bytes"], json!(number("/proc/meminfo", "MemTotal")?), "the capacity");
    let used = if cgroup::is_v1() {
        let stat = "/sys/fs/cgroup/memory/memory.stat";
        let usage: u64 = fs::read_to_string("/sys/fs/cgroup/memory/memory.usage_in_bytes")?.trim().parse()?;
        usage.saturating_sub(number(stat, "total_inactive_file")?)
    } else {
        let stat = "/sys/fs/cgroup/memory.stat";
        number(stat, "anon")? + number(stat, "file")? - number(stat, "inactive_file")?
    };
    let said = signals[0]["working_set_bytes"].as_u64().context("no working set")?;
    println!("the node's working set: {said}, by the kernel's files a moment later {used}");
    ensure!(said.abs_diff(used) < 8 * MIB, "{said} is not {used}");
    check_eq!(signals[1]["capacity_bytes"], json!(400 * MIB), "the limit of kubepods");
    about(signals[1]["working_set_bytes"].as_u64().unwrap_or(0), 100 * MIB, "the working set of kubepods")?;
    // The kernel's own score of each candidate, from the same points.
    let total =
        i64::try_from((number("/proc/meminfo", "MemTotal")? + number("/proc/meminfo", "SwapTotal")?) / page_bytes())?;
    for candidate in report["oom_order_node"]["candidates"].as_array().context("no candidates")? {
        let points = candidate["points"].as_i64().context("no points")?;
        let Ok(score) = fs::read_to_string(format!("/proc/{}/oom_score", candidate["pid"])) else { continue };
        let score: i64 = score.trim().parse()?;
        let computed = ((1000 + points * 1000 / total) * 2 / 3).max(0);
        ensure!((score - computed).abs() <= 2, "{candidate}: {computed} is not the kernel's {score}");
    }
    let text = Command::new("oomtrace").args(["node", "--kubelet-url", "off"]).output()?;
    println!("{}", String::from_utf8_lossy(&text.stdout));
    ensure!(text.status.success() && String::from_utf8_lossy(&text.stdout).contains("memory.available"), "no text");
    Ok(())
}

fn order() -> Outcome {
    let (small, large) = (Cgroup::make(&container_path(84, 84))?, Cgroup::make(&container_path(85, 85))?);
    let kubepods = Kubepods::limited(200)?;
    let mut first = Holding::start(&small, "--block 20MiB --every 1ms --max 60MiB")?;
    let second = Holding::start(&large, "--block 20MiB --every 1ms --max 80MiB")?;
    fs::write(format!("/proc/{}/oom_score_adj", first.child.id()), "800")?;
    let report = report(&["node", "--interval", "0s"])?;
    let candidates = report["oom_order_kubepods"]["candidates"].as_array().context("no candidates")?;
    let pids: Vec<_> = candidates.iter().map(|candidate| candidate["pid"].clone()).collect();
    check_eq!(pids, [json!(first.child.id()), json!(second.child.id())], "the order");
    check_eq!(report["oom_order_kubepods"]["total_pages"], json!(200 * MIB / page_bytes()), "the limit in pages");
    let mut log = KernelLog::from_now()?;
    kubepods.0.limit(120)?;
    ensure!(!first.child.wait()?.success(), "the first of the order lives");
    // The kernel looks again before the first one's memory is free, and may kill the second for it: usual on 7.x.
    let killed: Vec<_> = log.lines()?.iter().filter_map(|line| killed(line)).map(|killed| killed.pid).collect();
    let order = [first.child.id(), second.child.id()];
    ensure!(!killed.is_empty() && order.starts_with(&killed), "the kernel killed {killed:?}, the order was {order:?}");
    Ok(())
}
