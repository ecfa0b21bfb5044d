//! Where a log tells less than it seems to.

use oomtrace_model::{
    Candidate, Confidence, Container, Event, Level, Limit, OomKill, PanicOnOom, Scenario, Source, SwapCounter, Task,
};

use super::world::{MIB, World, candidate, container, kill, pod, task, unnamed};

#[test]
fn what_kubernetes_shows_is_not_claimed_of_a_kill_that_was_nobody_knows_where() {
    let alone = OomKill { pod: None, container: None, limit: None, ..kill(pod('a'), unnamed('1'), Level::Node, 64) };
    let shows = |kill: OomKill| World::default().kill(0.0, kill).incident().verdict.kubernetes_shows.join("");
    assert_eq!(shows(alone.clone()), "OOMKilled 137, if it was in a container");
    assert_eq!(shows(OomKill { pod: Some(pod('a')), ..alone }), "OOMKilled 137");
}

#[test]
fn processes_of_one_program_with_scores_of_their_own_are_not_of_two_containers() {
    let scored = |pid, score| {
        let known = candidate("chrome", pid, 10, None);
        Candidate { task: Task { oom_score_adj: Some(score), ..known.task }, ..known }
    };
    let at_pod = kill(pod('a'), Container::default(), Level::Pod, 64);
    let kill = OomKill { container: None, candidates: Some(vec![scored(7, 300), scored(8, 200)]), ..at_pod };
    let verdict = World::default().kill(0.0, kill).incident().verdict;
    assert_eq!(verdict.confidence, Confidence::Medium);
}

#[test]
fn a_limit_of_memory_with_swap_is_named_where_memory_alone_had_room() {
    let known = kill(pod('a'), container("app", '1'), Level::Container, 64);
    let limit = Limit {
        usage_bytes: Some(60 * MIB),
        swap_usage_bytes: Some(80 * MIB),
        swap_limit_bytes: Some(80 * MIB),
        swap_counter: Some(SwapCounter::MemoryAndSwap),
        ..known.limit.clone().expect("a limit")
    };
    let verdict = World::default().kill(0.0, OomKill { limit: Some(limit), ..known }).incident().verdict;
    assert!(verdict.summary.contains("memory+swap limit of 80 MiB"), "{}", verdict.summary);
    assert!(verdict.advice.contains("above 80 MiB"), "{}", verdict.advice);
}

#[test]
fn a_panic_without_anybody_to_kill_is_not_laid_to_the_sysctl() {
    let panic = PanicOnOom {
        pod: None,
        container: None,
        cgroup: None,
        trigger: task("app", 7),
        limit: kill(pod('a'), unnamed('1'), Level::Node, 64).limit,
        panic_on_oom: 0,
    };
    let mut world = World::default();
    world.tell(0.0, Source::Kmsg, Event::PanicOnOom(Box::new(panic)));
    let verdict = world.incident().verdict;
    assert_eq!(verdict.scenario, Scenario::SystemOom);
    assert!(verdict.summary.contains("no process was left that it may kill"), "{}", verdict.summary);
}
