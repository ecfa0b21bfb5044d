//! Names of containers that a real Docker, or a real Podman, made, on a host without Kubernetes.

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

pub(crate) const DOCKER: &[Scenario] = &[
    ("a_container_of_docker_over_its_limit_is_named", || over_limit(Engine::Docker)),
    ("a_container_that_docker_removes_at_its_end_is_named_though_killed_at_once", || {
        removed_at_its_end(Engine::Docker)
    }),
    ("pods_shows_a_container_of_docker", || pods(Engine::Docker)),
];
pub(crate) const PODMAN: &[Scenario] = &[
    ("a_container_of_podman_over_its_limit_is_named", || over_limit(Engine::Podman)),
    ("a_container_that_podman_removes_at_its_end_is_named_though_killed_at_once", || {
        removed_at_its_end(Engine::Podman)
    }),
    ("pods_shows_a_container_of_podman", || pods(Engine::Podman)),
];

/// What makes the containers, by a command of its own name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Docker,
    Podman,
}

/// The root folder of all containers: busybox, and links to it.
const ROOTFS: &str = "/tmp/rootfs";
/// An image of the same, which Docker wants.
const IMAGE: &str = "localhost/busybox:1";
const EAT: &str = "exec tail /dev/zero";

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    fn call(self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.name());
        let output = command.args(arguments).stdin(Stdio::null()).output().with_context(|| self.name())?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} {arguments:?}: {error}", self.name());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Starts a container that may use 20 MiB, and gives its id.
    fn run(self, name: &str, more: &[&str], script: &str) -> Result<String> {
        let root = Path::new(ROOTFS);
        if !root.exists() {
            for folder in ["bin", "proc", "sys", "dev", "tmp", "etc", "run"] {
                fs::create_dir_all(root.join(folder))?;
            }
            fs::copy("/bin/busybox", root.join("bin/busybox"))?;
            for name in ["sh", "sleep", "tail"] {
                symlink("busybox", root.join("bin").join(name))?;
            }
            if self == Self::Docker {
                let archive = format!("{ROOTFS}.tar");
                let packed = Command::new("tar").args(["-cf", &archive, "-C", ROOTFS, "."]).status()?;
                ensure!(packed.success(), "tar: {packed}");
                self.call(&["import", &archive, IMAGE])?;
            }
        }
        let own = ["run", "--detach", "--name", name, "--network", "none", "--memory", "20m"];
        let root: &[&str] = if self == Self::Docker { &[IMAGE] } else { &["--rootfs", ROOTFS] };
        self.call(&[&own, more, root, &["/bin/sh", "-c", script]].concat())
    }
}

fn check_names(what: &Value, name: &str, id: &str) -> Outcome {
    check_eq!(what["container"]["name"], name, "the container in {what}");
    check_eq!(what["container"]["id"], id, "the id in {what}");
    ensure!(what["pod"].is_null(), "a pod in {what}");
    Ok(())
}

fn over_limit(engine: Engine) -> Outcome {
    let oomtrace = Oomtrace::start(&["--kubelet-url", "off"])?;
    let id = engine.run("cache", &[], &format!("sleep 2; {EAT}"))?;
    engine.call(&["wait", "cache"])?;
    let lines = oomtrace.stop()?;
    engine.call(&["rm", "cache"])?;
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
fn removed_at_its_end(engine: Engine) -> Outcome {
    let oomtrace = Oomtrace::start(&["--kubelet-url", "off"])?;
    let id = engine.run("job", &["--rm"], EAT)?;
    wait_until("it is removed", || Ok(!engine.call(&["ps", "--all", "--quiet", "--no-trunc"])?.contains(&id)))?;
    thread::sleep(Duration::from_secs(1));
    let lines = oomtrace.stop()?;
    let kill = only_kill(&lines)?;
    check_names(kill, "job", &id)?;
    check_names(&kill["victim"], "job", &id)
}

fn pods(engine: Engine) -> Outcome {
    let id = engine.run("web", &[], "sleep 1000")?;
    let output = Command::new("oomtrace").args(["pods", "--format", "json", "--kubelet-url", "off"]).output()?;
    for end in ["kill", "wait", "rm"] {
        engine.call(&[end, "web"])?;
    }
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let row = rows.iter().find(|row| row["container"]["id"] == id.as_str()).context("it is not shown")?;
    check_names(row, "web", &id)?;
    check_eq!(row["limit_bytes"], 20 << 20, "the limit in force");
    check_eq!(row["source"], "engine_state", "who reported");
    Ok(())
}
