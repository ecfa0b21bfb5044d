//! What is known of pods and containers from files: `kubectl get pods -o json`, the kubelet's `/pods`, `crictl`, a copy of
//! `/var/log/pods`, `kubectl get events`. A plain table, for looking at a node's logs after the fact.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{ContainerId, ContainerRole, ContainerUse, Pod, PodUid};

/// All that the files say, each pod once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The pods, by the uid that the node knows them by: of a static pod the hash of its manifest.
    pub pods: BTreeMap<PodUid, PodRecord>,
    /// Uids of mirror pods, as the API server has them, and the static pods that they stand for.
    pub mirrors: BTreeMap<PodUid, PodUid>,
    /// What was said of evictions in events and pod statuses.
    pub evictions: Vec<EvictionNotice>,
    /// What containers' logs say of memory that ran out.
    pub last_words: Vec<LastWords>,
    /// What events say of kills on nodes that were out of memory.
    pub system_ooms: Vec<SystemOomNotice>,
    /// What events quote of the kernel's log.
    pub kernel_lines: Vec<KernelLineNotice>,
    /// The node's memory, where a node object was among the files.
    pub capacity_bytes: Option<u64>,
    /// What is allocatable of it.
    pub allocatable_bytes: Option<u64>,
    /// The nodes that the pods run on.
    pub nodes: Vec<String>,
    /// Pods of which no uid is known, by namespace and name: as `kubectl describe pod` has them.
    pub described: BTreeMap<(String, String), PodRecord>,
    /// What events say of pods that koordlet evicted for memory.
    pub killer_evictions: Vec<KillerEviction>,
    /// What events say of containers that the kubelet ended because a probe failed.
    pub probe_kills: Vec<ProbeKill>,
    /// When it was that texts were printed whose times are ages.
    pub printed: Option<Timestamp>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodRecord {
    /// Namespace, name, uid, class.
    pub pod: Pod,
    /// When the API server made it; `None` of a mirror pod, which comes after the static pod that it stands for.
    pub created: Option<Timestamp>,
    /// Whether `containers` is all of them: the specification was read, not only what runs.
    pub complete: bool,
    /// Its containers by name.
    pub containers: BTreeMap<String, ContainerRecord>,
    /// Ids of its sandboxes.
    pub sandboxes: Vec<ContainerId>,
    /// `status.reason`: `Evicted`.
    pub reason: Option<String>,
    /// `spec.nodeName`.
    pub node: Option<String>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerRecord {
    /// What it is to its pod, where the specification was read.
    pub role: Option<ContainerRole>,
    /// The image.
    pub image: Option<String>,
    /// Its memory limit; `None` where it has none, or where that is not known.
    pub limit_bytes: Option<u64>,
    /// Its memory request.
    pub request_bytes: Option<u64>,
    /// What its specification says of its runtime's heap: flags in its command, variables of its environment.
    pub heap_settings: Vec<String>,
    /// How often it was restarted up to now.
    pub restart_count: Option<u32>,
    /// Its ids, one for each time it was started, as far as they are known; and how often it had been restarted by then.
    pub ids: BTreeMap<ContainerId, Option<u32>>,
    /// How it ended, by id.
    pub ends: BTreeMap<ContainerId, EndRecord>,
    /// How it ended, where the status gives no id.
    pub unnamed_ends: Vec<EndRecord>,
}

/// How a container ended, as its status has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndRecord {
    /// 137 is 128 and SIGKILL.
    pub exit_code: Option<i32>,
    /// `OOMKilled`, `Error`, `Completed`, `ContainerStatusUnknown`.
    pub reason: Option<String>,
    /// When, to the second: as the pod's status has it.
    pub ended: Option<Timestamp>,
    /// When, as the runtime has it.
    pub finished: Option<Timestamp>,
}

/// What an event or a pod's status says of its eviction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvictionNotice {
    /// The pod.
    pub pod: Pod,
    /// When, RFC 3339; of a status when its conditions changed last, `None` where it has none.
    pub ts: Option<String>,
    /// The node that it was on.
    pub node: Option<String>,
    /// The message.
    pub message: String,
    /// The resource that ran short.
    pub resource: Option<String>,
    /// The threshold.
    pub threshold_bytes: Option<u64>,
    /// What was available.
    pub available_bytes: Option<u64>,
    /// What the containers used.
    pub containers: Vec<ContainerUse>,
    /// The pod never ran: it was refused admission.
    pub refused: bool,
}

/// An event of a pod that a user-space OOM killer evicted (`evictPodSuccess`, Koordinator's `pkg/koordlet/qosmanager`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillerEviction {
    /// The pod.
    pub pod: Pod,
    /// When.
    pub ts: Option<Timestamp>,
    /// The node.
    pub node: Option<String>,
}

/// An event of a container that the kubelet ended because a probe failed (`Killing`, `pkg/kubelet/kuberuntime`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeKill {
    /// The pod.
    pub pod: Pod,
    /// The container's name.
    pub container: String,
    /// `liveness` or `startup`.
    pub probe: String,
}

/// The line near the end of a container's log that says that its program ran out of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWords {
    /// The pod.
    pub pod: Pod,
    /// The container's name.
    pub container: String,
    /// How often it had been restarted.
    pub restart_count: Option<u32>,
    /// The line.
    pub words: Words,
}

/// A line in a container's log that says that its program ran out of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// When it was written.
    pub at: Timestamp,
    /// The runtime that writes such lines.
    pub runtime: &'static str,
    /// The line, without what the container runtime put before it.
    pub text: String,
}

/// The kubelet's event of a kill on a node that was out of memory (`SystemOOM`, `pkg/kubelet/oom/oom_watcher_linux.go`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemOomNotice {
    /// When.
    pub ts: Option<Timestamp>,
    /// The node.
    pub node: Option<String>,
    /// The victim's name.
    pub comm: Option<String>,
    /// Its process id.
    pub pid: Option<u32>,
}

/// An event of a kill that has the kernel's line (`OOMKilling`, by node-problem-detector's `kernel-monitor.json`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelLineNotice {
    /// When.
    pub ts: Option<Timestamp>,
    /// The node.
    pub node: Option<String>,
    /// The line.
    pub text: String,
}

impl ContainerRecord {
    /// It was started once with this id.
    pub fn add_id(&mut self, id: ContainerId, restart_count: Option<u32>) {
        let known = self.ids.entry(id).or_default();
        *known = known.or(restart_count);
    }
}

impl Snapshot {
    /// The uid that the node knows a pod by.
    #[must_use]
    pub fn canonical<'a>(&'a self, uid: &'a PodUid) -> &'a PodUid {
        self.mirrors.get(uid).unwrap_or(uid)
    }

    /// Learns that a container is one of the pod with this uid. A pod that was described without its uid is known by it from then on.
    pub fn identify(&mut self, uid: &PodUid, id: &ContainerId) {
        let has_it = |record: &PodRecord| record.containers.values().any(|container| container.ids.contains_key(id));
        let Some(name) = self.described.iter().find(|(_, record)| has_it(record)).map(|(name, _)| name.clone()) else {
            return;
        };
        let uid = self.canonical(uid).clone();
        if !self.pods.contains_key(&uid)
            && let Some(mut record) = self.described.remove(&name)
        {
            record.pod.uid = Some(uid.clone());
            self.pods.insert(uid, record);
        }
    }

    /// The container with an id, its name and its pod.
    #[must_use]
    pub fn container(&self, id: &ContainerId) -> Option<(&PodRecord, &str, &ContainerRecord)> {
        self.pods.values().find_map(|pod| {
            pod.containers
                .iter()
                .find(|(_, container)| container.ids.contains_key(id))
                .map(|(name, container)| (pod, name.as_str(), container))
        })
    }
}
