//! Sums that add up, of figures of real nodes.

use super::*;

fn adds_up(sum: &Sum) {
    assert_eq!(sum.parts.iter().map(|part| part.bytes).sum::<i64>(), sum.bytes, "{sum:?}");
}

fn part(sum: &Sum, name: &str) -> Option<i64> {
    sum.parts.iter().find(|part| part.name == name).map(|part| part.bytes)
}

/// The process and the cgroup of the article about a .NET program of 2,000 MiB in a limit of 3,000 MiB.
fn article() -> (CgroupMemory, Vec<ProcessMemory>) {
    let stat = "anon 2130006016\nfile 0\nfile_mapped 0\nshmem 0\nactive_file 0\ninactive_file 0\nkernel 5840896\npagetables 4136960\nsock 0\n";
    let cgroup = CgroupMemory {
        usage_bytes: Some(2_135_846_912),
        limit_bytes: Some(3000 << 20),
        stat: Stat::parse(stat, 2).expect("a stat"),
        ..CgroupMemory::default()
    };
    let process = Process { pid: 1, anon_bytes: 2_080_024 << 10, file_bytes: 25_228 << 10, ..Process::default() };
    (cgroup, vec![ProcessMemory { process, rollup: None }])
}

#[test]
fn the_articles_figures_add_up_and_what_it_left_unexplained_is_the_kernels() {
    let (cgroup, processes) = article();
    assert_eq!(cgroup.working_set_bytes(), Some(2_135_846_912), "no page cache: the working set is all of it");
    let sum = usage(&cgroup).expect("a sum");
    adds_up(&sum);
    let kernel = part(&sum, "pagetables").unwrap_or(0) + part(&sum, "other kernel").unwrap_or(0);
    assert_eq!(kernel, 2_135_846_912 - 2_130_006_016, "5.57 MiB of kernel memory");
    let sum = resident_to_usage(&cgroup, &processes).expect("a sum");
    adds_up(&sum);
    assert_eq!(part(&sum, "resident memory of all processes"), Some(2_105_252 << 10));
    assert_eq!(
        part(&sum, "mapped files, counted otherwise"),
        Some(-(25_228 << 10)),
        "its libraries are charged elsewhere"
    );
}

#[test]
fn usage_is_anon_file_kernel_and_sock_and_the_rest_is_in_flight() {
    let stat = "anon 1000\nfile 900\nfile_mapped 100\nshmem 300\nactive_file 200\ninactive_file 390\nkernel 500\nslab 100\n\
                kernel_stack 50\npagetables 60\npercpu 40\nvmalloc 10\nsock 70\n";
    let cgroup = CgroupMemory {
        usage_bytes: Some(1000 + 900 + 500 + 70 + 64 * 4096),
        stat: Stat::parse(stat, 2).expect("a stat"),
        ..CgroupMemory::default()
    };
    let sum = usage(&cgroup).expect("a sum");
    adds_up(&sum);
    assert_eq!(part(&sum, "in flight"), Some(64 * 4096), "the stock of one processor");
    assert_eq!((part(&sum, "other of file"), part(&sum, "other kernel")), (Some(10), Some(240)));
    let sum = working_set(&cgroup).expect("a sum");
    adds_up(&sum);
    assert_eq!(part(&sum, "inactive_file"), Some(-390));
    adds_up(&of_containers(&cgroup, &[("app".to_owned(), 1500), ("(sandbox)".to_owned(), 200)]).expect("a sum"));
}

#[test]
fn on_cgroup_v1_the_kernels_memory_is_what_is_left() {
    let stat = "cache 1\ntotal_cache 800\ntotal_rss 1000\ntotal_shmem 100\ntotal_active_file 300\ntotal_inactive_file 400\n\
                total_mapped_file 50\n";
    let cgroup = CgroupMemory {
        usage_bytes: Some(2000),
        stat: Stat::parse(stat, 1).expect("a stat"),
        ..CgroupMemory::default()
    };
    let sum = usage(&cgroup).expect("a sum");
    adds_up(&sum);
    assert_eq!(part(&sum, "kernel and in flight"), Some(200));
    assert!(of_cgroup(&cgroup, &[], 1).iter().any(|lens| lens.from == "memory.usage_in_bytes"));
}

#[test]
fn shared_pages_are_counted_in_each_process_that_maps_them() {
    let (_, mut processes) = article();
    assert_eq!(shared(&processes), None, "where the rollup may not be read");
    processes[0].rollup = Some(Rollup { rss_bytes: 100, pss_bytes: 60, uss_bytes: 40, swap_bytes: 0 });
    processes.push(processes[0].clone());
    let sum = shared(&processes).expect("a sum");
    adds_up(&sum);
    assert_eq!(part(&sum, "shared pages, counted again"), Some(80));
}

/// A node with 1,973 MiB, in one instant.
const MEMINFO: &str = "MemTotal: 2020528 kB\nMemFree: 1552560 kB\nMemAvailable: 1721520 kB\nBuffers: 10000 kB\nCached: 290000 kB\n\
    SwapCached: 0 kB\nAnonPages: 80896 kB\nShmem: 8192 kB\nSlab: 50000 kB\nSReclaimable: 15000 kB\nKernelStack: 2000 kB\n\
    PageTables: 1500 kB\nPercpu: 700 kB\nHugetlb: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";

#[test]
fn every_tool_counts_the_node_otherwise_and_the_sums_say_how() {
    let memory = NodeMemory::parse(MEMINFO).expect("meminfo");
    let stat =
        format!("anon {}\nfile {}\ninactive_file {}\nactive_file 0\n", 80_896 << 10, 300_000 << 10, 145_000 << 10);
    let root = CgroupMemory { stat: Stat::parse(&stat, 2).expect("a stat"), ..CgroupMemory::default() }.of_root();
    adds_up(&node_usage(&memory).expect("a sum"));
    adds_up(&kubelet_to_node(&root, &memory).expect("a sum"));
    let lenses = of_node(&memory, Some(&root), None);
    let bytes = |name: &str| lenses.iter().find(|lens| lens.name == name).map(|lens| lens.bytes >> 10);
    assert_eq!(bytes("not free"), Some(467_968));
    assert_eq!(bytes("free: used"), Some(299_008));
    assert_eq!(bytes("free: used, older"), Some(467_968 - 315_000));
    assert_eq!(bytes("kubelet: usage"), Some(380_896));
    assert_eq!(bytes("kubelet: working set"), Some(235_896));
    let stat = Stat { kernel_bytes: Some(1 << 20), inactive_file_bytes: Some(0), ..Stat::default() };
    let kubepods = CgroupMemory { usage_bytes: Some(6 << 20), stat, ..CgroupMemory::default() };
    let sum = pods_to_node(5 << 20, &kubepods, &root).expect("a sum");
    adds_up(&sum);
    assert_eq!(part(&sum, "kubepods' own"), Some(1 << 20));
}

#[test]
fn kubectl_top_shows_percent_of_allocatable() {
    // The article's: 17 %, 72 % and 127 % of 4,675,304Ki.
    assert_eq!(top_percent(838_124 << 10, 4_675_304 << 10), Some(17));
    assert_eq!(top_percent(3_367_460 << 10, 4_675_304 << 10), Some(72));
    assert_eq!(top_percent(6_120_328_396, 4565 << 20), Some(127));
    assert_eq!(top_percent(1, 0), None);
}
