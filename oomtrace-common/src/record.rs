//! The records in the ring buffer.
//!
//! Every record starts with a [`Header`], whose [`tag`](Header::tag) names the type. All are plain `#[repr(C)]` data
//! without padding, in the machine's byte order. A number that the kernel does not offer is [`ABSENT`] (or
//! [`ABSENT_U32`], [`ABSENT_I32`]): never 0, which is a fact of its own.

use core::mem::{offset_of, size_of};

/// "The kernel did not say" for a 64-bit number.
pub const ABSENT: u64 = u64::MAX;
/// "The kernel did not say" for an unsigned 32-bit number.
pub const ABSENT_U32: u32 = u32::MAX;
/// "The kernel did not say" for a signed 32-bit number.
pub const ABSENT_I32: i32 = i32::MIN;

/// Bytes of a task's name in the kernel, with its final NUL: `TASK_COMM_LEN`, `include/linux/sched.h`.
pub const COMM_LEN: usize = 16;
/// Bytes kept of the reason that `oom_kill_process` is given; the longest in the kernel has 38.
pub const MESSAGE_LEN: usize = 48;
/// Bytes for a cgroup's path in a [`ShortPath`]: what a container's needs on nearly every node, and behind it room for a name
/// of any length.
pub const SHORT_PATH_LEN: usize = 512 + 256;
/// The same in a [`LongPath`].
pub const LONG_PATH_LEN: usize = 4096 + 256;

/// Bytes of a command line that are kept, with a zero behind them.
pub const COMMAND_LINE_LEN: usize = 256;

/// How many candidates of a decision are kept.
pub const CANDIDATES: usize = 20;

/// The value of [`Header::tag`] for each record type.
pub mod tag {
    /// A [`Decision`](super::Decision).
    pub const DECISION: u32 = 1;
    /// A [`Mark`](super::Mark).
    pub const MARK: u32 = 2;
    /// A [`DecisionEnd`](super::DecisionEnd).
    pub const DECISION_END: u32 = 3;
    /// A [`ShortPath`](super::ShortPath).
    pub const SHORT_PATH: u32 = 4;
    /// A [`LongPath`](super::LongPath).
    pub const LONG_PATH: u32 = 5;
    /// A [`Candidate`](super::Candidate).
    pub const CANDIDATE: u32 = 6;
    /// An [`Exit`](super::Exit).
    pub const EXIT: u32 = 7;
    /// A [`Signal`](super::Signal).
    pub const SIGNAL: u32 = 8;
    /// A [`ChargeFailure`](super::ChargeFailure).
    pub const CHARGE_FAILURE: u32 = 9;
    /// A [`Refusal`](super::Refusal).
    pub const REFUSAL: u32 = 10;
    /// An [`UnderOom`](super::UnderOom).
    pub const UNDER_OOM: u32 = 11;
    /// A [`Reaping`](super::Reaping).
    pub const REAPING: u32 = 12;
    /// A [`PanicAhead`](super::PanicAhead).
    pub const PANIC_AHEAD: u32 = 13;
    /// A [`CommandLine`](super::CommandLine).
    pub const COMMAND_LINE: u32 = 14;
    /// A [`LimitChanged`](super::LimitChanged).
    pub const LIMIT_CHANGED: u32 = 15;
    /// A [`CgroupLife`](super::CgroupLife) that begins.
    pub const CGROUP_MADE: u32 = 32;
    /// A [`CgroupLife`](super::CgroupLife) that ends.
    pub const CGROUP_GONE: u32 = 33;
}

/// What the probes count because they cannot tell it: indices of the map `LOST`.
pub mod lost {
    /// Records that found the ring full.
    pub const RING: u32 = 0;
    /// Failures and refusals that found no room in their map.
    pub const MAP: u32 = 1;
    /// Signals over the budget of their target's cgroup.
    pub const SIGNALS: u32 = 2;
    /// How many of these there are.
    pub const LEN: u32 = 3;
}

/// What refused an allocation: the values of [`RefusalKey::by`].
pub mod refused_by {
    /// `__vm_enough_memory`: the node's overcommit accounting.
    pub const OVERCOMMIT: u32 = 1;
    /// `may_expand_vm`, for `RLIMIT_AS`.
    pub const RLIMIT_AS: u32 = 2;
    /// `may_expand_vm`, for `RLIMIT_DATA`.
    pub const RLIMIT_DATA: u32 = 3;
    /// `may_expand_vm`, where its arguments are not to be had.
    pub const RLIMIT: u32 = 4;
}

/// Which limit of a cgroup: the values of [`LimitChanged::which`].
pub mod limit {
    /// `memory.max`, or `memory.limit_in_bytes` of cgroup v1.
    pub const MAX: u32 = 1;
    /// `memory.high`.
    pub const HIGH: u32 = 2;
    /// `memory.swap.max`, or `memory.memsw.limit_in_bytes` of cgroup v1.
    pub const SWAP_MAX: u32 = 3;
}

/// What becomes of a task that the OOM reaper took up: the values of [`Reaping::step`].
pub mod reaping {
    /// The reaper begins to free its memory.
    pub const STARTED: u32 = 1;
    /// The reaper has freed what it could.
    pub const FINISHED: u32 = 2;
    /// The reaper found nothing left to do.
    pub const SKIPPED: u32 = 3;
}

/// Declares records: plain data, without padding, readable from bytes on the daemon's side, and of exactly the stated
/// size with the stated fields at the stated offsets.
macro_rules! records {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident [$size:expr] {
            $($(#[$field_doc:meta])* @$offset:literal $field:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(offset_of!($name, $field) == $offset);)*
        };
    )*};
}

records! {
    /// What every record begins with.
    pub struct Header [24] {
        /// Which record this is: a constant of [`tag`].
        @0 tag: u32,
        /// The CPU that the probe ran on.
        @4 cpu: u32,
        /// `CLOCK_BOOTTIME` when the probe ran, in nanoseconds: `bpf_ktime_get_boot_ns`.
        @8 boot_ns: u64,
        /// The decision this belongs to, counted from 1 since the probes were loaded; 0 where it belongs to none.
        @16 decision: u64,
    }

    /// One task (thread) of the kernel: who it is.
    pub struct Task [64] {
        /// `task_struct.start_boottime`, nanoseconds of `CLOCK_BOOTTIME`: tells a reused pid from its predecessor.
        @0 start_boottime_ns: u64,
        /// The kernfs id of its memory cgroup: the inode number of the cgroup's directory.
        @8 cgroup_id: u64,
        /// `task_struct.pid`: the thread's id in the initial pid namespace.
        @16 tid: u32,
        /// `task_struct.tgid`: the process id in the initial pid namespace.
        @20 tgid: u32,
        /// `task_struct.real_cred->uid` in the initial user namespace.
        @24 uid: u32,
        /// `signal_struct.oom_score_adj`, -1000 to 1000.
        @28 oom_score_adj: i32,
        /// How deep its process's pid namespace is: 0 is the initial one.
        @32 pid_ns_level: u32,
        /// The process id in its own, innermost pid namespace.
        @36 ns_tgid: u32,
        /// 1 where `signal_struct.oom_mm` was set already: the process had been marked before. 0 or [`ABSENT_U32`].
        @40 oom_marked: u32,
        /// 1 where the first process of its pid namespace is in another memory cgroup, as where a pod's containers share one
        /// namespace. 0 or [`ABSENT_U32`].
        @44 first_is_elsewhere: u32,
        /// `task_struct.comm`, NUL-terminated; arbitrary bytes, chosen by the process itself.
        @48 comm: [u8; COMM_LEN],
    }

    /// What a task's memory descriptor (`mm_struct`) says.
    pub struct Memory [48] {
        /// `mm_struct.total_vm`, pages.
        @0 total_vm_pages: u64,
        /// `MM_ANONPAGES` of `mm_struct.rss_stat`, pages.
        @8 rss_anon_pages: u64,
        /// `MM_FILEPAGES` of `mm_struct.rss_stat`, pages.
        @16 rss_file_pages: u64,
        /// `MM_SHMEMPAGES` of `mm_struct.rss_stat`, pages.
        @24 rss_shmem_pages: u64,
        /// `MM_SWAPENTS` of `mm_struct.rss_stat`, pages.
        @32 swap_pages: u64,
        /// `mm_struct.pgtables_bytes`, bytes.
        @40 pgtables_bytes: u64,
    }

    /// The counters of the cgroup whose limit was hit.
    pub struct MemcgCounters [32] {
        /// `mem_cgroup.memory.usage`, pages.
        @0 memory_usage_pages: u64,
        /// `mem_cgroup.memory.max`, pages; `PAGE_COUNTER_MAX` where unlimited.
        @8 memory_max_pages: u64,
        /// `mem_cgroup.swap.usage` on cgroup v2, `mem_cgroup.memsw.usage` (memory and swap together) on v1: pages.
        @16 swap_usage_pages: u64,
        /// The limit of the same counter, pages; `PAGE_COUNTER_MAX` where unlimited.
        @24 swap_max_pages: u64,
    }

    /// `oom_kill_process` was entered: the kernel has decided on a victim.
    pub struct Decision [328] {
        /// The header; its `decision` is this decision's own number.
        @0 header: Header,
        /// The task whose allocation could not be satisfied: `current`.
        @24 trigger: Task,
        /// `oom_control.chosen`, before the kernel looks for a thread of it that still has memory.
        @88 victim: Task,
        /// The chosen task's memory.
        @152 memory: Memory,
        /// The kernfs id of `oom_control.memcg`, whose limit was hit. 0 where the whole node ran out.
        @200 limit_cgroup_id: u64,
        /// The kernfs id of the cgroup with `memory.oom.group`, whose processes are killed together; 0 for none.
        @208 group_cgroup_id: u64,
        /// The counters of the limit's cgroup.
        @216 counters: MemcgCounters,
        /// `oom_control.totalpages`: the LIMIT in pages (with the swap the group may use), or RAM plus swap. It is the
        /// base of the points, not the victim's size.
        @248 total_pages: u64,
        /// `oom_control.chosen_points` (signed), the victim's badness in pages.
        @256 points: u64,
        /// `oom_control.gfp_mask`.
        @264 gfp_mask: u32,
        /// `oom_control.order`: 2^order pages were asked for; -1 when a person asked for a kill (SysRq-f).
        @268 order: i32,
        /// `oom_control.constraint`: `enum oom_constraint`.
        @272 constraint: u32,
        /// How many processes were weighed for this decision: calls of `oom_badness`. [`ABSENT_U32`]: not seen.
        @276 weighed: u32,
        /// The second argument: the kernel's own words for the reason. NUL-terminated.
        @280 message: [u8; MESSAGE_LEN],
    }

    /// A process that the kernel weighed for a decision, one of those with the most points. Sent after the decision.
    pub struct Candidate [144] {
        /// The header.
        @0 header: Header,
        /// Who.
        @24 task: Task,
        /// Its memory.
        @88 memory: Memory,
        /// What `oom_badness` gave (signed), pages.
        @136 points: i64,
    }

    /// `mark_oom_victim` was called for a task that had not been marked before.
    pub struct Mark [208] {
        /// The header; its `decision` is 0 for a mark outside of `oom_kill_process`.
        @0 header: Header,
        /// `current`: whose allocation led to this mark.
        @24 trigger: Task,
        /// The marked task.
        @88 task: Task,
        /// Its memory.
        @152 memory: Memory,
        /// 1 where the kernel had just sent this task SIGKILL from the same thread, as `__oom_kill_process` does right
        /// before the mark: a kill. 0: a task that was dying by itself. [`ABSENT_U32`]: not known.
        @200 sigkill: u32,
        /// Which [`probe rung`](crate::layout::rung) saw it.
        @204 rung: u32,
    }

    /// The beginning of the command line of a process that is about to be marked.
    pub struct CommandLine [288] {
        /// The header.
        @0 header: Header,
        /// The process.
        @24 tgid: u32,
        /// How many bytes of it are filled.
        @28 len: u32,
        /// The arguments, each NUL-terminated.
        @32 text: [u8; COMMAND_LINE_LEN],
    }

    /// A limit of a cgroup was set to something else.
    pub struct LimitChanged [120] {
        /// The header.
        @0 header: Header,
        /// The cgroup.
        @24 cgroup_id: u64,
        /// What it was, pages; `PAGE_COUNTER_MAX` where unlimited.
        @32 from_pages: u64,
        /// What it is.
        @40 to_pages: u64,
        /// `current`: who set it.
        @48 task: Task,
        /// A constant of [`limit`].
        @112 which: u32,
        /// Zero.
        @116 reserved: u32,
    }

    /// A process ended that had been marked, or was the first of its pid namespace.
    pub struct Exit [96] {
        /// The header.
        @0 header: Header,
        /// Its first thread.
        @24 task: Task,
        /// How it ended, as `wait(2)` tells it: the signal in the low 7 bits, 128 for a core dump, the status above.
        @88 code: u32,
        /// Zero.
        @92 reserved: u32,
    }

    /// A signal that ends processes was delivered.
    pub struct Signal [168] {
        /// The header.
        @0 header: Header,
        /// `current`: the sender, or what the kernel interrupted to send it.
        @24 sender: Task,
        /// Whom it was sent to.
        @88 target: Task,
        /// The signal's number.
        @152 signal: u32,
        /// `si_code`: above 0 where the kernel found a fault, 0 or below where a process sent it.
        @156 code: i32,
        /// 1 where the kernel itself sent it: `SEND_SIG_PRIV`.
        @160 by_kernel: u32,
        /// Zero.
        @164 reserved: u32,
    }

    /// How often a cgroup's limit stood against charges, counted in the kernel: the values of the map `CHARGES`, by the
    /// cgroup's kernfs id.
    pub struct ChargeCounts [48] {
        /// Attempts that hit the limit and went into reclaim.
        @0 attempts: u64,
        /// Charges that failed for good.
        @8 failed: u64,
        /// Calls of `mem_cgroup_out_of_memory`.
        @16 ooms: u64,
        /// The first of them, nanoseconds of `CLOCK_BOOTTIME`.
        @24 first_ns: u64,
        /// The last of them.
        @32 last_ns: u64,
        /// When a [`ChargeFailure`] was last sent; 0 for never.
        @40 sent_ns: u64,
    }

    /// A cgroup has hit its limit: sent at the first time, then at most once a second.
    pub struct ChargeFailure [176] {
        /// The header.
        @0 header: Header,
        /// The cgroup whose limit was hit.
        @24 cgroup_id: u64,
        /// Its counts so far.
        @32 counts: ChargeCounts,
        /// Its counters now.
        @80 counters: MemcgCounters,
        /// `current`: whose charge it was.
        @112 task: Task,
    }

    /// Whose allocations were refused, and by what: the keys of the map `REFUSALS`.
    pub struct RefusalKey [8] {
        /// The process's id in the initial pid namespace.
        @0 tgid: u32,
        /// A constant of [`refused_by`].
        @4 by: u32,
    }

    /// How often allocations were refused: the values of the map `REFUSALS`.
    pub struct RefusalCounts [32] {
        /// How often.
        @0 count: u64,
        /// The first time, nanoseconds of `CLOCK_BOOTTIME`.
        @8 first_ns: u64,
        /// The last time.
        @16 last_ns: u64,
        /// When a [`Refusal`] was last sent; 0 for never.
        @24 sent_ns: u64,
    }

    /// An allocation was refused: sent at a process's first, then at most once a second.
    pub struct Refusal [144] {
        /// The header.
        @0 header: Header,
        /// Who was refused by what.
        @24 key: RefusalKey,
        /// The counts so far.
        @32 counts: RefusalCounts,
        /// `current`.
        @64 task: Task,
        /// What was asked for, pages.
        @128 requested_pages: u64,
        /// The limit of the process that stood against it, bytes.
        @136 limit_bytes: u64,
    }

    /// A task waits, or waits no more, for its cgroup to have room, which has `oom_kill_disable` (cgroup v1).
    pub struct UnderOom [136] {
        /// The header.
        @0 header: Header,
        /// The cgroup.
        @24 cgroup_id: u64,
        /// Its counters now.
        @32 counters: MemcgCounters,
        /// `current`: the task that waits.
        @64 task: Task,
        /// 1 where it begins to wait, 0 where it has waited.
        @128 begins: u32,
        /// Zero.
        @132 reserved: u32,
    }

    /// The OOM reaper, which takes the memory of victims that do not die by themselves.
    pub struct Reaping [32] {
        /// The header.
        @0 header: Header,
        /// The id of the victim's thread.
        @24 tid: u32,
        /// A constant of [`reaping`].
        @28 step: u32,
    }

    /// `out_of_memory` was entered where `panic_on_oom` may make a panic of it.
    pub struct PanicAhead [136] {
        /// The header.
        @0 header: Header,
        /// The kernfs id of `oom_control.memcg`, whose limit was hit. 0 where the whole node ran out.
        @24 limit_cgroup_id: u64,
        /// The counters of that cgroup.
        @32 counters: MemcgCounters,
        /// `current`: the task whose allocation could not be satisfied.
        @64 trigger: Task,
        /// The sysctl's value: 1 or 2.
        @128 panic_on_oom: u32,
        /// Zero.
        @132 reserved: u32,
    }

    /// A cgroup of the memory controller was made, or removed: the header's tag tells which.
    pub struct CgroupLife [32] {
        /// The header.
        @0 header: Header,
        /// The cgroup.
        @24 cgroup_id: u64,
    }

    /// `oom_kill_process` returned: every mark of this decision has been seen.
    pub struct DecisionEnd [24] {
        /// The header.
        @0 header: Header,
    }

    /// A cgroup's path, read in the kernel, for the records that name its id. Sent before them.
    pub struct ShortPath [808] {
        /// The head.
        @0 path: PathHead,
        /// The names from the cgroup up to the root, each NUL-terminated: `b"<container>\0<pod>\0kubepods\0"`.
        @40 names: [u8; SHORT_PATH_LEN],
    }

    /// The same for a longer path.
    pub struct LongPath [4392] {
        /// The head.
        @0 path: PathHead,
        /// The names from the cgroup up to the root, each NUL-terminated.
        @40 names: [u8; LONG_PATH_LEN],
    }

    /// What a [`ShortPath`] and a [`LongPath`] have in common.
    pub struct PathHead [40] {
        /// The header.
        @0 header: Header,
        /// The cgroup.
        @24 cgroup_id: u64,
        /// How many bytes of the names are filled.
        @32 len: u32,
        /// 1 where the cgroup lies deeper than the names say: the ones next to the root are missing.
        @36 truncated: u32,
    }
}
