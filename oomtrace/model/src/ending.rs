//! How processes end, and who made them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Cgroup, Container, Pod, Task,
    place::{Mention, Mentions},
    signal::{name_or_number, optional_name_or_number},
    task::without_place,
};

/// How a process ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProcessExit {
    /// Its pod.
    pub pod: Option<Pod>,
    /// Its container.
    pub container: Option<Container>,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// Who; its `pid` is the process's.
    #[serde(flatten, serialize_with = "without_place")]
    pub task: Task,
    /// The status it exited with, 0 to 255; `null` where a signal ended it.
    pub exit_code: Option<u8>,
    /// The signal that ended it: `SIGKILL`; `null` where it exited.
    #[serde(default, deserialize_with = "optional_name_or_number")]
    pub signal: Option<String>,
    /// The signal's number.
    #[serde(default)]
    pub signal_number: Option<u32>,
    /// Whether it left a core dump.
    pub core_dumped: bool,
    /// What the container's exit code is, where this was its first process: the status, or 128 and the signal's number
    /// (137 for SIGKILL).
    pub container_exit_code: Option<u8>,
    /// Whether the OOM killer had marked it.
    pub oom_victim: bool,
    /// From the mark to this end, milliseconds; `null` where it was not marked, or the mark was not seen.
    pub since_mark_ms: Option<f64>,
    /// From the mark to when the OOM reaper had taken its memory, milliseconds; `null` where it had ended before the reaper
    /// came, which waits two seconds for that (`OOM_REAPER_DELAY`, `mm/oom_kill.c`, since 5.18 and in stable
    /// kernels of before).
    pub mark_to_reaped_ms: Option<f64>,
    /// Where a container gave up or crashed: what set the size of a heap on the command lines and in the environments of its
    /// processes, read while they ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heap_settings: Vec<String>,
}

impl Mentions for ProcessExit {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), Some(&self.task)));
        self.task.mentions(show);
    }
}

/// A signal into a container: SIGKILL, SIGTERM, SIGQUIT, or one of those that a fault raises, where the process does not
/// catch it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Signal {
    /// The target's pod.
    pub pod: Option<Pod>,
    /// The target's container.
    pub container: Option<Container>,
    /// The target's cgroup.
    pub cgroup: Option<Cgroup>,
    /// The signal: `SIGKILL`.
    #[serde(deserialize_with = "name_or_number")]
    pub signal: String,
    /// Its number.
    #[serde(default)]
    pub signal_number: Option<u32>,
    /// Its sender.
    pub sender: Sender,
    /// Whom it was sent to.
    pub target: Task,
}

impl Mentions for Signal {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), Some(&self.target)));
        self.target.mentions(show);
        self.sender.task.mentions(show);
    }
}

/// The sender of a signal.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sender {
    /// What it is.
    pub role: SenderRole,
    /// Who. Of a signal that the kernel itself sent: the task that it ran as just then.
    #[serde(flatten)]
    pub task: Task,
    /// Its systemd unit, where it has one on the node.
    pub unit: Option<String>,
}

/// What the sender of a signal is. A process in a container goes by its container, never by its name, which it chooses
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SenderRole {
    /// The kernel itself: a fault, the OOM killer, the end of a pid namespace.
    Kernel,
    /// A process of the same container.
    SameContainer,
    /// A process of another container.
    OtherContainer,
    /// The kubelet, or a distribution's program with it inside.
    Kubelet,
    /// The container runtime: its daemon, its shim, its monitor.
    Runtime,
    /// A user-space OOM killer: systemd-oomd, oomd, earlyoom, nohang, koordlet.
    Oomd,
    /// systemd.
    Systemd,
    /// A process of a login session, by its cgroup: a person's shell, or what was started from one.
    Person,
    /// Another process of the node.
    Process,
}
