//! Limits that somebody set while containers ran.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Cgroup, Container, Level, Pod, Task,
    place::{Mention, Mentions},
};

/// A limit of a pod's or a container's cgroup was set to something else, as by a resize in place.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct LimitChanged {
    /// Whose limit it is.
    pub pod: Option<Pod>,
    /// Whose limit it is.
    pub container: Option<Container>,
    /// The cgroup.
    pub cgroup: Option<Cgroup>,
    /// What the cgroup is of.
    pub level: Option<Level>,
    /// Which limit.
    pub limit_kind: Option<LimitKind>,
    /// What it was; `null` where there was none.
    pub from_bytes: Option<u64>,
    /// What it is now; `null` where there is none.
    pub to_bytes: Option<u64>,
    /// Who set it: the process that wrote to the file.
    pub set_by: Option<Task>,
}

impl Mentions for LimitChanged {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), None));
        self.set_by.mentions(show);
    }
}

/// A limit of a cgroup, by its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// `memory.max`, or `memory.limit_in_bytes` of cgroup v1.
    Max,
    /// `memory.high`.
    High,
    /// `memory.swap.max`.
    SwapMax,
    /// `memory.memsw.limit_in_bytes` of cgroup v1: of memory and swap together.
    MemoryAndSwapMax,
}
