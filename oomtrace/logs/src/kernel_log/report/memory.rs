//! The lines that say how much memory is used: of the cgroup over its limit, or of the node.

use super::pieces;

/// A counter of a memory cgroup: `mem_cgroup_print_oom_meminfo`, `mm/memcontrol.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// What is charged.
    pub usage_bytes: u64,
    /// What may be; `None` where there is no limit.
    pub limit_bytes: Option<u64>,
    /// How often a charge hit the limit, as printed. Attempts, not processes: each retry counts.
    pub failcnt: u64,
}

/// Whose counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Memory,
    Swap,
    MemoryAndSwap,
    Kernel,
}

/// `memory: usage 20480kB, limit 20480kB, failcnt 51`.
pub(super) fn counter(text: &str) -> Option<(Counted, Counter)> {
    // `PAGE_COUNTER_MAX` pages in KiB, which is how "no limit" is printed: 2^53 - 4 with pages of 4 KiB, 2^53 - 64 with 64.
    const NO_LIMIT: u64 = ((1 << 53) - 64) * 1024;
    let (whose, rest) = [
        ("memory: usage ", Counted::Memory),
        ("memory+swap: usage ", Counted::MemoryAndSwap),
        ("swap: usage ", Counted::Swap),
        ("kmem: usage ", Counted::Kernel),
    ]
    .into_iter()
    .find_map(|(start, whose)| Some((whose, text.strip_prefix(start)?)))?;
    let mut parts = rest.split(", ");
    let usage_bytes = pieces::kilobytes(parts.next()?)?;
    let limit = pieces::kilobytes(parts.next()?.strip_prefix("limit ")?)?;
    let failcnt = parts.next()?.strip_prefix("failcnt ")?.parse().ok()?;
    Some((whose, Counter { usage_bytes, limit_bytes: (limit < NO_LIMIT).then_some(limit), failcnt }))
}

/// `memory.stat` of a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupStats {
    /// Its path.
    pub cgroup: String,
    /// Names and values, as printed: bytes of what is memory, and numbers of what is events (`pgfault`, `workingset_…`).
    pub values: Vec<(String, u64)>,
}

impl CgroupStats {
    /// More than the kernel has of these; of a report that has more, only so many are kept.
    pub const MOST_VALUES: usize = 256;
    /// Up to 5.2 there is a line for every cgroup below the one over its limit: on a node, hundreds.
    pub const MOST_CGROUPS: usize = 32;

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

/// `Memory cgroup stats for /a: cache:0KB rss:0KB …` up to 5.2, `Memory cgroup stats for /a:` from 5.3. A path may contain
/// `: cache:` but what follows the last one is the kernel's.
pub(super) fn stats(text: &str) -> Option<CgroupStats> {
    let rest = text.strip_prefix("Memory cgroup stats for ")?;
    // A line of the older form may have been cut behind a colon of its own.
    if let Some(cgroup) = rest.strip_suffix(':').filter(|cgroup| !cgroup.contains(": cache:")) {
        return Some(CgroupStats { cgroup: cgroup.to_owned(), values: Vec::new() });
    }
    let at = rest.rfind(": cache:")?;
    let values = rest[at + 2..]
        .split_ascii_whitespace()
        .filter_map(|field| field.split_once(':'))
        .filter_map(|(name, value)| Some((name.to_owned(), pieces::kilobytes(value)?)))
        .take(CgroupStats::MOST_VALUES)
        .collect();
    Some(CgroupStats { cgroup: rest[..at].to_owned(), values })
}

/// `anon 20680704`: a line of `memory.stat`.
pub(super) fn stat(text: &str) -> Option<(&str, u64)> {
    let (name, value) = text.split_once(' ')?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (is_name && !name.is_empty()).then_some((name, value.parse().ok()?))
}

/// The node's memory: `show_mem` and `show_free_areas`, `mm/show_mem.c` (before 6.4 `mm/page_alloc.c`, `lib/show_mem.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// Anonymous memory in use lately.
    pub active_anon_pages: Option<u64>,
    /// Anonymous memory not in use lately.
    pub inactive_anon_pages: Option<u64>,
    /// File-backed memory in use lately.
    pub active_file_pages: Option<u64>,
    /// File-backed memory not in use lately.
    pub inactive_file_pages: Option<u64>,
    /// Locked memory, and other that cannot be reclaimed.
    pub unevictable_pages: Option<u64>,
    /// The kernel's caches that it can shrink.
    pub slab_reclaimable_pages: Option<u64>,
    /// The kernel's objects that it cannot.
    pub slab_unreclaimable_pages: Option<u64>,
    /// Shared memory and tmpfs.
    pub shmem_pages: Option<u64>,
    /// Page tables.
    pub pagetables_pages: Option<u64>,
    /// Free memory.
    pub free_pages: Option<u64>,
    /// All memory.
    pub ram_pages: Option<u64>,
    /// Of `ram_pages` what the kernel never had to give away.
    pub reserved_pages: Option<u64>,
    /// Free swap.
    pub swap_free_bytes: Option<u64>,
    /// All swap.
    pub swap_total_bytes: Option<u64>,
    /// The zones that memory is handed out from, at most 64.
    pub zones: Vec<Zone>,
}

/// A zone: an allocation may fail in one while another has memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The NUMA node.
    pub node: u32,
    /// `DMA32`, `Normal` …
    pub name: String,
    /// Free memory.
    pub free_bytes: u64,
    /// Below this watermark, allocations fail.
    pub min_bytes: Option<u64>,
    /// Below this one, the kernel reclaims in the background.
    pub low_bytes: Option<u64>,
    /// Up to this one.
    pub high_bytes: Option<u64>,
    /// All memory of the zone.
    pub managed_bytes: Option<u64>,
}

impl NodeMemory {
    const MOST_ZONES: usize = 64;

    /// Takes a line that follows `Mem-Info:`; whether it is one. What is known stays: an allocation that failed on
    /// another processor prints the same lines.
    pub(super) fn take(&mut self, text: &str) -> bool {
        // A kernel that is built without NUMA names no node.
        if let Some(zone) = text.strip_prefix("Node ").and_then(zone).or_else(|| zone(&format!("0 {text}"))) {
            let known = self.zones.iter().any(|known| (known.node, &known.name) == (zone.node, &zone.name));
            if !known && self.zones.len() < Self::MOST_ZONES {
                self.zones.push(zone);
            }
            return true;
        }
        if let Some(size) = text.strip_prefix("Free swap  = ") {
            return set(&mut self.swap_free_bytes, pieces::kilobytes(size));
        }
        if let Some(size) = text.strip_prefix("Total swap = ") {
            return set(&mut self.swap_total_bytes, pieces::kilobytes(size));
        }
        if let Some(count) = text.strip_suffix(" pages RAM") {
            return set(&mut self.ram_pages, count.parse().ok());
        }
        if let Some(count) = text.strip_suffix(" pages reserved") {
            return set(&mut self.reserved_pages, count.parse().ok());
        }
        self.counts(text)
    }

    /// `active_anon:525 inactive_anon:48408 isolated_anon:0`, and the five to eight lines that follow it, in pages.
    fn counts(&mut self, text: &str) -> bool {
        let mut any = false;
        for field in text.split_ascii_whitespace() {
            let Some((name, value)) = field.split_once(':') else { return any };
            let Ok(value) = value.parse() else { return any };
            let known = match name {
                "active_anon" => &mut self.active_anon_pages,
                "inactive_anon" => &mut self.inactive_anon_pages,
                "active_file" => &mut self.active_file_pages,
                "inactive_file" => &mut self.inactive_file_pages,
                "unevictable" => &mut self.unevictable_pages,
                "slab_reclaimable" => &mut self.slab_reclaimable_pages,
                "slab_unreclaimable" => &mut self.slab_unreclaimable_pages,
                "shmem" => &mut self.shmem_pages,
                "pagetables" => &mut self.pagetables_pages,
                "free" => &mut self.free_pages,
                _ => continue,
            };
            any |= set(known, Some(value));
        }
        any
    }
}

fn set(known: &mut Option<u64>, value: Option<u64>) -> bool {
    *known = known.or(value);
    value.is_some()
}

/// `Node 0 DMA32 free:1532kB boost:0kB min:1736kB low:2168kB high:2600kB … managed:213312kB …`, without the first word.
fn zone(text: &str) -> Option<Zone> {
    let mut words = text.split_ascii_whitespace();
    let node = words.next()?.parse().ok()?;
    let name = words.next()?.to_owned();
    let size = |field: &str, key| pieces::kilobytes(field.strip_prefix(key)?);
    let free_bytes = size(words.next()?, "free:")?;
    let mut zone =
        Zone { node, name, free_bytes, min_bytes: None, low_bytes: None, high_bytes: None, managed_bytes: None };
    for field in words {
        zone.min_bytes = zone.min_bytes.or(size(field, "min:"));
        zone.low_bytes = zone.low_bytes.or(size(field, "low:"));
        zone.high_bytes = zone.high_bytes.or(size(field, "high:"));
        zone.managed_bytes = zone.managed_bytes.or(size(field, "managed:"));
    }
    Some(zone)
}
