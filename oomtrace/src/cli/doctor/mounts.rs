//! What this process can see of the node.

use std::{fs, path::Path};

use super::{Check, NeededFor};
use crate::{node::hierarchy::Hierarchy, probe::tracefs, source::kmsg};

pub(super) fn checks(cgroup_root: &Path) -> Vec<Check> {
    vec![tracefs(), kernel_log(), cgroups(cgroup_root), pressure()]
}

fn tracefs() -> Check {
    let name = "tracefs";
    if tracefs::format("oom", "mark_victim").is_some() {
        return Check::passed(name, "oom:mark_victim has a format");
    }
    let mounted = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = if mounted.lines().any(|line| line.split(' ').nth(2) == Some("tracefs")) {
        "mounted, but the format of oom:mark_victim cannot be read"
    } else {
        "not mounted"
    };
    Check::failed(
        name,
        found,
        "mount -t tracefs tracefs /sys/kernel/tracing; in a container, mount the host's /sys/kernel/tracing",
        "flags of allocations have no names, and the plain tracepoint, the last rung of probes, is missing",
    )
}

fn kernel_log() -> Check {
    let name = "/dev/kmsg";
    match kmsg::check() {
        Ok(()) => Check::passed(name, "can be read"),
        Err(error) => Check::failed(
            name,
            error.to_string(),
            "run as root, or grant CAP_SYSLOG; in a container, mount the host's /dev/kmsg",
            "no kernel log to read where no probe attaches",
        )
        .needed_for(NeededFor::KernelLog),
    }
}

fn cgroups(cgroup_root: &Path) -> Check {
    let name = "cgroups";
    match Hierarchy::find(cgroup_root) {
        Ok(hierarchy) => Check::passed(
            name,
            format!("the memory controller is on cgroup v{}, at {}", hierarchy.version(), hierarchy.root().display()),
        ),
        Err(error) => Check::failed(
            name,
            error.to_string(),
            "mount the node's cgroups, or say where they are with --cgroup-root; boot without cgroup_disable=memory",
            "what memory of pods looked like is not reported; without the controller only the node can run out of memory",
        ),
    }
}

fn pressure() -> Check {
    let name = "pressure stall information";
    match fs::read_to_string("/proc/pressure/memory") {
        Ok(_) => Check::passed(name, "/proc/pressure/memory"),
        Err(error) => Check::failed(
            name,
            format!("/proc/pressure/memory: {error}"),
            "boot with psi=1, on a kernel with CONFIG_PSI=y (4.20 and later)",
            "how long tasks waited for memory is not reported",
        ),
    }
}
