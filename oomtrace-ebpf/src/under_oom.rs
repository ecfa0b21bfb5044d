//! Cgroup v1's `oom_kill_disable`: a task whose charge fails is not killed, but waits until its cgroup has room.
//!
//! The wait is in `mem_cgroup_oom_synchronize` (`mm/memcontrol.c`, `mm/memcontrol-v1.c`), which the page fault handler calls.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit, kprobe, kretprobe, map},
    maps::LruHashMap,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use oomtrace_common::record::{ABSENT, MemcgCounters, UnderOom, tag};

use crate::{
    cgroup, charges,
    kernel::{Address, layout},
    ring,
    task::{Who, current},
};

/// The threads that wait, each with its cgroup's id. One that is put out for others is reported too late to wait no more: when it
/// ends, or not at all.
#[map]
static WAITING: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1024, 0);

/// What a cgroup's counters are where they are not read.
const NOT_READ: MemcgCounters = MemcgCounters {
    memory_usage_pages: ABSENT,
    memory_max_pages: ABSENT,
    swap_usage_pages: ABSENT,
    swap_max_pages: ABSENT,
};

/// `bool mem_cgroup_oom_synchronize(bool handle)`: it waits where `handle` is true.
#[fentry(function = "mem_cgroup_oom_synchronize")]
pub(crate) fn oom_synchronize_fentry(ctx: FEntryContext) -> i32 {
    begin(ctx.arg(0));
    0
}

#[kprobe(function = "mem_cgroup_oom_synchronize")]
pub(crate) fn oom_synchronize_kprobe(ctx: ProbeContext) -> u32 {
    begin(ctx.arg(0).unwrap_or(0));
    0
}

#[fexit(function = "mem_cgroup_oom_synchronize")]
pub(crate) fn oom_synchronize_fexit(_ctx: FExitContext) -> i32 {
    end();
    0
}

#[kretprobe(function = "mem_cgroup_oom_synchronize")]
pub(crate) fn oom_synchronize_kretprobe(_ctx: RetProbeContext) -> u32 {
    end();
    0
}

#[inline(always)]
fn begin(handle: u64) {
    let memcg = current().follow(layout!(task_memcg_in_oom));
    // The lowest byte of a `bool`, and of the `int` that it was up to 6.0.
    if handle as u8 == 0 || memcg.is_null() || memcg.get(layout!(memcg_oom_kill_disable), 0_u8) == 0 {
        return;
    }
    let cgroup = cgroup::of_memcg(memcg);
    let cgroup_id = cgroup::id(cgroup);
    let _ = WAITING.insert(bpf_get_current_pid_tgid(), cgroup_id, 0);
    cgroup::send_path(cgroup);
    send(memcg, cgroup_id, true);
}

#[inline(always)]
fn end() {
    let thread = bpf_get_current_pid_tgid();
    let Some(waited) = WAITING.get_ptr(thread) else { return };
    // SAFETY: the map's value, which only this thread writes.
    let cgroup_id = unsafe { *waited };
    let _ = WAITING.remove(thread);
    send(Address::NULL, cgroup_id, false);
}

#[inline(always)]
fn send(memcg: Address, cgroup_id: u64, begins: bool) {
    ring::send!(UnderOom {
        header: ring::header(tag::UNDER_OOM, 0),
        cgroup_id: cgroup_id,
        counters: if begins { charges::counters(memcg) } else { NOT_READ },
        task: Who(current()),
        begins: u32::from(begins),
        reserved: 0_u32,
    });
}
