//! A node's memory budget as the kubelet computes it: what is reserved, what pods may use, where eviction begins.
//!
//! The formulas are those of `getNodeAllocatableAbsoluteImpl` and `enforceNodeAllocatableCgroups`
//! (`pkg/kubelet/cm/node_container_manager_linux.go`) and of `parsePercentage` (`pkg/kubelet/eviction/helpers.go`), the same
//! from Kubernetes 1.20 to 1.36.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::quantity;

/// An eviction threshold: an amount of memory, or a share of a capacity.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    Bytes(u64),
    /// Of one, in the kubelet's single precision.
    Share(f32),
}

/// Why a text is no threshold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a quantity such as 100Mi nor a percentage such as 5%")]
pub struct InvalidThreshold(String);

impl Threshold {
    /// The threshold in bytes of a capacity; `None` for `0%` and `100%`, which the kubelet takes for no threshold.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "as the kubelet's own conversions do"
    )]
    pub fn bytes_of(&self, capacity_bytes: u64) -> Option<u64> {
        match self.amount {
            Amount::Bytes(bytes) => Some(bytes),
            Amount::Share(share) if share <= 0.0 || share >= 1.0 => None,
            Amount::Share(share) => Some((capacity_bytes as f64 * f64::from(share)) as u64),
        }
    }

    /// Whether it is a share of a capacity.
    #[must_use]
    pub fn is_share(&self) -> bool {
        matches!(self.amount, Amount::Share(_))
    }
}

impl FromStr for Threshold {
    type Err = InvalidThreshold;

    fn from_str(text: &str) -> Result<Self, InvalidThreshold> {
        let text = text.trim();
        let amount = match text.strip_suffix('%') {
            // `ParseFloat(…, 32)`, then a division in single precision.
            Some(number) => {
                number.parse::<f32>().ok().filter(|number| *number >= 0.0).map(|number| Amount::Share(number / 100.0))
            }
            None => quantity::bytes(text).map(Amount::Bytes),
        };
        let amount = amount.ok_or_else(|| InvalidThreshold(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), amount })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// What a budget is computed from.
#[derive(Clone, Debug, Default)]
pub struct Reservations {
    /// `MemTotal` of `/proc/meminfo`, in bytes.
    pub capacity_bytes: u64,
    /// `kubeReserved`'s memory, in bytes.
    pub kube_reserved_bytes: u64,
    /// `systemReserved`'s memory, in bytes.
    pub system_reserved_bytes: u64,
    /// `evictionHard`'s `memory.available`.
    pub hard: Option<Threshold>,
    /// Memory kept for huge pages of all sizes, in bytes.
    pub hugepages_bytes: u64,
    /// `--experimental-allocatable-ignore-eviction`: allocatable does not make room for the threshold.
    pub ignore_eviction: bool,
    /// Whether the limit of `kubepods` makes room for the reservations: `pods` in `enforceNodeAllocatable`, `cgroupsPerQOS`.
    pub enforce_pods: bool,
}

/// A budget, all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// What both reservations keep from pods.
    pub reserved_bytes: u64,
    /// The hard threshold of `memory.available`; 0 where there is none.
    pub hard_bytes: u64,
    /// What the scheduler may give to pods: `status.allocatable.memory`.
    pub allocatable_bytes: u64,
    /// The limit of `kubepods`. The threshold is not subtracted from it.
    pub kubepods_limit_bytes: u64,
    /// Whether the kubelet starts at all: reservations and threshold fit into the capacity.
    pub valid: bool,
}

impl Reservations {
    /// The budget that the kubelet makes of these.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let Self { capacity_bytes, kube_reserved_bytes, system_reserved_bytes, hard, hugepages_bytes, .. } = self;
        let reserved_bytes = kube_reserved_bytes.saturating_add(*system_reserved_bytes);
        let hard_bytes = hard.as_ref().and_then(|hard| hard.bytes_of(*capacity_bytes)).unwrap_or(0);
        let subtracted = if self.ignore_eviction { 0 } else { hard_bytes };
        Budget {
            reserved_bytes,
            hard_bytes,
            allocatable_bytes: capacity_bytes
                .saturating_sub(reserved_bytes.saturating_add(subtracted))
                .saturating_sub(*hugepages_bytes),
            kubepods_limit_bytes: if self.enforce_pods {
                capacity_bytes.saturating_sub(reserved_bytes)
            } else {
                *capacity_bytes
            },
            valid: reserved_bytes.saturating_add(hard_bytes) <= *capacity_bytes,
        }
    }
}

/// What is left of a capacity to the kubelet: `memory.available`, or `allocatableMemory.available`.
///
/// Below zero where the limit was lowered below what is used.
#[must_use]
pub fn available(capacity_bytes: u64, working_set_bytes: u64) -> i64 {
    difference(capacity_bytes, working_set_bytes)
}

/// All of these together.
#[must_use]
pub fn together(bytes: impl IntoIterator<Item = u64>) -> u64 {
    bytes.into_iter().fold(0, u64::saturating_add)
}

/// The first less the second.
#[must_use]
pub fn difference(first: u64, second: u64) -> i64 {
    let difference = i128::from(first) - i128::from(second);
    i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
}

/// `memory.high` of a container with `MemoryQoS`, Kubernetes 1.27 to 1.36 (KEP 2570); `None` where it sets none.
///
/// `ceiling_bytes` is the container's limit, or what pods may use on the node (capacity less reservations).
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "as the kubelet's own conversions do"
)]
pub fn memory_high(request_bytes: u64, ceiling_bytes: u64, factor: f64, page_bytes: u64) -> Option<u64> {
    let between = ceiling_bytes.saturating_sub(request_bytes) as f64 * factor;
    let high = (request_bytes as f64 + between) as u64 / page_bytes.max(1) * page_bytes.max(1);
    (request_bytes != ceiling_bytes && high > request_bytes).then_some(high)
}

/// `memory.swap.max` of a container of a burstable pod with `LimitedSwap`, in bytes (`calcSwapForBurstablePods`).
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "as the kubelet's own conversions do"
)]
pub fn limited_swap(request_bytes: u64, capacity_bytes: u64, swap_bytes: u64) -> u64 {
    if capacity_bytes == 0 { 0 } else { (request_bytes as f64 / capacity_bytes as f64 * swap_bytes as f64) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(text: &str) -> Threshold {
        text.parse().expect("a threshold")
    }

    #[test]
    fn a_share_of_the_capacity_is_as_many_bytes_as_the_kubelet_makes_of_it() {
        // Seen in a message, and a node's allocatable: in double precision these are 827608268 and 103451033.
        assert_eq!(threshold("40%").bytes_of(2_069_020_672), Some(827_608_281));
        assert_eq!(threshold("5%").bytes_of(2_069_020_672), Some(103_451_035));
        assert_eq!(threshold("100Mi").bytes_of(1), Some(100 << 20));
        for none in ["0%", "100%"] {
            assert_eq!(threshold(none).bytes_of(1 << 30), None, "{none}");
        }
        for wrong in ["", "%", "-5%", "5", "ten", "1GB"] {
            assert!(wrong == "5" || wrong.parse::<Threshold>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_budget_of_aks_is_what_its_nodes_say() {
        // A DS2_v2: 7120616Ki, kube-reserved 1638Mi, threshold 750Mi.
        let node = Reservations {
            capacity_bytes: 7_120_616 << 10,
            kube_reserved_bytes: 1638 << 20,
            hard: Some(threshold("750Mi")),
            enforce_pods: true,
            ..Reservations::default()
        };
        let budget = node.budget();
        assert_eq!(budget.allocatable_bytes, 4_675_304 << 10);
        assert_eq!(budget.kubepods_limit_bytes, 5_573_943_296);
        // A higher threshold leaves pods less, and the limit as it is.
        let higher = Reservations { hard: Some(threshold("1000Mi")), ..node.clone() }.budget();
        assert_eq!(higher.allocatable_bytes, 4_419_304 << 10);
        assert_eq!(higher.kubepods_limit_bytes, budget.kubepods_limit_bytes);
        let not_enforced = Reservations { enforce_pods: false, ..node.clone() }.budget();
        assert_eq!(not_enforced.kubepods_limit_bytes, node.capacity_bytes);
        assert_eq!(not_enforced.allocatable_bytes, budget.allocatable_bytes);
        let ignored = Reservations { ignore_eviction: true, ..node }.budget();
        assert_eq!(ignored.allocatable_bytes, ignored.kubepods_limit_bytes);
    }

    #[test]
    fn huge_pages_lower_allocatable_and_not_the_limit() {
        let node = Reservations {
            capacity_bytes: 4 << 30,
            hugepages_bytes: 1 << 30,
            enforce_pods: true,
            ..Reservations::default()
        };
        let budget = node.budget();
        assert_eq!((budget.allocatable_bytes, budget.kubepods_limit_bytes), (3 << 30, 4 << 30));
        let all = Reservations { kube_reserved_bytes: 5 << 30, ..node }.budget();
        assert_eq!((all.allocatable_bytes, all.kubepods_limit_bytes, all.valid), (0, 0, false));
    }

    #[test]
    fn what_is_available_may_be_less_than_nothing() {
        assert_eq!(available(10, 3), 7);
        assert_eq!(available(3, 10), -7);
        assert_eq!(difference(u64::MAX, 0), i64::MAX);
    }

    #[test]
    fn memory_qos_throttles_at_nine_tenths_between_request_and_limit_in_whole_pages() {
        assert_eq!(memory_high(1 << 30, 2 << 30, 0.9, 4096), Some(2_040_107_008));
        assert_eq!(memory_high(1 << 30, 1 << 30, 0.9, 4096), None);
        assert_eq!(limited_swap(1 << 30, 4 << 30, 2 << 30), 1 << 29);
        assert_eq!(limited_swap(1, 0, 1), 0);
    }
}
