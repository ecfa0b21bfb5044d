//! What the sources of names tell: a fact is a piece of the answer, with who says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cgroup_path::{ContainerId, PodUid, QosClass};
use crate::{ContainerRole, Owner};

/// Who reported a name. The later ones are believed over the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameSource {
    /// The names of folders and links below `/var/log`, which the kubelet makes.
    PodLogs,
    /// The state files of Docker and Podman.
    EngineState,
    /// The OCI `config.json` that the runtime was given, with its annotations.
    OciConfig,
    /// The kubelet's `/pods`.
    Kubelet,
    /// The container runtime, through CRI.
    Cri,
}

/// One thing that a source knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A cgroup of the memory controller's hierarchy is there.
    Cgroup {
        /// The inode number of its directory.
        id: u64,
        /// Its path from the hierarchy's root.
        path: String,
    },
    /// It was removed.
    CgroupGone {
        /// The inode number that its directory had.
        id: u64,
    },
    /// Something about a container.
    Container(ContainerFact),
    /// Its source does not know it any more.
    ContainerGone {
        /// The container.
        id: ContainerId,
    },
    /// Something about a pod.
    Pod(PodFact),
    /// Its source does not know it any more.
    PodGone {
        /// The pod.
        uid: PodUid,
    },
}

/// What a source knows of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFact {
    /// Who says so.
    pub source: NameSource,
    /// The container.
    pub id: ContainerId,
    /// The pod it belongs to.
    pub pod: Option<PodUid>,
    /// Its name: in its pod, or on its host.
    pub name: Option<String>,
    /// The image, as the pod's specification has it where that is known.
    pub image: Option<String>,
    /// How often it was restarted: CRI's `attempt`.
    pub restart_count: Option<u32>,
    /// What it is to its pod.
    pub role: Option<ContainerRole>,
    /// Its memory limit by its specification.
    pub limit_bytes: Option<u64>,
    /// Whether it has ended.
    pub ended: bool,
}

impl ContainerFact {
    /// A container of which nothing is known yet.
    #[must_use]
    pub fn new(source: NameSource, id: ContainerId) -> Self {
        Self {
            source,
            id,
            pod: None,
            name: None,
            image: None,
            restart_count: None,
            role: None,
            limit_bytes: None,
            ended: false,
        }
    }
}

/// What a source knows of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFact {
    /// Who says so.
    pub source: NameSource,
    /// The pod, as its cgroup and the runtime know it.
    pub uid: PodUid,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its class.
    pub qos: Option<QosClass>,
    /// What made it.
    pub owner: Option<Owner>,
    /// Its labels, without those that the kubelet adds for the runtime. `None`: not reported.
    pub labels: Option<Vec<(String, String)>>,
    /// What the pod as a whole may use by its specification (`spec.resources`, from 1.34).
    pub limit_bytes: Option<u64>,
    /// The containers of its specification: of one that was just restarted, only the name is known at first. `None`: not
    /// reported.
    pub containers: Option<Vec<SpecContainer>>,
}

/// A container of a pod's specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecContainer {
    /// Its name in the pod.
    pub name: String,
    /// What it is to the pod.
    pub role: ContainerRole,
    /// Its memory limit.
    pub limit_bytes: Option<u64>,
    /// Its memory request: where it sets none, its limit.
    pub request_bytes: Option<u64>,
}

impl PodFact {
    /// A pod of which nothing is known yet.
    #[must_use]
    pub fn new(source: NameSource, uid: PodUid) -> Self {
        Self {
            source,
            uid,
            namespace: None,
            name: None,
            qos: None,
            owner: None,
            labels: None,
            limit_bytes: None,
            containers: None,
        }
    }
}

/// Whether an image is given by its name: its id says nothing to people.
#[must_use]
pub fn names_image(image: &str) -> bool {
    let is_hash = image.len() == 64 && image.bytes().all(|byte| byte.is_ascii_hexdigit());
    !image.is_empty() && !image.starts_with("sha256:") && !is_hash
}
