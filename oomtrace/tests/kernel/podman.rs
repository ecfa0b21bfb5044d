//! Names of containers that a real Podman made, on a host without Kubernetes.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    Outcome, check_eq,
    oomtrace::{Oomtrace, of_kind, only_kill, wait_until},
    scenarios::Scenario,
};

pub(crate) const ALL: &[Scenario] = &[
    ("a_container_of_podman_over_its_limit_is_named", over_limit),
    ("a_container_that_podman_removes_at_its_end_is_named_though_killed_at_once", removed_at_its_end),
    ("pods_shows_a_container_of_podman", pods),
];

/// The root folder of all containers: busybox, and links to it.
const ROOTFS: &str = "/tmp/rootfs";
const EAT: &str = "exec tail /dev/zero";

fn podman(arguments: &[&str]) -> Result<String> {
    let output = Command::new("podman").args(arguments).stdin(Stdio::null()).output().context("no podman")?;
    ensure!(output.status.success(), "podman {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Starts a container that may use 20 MiB, and gives its id.
fn run(name: &str, more: &[&str], script: &str) -> Result<String> {
    let root = Path::new(ROOTFS);
    if !root.exists() {
        for folder in ["bin", "proc", "sys", "dev", "tmp", "etc", "run"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy("/bin/busybox", root.join("bin/busybox"))?;
        for name in ["sh", "sleep", "tail"] {
            symlink("busybox", root.join("bin").join(name))?;
        }
    }
    let own = ["run", "--detach", "--name", name, "--network", "none", "--memory", "20m"];
    podman(&[&own, more, &["--rootfs", ROOTFS, "/bin/sh", "-c", script]].concat())
}

fn check_names(what: &Value, name: &str, id: &str) -> Outcome {
    check_eq!(what["container"]["name"], name, "the container in {what}");
    check_eq!(what["container"]["id"], id, "the id in {what}");
    ensure!(what["pod"].is_null(), "a pod in {what}");
    Ok(())
}

fn over_limit() -> Outcome {
    let oomtrace = Oomtrace::start(&["--kubelet-url", "off"])?;
    let id = run("cache", &[], &format!("sleep 2; {EAT}"))?;
    podman(&["wait", "cache"])?;
    let lines = oomtrace.stop()?;
    podman(&["rm", "cache"])?;
    let kill = only_kill(&lines)?;
    check_names(kill, "cache", &id)?;
    check_names(&kill["victim"], "cache", &id)?;
    check_names(&kill["limit"], "cache", &id)?;
    check_eq!(kill["limit"]["level"], "container", "whose limit it is");
    check_eq!(kill["limit"]["limit_bytes"], 20 << 20, "the limit");
    let incident = of_kind(&lines, "incident").pop().context("no incident")?;
    check_eq!(incident["verdict"]["scenario"], "container_limit", "the verdict");
    check_names(incident, "cache", &id)
}

/// Of its files nothing is left by the time that it is waited for. Podman keeps such a container in another list.
fn removed_at_its_end() -> Outcome {
    let oomtrace = Oomtrace::start(&["--kubelet-url", "off"])?;
    let id = run("job", &["--rm"], EAT)?;
    wait_until("it is removed", || Ok(!podman(&["ps", "--all", "--quiet", "--no-trunc"])?.contains(&id)))?;
    thread::sleep(Duration::from_secs(1));
    let lines = oomtrace.stop()?;
    let kill = only_kill(&lines)?;
    check_names(kill, "job", &id)?;
    check_names(&kill["victim"], "job", &id)
}

fn pods() -> Outcome {
    let id = run("web", &[], "sleep 1000")?;
    let output = Command::new("oomtrace").args(["pods", "--format", "json", "--kubelet-url", "off"]).output()?;
    podman(&["rm", "--force", "--time", "0", "web"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let row = rows.iter().find(|row| row["container"]["id"] == id.as_str()).context("it is not shown")?;
    check_names(row, "web", &id)?;
    check_eq!(row["limit_bytes"], 20 << 20, "the limit in force");
    check_eq!(row["source"], "engine_state", "who told");
    Ok(())
}
