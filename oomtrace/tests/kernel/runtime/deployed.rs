//! oomtrace as a cluster runs it: the image in the runtime, in a container that has just what the manifest grants.

use std::{fs, path::Path, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    EAT, check_names,
    kubelet::{Container, Kubelet, Pod},
    manifest::Manifest,
    only_kill, wait_for_kill,
};
use crate::{
    Outcome,
    cgroup::uid,
    check_eq,
    oomtrace::{of_kind, validated, wait_until},
};

const IMAGE: &str = "/vm/deployed/image.tar";
const NODE: &str = "a-node";

/// oomtrace in its pod.
struct Deployed {
    pod: Pod,
    container: Container,
    log: PathBuf,
}

impl Deployed {
    /// Imports the image, runs it as the manifest says, and waits until it traces.
    fn start(kubelet: &mut Kubelet, number: u32) -> Result<Self> {
        let import = Command::new("ctr").args(["-n", "k8s.io", "images", "import", IMAGE]).output()?;
        ensure!(import.status.success(), "the image is not taken: {}", String::from_utf8_lossy(&import.stderr));
        let manifest = Manifest::read()?;
        let (uid, name) = (uid(number), format!("oomtrace-{number}"));
        let parent = format!("/kubepods/burstable/pod{uid}");
        let pod = kubelet.pod_called((manifest.namespace()?, &name), uid, &parent, manifest.namespaces()?)?;
        let container = kubelet.start_container(&pod, "oomtrace", 0, manifest.container(NODE)?)?;
        let deployed = Self { log: pod.log("oomtrace"), pod, container };
        wait_until("oomtrace traces in its container", || Ok(!deployed.lines()?.is_empty()))
            .with_context(|| fs::read_to_string(&deployed.log).unwrap_or_default())?;
        Ok(deployed)
    }

    /// What it printed so far, out of the container's log: `TIME STREAM TAG LINE`, where a tag of P is a piece of a line.
    fn lines(&self) -> Result<Vec<Value>> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for entry in fs::read_to_string(&self.log).unwrap_or_default().split_inclusive('\n') {
            let mut words = entry.trim_end().splitn(4, ' ').skip(1);
            let (Some(stream), Some(tag), Some(text)) = (words.next(), words.next(), words.next()) else {
                bail!("not an entry of a container's log: {entry}");
            };
            if stream == "stderr" {
                println!("oomtrace said: {text}");
                continue;
            }
            line.push_str(text);
            if tag == "F" && entry.ends_with('\n') {
                lines.push(validated(&line)?);
                line.clear();
            }
        }
        Ok(lines)
    }

    /// A file of its cgroup.
    fn cgroup(&self, file: &str) -> Result<String> {
        let path = Path::new("/sys/fs/cgroup").join(&self.container.cgroup[1..]).join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.cgroup("cgroup.procs")?.lines().next().context("it has no process")?.parse()?)
    }
}

pub(super) fn names_a_kill() -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let oomtrace = Deployed::start(&mut kubelet, 930)?;
    let pod = kubelet.pod(931)?;
    let victim = kubelet.container(&pod, "app", 2, &EAT)?;
    wait_for_kill(&victim)?;
    wait_until("the kill is told", || Ok(!of_kind(&oomtrace.lines()?, "oom_kill").is_empty()))?;
    let pid = oomtrace.pid()?;
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let lines = oomtrace.lines()?;
    for file in ["memory.current", "memory.peak", "memory.stat"] {
        println!("{file}: {:?}", oomtrace.cgroup(file));
    }
    for field in ["VmRSS", "VmHWM", "CapEff", "Seccomp:", "NoNewPrivs"] {
        println!("{:?}", status.lines().find(|line| line.starts_with(field)));
    }
    println!("{:#}", lines[0]);
    kubelet.remove_pod(&pod)?;
    kubelet.remove_pod(&oomtrace.pod)?;
    let kill = only_kill(&lines)?;
    check_names(kill, &pod, &victim)?;
    check_names(&kill["victim"], &pod, &victim)?;
    check_eq!(kill["container"]["restart_count"], 2, "what only the runtime knows");
    check_eq!(kill["node"], NODE, "the node's name");
    check_eq!(score.trim(), "-999", "oomtrace's own oom_score_adj");
    Ok(())
}
