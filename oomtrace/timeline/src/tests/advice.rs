//! What fills a limit decides what helps.

use oomtrace_model::{
    Cgroup, CgroupMemory, Confidence, Level, Limit, Memory, MemoryNode, OomKill, Scenario, SwapCounter, Verdict,
};

use super::world::{MIB, World, candidate, container, kill, pod, task, unnamed};

fn filled(memory: CgroupMemory) -> Verdict {
    let known = kill(pod('a'), container("app", '1'), Level::Container, 256);
    World::default().kill(0.0, OomKill { cgroup_memory: Some(memory), ..known }).incident().verdict
}

#[test]
fn what_fills_the_limit_decides_what_helps() {
    let most = Some(250 * MIB);
    let (anon, little) = (CgroupMemory { anon_bytes: most, ..CgroupMemory::default() }, Some(MIB));
    let rest = CgroupMemory { anon_bytes: little, ..anon };
    let shmem = CgroupMemory { file_bytes: most, shmem_bytes: most, ..rest };
    let slab = CgroupMemory { kernel_bytes: most, slab_bytes: Some(200 * MIB), ..rest };
    let cache = CgroupMemory { file_bytes: most, dirty_bytes: Some(90 * MIB), ..rest };
    let sockets = CgroupMemory { sock_bytes: most, ..rest };
    for (memory, has, lacks) in [
        (anon, "Anonymous memory (heaps, stacks) fills 250 MiB of the limit of 256 MiB", "tmpfs"),
        (shmem, "emptyDir of medium Memory", "heap"),
        (slab, "200 MiB of it slab", "heap"),
        (cache, "90 MiB of it waits to be written", "heap"),
        (sockets, "Buffers of sockets fill 250 MiB", "heap"),
    ] {
        let advice = filled(memory).advice;
        assert!(advice.contains(has) && !advice.contains(lacks), "{advice}");
        assert!(advice.contains("limit above 256 MiB"), "{advice}");
    }
}

#[test]
fn a_victim_cannot_have_held_more_than_the_limit_and_need_not_have_asked() {
    // Its file pages are charged to the cgroup that read them first.
    let mut known = kill(pod('a'), container("go", '1'), Level::Container, 20);
    known.victim.memory =
        Memory { rss_anon_bytes: Some(19 * MIB), rss_file_bytes: Some(23 * MIB), ..Memory::default() };
    known.trigger = task("nginx", 8);
    let verdict = World::default().kill(0.0, known).incident().verdict;
    assert_eq!(verdict.innocent, Some(true));
    assert!(verdict.advice.contains("fills 19 MiB of the limit of 20 MiB"), "{}", verdict.advice);
    assert!(!verdict.advice.contains("asked for more"), "{}", verdict.advice);
}

#[test]
fn a_number_to_act_on_is_given_where_what_was_seen_supports_one() {
    let at = |second: f64, id: char, world: &mut World| {
        world.kill(second, kill(pod('a'), container("app", id), Level::Container, 64));
    };
    let mut world = World::default();
    at(0.0, '1', &mut world);
    let once = world.incident().verdict;
    assert_eq!(once.suggested_limit_bytes, Some(80 * MIB));
    // It comes back soon: it needs more to work at all.
    at(60.0, '2', &mut world);
    let again = world.incident().verdict;
    assert_eq!(again.suggested_limit_bytes, Some(96 * MIB));
    let basis = again.suggested_limit_basis.expect("a basis");
    assert!(basis.contains("64 MiB") && basis.contains("twice within 60 s"), "{basis}");
    // What is in swap is used, too.
    let known = kill(pod('a'), container("app", '1'), Level::Container, 64);
    let limit = Limit {
        swap_usage_bytes: Some(64 * MIB),
        swap_limit_bytes: Some(64 * MIB),
        swap_counter: Some(SwapCounter::Swap),
        ..known.limit.clone().expect("a limit")
    };
    let swapped = World::default().kill(0.0, OomKill { limit: Some(limit), ..known }).incident().verdict;
    assert_eq!(swapped.suggested_limit_bytes, Some(160 * MIB));
    assert!(swapped.summary.contains("its swap of 64 MiB was full, too"), "{}", swapped.summary);
    // Whose limit it was is not known; or it was not a container's.
    let unknown = OomKill { limit: None, ..kill(pod('a'), unnamed('1'), Level::Container, 64) };
    assert_eq!(World::default().kill(0.0, unknown).incident().verdict.suggested_limit_bytes, None);
    let node = kill(pod('a'), unnamed('1'), Level::Node, 64);
    assert_eq!(World::default().kill(0.0, node).incident().verdict.suggested_limit_bytes, None);
}

#[test]
fn a_container_whose_runtime_was_killed_first_never_started() {
    let mut known = kill(pod('a'), container("app", '1'), Level::Container, 15);
    known.victim.task.comm = Some("runc:[2:INIT]".to_owned());
    let verdict = World::default().kill(0.0, known).incident().verdict;
    assert!(verdict.summary.contains("the container never started"), "{}", verdict.summary);
    assert!(verdict.advice.starts_with("The limit is too low to start"), "{}", verdict.advice);
    assert_eq!(verdict.suggested_limit_bytes, None, "what its program needs was not seen");
}

#[test]
fn part_of_a_node_that_is_full_is_not_the_node() {
    let node = |id, mib: u64| MemoryNode { id, free_bytes: mib * MIB, managed_bytes: None };
    let bound = |constraint: &str| OomKill {
        constraint: Some(constraint.to_owned()),
        cpuset: Some("numa1".to_owned()),
        mems_allowed: Some("1".to_owned()),
        nodemask: Some("1,3".to_owned()),
        memory_nodes: vec![node(0, 700), node(1, 1), node(2, 300), node(3, 100)],
        ..kill(pod('a'), unnamed('1'), Level::Node, 64)
    };
    let of = |constraint: &str| World::default().kill(0.0, bound(constraint)).incident().verdict;
    let cpuset = of("CPUSET");
    assert_eq!((cpuset.scenario, cpuset.confidence), (Scenario::SystemOom, Confidence::High));
    assert!(
        cpuset.summary.contains(
            "no memory was left on NUMA node 1, which is all that cpuset numa1 allows; 1 GiB were free on other memory nodes"
        ),
        "{}",
        cpuset.summary
    );
    assert!(cpuset.advice.contains("cpuset.mems") && !cpuset.advice.contains("system-reserved"), "{}", cpuset.advice);
    assert_eq!(cpuset.heading, "OOM kill: no memory left on the nodes of a cpuset");
    let policy = of("MEMORY_POLICY");
    assert!(
        policy.summary.contains("on NUMA nodes 1,3, which is all that a memory policy allows"),
        "{}",
        policy.summary
    );
    assert!(policy.advice.contains("numactl --preferred"), "{}", policy.advice);
}

#[test]
fn who_used_most_is_found_where_only_the_sum_of_each_process_is_known() {
    let sum = |comm: &str, pid, mib: u64| {
        let mut known = candidate(comm, pid, 0, None);
        known.memory = Memory { rss_bytes: Some(mib * MIB), ..Memory::default() };
        known
    };
    let oom = OomKill {
        candidates: Some(vec![sum("app", 7, 200), sum("hog", 9, 3072)]),
        ..kill(pod('a'), unnamed('1'), Level::Kubepods, 4096)
    };
    let verdict = World::default().kill(0.0, oom).incident().verdict;
    assert!(verdict.summary.contains("hog used most (3 GiB against the victim's 200 MiB)"), "{}", verdict.summary);
}

#[test]
fn a_host_without_kubernetes_hears_nothing_of_it() {
    let cgroup = Cgroup { path: Some("/docker/1".to_owned()), ..Cgroup::default() };
    let docker = OomKill { pod: None, cgroup: Some(cgroup), ..kill(pod('a'), unnamed('1'), Level::Container, 256) };
    let mut world = World::default();
    let verdict = world.kill(0.0, docker.clone()).incident().verdict;
    assert!(verdict.kubernetes_shows.is_empty());
    let all = format!("{} {} {:?}", verdict.summary, verdict.advice, verdict.missing).to_lowercase();
    for word in ["kube", "pod", "emptydir"] {
        assert!(!all.contains(word), "{word}: {all}");
    }
    // A group of the node's own, by its path.
    let cgroup = Cgroup { path: Some("/mygroup".to_owned()), ..Cgroup::default() };
    let own = OomKill { container: None, cgroup: Some(cgroup), ..docker.clone() };
    let limit =
        Limit { cgroup: Some("/mygroup".to_owned()), level: Some(Level::Other), ..own.limit.clone().expect("one") };
    let verdict = World::default().kill(0.0, OomKill { limit: Some(limit), ..own }).incident().verdict;
    assert_eq!(
        (verdict.scenario, verdict.heading.as_str()),
        (Scenario::OtherLimit, "OOM kill: over the limit of a cgroup")
    );
    assert!(verdict.summary.contains("in cgroup /mygroup because that cgroup hit its"), "{}", verdict.summary);
    // With a kubelet on the node it is one of Kubernetes.
    world.kubelet_speaks(1.0);
    assert!(!world.incidents()[0].verdict.kubernetes_shows.is_empty());
}

#[test]
fn a_pods_limit_that_a_resize_left_behind_is_named() {
    let mut world = World::default();
    world.file_says('a', &[("app", Some(128))]).kill(0.0, kill(pod('a'), unnamed('1'), Level::Pod, 64));
    let advice = world.incident().verdict.advice;
    assert!(advice.contains("add up to 128 MiB, and the pod's cgroup still has 64 MiB"), "{advice}");
}
