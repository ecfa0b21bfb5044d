//! The same memory through every lens, and sums that lead from one figure to the other. Every part of a difference has a name.

use serde::Serialize;

use super::{
    budget::{difference, together},
    cgroup_files::{CgroupMemory, NodeMemory, Stat},
    processes::{Process, Rollup},
};

/// A figure, what it counts, and where it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lens {
    /// What it is called, and by whom.
    pub name: &'static str,
    /// In bytes.
    pub bytes: u64,
    /// What it counts.
    pub counts: &'static str,
    /// Where it is read.
    pub from: &'static str,
}

/// A figure as the sum of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// What the sum explains.
    pub title: &'static str,
    /// What the parts add up to.
    pub name: &'static str,
    /// In bytes: the parts together, exactly.
    pub bytes: i64,
    /// The parts.
    pub parts: Vec<Part>,
}

/// A part of a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is called.
    pub name: String,
    /// In bytes; below zero for what is subtracted.
    pub bytes: i64,
    /// What it is.
    pub what: &'static str,
}

/// A process with what its pages are shared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessMemory {
    /// By `/proc/PID/status`.
    #[serde(flatten)]
    pub process: Process,
    /// By `/proc/PID/smaps_rollup`; `null` where that may not be read.
    pub rollup: Option<Rollup>,
}

/// The pages that a processor may hold charged in advance (`MEMCG_CHARGE_BATCH`, `mm/memcontrol.c`).
pub const STOCK_PAGES: u64 = 64;

fn signed(bytes: u64) -> i64 {
    difference(bytes, 0)
}

/// Collects the parts of a sum, and at last what is left of it.
struct Parts {
    left: i64,
    parts: Vec<Part>,
}

impl Parts {
    fn of(total: u64) -> Self {
        Self { left: signed(total), parts: Vec::new() }
    }

    fn add(&mut self, name: impl Into<String>, bytes: i64, what: &'static str) {
        self.left = self.left.saturating_sub(bytes);
        self.parts.push(Part { name: name.into(), bytes, what });
    }

    /// A part that is known; nothing where it is not, or is 0.
    fn known(&mut self, name: &str, bytes: Option<u64>, what: &'static str) {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
            self.add(name, signed(bytes), what);
        }
    }

    /// The sum, with what is left named.
    fn rest(mut self, (title, name): (&'static str, &'static str), total: u64, rest: &str, what: &'static str) -> Sum {
        if self.left != 0 {
            self.add(rest, self.left, what);
        }
        Sum { title, name, bytes: signed(total), parts: self.parts }
    }
}

/// Page cache that is neither on the lists of files nor shared memory.
fn other_file(stat: &Stat) -> Option<i64> {
    let listed = together([stat.active_file_bytes?, stat.inactive_file_bytes?, stat.shmem_bytes.unwrap_or(0)]);
    Some(difference(stat.file_bytes?, listed)).filter(|bytes| *bytes != 0)
}

/// Memory of files, in parts that add up to `file`.
fn files(parts: &mut Parts, stat: &Stat, inactive: bool) {
    parts.known("active_file", stat.active_file_bytes, "page cache used more than once; the working set has it");
    if inactive {
        parts.known("inactive_file", stat.inactive_file_bytes, "page cache used once; the working set lacks it");
    }
    parts.known("shmem", stat.shmem_bytes, "shared memory and tmpfs: volumes of memory; only swap frees it");
    if let Some(bytes) = other_file(stat) {
        parts.add("other of file", bytes, "isolated, unevictable, or moved between lists meanwhile");
    }
}

/// The kernel's memory, in parts that add up to `kernel`; before 5.18 the parts that are named.
fn kernel(parts: &mut Parts, stat: &Stat) {
    let named = [
        ("slab", stat.slab_bytes, "the kernel's objects: dentries, inodes, sockets' structures"),
        ("kernel_stack", stat.kernel_stack_bytes, "the kernel's stacks, 16 KiB a thread"),
        ("pagetables", stat.page_tables_bytes, "page tables of processes; of huge pages one is kept in reserve"),
        ("sec_pagetables", stat.sec_page_tables_bytes, "page tables of virtual machines"),
        ("percpu", stat.percpu_bytes, "the kernel's data for each processor"),
        ("vmalloc", stat.vmalloc_bytes, "the kernel's larger areas"),
    ];
    let sum = together(named.iter().filter_map(|(_, bytes, _)| *bytes));
    for (name, bytes, what) in named {
        parts.known(name, bytes, what);
    }
    if let Some(kernel) = stat.kernel_bytes {
        let other = difference(kernel, sum);
        if other != 0 {
            // cgroup v1 names no part of it.
            let name = if sum == 0 { "kernel" } else { "other kernel" };
            parts.add(name, other, "kernel memory that memory.stat does not name, zswap's pool among it");
        }
    }
}

const IN_FLIGHT: &str =
    "charged in advance (up to 64 pages a processor), not yet counted, or changed between two reads";

/// `memory.current`, or v1's usage, in its parts.
#[must_use]
pub fn usage(cgroup: &CgroupMemory) -> Option<Sum> {
    let total = cgroup.usage_bytes?;
    let stat = &cgroup.stat;
    let mut parts = Parts::of(total);
    parts.known("anon", stat.anon_bytes, "heaps, stacks: what has no file behind it");
    files(&mut parts, stat, true);
    kernel(&mut parts, stat);
    parts.known("sock", stat.sock_bytes, "buffers of sockets");
    let rest = if stat.kernel_bytes.is_some() { "in flight" } else { "kernel and in flight" };
    Some(parts.rest(("usage, by what it is", "usage"), total, rest, IN_FLIGHT))
}

/// The working set in its parts: what of use the kubelet counts.
#[must_use]
pub fn working_set(cgroup: &CgroupMemory) -> Option<Sum> {
    let total = cgroup.working_set_bytes()?;
    let stat = &cgroup.stat;
    let mut parts = Parts::of(total);
    parts.add("usage", signed(cgroup.usage_bytes?), "all that is charged");
    parts.add("inactive_file", signed(stat.inactive_file_bytes?).saturating_neg(), "page cache used once");
    Some(parts.rest(("the working set", "working set"), total, "below zero", "more inactive than used: 0"))
}

/// From the resident memory of a cgroup's processes to its use.
#[must_use]
pub fn resident_to_usage(cgroup: &CgroupMemory, processes: &[ProcessMemory]) -> Option<Sum> {
    let total = cgroup.usage_bytes?;
    let stat = &cgroup.stat;
    let of = |bytes: fn(&Process) -> u64| together(processes.iter().map(|process| bytes(&process.process)));
    let mapped = stat.file_mapped_bytes?;
    let mut parts = Parts::of(total);
    parts.add("resident memory of all processes", signed(of(Process::resident_bytes)), "RES of top and htop, VmRSS");
    let anon = difference(stat.anon_bytes?, of(|process| process.anon_bytes));
    if anon != 0 {
        parts.add("anonymous, counted otherwise", anon, "shared after fork and counted in each, or changed meanwhile");
    }
    let files = difference(mapped, of(Process::shared_bytes));
    if files != 0 {
        let what = if files < 0 {
            "pages of files that several map and each counts, or that are charged to another cgroup"
        } else {
            "mapped pages of processes that have ended, or changed meanwhile"
        };
        parts.add("mapped files, counted otherwise", files, what);
    }
    let unmapped = difference(stat.file_bytes?, mapped);
    parts.add("page cache that nobody maps", unmapped, "files read and written, tmpfs");
    parts.known("kernel", stat.kernel_bytes, "slab, stacks, page tables and other memory of the kernel");
    parts.known("sock", stat.sock_bytes, "buffers of sockets");
    let rest = if stat.kernel_bytes.is_some() { "in flight" } else { "kernel and in flight" };
    Some(parts.rest(("from the memory of processes to usage", "usage"), total, rest, IN_FLIGHT))
}

/// From USS over PSS to the resident memory of processes; `None` where one may not be read.
#[must_use]
pub fn shared(processes: &[ProcessMemory]) -> Option<Sum> {
    let rollups: Vec<Rollup> = processes.iter().map(|process| process.rollup).collect::<Option<_>>()?;
    let of = |bytes: fn(&Rollup) -> u64| together(rollups.iter().map(bytes));
    let (uss, pss, rss) = (of(|rollup| rollup.uss_bytes), of(|rollup| rollup.pss_bytes), of(|rollup| rollup.rss_bytes));
    if processes.is_empty() {
        return None;
    }
    let mut parts = Parts::of(rss);
    parts.add("USS", signed(uss), "mapped by one process alone: what its end frees");
    parts.add("shared pages, divided", difference(pss, uss), "each divided by how many map it; with it, PSS");
    parts.add("shared pages, counted again", difference(rss, pss), "counted whole in each process that maps them");
    Some(parts.rest(
        ("what processes share", "resident memory of all processes"),
        rss,
        "rest",
        "changed between two reads",
    ))
}

/// A pod's use as its containers' and its own.
#[must_use]
pub fn of_containers(pod: &CgroupMemory, containers: &[(String, u64)]) -> Option<Sum> {
    let total = pod.usage_bytes?;
    let mut parts = Parts::of(total);
    for (name, bytes) in containers {
        parts.add(name.clone(), signed(*bytes), "a container's use");
    }
    Some(parts.rest(
        ("from containers to usage", "usage"),
        total,
        "the pod's own",
        "volumes of memory that outlived a container, ended containers, in flight",
    ))
}

/// What the node uses, `MemTotal` less `MemFree`, in its parts.
#[must_use]
pub fn node_usage(memory: &NodeMemory) -> Option<Sum> {
    let total = memory.total_bytes?.checked_sub(memory.free_bytes?)?;
    let mut parts = Parts::of(total);
    parts.known("AnonPages", memory.anon_bytes, "heaps, stacks: what has no file behind it");
    let shmem = memory.shmem_bytes.unwrap_or(0);
    parts.known(
        "Cached less Shmem",
        memory.cached_bytes.map(|cached| cached.saturating_sub(shmem)),
        "page cache of files",
    );
    parts.known("Shmem", memory.shmem_bytes, "shared memory and tmpfs");
    parts.known("Buffers", memory.buffers_bytes, "page cache of block devices");
    parts.known("SwapCached", memory.swap_cached_bytes, "in swap and in memory");
    parts.known("Slab", memory.slab_bytes, "the kernel's objects");
    parts.known("KernelStack", memory.kernel_stack_bytes, "the kernel's stacks");
    parts.known("PageTables", memory.page_tables_bytes, "page tables of processes");
    parts.known("SecPageTables", memory.sec_page_tables_bytes, "page tables of virtual machines");
    parts.known("Percpu", memory.percpu_bytes, "the kernel's data for each processor");
    parts.known("Hugetlb", memory.hugetlb_bytes, "kept for huge pages, used or not");
    Some(parts.rest(
        ("what is not free, by what it is", "MemTotal less MemFree"),
        total,
        "not named",
        "drivers and other kernel memory that /proc/meminfo does not name",
    ))
}

/// From the kubelet's working set of the node to what the kernel says is in use.
#[must_use]
pub fn kubelet_to_node(root: &CgroupMemory, memory: &NodeMemory) -> Option<Sum> {
    let total = memory.total_bytes?.checked_sub(memory.free_bytes?)?;
    let mut parts = Parts::of(total);
    parts.add("the kubelet's working set of the node", signed(root.working_set_bytes()?), "kubectl top node");
    parts.known("inactive_file", root.stat.inactive_file_bytes, "page cache used once");
    let named = [
        ("Slab", memory.slab_bytes),
        ("KernelStack", memory.kernel_stack_bytes),
        ("PageTables", memory.page_tables_bytes),
        ("Percpu", memory.percpu_bytes),
        ("Hugetlb", memory.hugetlb_bytes),
    ];
    for (name, bytes) in named {
        parts.known(name, bytes, "not in the kubelet's use of the node");
    }
    Some(parts.rest(
        ("from the kubelet's working set to what is not free", "MemTotal less MemFree"),
        total,
        "not named",
        "other kernel memory, and what changed between two reads",
    ))
}

/// From pods' working sets to that of the node.
#[must_use]
pub fn pods_to_node(pods: u64, kubepods: &CgroupMemory, root: &CgroupMemory) -> Option<Sum> {
    let total = root.working_set_bytes()?;
    let of_kubepods = kubepods.working_set_bytes()?;
    let mut parts = Parts::of(total);
    parts.add("working sets of all pods", signed(pods), "each of its pod's cgroup");
    parts.add("kubepods' own", difference(of_kubepods, pods), "ended pods whose pages are still charged, in flight");
    let kernel = together([kubepods.stat.kernel_bytes, kubepods.stat.sock_bytes].into_iter().flatten());
    parts.add("kernel memory of pods", signed(kernel).saturating_neg(), "in pods' figures, not in the node's");
    Some(parts.rest(
        ("from pods to the node's working set", "the node's working set"),
        total,
        "outside of pods",
        "system services, the kubelet, the runtime, page cache of images",
    ))
}

/// The figures of a cgroup and its processes.
#[must_use]
pub fn of_cgroup(cgroup: &CgroupMemory, processes: &[ProcessMemory], version: u8) -> Vec<Lens> {
    let stat = &cgroup.stat;
    let v1 = version == 1;
    let file = |v2, on_v1| if v1 { on_v1 } else { v2 };
    let sum = |bytes: fn(&Process) -> u64| Some(together(processes.iter().map(|process| bytes(&process.process))));
    let rollups = |bytes: fn(&Rollup) -> u64| {
        let rollups: Option<Vec<Rollup>> = processes.iter().map(|process| process.rollup).collect();
        rollups.map(|rollups| together(rollups.iter().map(bytes)))
    };
    let stat_file = "memory.stat";
    let all = [
        (
            "usage",
            cgroup.usage_bytes,
            "all that is charged; what the limit limits",
            file("memory.current", "memory.usage_in_bytes"),
        ),
        (
            "working set",
            cgroup.working_set_bytes(),
            "usage less inactive_file; kubelet, cAdvisor, kubectl top",
            "computed",
        ),
        ("peak", cgroup.peak_bytes, "the most that usage ever was", file("memory.peak", "memory.max_usage_in_bytes")),
        (
            "RSS of the cgroup",
            stat.anon_bytes,
            "anonymous memory alone; container_memory_rss",
            file("memory.stat anon", "memory.stat total_rss"),
        ),
        (
            "page cache",
            stat.file_bytes,
            "files, shared memory and tmpfs; container_memory_cache",
            file("memory.stat file", "memory.stat total_cache"),
        ),
        ("  active", stat.active_file_bytes, "used more than once; freed before any OOM kill", stat_file),
        ("  inactive", stat.inactive_file_bytes, "used once; not in the working set", stat_file),
        ("  shared and tmpfs", stat.shmem_bytes, "volumes of memory, shared memory: not freed", stat_file),
        ("mapped files", stat.file_mapped_bytes, "page cache that processes map", stat_file),
        (
            "kernel",
            stat.kernel_bytes,
            "all of the kernel's memory for it",
            file("memory.stat kernel", "memory.kmem.usage_in_bytes"),
        ),
        ("  slab", stat.slab_bytes, "the kernel's objects", stat_file),
        ("  stacks", stat.kernel_stack_bytes, "the kernel's stacks", stat_file),
        ("  page tables", stat.page_tables_bytes, "of its processes", stat_file),
        ("sockets", stat.sock_bytes, "buffers of sockets", stat_file),
        ("swap", cgroup.swap_bytes, "in swap; not in usage", file("memory.swap.current", "memory.stat total_swap")),
        (
            "RES of processes",
            sum(Process::resident_bytes),
            "resident, shared pages in each; htop, top, ps",
            "/proc/PID/status VmRSS",
        ),
        ("  SHR", sum(Process::shared_bytes), "of it what could be shared: files, shared memory", "/proc/PID/status"),
        (
            "PSS of processes",
            rollups(|rollup| rollup.pss_bytes),
            "resident, each page divided by who maps it",
            "/proc/PID/smaps_rollup",
        ),
        (
            "USS of processes",
            rollups(|rollup| rollup.uss_bytes),
            "mapped by one process alone",
            "/proc/PID/smaps_rollup",
        ),
    ];
    let lens = |(name, bytes, counts, from): (_, Option<u64>, _, _)| Some(Lens { name, bytes: bytes?, counts, from });
    all.into_iter().filter_map(lens).collect()
}

/// The figures of the node.
#[must_use]
pub fn of_node(memory: &NodeMemory, root: Option<&CgroupMemory>, kubepods: Option<&CgroupMemory>) -> Vec<Lens> {
    let minus = |all: Option<u64>, part: Option<u64>| all.zip(part).and_then(|(all, part)| all.checked_sub(part));
    let cache = free_cache(memory);
    let page_cache = minus(
        memory.cached_bytes.zip(memory.slab_reclaimable_bytes).map(|(cached, slab)| cached.saturating_add(slab)),
        memory.shmem_bytes,
    );
    let (total, free, meminfo) = (memory.total_bytes, memory.free_bytes, "/proc/meminfo");
    let all = [
        ("total", total, "RAM less what the kernel took at boot; node's capacity, machine_memory_bytes", meminfo),
        ("not free", minus(total, free), "MemTotal less MemFree: all that is in use, page cache too", meminfo),
        (
            "free: used",
            minus(total, memory.available_bytes),
            "MemTotal less MemAvailable (procps 4.0.2 and later)",
            meminfo,
        ),
        (
            "free: used, older",
            minus(minus(total, free), cache),
            "total less free less buff/cache (procps to 3.3.17)",
            meminfo,
        ),
        ("free: buff/cache", cache, "Buffers, Cached and SReclaimable", meminfo),
        ("free: available", memory.available_bytes, "MemAvailable: what can be had without swapping", meminfo),
        ("htop: used", minus(minus(total, free), cache), "the green bar; tmpfs is not in it", meminfo),
        ("htop: shared", memory.shmem_bytes, "Shmem", meminfo),
        ("htop: cache", page_cache, "Cached and SReclaimable less Shmem", meminfo),
        (
            "kubelet: usage",
            root.and_then(|root| root.usage_bytes),
            "no kernel memory on cgroup v2",
            "the root's memory.stat anon and file",
        ),
        (
            "kubelet: working set",
            root.and_then(CgroupMemory::working_set_bytes),
            "usage less inactive_file; kubectl top node",
            "computed",
        ),
        (
            "kubelet: RSS",
            root.and_then(|root| root.stat.anon_bytes),
            "anonymous memory alone",
            "the root's memory.stat anon",
        ),
        (
            "kubepods: usage",
            kubepods.and_then(|pods| pods.usage_bytes),
            "all pods, their kernel memory too",
            "kubepods' memory.current",
        ),
        (
            "kubepods: working set",
            kubepods.and_then(CgroupMemory::working_set_bytes),
            "what eviction for allocatable looks at",
            "computed",
        ),
        ("swap", minus(memory.swap_total_bytes, memory.swap_free_bytes), "in swap", meminfo),
    ];
    let lens = |(name, bytes, counts, from): (_, Option<u64>, _, _)| Some(Lens { name, bytes: bytes?, counts, from });
    all.into_iter().filter_map(lens).collect()
}

/// `free`'s `buff/cache`.
#[must_use]
pub fn free_cache(memory: &NodeMemory) -> Option<u64> {
    Some(together([memory.buffers_bytes?, memory.cached_bytes?, memory.slab_reclaimable_bytes?]))
}

/// The percentage that `kubectl top node` shows: of what is allocatable, so that it can be over 100.
#[must_use]
pub fn top_percent(working_set_bytes: u64, allocatable_bytes: u64) -> Option<u64> {
    // `int64(100 * usage / available)`, with one fraction.
    working_set_bytes.checked_mul(100)?.checked_div(allocatable_bytes)
}

#[cfg(test)]
mod tests;
