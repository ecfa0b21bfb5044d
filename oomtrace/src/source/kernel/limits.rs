//! Whose limit was hit, and how much of it is used.

use oomtrace_common::record::MemcgCounters;

use super::{machine::Machine, paths::Paths};
use crate::{
    event::{Level, Limit},
    node::cgroup_path::CgroupIdentity,
};

/// The limit of a cgroup, or of the node, which has the id 0; `total_bytes` as the kernel states it with the decision.
pub(super) fn of(
    id: u64,
    counters: &MemcgCounters,
    total_bytes: Option<u64>,
    paths: &Paths,
    machine: &Machine,
) -> Limit {
    if id == 0 { of_node(total_bytes) } else { Limit { total_bytes, ..of_cgroup(id, counters, paths, machine) } }
}

/// The node's limit: its RAM and swap.
fn of_node(total_bytes: Option<u64>) -> Limit {
    Limit {
        level: Some(Level::Node),
        cgroup: None,
        cgroup_id: None,
        pod: None,
        container: None,
        nested: None,
        usage_bytes: None,
        limit_bytes: total_bytes,
        swap_usage_bytes: None,
        swap_limit_bytes: None,
        swap_counter: None,
        total_bytes,
    }
}

/// A cgroup's limit.
pub(super) fn of_cgroup(id: u64, counters: &MemcgCounters, paths: &Paths, machine: &Machine) -> Limit {
    let path = paths.path(id);
    let identity = path.map(CgroupIdentity::parse);
    Limit {
        level: identity.as_ref().map(|identity| identity.level),
        cgroup: path.map(ToOwned::to_owned),
        cgroup_id: Some(id),
        pod: identity.as_ref().and_then(CgroupIdentity::pod),
        container: identity.as_ref().and_then(CgroupIdentity::container),
        nested: identity.and_then(|identity| identity.nested),
        usage_bytes: machine.bytes(counters.memory_usage_pages),
        limit_bytes: machine.limit_bytes(counters.memory_max_pages),
        swap_usage_bytes: machine.bytes(counters.swap_usage_pages),
        swap_limit_bytes: machine.limit_bytes(counters.swap_max_pages),
        swap_counter: machine.swap_counter(counters),
        total_bytes: None,
    }
}
