//! The kernel's own SIGKILLs: what tells a kill from a mark.
//!
//! `mark_oom_victim` is called for a task that is killed and for one that was dying anyway. Only for the first has
//! `__oom_kill_process` (`mm/oom_kill.c`) sent SIGKILL from the same thread right before, under the victim's
//! `task_lock`, and so on the same CPU.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid, macros::map, macros::raw_tracepoint, maps::PerCpuArray,
    programs::RawTracePointContext,
};

use crate::{kernel::Address, task};

const SIGKILL: i32 = 9;
/// The `info` of a signal that the kernel itself sends: `include/linux/sched/signal.h`.
const SEND_SIG_PRIV: u64 = 1;

/// The last SIGKILL that the kernel itself sent on a CPU.
struct LastKill {
    /// Whose thread it was sent from: `bpf_get_current_pid_tgid`.
    sender: u64,
    /// The process it was sent to.
    target_tgid: u32,
}

#[map]
static LAST_KILL: PerCpuArray<LastKill> = PerCpuArray::with_max_entries(1, 0);

/// The tracepoint `signal:signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, ...)`.
#[raw_tracepoint(tracepoint = "signal_generate")]
pub(crate) fn signal_generate(ctx: RawTracePointContext) -> i32 {
    let (signal, info, target): (i32, u64, u64) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    if signal == SIGKILL
        && info == SEND_SIG_PRIV
        && let Some(last) = LAST_KILL.get_ptr_mut(0)
    {
        // SAFETY: the map's value, and this CPU's alone.
        unsafe {
            (*last).sender = bpf_get_current_pid_tgid();
            (*last).target_tgid = task::tgid(Address(target));
        }
    }
    0
}

/// Whether the current thread has just killed this process: 1 or 0.
#[inline(always)]
pub(crate) fn just_killed(tgid: u32) -> u32 {
    let Some(last) = LAST_KILL.get_ptr_mut(0) else { return 0 };
    // SAFETY: as above.
    unsafe {
        let killed = (*last).sender == bpf_get_current_pid_tgid() && (*last).target_tgid == tgid;
        if killed {
            (*last).sender = 0;
        }
        u32::from(killed)
    }
}
