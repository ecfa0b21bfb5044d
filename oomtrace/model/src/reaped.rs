//! The kernel's reaper, which takes a victim's memory before the victim itself has ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Cgroup, Container, Pod, Task,
    place::{Mention, Mentions},
    task::without_place,
};

/// The reaper took a victim's memory, or could not: `oom_reap_task`, `mm/oom_kill.c`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct OomReaped {
    /// The decision that its victim was killed by, as in `oom_kill`.
    pub decision: Option<u64>,
    /// The victim's pod.
    pub pod: Option<Pod>,
    /// The victim's container.
    pub container: Option<Container>,
    /// The victim's cgroup.
    pub cgroup: Option<Cgroup>,
    /// The victim.
    #[serde(flatten, serialize_with = "without_place")]
    pub task: Task,
    /// Resident anonymous memory that is left; `null` where the reaper was unable to take any, and where only the probes tell.
    pub left_anon_bytes: Option<u64>,
    /// From the kill to the reaper's end, milliseconds.
    pub since_kill_ms: Option<f64>,
}

impl Mentions for OomReaped {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), Some(&self.task)));
        self.task.mentions(show);
    }
}
