//! Who goes first: the order in which the kubelet evicts, and the one in which the kernel's OOM killer chooses.

use std::cmp::{Ordering, Reverse};

use crate::event::OOM_SCORE_ADJ_MIN;

/// Pods of this priority and above are critical and never evicted (`SystemCriticalPriority`, `pkg/apis/scheduling`).
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// What the kubelet ranks a pod by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodUse {
    /// The working set of the pod's cgroup, in bytes; `None` where there are no figures of it.
    pub working_set_bytes: Option<u64>,
    /// What it requests, in bytes; 0 where it requests nothing.
    pub request_bytes: u64,
    /// Its priority; 0 where it has none.
    pub priority: i32,
}

impl PodUse {
    /// Whether it uses more than it requests: such pods go before all others.
    #[must_use]
    pub fn exceeds_request(&self) -> bool {
        self.working_set_bytes.is_some_and(|used| used > self.request_bytes)
    }

    /// Use less request in bytes; below zero where it uses less.
    #[must_use]
    pub fn over_request_bytes(&self) -> Option<i64> {
        self.working_set_bytes.map(|used| super::budget::difference(used, self.request_bytes))
    }

    /// The order of eviction for memory, first evicted first (`rankMemoryPressure`, `pkg/kubelet/eviction/helpers.go`, the
    /// same from 1.20 to 1.36): without figures, over the request, by priority, by how much over the request.
    #[must_use]
    pub fn evicted_before(&self, other: &Self) -> Ordering {
        let key = |pod: &Self| {
            (
                pod.working_set_bytes.is_some(),
                !pod.exceeds_request(),
                pod.priority,
                Reverse(pod.over_request_bytes().unwrap_or(0)),
            )
        };
        key(self).cmp(&key(other))
    }
}

/// What the kernel weighs a process by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// Resident memory in pages: anonymous, of files and shared.
    pub rss_pages: u64,
    /// Pages in swap.
    pub swap_pages: u64,
    /// Its page tables in bytes.
    pub page_tables_bytes: u64,
    /// Its `oom_score_adj`.
    pub oom_score_adj: i32,
}

impl ProcessUse {
    /// The points by which the kernel chooses, in pages; `None` for a process that it never kills.
    ///
    /// `oom_badness` (`mm/oom_kill.c`, 5.10 to 7.3). `total_pages` is the limit of the cgroup, or RAM and swap of the node.
    #[must_use]
    pub fn points(&self, total_pages: u64, page_bytes: u64) -> Option<i64> {
        if self.oom_score_adj == OOM_SCORE_ADJ_MIN {
            return None;
        }
        let own =
            self.rss_pages.saturating_add(self.swap_pages).saturating_add(self.page_tables_bytes / page_bytes.max(1));
        // The kernel divides first.
        let share = i64::try_from(total_pages / 1000).unwrap_or(i64::MAX);
        Some(i64::try_from(own).unwrap_or(i64::MAX).saturating_add(share.saturating_mul(self.oom_score_adj.into())))
    }
}

/// `/proc/PID/oom_score` of these points (`proc_oom_score`, `fs/proc/base.c`): of the node-wide choice, in thousandths.
#[must_use]
pub fn oom_score(points: Option<i64>, total_pages: u64) -> i64 {
    let total = i64::try_from(total_pages).unwrap_or(i64::MAX).max(1);
    points.map_or(0, |points| (points.saturating_mul(1000) / total).saturating_add(1000).saturating_mul(2) / 3).max(0)
}

/// The places of candidates in the order of choice, first chosen first. Of equals the kernel takes the one it visits last.
#[must_use]
pub fn oom_order(points: &[Option<i64>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).filter(|place| points[*place].is_some()).collect();
    order.sort_by_key(|place| Reverse((points[*place], *place)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(used: u64, request_bytes: u64, priority: i32) -> PodUse {
        PodUse { working_set_bytes: Some(used), request_bytes, priority }
    }

    #[test]
    fn pods_over_their_request_go_first_then_by_priority_then_by_how_much() {
        let unknown = PodUse { working_set_bytes: None, request_bytes: 5, priority: 9 };
        let expected = [
            unknown,
            // Over the request, low priority first, whatever the class.
            pod(300, 100, 0),
            pod(150, 0, 0),
            pod(900, 100, 10),
            // At the request is not over it.
            pod(100, 100, 0),
            pod(50, 100, 0),
            pod(90, 100, 5),
        ];
        let mut sorted = expected;
        sorted.reverse();
        sorted.sort_by(PodUse::evicted_before);
        assert_eq!(sorted, expected);
    }

    #[test]
    fn the_kernel_divides_the_limit_by_a_thousand_before_it_multiplies() {
        let process = ProcessUse { rss_pages: 100, swap_pages: 20, page_tables_bytes: 8191, oom_score_adj: 999 };
        assert_eq!(process.points(1999, 4096), Some(100 + 20 + 1 + 999));
        assert_eq!(ProcessUse { oom_score_adj: -998, ..process }.points(505_132, 4096), Some(121 - 998 * 505));
        assert_eq!(ProcessUse { oom_score_adj: -1000, ..process }.points(1999, 4096), None);
    }

    #[test]
    fn of_equals_the_last_is_chosen_and_the_protected_never() {
        assert_eq!(oom_order(&[Some(5), None, Some(9), Some(5), Some(-3)]), [2, 3, 0, 4]);
    }

    #[test]
    fn the_score_in_proc_is_of_the_node_wide_choice() {
        assert_eq!(oom_score(Some(0), 1000), 666);
        assert_eq!(oom_score(Some(1000), 1000), 1333);
        assert_eq!(oom_score(None, 1000), 0);
    }
}
