//! Signals that end processes, and the kernel's own SIGKILLs, which tell a kill from a mark.
//!
//! `mark_oom_victim` is called for a task that is killed and for one that was dying anyway. Only for the first has
//! `__oom_kill_process` (`mm/oom_kill.c`) sent SIGKILL from the same thread right before.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{map, raw_tracepoint},
    maps::LruHashMap,
    programs::RawTracePointContext,
};
use oomtrace_common::{
    layout::ABSENT_OFFSET,
    record::{ABSENT_I32, Signal, lost, tag},
};

use crate::{
    cgroup,
    kernel::{Address, layout},
    ring,
    task::{self, Who, current},
};

const SIGKILL: u32 = 9;
/// SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV, SIGTERM and SIGSYS, as on every machine that Linux runs BPF on.
const ENDING: u64 = 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 11 | 1 << 15 | 1 << 31;
/// Those of them that a fault raises, or a process for itself as after one.
const FAULTS: u64 = 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 31;
/// `TRACE_SIGNAL_DELIVERED`, `include/trace/events/signal.h`.
const DELIVERED: i32 = 0;
/// The `info` of a signal that the kernel itself sends: `include/linux/sched/signal.h`.
const SEND_SIG_PRIV: u64 = 1;

/// Whom the kernel itself sent SIGKILL last from a thread (`bpf_get_current_pid_tgid`): the process. By the thread, since that
/// may go on on another CPU, and others come between.
#[map]
static LAST_KILL: LruHashMap<u64, u32> = LruHashMap::with_max_entries(1024, 0);

/// The tracepoint `signal:signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group,
/// int result)`.
#[raw_tracepoint(tracepoint = "signal_generate")]
pub(crate) fn signal_generate(ctx: RawTracePointContext) -> i32 {
    let (signal, info, target): (u32, u64, u64) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    if signal == SIGKILL && info == SEND_SIG_PRIV {
        // Where there is no room for it, the kernel has none for anything.
        let _ = LAST_KILL.insert(bpf_get_current_pid_tgid(), task::tgid(Address(target)), 0);
    }
    if signal < 64 && ENDING >> signal & 1 == 1 && ctx.arg::<i32>(4) == DELIVERED {
        let target = Address(target);
        if FAULTS >> signal & 1 == 0 || !is_caught(target, signal) {
            send(signal, info, target);
        }
    }
    0
}

/// Whether the process has a handler of its own for a signal. Runtimes live on faults: a JVM finds null pointers by them.
#[inline(always)]
fn is_caught(target: Address, signal: u32) -> bool {
    if layout!(k_sigaction_size) == ABSENT_OFFSET {
        return false;
    }
    let actions = target.follow(layout!(task_sighand)).field(layout!(sighand_action));
    // SIG_DFL is 0, SIG_IGN is 1.
    actions.field((signal - 1) * layout!(k_sigaction_size)).get(layout!(k_sigaction_handler), 0_u64) > 1
}

/// What a cgroup's processes may be reported of a second, besides the signals to a container's first process. There are containers
/// that kill their children all day.
const BUDGET: u64 = 10;
const BUDGET_NS: u64 = 1_000_000_000;

/// What has been reported of a cgroup's signals in a second.
#[derive(Clone, Copy)]
struct Budget {
    /// When the second began.
    since_ns: u64,
    /// How many were reported.
    reported: u64,
}

/// By the cgroup's id. One that gives way to others has a new budget.
#[map]
static BUDGETS: LruHashMap<u64, Budget> = LruHashMap::with_max_entries(256, 0);

/// Takes one signal from a cgroup's budget; false where it is used up. CPUs that do so at the same time may both be given the
/// last one.
#[inline(always)]
fn is_affordable(cgroup: Address) -> bool {
    let cgroup_id = cgroup::id(cgroup);
    let now = ring::boot_ns();
    let Some(budget) = BUDGETS.get_ptr_mut(cgroup_id) else {
        let _ = BUDGETS.insert(cgroup_id, Budget { since_ns: now, reported: 1 }, 0);
        return true;
    };
    // SAFETY: the map's value, whole words of it.
    unsafe {
        if now.wrapping_sub((*budget).since_ns) >= BUDGET_NS {
            (*budget).since_ns = now;
            (*budget).reported = 0;
        }
        (*budget).reported += 1;
        (*budget).reported <= BUDGET
    }
}

#[inline(always)]
fn send(signal: u32, info: u64, target: Address) {
    let sender = current();
    let (target_cgroup, sender_cgroup) = (cgroup::of_task(target), cgroup::of_task(sender));
    let leader = target.follow(layout!(task_group_leader));
    if !task::is_first_of_namespace(leader) && !is_affordable(target_cgroup) {
        ring::count(lost::SIGNALS);
        return;
    }
    cgroup::send_path(target_cgroup);
    if sender_cgroup != target_cgroup {
        cgroup::send_path(sender_cgroup);
    }
    ring::send!(Signal {
        header: ring::header(tag::SIGNAL, 0),
        sender: Who(sender),
        target: Who(target),
        signal: signal,
        by_kernel: u32::from(info == SEND_SIG_PRIV),
        code: if info > SEND_SIG_PRIV { Address(info).get(layout!(siginfo_code), ABSENT_I32) } else { ABSENT_I32 },
        reserved: 0_u32,
    });
}

/// Whether the current thread has just killed this process: 1 or 0.
#[inline(always)]
pub(crate) fn just_killed(tgid: u32) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the map's value, a whole word that only this thread writes.
    let killed = LAST_KILL.get_ptr(thread).is_some_and(|target| unsafe { *target } == tgid);
    if killed {
        let _ = LAST_KILL.remove(thread);
    }
    u32::from(killed)
}
