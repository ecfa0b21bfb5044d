//! What `oomtrace doctor` says of a node that allows everything, and of one that does not.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::CapabilitySet;
use serde_json::{Value, json};

use crate::{Outcome, check_eq, rungs::without};

/// A test and what it says about the world.
type Scenario = (&'static str, fn() -> Outcome);

pub(crate) const ALL: &[Scenario] = &[
    ("doctor_finds_every_rung_where_everything_is_allowed", everything),
    ("doctor_without_capabilities_for_probes_finds_the_log_alone", log_alone),
    ("doctor_without_any_capability_finds_nothing_possible", nothing),
    ("doctor_without_tracefs_says_how_to_mount_it", no_tracefs),
    ("doctor_without_btf_finds_what_is_left", no_btf),
];

/// A report of the doctor, with its exit status.
struct Report(Value, i32);

impl Report {
    fn of(command: &mut Command) -> Result<Self> {
        let output = command.output().context("oomtrace doctor does not start")?;
        let status = output.status.code().context("it was killed")?;
        let text = String::from_utf8(output.stdout)?;
        let report = serde_json::from_str(&text).with_context(|| format!("status {status}, {text:?}"))?;
        Ok(Self(report, status))
    }

    /// In a mount namespace of its own, after this.
    fn after(prepare: &str) -> Result<Self> {
        let script = format!("{prepare} && exec oomtrace doctor --format json");
        Self::of(Command::new("unshare").args(["-m", "sh", "-c", &script]))
    }

    fn possible(&self) -> Vec<&str> {
        let rungs = self.0["rungs"].as_array().into_iter().flatten();
        rungs.filter(|rung| rung["possible"] == json!(true)).filter_map(|rung| rung["rung"].as_str()).collect()
    }

    fn check(&self, name: &str) -> Result<&Value> {
        let checks = self.0["checks"].as_array().into_iter().flatten();
        checks.into_iter().find(|check| check["name"] == json!(name)).with_context(|| format!("no check {name}"))
    }

    /// Every check that failed says what to do and what is lost.
    fn is_helpful(&self) -> Outcome {
        for check in self.0["checks"].as_array().into_iter().flatten() {
            let reported = check["remedy"].is_string() && check["lost"].is_string();
            check_eq!(check["ok"] == json!(false), reported, "{check}");
        }
        for rung in self.0["rungs"].as_array().into_iter().flatten() {
            ensure!(rung["possible"] == json!(true) || rung["reason"].is_string(), "{rung}");
        }
        Ok(())
    }
}

fn doctor() -> Command {
    let mut command = Command::new("oomtrace");
    command.args(["doctor", "--format", "json"]);
    command
}

fn everything() -> Outcome {
    let report = Report::of(&mut doctor())?;
    report.is_helpful()?;
    check_eq!(report.possible(), ["fentry", "kprobe", "tracepoint", "kmsg", "cgroup-events"], "possible rungs");
    check_eq!(report.1, 0, "exit status");
    for name in ["capabilities for probes", "CAP_SYSLOG", "CAP_SYS_RESOURCE", "BTF", "tracefs", "/dev/kmsg", "cgroups"]
    {
        check_eq!(report.check(name)?["ok"], json!(true), "{name}");
    }
    // This guest is no node of a cluster.
    for name in ["container runtime", "folders of pods' logs", "kubelet's pods"] {
        check_eq!(report.check(name)?["ok"], json!(false), "{name}");
    }
    let text = |arguments: &[&str]| {
        Ok::<_, anyhow::Error>(String::from_utf8(
            Command::new("oomtrace").arg("doctor").args(arguments).output()?.stdout,
        )?)
    };
    let short = text(&[])?;
    // What is wrong comes first, the verdict last; what is fine is not listed.
    ensure!(short.starts_with("WARN ") && !short.contains("\nok "), "{short}");
    ensure!(
        short.lines().last().is_some_and(|last| last.starts_with("Verdict: tracing is possible by fentry")),
        "{short}"
    );
    let verbose = text(&["--verbose"])?;
    ensure!(verbose.contains("attach type fentry: possible") && verbose.contains("\nok   BTF"), "{verbose}");
    Ok(())
}

fn log_alone() -> Outcome {
    let mut command = doctor();
    without(&mut command, &[CapabilitySet::SYS_ADMIN, CapabilitySet::BPF, CapabilitySet::PERFMON]);
    let report = Report::of(&mut command)?;
    report.is_helpful()?;
    check_eq!(report.possible(), ["kmsg", "cgroup-events"], "possible rungs");
    check_eq!(report.1, 0, "exit status");
    let check = report.check("capabilities for probes")?;
    check_eq!(check["ok"], json!(false), "capabilities for probes");
    ensure!(check["remedy"].as_str().is_some_and(|remedy| remedy.contains("CAP_BPF and CAP_PERFMON")), "{check}");
    Ok(())
}

fn nothing() -> Outcome {
    fs::write("/proc/sys/kernel/dmesg_restrict", "1").context("dmesg_restrict")?;
    let mut command = doctor();
    without(
        &mut command,
        &[
            CapabilitySet::SYS_ADMIN,
            CapabilitySet::BPF,
            CapabilitySet::PERFMON,
            CapabilitySet::SYSLOG,
            CapabilitySet::SYS_RESOURCE,
        ],
    );
    command.args(["--cgroup-root", "/nowhere"]);
    let report = Report::of(&mut command);
    fs::write("/proc/sys/kernel/dmesg_restrict", "0")?;
    let report = report?;
    report.is_helpful()?;
    check_eq!(report.possible(), [""; 0], "possible rungs");
    check_eq!(report.0["possible"], json!(false), "possible");
    check_eq!(report.1, 1, "exit status");
    for name in ["CAP_SYSLOG", "CAP_SYS_RESOURCE", "/dev/kmsg", "cgroups"] {
        check_eq!(report.check(name)?["ok"], json!(false), "{name}");
    }
    Ok(())
}

fn no_tracefs() -> Outcome {
    let unmount = "{ umount /sys/kernel/debug 2>/dev/null; umount /sys/kernel/tracing 2>/dev/null; true; }";
    let report = Report::after(unmount)?;
    report.is_helpful()?;
    let check = report.check("tracefs")?;
    check_eq!(check["ok"], json!(false), "tracefs");
    ensure!(check["remedy"].as_str().is_some_and(|remedy| remedy.contains("mount -t tracefs")), "{check}");
    ensure!(report.possible().contains(&"fentry"), "{:?}", report.possible());
    check_eq!(report.1, 0, "exit status");
    Ok(())
}

fn no_btf() -> Outcome {
    let report = Report::after("mount -t tmpfs none /sys/kernel/btf")?;
    report.is_helpful()?;
    let check = report.check("BTF")?;
    check_eq!(check["ok"], json!(false), "BTF");
    ensure!(check["remedy"].as_str().is_some_and(|remedy| remedy.contains("CONFIG_DEBUG_INFO_BTF")), "{check}");
    check_eq!(report.possible(), ["tracepoint", "kmsg", "cgroup-events"], "possible rungs");
    check_eq!(report.1, 0, "exit status");
    Ok(())
}
