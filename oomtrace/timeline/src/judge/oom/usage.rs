//! Who used how much of the limit that was hit, and what it consists of.

use std::collections::BTreeMap;

use oomtrace_model::{Candidate, CgroupMemory, Event, Limit, Memory, PressureScope, Scenario, SwapCounter};

use super::super::{super::evidence::Kill, Context, case::Case};
use crate::{
    windows::{PICTURE, SECOND},
    words::place,
};

/// Who used how much of the limit that was hit.
pub(in super::super) struct Users {
    /// The one with the most, in words.
    pub(in super::super) most: String,
    pub(in super::super) most_bytes: u64,
    pub(in super::super) victim_bytes: u64,
    pub(in super::super) victim_is_most: bool,
}

impl Users {
    /// By pod where all pods share the limit, by container where a pod's do, by process where the log does not say.
    pub(in super::super) fn of(kill: &Kill, scenario: Scenario) -> Option<Self> {
        let candidates = kill.reported.candidates.as_ref()?;
        let by_pod = matches!(scenario, Scenario::AllocatableOom | Scenario::SystemOom);
        let group = |candidate: &Candidate| -> Option<String> {
            let task = &candidate.task;
            if by_pod && let Some(uid) = task.pod.as_ref().and_then(|pod| pod.uid.as_ref()) {
                return Some(uid.to_string());
            }
            if let Some(id) = task.container.as_ref().and_then(|container| container.id.as_ref()) {
                return Some(id.to_string());
            }
            task.tgid.or(task.pid).map(|pid| format!("process {pid}"))
        };
        let mut groups: BTreeMap<String, (u64, &Candidate, u64)> = BTreeMap::new();
        for candidate in candidates {
            let bytes = used(&candidate.memory)?;
            let entry = groups.entry(group(candidate)?).or_insert((0, candidate, 0));
            entry.0 += bytes;
            if bytes > entry.2 {
                (entry.1, entry.2) = (candidate, bytes);
            }
        }
        let victim = kill.reported.victim.task.tgid.or(kill.reported.victim.task.pid)?;
        let victims =
            candidates.iter().find(|other| other.task.tgid.or(other.task.pid) == Some(victim)).and_then(group)?;
        let (victim_bytes, ..) = *groups.get(&victims)?;
        let (most, (most_bytes, largest, _)) =
            groups.iter().max_by_key(|(name, (bytes, ..))| (*bytes, std::cmp::Reverse(name.as_str())))?;
        let comm = largest.task.comm.as_deref().unwrap_or("?");
        let inside = place(largest.task.pod.as_ref(), largest.task.container.as_ref());
        let inside = if inside == "the node" { String::new() } else { format!(" in {inside}") };
        Some(Self {
            most: format!("{comm}{inside}"),
            most_bytes: *most_bytes,
            victim_bytes,
            victim_is_most: *most == victims || *most_bytes == victim_bytes,
        })
    }
}

/// What a process has in memory and in swap; `None` where neither the sum nor its parts are known.
fn used(memory: &Memory) -> Option<u64> {
    let parts = [memory.rss_anon_bytes, memory.rss_file_bytes, memory.rss_shmem_bytes];
    let resident = parts.into_iter().flatten().reduce(|one, more| one + more).or(memory.rss_bytes)?;
    Some(resident + memory.swap_bytes.unwrap_or(0))
}

/// What filled a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Fill {
    /// Heaps and stacks.
    Anon(u64),
    /// Files in a tmpfs, and shared mappings.
    Shmem(u64),
    /// The kernel's own objects: all, and slab of it.
    Kernel(u64, Option<u64>),
    /// Buffers of sockets.
    Sockets(u64),
    /// Page cache that was not reclaimed, and how much of it had to be written first.
    Cache(u64, Option<u64>),
    /// The victim's own memory is known, and fills less than half of it.
    Unknown(Option<u64>),
}

impl Fill {
    /// From the cgroup's statistics, in the report or as they were read at that time; else from the processes.
    pub(in super::super) fn of(kill: &Kill, case: &Case<'_>, context: &Context<'_>) -> Self {
        let limit = kill.reported.limit.as_ref();
        let read = kill.reported.cgroup_memory.or_else(|| reading(kill, context));
        match read.filter(|memory| adds_up(memory, limit)).and_then(|memory| largest(&memory)) {
            Some(fill) => fill,
            None => by_processes(kill, limit, case),
        }
    }
}

/// Whether statistics have at least half of what was used when the limit was hit: else they were read when the victim's memory was
/// gone already, or leave out what fills it.
fn adds_up(memory: &CgroupMemory, limit: Option<&Limit>) -> bool {
    let Some(used) = limit.and_then(|limit| limit.usage_bytes.or(limit.limit_bytes)) else { return true };
    let kernel = memory.kernel_bytes.or(memory.slab_bytes).or(memory.slab_unreclaimable_bytes);
    let parts = [memory.anon_bytes, memory.file_bytes, kernel, memory.sock_bytes];
    parts.into_iter().flatten().fold(0, u64::saturating_add) >= used / 2
}

fn largest(memory: &CgroupMemory) -> Option<Fill> {
    let anon = memory.anon_bytes?;
    let shmem = memory.shmem_bytes.unwrap_or(0);
    let cache = memory.file_bytes.unwrap_or(0).saturating_sub(shmem);
    let kernel = memory.kernel_bytes.unwrap_or(0).max(memory.slab_bytes.unwrap_or(0));
    let kernel = kernel.max(memory.slab_unreclaimable_bytes.unwrap_or(0));
    let sockets = memory.sock_bytes.unwrap_or(0);
    let slab = memory.slab_bytes.or(memory.slab_unreclaimable_bytes).filter(|slab| *slab > 0);
    let dirty = memory.dirty_bytes.filter(|dirty| *dirty > 0);
    // Of two that are as large the first: anonymous memory is what most limits are for.
    [
        (anon, Fill::Anon(anon)),
        (shmem, Fill::Shmem(shmem)),
        (kernel, Fill::Kernel(kernel, slab)),
        (sockets, Fill::Sockets(sockets)),
        (cache, Fill::Cache(cache, dirty)),
    ]
    .into_iter()
    .rev()
    .max_by_key(|(bytes, _)| *bytes)
    .filter(|(bytes, _)| *bytes > 0)
    .map(|(_, fill)| fill)
}

/// File pages may be charged to another cgroup, and shared ones are in several processes: only what is anonymous counts, and
/// of the rest no more than the limit has room for.
fn by_processes(kill: &Kill, limit: Option<&Limit>, case: &Case<'_>) -> Fill {
    let victim = &kill.reported.victim.memory;
    let most = limit.and_then(|limit| limit.limit_bytes).unwrap_or(u64::MAX);
    let shmem = victim.rss_shmem_bytes.unwrap_or(0).min(most);
    let own = victim.rss_anon_bytes;
    let pid = kill.reported.victim.task.tgid.or(kill.reported.victim.task.pid);
    let others = kill.reported.candidates.iter().flatten().filter(|other| other.task.tgid.or(other.task.pid) != pid);
    let others: u64 = others.filter_map(|other| other.memory.rss_anon_bytes).sum();
    let anon = own.map(|own| own.saturating_add(others).min(most));
    match anon {
        Some(anon) if shmem > anon => Fill::Shmem(shmem),
        Some(anon) if most == u64::MAX || anon >= most / 2 => Fill::Anon(anon),
        // Where only the sum is known of each process, several of them may fill the limit.
        _ if case.kills.is_empty() => Fill::Unknown(None),
        _ => Fill::Unknown(own.map(|own| own.min(most))),
    }
}

/// What was read of the cgroup over its limit shortly before the kill, or right at it: of several readings the one with the
/// most in use, for after a kill the victim's memory goes.
fn reading(kill: &Kill, context: &Context<'_>) -> Option<CgroupMemory> {
    let path = kill.reported.limit.as_ref()?.cgroup.as_deref()?;
    let near = kill.at - PICTURE..=kill.at + SECOND;
    let read = context.evidence.pictures.iter().filter(|picture| near.contains(&picture.at)).filter_map(|picture| {
        let Event::Pressure(read) = &picture.line.event else { return None };
        let of_it = read.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()) == Some(path);
        let before = picture.at <= kill.at || read.scope == Some(PressureScope::Kill);
        (of_it && before).then_some(read)
    });
    let read = read.max_by_key(|read| read.usage_bytes)?;
    Some(CgroupMemory {
        anon_bytes: read.anon_bytes,
        file_bytes: read.file_bytes,
        shmem_bytes: read.shmem_bytes,
        inactive_file_bytes: read.inactive_file_bytes,
        kernel_bytes: read
            .slab_bytes
            .zip(read.kernel_stack_bytes)
            .map(|(slab, stacks)| slab + stacks + read.page_tables_bytes.unwrap_or(0)),
        slab_bytes: read.slab_bytes,
        sock_bytes: read.sock_bytes,
        ..CgroupMemory::default()
    })
}

/// How the swap of a cgroup stood when its limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Swap {
    /// It had some, and all of it was used.
    Full(u64),
    /// So much is in it, on cgroup v1, which counts it with the memory.
    InUse(u64),
    /// The node has some, and the cgroup may use none.
    NotAllowed,
    /// Nothing of note is known.
    Unknown,
}

impl Swap {
    /// On cgroup v2, where it has a limit of its own, and on v1 as far as it is worth a word.
    pub(in super::super) fn of(kill: &Kill) -> Self {
        if let Some(limit) = &kill.reported.limit
            && limit.swap_counter == Some(SwapCounter::MemoryAndSwap)
            && let (Some(memory), Some(both)) = (limit.usage_bytes, limit.swap_usage_bytes)
            && let Some(swap) = both.checked_sub(memory).filter(|swap| *swap > memory / 8)
        {
            return Self::InUse(swap);
        }
        let Some(limit) = kill.reported.limit.as_ref().filter(|limit| limit.swap_counter == Some(SwapCounter::Swap))
        else {
            return Self::Unknown;
        };
        let elsewhere = kill.reported.candidates.iter().flatten().map(|other| &other.memory);
        let node_swaps =
            elsewhere.chain([&kill.reported.victim.memory]).any(|memory| memory.swap_bytes.unwrap_or(0) > 0);
        match (limit.swap_usage_bytes, limit.swap_limit_bytes) {
            (_, Some(0)) if node_swaps => Self::NotAllowed,
            (Some(used), Some(most)) if most > 0 && used >= most => Self::Full(most),
            _ => Self::Unknown,
        }
    }
}
