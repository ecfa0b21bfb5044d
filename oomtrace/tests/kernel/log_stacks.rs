//! The shipped configurations of log stacks, in the programs that they are for: lines go in, fields come out.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    check_eq,
    journal::Journal,
    oomtrace::{Oomtrace, of_kind, validated, wait_until},
    scenarios::{Scenario, run_to_death},
};

pub(crate) const ALL: &[Scenario] = &[
    ("rsyslog_has_the_fields_of_every_incident_before_and_after_a_rotation", rsyslog),
    ("journald_keeps_every_line_whole_and_jq_has_its_fields", journald),
];

const EVENTS: &str = "/var/log/oomtrace/events.jsonl";
const INCIDENTS: &str = "/var/log/oomtrace/incidents.jsonl";
const UNPARSED: &str = "/var/log/oomtrace/unparsed.log";
const JOURNALD: &str = "/deploy/log-stacks/journald.conf";
/// A node's kernel log with seven decisions of the OOM killer.
const KERNEL_LOG: &str = include_str!("../data/kernel-log/oomkill.kmsg");

/// Runs until it is dropped.
struct Rsyslog(Child);

impl Rsyslog {
    /// As Debian's package configures it, with ours beside.
    fn start() -> Result<Self> {
        for folder in ["/etc/rsyslog.d", "/var/log/oomtrace", "/var/spool/rsyslog"] {
            fs::create_dir_all(folder)?;
        }
        fs::copy("/deploy/log-stacks/rsyslog.conf", "/etc/rsyslog.d/oomtrace.conf")?;
        // Debian has that group, and rsyslog's files are its.
        OpenOptions::new().append(true).open("/etc/group")?.write_all(b"adm:x:4:\n")?;
        let check = Command::new("rsyslogd").arg("-N1").output()?;
        ensure!(check.status.success(), "the configuration: {}", String::from_utf8_lossy(&check.stderr));
        Ok(Self(Command::new("rsyslogd").arg("-n").stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills in containers of their own.
fn kill(numbers: impl IntoIterator<Item = u32>) -> Outcome {
    for number in numbers {
        let container = Cgroup::make(&container_path(number, number))?;
        container.limit(20)?;
        run_to_death("eat", &container)?;
    }
    Ok(())
}

/// What the timeline tells of a node whose containers died again and again: its longest line has more than 100 KiB.
fn long_lines() -> Result<Vec<Value>> {
    const TIMES: u64 = 8;
    let mut log = String::new();
    for time in 0..TIMES {
        for line in KERNEL_LOG.lines() {
            let mut fields = line.splitn(4, ',');
            let stamp =
                (fields.next(), fields.next(), fields.next().and_then(|at| at.parse::<u64>().ok()), fields.next());
            // What follows an entry are its properties.
            let (Some(priority), Some(number), Some(at), Some(rest)) = stamp else { continue };
            writeln!(log, "{priority},{number},{},{rest}", at + time * 200_000_000)?;
        }
    }
    fs::write("/tmp/again-and-again.kmsg", log)?;
    let output = Command::new("oomtrace")
        .args(["timeline", "--kernel-log", "/tmp/again-and-again.kmsg", "--format", "json", "--full"])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> = String::from_utf8(output.stdout)?.lines().map(validated).collect::<Result<_>>()?;
    let longest = lines.iter().map(|line| line.to_string().len()).max().unwrap_or(0);
    ensure!(longest > 100 << 10, "the longest of {} lines has but {longest} bytes", lines.len());
    Ok(lines)
}

fn rsyslog() -> Outcome {
    let _rsyslog = Rsyslog::start()?;
    // Half of what is written: of several rotations within seconds rsyslog would miss some.
    let oomtrace = Oomtrace::start(&["--output", &format!("jsonl:{EVENTS}"), "--output-rotate-size", "72Ki"])?;
    kill(80..86)?;
    let mut lines = oomtrace.stop()?;
    ensure!(Path::new(&format!("{EVENTS}.1")).exists(), "nothing was rotated");
    let mut events = OpenOptions::new().append(true).open(EVENTS)?;
    for line in long_lines()? {
        writeln!(events, "{line}")?;
        lines.push(line);
    }
    // As a full disk leaves it.
    events.write_all(b"{\"kind\":\"incident\",\"ts\":\n")?;

    let incidents = of_kind(&lines, "incident");
    let closed = incidents.iter().filter(|incident| incident["state"] == "closed").count();
    ensure!(closed >= 6 + 3, "only {closed} of {} incidents are closed", incidents.len());
    let had = || -> Result<Vec<Value>> {
        let text = fs::read_to_string(INCIDENTS).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        Ok(whole.map(serde_json::from_str).collect::<Result<_, _>>()?)
    };
    let done = wait_until("rsyslog has them all", || Ok(had()?.len() >= incidents.len()));
    done.with_context(|| format!("{} of {}", had().map_or(0, |had| had.len()), incidents.len()))?;
    let expected: Vec<_> = incidents.into_iter().map(as_rsyslog_has_it).collect();
    check_eq!(had()?, expected, "what rsyslog has");
    wait_until("the half line is put aside", || Ok(Path::new(UNPARSED).exists()))?;
    let unparsed = fs::read_to_string(UNPARSED)?;
    ensure!(unparsed.lines().count() == 1 && unparsed.contains("\"ts\":"), "not only the half line: {unparsed}");
    Ok(())
}

/// The fields that the template picks.
fn as_rsyslog_has_it(incident: &Value) -> Value {
    json!({
        "ts": incident["ts"],
        "node": incident["node"],
        "id": incident["id"],
        "state": incident["state"],
        "namespace": incident["pod"]["namespace"],
        "pod": incident["pod"]["name"],
        "container": incident["container"]["name"],
        "scenario": incident["verdict"]["scenario"],
        "invisible": incident["verdict"]["invisible"],
        "summary": incident["verdict"]["summary"],
        "advice": incident["verdict"]["advice"],
    })
}

fn journald() -> Outcome {
    fs::create_dir_all("/etc/systemd/journald.conf.d")?;
    fs::copy(JOURNALD, "/etc/systemd/journald.conf.d/oomtrace.conf")?;
    let journal = Journal::start()?;
    fs::write("/tmp/journald.jsonl", "")?;
    let stdout = OwnedFd::from(journal.stdout_of("oomtrace")?);
    let mut oomtrace = Command::new("oomtrace")
        .args(["run", "--format=json", "--output", "jsonl:/tmp/journald.jsonl"])
        .stdin(Stdio::null())
        .stdout(stdout)
        .spawn()?;
    let read = || -> Result<Vec<Value>> { fs::read_to_string("/tmp/journald.jsonl")?.lines().map(validated).collect() };
    wait_until("oomtrace traces", || Ok(!read()?.is_empty()))?;
    kill([86])?;
    wait_until("the kill is told", || Ok(!of_kind(&read()?, "incident").is_empty()))?;
    // SAFETY: the child has not been waited for, so the id is its.
    unsafe { libc::kill(i32::try_from(oomtrace.id())?, libc::SIGTERM) };
    ensure!(oomtrace.wait()?.success(), "it failed");
    let mut lines = read()?;
    let mut stream = journal.stdout_of("oomtrace")?;
    for line in long_lines()? {
        writeln!(stream, "{line}")?;
        lines.push(line);
    }
    let ask = |command: &str| -> Result<Vec<Value>> {
        let output = Command::new("sh").args(["-c", command]).output()?;
        ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    };
    let entries = || ask("journalctl -u oomtrace -o json --all");
    wait_until("the journal has them all", || Ok(entries()?.len() >= lines.len()))?;
    let messages = entries()?
        .iter()
        .map(|entry| validated(entry["MESSAGE"].as_str().context("no text")?))
        .collect::<Result<Vec<_>>>()?;
    check_eq!(messages, lines, "the journal's messages");
    let picked = |incident: &Value| json!({"ts": incident["ts"], "pod": incident["pod"]["name"], "why": incident["verdict"]["scenario"]});
    let expected: Vec<_> = of_kind(&lines, "incident").into_iter().map(picked).collect();
    check_eq!(ask(&recipe()?)?, expected, "what the shipped command gives");
    Ok(())
}

/// The command that the configuration tells.
fn recipe() -> Result<String> {
    let text = fs::read_to_string(JOURNALD)?;
    let command = text.lines().find_map(|line| line.strip_prefix("#     "));
    command.map(str::to_owned).context("no command in the configuration")
}
