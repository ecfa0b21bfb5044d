//! Which memory cgroup, and its path.
//!
//! The path is read here, at the moment of the kill: by the time the daemon looks, the cgroup may be gone.

use core::{hint::black_box, ptr::addr_of_mut};

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str},
    macros::map,
    maps::PerCpuArray,
};
use oomtrace_common::{
    layout::ABSENT_OFFSET,
    record::{ABSENT, LONG_PATH_LEN, LongPath, PathHead, SHORT_PATH_LEN, ShortPath, tag},
};

use crate::{
    kernel::{Address, layout},
    ring,
};

/// The longest name of a directory, with its final NUL: `NAME_MAX`, `include/uapi/linux/limits.h`.
const NAME_LEN: usize = 256;
/// The deepest cgroup whose whole path is read. Real nodes have fewer than 12 levels.
const MAX_DEPTH: u32 = 48;

/// Where a path is put together before its size is known: with room for a whole name behind any offset of the path.
#[map]
static NAMES: PerCpuArray<[u8; LONG_PATH_LEN + NAME_LEN]> = PerCpuArray::with_max_entries(1, 0);

/// The memory cgroup that a task is charged to, as `mem_cgroup_from_task` finds it: also right on cgroup v1, where each
/// controller has cgroups of its own.
#[inline(always)]
pub(crate) fn of_task(task: Address) -> Address {
    if layout!(memory_cgrp_id) == ABSENT_OFFSET {
        return Address::NULL;
    }
    let subsys = task.follow(layout!(task_cgroups)).field(layout!(css_set_subsys));
    subsys.follow(layout!(memory_cgrp_id) * 8).follow(layout!(css_cgroup))
}

/// The cgroup of a `struct mem_cgroup`.
#[inline(always)]
pub(crate) fn of_memcg(memcg: Address) -> Address {
    memcg.field(layout!(memcg_css)).follow(layout!(css_cgroup))
}

/// A cgroup's id: the inode number of its directory.
#[inline(always)]
pub(crate) fn id(cgroup: Address) -> u64 {
    cgroup.follow(layout!(cgroup_kn)).get(layout!(kernfs_id), ABSENT)
}

/// Sends a cgroup's path, for the records that are about to name its id.
#[inline(always)]
pub(crate) fn send_path(cgroup: Address, decision: u64) {
    let Some(names) = NAMES.get_ptr_mut(0) else { return };
    let mut node = cgroup.follow(layout!(cgroup_kn));
    let cgroup_id = node.get(layout!(kernfs_id), ABSENT);
    if cgroup_id == ABSENT || layout!(kernfs_parent) == ABSENT_OFFSET || layout!(kernfs_name) == ABSENT_OFFSET {
        return;
    }
    let mut len = 0_usize;
    let mut depth = 0;
    while depth < MAX_DEPTH {
        let parent = node.follow(layout!(kernfs_parent));
        // The root has no name.
        if parent.is_null() || len > LONG_PATH_LEN - NAME_LEN {
            break;
        }
        let name = node.follow(layout!(kernfs_name));
        // Changes nothing after the check above, but the verifier may have seen that on another copy of `len`; it has
        // to be told on the one that is used, and the compiler kept from knowing better.
        let at = black_box(len) & (LONG_PATH_LEN - 1);
        // SAFETY: there is room for a name behind `at`, and the map's value belongs to this CPU.
        let read = unsafe {
            bpf_probe_read_kernel_str(names.cast::<u8>().add(at).cast(), NAME_LEN as u32, name.0 as *const _)
        };
        if read <= 0 || read > NAME_LEN as i64 {
            break;
        }
        len += read as usize;
        node = parent;
        depth += 1;
    }
    let head = PathHead {
        header: ring::header(if len <= SHORT_PATH_LEN { tag::SHORT_PATH } else { tag::LONG_PATH }, decision),
        cgroup_id,
        len: len as u32,
        truncated: u32::from(!node.follow(layout!(kernfs_parent)).is_null()),
    };
    // The reserved size has to be a constant, hence two sizes of record.
    if len <= SHORT_PATH_LEN {
        if let Some(mut entry) = ring::reserve::<ShortPath>() {
            let record = entry.as_mut_ptr();
            // SAFETY: the record is reserved, and the names are at least as long.
            unsafe {
                (*record).path = head;
                bpf_probe_read_kernel(addr_of_mut!((*record).names).cast(), SHORT_PATH_LEN as u32, names.cast());
            }
            entry.submit(0);
        }
    } else if let Some(mut entry) = ring::reserve::<LongPath>() {
        let record = entry.as_mut_ptr();
        // SAFETY: as above.
        unsafe {
            (*record).path = head;
            bpf_probe_read_kernel(addr_of_mut!((*record).names).cast(), LONG_PATH_LEN as u32, names.cast());
        }
        entry.submit(0);
    }
}
