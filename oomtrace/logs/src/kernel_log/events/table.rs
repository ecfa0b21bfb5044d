//! The report's table of tasks, in bytes and points.

use std::cmp::Reverse;

use oomtrace_model::{Candidate, Memory, OOM_SCORE_ADJ_MIN};

use super::Machine;
use crate::kernel_log::report::{self, Decision, NodeMemory, Report};

/// Those with the most points are reported.
const MOST_TOLD: usize = 20;
/// The sizes that a kernel can be built with, on the machines that run Kubernetes.
const PAGE_SIZES: [u64; 3] = [4 << 10, 16 << 10, 64 << 10];

/// What is known of the tasks of a report.
pub(super) struct Table<'a> {
    rows: &'a [report::Candidate],
    /// How many there were.
    pub(super) rows_total: Option<u32>,
    /// Bytes in a page.
    pub(super) page_size: Option<u64>,
    /// `oc->totalpages` in bytes.
    pub(super) total_bytes: Option<u64>,
    /// The same, where the swap that may be used is not known: without it.
    total_for_points: Option<u64>,
}

impl<'a> Table<'a> {
    pub(super) fn new(decision: &'a Decision, machine: Machine) -> Self {
        let Some(report) = decision.report.as_deref() else {
            return Self {
                rows: &[],
                rows_total: None,
                page_size: machine.page_size,
                total_bytes: None,
                total_for_points: None,
            };
        };
        let page_size = machine.page_size.or_else(|| page_size(decision, report));
        // An allocation that fails on another processor prints the node's memory, also into the report of a cgroup.
        let total_bytes = match report.node.as_deref().filter(|_| report.global != Some(false)) {
            Some(node) => page_size.and_then(|page_size| of_node(node, page_size)),
            None => of_cgroup(report, machine.swap_total_bytes),
        };
        Self {
            rows: &report.candidates,
            rows_total: u32::try_from(report.candidates_total).ok().filter(|total| *total > 0),
            page_size,
            total_bytes,
            total_for_points: total_bytes.or_else(|| of_cgroup(report, Some(0))),
        }
    }

    /// The row of the thread with this id, or of its process.
    pub(super) fn row(&self, pid: u32) -> Option<&'a report::Candidate> {
        self.rows.iter().find(|row| row.pid == pid)
    }

    /// Its badness as `oom_badness` reckons it (`mm/oom_kill.c`, 5.9 and later): resident, swapped and page table pages,
    /// and thousandths of all memory for each point of `oom_score_adj`.
    ///
    /// The kernel compares these, and does not print them. From 6.2 it compares sizes that may be some pages behind the
    /// exact ones in the table (`percpu_counter`). Where there is swap, and nothing tells how much, the thousandths are
    /// of the memory alone.
    pub(super) fn points(&self, row: &report::Candidate) -> Option<i64> {
        let page_size = self.page_size?;
        let size = row.rss_pages + row.swap_pages.unwrap_or(0) + row.pgtables_bytes.unwrap_or(0) / page_size;
        let adjustment = match row.oom_score_adj {
            0 => 0,
            adjustment => {
                let thousandth = self.total_for_points? / page_size / 1000;
                i64::from(adjustment).checked_mul(thousandth.try_into().ok()?)?
            }
        };
        i64::try_from(size).ok()?.checked_add(adjustment)
    }

    pub(super) fn memory(&self, row: &report::Candidate) -> Memory {
        let bytes = |pages: u64| pages.checked_mul(self.page_size?);
        Memory {
            total_vm_bytes: bytes(row.total_vm_pages),
            rss_bytes: bytes(row.rss_pages).filter(|_| row.rss_anon_pages.is_none()),
            rss_anon_bytes: row.rss_anon_pages.and_then(bytes),
            rss_file_bytes: row.rss_file_pages.and_then(bytes),
            rss_shmem_bytes: row.rss_shmem_pages.and_then(bytes),
            swap_bytes: row.swap_pages.and_then(bytes),
            pgtables_bytes: row.pgtables_bytes,
        }
    }

    /// Those that could be killed, most points first; where the points are not known, the largest first.
    pub(super) fn candidates(
        &self,
        task: impl Fn(&report::Candidate) -> oomtrace_model::Task,
    ) -> Option<Vec<Candidate>> {
        self.rows_total?;
        let mut rows: Vec<(Option<i64>, &report::Candidate)> = self
            .rows
            .iter()
            .filter(|row| row.oom_score_adj > OOM_SCORE_ADJ_MIN)
            .map(|row| (self.points(row), row))
            .collect();
        let known = rows.iter().all(|(points, _)| points.is_some());
        rows.sort_by_key(|(points, row)| Reverse((points.filter(|_| known), size(row))));
        // Who used most is kept, however few points it has: a low `oom_score_adj` protects a large process.
        let largest = rows.iter().enumerate().max_by_key(|(index, (_, row))| (size(row), Reverse(*index)));
        if let Some((index, _)) = largest.filter(|(index, _)| *index >= MOST_TOLD) {
            rows.swap(index, MOST_TOLD - 1);
        }
        rows.truncate(MOST_TOLD);
        let reported =
            rows.into_iter().map(|(points, row)| Candidate { task: task(row), memory: self.memory(row), points });
        Some(reported.collect())
    }
}

/// What it has in memory and in swap.
fn size(row: &report::Candidate) -> u64 {
    row.rss_pages.saturating_add(row.swap_pages.unwrap_or(0))
}

/// From the victim's size, which is in the table in pages and in the line of its kill in kB; or from all memory, which is
/// reported in pages and zone by zone in kB.
fn page_size(decision: &Decision, report: &Report) -> Option<u64> {
    let of_victim = || {
        let victim = decision.victim.as_ref()?;
        let row = report.candidates.iter().find(|row| row.pid == victim.pid)?;
        victim.total_vm_bytes?.checked_div(row.total_vm_pages)
    };
    let of_node = || {
        let node = report.node.as_deref()?;
        let managed: u64 = node.zones.iter().map(|zone| zone.managed_bytes).sum::<Option<u64>>()?;
        managed.checked_div(managed_pages(node)?)
    };
    [of_victim(), of_node()].into_iter().flatten().find(|size| PAGE_SIZES.contains(size))
}

/// `totalram_pages()`.
fn managed_pages(node: &NodeMemory) -> Option<u64> {
    node.ram_pages?.checked_sub(node.reserved_pages?)
}

/// RAM and swap: `constrained_alloc`, `mm/oom_kill.c`. Where only some NUMA nodes may be used it is less.
fn of_node(node: &NodeMemory, page_size: u64) -> Option<u64> {
    managed_pages(node)?.checked_mul(page_size)?.checked_add(node.swap_total_bytes?)
}

/// `mem_cgroup_get_max`, `mm/memcontrol.c`: the limit, and as much swap as there is and may be used.
fn of_cgroup(report: &Report, swap_total_bytes: Option<u64>) -> Option<u64> {
    use oomtrace_model::SwapCounter::{MemoryAndSwap, Swap};

    let limit = report.memory?.limit_bytes?;
    let swap = match (report.swap_counter, report.swap.map(|swap| swap.limit_bytes)) {
        (Some(Swap), Some(Some(swap))) => Some(swap),
        (Some(MemoryAndSwap), Some(Some(both))) => Some(both.saturating_sub(limit)),
        _ => None,
    };
    let swap = match (swap, swap_total_bytes) {
        (Some(0), _) => 0,
        (Some(swap), Some(total)) => swap.min(total),
        (None, Some(total)) => total,
        (_, None) => return None,
    };
    limit.checked_add(swap)
}

#[cfg(test)]
mod tests {
    use oomtrace_model::SwapCounter;

    use super::*;
    use crate::kernel_log::report::Counter;

    #[test]
    fn what_a_cgroup_may_use_is_its_limit_and_the_swap_that_it_may_use() {
        let report = |swap_counter, limit_bytes| {
            let limited_to = |bytes| Some(Counter { usage_bytes: 0, limit_bytes: Some(bytes), failcnt: 0 });
            let (memory, swap) = (limited_to(100), limited_to(limit_bytes));
            Report { memory, swap, swap_counter: Some(swap_counter), ..Report::default() }
        };
        assert_eq!(of_cgroup(&report(SwapCounter::Swap, 30), Some(1000)), Some(130));
        assert_eq!(of_cgroup(&report(SwapCounter::MemoryAndSwap, 130), Some(1000)), Some(130));
        assert_eq!(of_cgroup(&report(SwapCounter::MemoryAndSwap, 130), Some(10)), Some(110), "there is no more");
        assert_eq!(of_cgroup(&report(SwapCounter::MemoryAndSwap, 100), None), Some(100));
    }
}
