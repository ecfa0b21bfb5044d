//! Who and where: pods, containers, cgroups, tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::cgroup_path::{ContainerId, PodUid, QosClass};

/// A pod, as far as it is known. Of a candidate or member in the line's own pod, only the names are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pod {
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub name: Option<String>,
    /// `metadata.uid`; of a static pod the hash of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<PodUid>,
    /// The quality-of-service class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<QosClass>,
    /// The controller that made it: its `metadata.ownerReferences` entry that says `controller`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

impl Pod {
    /// Whether it is one of which a message is known that names no pod: its name is empty.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        self.uid.is_none() && self.name.as_deref() == Some("")
    }
}

/// What made a pod, and makes it again when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// `ReplicaSet`, `StatefulSet`, `DaemonSet`, `Job`; of a mirror pod `Node`.
    pub kind: String,
    /// Its name, in the pod's namespace.
    pub name: String,
}

/// A container, as far as it is known. Of a candidate or member in the line's own container, only the name is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// The container's name in its pod.
    pub name: Option<String>,
    /// The runtime's id of it: 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ContainerId>,
    /// The image it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How often it was restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_count: Option<u32>,
    /// What it is to its pod. `null` outside of Kubernetes, and where no source tells: CRI does not tell init containers
    /// and sidecars from the rest, the kubelet's `/pods` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

impl ContainerRole {
    /// Of one in a list of the pod's specification: its `restartPolicy` makes an init container a sidecar.
    #[must_use]
    pub fn with_restart_policy(self, restart_policy: Option<&str>) -> Self {
        if self == Self::Init && restart_policy == Some("Always") { Self::Sidecar } else { self }
    }
}

/// A control group of the memory controller's hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// The path from the hierarchy's root, read in the kernel at the moment of the event.
    pub path: Option<String>,
    /// The inode number of its directory.
    pub id: Option<u64>,
    /// Outside of Kubernetes, the systemd unit that it is, or is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// Whether it is the first process of a container: number 1 of a pid namespace. `null` where that does not say it: the
    /// process is in the node's own pid namespace, or in one that its container shares with others (`shareProcessNamespace`,
    /// `kubectl debug --target`).
    pub container_init: Option<bool>,
    /// The pod it runs in.
    pub pod: Option<Pod>,
    /// The container it runs in.
    pub container: Option<Container>,
    /// The memory cgroup that it is charged to.
    pub cgroup_id: Option<u64>,
}

/// A task without its pod and container, for events that say these themselves: an object that has a name twice is read back
/// by nobody.
pub(super) fn without_place<S: Serializer>(task: &Task, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Placeless<'a> {
        pid: Option<u32>,
        tgid: Option<u32>,
        comm: Option<&'a str>,
        uid: Option<u32>,
        oom_score_adj: Option<i32>,
        container_init: Option<bool>,
        cgroup_id: Option<u64>,
    }
    let Task { pid, tgid, comm, uid, oom_score_adj, container_init, pod: _, container: _, cgroup_id } = task;
    Placeless {
        pid: *pid,
        tgid: *tgid,
        comm: comm.as_deref(),
        uid: *uid,
        oom_score_adj: *oom_score_adj,
        container_init: *container_init,
        cgroup_id: *cgroup_id,
    }
    .serialize(serializer)
}

/// A task's memory, from its `mm_struct`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// Address space, `total_vm`.
    pub total_vm_bytes: Option<u64>,
    /// All resident memory, where only the sum is known: the kernel's table of tasks has it alone before 6.8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
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

#[cfg(test)]
mod tests {
    use crate::{Container, Event, Line, Memory, OomVictim, Pod, Source, Task, Why};

    #[test]
    fn an_event_of_a_task_in_a_pod_says_so_once_and_is_read_back() -> Result<(), serde_json::Error> {
        let (pod, container) = (Some(Pod::default()), Some(Container::default()));
        let task = Task { pid: Some(7), pod: pod.clone(), container: container.clone(), ..Task::default() };
        let (why, memory) = (Why::Killed, Memory::default());
        let event = OomVictim { why, decision: None, pod, container, cgroup: None, task, memory };
        let event = Event::OomVictim(Box::new(event));
        let node = "node".to_owned();
        let line = Line { ts: String::new(), seq: 1, node, source: Source::Kernel, boot_ns: None, event };
        let json = serde_json::to_string(&line)?;
        assert_eq!(json.matches(r#""pod":"#).count(), 1, "{json}");
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Line>(&json)?)?, json);
        Ok(())
    }
}
