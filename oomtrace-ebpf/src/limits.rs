//! Limits that somebody sets: `memory.max`, `memory.high` and `memory.swap.max`, and cgroup v1's two.
//!
//! All files of cgroups are written to through `cgroup_file_write` (`kernel/cgroup/cgroup.c`). What the limit was is read before, what
//! it is after: between the two the kernel may kill until what is in use fits.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit, kprobe, kretprobe, map},
    maps::LruHashMap,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use oomtrace_common::{
    layout::ABSENT_OFFSET,
    record::{ABSENT, LimitChanged, limit, tag},
};

use crate::{
    cgroup,
    kernel::{Address, MACHINE, constant, layout},
    ring,
    task::{Who, current},
};

/// A limit that is being set.
#[derive(Clone, Copy)]
struct Setting {
    /// The `struct mem_cgroup`, an address.
    memcg: u64,
    /// What the limit was, pages.
    from_pages: u64,
    /// A constant of [`limit`].
    which: u64,
}

/// By thread. One that gives way to others is not reported.
#[map]
static SETTING: LruHashMap<u64, Setting> = LruHashMap::with_max_entries(128, 0);

/// `ssize_t cgroup_file_write(struct kernfs_open_file *of, char *buf, size_t nbytes, loff_t off)`.
#[fentry(function = "cgroup_file_write")]
pub(crate) fn cgroup_file_write_fentry(ctx: FEntryContext) -> i32 {
    begin(Address(ctx.arg(0)));
    0
}

#[kprobe(function = "cgroup_file_write")]
pub(crate) fn cgroup_file_write_kprobe(ctx: ProbeContext) -> u32 {
    begin(Address(ctx.arg(0).unwrap_or(0)));
    0
}

#[fexit(function = "cgroup_file_write")]
pub(crate) fn cgroup_file_write_fexit(_ctx: FExitContext) -> i32 {
    end();
    0
}

#[kretprobe(function = "cgroup_file_write")]
pub(crate) fn cgroup_file_write_kretprobe(_ctx: RetProbeContext) -> u32 {
    end();
    0
}

#[inline(always)]
fn begin(file: Address) {
    let node = file.follow(layout!(kernfs_open_file_kn));
    let which = which(node);
    if which == 0 || layout!(memory_cgrp_id) == ABSENT_OFFSET || layout!(memcg_css) == ABSENT_OFFSET {
        return;
    }
    // A directory's data is its cgroup.
    let cgroup = node.follow(layout!(kernfs_parent)).follow(layout!(kernfs_priv));
    let css = cgroup.field(layout!(cgroup_subsys)).follow(layout!(memory_cgrp_id) * 8);
    if css.is_null() {
        return;
    }
    let memcg = Address(css.0.wrapping_sub(layout!(memcg_css).into()));
    let setting = Setting { memcg: memcg.0, from_pages: pages(memcg, which), which: which.into() };
    let _ = SETTING.insert(bpf_get_current_pid_tgid(), setting, 0);
}

#[inline(always)]
fn end() {
    let thread = bpf_get_current_pid_tgid();
    let Some(setting) = SETTING.get_ptr(thread) else { return };
    // SAFETY: the map's value, which only this thread writes.
    let Setting { memcg, from_pages, which } = unsafe { *setting };
    let _ = SETTING.remove(thread);
    let (memcg, which) = (Address(memcg), which as u32);
    let to_pages = pages(memcg, which);
    if to_pages == from_pages {
        return;
    }
    let (cgroup, writer) = (cgroup::of_memcg(memcg), current());
    cgroup::send_path(cgroup);
    cgroup::send_path(cgroup::of_task(writer));
    ring::send!(LimitChanged {
        header: ring::header(tag::LIMIT_CHANGED, 0),
        cgroup_id: cgroup::id(cgroup),
        from_pages: from_pages,
        to_pages: to_pages,
        task: Who(writer),
        which: which,
        reserved: 0_u32,
    });
}

/// Which limit a file sets: 0 for none.
#[inline(always)]
fn which(node: Address) -> u32 {
    // Names end with NUL, and are padded with zeroes here: eight bytes are compared at a time.
    let at = node.follow(layout!(kernfs_name));
    let word = |offset: u64| Address(at.0.wrapping_add(offset)).read(0_u64);
    if constant(&MACHINE.memory_cgroup_v1) == 1 {
        return if word(0) == u64::from_ne_bytes(*b"memory.l") && word(8) == u64::from_ne_bytes(*b"imit_in_") {
            limit::MAX
        } else if word(0) == u64::from_ne_bytes(*b"memory.m") && word(8) == u64::from_ne_bytes(*b"emsw.lim") {
            limit::SWAP_MAX
        } else {
            0
        };
    }
    let tail = at.0.wrapping_add(7);
    let is = |text: &[u8; 4]| Address(tail).read([0_u8; 4]) == *text && Address(tail.wrapping_add(4)).read(1_u8) == 0;
    if word(0) == u64::from_ne_bytes(*b"memory.m") && Address(tail).read([0_u8; 4]) == *b"max\0" {
        limit::MAX
    } else if word(0) == u64::from_ne_bytes(*b"memory.h") && is(b"high") {
        limit::HIGH
    } else if word(0) == u64::from_ne_bytes(*b"memory.s") && word(8) == u64::from_ne_bytes(*b"wap.max\0") {
        limit::SWAP_MAX
    } else {
        0
    }
}

/// What a limit is now.
#[inline(always)]
fn pages(memcg: Address, which: u32) -> u64 {
    match which {
        limit::HIGH => memcg.get(layout!(memcg_memory_high), ABSENT),
        limit::SWAP_MAX => memcg.get(layout!(memcg_swap_max), ABSENT),
        _ => memcg.get(layout!(memcg_memory_max), ABSENT),
    }
}
