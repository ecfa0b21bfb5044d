use oomtrace_model::{
    AllocationRefused, Cause, Confidence, Event, Level, Limit, OomKill, PanicOnOom, Scenario, SenderRole, Source,
    UnderOom, UnderOomState,
};

use super::world::{MIB, World, container, kill, pod, refused, task, unnamed};

#[test]
fn a_kill_that_a_person_asked_for_blames_nobodys_memory() {
    let mut world = World::default();
    let asked = OomKill { cause: Some(Cause::Sysrq), ..kill(pod('a'), container("app", '1'), Level::Node, 2048) };
    world.kill(0.0, asked).died(1.0, pod('a'), unnamed('1'), 137);
    // The node really runs out a minute later: that is another incident.
    world.kill(60.0, kill(pod('a'), container("app", '2'), Level::Node, 2048));
    let incidents = world.incidents();
    let verdict = &incidents[0].verdict;
    assert_eq!((verdict.scenario, verdict.innocent, verdict.bystander), (Scenario::Killed, None, None));
    assert!(verdict.summary.contains("a person asked for a kill"), "{}", verdict.summary);
    assert!(!verdict.advice.contains("system-reserved"), "{}", verdict.advice);
    assert_eq!(incidents[1].verdict.scenario, Scenario::SystemOom);
}

#[test]
fn a_limit_that_was_lowered_below_what_is_in_use_says_who_wrote_it() {
    let mut world = World::default();
    let mut lowered = kill(pod('a'), container("app", '1'), Level::Container, 64);
    lowered.cause = Some(Cause::LimitLowered);
    lowered.trigger = task("runc", 99);
    lowered.limit = lowered.limit.map(|limit| Limit { usage_bytes: Some(80 * MIB), ..limit });
    world.kill(0.0, lowered);
    let verdict = world.incident().verdict;
    assert_eq!(verdict.scenario, Scenario::ContainerLimit);
    assert!(
        verdict.summary.ends_with(
            "because the container's memory limit of 64 MiB was lowered by runc below what was in use (80 MiB)."
        ),
        "{}",
        verdict.summary
    );
    assert!(verdict.advice.contains("raise it above 64 MiB"), "{}", verdict.advice);
    // Systemd does so for the kubelet and the runtime.
    if let Event::OomKill(kill) = &mut world.lines[0].event {
        kill.trigger = task("systemd", 1);
    }
    let verdict = world.incident().verdict;
    assert!(verdict.summary.contains("was lowered through systemd below"), "{}", verdict.summary);
    assert!(verdict.advice.contains("an in-place resize"), "{}", verdict.advice);
}

#[test]
fn who_asks_is_killed_where_the_sysctl_says_so() {
    let mut world = World::default();
    let asking = OomKill { cause: Some(Cause::AllocatingTask), ..kill(pod('a'), unnamed('1'), Level::Node, 2048) };
    world.kill(0.0, asking);
    let verdict = world.incident().verdict;
    assert_eq!(verdict.scenario, Scenario::SystemOom);
    assert!(verdict.summary.contains("vm.oom_kill_allocating_task is set"), "{}", verdict.summary);
    assert!(verdict.advice.contains("vm.oom_kill_allocating_task=0"), "{}", verdict.advice);
}

fn limit(level: Level) -> Option<Limit> {
    kill(pod('a'), unnamed('1'), level, 64).limit
}

#[test]
fn a_container_that_is_frozen_instead_of_killed_is_an_incident_without_a_kill() {
    let frozen = |state, waited_ms| {
        Event::UnderOom(Box::new(UnderOom {
            pod: Some(pod('a')),
            container: Some(container("app", '1')),
            cgroup: None,
            state,
            limit: limit(Level::Container),
            first_task: None,
            waited_ms,
        }))
    };
    let mut world = World::default();
    world.tell(0.0, Source::Kernel, frozen(UnderOomState::Began, None));
    let incident = world.incident();
    assert_eq!((incident.verdict.scenario, incident.kills), (Scenario::ContainerLimit, 0));
    assert_eq!(
        (incident.verdict.invisible, &incident.verdict.kubernetes_shows[..]),
        (Some(true), &["nothing".to_owned()][..])
    );
    assert_eq!(
        incident.verdict.summary,
        "Container app of pod default/pod-a hit its memory limit of 64 MiB and was frozen instead of killed, as its cgroup has oom_kill_disable set; it still waits."
    );
    world.tell(9.0, Source::Kernel, frozen(UnderOomState::Ended, Some(9000.0)));
    let incident = world.incident();
    assert!(incident.verdict.summary.ends_with("it had room again."), "{}", incident.verdict.summary);
    assert_eq!(incident.steps.last().map(|step| step.what.as_str()), Some("nobody waits any more, after 9.0 s"));
}

#[test]
fn a_limit_at_which_nobody_may_be_killed_is_an_incident_without_a_kill() {
    let decision = || {
        let chosen = kill(pod('a'), container("app", '1'), Level::Container, 64);
        Event::OomDecision(Box::new(OomKill {
            message: Some(OomKill::NONE_KILLABLE.to_owned()),
            trigger: task("java", 7),
            candidates_weighed: Some(1),
            candidates: Some(Vec::new()),
            pod: None,
            container: None,
            cgroup: None,
            limit: chosen.limit.map(|limit| Limit {
                pod: Some(pod('a')),
                container: Some(container("app", '1')),
                ..limit
            }),
            ..chosen
        }))
    };
    let mut world = World::default();
    world.tell(0.0, Source::Kernel, decision());
    world.tell(1.0, Source::Kernel, decision());
    let incident = world.incident();
    let verdict = &incident.verdict;
    assert_eq!((verdict.scenario, incident.kills, verdict.confidence), (Scenario::ContainerLimit, 0, Confidence::High));
    assert_eq!((verdict.invisible, &verdict.kubernetes_shows[..]), (Some(true), &["nothing".to_owned()][..]));
    assert_eq!(
        verdict.summary,
        "Container app of pod default/pod-a hit its memory limit of 64 MiB twice, and no process in it may be killed (oom_score_adj -1000): java asks for memory again and again, or gets an error."
    );
    assert_eq!(incident.steps[0].what, "the limit was hit, and nobody may be killed");
    // Those whose victim was exiting already, and those whose processes were, are none.
    for (message, weighed) in [("Memory cgroup out of memory", Some(1)), (OomKill::NONE_KILLABLE, None)] {
        let mut world = World::default();
        let Event::OomDecision(mut exiting) = decision() else { unreachable!() };
        (exiting.message, exiting.candidates_weighed) = (Some(message.to_owned()), weighed);
        world.tell(0.0, Source::Kernel, Event::OomDecision(exiting));
        assert!(world.incidents().is_empty());
    }
}

#[test]
fn a_panic_instead_of_a_kill_is_an_incident_of_the_node() {
    let panic = PanicOnOom {
        pod: None,
        container: None,
        cgroup: None,
        trigger: task("app", 7),
        limit: limit(Level::Node),
        panic_on_oom: 1,
    };
    let mut world = World::default();
    world.tell(0.0, Source::Kernel, Event::PanicOnOom(Box::new(panic)));
    let incident = world.incident();
    assert_eq!(incident.verdict.scenario, Scenario::SystemOom);
    assert!(
        incident.verdict.summary.contains("vm.panic_on_oom is 1: the node itself ran out"),
        "{}",
        incident.verdict.summary
    );
}

#[test]
fn a_program_may_end_before_its_refusals_are_reported() {
    let refused = AllocationRefused {
        first_ts: "2026-11-23T23:20:00.5Z".to_owned(),
        last_ts: "2026-11-23T23:20:00.9Z".to_owned(),
        ..refused()
    };
    let mut world = World::default();
    world.exit(1.0, pod('a'), container("app", '1'), 3).tell(
        9.0,
        Source::Kernel,
        Event::AllocationRefused(Box::new(refused)),
    );
    assert_eq!(world.incident().verdict.scenario, Scenario::RuntimeRefused);
}

#[test]
fn a_person_in_a_login_session_is_reported_from_a_service() {
    let mut world = World::default();
    let place = || (pod('a'), container("app", '1'));
    world.signal(0.0, 9, SenderRole::Person, "kill", place()).exit(0.01, pod('a'), container("app", '1'), 137);
    let verdict = world.incident().verdict;
    assert!(verdict.summary.contains("by kill (pid 99) in a login session on the node"), "{}", verdict.summary);
    assert!(verdict.advice.starts_with("A person did it"), "{}", verdict.advice);
}
