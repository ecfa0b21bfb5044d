//! What memory was, and when: as probes and readings report it around a kill.

use oomtrace_model::{
    Cgroup, ChargeFailures, ChargeState, Confidence, EarlierReading, Event, GrownPod, Level, Mark, Pressure,
    PressureScope, Scenario, Shape, Source, Span, Task,
};

use super::world::{MIB, World, container, kill, pod, task, time};

/// The limit of [`kill`] was hit, last at a second, which is reported later.
fn failures(last: f64, state: ChargeState, attempts: u64, mib: u64) -> Event {
    let known = kill(pod('a'), container("app", '1'), Level::Container, mib);
    Event::ChargeFailures(Box::new(ChargeFailures {
        pod: known.pod,
        container: known.container,
        cgroup: Some(cgroup()),
        state,
        limit: known.limit,
        attempts: Some(attempts),
        failed: None,
        ooms: Some(0),
        attempts_total: Some(attempts),
        failed_total: None,
        ooms_total: Some(0),
        first_ts: format!("{:.9}", time(-0.1)),
        last_ts: format!("{:.9}", time(last)),
        last_task: None,
        span: Span::default(),
    }))
}

/// Of the limit of [`kill`].
fn cgroup() -> Cgroup {
    Cgroup { path: Some("/Container".to_owned()), ..Cgroup::default() }
}

fn reading(usage: u64, anon: u64) -> Event {
    Event::Pressure(Box::new(Pressure {
        pod: Some(pod('a')),
        container: Some(container("app", '1')),
        cgroup: Some(cgroup()),
        level: Some(Level::Container),
        scope: Some(PressureScope::Kill),
        usage_bytes: Some(usage),
        limit_bytes: Some(40 * MIB),
        anon_bytes: Some(anon),
        file_bytes: Some(0),
        slab_bytes: Some(120 << 10),
        kernel_stack_bytes: Some(16 << 10),
        ..Pressure::default()
    }))
}

/// A kill at 0 s as a node reports it: the failures up to it are reported 1.3 s later, and their end 5.3 s later.
fn killed(usage: u64, anon: u64) -> World {
    let mut world = World::default();
    world
        .tell(-0.07, Source::Kernel, failures(-0.07, ChargeState::Began, 1, 40))
        .kill(0.0, kill(pod('a'), container("app", '1'), Level::Container, 40))
        .tell(0.02, Source::Oomtrace, reading(usage, anon))
        .tell(1.3, Source::Kernel, failures(-0.01, ChargeState::GoesOn, 37, 40))
        .tell(5.3, Source::Kernel, failures(-0.01, ChargeState::Ceased, 0, 40));
    world
}

#[test]
fn a_limit_is_hit_when_it_was_and_not_when_that_is_reported() {
    let incident = killed(280 << 10, 0).incident();
    let hits: Vec<_> = incident.steps.iter().filter(|step| step.mark == Mark::Failure).collect();
    let hits: Vec<_> = hits.iter().map(|step| (step.since_ms, step.what.as_str())).collect();
    assert_eq!(hits, [(-70.0, "the limit was hit once"), (-10.0, "the limit was hit 37 times")]);
    let curve: Vec<_> = incident.history.iter().map(|point| (point.ts.as_str(), point.usage_bytes)).collect();
    let at = |second| format!("{:.9}", time(second));
    assert_eq!(
        curve,
        [
            (at(-0.07).as_str(), 40 * MIB),
            (at(-0.01).as_str(), 40 * MIB),
            (at(0.0).as_str(), 40 * MIB),
            (at(0.02).as_str(), 280 << 10)
        ]
    );
}

#[test]
fn what_was_read_when_the_victims_memory_was_gone_is_not_what_filled_the_limit() {
    for (usage, anon) in [(280 << 10, 0), (40 * MIB, 0), (40 * MIB, 39 * MIB)] {
        let advice = killed(usage, anon).incident().verdict.advice;
        assert!(advice.contains("Anonymous memory (heaps, stacks) fills 39 MiB of the limit of 40 MiB"), "{advice}");
    }
}

#[test]
fn a_containers_request_is_known_from_a_reading_of_its_memory() {
    let requested = |request_bytes| {
        let mut world = killed(40 * MIB, 39 * MIB);
        let Event::Pressure(read) = reading(40 * MIB, 39 * MIB) else { unreachable!("it is a reading") };
        world.tell(0.03, Source::Oomtrace, Event::Pressure(Box::new(Pressure { request_bytes, ..*read })));
        let incident = world.incident();
        incident.containers.iter().map(|container| container.request_bytes).collect::<Vec<_>>()
    };
    assert_eq!(requested(Some(20 * MIB)), [Some(20 * MIB)]);
    assert_eq!(requested(None), [None]);
}

/// What was read for a kill at a limit of many.
fn of_many(level: Level, path: Option<&str>) -> Event {
    let grown = |letter, mib: u64| GrownPod {
        pod: Some(pod(letter)),
        usage_bytes: 2 * mib * MIB,
        grown_bytes: mib * MIB,
        over_ms: 300_000,
    };
    let earlier =
        |seconds: u64| EarlierReading { age_ms: seconds * 1000, usage_bytes: (1000 - seconds) * MIB, anon_bytes: None };
    Event::Pressure(Box::new(Pressure {
        cgroup: path.map(|path| Cgroup { path: Some(path.to_owned()), ..Cgroup::default() }),
        level: Some(level),
        scope: Some(PressureScope::Kill),
        usage_bytes: Some(1000 * MIB),
        limit_bytes: Some(1000 * MIB),
        earlier: [300, 200, 100, 50, 10].map(earlier).to_vec(),
        grown: vec![grown('b', 300), grown('c', 60)],
        ..Pressure::default()
    }))
}

#[test]
fn where_memory_runs_out_for_all_it_is_said_who_grew() {
    for (level, path, scenario) in
        [(Level::Kubepods, Some("/Kubepods"), Scenario::AllocatableOom), (Level::Node, None, Scenario::SystemOom)]
    {
        let mut world = World::default();
        let mut known = kill(pod('a'), container("app", '1'), level, 1000);
        known.limit.as_mut().expect("a limit").cgroup = path.map(ToOwned::to_owned);
        // The victim's own memory is another matter.
        world.kill(0.0, known).tell(0.01, Source::Oomtrace, reading(MIB, MIB));
        world.tell(0.02, Source::Oomtrace, of_many(level, path)).file_says('b', &[("app", None)]);
        let record = world.known.snapshot.pods.values_mut().next().and_then(|pod| pod.containers.get_mut("app"));
        record.expect("a container").request_bytes = Some(100 * MIB);
        let incident = world.incident();
        let verdict = incident.verdict;
        assert_eq!((verdict.scenario, verdict.shape), (scenario, Some(Shape::Leak)));
        let grew = " In the last 5 min these grew most: default/pod-b by 300 MiB to 600 MiB (it requests 100 MiB) and \
                    default/pod-c by 60 MiB to 120 MiB.";
        assert!(verdict.advice.ends_with(grew), "{}", verdict.advice);
        let curve: Vec<_> = incident.history.iter().map(|point| point.usage_bytes / MIB).collect();
        assert_eq!(curve, [700, 800, 900, 950, 990, 1000, 1000], "of all, and of nobody else");
    }
}

#[test]
fn a_process_that_must_not_be_killed_and_asks_again_and_again_is_a_guess_unless_somebody_was_killed() {
    let counted = |ooms, ooms_total, oom_score_adj| {
        let Event::ChargeFailures(mut failures) = failures(0.5, ChargeState::GoesOn, 9, 64) else { unreachable!() };
        failures.ooms = Some(ooms);
        failures.ooms_total = Some(ooms_total);
        failures.last_task = Some(Task { oom_score_adj: Some(oom_score_adj), ..task("java", 7) });
        Event::ChargeFailures(failures)
    };
    let of = |lines: Vec<Event>| {
        let mut world = World::default();
        for (second, event) in (1_u8..).zip(lines) {
            world.tell(f64::from(second), Source::Kernel, event);
        }
        world
    };
    // Once may be a victim that was exiting; the second is counted with the third, and all later ones are no news.
    let world =
        of(vec![counted(1, 1, -1000), counted(2, 3, -1000), counted(700, 703, -1000), counted(700, 1403, -1000)]);
    let incident = world.incident();
    assert_eq!((incident.kills, incident.verdict.confidence), (0, Confidence::Medium));
    assert_eq!(incident.verdict.scenario, Scenario::ContainerLimit);
    assert!(incident.verdict.summary.contains("most likely no process in it may be killed"), "{incident:#?}");
    assert_eq!(incident.verdict.evidence.len(), 1);
    assert_eq!(
        incident.verdict.missing,
        ["that nobody may be killed: the kernel's log says it (\"no killable processes\")"]
    );
    assert!(of(vec![counted(1, 1, -1000)]).incidents().is_empty(), "once");
    assert!(of(vec![counted(9, 9, -999)]).incidents().is_empty(), "it may be killed");
    let mut killed = of(vec![counted(9, 9, -1000)]);
    killed.kill(0.6, kill(pod('a'), container("app", '1'), Level::Container, 64));
    let incidents = killed.incidents();
    assert_eq!((incidents.len(), incidents[0].kills), (1, 1), "the kernel had found another process");
}
