//! The OOM killer: what it decides, whom it marks.
//!
//! The kernel does all of this under its global `oom_lock`, so at most one decision is open at a time: whatever the
//! deciding thread marks between entry and return of `oom_kill_process` belongs to it.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_kernel_str},
    macros::{fentry, fexit, kprobe, kretprobe, map, raw_tracepoint, tracepoint},
    maps::Array,
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext, TracePointContext},
};
use aya_log_ebpf::debug;
use oomtrace_common::{
    layout::{ABSENT_OFFSET, rung},
    record::{ABSENT, ABSENT_I32, ABSENT_U32, COMM_LEN, Decision, DecisionEnd, MESSAGE_LEN, Mark, Memory, Task, tag},
};

use crate::{
    candidates, cgroup, charges, command_line,
    kernel::{Address, MACHINE, MARK_VICTIM, constant, layout},
    ring::{self, Fill},
    signal,
    task::{self, MemoryOf, Who, current},
};

#[fentry(function = "oom_kill_process")]
pub(crate) fn oom_kill_process_fentry(ctx: FEntryContext) -> i32 {
    decision(&ctx, Address(ctx.arg(0)), Address(ctx.arg(1)));
    0
}

#[fexit(function = "oom_kill_process")]
pub(crate) fn oom_kill_process_fexit(_ctx: FExitContext) -> i32 {
    decision_end();
    0
}

#[kprobe(function = "oom_kill_process")]
pub(crate) fn oom_kill_process_kprobe(ctx: ProbeContext) -> u32 {
    decision(&ctx, Address(ctx.arg(0).unwrap_or(0)), Address(ctx.arg(1).unwrap_or(0)));
    0
}

#[kretprobe(function = "oom_kill_process")]
pub(crate) fn oom_kill_process_kretprobe(_ctx: RetProbeContext) -> u32 {
    decision_end();
    0
}

#[fentry(function = "mark_oom_victim")]
pub(crate) fn mark_oom_victim_fentry(ctx: FEntryContext) -> i32 {
    function_mark(&ctx, Address(ctx.arg(0)));
    0
}

#[kprobe(function = "mark_oom_victim")]
pub(crate) fn mark_oom_victim_kprobe(ctx: ProbeContext) -> u32 {
    function_mark(&ctx, Address(ctx.arg(0).unwrap_or(0)));
    0
}

/// The newer form of the tracepoint, which hands over the task.
#[raw_tracepoint(tracepoint = "mark_victim")]
pub(crate) fn mark_victim_raw(ctx: RawTracePointContext) -> i32 {
    mark(&ctx, Address(ctx.arg(0)), rung::RAW_TRACEPOINT);
    0
}

/// The tracepoint's record, in whatever form this kernel has.
#[tracepoint(category = "oom", name = "mark_victim")]
pub(crate) fn mark_victim_tracepoint(ctx: TracePointContext) -> u32 {
    mark_by_record(&ctx);
    0
}

/// The decision that is being carried out.
struct Open {
    /// Its number, counted from 1.
    number: u64,
    /// The deciding thread (`bpf_get_current_pid_tgid`), or 0 once `oom_kill_process` has returned.
    owner: u64,
}

#[map]
static OPEN: Array<Open> = Array::with_max_entries(1, 0);

/// `oom_kill_process(struct oom_control *oc, const char *message)` is entered.
#[inline(always)]
fn decision(ctx: &impl EbpfContext, oc: Address, message: Address) {
    let Some(open) = OPEN.get_ptr_mut(0) else { return };
    // SAFETY: the map's value; `oom_lock` keeps every other writer out.
    let number = unsafe {
        (*open).number += 1;
        (*open).owner = bpf_get_current_pid_tgid();
        (*open).number
    };
    let trigger = current();
    let victim = oc.follow(layout!(oom_control_chosen));
    let memcg = oc.follow(layout!(oom_control_memcg));

    let limit_cgroup = cgroup::of_memcg(memcg);
    let (victim_cgroup, trigger_cgroup) = (cgroup::of_task(victim), cgroup::of_task(trigger));
    cgroup::send_path(limit_cgroup);
    if victim_cgroup != limit_cgroup {
        cgroup::send_path(victim_cgroup);
    }
    if trigger_cgroup != limit_cgroup && trigger_cgroup != victim_cgroup {
        cgroup::send_path(trigger_cgroup);
    }

    ring::send!(Decision {
        header: ring::header(tag::DECISION, number),
        trigger: Who(trigger),
        victim: Who(victim),
        memory: MemoryOf(victim),
        limit_cgroup_id: if layout!(oom_control_memcg) == ABSENT_OFFSET {
            ABSENT
        } else if memcg.is_null() {
            0
        } else {
            cgroup::id(limit_cgroup)
        },
        group_cgroup_id: if layout!(memcg_oom_group) == ABSENT_OFFSET {
            ABSENT
        } else {
            match charges::oom_group(victim, memcg) {
                Address::NULL => 0,
                group => cgroup::id(cgroup::of_memcg(group)),
            }
        },
        counters: charges::counters(memcg),
        total_pages: oc.get(layout!(oom_control_totalpages), ABSENT),
        points: oc.get(layout!(oom_control_chosen_points), ABSENT),
        gfp_mask: oc.get(layout!(oom_control_gfp_mask), ABSENT_U32),
        order: oc.get(layout!(oom_control_order), ABSENT_I32),
        constraint: oc.get(layout!(oom_control_constraint), ABSENT_U32),
        weighed: candidates::weighed(),
        message: Text(message),
    });
    candidates::send(number);
    debug!(ctx, "decision {} sent", number);
}

/// `oom_kill_process` returns.
#[inline(always)]
fn decision_end() {
    let Some(open) = OPEN.get_ptr_mut(0) else { return };
    // SAFETY: as above.
    let number = unsafe {
        (*open).owner = 0;
        (*open).number
    };
    ring::send!(DecisionEnd { header: ring::header(tag::DECISION_END, number) });
}

/// A text of the kernel, with zeroes behind it.
struct Text(Address);

impl Fill<[u8; MESSAGE_LEN]> for Text {
    #[inline(always)]
    unsafe fn fill(self, out: *mut [u8; MESSAGE_LEN]) {
        // SAFETY: the caller's promise, and no more than so many bytes.
        unsafe {
            out.write([0; MESSAGE_LEN]);
            bpf_probe_read_kernel_str(out.cast(), MESSAGE_LEN as u32, self.0.0 as *const _);
        }
    }
}

/// The number of the decision that the current thread is carrying out, or 0.
#[inline(always)]
fn open_decision() -> u64 {
    let Some(open) = OPEN.get_ptr_mut(0) else { return 0 };
    // SAFETY: as above.
    unsafe { if (*open).owner == bpf_get_current_pid_tgid() { (*open).number } else { 0 } }
}

/// `mark_oom_victim(struct task_struct *)` is entered. The kernel calls it again and again for a victim that is slow to
/// die: only the first call of a process means something.
#[inline(always)]
fn function_mark(ctx: &impl EbpfContext, victim: Address) {
    if task::oom_marked(victim) != 1 {
        mark(ctx, victim, rung::FUNCTION);
    }
}

#[inline(always)]
fn mark(ctx: &impl EbpfContext, victim: Address, rung: u32) {
    let number = open_decision();
    let tgid = task::tgid(victim);
    let cgroup = cgroup::of_task(victim);
    cgroup::send_path(cgroup);
    command_line::send(victim, number);
    ring::send!(Mark {
        header: ring::header(tag::MARK, number),
        trigger: Who(current()),
        task: Who(victim),
        memory: MemoryOf(victim),
        sigkill: signal::just_killed(tgid),
        rung: rung,
    });
    debug!(ctx, "mark of {} sent", tgid);
}

/// A mark of which the kernel gives the thread's id, and in newer forms of the record its name and sizes. Who it is in
/// full is known where a task marks itself, which is the common case.
#[inline(always)]
fn mark_by_record(ctx: &TracePointContext) {
    let record_at = Address(ctx.as_ptr() as u64);
    let tid = record_at.get(constant(&MARK_VICTIM.pid), ABSENT_U32);
    let current = current();
    if current.get(layout!(task_pid), ABSENT_U32) == tid && tid != ABSENT_U32 {
        mark(ctx, current, rung::TRACEPOINT);
        return;
    }
    // `__data_loc`: the offset in the low half, the length in the high one.
    let comm_at = record_at.get(constant(&MARK_VICTIM.comm), 0_u32) & 0xffff;
    let kib = |offset| record_at.get(offset, ABSENT);
    ring::send!(Mark {
        header: ring::header(tag::MARK, 0),
        trigger: Who(current),
        task: Task {
            start_boottime_ns: ABSENT,
            cgroup_id: ABSENT,
            tid,
            tgid: ABSENT_U32,
            uid: record_at.get(constant(&MARK_VICTIM.uid), ABSENT_U32),
            oom_score_adj: match record_at.get(constant(&MARK_VICTIM.oom_score_adj), i16::MIN) {
                i16::MIN => ABSENT_I32,
                adj => adj.into(),
            },
            pid_ns_level: ABSENT_U32,
            ns_tgid: ABSENT_U32,
            oom_marked: ABSENT_U32,
            first_is_elsewhere: ABSENT_U32,
            comm: if comm_at == 0 { [0; COMM_LEN] } else { record_at.get(comm_at, [0; COMM_LEN]) },
        },
        memory: Memory {
            total_vm_pages: kib_to_pages(kib(constant(&MARK_VICTIM.total_vm))),
            rss_anon_pages: kib_to_pages(kib(constant(&MARK_VICTIM.anon_rss))),
            rss_file_pages: kib_to_pages(kib(constant(&MARK_VICTIM.file_rss))),
            rss_shmem_pages: kib_to_pages(kib(constant(&MARK_VICTIM.shmem_rss))),
            swap_pages: ABSENT,
            pgtables_bytes: match kib(constant(&MARK_VICTIM.pgtables)) {
                ABSENT => ABSENT,
                kib => kib * 1024,
            },
        },
        // The signal's target was noted by process, the record has a thread: both are a process's first thread when
        // the kernel kills it.
        sigkill: signal::just_killed(tid),
        rung: rung::TRACEPOINT,
    });
}

/// The record has KiB (`PAGE_SHIFT - 10`), the daemon multiplies pages.
#[inline(always)]
fn kib_to_pages(kib: u64) -> u64 {
    if kib == ABSENT { ABSENT } else { (kib * 1024).checked_div(constant(&MACHINE.page_size)).unwrap_or(ABSENT) }
}
