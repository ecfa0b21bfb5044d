//! What a report says of the memory that ran out: the cgroup's own statistics, or the NUMA nodes.

use std::collections::BTreeMap;

use oomtrace_model::{CgroupMemory, MemoryNode};

use crate::kernel_log::report::{CgroupStats, Report};

/// `memory.stat` of the cgroup over its limit. Up to 5.2 (`mem_cgroup_print_oom_info`) each cgroup below has a line of its
/// own with what is charged to it alone, in the names of cgroup v1: these are added up.
pub(super) fn memory(report: &Report) -> Option<CgroupMemory> {
    let first = report.stats.first()?;
    let exclusive = first.get("cache").is_some() && first.get("total_cache").is_none();
    let own = std::slice::from_ref(first);
    let stats = if exclusive { &report.stats[..] } else { own };
    let sum = |names: &[&str]| sum(stats, names);
    let kernel_parts = ["kernel_stack", "pagetables", "sec_pagetables", "percpu", "vmalloc", "slab"];
    let counted = report.kernel.as_ref().map(|kernel| kernel.usage_bytes);
    let dirty =
        [sum(&["total_dirty", "file_dirty", "dirty"]), sum(&["total_writeback", "file_writeback", "writeback"])];
    let memory = CgroupMemory {
        anon_bytes: sum(&["anon", "total_rss", "rss"]),
        file_bytes: sum(&["file", "total_cache", "cache"]),
        shmem_bytes: sum(&["total_shmem", "shmem"]),
        inactive_file_bytes: sum(&["total_inactive_file", "inactive_file"]),
        active_file_bytes: sum(&["total_active_file", "active_file"]),
        dirty_bytes: dirty.into_iter().flatten().reduce(|dirty, writeback| dirty + writeback),
        unevictable_bytes: sum(&["total_unevictable", "unevictable"]),
        kernel_bytes: sum(&["kernel"])
            .or(counted)
            .or_else(|| kernel_parts.iter().filter_map(|name| sum(&[name])).reduce(|one, more| one + more)),
        slab_bytes: sum(&["slab"]),
        slab_unreclaimable_bytes: sum(&["slab_unreclaimable"]),
        sock_bytes: sum(&["sock"]),
    };
    (memory != CgroupMemory::default()).then_some(memory)
}

/// How many containers of the pod over its limit had memory: up to 5.2 each cgroup below it has a line of its own. The least of
/// them is the sandbox's, unless it has more than a sandbox does. `None` where not all are listed.
pub(super) fn containers(report: &Report, pod: &str) -> Option<u32> {
    const MOST_OF_SANDBOX: u64 = 1 << 20;
    if report.stats.len() >= CgroupStats::MOST_CGROUPS {
        return None;
    }
    let below = report.stats.iter().filter(|stats| {
        let name = stats.cgroup.strip_prefix(pod).and_then(|below| below.strip_prefix('/'));
        name.is_some_and(|name| !name.contains('/'))
    });
    let sizes: Vec<u64> = below.map(|stats| ["rss", "cache"].iter().filter_map(|name| stats.get(name)).sum()).collect();
    let sandbox = sizes.iter().any(|size| *size < MOST_OF_SANDBOX);
    u32::try_from(sizes.len()).ok()?.checked_sub(u32::from(sandbox)).filter(|count| *count > 0)
}

/// The first of these names that there is, over all of these cgroups.
fn sum(stats: &[CgroupStats], names: &[&str]) -> Option<u64> {
    let name = names.iter().find(|name| stats.iter().any(|stats| stats.get(name).is_some()))?;
    Some(stats.iter().filter_map(|stats| stats.get(name)).fold(0, u64::saturating_add))
}

/// What is free on each NUMA node.
pub(super) fn memory_nodes(report: &Report) -> Vec<MemoryNode> {
    let mut nodes: BTreeMap<u32, MemoryNode> = BTreeMap::new();
    for zone in report.node.iter().filter(|_| report.global != Some(false)).flat_map(|node| &node.zones) {
        let node =
            nodes.entry(zone.node).or_insert(MemoryNode { id: zone.node, free_bytes: 0, managed_bytes: Some(0) });
        node.free_bytes += zone.free_bytes;
        node.managed_bytes = node.managed_bytes.zip(zone.managed_bytes).map(|(sum, zone)| sum + zone);
    }
    nodes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_log::report::{NodeMemory, Zone};

    fn stats(cgroup: &str, values: &[(&str, u64)]) -> CgroupStats {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        CgroupStats { cgroup: cgroup.to_owned(), values }
    }

    #[test]
    fn a_pods_containers_are_counted_without_its_sandbox() {
        let count = |sizes: &[u64]| {
            let below = sizes
                .iter()
                .enumerate()
                .map(|(at, size)| stats(&format!("/pod/{at}"), &[("cache", 0), ("rss", *size)]));
            let stats = [stats("/pod", &[("cache", 0), ("rss", 0)])].into_iter().chain(below).collect();
            containers(&Report { stats, ..Report::default() }, "/pod")
        };
        let (sandbox, one, other) = (44 << 10, 300 << 20, 5 << 20);
        assert_eq!(count(&[sandbox, one]), Some(1));
        assert_eq!(count(&[sandbox, one, other]), Some(2));
        assert_eq!(count(&[one, other]), Some(2));
        assert_eq!(count(&[sandbox]), None);
        assert_eq!(count(&[]), None);
        assert_eq!(count(&vec![one; 40]), None, "not all are kept");
    }

    #[test]
    fn cgroups_below_are_added_where_each_has_a_line_of_its_own() {
        let of = |stats: Vec<CgroupStats>| memory(&Report { stats, ..Report::default() }).expect("statistics");
        let old = of(vec![stats("/a", &[("cache", 1), ("rss", 2)]), stats("/a/b", &[("cache", 10), ("rss", 20)])]);
        assert_eq!((old.file_bytes, old.anon_bytes), (Some(11), Some(22)));
        let new = of(vec![stats("/a", &[("anon", 5), ("file", 7), ("kernel_stack", 1), ("slab", 2)])]);
        assert_eq!((new.file_bytes, new.anon_bytes, new.kernel_bytes), (Some(7), Some(5), Some(3)));
        assert_eq!(memory(&Report::default()), None);
    }

    #[test]
    fn a_nodes_zones_are_added() {
        let zone = |node, free_bytes, managed| Zone {
            node,
            name: String::new(),
            free_bytes,
            min_bytes: None,
            low_bytes: None,
            high_bytes: None,
            managed_bytes: Some(managed),
        };
        let node = NodeMemory { zones: vec![zone(0, 1, 10), zone(0, 2, 20), zone(1, 4, 40)], ..NodeMemory::default() };
        let report = Report { node: Some(node.into()), global: Some(true), ..Report::default() };
        let nodes = memory_nodes(&report);
        let nodes: Vec<_> = nodes.iter().map(|node| (node.id, node.free_bytes, node.managed_bytes)).collect();
        assert_eq!(nodes, [(0, 3, Some(30)), (1, 4, Some(40))]);
    }
}
