//! Allocations that the kernel refuses before anything is charged: no OOM follows, only an error that the process has to cope
//! with. Counted for each process, since there may be thousands a second.
//!
//! Both functions run where address space is mapped or grown (`mmap`, `brk`, a stack that grows, `fork`), never where pages are
//! touched, and only what they refuse is looked at any further.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::{fexit, kretprobe, map},
    maps::HashMap,
    programs::{FExitContext, RetProbeContext},
};
use oomtrace_common::record::{ABSENT, ABSENT_U32, Refusal, RefusalCounts, RefusalKey, lost, refused_by, tag};

use crate::{
    cgroup,
    kernel::{Address, MACHINE, add_one, constant, layout},
    ring,
    task::{self, Who, current},
};

/// The refusals of each process that was refused something lately. The daemon takes out those that are refused no more.
#[map]
static REFUSALS: HashMap<RefusalKey, RefusalCounts> = HashMap::with_max_entries(1024, 0);

/// How often a process's refusals are reported in full.
const SEND_EVERY_NS: u64 = 1_000_000_000;

/// `RLIMIT_DATA`, `include/uapi/asm-generic/resource.h`.
const RLIMIT_DATA: u32 = 2;
/// `RLIMIT_AS`, the same.
const RLIMIT_AS: u32 = 9;
/// The size of a `struct rlimit`: two `unsigned long`, the limit in force first.
const RLIMIT_SIZE: u32 = 16;

/// `int __vm_enough_memory(struct mm_struct *mm, long pages, int cap_sys_admin)`, `mm/util.c`: negative where overcommit
/// accounting refuses.
#[fexit(function = "__vm_enough_memory")]
pub(crate) fn vm_enough_memory_fexit(ctx: FExitContext) -> i32 {
    // Behind the arguments stands the return value: `arch_prepare_bpf_trampoline`.
    if ctx.arg::<i32>(3) < 0 {
        refused(refused_by::OVERCOMMIT, ctx.arg(1), ABSENT);
    }
    0
}

/// The arguments are gone by now.
#[kretprobe(function = "__vm_enough_memory")]
pub(crate) fn vm_enough_memory_kretprobe(ctx: RetProbeContext) -> u32 {
    if ctx.ret::<i32>() < 0 {
        refused(refused_by::OVERCOMMIT, ABSENT, ABSENT);
    }
    0
}

/// `bool may_expand_vm(struct mm_struct *mm, vm_flags_t flags, unsigned long npages)`, `mm/mmap.c` or `mm/vma.c`: false where a
/// limit of the process stands against it.
#[fexit(function = "may_expand_vm")]
pub(crate) fn may_expand_vm_fexit(ctx: FExitContext) -> i32 {
    // A `bool` is the lowest byte of its register.
    if ctx.arg::<u64>(3) as u8 == 0 {
        beyond_limit(Address(ctx.arg(0)), ctx.arg(2));
    }
    0
}

/// The arguments are gone by now: which limit it is cannot be reported.
#[kretprobe(function = "may_expand_vm")]
pub(crate) fn may_expand_vm_kretprobe(ctx: RetProbeContext) -> u32 {
    if ctx.ret::<u64>() as u8 == 0 {
        refused(refused_by::RLIMIT, ABSENT, ABSENT);
    }
    0
}

/// As `may_expand_vm` does, the limit on address space is looked at first.
#[inline(always)]
fn beyond_limit(mm: Address, pages: u64) {
    let limits = current().follow(layout!(task_signal)).field(layout!(signal_rlim));
    let limit_of_address_space = limits.get(RLIMIT_AS * RLIMIT_SIZE, ABSENT);
    let wanted = mm.get(layout!(mm_total_vm), 0_u64).saturating_add(pages);
    if wanted > limit_of_address_space.checked_div(constant(&MACHINE.page_size)).unwrap_or(ABSENT) {
        refused(refused_by::RLIMIT_AS, pages, limit_of_address_space);
    } else {
        refused(refused_by::RLIMIT_DATA, pages, limits.get(RLIMIT_DATA * RLIMIT_SIZE, ABSENT));
    }
}

/// Counts a refusal, and tells it where it is the process's first, or the first in a second.
#[inline(always)]
fn refused(by: u32, requested_pages: u64, limit_bytes: u64) {
    let task = current();
    let tgid = task::tgid(task);
    if tgid == ABSENT_U32 {
        return;
    }
    let key = RefusalKey { tgid, by };
    let now = ring::boot_ns();
    let Some(counts) = REFUSALS.get_ptr_mut(key).or_else(|| {
        let fresh = RefusalCounts { count: 0, first_ns: now, last_ns: now, sent_ns: 0 };
        // Another thread may have been faster: what is there is taken either way.
        let _ = REFUSALS.insert(key, fresh, u64::from(BPF_NOEXIST));
        REFUSALS.get_ptr_mut(key)
    }) else {
        ring::count(lost::MAP);
        return;
    };
    // SAFETY: the map's value; only the daemon takes it out, after seconds of quiet. Threads on other CPUs add to the same
    // count, hence atomically; the times are whole words, and whichever of two at the same time stays is right.
    unsafe {
        add_one(&raw mut (*counts).count);
        (*counts).last_ns = now;
        let sent_ns = (*counts).sent_ns;
        if sent_ns != 0 && now.wrapping_sub(sent_ns) < SEND_EVERY_NS {
            return;
        }
        (*counts).sent_ns = now;
    }
    cgroup::send_path(cgroup::of_task(task));
    ring::send!(Refusal {
        header: ring::header(tag::REFUSAL, 0),
        key: key,
        counts: *counts,
        task: Who(task),
        requested_pages: requested_pages,
        limit_bytes: limit_bytes,
    });
}
