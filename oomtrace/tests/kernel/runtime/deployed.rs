//! oomtrace as a cluster runs it: the image in the runtime, in a container that has just what the manifest grants.

use std::{fs, path::Path, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    EAT, check_names,
    journal::Journal,
    kubelet::{Container, Kubelet, Pod},
    manifest::Manifest,
    only_kill, wait_for_kill,
};
use crate::{
    Outcome,
    cgroup::uid,
    check_eq,
    oomtrace::{Oomtrace, of_kind, validated, wait_until},
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
        // What a test that failed and runs again had read is not this one's.
        let _ = fs::remove_dir_all(manifest.state()?);
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

    /// Its processes' names and what each is granted against the OOM killer, in the order of the names.
    fn processes(&self) -> Result<Vec<(String, i32)>> {
        let of = |pid: &str| -> Result<_> {
            let read =
                |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).map(|text| text.trim().to_owned());
            Ok((read("comm")?, read("oom_score_adj")?.parse()?))
        };
        let mut processes: Vec<_> = self.cgroup("cgroup.procs")?.lines().map(of).collect::<Result<_>>()?;
        processes.sort();
        Ok(processes)
    }

    /// Ends it as a kubelet does at first, and gives all that it printed.
    fn stop(&self) -> Result<Vec<Value>> {
        for pid in self.cgroup("cgroup.procs")?.lines() {
            // SAFETY: no precondition.
            unsafe { libc::kill(pid.parse()?, libc::SIGTERM) };
        }
        wait_until("oomtrace has ended", || {
            Ok(self.lines()?.last().is_some_and(|line| line["kind"] == "status" && line["phase"] == "stopped"))
        })?;
        self.lines()
    }
}

pub(super) fn names_and_pairs() -> Outcome {
    let mut kubelet = Kubelet::start()?;
    let mut journal = Journal::start()?;
    let alone = Oomtrace::start(&[])?;
    let outside = alone.status.clone();
    alone.stop()?;
    let oomtrace = Deployed::start(&mut kubelet, 930)?;
    let pod = kubelet.pod(931)?;
    let victim = kubelet.container(&pod, "app", 2, &EAT)?;
    wait_for_kill(&victim)?;
    wait_until("the kill is reported", || Ok(!of_kind(&oomtrace.lines()?, "oom_kill").is_empty()))?;
    journal.evict("shop/web-931")?;
    let cleaned_up = |line: &&Value| line["phase"] == "cleaned_up";
    wait_until("the eviction is reported", || Ok(of_kind(&oomtrace.lines()?, "eviction").iter().any(cleaned_up)))
        .with_context(|| format!("{:#?}\nwhere the journal has\n{}", oomtrace.lines(), journal.text()))?;
    let processes = oomtrace.processes()?;
    println!("memory.peak: {:?}", oomtrace.cgroup("memory.peak").map(|peak| peak.trim().to_owned()));
    let lines = oomtrace.stop()?;
    kubelet.remove_pod(&pod)?;
    kubelet.remove_pod(&oomtrace.pod)?;

    // Whatever this kernel cannot: the manifest grants all that root has.
    for what in ["degraded", "attached", "confined"] {
        check_eq!(lines[0][what], outside[what], "{what} in the container, and outside of it");
    }
    let kill = only_kill(&lines)?;
    check_names(kill, &pod, &victim)?;
    check_names(&kill["victim"], &pod, &victim)?;
    check_eq!(kill["node"], NODE, "the node's name");
    ensure!(kill["limit"]["limit_bytes"].is_u64() && kill["victim"]["rss_anon_bytes"].is_u64(), "no sizes: {kill}");
    let incidents = of_kind(&lines, "incident");
    let closed: Vec<_> = incidents.iter().filter(|incident| incident["state"] == "closed").collect();
    ensure!(closed.len() == 1, "not one incident: {incidents:#?}");
    check_eq!(closed[0]["pod"]["name"], "web-931", "whom the incident is about");
    check_eq!(closed[0]["kills"], 1, "the kernel's part in it");
    check_eq!(closed[0]["evicted"], true, "the kubelet's part in it");
    // It needs no other program, and is the last to be killed.
    check_eq!(processes, [("oomtrace".to_owned(), -999)], "oom_score_adj");
    Ok(())
}
