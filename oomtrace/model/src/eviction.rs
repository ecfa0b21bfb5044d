//! What the kubelet's eviction manager does, step by step (`pkg/kubelet/eviction`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Container, Pod,
    place::{Mention, Mentions},
};

/// One step of the eviction manager, as its log tells it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Eviction {
    /// Which step.
    pub phase: EvictionPhase,
    /// The resource that ran short, as the kubelet names it: `memory`, `ephemeral-storage`, `inodes`, `pids`.
    pub resource: Option<String>,
    /// Whether it is about memory; `null` where the line does not say.
    pub memory: Option<bool>,
    /// The signal that crossed its threshold: `memory.available`, `allocatableMemory.available`. At the kubelet's default
    /// verbosity the log does not say.
    pub signal: Option<String>,
    /// The threshold.
    pub threshold_bytes: Option<u64>,
    /// The threshold as a share of the capacity, 0 to 1, where it is configured so.
    pub threshold_ratio: Option<f64>,
    /// What the kubelet was started to reserve of the node's memory for the system and for itself.
    #[serde(default)]
    pub reserved_bytes: Option<u64>,
    /// What was available.
    pub available_bytes: Option<u64>,
    /// All that there is of the signal's resource.
    pub capacity_bytes: Option<u64>,
    /// How long a soft threshold has to be met, milliseconds.
    pub grace_period_ms: Option<u64>,
    /// How long it has been met by now, milliseconds.
    pub met_for_ms: Option<u64>,
    /// The pod that the step is about.
    pub pod: Option<Pod>,
    /// The pods of the step, in the kubelet's order: when ranked, the first to be evicted first.
    pub pods: Vec<Pod>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub pods_omitted: u64,
    /// What the containers used and asked for, from the eviction message.
    pub containers: Vec<ContainerUse>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub containers_omitted: u64,
    /// What the pod used as a whole, where it has resources of its own (1.34 on).
    pub pod_usage_bytes: Option<u64>,
    /// What it asked for as a whole.
    pub pod_request_bytes: Option<u64>,
    /// Conditions of the node: `MemoryPressure`.
    pub node_conditions: Vec<String>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub node_conditions_omitted: u64,
    /// The kubelet's message for the pod, as its status shows it.
    pub message: Option<String>,
    /// Why the step failed.
    pub error: Option<String>,
    /// How many pods were counted as evicted for the signal since the counters were read before.
    #[serde(default)]
    pub counted: Option<u64>,
}

impl Mentions for Eviction {
    /// The kubelet names its pods itself; what it leaves out may be known.
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        self.pod.iter_mut().chain(&mut self.pods).for_each(|pod| show(Mention::Pod(pod)));
    }
}

impl Eviction {
    /// A step of which nothing more is known.
    #[must_use]
    pub fn new(phase: EvictionPhase) -> Self {
        Self {
            phase,
            resource: None,
            memory: None,
            signal: None,
            threshold_bytes: None,
            threshold_ratio: None,
            reserved_bytes: None,
            available_bytes: None,
            capacity_bytes: None,
            grace_period_ms: None,
            met_for_ms: None,
            pod: None,
            pods: Vec::new(),
            pods_omitted: 0,
            containers: Vec::new(),
            containers_omitted: 0,
            pod_usage_bytes: None,
            pod_request_bytes: None,
            node_conditions: Vec::new(),
            node_conditions_omitted: 0,
            message: None,
            error: None,
            counted: None,
        }
    }

    /// The threshold in bytes where there is so much of the signal's resource: a share is a `float32` to the kubelet
    /// (`GetThresholdQuantity`, `pkg/kubelet/eviction/api`).
    #[must_use]
    pub fn threshold_of(&self, capacity_bytes: u64) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "the kubelet computes it so"
        )]
        let share = |ratio: f64| (capacity_bytes as f64 * f64::from(ratio as f32)) as u64;
        self.threshold_bytes.or_else(|| self.threshold_ratio.map(share))
    }
}

/// What a container used against what it asked for: a sentence of the eviction message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerUse {
    /// The container; its name at least.
    pub container: Container,
    /// Its working set.
    pub usage_bytes: Option<u64>,
    /// Its request.
    pub request_bytes: Option<u64>,
}

/// A step of the eviction manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvictionPhase {
    /// The kubelet started, with this hard threshold. One of `memory.available` is one of `allocatableMemory.available`, too
    /// (`addAllocatableThresholds`). Without a threshold: it reported none of memory.
    Configured,
    /// What was available was compared with a threshold.
    Observed,
    /// A threshold is met: the manager attempts to reclaim.
    ThresholdMet,
    /// A soft threshold is met, but not for long enough yet.
    GracePeriodNotMet,
    /// The node's conditions were observed.
    NodeConditions,
    /// Enough was reclaimed without evicting.
    Reclaimed,
    /// Pods must be evicted.
    MustEvict,
    /// Pods were ranked, the first to be evicted first.
    Ranked,
    /// A pod is being evicted.
    Evicting,
    /// A pod was evicted.
    Evicted,
    /// A pod could not be evicted; that its termination timed out is said so, too, and the pod goes all the same.
    Failed,
    /// A critical, static or mirror pod was spared.
    CriticalPodSpared,
    /// No pod could be evicted.
    NothingToEvict,
    /// The manager waits until the evicted pods are cleaned up.
    AwaitingCleanup,
    /// The evicted pods are cleaned up.
    CleanedUp,
    /// They were not cleaned up in time.
    CleanupTimedOut,
    /// A pod was refused admission because of the node's conditions. It never ran.
    AdmissionRefused,
    /// The kubelet's own counter went up: for which signal pods were evicted since it was read before.
    Counted,
    /// The manager itself failed: it could not get statistics, or rank.
    Error,
}

impl EvictionPhase {
    /// Whether it is a step of an eviction whose pod is chosen: from its end on.
    #[must_use]
    pub fn is_of_evicted(self) -> bool {
        matches!(
            self,
            Self::Evicting
                | Self::Evicted
                | Self::Failed
                | Self::AwaitingCleanup
                | Self::CleanedUp
                | Self::CleanupTimedOut
        )
    }
}

/// The kubelet noticed an OOM of the whole node: `pkg/kubelet/oom`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SystemOom {
    /// The victim's process id.
    pub pid: Option<u32>,
    /// The victim's name.
    pub comm: Option<String>,
    /// Whether any limit may have been hit: before 1.21 the kubelet takes every OOM for one of the node, on kernels from 5.0 on
    /// (google/cadvisor#2417, kubernetes/kubernetes#100483).
    #[serde(default)]
    pub of_any_limit: bool,
}
