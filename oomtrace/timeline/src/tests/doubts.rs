//! Where a log tells less than it seems to.

use oomtrace_model::{
    Candidate, Confidence, Container, ContainerAction, Event, Level, Limit, Lost, LostFrom, OomKill, PanicOnOom,
    Scenario, Source, SwapCounter, Task,
};

use super::world::{MIB, World, candidate, change, container, kill, pod, task, unnamed};
use crate::{Background, Keep, Timeline};

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

#[test]
fn a_loss_at_the_time_of_an_incident_lowers_what_is_claimed_of_it() {
    let mut world = World::default();
    let lost = |from| Event::Lost(Lost::new(from, 3));
    world.kill(0.0, kill(pod('a'), container("app", '1'), Level::Container, 64));
    world.kill(10.0, kill(pod('a'), container("app", '3'), Level::Container, 64));
    world.kill(500.0, kill(pod('b'), container("app", '2'), Level::Container, 64));
    world.tell(600.0, Source::Oomtrace, lost(LostFrom::Stdout));
    let confidences =
        |world: &World| world.incidents().iter().map(|incident| incident.verdict.confidence).collect::<Vec<_>>();
    assert_eq!(confidences(&world), [Confidence::High, Confidence::High], "what was not printed was known");

    world.tell(12.0, Source::Oomtrace, lost(LostFrom::Ring));
    world.tell(13.0, Source::Oomtrace, lost(LostFrom::Ring));
    assert_eq!(confidences(&world), [Confidence::Medium, Confidence::High], "the other one was minutes later");
    let verdict = &world.incidents()[0].verdict;
    assert!(verdict.summary.contains("the first of at least 2 kills"), "{}", verdict.summary);
    let missing = "whether there was more: 6 records of the probes found the ring buffer full at the time";
    assert!(verdict.missing.iter().any(|what| what == missing), "{:?}", verdict.missing);
}

#[test]
fn what_runtimes_notice_of_a_limit_of_v1_above_their_containers_is_no_kill_of_its_own() {
    // As recorded on a node with cgroup v1: containerd reports a TaskOOM of the sandbox when the pod's limit is hit.
    let at_limit = |level| {
        let known = kill(pod('a'), container("app", '1'), level, 64);
        let limit = Limit { swap_counter: Some(SwapCounter::MemoryAndSwap), ..known.limit.clone().expect("a limit") };
        OomKill { limit: Some(limit), ..known }
    };
    let noticed = |second, letter, id| {
        let mut world = World::default();
        world.kill(0.0, at_limit(Level::Pod));
        world.change(second, change(ContainerAction::OomNoticed, pod(letter), Some(unnamed(id))));
        world.incidents().len()
    };
    assert_eq!(noticed(1.2, 'a', '2'), 1);
    assert_eq!(noticed(1.2, 'b', '2'), 2, "the limit is not that pod's");
    assert_eq!(noticed(300.0, 'a', '2'), 2, "that is another one");
}

#[test]
fn live_a_loss_that_is_reported_later_lowers_what_an_open_incident_said() {
    let mut world = World::default();
    world.kill(0.0, kill(pod('a'), container("app", '1'), Level::Container, 64));
    world.tell(2.0, Source::Oomtrace, Event::Lost(Lost::new(LostFrom::Ring, 3)));
    let mut timeline = Timeline::new(Keep::LIVE, Background::default());
    timeline.push(&world.lines[0]);
    let opened = timeline.news();
    assert_eq!(opened.iter().map(|incident| incident.verdict.confidence).collect::<Vec<_>>(), [Confidence::High]);
    timeline.push(&world.lines[1]);
    let closed = timeline.finish();
    assert_eq!(closed.last().map(|incident| incident.verdict.confidence), Some(Confidence::Medium));
}
