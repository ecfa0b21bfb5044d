//! What becomes of containers, as the kubelet or the runtime tells it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cgroup, Container, Pod};

/// A container appeared, was told to end, or went.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ContainerChange {
    /// What became of it.
    pub action: ContainerAction,
    /// Its pod.
    pub pod: Option<Pod>,
    /// The container.
    pub container: Option<Container>,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// Whether it is the pod's sandbox, which holds its namespaces; `null` where the source does not tell.
    pub sandbox: Option<bool>,
    /// Its exit code, where it went: 137 is 128 and SIGKILL.
    pub exit_code: Option<i32>,
    /// The reason that Kubernetes will show, or why it is killed: `OOMKilled`, `Error`, `Completed`.
    pub reason: Option<String>,
    /// More words.
    pub message: Option<String>,
    /// How long it is given to end, milliseconds.
    pub grace_period_ms: Option<u64>,
}

impl ContainerChange {
    /// The reason where a pod had to go for a critical one (`PreemptContainer`, `pkg/kubelet/events/event.go`).
    pub const PREEMPTING: &'static str = "Preempting";

    /// A change of which nothing more is known.
    #[must_use]
    pub fn new(action: ContainerAction) -> Self {
        Self {
            action,
            pod: None,
            container: None,
            cgroup: None,
            sandbox: None,
            exit_code: None,
            reason: None,
            message: None,
            grace_period_ms: None,
        }
    }
}

/// What becomes of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerAction {
    /// Its cgroup, or it itself, was made.
    Created,
    /// It runs.
    Started,
    /// The kubelet tells it to end.
    Killing,
    /// It would not end in its grace period, or the kubelet could not end it.
    KillFailed,
    /// It ended.
    Died,
    /// The pod's status says how it ended: with the reason that Kubernetes shows, seconds after it did.
    Reported,
    /// It is gone from the runtime, or its cgroup is.
    Removed,
    /// A probe of it failed.
    ProbeFailed,
    /// The kubelet waits before it starts it again.
    BackOff,
    /// Its pod is being deleted.
    PodDeleted,
    /// The runtime noticed an OOM in it (containerd's `TaskOOM`, the kubelet's cAdvisor).
    OomNoticed,
}
