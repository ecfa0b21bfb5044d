//! What Kubernetes knows of a cgroup: pods and containers.

pub mod cgroup_path;

use crate::event::{Container, Level, Pod};
use cgroup_path::CgroupIdentity;

/// What a cgroup's path tells of it.
pub struct Identity {
    /// What the cgroup is to Kubernetes.
    pub level: Level,
    /// The pod that it is, or is in.
    pub pod: Option<Pod>,
    /// The container that it is, or is in.
    pub container: Option<Container>,
}

/// Reads a cgroup's path, in the terms of events.
#[must_use]
pub fn identify(path: &str) -> Identity {
    let CgroupIdentity { level, pod_uid, qos, container_id, .. } = CgroupIdentity::parse(path);
    Identity {
        level,
        pod: pod_uid.map(|uid| Pod { namespace: None, name: None, uid: uid.to_string(), qos }),
        container: container_id.map(|id| Container {
            name: None,
            id: id.to_string(),
            image: None,
            restart_count: None,
        }),
    }
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
