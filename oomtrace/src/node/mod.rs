//! This node: its cgroups and processes, the kubelet's configuration, and what Kubernetes knows of pods and containers.

pub mod budget;
pub mod cgroup_files;
pub mod hierarchy;
pub mod index;
pub mod kubelet_answers;
pub mod kubelet_process;
pub mod kubelet_settings;
pub mod lenses;
pub mod memory;
pub mod names;
pub mod node_object;
pub mod pod_specs;
pub mod processes;
pub mod race;
pub mod ranking;
pub mod survey;

pub use oomtrace_model::{cgroup_path, fact};

/// What is known of pods and containers from files.
pub mod snapshot {
    pub use oomtrace_logs::kubectl::{
        Found, HEAP_VARIABLES, has_marked, has_part, heap_flags, is_event, is_heap_flag, is_printed, lines, log_dir,
        read,
    };
    pub use oomtrace_model::snapshot::*;
}

/// The version of the hierarchy that has the memory controller: 1, 2, or unknown where it is not mounted.
///
/// `/proc/cgroups` gives each controller's hierarchy; 0 is the unified one (`cgroup_default_root`). Newer kernels leave
/// controllers out of that file that only cgroup v2 has.
#[must_use]
pub fn cgroup_version() -> Option<u8> {
    let cgroups = std::fs::read_to_string("/proc/cgroups").ok()?;
    let memory = cgroups.lines().find_map(|line| line.strip_prefix("memory")?.split_whitespace().next()?.parse().ok());
    match memory {
        Some(0_u32) | None => std::fs::read_to_string("/proc/self/mountinfo").ok()?.contains(" cgroup2 ").then_some(2),
        Some(_) => Some(1),
    }
}

/// Whether this process sees every process of the node: whether its pid namespace is the first, whose number is
/// `PROC_PID_INIT_INO` (`include/linux/proc_ns.h`). Elsewhere the kernel's process ids mean others, or nothing.
#[must_use]
pub fn sees_all_processes() -> Option<bool> {
    use std::os::unix::fs::MetadataExt as _;

    const FIRST: u64 = 0xEFFF_FFFC;
    std::fs::metadata("/proc/self/ns/pid").ok().map(|namespace| namespace.ino() == FIRST)
}
