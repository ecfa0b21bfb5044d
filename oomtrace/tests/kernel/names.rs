//! Names of containers that are there for a moment only, faster than an emulated runtime can make them: what runc's
//! `config.json` says is there when the cgroup is made, and gone with it.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    Outcome,
    cgroup::{Cgroup, container_id, container_path, uid},
    check_eq,
    oomtrace::{Oomtrace, of_kind},
    scenarios::Scenario,
    workload,
};

pub(crate) const ALL: &[Scenario] =
    &[("of_100_containers_gone_within_milliseconds_of_their_kill_nearly_all_are_named_and_none_wrong", short_lives)];

/// containerd's folder of a container, as `oomtrace` looks for it.
struct Bundle(PathBuf);

impl Bundle {
    fn make(pod: u32, container: u32, name: &str) -> Result<Self> {
        let folder =
            PathBuf::from("/run/containerd/io.containerd.runtime.v2.task/k8s.io").join(container_id(container));
        fs::create_dir_all(&folder)?;
        let config = json!({"ociVersion": "1.2.0", "annotations": {
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.container-name": name,
            "io.kubernetes.cri.image-name": "localhost/app:1",
            "io.kubernetes.cri.sandbox-name": format!("pod-{pod}"),
            "io.kubernetes.cri.sandbox-namespace": "shop",
            "io.kubernetes.cri.sandbox-uid": uid(pod),
        }, "linux": {"resources": {"memory": {"limit": 20 << 20}}}});
        fs::write(folder.join("config.json"), config.to_string())?;
        Ok(Self(folder))
    }

    fn remove(self) -> Result<()> {
        Ok(fs::remove_dir_all(self.0)?)
    }
}

fn short_lives() -> Outcome {
    let oomtrace = Oomtrace::start(&[])?;
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    for number in 0..100 {
        let (pod, container) = (8_000 + number, 9_000 + number);
        let bundle = Bundle::make(pod, container, &format!("app-{number}"))?;
        let cgroup = Cgroup::make(&container_path(pod, container))?;
        cgroup.limit(4)?;
        workload::start("eat", &cgroup.procs())?.wait()?;
        let dead = Instant::now();
        cgroup.remove()?;
        bundle.remove()?;
        slowest = slowest.max(dead.elapsed());
    }
    let took = started.elapsed();
    let lines = oomtrace.stop()?;
    println!("{:.1} containers a second, each gone within {slowest:?} of its end", 100.0 / took.as_secs_f64());
    let kills: HashMap<_, _> =
        of_kind(&lines, "oom_kill").into_iter().map(|kill| (kill["container"]["id"].as_str(), kill)).collect();
    let mut unnamed = Vec::new();
    for number in 0..100 {
        let id = container_id(9_000 + number);
        let kill = kills.get(&Some(id.as_str())).with_context(|| format!("no kill in container {number}"))?;
        if kill["pod"]["namespace"].is_null() {
            unnamed.push(number);
            continue;
        }
        check_eq!(kill["pod"]["namespace"], "shop", "the namespace of {number}");
        check_eq!(kill["pod"]["name"], format!("pod-{}", 8_000 + number), "the pod of {number}");
        check_eq!(kill["container"]["name"], format!("app-{number}"), "the container {number}");
        check_eq!(kill["container"]["image"], "localhost/app:1", "the image of {number}");
    }
    // The only source here is a file that is gone as soon as the container: who is late reads nothing.
    ensure!(unnamed.len() <= 5, "containers without names: {unnamed:?}");
    Ok(())
}
