//! What turns the kernel's numbers into an event's fields.

use oomtrace_common::record::{self, ABSENT, ABSENT_I32, ABSENT_U32, MemcgCounters};

use super::SeesCharges;
use crate::{
    event::{Event, Memory, Moment, Observation, Source, SwapCounter, Task},
    node::cgroup_path::CgroupIdentity,
    probe::tracefs::FlagNames,
};

/// This machine, as far as records cannot be read without it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Bytes in a page.
    pub page_size: u64,
    /// The version of the hierarchy that has the memory controller: 1 or 2.
    pub cgroup_version: Option<u8>,
    /// Names of `gfp_t`'s flags.
    pub gfp_flags: FlagNames,
    /// Whether the kernel's own SIGKILLs are seen.
    pub sees_signals: bool,
    /// Whether marks are seen; a decision alone counts as a kill where they are not.
    pub sees_marks: bool,
    /// Which failures of charges are counted.
    pub sees_charges: SeesCharges,
}

/// An event of the kernel's own, with the reading of `CLOCK_BOOTTIME` when it happened.
pub(super) fn reported(boot_ns: u64, event: Event) -> Observation {
    Observation { source: Source::Kernel, at: Moment::Boot(boot_ns), event }
}

/// `None` for a number that the kernel did not say.
pub(super) fn known(number: u64) -> Option<u64> {
    (number != ABSENT).then_some(number)
}

/// The same for 32 bits.
pub(super) fn known_u32(number: u32) -> Option<u32> {
    (number != ABSENT_U32).then_some(number)
}

/// The same for signed 32 bits.
pub(super) fn known_i32(number: i32) -> Option<i32> {
    (number != ABSENT_I32).then_some(number)
}

/// A NUL-terminated text of the kernel.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

impl Machine {
    /// Pages in bytes.
    pub(super) fn bytes(&self, pages: u64) -> Option<u64> {
        known(pages)?.checked_mul(self.page_size)
    }

    /// A limit in bytes; none where there is none. "Unlimited" is `PAGE_COUNTER_MAX`, `LONG_MAX` in pages
    /// (`include/linux/page_counter.h`): no machine has a 2^60th of that.
    pub(super) fn limit_bytes(&self, pages: u64) -> Option<u64> {
        self.bytes(pages).filter(|bytes| *bytes < i64::MAX as u64 / self.page_size * self.page_size)
    }

    /// A task's memory.
    pub(super) fn memory(&self, memory: &record::Memory) -> Memory {
        Memory {
            total_vm_bytes: self.bytes(memory.total_vm_pages),
            rss_bytes: None,
            rss_anon_bytes: self.bytes(memory.rss_anon_pages),
            rss_file_bytes: self.bytes(memory.rss_file_pages),
            rss_shmem_bytes: self.bytes(memory.rss_shmem_pages),
            swap_bytes: self.bytes(memory.swap_pages),
            pgtables_bytes: known(memory.pgtables_bytes),
        }
    }

    /// What the swap counter of a cgroup counts, where it is read at all.
    pub(super) fn swap_counter(&self, counters: &MemcgCounters) -> Option<SwapCounter> {
        known(counters.swap_usage_pages)?;
        match self.cgroup_version {
            Some(1) => Some(SwapCounter::MemoryAndSwap),
            Some(2) => Some(SwapCounter::Swap),
            _ => None,
        }
    }
}

/// A task, with what its cgroup's path says.
pub(super) fn task(task: &record::Task, path: Option<&str>) -> Task {
    let identity = path.map(CgroupIdentity::parse);
    Task {
        pid: known_u32(task.tid),
        tgid: known_u32(task.tgid),
        comm: text(&task.comm),
        uid: known_u32(task.uid),
        oom_score_adj: known_i32(task.oom_score_adj),
        container_init: match (known_u32(task.pid_ns_level), known_u32(task.ns_tgid)) {
            (Some(level), Some(1)) if level > 0 => Some(true),
            // Where containers share a pid namespace, the first process of one of them is not its number 1.
            (Some(level), Some(_)) if level > 0 && known_u32(task.first_is_elsewhere) == Some(0) => Some(false),
            _ => None,
        },
        pod: identity.as_ref().and_then(CgroupIdentity::pod),
        container: identity.as_ref().and_then(CgroupIdentity::container),
        cgroup_id: known(task.cgroup_id),
    }
}

/// To the microsecond, and so exact in a double for 285 years.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a process's death fit 53 bits")]
pub(super) fn milliseconds(ns: u64) -> f64 {
    (ns / 1_000) as f64 / 1_000.0
}

#[cfg(test)]
pub(super) mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn the_first_process_of_a_shared_pid_namespace_says_nothing_of_the_other_containers() {
        let init = |pid_ns_level, ns_tgid, first_is_elsewhere| {
            let record = record::Task { pid_ns_level, ns_tgid, first_is_elsewhere, ..record::Task::zeroed() };
            task(&record, None).container_init
        };
        assert_eq!(init(1, 1, 0), Some(true));
        assert_eq!(init(1, 7, 0), Some(false));
        assert_eq!(init(1, 7, 1), None);
        assert_eq!(init(1, 7, record::ABSENT_U32), None);
        assert_eq!(init(0, 7, 0), None);
    }

    /// A machine that sees everything that is seen by default.
    pub(in super::super) fn machine() -> Machine {
        Machine {
            page_size: 4096,
            cgroup_version: Some(2),
            gfp_flags: FlagNames::default(),
            sees_signals: true,
            sees_marks: true,
            sees_charges: SeesCharges { attempts: true, failed: false, ooms: true },
        }
    }
}
