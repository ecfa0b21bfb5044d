//! Limits that will be reached soon.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Cgroup, Container, Level, Pod,
    place::{Mention, Mentions},
};

/// At its present growth a cgroup reaches its memory limit, or the node the kubelet's eviction threshold, within ten minutes, or
/// within twenty where it grows slowly. Emitted once for each approach, and once more with `withdrawn` where it does not come true.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct LimitAhead {
    /// Whose limit it is.
    pub pod: Option<Pod>,
    /// Whose limit it is.
    pub container: Option<Container>,
    /// The cgroup.
    pub cgroup: Option<Cgroup>,
    /// What the cgroup is of.
    pub level: Option<Level>,
    /// What is used.
    pub usage_bytes: Option<u64>,
    /// The limit; of the node all memory less `eviction_threshold_bytes`.
    pub limit_bytes: Option<u64>,
    /// Of the node, how much memory has to stay available, or the kubelet evicts (`evictionHard`, `memory.available`). `null` of
    /// a cgroup, and where no such threshold is known: the kernel kills when all memory is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction_threshold_bytes: Option<u64>,
    /// How fast what cannot be written back grows, page cache apart.
    pub growth_bytes_per_hour: Option<u64>,
    /// In how many seconds it reaches the limit at that growth.
    pub seconds_left: Option<u64>,
    /// It stopped growing before it reached the limit.
    #[serde(default)]
    pub withdrawn: bool,
}

impl Mentions for LimitAhead {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), None));
    }
}
