//! Which memory cgroup, and its path.
//!
//! The path is read here, at the moment of the kill: by the time the daemon looks, the cgroup may be gone.

use core::hint::black_box;

use aya_ebpf::{helpers::generated::bpf_probe_read_kernel_str, macros::map, maps::LruHashMap};
use oomtrace_common::{
    layout::ABSENT_OFFSET,
    record::{ABSENT, LONG_PATH_LEN, LongPath, PathHead, SHORT_PATH_LEN, ShortPath, tag},
};

use crate::{
    kernel::{Address, layout},
    ring::{self, fill},
};

/// The longest name of a directory, with its final NUL: `NAME_MAX`, `include/uapi/linux/limits.h`.
const NAME_LEN: usize = 256;
/// The deepest cgroup whose whole path is read. Real nodes have fewer than 12 levels.
const MAX_DEPTH: u32 = 48;

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

/// When each cgroup's path was last sent, by its id.
#[map]
static SENT: LruHashMap<u64, u64> = LruHashMap::with_max_entries(512, 0);

/// The daemon keeps a path for longer than this.
const SEND_AGAIN_NS: u64 = 1_000_000_000;

/// Sends a cgroup's path, for the records that are about to name its id. Not again where it was sent a moment ago: a kill of a
/// whole group, with the ends of its members, names one cgroup a thousand times.
#[inline(always)]
pub(crate) fn send_path(cgroup: Address) {
    let leaf = cgroup.follow(layout!(cgroup_kn));
    let cgroup_id = leaf.get(layout!(kernfs_id), ABSENT);
    if cgroup_id == ABSENT || layout!(kernfs_parent) == ABSENT_OFFSET || layout!(kernfs_name) == ABSENT_OFFSET {
        return;
    }
    let now = ring::boot_ns();
    // SAFETY: the map's value, a whole word.
    if SENT.get_ptr(cgroup_id).is_some_and(|sent| now.wrapping_sub(unsafe { *sent }) < SEND_AGAIN_NS) {
        return;
    }
    // The reserved size has to be a constant, hence two sizes of record.
    if !send_as::<ShortPath>(leaf, cgroup_id, now) {
        send_as::<LongPath>(leaf, cgroup_id, now);
    }
}

/// A record that a path is written into, in place: it belongs to the program that reserved it, whatever else runs meanwhile.
trait PathRecord: 'static {
    const TAG: u32;
    /// The last byte of the names where another one may begin: one less than a power of two.
    const LAST_BEGIN: usize;
    /// Whether a path that does not fit is sent all the same, without the names next to the root.
    const MAY_BE_CUT: bool;
    fn parts(record: *mut Self) -> (*mut PathHead, *mut u8);
}

macro_rules! path_record {
    ($type:ident, $tag:expr, $names_len:expr, $may_be_cut:expr) => {
        impl PathRecord for $type {
            const TAG: u32 = $tag;
            const LAST_BEGIN: usize = $names_len - NAME_LEN - 1;
            const MAY_BE_CUT: bool = $may_be_cut;

            #[inline(always)]
            fn parts(record: *mut Self) -> (*mut PathHead, *mut u8) {
                // SAFETY: the addresses of two fields, which may be written to as the record may.
                unsafe { (&raw mut (*record).path, (&raw mut (*record).names).cast()) }
            }
        }

        const _: () = assert!(($type::LAST_BEGIN + 1).is_power_of_two());
    };
}
path_record!(ShortPath, tag::SHORT_PATH, SHORT_PATH_LEN, false);
path_record!(LongPath, tag::LONG_PATH, LONG_PATH_LEN, true);

/// Sends a path in this record; false where it does not fit.
#[inline(always)]
fn send_as<Record: PathRecord>(leaf: Address, cgroup_id: u64, now: u64) -> bool {
    // What the ring has no room for is no better off in a longer record.
    let Some(mut entry) = ring::reserve::<Record>() else { return true };
    let (head, names) = Record::parts(entry.as_mut_ptr());
    let (len, top) = write_names(leaf, names, Record::LAST_BEGIN);
    let is_cut = !top.follow(layout!(kernfs_parent)).is_null();
    if is_cut && !Record::MAY_BE_CUT {
        entry.discard(0);
        return false;
    }
    // SAFETY: the record is reserved. Behind `len` bytes of the names is what the ring held before, and nobody reads it.
    unsafe {
        fill!(
            head,
            PathHead {
                header: ring::header(Record::TAG, 0),
                cgroup_id: cgroup_id,
                len: len as u32,
                truncated: u32::from(is_cut),
            }
        );
    }
    // The record has its place in the ring: what a program sends that finds this comes behind it.
    let _ = SENT.insert(cgroup_id, now, 0);
    entry.submit(0);
    true
}

/// Writes the names from a cgroup's directory upwards. Gives how many bytes they are, and the first directory without its name.
#[inline(always)]
fn write_names(leaf: Address, names: *mut u8, last_begin: usize) -> (usize, Address) {
    let mut node = leaf;
    let mut len = 0_usize;
    let mut depth = 0;
    while depth < MAX_DEPTH {
        let parent = node.follow(layout!(kernfs_parent));
        // The root has no name.
        if parent.is_null() || len > last_begin {
            break;
        }
        let name = node.follow(layout!(kernfs_name));
        // Changes nothing after the check above, but the verifier may have seen that on another copy of `len`; it has
        // to be kept on the one that is used, and the compiler kept from knowing better.
        let at = black_box(len) & last_begin;
        // SAFETY: there is room for a name behind `at`.
        let read = unsafe { bpf_probe_read_kernel_str(names.add(at).cast(), NAME_LEN as u32, name.0 as *const _) };
        if read <= 0 || read > NAME_LEN as i64 {
            break;
        }
        len += read as usize;
        node = parent;
        depth += 1;
    }
    (len, node)
}
