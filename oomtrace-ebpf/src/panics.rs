//! The node is out of memory, and `vm.panic_on_oom` makes a panic of it: `check_panic_on_oom`, `mm/oom_kill.c`.
//!
//! The kernel prints its report before it panics, and meanwhile another CPU may bring the record to the daemon, and its line to
//! its reader. Nothing is certain of that: the daemon reports the sysctl in its status as well.

use aya_ebpf::{macros::map, maps::Array};
use oomtrace_common::{
    layout::ABSENT_OFFSET,
    record::{PanicAhead, tag},
};

use crate::{
    cgroup, charges,
    kernel::{Address, MACHINE, constant, layout},
    ring,
    task::{Who, current},
};

/// A task may come here again and again before the kernel panics, or before there is memory after all.
const SEND_EVERY_NS: u64 = 1_000_000_000;

/// When a record was last sent.
#[map]
static SENT_NS: Array<u64> = Array::with_max_entries(1, 0);

/// `out_of_memory` is entered with this `struct oom_control`.
#[inline(always)]
pub(crate) fn tell(oc: Address) {
    let sysctl = Address(constant(&MACHINE.panic_on_oom));
    if sysctl.is_null() {
        return;
    }
    let panic_on_oom = sysctl.read(0_u32);
    let memcg = oc.follow(layout!(oom_control_memcg));
    // 1 spares a cgroup that is over its own limit, 2 spares nothing but SysRq-f.
    let spared = panic_on_oom == 0
        || panic_on_oom == 1 && !memcg.is_null()
        || oc.get(layout!(oom_control_order), 0_i32) == -1
        || layout!(oom_control_memcg) == ABSENT_OFFSET;
    let Some(sent_ns) = SENT_NS.get_ptr_mut(0).filter(|_| !spared) else { return };
    let now = ring::boot_ns();
    // SAFETY: the map's value; `oom_lock` keeps every other writer out.
    unsafe {
        if *sent_ns != 0 && now.wrapping_sub(*sent_ns) < SEND_EVERY_NS {
            return;
        }
        *sent_ns = now;
    }
    let limit_cgroup = cgroup::of_memcg(memcg);
    cgroup::send_path(limit_cgroup);
    cgroup::send_path(cgroup::of_task(current()));
    ring::send!(PanicAhead {
        header: ring::header(tag::PANIC_AHEAD, 0),
        limit_cgroup_id: if memcg.is_null() { 0 } else { cgroup::id(limit_cgroup) },
        counters: charges::counters(memcg),
        trigger: Who(current()),
        panic_on_oom: panic_on_oom,
        reserved: 0_u32,
    });
}
