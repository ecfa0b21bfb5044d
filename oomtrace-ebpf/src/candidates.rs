//! Whom the OOM killer weighs before it chooses.
//!
//! `out_of_memory` (`mm/oom_kill.c`) hands one process after another to `oom_evaluate_task`, all under `oom_lock`, so one
//! selection is open at a time. The processes with the most points are kept here until the decision.
//!
//! The points are what `oom_badness` returns. Where the compiler has made that a part of its caller (seen on 5.10), they are
//! reckoned as it does.

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit, kprobe, kretprobe, map},
    maps::Array,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use oomtrace_common::record::{ABSENT, ABSENT_U32, CANDIDATES, Candidate, Memory, tag};

use crate::{
    kernel::{Address, MACHINE, constant, layout},
    panics,
    ring::{self, Fill as _, fill},
    task::{self, MemoryOf, Who},
};

/// A process that must not be killed: `include/uapi/linux/oom.h`.
const OOM_SCORE_ADJ_MIN: i16 = -1000;

/// The points of a process that must not be killed: `LONG_MIN`.
const UNKILLABLE: i64 = i64::MIN;

/// The selection that goes on, or the last one.
struct Selection {
    /// The selecting thread (`bpf_get_current_pid_tgid`).
    owner: u64,
    /// The process that is being weighed, an address; 0 where its points have come.
    at: u64,
    /// Its id, since by the time it is kept it may be gone.
    at_tgid: u32,
    /// How many were weighed.
    weighed: u32,
    /// How many are kept.
    kept: u32,
    /// Which of the kept ones has the fewest points.
    fewest_at: u32,
    /// Those points.
    fewest: i64,
    /// The thread of it that has its memory, an address.
    at_thread: u64,
    /// The `struct oom_control`.
    oc: u64,
    /// Whether `oom_badness` was seen to return points, in this selection or one before.
    sees_points: u64,
}

#[map]
static SELECTION: Array<Selection> = Array::with_max_entries(1, 0);

#[map]
static KEPT: Array<Candidate> = Array::with_max_entries(CANDIDATES as u32, 0);

/// `bool out_of_memory(struct oom_control *oc)`.
#[fentry(function = "out_of_memory")]
pub(crate) fn out_of_memory_fentry(ctx: FEntryContext) -> i32 {
    begin(Address(ctx.arg(0)));
    0
}

#[kprobe(function = "out_of_memory")]
pub(crate) fn out_of_memory_kprobe(ctx: ProbeContext) -> u32 {
    begin(Address(ctx.arg(0).unwrap_or(0)));
    0
}

/// `int oom_evaluate_task(struct task_struct *task, void *arg)`.
#[fentry(function = "oom_evaluate_task")]
pub(crate) fn oom_evaluate_task_fentry(ctx: FEntryContext) -> i32 {
    weigh(Address(ctx.arg(0)));
    0
}

#[kprobe(function = "oom_evaluate_task")]
pub(crate) fn oom_evaluate_task_kprobe(ctx: ProbeContext) -> u32 {
    weigh(Address(ctx.arg(0).unwrap_or(0)));
    0
}

/// `long oom_badness(struct task_struct *p, unsigned long totalpages)`.
#[fexit(function = "oom_badness")]
pub(crate) fn oom_badness_fexit(ctx: FExitContext) -> i32 {
    // Behind the arguments stands the return value: `arch_prepare_bpf_trampoline`.
    points_are(ctx.arg(2));
    0
}

#[kretprobe(function = "oom_badness")]
pub(crate) fn oom_badness_kretprobe(ctx: RetProbeContext) -> u32 {
    points_are(ctx.ret());
    0
}

/// `out_of_memory` is entered. It is called again and again while memory is short: no more than this is done each time.
#[inline(always)]
fn begin(oc: Address) {
    panics::tell(oc);
    if let Some(selection) = SELECTION.get_ptr_mut(0) {
        // SAFETY: the map's value; `oom_lock` keeps every other writer out.
        unsafe {
            (*selection).owner = bpf_get_current_pid_tgid();
            (*selection).weighed = 0;
            (*selection).kept = 0;
            (*selection).at = 0;
            (*selection).oc = oc.0;
        }
    }
}

/// The selection, where it is the current thread's.
#[inline(always)]
fn mine() -> Option<*mut Selection> {
    let selection = SELECTION.get_ptr_mut(0)?;
    // SAFETY: as above.
    (unsafe { (*selection).owner } == bpf_get_current_pid_tgid()).then_some(selection)
}

/// A process is handed to the kernel's scales.
#[inline(always)]
fn weigh(process: Address) {
    let Some(selection) = mine() else { return };
    settle(selection);
    // Threads of the kernel and what has ended have no memory, and are passed over.
    let thread = task::with_memory(process);
    if thread.is_null() {
        return;
    }
    let adj = process.follow(layout!(task_signal)).get(layout!(signal_oom_score_adj), 0_i16);
    // SAFETY: the map's value; `oom_lock` keeps every other writer out.
    unsafe {
        (*selection).weighed += 1;
        if adj != OOM_SCORE_ADJ_MIN {
            (*selection).at = process.0;
            (*selection).at_thread = thread.0;
            (*selection).at_tgid = task::tgid(process);
        }
    }
}

/// The process that was handed over last has these points.
#[inline(always)]
fn points_are(points: i64) {
    let Some(selection) = mine() else { return };
    // SAFETY: as above.
    let (process, thread) = unsafe {
        (*selection).sees_points = 1;
        (Address(core::mem::replace(&mut (*selection).at, 0)), Address((*selection).at_thread))
    };
    // `/proc/PID/oom_score` asks for points too, but not from a thread that is selecting.
    if !process.is_null() && points != UNKILLABLE {
        keep(selection, process, thread, points);
    }
}

/// Where the points of the one before did not come, since the compiler has made `oom_badness` a part of its caller, they are
/// reckoned.
#[inline(always)]
fn settle(selection: *mut Selection) {
    // SAFETY: as above.
    let (process, thread, tgid, oc) = unsafe {
        let sees_points = (*selection).sees_points != 0;
        let at = core::mem::replace(&mut (*selection).at, 0);
        let process = Address(if sees_points { 0 } else { at });
        (process, Address((*selection).at_thread), (*selection).at_tgid, Address((*selection).oc))
    };
    if process.is_null() || task::tgid(process) != tgid {
        return;
    }
    let mut memory = MaybeUninit::<Memory>::uninit();
    // SAFETY: it is on the stack.
    let memory = unsafe {
        MemoryOf(thread).fill(memory.as_mut_ptr());
        memory.assume_init()
    };
    let adj = process.follow(layout!(task_signal)).get(layout!(signal_oom_score_adj), 0_i16);
    let points = badness(&memory, adj, oc.get(layout!(oom_control_totalpages), 0_u64));
    keep(selection, process, thread, points);
}

/// Keeps a process, where it is among those with the most points. Only of these the memory is read: there may be thousands, and
/// a counter for each of a hundred processors.
#[inline(always)]
fn keep(selection: *mut Selection, process: Address, thread: Address, points: i64) {
    // SAFETY: the map's values; `oom_lock` keeps every other writer out.
    unsafe {
        let kept = (*selection).kept;
        let at = if kept < CANDIDATES as u32 {
            (*selection).kept = kept + 1;
            kept
        } else if points > (*selection).fewest {
            (*selection).fewest_at
        } else {
            return;
        };
        let Some(candidate) = KEPT.get_ptr_mut(at) else { return };
        fill!(
            candidate,
            Candidate {
                // It is made anew when it is sent.
                header: ring::header(tag::CANDIDATE, 0),
                task: Who(process),
                memory: MemoryOf(thread),
                points: points,
            }
        );
        if (*selection).kept == CANDIDATES as u32 {
            find_fewest(selection);
        }
    }
}

/// What `oom_badness` gives: memory in pages, and a thousandth of all memory for each point of `oom_score_adj`.
#[inline(always)]
fn badness(memory: &Memory, adj: i16, total_pages: u64) -> i64 {
    let known = |pages: u64| if pages == ABSENT { 0 } else { pages };
    let pages = known(memory.rss_anon_pages)
        + known(memory.rss_file_pages)
        + known(memory.rss_shmem_pages)
        + known(memory.swap_pages)
        // A division by what might be 0 would need a panic.
        + known(memory.pgtables_bytes).checked_div(constant(&MACHINE.page_size)).unwrap_or(0);
    pages as i64 + i64::from(adj) * (total_pages / 1000) as i64
}

/// Looks for the one to give way to the next with more points.
#[inline(always)]
unsafe fn find_fewest(selection: *mut Selection) {
    let (mut fewest, mut fewest_at) = (i64::MAX, 0);
    let mut at = 0;
    while at < CANDIDATES as u32 {
        if let Some(candidate) = KEPT.get_ptr(at) {
            // SAFETY: the map's value; the caller's promise for the selection.
            let points = unsafe { (*candidate).points };
            if points < fewest {
                (fewest, fewest_at) = (points, at);
            }
        }
        at += 1;
    }
    // SAFETY: as above.
    unsafe { ((*selection).fewest, (*selection).fewest_at) = (fewest, fewest_at) };
}

/// How many processes the current thread has weighed, or [`ABSENT_U32`] where none was seen: there is no decision without.
#[inline(always)]
pub(crate) fn weighed() -> u32 {
    // SAFETY: as above.
    match mine().map_or(0, |selection| unsafe { (*selection).weighed }) {
        0 => ABSENT_U32,
        weighed => weighed,
    }
}

/// Sends the candidates of the decision that the current thread has made.
#[inline(always)]
pub(crate) fn send(decision: u64) {
    let Some(selection) = mine() else { return };
    settle(selection);
    // SAFETY: as above.
    let kept = unsafe { (*selection).kept };
    let mut at = 0;
    while at < CANDIDATES as u32 {
        if at >= kept {
            break;
        }
        if let Some(candidate) = KEPT.get_ptr(at) {
            ring::send!(Candidate {
                header: ring::header(tag::CANDIDATE, decision),
                task: (*candidate).task,
                memory: (*candidate).memory,
                points: (*candidate).points,
            });
        }
        at += 1;
    }
}
