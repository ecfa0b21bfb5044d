//! Charges that hit a cgroup's limit: counted here for each cgroup, since there may be thousands a second.
//!
//! `try_charge_memcg` (`mm/memcontrol.c`; `try_charge` up to 5.13) raises `MEMCG_MAX` for every attempt that hits a limit and
//! reclaims from the cgroup whose limit it is, up to 17 times for one charge; then it calls `mem_cgroup_out_of_memory`, or
//! fails. All of this is off the path that charges take while there is room.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::{fentry, fexit, kprobe, kretprobe, map, raw_tracepoint},
    maps::HashMap,
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext},
};
use oomtrace_common::{
    layout::ABSENT_OFFSET,
    record::{ABSENT, ChargeCounts, ChargeFailure, MemcgCounters, lost, tag},
};

use crate::{
    cgroup,
    kernel::{Address, MACHINE, add_one, constant, layout},
    ring,
    task::{Who, current},
};

/// What failed, of each cgroup that has failed lately. The daemon takes out those that fail no more.
#[map]
static CHARGES: HashMap<u64, ChargeCounts> = HashMap::with_max_entries(1024, 0);

/// How often a cgroup's failures are reported in full.
const SEND_EVERY_NS: u64 = 1_000_000_000;

/// How many cgroups are looked at for the one whose limit was hit. Real nodes have fewer than 12 levels.
const MAX_DEPTH: u32 = 16;

/// How far another CPU may have moved a counter since the charge failed: twice what is charged ahead (`MEMCG_CHARGE_BATCH`,
/// `mm/memcontrol.c`), which the kernel counts in pages whatever their size, as it does usage and limits.
const MOVED_MEANWHILE: u64 = 2 * 64;

/// Which count of [`ChargeCounts`].
#[derive(Clone, Copy)]
enum Count {
    Attempts,
    Failed,
    Ooms,
}

/// `void __memcg_memory_event(struct mem_cgroup *memcg, enum memcg_memory_event event, bool allow_spinning)`: from about 6.18.
#[fentry(function = "__memcg_memory_event")]
pub(crate) fn memcg_memory_event_fentry(ctx: FEntryContext) -> i32 {
    memory_event(Address(ctx.arg(0)), ctx.arg(1));
    0
}

#[kprobe(function = "__memcg_memory_event")]
pub(crate) fn memcg_memory_event_kprobe(ctx: ProbeContext) -> u32 {
    memory_event(Address(ctx.arg(0).unwrap_or(0)), ctx.arg(1).unwrap_or(u32::MAX));
    0
}

/// `unsigned long try_to_free_mem_cgroup_pages(struct mem_cgroup *memcg, unsigned long nr_pages, ...)`, `mm/vmscan.c`.
#[fentry(function = "try_to_free_mem_cgroup_pages")]
pub(crate) fn try_to_free_fentry(ctx: FEntryContext) -> i32 {
    reclaim(Address(ctx.arg(0)), ctx.arg(1));
    0
}

#[kprobe(function = "try_to_free_mem_cgroup_pages")]
pub(crate) fn try_to_free_kprobe(ctx: ProbeContext) -> u32 {
    reclaim(Address(ctx.arg(0).unwrap_or(0)), ctx.arg(1).unwrap_or(0));
    0
}

/// The tracepoint `vmscan:mm_vmscan_memcg_reclaim_begin`, inside of the same function: it tells no cgroup in most kernels, so
/// that is looked for from the current task's upwards.
#[raw_tracepoint(tracepoint = "mm_vmscan_memcg_reclaim_begin")]
pub(crate) fn memcg_reclaim_begin(_ctx: RawTracePointContext) -> i32 {
    let memcg = full_ancestor(of_current(), 1);
    if !memcg.is_null() {
        note(memcg, Count::Attempts);
    }
    0
}

/// `bool mem_cgroup_out_of_memory(struct mem_cgroup *memcg, gfp_t gfp_mask, int order)`, `mm/memcontrol.c`.
#[fentry(function = "mem_cgroup_out_of_memory")]
pub(crate) fn mem_cgroup_out_of_memory_fentry(ctx: FEntryContext) -> i32 {
    note(Address(ctx.arg(0)), Count::Ooms);
    0
}

#[kprobe(function = "mem_cgroup_out_of_memory")]
pub(crate) fn mem_cgroup_out_of_memory_kprobe(ctx: ProbeContext) -> u32 {
    note(Address(ctx.arg(0).unwrap_or(0)), Count::Ooms);
    0
}

/// `int try_charge_memcg(struct mem_cgroup *memcg, gfp_t gfp_mask, unsigned int nr_pages)`, since 5.15; before it
/// `try_charge` with the same arguments. On the path of every charge.
#[fexit(function = "try_charge_memcg")]
pub(crate) fn try_charge_fexit(ctx: FExitContext) -> i32 {
    // Behind the arguments stands the return value: `arch_prepare_bpf_trampoline`.
    if ctx.arg::<i32>(3) < 0 {
        failed(Address(ctx.arg(0)), ctx.arg::<u32>(2).into());
    }
    0
}

/// The arguments are gone by now: of a charge to another cgroup than its own, a task's own is reported.
#[kretprobe(function = "try_charge_memcg")]
pub(crate) fn try_charge_kretprobe(ctx: RetProbeContext) -> u32 {
    if ctx.ret::<i32>() < 0 {
        failed(of_current(), 1);
    }
    0
}

#[inline(always)]
fn memory_event(memcg: Address, event: u32) {
    if event == layout!(memcg_max_event) {
        note(memcg, Count::Attempts);
    }
}

/// Memory is about to be taken back from a cgroup. It is for a charge where the cgroup has no room for that; else for
/// `memory.high`, `memory.reclaim`, or a limit that is being lowered.
#[inline(always)]
fn reclaim(memcg: Address, pages: u64) {
    if is_full(memcg, pages) {
        note(memcg, Count::Attempts);
    }
}

/// A charge failed for good, to a cgroup or because of one above it.
#[inline(always)]
fn failed(memcg: Address, pages: u64) {
    let full = full_ancestor(memcg, pages);
    note(if full.is_null() { memcg } else { full }, Count::Failed);
}

/// The `struct mem_cgroup` of the current task.
#[inline(always)]
fn of_current() -> Address {
    of_task(current())
}

/// The `struct mem_cgroup` of a task.
#[inline(always)]
pub(crate) fn of_task(task: Address) -> Address {
    if layout!(memory_cgrp_id) == ABSENT_OFFSET {
        return Address::NULL;
    }
    let subsys = task.follow(layout!(task_cgroups)).field(layout!(css_set_subsys));
    of_css(subsys.follow(layout!(memory_cgrp_id) * 8))
}

/// The `struct mem_cgroup` around a `struct cgroup_subsys_state`.
#[inline(always)]
fn of_css(css: Address) -> Address {
    if css.is_null() || layout!(memcg_css) == ABSENT_OFFSET {
        return Address::NULL;
    }
    Address(css.0.wrapping_sub(layout!(memcg_css).into()))
}

/// Whether so many pages more would exceed a limit of the cgroup: memory's, or cgroup v1's of memory and swap.
#[inline(always)]
fn is_full(memcg: Address, pages: u64) -> bool {
    let exceeds = |usage: u64, max: u64| usage.saturating_add(pages + MOVED_MEANWHILE) > max;
    exceeds(memcg.get(layout!(memcg_memory_usage), 0), memcg.get(layout!(memcg_memory_max), u64::MAX))
        // On cgroup v2 it counts swap alone, which no charge of memory waits for.
        || constant(&MACHINE.memory_cgroup_v1) == 1
            && exceeds(memcg.get(layout!(memcg_swap_usage), 0), memcg.get(layout!(memcg_swap_max), u64::MAX))
}

/// The cgroup whose processes the kernel kills together, `memory.oom.group`, as `mem_cgroup_get_oom_group` finds it: the highest
/// from the victim's to that of the limit. NULL where there is none.
#[inline(always)]
pub(crate) fn oom_group(victim: Address, limit: Address) -> Address {
    let mut memcg = of_task(victim);
    let mut group = Address::NULL;
    let mut depth = 0;
    while depth < MAX_DEPTH && !memcg.is_null() {
        if memcg.get(layout!(memcg_oom_group), 0_u8) != 0 {
            group = memcg;
        }
        if memcg == limit {
            break;
        }
        memcg = of_css(memcg.field(layout!(memcg_css)).follow(layout!(css_parent)));
        depth += 1;
    }
    group
}

/// The first cgroup, from this one upwards, that has no room for so many pages: whose limit a charge hits, as
/// `page_counter_try_charge` finds it. NULL where all have.
#[inline(always)]
fn full_ancestor(mut memcg: Address, pages: u64) -> Address {
    let mut depth = 0;
    while depth < MAX_DEPTH && !memcg.is_null() {
        if is_full(memcg, pages) {
            return memcg;
        }
        memcg = of_css(memcg.field(layout!(memcg_css)).follow(layout!(css_parent)));
        depth += 1;
    }
    Address::NULL
}

/// Counts something of a cgroup, and tells it where that is the first thing, or the first in a second.
#[inline(always)]
fn note(memcg: Address, count: Count) {
    let cgroup = cgroup::of_memcg(memcg);
    let cgroup_id = cgroup::id(cgroup);
    if cgroup_id == ABSENT {
        return;
    }
    let now = ring::boot_ns();
    let Some(counts) = CHARGES.get_ptr_mut(cgroup_id).or_else(|| {
        let fresh = ChargeCounts { attempts: 0, failed: 0, ooms: 0, first_ns: now, last_ns: now, sent_ns: 0 };
        // Another CPU may have been faster: what is there is taken either way.
        let _ = CHARGES.insert(cgroup_id, fresh, u64::from(BPF_NOEXIST));
        CHARGES.get_ptr_mut(cgroup_id)
    }) else {
        ring::count(lost::MAP);
        return;
    };
    // SAFETY: the map's value; only the daemon takes it out, after seconds of quiet. Other CPUs add to the same counts, hence
    // atomically; the times are whole words, and whichever of two at the same time stays is right.
    unsafe {
        let counted = match count {
            Count::Attempts => &raw mut (*counts).attempts,
            Count::Failed => &raw mut (*counts).failed,
            Count::Ooms => &raw mut (*counts).ooms,
        };
        add_one(counted);
        (*counts).last_ns = now;
        let sent_ns = (*counts).sent_ns;
        if sent_ns != 0 && now.wrapping_sub(sent_ns) < SEND_EVERY_NS {
            return;
        }
        (*counts).sent_ns = now;
    }
    send(memcg, cgroup, cgroup_id, counts);
}

#[inline(always)]
fn send(memcg: Address, cgroup: Address, cgroup_id: u64, counts: *const ChargeCounts) {
    let (task, task_cgroup) = (current(), cgroup::of_task(current()));
    cgroup::send_path(cgroup);
    if task_cgroup != cgroup {
        cgroup::send_path(task_cgroup);
    }
    ring::send!(ChargeFailure {
        header: ring::header(tag::CHARGE_FAILURE, 0),
        cgroup_id: cgroup_id,
        counts: *counts,
        counters: counters(memcg),
        task: Who(task),
    });
}

/// What a cgroup uses and may use.
#[inline(always)]
pub(crate) fn counters(memcg: Address) -> MemcgCounters {
    MemcgCounters {
        memory_usage_pages: memcg.get(layout!(memcg_memory_usage), ABSENT),
        memory_max_pages: memcg.get(layout!(memcg_memory_max), ABSENT),
        swap_usage_pages: memcg.get(layout!(memcg_swap_usage), ABSENT),
        swap_max_pages: memcg.get(layout!(memcg_swap_max), ABSENT),
    }
}
