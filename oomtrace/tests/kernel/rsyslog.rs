//! The shipped configuration of rsyslog, in a real one: lines go in, fields come out.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    check_eq,
    long_lines::long_lines,
    oomtrace::{Oomtrace, of_kind, wait_until},
    scenarios::{Scenario, run_to_death},
};

pub(crate) const ALL: &[Scenario] =
    &[("rsyslog_has_the_fields_of_every_incident_before_and_after_a_rotation", rsyslog)];

const EVENTS: &str = "/var/log/oomtrace/events.jsonl";
const INCIDENTS: &str = "/var/log/oomtrace/incidents.jsonl";
const UNPARSED: &str = "/var/log/oomtrace/unparsed.log";

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
pub(crate) fn kill(numbers: impl IntoIterator<Item = u32>) -> Outcome {
    for number in numbers {
        let container = Cgroup::make(&container_path(number, number))?;
        container.limit(20)?;
        run_to_death("eat", &container)?;
    }
    Ok(())
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
