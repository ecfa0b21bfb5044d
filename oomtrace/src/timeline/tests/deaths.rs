use super::world::{World, change, container, kill, pod, refused, unnamed};
use crate::event::{
    Confidence, Container, ContainerAction, ContainerChange, Event, Level, Scenario, SenderRole, Source,
};

#[test]
fn a_pod_that_is_deleted_was_not_out_of_memory() {
    // Logs alone: nothing to tell.
    let mut world = World::default();
    world
        .change(0.0, change(ContainerAction::PodDeleted, pod('a'), None))
        .killing(0.1, 'a', container("app", '1'))
        .died(2.0, pod('a'), unnamed('1'), 137);
    assert!(world.incidents().is_empty());
    // Asked for everything.
    world.known.everything = true;
    let verdict = world.incident().verdict;
    assert_eq!(verdict.scenario, Scenario::Killed);
    assert!(
        verdict.summary.contains("because pod default/pod-a was deleted; not by the OOM killer"),
        "{}",
        verdict.summary
    );
    // Live: whoever sent the signal is known.
    world.known.everything = false;
    world.signal(0.2, 15, SenderRole::Runtime, "containerd-shim", (pod('a'), unnamed('1')));
    let verdict = world.incident().verdict;
    assert_eq!(verdict.scenario, Scenario::Killed);
    assert!(
        verdict
            .summary
            .contains("by the container runtime (containerd-shim (pid 99)) because pod default/pod-a was deleted"),
        "{}",
        verdict.summary
    );
}

fn reported(reason: &str, code: i32) -> ContainerChange {
    let container = container("app", '1');
    ContainerChange {
        reason: Some(reason.to_owned()),
        exit_code: Some(code),
        ..change(ContainerAction::Reported, pod('a'), Some(container))
    }
}

#[test]
fn a_drained_pod_that_kubernetes_calls_oom_killed_was_not_but_something_in_it_was() {
    // As in kubernetes#140716.
    let mut world = World::default();
    world
        .change(0.0, change(ContainerAction::PodDeleted, pod('a'), None))
        .killing(0.1, 'a', container("app", '1'))
        .died(2.0, pod('a'), unnamed('1'), 143)
        .change(2.2, reported("Error", 143));
    assert!(world.incidents().is_empty());
    let mut world = World::default();
    world
        .change(0.0, change(ContainerAction::PodDeleted, pod('a'), None))
        .killing(0.1, 'a', container("app", '1'))
        .died(2.0, pod('a'), unnamed('1'), 143)
        .change(2.2, reported("OOMKilled", 143));
    let verdict = world.incident().verdict;
    assert_eq!((verdict.scenario, verdict.kubernetes_shows), (Scenario::Killed, vec!["OOMKilled 143".to_owned()]));
    assert_eq!(
        verdict.summary,
        "Container app of pod default/pod-a was ended by the kubelet because pod default/pod-a was deleted; not by the OOM killer (exit code 143). Kubernetes calls it OOMKilled because a process in it was OOM-killed at some time before, which the container outlived."
    );
    // The kill that it is about is an incident of its own.
    let mut child = kill(pod('a'), container("app", '1'), Level::Container, 64);
    (child.group, child.victim.task.container_init) = (Some(false), Some(false));
    world.kill(-300.0, child);
    let incidents = world.incidents();
    assert_eq!(incidents.len(), 2);
    assert_eq!(incidents[0].verdict.scenario, Scenario::ContainerLimit);
    assert_eq!(incidents[0].verdict.invisible, Some(true));
    assert_eq!(incidents[0].verdict.kubernetes_shows, ["OOMKilled 143"]);
    let summary = &incidents[0].verdict.summary;
    assert!(summary.contains("lived on, and Kubernetes calls its later end OOMKilled"), "{summary}");
    assert!(incidents[1].verdict.summary.contains("was OOM-killed in it at 20"), "{}", incidents[1].verdict.summary);
}

#[test]
fn nor_was_one_that_did_not_end_in_its_grace_period() {
    let ended_after = |seconds: f64| {
        let mut world = World::default();
        world
            .change(0.0, change(ContainerAction::PodDeleted, pod('a'), None))
            .killing(0.1, 'a', container("app", '1'))
            .died(seconds, pod('a'), unnamed('1'), 137)
            .change(seconds + 0.2, reported("OOMKilled", 137));
        world.incident().verdict.scenario
    };
    assert_eq!(ended_after(2.4), Scenario::Killed);
    // However long it is.
    let mut world = World::default();
    let killing = change(ContainerAction::Killing, pod('a'), Some(container("app", '1')));
    world.change(0.1, ContainerChange { grace_period_ms: Some(u64::MAX / 2_000_000), ..killing }).died(
        2.0,
        pod('a'),
        unnamed('1'),
        137,
    );
    assert!(world.incidents().is_empty());
    // What is at hand knows of nobody else who would have done it so soon.
    assert_eq!(ended_after(0.6), Scenario::UnknownLimit);
}

#[test]
fn what_only_the_kubelet_reports_as_oom_killed_is_a_kill_that_the_kernels_log_would_tell_more_of() {
    let mut world = World::default();
    world.died(2.0, pod('a'), unnamed('1'), 137).change(2.2, reported("OOMKilled", 137));
    let verdict = world.incident().verdict;
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::UnknownLimit, Confidence::Low));
    assert_eq!(verdict.kubernetes_shows, ["OOMKilled 137"]);
    // As in kubernetes#131530: it ended by itself, later.
    let mut world = World::default();
    world.died(2.0, pod('a'), unnamed('1'), 0).change(2.2, reported("OOMKilled", 0));
    let verdict = world.incident().verdict;
    assert!(verdict.summary.contains("at some time before it ended with exit code 0, because"), "{}", verdict.summary);
    assert_eq!(verdict.kubernetes_shows, ["OOMKilled 0"]);
}

#[test]
fn a_person_with_a_shell_is_named() {
    let mut world = World::default();
    world.signal(0.0, 9, SenderRole::Process, "bash", (pod('a'), container("app", '1'))).exit(
        0.01,
        pod('a'),
        container("app", '1'),
        137,
    );
    let incident = world.incident();
    assert_eq!(incident.verdict.scenario, Scenario::Killed);
    assert_eq!(
        incident.verdict.summary,
        "Container app of pod default/pod-a was ended with SIGKILL by bash (pid 99) on the node outside of Kubernetes; not by the OOM killer (exit code 137)."
    );
    assert_eq!(incident.verdict.kubernetes_shows, ["Error 137"]);
}

#[test]
fn systemd_oomd_is_not_the_kernels_oom_killer() {
    let mut world = World::default();
    world.signal(0.0, 9, SenderRole::Oomd, "systemd-oomd", (pod('a'), container("app", '1'))).exit(
        0.01,
        pod('a'),
        container("app", '1'),
        137,
    );
    let verdict = world.incident().verdict;
    assert_eq!(verdict.scenario, Scenario::Killed);
    assert!(verdict.summary.contains("a killer for memory in user space"), "{}", verdict.summary);
    assert!(verdict.advice.contains("ManagedOOM"), "{}", verdict.advice);
}

#[test]
fn a_failed_probe_is_the_reason() {
    let mut world = World::default();
    world
        .change(-1.0, change(ContainerAction::ProbeFailed, pod('a'), Some(container("app", '1'))))
        .killing(0.0, 'a', container("app", '1'))
        .died(30.0, pod('a'), unnamed('1'), 137);
    let verdict = world.incident().verdict;
    assert_eq!(verdict.scenario, Scenario::Killed);
    assert!(verdict.summary.contains("a probe failed"), "{}", verdict.summary);
}

#[test]
fn a_probe_is_no_reason_where_it_is_another_containers_or_long_ago_or_the_kubelet_has_another() {
    let probe = |name: &str| {
        let container = Container { name: Some(name.to_owned()), ..Container::default() };
        change(ContainerAction::ProbeFailed, pod('a'), Some(container))
    };
    let told = |second: f64, name: &str, reason: Option<&str>| {
        let mut world = World::default();
        world.known.everything = true;
        let killing = change(ContainerAction::Killing, pod('a'), Some(container("app", '1')));
        let killing = ContainerChange { reason: reason.map(str::to_owned), grace_period_ms: Some(30_000), ..killing };
        world.change(second, probe(name)).change(0.0, killing).died(30.0, pod('a'), unnamed('1'), 137);
        world.incident().verdict.summary.contains("a probe failed")
    };
    assert!(told(-1.0, "app", None));
    assert!(told(-1.0, "app", Some("LivenessProbe")));
    assert!(!told(-1.0, "web", None));
    assert!(!told(-270.0, "app", None));
    assert!(!told(-1.0, "app", Some("DefinitionChanged")));
}

#[test]
fn a_fault_is_a_crash_and_an_exit_with_1_is_nothing() {
    let mut world = World::default();
    world.died(0.0, pod('a'), container("app", '1'), 1).died(30.0, pod('a'), container("app", '2'), 1);
    assert!(world.incidents().is_empty());
    world.died(60.0, pod('b'), container("app", '3'), 139).died(90.0, pod('b'), container("app", '4'), 139);
    let incident = world.incident();
    assert_eq!((incident.verdict.scenario, incident.deaths), (Scenario::Crashed, 2));
    assert!(
        incident.verdict.summary.ends_with("crashed twice by SIGSEGV (exit code 139)."),
        "{}",
        incident.verdict.summary
    );
    assert_eq!(incident.verdict.confidence, Confidence::Medium, "it may have run out of memory of its own");
}

#[test]
fn a_program_that_gives_up_when_it_is_refused_memory() {
    let refused = refused();
    let mut world = World::default();
    world.tell(0.0, Source::Kernel, Event::AllocationRefused(Box::new(refused))).exit(
        1.0,
        pod('a'),
        container("app", '1'),
        3,
    );
    let verdict = world.incident().verdict;
    assert_eq!(verdict.scenario, Scenario::RuntimeRefused);
    assert!(
        verdict.summary.contains("refused java an allocation of 512 MiB for its limit on address space (256 MiB)"),
        "{}",
        verdict.summary
    );
}

#[test]
fn a_pod_that_goes_for_a_critical_one_is_told_with_what_had_no_room() {
    let preempted = |message: &str| {
        let reason = Some(ContainerChange::PREEMPTING.to_owned());
        let killing = change(ContainerAction::Killing, pod('a'), Some(container("app", '1')));
        let mut world = World::default();
        world.change(0.0, ContainerChange { reason, message: Some(message.to_owned()), ..killing }).died(
            2.0,
            pod('a'),
            unnamed('1'),
            143,
        );
        assert!(world.incidents().is_empty(), "unless all ends are asked for");
        world.known.everything = true;
        world.incident().verdict
    };
    let verdict = preempted("no room for a critical pod's request of memory");
    assert_eq!(verdict.scenario, Scenario::Killed);
    assert_eq!(
        verdict.summary,
        "Container app of pod default/pod-a was ended by the kubelet because pod default/pod-a was preempted (no room for a critical pod's request of memory); not by the OOM killer (exit code 143)."
    );
    assert!(verdict.advice.contains("Requests of memory, not its use"), "{}", verdict.advice);
    assert_eq!(preempted("no room for a critical pod's request of cpu").advice, "Not memory.");
}
