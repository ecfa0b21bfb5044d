//! What becomes of containers, as the kubelet or the runtime tells it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Cgroup, Container, Pod, Sender,
    place::{Mention, Mentions},
};

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

impl Mentions for ContainerChange {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), None));
    }
}

impl ContainerChange {
    /// The reason where a pod had to go for a critical one (`PreemptContainer`, `pkg/kubelet/events/event.go`).
    pub const PREEMPTING: &'static str = "Preempting";

    /// What `message` begins with where only the start of the container's id is known, which follows.
    pub const ID_BEGINS: &'static str = "its id begins with ";

    /// The start of the container's id, where that is all that is known of the container.
    #[must_use]
    pub fn id_begins(&self) -> Option<&str> {
        let known = self.container.as_ref().is_some_and(|container| container.id.is_some());
        self.message.as_deref().filter(|_| !known)?.strip_prefix(Self::ID_BEGINS)
    }

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

/// A line near the end of a container's log in which its program says that it ran out of memory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutOfMemoryLog {
    /// Its pod.
    pub pod: Option<Pod>,
    /// The container.
    pub container: Option<Container>,
    /// The runtime that writes such lines: `Java`, `Node.js`, `.NET`.
    pub runtime: Option<String>,
    /// The line's beginning.
    pub message: Option<String>,
}

/// A container ended as Kubernetes intended: what "why 137?" asks for where nothing went wrong.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ContainerEnded {
    /// Its pod.
    pub pod: Option<Pod>,
    /// The container.
    pub container: Option<Container>,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// Whether it is the pod's sandbox; `null` where nothing tells.
    pub sandbox: Option<bool>,
    /// Its exit code: 137 is 128 and SIGKILL, 143 is 128 and SIGTERM.
    pub exit_code: Option<i32>,
    /// The signal that ended it: `SIGKILL`, `SIGTERM`; `null` where it exited, or no signal was seen.
    pub signal: Option<String>,
    /// Who sent that signal, where it was seen.
    pub sender: Option<Sender>,
    /// Why, where that is known.
    pub reason: EndReason,
    /// The same in words, with what it is concluded from.
    pub message: Option<String>,
}

/// Why Kubernetes ended a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// It is the sandbox of a pod that ended: runtimes end it with SIGKILL as a matter of course.
    Sandbox,
    /// Its pod is or was being deleted: a deletion, a rollout, a drain.
    PodDeleted,
    /// A probe failed, and the kubelet restarts it.
    Probe,
    /// The kubelet evicted its pod: an incident reports that.
    Evicted,
    /// Its pod had to go for a critical one.
    Preempted,
    /// The node is shutting down.
    NodeShutdown,
    /// The kubelet starts it anew for a reason of its own: its definition changed, or a resize needs it.
    Restarted,
    /// Nothing tells: `message` says what is known.
    Unknown,
}
