//! What memory looked like at a moment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Cgroup, Container, Level, Pod,
    place::{Mention, Mentions, PlaceMut},
};

/// Memory of a cgroup or of the node, read by user space right after the event it belongs to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Pressure {
    /// The pod it is about.
    pub pod: Option<Pod>,
    /// The container it is about.
    pub container: Option<Container>,
    /// The cgroup it is about; `null` for the node.
    pub cgroup: Option<Cgroup>,
    /// Whose memory it is.
    pub level: Option<Level>,
    /// What it was read for.
    pub scope: Option<PressureScope>,
    /// `memory.current`, `memory.usage_in_bytes`; of the node `MemTotal` less `MemAvailable`.
    pub usage_bytes: Option<u64>,
    /// The most that was used since the cgroup was made: `memory.peak` (from Linux 5.19), on cgroup v1
    /// `memory.max_usage_in_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// `memory.max`, `memory.limit_in_bytes`; of the node `MemTotal`. `null` also where there is no limit.
    pub limit_bytes: Option<u64>,
    /// What the container or the pod requests, where its specification is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<u64>,
    /// Working set as the kubelet computes it: usage (of the node on cgroup v2 `anon` and `file` of all cgroups) less `inactive_file`, not below 0
    /// (cAdvisor, `container/libcontainer/handler.go`).
    pub working_set_bytes: Option<u64>,
    /// `memory.stat`: `anon`; on cgroup v1 `total_rss`.
    pub anon_bytes: Option<u64>,
    /// `memory.stat`: `file`; on cgroup v1 `total_cache`.
    pub file_bytes: Option<u64>,
    /// `memory.stat`: `inactive_file`; on cgroup v1 `total_inactive_file`.
    pub inactive_file_bytes: Option<u64>,
    /// `memory.stat`: `shmem`; on cgroup v1 `total_shmem`.
    pub shmem_bytes: Option<u64>,
    /// `memory.stat`: `slab`.
    pub slab_bytes: Option<u64>,
    /// `memory.stat`: `kernel_stack`.
    pub kernel_stack_bytes: Option<u64>,
    /// Page tables of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_tables_bytes: Option<u64>,
    /// Buffers of network sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sock_bytes: Option<u64>,
    /// Compressed pages of swap that are kept in memory (zswap).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zswap_bytes: Option<u64>,
    /// `memory.swap.current`; on cgroup v1 `total_swap`; of the node `SwapTotal` less `SwapFree`.
    pub swap_bytes: Option<u64>,
    /// `MemAvailable`, of the node only.
    pub available_bytes: Option<u64>,
    /// Tasks that waited for memory: `memory.pressure`, `/proc/pressure/memory`. `null` where the kernel has no PSI.
    pub stall: Option<Stall>,
    /// `memory.events`: `max`; on cgroup v1 `memory.failcnt`.
    pub events_max: Option<u64>,
    /// `memory.events`: `oom`.
    pub events_oom: Option<u64>,
    /// `memory.events`: `oom_kill`; on cgroup v1 the same in `memory.oom_control`.
    pub events_oom_kill: Option<u64>,
    /// `memory.events`: `oom_group_kill`.
    pub events_oom_group_kill: Option<u64>,
    /// What it was before, as the flight recorder has it, the oldest first: at most 64 readings, the closer together the younger
    /// they are. Only where it was read for a kill or an exit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierReading>,
    /// Read for a kill at the limit of all pods, of a `QoS` class or of the node: the pods below it that grew most in the last five
    /// minutes, the most first, at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grown: Vec<GrownPod>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub grown_omitted: u64,
}

impl Mentions for Pressure {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), None));
        for grown in &mut self.grown {
            show(Mention::Bystander(PlaceMut { pod: &mut grown.pod, container: &mut None, cgroup_id: None }));
        }
    }
}

/// A pod that uses more memory than it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrownPod {
    /// The pod.
    pub pod: Option<Pod>,
    /// What its cgroup uses, `memory.current`.
    pub usage_bytes: u64,
    /// How much more that is than it was.
    pub grown_bytes: u64,
    /// Over how long, in milliseconds.
    pub over_ms: u64,
}

/// What memory was at an earlier time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierReading {
    /// How long before, in milliseconds.
    pub age_ms: u64,
    /// `memory.current`, or what else `usage_bytes` is: the highest of the readings that this one stands for.
    pub usage_bytes: u64,
    /// `memory.stat`: `anon`; read only where usage has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
}

/// What a pressure was read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PressureScope {
    /// The first charge failure of a cgroup.
    ChargeFailure,
    /// A kill.
    Kill,
    /// A container's first process ended with a code of its own, or by a fault: what it used has gone by then, and the most that
    /// it used has not.
    Exit,
}

/// Shares of time that tasks waited for memory: pressure stall information, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stall {
    /// Some task waited, over 10 s.
    pub some_avg10: f64,
    /// Some task waited, over 60 s.
    pub some_avg60: f64,
    /// All tasks waited, over 10 s.
    pub full_avg10: f64,
    /// All tasks waited, over 60 s.
    pub full_avg60: f64,
    /// How long some task has waited since the cgroup was made, microseconds.
    pub some_total_us: u64,
    /// How long all tasks have waited since the cgroup was made, microseconds.
    pub full_total_us: u64,
}
