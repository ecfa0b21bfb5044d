//! Who a task is, and what its memory descriptor says.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use oomtrace_common::{
    layout::ABSENT_OFFSET,
    record::{ABSENT, ABSENT_I32, ABSENT_U32, COMM_LEN, Memory, Task},
};

use crate::{
    cgroup,
    kernel::{Address, MACHINE, constant, layout},
    ring::{Fill, fill},
};

/// More CPUs than this, and the per-CPU parts of a counter are left out: the loop has to end for the verifier.
const MAX_CPUS: u64 = 1024;

/// So many threads of a process whose first one has ended are looked at for one that has its memory still.
const MAX_THREADS: u32 = 16;

/// The task that runs on this CPU.
#[inline(always)]
pub(crate) fn current() -> Address {
    // SAFETY: no precondition.
    Address(unsafe { bpf_get_current_task() })
}

/// The process id, the same for all threads of a process.
#[inline(always)]
pub(crate) fn tgid(task: Address) -> u32 {
    task.get(layout!(task_tgid), ABSENT_U32)
}

/// Whether the task's process had been marked as an OOM victim: 1, 0 or [`ABSENT_U32`].
#[inline(always)]
pub(crate) fn oom_marked(task: Address) -> u32 {
    match task.follow(layout!(task_signal)).get(layout!(signal_oom_mm), ABSENT) {
        ABSENT => ABSENT_U32,
        0 => 0,
        _ => 1,
    }
}

/// Whether a process is the first of a pid namespace other than the node's.
#[inline(always)]
pub(crate) fn is_first_of_namespace(leader: Address) -> bool {
    let pid = leader.follow(layout!(task_thread_pid));
    let level = pid.get(layout!(pid_level), 0_u32);
    level != 0 && number_in_own_namespace(pid, level) == 1
}

/// A field that says who a task is.
#[derive(Clone, Copy)]
pub(crate) struct Who(pub(crate) Address);

impl Fill<Task> for Who {
    #[inline(always)]
    unsafe fn fill(self, out: *mut Task) {
        let task = self.0;
        let signal = task.follow(layout!(task_signal));
        // The leader's `struct pid` is the process's: a thread has one of its own.
        let pid = task.follow(layout!(task_group_leader)).follow(layout!(task_thread_pid));
        let level = pid.get(layout!(pid_level), ABSENT_U32);
        let cgroup = cgroup::of_task(task);
        // SAFETY: the caller's promise.
        unsafe {
            fill!(
                out,
                Task {
                    start_boottime_ns: task.get(layout!(task_start_boottime), ABSENT),
                    cgroup_id: cgroup::id(cgroup),
                    tid: task.get(layout!(task_pid), ABSENT_U32),
                    tgid: tgid(task),
                    uid: task.follow(layout!(task_real_cred)).get(layout!(cred_uid), ABSENT_U32),
                    oom_score_adj: match signal.get(layout!(signal_oom_score_adj), i16::MIN) {
                        i16::MIN => ABSENT_I32,
                        adj => i32::from(adj),
                    },
                    pid_ns_level: level,
                    ns_tgid: number_in_own_namespace(pid, level),
                    oom_marked: oom_marked(task),
                    first_is_elsewhere: first_is_elsewhere(pid, level, cgroup),
                    comm: task.get(layout!(task_comm), [0; COMM_LEN]),
                }
            );
        }
    }
}

/// A `struct pid`'s number in the innermost namespace that it is in.
#[inline(always)]
fn number_in_own_namespace(pid: Address, level: u32) -> u32 {
    in_own_namespace(pid, level).get(layout!(upid_nr), ABSENT_U32)
}

/// A `struct pid`'s `struct upid` of the innermost namespace that it is in.
#[inline(always)]
fn in_own_namespace(pid: Address, level: u32) -> Address {
    // MAX_PID_NS_LEVEL, include/linux/pid_namespace.h.
    if pid.is_null() || level > 32 || layout!(upid_size) == ABSENT_OFFSET {
        return Address::NULL;
    }
    pid.field(layout!(pid_numbers)).field(level * layout!(upid_size))
}

/// Whether the first process of a pid's own namespace is in another memory cgroup than this one: 1, 0 or [`ABSENT_U32`].
/// Where it is, the namespace is shared with another container, and its first process is not this container's.
#[inline(always)]
fn first_is_elsewhere(pid: Address, level: u32, cgroup: Address) -> u32 {
    let first = in_own_namespace(pid, level).follow(layout!(upid_ns)).follow(layout!(pid_namespace_child_reaper));
    let of_first = cgroup::of_task(first);
    if of_first.is_null() || cgroup.is_null() { ABSENT_U32 } else { u32::from(of_first.0 != cgroup.0) }
}

/// A thread of a process that has its memory still, as `find_lock_task_mm` finds it: its first thread as a rule, another where
/// that has ended. NULL where none has, as in a thread of the kernel.
#[inline(always)]
pub(crate) fn with_memory(process: Address) -> Address {
    if !process.follow(layout!(task_mm)).is_null() {
        return process;
    }
    if layout!(signal_thread_head) == ABSENT_OFFSET || layout!(task_thread_node) == ABSENT_OFFSET {
        return Address::NULL;
    }
    // `struct list_head`: its first word is the next entry's.
    let mut entry = process.follow(layout!(task_signal)).field(layout!(signal_thread_head)).follow(0);
    let mut thread = 0;
    while thread < MAX_THREADS && !entry.is_null() {
        let task = Address(entry.0.wrapping_sub(layout!(task_thread_node).into()));
        if !task.follow(layout!(task_mm)).is_null() && tgid(task) == tgid(process) {
            return task;
        }
        entry = entry.follow(0);
        thread += 1;
    }
    Address::NULL
}

/// A field that says what a task's memory descriptor says.
#[derive(Clone, Copy)]
pub(crate) struct MemoryOf(pub(crate) Address);

impl Fill<Memory> for MemoryOf {
    #[inline(always)]
    unsafe fn fill(self, out: *mut Memory) {
        let mm = self.0.follow(layout!(task_mm));
        // SAFETY: the caller's promise.
        unsafe {
            fill!(
                out,
                Memory {
                    total_vm_pages: mm.get(layout!(mm_total_vm), ABSENT),
                    pgtables_bytes: mm.get(layout!(mm_pgtables_bytes), ABSENT),
                    rss_anon_pages: rss(mm, layout!(mm_anonpages)),
                    rss_file_pages: rss(mm, layout!(mm_filepages)),
                    rss_shmem_pages: rss(mm, layout!(mm_shmempages)),
                    swap_pages: rss(mm, layout!(mm_swapents)),
                }
            );
        }
    }
}

/// One resident-set counter, as the kernel's own `get_mm_counter` clamps it: never negative.
#[inline(always)]
fn rss(mm: Address, index: u32) -> u64 {
    if mm.is_null() || index == ABSENT_OFFSET {
        return ABSENT;
    }
    let sum = if layout!(mm_rss_atomics) == ABSENT_OFFSET {
        if layout!(mm_rss_stat) == ABSENT_OFFSET || layout!(percpu_counter_size) == ABSENT_OFFSET {
            return ABSENT;
        }
        percpu_counter_sum(mm.field(layout!(mm_rss_stat)).field(index * layout!(percpu_counter_size)))
    } else {
        mm.field(layout!(mm_rss_atomics)).get(index * 8, i64::MIN)
    };
    if sum == i64::MIN {
        ABSENT
    } else if sum < 0 {
        0
    } else {
        sum as u64
    }
}

/// What `percpu_counter_sum` of `lib/percpu_counter.c` gives, without its lock; `i64::MIN` where it cannot be read.
#[inline(always)]
fn percpu_counter_sum(counter: Address) -> i64 {
    let mut sum = counter.get(layout!(percpu_counter_count), i64::MIN);
    let parts = counter.follow(layout!(percpu_counter_counters));
    if sum == i64::MIN || parts.is_null() || constant(&MACHINE.cpus) > MAX_CPUS {
        return sum;
    }
    let mut cpu = 0;
    while cpu < constant(&MACHINE.cpus) {
        let offset = Address(constant(&MACHINE.per_cpu_offsets) + cpu * 8).read(0_u64);
        sum += i64::from(Address(parts.0.wrapping_add(offset)).read(0_i32));
        cpu += 1;
    }
    sum
}
