//! A node's memory, read once: `/proc`, the cgroups of pods and those around them, the kernel's settings.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;

use super::{
    budget::together,
    cgroup_files::{CgroupMemory, NodeMemory},
    cgroup_path::{CgroupIdentity, ContainerId, PodUid, QosClass},
    fact::Fact,
    hierarchy::Hierarchy,
    kubelet_process,
    names::{Host, cgroups},
    processes::{self, Process},
};
use crate::event::Level;

/// Where cgroups are mounted as a rule.
const USUAL: &str = "/sys/fs/cgroup";

/// Where a node's files are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The node's root folder.
    pub host: Host,
    /// Its `/proc`.
    pub proc: PathBuf,
    /// Where its cgroups are mounted.
    pub cgroup_root: PathBuf,
}

/// A node's memory at one time.
#[derive(Debug)]
pub struct Survey {
    /// When it was read.
    pub taken: Instant,
    /// `/proc/meminfo`.
    pub memory: NodeMemory,
    /// The version of the memory controller's hierarchy; `None` where it is not mounted.
    pub cgroup_version: Option<u8>,
    /// The root cgroup, with the kubelet's use of the node.
    pub root: Option<CgroupMemory>,
    /// All pods together.
    pub kubepods: Option<CgroupMemory>,
    /// The `QoS` classes' cgroups.
    pub qos: Vec<CgroupMemory>,
    /// Every pod's cgroup.
    pub pods: Vec<PodMemory>,
    /// Every process that has memory.
    pub processes: Vec<Process>,
    /// What the kernel is set to.
    pub kernel: KernelSettings,
    /// What could not be read, and why.
    pub trouble: Vec<String>,
}

/// A pod's cgroup and its containers'.
#[derive(Clone, Debug)]
pub struct PodMemory {
    /// Which pod.
    pub uid: PodUid,
    /// Its class, by its path.
    pub qos: Option<QosClass>,
    /// Its cgroup.
    pub cgroup: CgroupMemory,
    /// Its containers' cgroups, the sandbox's among them.
    pub containers: Vec<(ContainerId, CgroupMemory)>,
}

/// The kernel's settings that concern memory running out: `/proc/sys/vm`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelSettings {
    /// `overcommit_memory`: 0 refuses what is absurd, 1 nothing, 2 what exceeds the commit limit.
    pub overcommit_memory: Option<u64>,
    /// `overcommit_ratio`: the share of RAM in the commit limit, in percent.
    pub overcommit_ratio: Option<u64>,
    /// `panic_on_oom`: 1 and 2 stop the node instead of a process.
    pub panic_on_oom: Option<u64>,
    /// `oom_kill_allocating_task`: in a node-wide OOM the task that asks for memory is killed.
    pub oom_kill_allocating_task: Option<u64>,
    /// `swappiness`.
    pub swappiness: Option<u64>,
    /// `min_free_kbytes`, in bytes: what the kernel keeps for itself.
    pub min_free_bytes: Option<u64>,
}

impl Places {
    /// Where they are below a root folder. A folder without `/proc` has this system's own, which is said in `trouble`.
    #[must_use]
    pub fn below(host: Host, cgroup_root: &Path, trouble: &mut Vec<String>) -> Self {
        let (proc, found) = kubelet_process::proc(&host);
        if !found {
            trouble.push(format!("{} is not there: /proc is read instead", host.path("/proc").display()));
        }
        let cgroup_root =
            if cgroup_root == Path::new(USUAL) { own_cgroups(&host, trouble) } else { cgroup_root.to_owned() };
        Self { host, proc, cgroup_root }
    }
}

/// Where the node's cgroups are: below its root folder; else, in a container that has only them mounted, where they always are.
fn own_cgroups(host: &Host, trouble: &mut Vec<String>) -> PathBuf {
    let (below, usual) = (host.path(USUAL), Path::new(USUAL));
    if below == usual || Hierarchy::find(&below).is_ok() || Hierarchy::find(usual).is_err() {
        return below;
    }
    trouble.push(format!("{} has no cgroups: /sys/fs/cgroup is read instead (--cgroup-root)", below.display()));
    usual.to_owned()
}

impl Survey {
    /// Reads it all.
    #[must_use]
    pub fn take(places: &Places) -> Self {
        let mut trouble = Vec::new();
        let hierarchy = Hierarchy::find(&places.cgroup_root).map_err(|error| trouble.push(error.to_string())).ok();
        let memory = NodeMemory::read(&places.proc).unwrap_or_else(|error| {
            trouble.push(error);
            NodeMemory::default()
        });
        let mut survey = Self {
            taken: Instant::now(),
            memory,
            cgroup_version: hierarchy.as_ref().map(Hierarchy::version),
            root: None,
            kubepods: None,
            qos: Vec::new(),
            pods: Vec::new(),
            processes: Vec::new(),
            kernel: KernelSettings::read(&places.proc),
            trouble,
        };
        if let Some(hierarchy) = &hierarchy {
            survey.cgroups(hierarchy);
        }
        survey.processes = processes::all(&places.proc);
        if let (Some(hierarchy), Some(kubepods)) = (&hierarchy, &survey.kubepods) {
            place(&mut survey.processes, &places.proc, hierarchy, &kubepods.path);
        }
        survey
    }

    /// Reads the cgroups: first those that the kubelet compares with its thresholds, so that they are of one time.
    fn cgroups(&mut self, hierarchy: &Hierarchy) {
        self.root = CgroupMemory::read(hierarchy, "/", &mut self.trouble).map(CgroupMemory::of_root);
        let paths = cgroups::walk(hierarchy.root()).into_iter().filter_map(|fact| match fact {
            Fact::Cgroup { path, .. } => Some((CgroupIdentity::parse(&path), path)),
            _ => None,
        });
        let found: Vec<_> = paths.filter(|(identity, _)| identity.nested.is_none()).collect();
        let at = |level| found.iter().filter(move |(identity, _)| identity.level == level).map(|(_, path)| path);
        // Kubernetes 1.20 leaves trees of both drivers: the one that pods are in counts.
        let trees = at(Level::Kubepods).filter_map(|path| CgroupMemory::read(hierarchy, path, &mut self.trouble));
        self.kubepods = trees.max_by_key(|tree| tree.usage_bytes);
        let Some(kubepods) = &self.kubepods else {
            self.trouble
                .push("there is no cgroup kubepods: no kubelet runs here, or its cgroups are elsewhere".to_owned());
            return;
        };
        let below = format!("{}/", kubepods.path);
        self.qos = at(Level::Qos)
            .filter(|path| path.starts_with(&below))
            .filter_map(|path| CgroupMemory::read(hierarchy, path, &mut self.trouble))
            .collect();
        let mut pods: BTreeMap<PodUid, PodMemory> = BTreeMap::new();
        for (identity, path) in found.iter().filter(|(_, path)| path.starts_with(&below)) {
            let Some(uid) = identity.pod_uid.clone() else { continue };
            let read = matches!(identity.level, Level::Pod | Level::Container)
                .then(|| CgroupMemory::read(hierarchy, path, &mut self.trouble));
            let Some(cgroup) = read.flatten() else { continue };
            match (&identity.container_id, pods.get_mut(&uid)) {
                (Some(id), Some(pod)) => pod.containers.push((id.clone(), cgroup)),
                (Some(_), None) => {}
                (None, _) => {
                    pods.insert(uid.clone(), PodMemory { uid, qos: identity.qos, cgroup, containers: Vec::new() });
                }
            }
        }
        self.pods = pods.into_values().collect();
    }

    /// RAM and swap in pages: what the kernel weighs by in a node-wide OOM.
    #[must_use]
    pub fn node_pages(&self, page_bytes: u64) -> u64 {
        let bytes = together([self.memory.total_bytes, self.memory.swap_total_bytes].into_iter().flatten());
        bytes / page_bytes.max(1)
    }
}

/// Gives processes in pods the path of their cgroup from the hierarchy's root: in a cgroup namespace of its own, a process does
/// not see it in `/proc/PID/cgroup`.
fn place(processes: &mut [Process], proc: &Path, hierarchy: &Hierarchy, kubepods: &str) {
    let Some(folder) = hierarchy.folder(kubepods) else { return };
    let inside: BTreeMap<u32, String> = processes::in_cgroup(proc, &folder, kubepods).into_iter().collect();
    for process in processes {
        if let Some(path) = inside.get(&process.pid) {
            process.cgroup = Some(path.clone());
        }
    }
}

impl KernelSettings {
    fn read(proc: &Path) -> Self {
        let number = |name: &str| fs::read_to_string(proc.join("sys/vm").join(name)).ok()?.trim().parse::<u64>().ok();
        Self {
            overcommit_memory: number("overcommit_memory"),
            overcommit_ratio: number("overcommit_ratio"),
            panic_on_oom: number("panic_on_oom"),
            oom_kill_allocating_task: number("oom_kill_allocating_task"),
            swappiness: number("swappiness"),
            min_free_bytes: number("min_free_kbytes").map(|kib| kib.saturating_mul(1024)),
        }
    }
}
