//! What Kubernetes knows of a cgroup: pods and containers.

pub mod cgroup_path;
pub mod fact;
pub mod hierarchy;
pub mod index;
pub mod names;
pub mod snapshot;
pub mod memory;

use cgroup_path::CgroupIdentity;

use crate::event::{Container, Pod};

/// The pod that a cgroup is, or is in, by its path.
#[must_use]
pub fn pod(identity: &CgroupIdentity) -> Option<Pod> {
    let uid = identity.pod_uid.clone()?;
    Some(Pod { uid: Some(uid), qos: identity.qos, ..Pod::default() })
}

/// The container that a cgroup is, or is in, by its path.
#[must_use]
pub fn container(identity: &CgroupIdentity) -> Option<Container> {
    let id = identity.container_id.clone()?;
    Some(Container { id: Some(id), ..Container::default() })
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
