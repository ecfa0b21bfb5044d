//! Who and where: pods, containers, cgroups, tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::cgroup_path::{ContainerId, PodUid, QosClass};

/// A pod, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pod {
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub name: Option<String>,
    /// `metadata.uid`; of a static pod the hash of its manifest.
    pub uid: Option<PodUid>,
    /// The quality-of-service class.
    pub qos: Option<QosClass>,
    /// The controller that made it: its `metadata.ownerReferences` entry that says `controller`.
    pub owner: Option<Owner>,
}

/// What made a pod, and makes it again when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// `ReplicaSet`, `StatefulSet`, `DaemonSet`, `Job`; of a mirror pod `Node`.
    pub kind: String,
    /// Its name, in the pod's namespace.
    pub name: String,
}

/// A container, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// The container's name in its pod.
    pub name: Option<String>,
    /// The runtime's id of it: 64 hexadecimal digits.
    pub id: Option<ContainerId>,
    /// The image it runs.
    pub image: Option<String>,
    /// How often it was restarted.
    pub restart_count: Option<u32>,
    /// What it is to its pod. `null` outside of Kubernetes, and where no source tells: CRI does not tell init containers
    /// and sidecars from the rest, the kubelet's `/pods` does.
    pub role: Option<ContainerRole>,
}

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerRole {
    /// The pod's sandbox ("pause"), which holds its namespaces and has no name.
    Sandbox,
    /// One that has to end before the others start.
    Init,
    /// An init container with `restartPolicy: Always`, which goes on beside the others (from 1.28).
    Sidecar,
    /// One of the pod's own.
    App,
    /// Added to a running pod for debugging.
    Ephemeral,
}

/// A control group of the memory controller's hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// The path from the hierarchy's root, read in the kernel at the moment of the event.
    pub path: Option<String>,
    /// The inode number of its directory.
    pub id: Option<u64>,
    /// Outside of Kubernetes, the systemd unit that it is, or is in.
    pub unit: Option<String>,
}

/// A task of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// The thread's id (`task_struct.pid`): what kernel messages call the pid.
    pub pid: Option<u32>,
    /// The process's id (`task_struct.tgid`): what `ps` calls the pid.
    pub tgid: Option<u32>,
    /// Its name, at most 15 bytes, as the process itself chose it. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub comm: Option<String>,
    /// The real user id in the initial user namespace.
    pub uid: Option<u32>,
    /// -1000 (never kill) to 1000 (kill first).
    pub oom_score_adj: Option<i32>,
    /// Whether it is the first process of a container: number 1 of a pid namespace. `null` where the process is in the
    /// node's own pid namespace, which does not tell.
    pub container_init: Option<bool>,
    /// The pod it runs in.
    pub pod: Option<Pod>,
    /// The container it runs in.
    pub container: Option<Container>,
    /// The memory cgroup that it is charged to.
    pub cgroup_id: Option<u64>,
}

/// A task's memory, from its `mm_struct`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// Address space, `total_vm`.
    pub total_vm_bytes: Option<u64>,
    /// Resident anonymous memory.
    pub rss_anon_bytes: Option<u64>,
    /// Resident file-backed memory.
    pub rss_file_bytes: Option<u64>,
    /// Resident shared memory.
    pub rss_shmem_bytes: Option<u64>,
    /// Memory swapped out.
    pub swap_bytes: Option<u64>,
    /// Page tables.
    pub pgtables_bytes: Option<u64>,
}
