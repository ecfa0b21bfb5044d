//! The endings that matter: of OOM victims, and of the first processes of pid namespaces, as containers' are. And the reaper,
//! which takes the memory of victims that are slow to end.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use oomtrace_common::record::{ABSENT_U32, Exit, Reaping, reaping, tag};

use crate::{
    cgroup,
    kernel::{Address, layout},
    ring,
    task::{self, Who},
};

/// `signal_struct.flags`: the whole process exits with `group_exit_code`. `include/linux/sched/signal.h`.
const SIGNAL_GROUP_EXIT: u32 = 4;

/// The tracepoint `sched:sched_process_exit(struct task_struct *p, ...)`: in spite of its name, for each thread.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    exit(Address(ctx.arg(0)));
    0
}

/// The tracepoint `oom:start_task_reaping(int pid)`: the id is a thread's.
#[raw_tracepoint(tracepoint = "start_task_reaping")]
pub(crate) fn start_task_reaping(ctx: RawTracePointContext) -> i32 {
    reaper(ctx.arg(0), reaping::STARTED);
    0
}

/// The tracepoint `oom:finish_task_reaping(int pid)`.
#[raw_tracepoint(tracepoint = "finish_task_reaping")]
pub(crate) fn finish_task_reaping(ctx: RawTracePointContext) -> i32 {
    reaper(ctx.arg(0), reaping::FINISHED);
    0
}

/// The tracepoint `oom:skip_task_reaping(int pid)`: the victim's memory is gone already.
#[raw_tracepoint(tracepoint = "skip_task_reaping")]
pub(crate) fn skip_task_reaping(ctx: RawTracePointContext) -> i32 {
    reaper(ctx.arg(0), reaping::SKIPPED);
    0
}

#[inline(always)]
fn reaper(tid: u32, step: u32) {
    ring::send!(Reaping { header: ring::header(tag::REAPING, 0), tid: tid, step: step });
}

#[inline(always)]
fn exit(thread: Address) {
    let signal = thread.follow(layout!(task_signal));
    // Threads that live on. `do_exit` takes the thread off before this; the last two may both see 0.
    if signal.get(layout!(signal_live), 1_u32) != 0 {
        return;
    }
    let leader = thread.follow(layout!(task_group_leader));
    if task::oom_marked(thread) != 1 && !task::is_first_of_namespace(leader) {
        return;
    }
    let cgroup = cgroup::of_task(leader);
    cgroup::send_path(cgroup);
    ring::send!(Exit {
        header: ring::header(tag::EXIT, 0),
        task: Who(leader),
        code: if signal.get(layout!(signal_flags), 0_u32) & SIGNAL_GROUP_EXIT == 0 {
            leader.get(layout!(task_exit_code), ABSENT_U32)
        } else {
            signal.get(layout!(signal_group_exit_code), ABSENT_U32)
        },
        reserved: 0_u32,
    });
}
