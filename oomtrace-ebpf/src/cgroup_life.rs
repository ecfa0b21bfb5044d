//! Cgroups as they are made and removed, so that the daemon learns whose they are while there is somebody to ask.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use oomtrace_common::{
    layout::ABSENT_OFFSET,
    record::{ABSENT, CgroupLife, tag},
};

use crate::{
    cgroup,
    kernel::{Address, layout},
    ring,
};

/// The tracepoint `cgroup:cgroup_mkdir(struct cgroup *cgrp, const char *path)`. Its controllers are enabled already:
/// `cgroup_mkdir`, `kernel/cgroup/cgroup.c`.
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub(crate) fn cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    let cgroup = Address(ctx.arg(0));
    if has_memory(cgroup) {
        cgroup::send_path(cgroup);
        send(cgroup, tag::CGROUP_MADE);
    }
    0
}

/// The tracepoint `cgroup:cgroup_rmdir`. Its controllers go later (`css_killed_work_fn`).
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub(crate) fn cgroup_rmdir(ctx: RawTracePointContext) -> i32 {
    let cgroup = Address(ctx.arg(0));
    if has_memory(cgroup) {
        send(cgroup, tag::CGROUP_GONE);
    }
    0
}

/// Whether the memory controller is enabled in it. On cgroup v1 those of the other hierarchies have ids of their own, which
/// are the same numbers.
#[inline(always)]
fn has_memory(cgroup: Address) -> bool {
    if layout!(memory_cgrp_id) == ABSENT_OFFSET {
        return false;
    }
    !cgroup.field(layout!(cgroup_subsys)).follow(layout!(memory_cgrp_id) * 8).is_null()
}

#[inline(always)]
fn send(cgroup: Address, tag: u32) {
    let cgroup_id = cgroup.follow(layout!(cgroup_kn)).get(layout!(kernfs_id), ABSENT);
    ring::send!(CgroupLife { header: ring::header(tag, 0), cgroup_id: cgroup_id });
}
