//! oomtrace as the shipped unit runs it, under a real systemd, and what the real journal keeps of it.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome, check_eq, kubelet_words,
    long_lines::{self, long_lines},
    oomtrace::{Oomtrace, of_kind, validated, wait_until},
    rsyslog::kill,
    scenarios::Scenario,
};

pub(crate) const ALL: &[Scenario] = &[
    ("the_shipped_unit_may_read_the_kernels_log", kernel_log),
    ("the_shipped_unit_takes_nothing_away_and_its_journal_gives_the_fields_of_a_kill_and_an_eviction", journal),
    ("the_shipped_journald_keeps_long_lines_whole", long),
];

const UNITS: &str = "/run/systemd/system";
const DEFAULTS: &str = "/etc/default/oomtrace";
const JOURNALD: &str = "/deploy/log-stacks/journald.conf";

fn systemctl(arguments: &[&str]) -> Outcome {
    let output = Command::new("systemctl").args(arguments).output()?;
    ensure!(output.status.success(), "systemctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Puts the shipped configuration where it says.
fn configure_journal() -> Outcome {
    let folder = Path::new("/etc/systemd/journald.conf.d");
    fs::create_dir_all(folder)?;
    fs::copy(JOURNALD, folder.join("oomtrace.conf"))?;
    systemctl(&["restart", "systemd-journald"])
}

/// What a command prints, a JSON value a line.
fn ask(command: &str) -> Result<Vec<Value>> {
    let output = Command::new("sh").args(["-c", command]).output()?;
    ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The lines of oomtrace's among the journal's entries that match this.
fn printed(entries: &str) -> Result<Vec<Value>> {
    let entries = ask(&format!("journalctl {entries} -o json --all"))?;
    let messages = entries.iter().filter_map(|entry| entry["MESSAGE"].as_str());
    messages.filter(|message| message.starts_with('{')).map(validated).collect()
}

/// oomtrace by its unit, until it is dropped.
struct Unit {
    /// This run's entries.
    entries: String,
}

impl Unit {
    /// Installs it as the package does, with variables for `/etc/default/oomtrace`, and starts it.
    fn start(defaults: &str) -> Result<Self> {
        for folder in ["/etc/default", UNITS] {
            fs::create_dir_all(folder)?;
        }
        if !Path::new("/usr/bin/oomtrace").exists() {
            symlink("/bin/oomtrace", "/usr/bin/oomtrace")?;
        }
        fs::copy("/deploy/systemd/oomtrace.service", format!("{UNITS}/oomtrace.service"))?;
        fs::write(DEFAULTS, defaults)?;
        configure_journal()?;
        systemctl(&["daemon-reload"])?;
        systemctl(&["start", "oomtrace"])?;
        let mut show = Command::new("systemctl");
        let output = show.args(["show", "--value", "--property=InvocationID", "oomtrace"]).output()?;
        let unit = Self { entries: format!("_SYSTEMD_INVOCATION_ID={}", String::from_utf8(output.stdout)?.trim()) };
        wait_until("the unit traces", || Ok(!of_kind(&unit.printed()?, "status").is_empty()))?;
        Ok(unit)
    }

    fn printed(&self) -> Result<Vec<Value>> {
        printed(&self.entries)
    }

    /// Ends it, and gives all that it has printed.
    fn stop(self) -> Result<Vec<Value>> {
        systemctl(&["stop", "oomtrace"])?;
        let ended = || Ok(self.printed()?.last().is_some_and(|line| line["phase"] == "stopped"));
        wait_until("the journal has its end", ended)?;
        self.printed()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = systemctl(&["stop", "oomtrace"]);
    }
}

/// Whether it has attached, and finds, what it does without a unit's restrictions.
fn check_as_outside(probe: &str, status: &Value) -> Outcome {
    let outside = Oomtrace::start(&["--probe", probe])?;
    for what in ["attached", "degraded", "confined"] {
        check_eq!(status[what], outside.status[what], "{what} in the unit, and outside of it, with --probe {probe}");
    }
    outside.stop()?;
    Ok(())
}

/// The kernel's log takes a device.
fn kernel_log() -> Outcome {
    check_as_outside("kmsg", &Unit::start("OOMTRACE_PROBE=kmsg\n")?.stop()?[0])
}

/// Has a unit print a file.
fn say(unit: &str, command: &str) -> Outcome {
    let text = format!("[Service]\nType=oneshot\nSyslogIdentifier={unit}\nExecStart={command}\n");
    fs::write(format!("{UNITS}/{unit}.service"), text)?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["start", unit])
}

fn journal() -> Outcome {
    let unit = Unit::start("")?;
    kill([86])?;
    fs::write("/tmp/kubelet.said", kubelet_words::eviction("shop/web-86"))?;
    say("kubelet", "/bin/cat /tmp/kubelet.said")?;
    for kind in ["incident", "eviction"] {
        wait_until(kind, || Ok(!of_kind(&unit.printed()?, kind).is_empty()))?;
    }
    let lines = unit.stop()?;
    check_as_outside("auto", &lines[0])?;
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 1, "kills");
    ensure!(
        kills[0]["limit"]["limit_bytes"].is_u64() && kills[0]["victim"]["rss_anon_bytes"].is_u64(),
        "no sizes: {}",
        kills[0]
    );
    let picked = |incident: &Value| json!({"ts": incident["ts"], "pod": incident["pod"]["name"], "why": incident["verdict"]["scenario"]});
    let expected: Vec<_> = of_kind(&lines, "incident").into_iter().map(picked).collect();
    let reported = ask(&recipe()?)?;
    ensure!(
        reported.ends_with(&expected) && !expected.is_empty(),
        "the shipped command gives {reported:?}, not {expected:?}"
    );
    Ok(())
}

/// The command that the configuration tells.
fn recipe() -> Result<String> {
    let text = fs::read_to_string(JOURNALD)?;
    let command = text.lines().find_map(|line| line.strip_prefix("#     "));
    command.map(str::to_owned).context("no command in the configuration")
}

fn long() -> Outcome {
    configure_journal()?;
    let lines = long_lines()?;
    say("oomtrace-long", &format!("/bin/{}", long_lines::COMMAND.join(" ")))?;
    wait_until("the journal has them all", || Ok(printed("--unit=oomtrace-long")?.len() >= lines.len()))?;
    check_eq!(printed("--unit=oomtrace-long")?, lines, "the journal's messages");
    Ok(())
}
