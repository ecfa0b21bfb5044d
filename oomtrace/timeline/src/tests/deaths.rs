use oomtrace_model::{
    Confidence, Container, ContainerAction, ContainerChange, ContainerRole, EndReason, Event, Level, Pressure,
    PressureScope, Scenario, Sender, SenderRole, Severity, Signal, Source, Stall, Task, cgroup_path::CgroupIdentity,
};

use super::world::{MIB, World, change, container, kill, pod, refused, time, unnamed};

#[test]
fn a_pod_that_is_deleted_was_not_out_of_memory_but_why_it_ended_with_137_is_an_event() {
    let mut world = World::default();
    world
        .change(0.0, change(ContainerAction::PodDeleted, pod('a'), None))
        .killing(0.1, 'a', container("app", '1'))
        .died(2.0, pod('a'), unnamed('1'), 137);
    let reported = |world: &World| {
        assert!(world.incidents().is_empty());
        let [end] = &world.ends()[..] else { unreachable!("{:?}", world.ends()) };
        (end.reason, end.exit_code, end.signal.clone(), end.message.clone().unwrap_or_default())
    };
    let words = "Container app of pod default/pod-a ended with 137: its pod was deleted.";
    assert_eq!(reported(&world), (EndReason::PodDeleted, Some(137), None, words.to_owned()));
    // Live the sender of the signal is known.
    world.signal(1.9, 9, SenderRole::Runtime, "runc", (pod('a'), unnamed('1')));
    let words =
        "Container app of pod default/pod-a ended with 137 by SIGKILL from the container runtime: its pod was deleted.";
    assert_eq!(reported(&world), (EndReason::PodDeleted, Some(137), Some("SIGKILL".to_owned()), words.to_owned()));
    assert_eq!(world.ends()[0].sender.as_ref().map(|sender| sender.role), Some(SenderRole::Runtime));
}

#[test]
fn a_sandbox_that_the_runtime_ends_is_no_incident_whoever_reports_its_end() {
    let sandbox = || Container { role: Some(ContainerRole::Sandbox), ..unnamed('5') };
    let mut by_kernel = World::default();
    by_kernel.signal(0.0, 9, SenderRole::Runtime, "runc", (pod('a'), sandbox())).exit(0.1, pod('a'), sandbox(), 137);
    let mut by_kubelet = World::default();
    let died = change(ContainerAction::Died, pod('a'), Some(unnamed('5')));
    by_kubelet.change(1.0, ContainerChange { sandbox: Some(true), exit_code: Some(137), ..died });
    for world in [by_kernel, by_kubelet] {
        assert!(world.incidents().is_empty());
        assert_eq!(world.ends().iter().map(|end| end.reason).collect::<Vec<_>>(), [EndReason::Sandbox]);
    }
    // Nor does one that names nothing of itself but its program make one.
    let mut nameless = World::default();
    let (container, mut exit) = (unnamed('5'), Vec::new());
    nameless.exit(0.1, pod('a'), container, 137);
    exit.append(&mut nameless.lines);
    for mut line in exit {
        if let Event::ProcessExit(exit) = &mut line.event {
            (exit.task.comm, exit.task.oom_score_adj) = (Some("pause".to_owned()), Some(-998));
        }
        nameless.lines.push(line);
    }
    assert!(nameless.incidents().is_empty());
    assert_eq!(nameless.ends()[0].reason, EndReason::Sandbox);
    // But one that somebody else kills ends the whole pod.
    let mut killed = World::default();
    killed.signal(0.0, 9, SenderRole::Person, "bash", (pod('a'), sandbox())).exit(0.1, pod('a'), sandbox(), 137);
    assert_eq!(killed.incident().verdict.scenario, Scenario::Killed);
}

#[test]
fn what_the_kubelet_asked_for_says_why() {
    let asked = |reason: Option<&str>, code: i32| {
        let mut world = World::default();
        let killing = change(ContainerAction::Killing, pod('a'), Some(container("app", '1')));
        let reason = reason.map(str::to_owned);
        world.change(0.0, ContainerChange { reason, grace_period_ms: Some(2000), ..killing });
        world.signal(2.0, 9, SenderRole::Runtime, "runc", (pod('a'), unnamed('1'))).died(
            2.1,
            pod('a'),
            unnamed('1'),
            code,
        );
        assert!(world.incidents().is_empty(), "{:?}", world.incidents());
        world.ends().first().map(|end| end.reason)
    };
    for (reason, expected) in [
        (Some("PodDeleted"), EndReason::PodDeleted),
        (Some("LivenessProbe"), EndReason::Probe),
        (Some("StartupProbe"), EndReason::Probe),
        (Some("Evicted"), EndReason::Evicted),
        (Some("NodeShutdown"), EndReason::NodeShutdown),
        (Some(ContainerChange::PREEMPTING), EndReason::Preempted),
        (Some("DefinitionChanged"), EndReason::Restarted),
        // As for a Job's activeDeadlineSeconds, or an eviction that is still going on.
        (None, EndReason::Unknown),
    ] {
        assert_eq!(asked(reason, 137), Some(expected), "{reason:?}");
    }
    // Nobody asks why it ended with what it chose itself.
    assert_eq!(asked(Some("PodDeleted"), 0), None);
    assert_eq!(asked(Some("PodDeleted"), 1), None);
    assert_eq!(asked(Some("PodDeleted"), 143), Some(EndReason::PodDeleted));
}

#[test]
fn what_ends_with_137_without_a_kill_and_unasked_is_an_incident() {
    let mut world = World::default();
    world.kubelet_speaks(-300.0).started(-60.0, pod('a'), container("app", '1'));
    world.exit(0.0, pod('a'), container("app", '1'), 137);
    if let Some(Event::ProcessExit(exit)) = world.lines.last_mut().map(|line| &mut line.event) {
        (exit.exit_code, exit.signal) = (Some(137), None);
    }
    // What only the kernel saw end may have been deleted.
    assert!(world.incidents().is_empty());
    assert_eq!(world.ends()[0].reason, EndReason::Unknown);
    world.died(1.0, pod('a'), unnamed('1'), 137);
    let incident = world.incident();
    assert_eq!((incident.verdict.scenario, incident.severity), (Scenario::Killed, Severity::Other));
    assert_eq!(
        incident.verdict.summary,
        "Container app of pod default/pod-a exited with status 137 by itself: no signal ended its first process, and there was no OOM kill in it."
    );
    assert_eq!(incident.verdict.kubernetes_shows, ["Error 137"]);
    assert!(world.ends().is_empty());
    // Live it is held back while its cause may still come.
    let mut timeline = world.timeline();
    assert!(timeline.news().is_empty());
    timeline.advance(time(30.0));
    assert!(timeline.news().is_empty());
    timeline.advance(time(36.0));
    assert_eq!(timeline.news().len(), 1);
}

#[test]
fn an_end_is_emitted_once_and_as_soon_as_its_reason_is_known() {
    let mut world = World::default();
    world.signal(0.0, 9, SenderRole::Runtime, "runc", (pod('a'), unnamed('1')));
    world.exit(0.01, pod('a'), container("app", '1'), 137);
    let mut timeline = world.timeline();
    let ends = |timeline: &mut crate::Timeline| {
        assert!(timeline.news().is_empty());
        timeline.take_ends().len()
    };
    assert_eq!(ends(&mut timeline), 0);
    let before = world.lines.len();
    world.killing(-3.0, 'a', container("app", '1'));
    world.change(-3.1, change(ContainerAction::PodDeleted, pod('a'), None)).died(1.0, pod('a'), unnamed('1'), 137);
    for line in &world.lines[before..] {
        timeline.push(line);
    }
    assert_eq!(ends(&mut timeline), 0, "what Kubernetes shows may still come");
    timeline.advance(time(4.0));
    assert_eq!(ends(&mut timeline), 1);
    timeline.advance(time(400.0));
    assert_eq!(ends(&mut timeline), 0);
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
fn what_only_the_runtime_calls_oom_killed_nobody_saw_if_the_pod_was_deleted() {
    // A kubelet of 1.20 lets a deleted pod go without its last status.
    let mut world = World::default();
    let mut child = kill(pod('a'), container("app", '1'), Level::Container, 64);
    (child.group, child.victim.task.container_init) = (Some(false), Some(false));
    let ended = ContainerChange {
        reason: Some("OOMKilled".to_owned()),
        exit_code: Some(0),
        ..change(ContainerAction::Died, pod('a'), Some(container("app", '1')))
    };
    world.kill(-60.0, child).change(0.0, change(ContainerAction::PodDeleted, pod('a'), None)).killing(
        0.1,
        'a',
        container("app", '1'),
    );
    world.tell(2.0, Source::Cri, Event::Container(Box::new(ended)));
    let verdict = world.incident().verdict;
    assert_eq!((verdict.scenario, verdict.invisible), (Scenario::ContainerLimit, Some(true)));
    assert_eq!(verdict.kubernetes_shows, ["nothing"]);
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
    let incident = world.incident();
    assert_eq!(incident.severity, Severity::Memory);
    let verdict = incident.verdict;
    assert_eq!(verdict.scenario, Scenario::Killed);
    assert!(verdict.summary.contains("a user-space OOM killer"), "{}", verdict.summary);
    assert!(verdict.advice.contains("ManagedOOM"), "{}", verdict.advice);
}

#[test]
fn of_a_crash_the_most_that_the_container_used_is_said_and_nothing_made_of_it() {
    let mut world = World::default();
    let read = |scope, usage, peak| {
        Event::Pressure(Box::new(Pressure {
            pod: Some(pod('a')),
            container: Some(container("app", '1')),
            scope: Some(scope),
            usage_bytes: Some(usage),
            peak_bytes: Some(peak),
            limit_bytes: Some(256 * MIB),
            ..Pressure::default()
        }))
    };
    world
        .tell(-5.0, Source::Oomtrace, read(PressureScope::ChargeFailure, 200 * MIB, 210 * MIB))
        .exit(0.0, pod('a'), container("app", '1'), 139)
        .tell(0.01, Source::Oomtrace, read(PressureScope::Exit, 0, 240 * MIB));
    let verdict = world.incident().verdict;
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::Crashed, Confidence::Medium));
    let words = "It used at most 240 MiB of its limit of 256 MiB at any time.";
    assert!(verdict.summary.ends_with(words), "{}", verdict.summary);
}

/// A line of systemd-oomd's about all of a container.
fn of_its_log(world: &mut World, second: f64) -> &mut World {
    let identity = CgroupIdentity::parse(&format!(
        "/kubepods/pod{}/{}",
        pod('a').uid.expect("a uid"),
        unnamed('1').id.expect("an id")
    ));
    let (pod, container) = (identity.pod(), identity.container());
    let task = Task { pid: Some(512), tgid: Some(512), comm: Some("systemd-oomd".to_owned()), ..Task::default() };
    let unit = Some("systemd-oomd.service".to_owned());
    let signal = Signal {
        pod: pod.clone(),
        container: container.clone(),
        cgroup: None,
        signal: "SIGKILL".to_owned(),
        signal_number: Some(9),
        sender: Sender { role: SenderRole::Oomd, task, unit },
        target: Task { container_init: Some(true), pod, container, ..Task::default() },
    };
    world.tell(second, Source::Kubelet, Event::Signal(Box::new(signal)))
}

#[test]
fn a_kill_in_a_cgroup_of_the_hosts_own_has_nothing_to_do_with_kubernetes() {
    let sent = |cgroup: Option<&str>, target: Task, comm: &str| {
        let task = Task { comm: Some(comm.to_owned()), ..Task::default() };
        let cgroup = cgroup
            .map(|path| oomtrace_model::Cgroup { path: Some(path.to_owned()), ..oomtrace_model::Cgroup::default() });
        let signal = Signal {
            pod: None,
            container: None,
            cgroup,
            signal: "SIGTERM".to_owned(),
            signal_number: Some(15),
            sender: Sender { role: SenderRole::Oomd, task, unit: None },
            target,
        };
        World::default().tell(0.0, Source::Kubelet, Event::Signal(Box::new(signal))).incident().verdict
    };
    let verdict = sent(Some("/user.slice/user-1000.slice/app.slice/a.scope"), Task::default(), "systemd-oomd");
    let words = format!("{} {} {:?}", verdict.summary, verdict.advice, verdict.kubernetes_shows).to_lowercase();
    assert!(!words.contains("kube") && !words.contains("pods"), "{words}");
    assert!(verdict.kubernetes_shows.is_empty());
    let verdict = sent(Some("/kubepods.slice"), Task::default(), "systemd-oomd");
    assert!(verdict.advice.contains("kubepods"), "{}", verdict.advice);
    // A name is not the start of a sentence.
    let python = Task { pid: Some(7), comm: Some("python3".to_owned()), ..Task::default() };
    let verdict = sent(None, python, "earlyoom");
    assert!(verdict.summary.starts_with("Process python3 (pid 7) was sent SIGTERM"), "{}", verdict.summary);
    assert_eq!(verdict.kubernetes_shows, ["Error 143, if it was a container's first process"]);
}

#[test]
fn a_pod_that_koordlet_evicted_is_not_taken_for_one_that_was_deleted_as_intended() {
    let evicts = |world: &mut World| {
        let task = Task { comm: Some("koordlet".to_owned()), ..Task::default() };
        let signal = Signal {
            pod: Some(pod('a')),
            container: None,
            cgroup: None,
            signal: "SIGTERM".to_owned(),
            signal_number: Some(15),
            sender: Sender { role: SenderRole::Oomd, task, unit: None },
            target: Task { pod: Some(pod('a')), ..Task::default() },
        };
        world.tell(0.0, Source::Kubelet, Event::Signal(Box::new(signal)));
    };
    // Its grace period may pass, and SIGKILL follows.
    for code in [137, 143] {
        let mut world = World::default();
        evicts(&mut world);
        world.change(0.1, change(ContainerAction::PodDeleted, pod('a'), None)).died(20.0, pod('a'), unnamed('1'), code);
        let incident = world.incident();
        assert_eq!((incident.severity, incident.verdict.scenario), (Severity::Memory, Scenario::Killed), "{code}");
        let summary = incident.verdict.summary;
        assert!(summary.contains("was ended by koordlet, Koordinator's agent on the node,"), "{summary}");
    }
    let mut alone = World::default();
    evicts(&mut alone);
    let verdict = alone.incident().verdict;
    assert!(verdict.summary.starts_with("Pod default/pod-a was evicted by koordlet"), "{}", verdict.summary);
}

#[test]
fn what_a_user_space_oom_killer_logs_is_an_incident_of_its_own_only_where_the_end_was_not_seen() {
    let mut alone = World::default();
    of_its_log(&mut alone, 0.0);
    of_its_log(&mut alone, 5.0);
    let incident = alone.incident();
    assert_eq!((incident.severity, incident.verdict.scenario), (Severity::Memory, Scenario::Killed));
    assert_eq!(incident.verdict.confidence, Confidence::Medium, "its word is all there is");
    assert!(incident.verdict.summary.contains("sent SIGKILL twice by systemd-oomd"), "{}", incident.verdict.summary);

    let mut seen = World::default();
    of_its_log(&mut seen, 0.0).exit(0.5, pod('a'), container("app", '1'), 137);
    let incident = seen.incident();
    assert_eq!((incident.severity, incident.deaths), (Severity::Memory, 1), "one incident, of the end");
    assert_eq!(incident.verdict.confidence, Confidence::High);
}

#[test]
fn a_failed_probe_is_the_reason_and_an_incident_only_where_memory_was_short() {
    let failed = || {
        let mut world = World::default();
        world
            .change(-1.0, change(ContainerAction::ProbeFailed, pod('a'), Some(container("app", '1'))))
            .killing(0.0, 'a', container("app", '1'))
            .died(30.0, pod('a'), unnamed('1'), 137);
        world
    };
    assert!(failed().incidents().is_empty());
    assert_eq!(failed().ends()[0].reason, EndReason::Probe);
    let with = |anon_mib: u64, full_avg10: f64| {
        let stall = Stall {
            full_avg10,
            some_avg10: full_avg10,
            some_avg60: 0.0,
            full_avg60: 0.0,
            some_total_us: 0,
            full_total_us: 0,
        };
        let pressure = Pressure {
            pod: Some(pod('a')),
            container: Some(container("app", '1')),
            level: Some(Level::Container),
            usage_bytes: Some(64 * MIB),
            limit_bytes: Some(64 * MIB),
            anon_bytes: Some(anon_mib * MIB),
            stall: Some(stall),
            ..Pressure::default()
        };
        let mut world = failed();
        world.tell(-20.0, Source::Oomtrace, Event::Pressure(Box::new(pressure)));
        world
    };
    // Page cache that fills the limit gives way.
    assert!(with(4, 1.0).incidents().is_empty());
    for short in [with(60, 1.0), with(4, 40.0)] {
        let verdict = short.incident().verdict;
        assert_eq!((verdict.scenario, verdict.confidence), (Scenario::Killed, Confidence::Medium));
        assert!(verdict.summary.contains("a probe failed while it was short of memory"), "{}", verdict.summary);
    }
}

#[test]
fn a_probe_is_no_reason_where_it_is_another_containers_or_long_ago_or_the_kubelet_has_another() {
    let probe = |name: &str| {
        let container = Container { name: Some(name.to_owned()), ..Container::default() };
        change(ContainerAction::ProbeFailed, pod('a'), Some(container))
    };
    let reported = |second: f64, name: &str, reason: Option<&str>| {
        let mut world = World::default();
        let killing = change(ContainerAction::Killing, pod('a'), Some(container("app", '1')));
        let killing = ContainerChange { reason: reason.map(str::to_owned), grace_period_ms: Some(30_000), ..killing };
        world.change(second, probe(name)).change(0.0, killing).died(30.0, pod('a'), unnamed('1'), 137);
        world.ends()[0].reason == EndReason::Probe
    };
    assert!(reported(-1.0, "app", None));
    assert!(reported(-1.0, "app", Some("LivenessProbe")));
    assert!(!reported(-1.0, "web", None));
    assert!(!reported(-270.0, "app", None));
    assert!(!reported(-1.0, "app", Some("DefinitionChanged")));
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
fn a_pod_that_goes_for_a_critical_one_says_what_had_no_room() {
    let reason = Some(ContainerChange::PREEMPTING.to_owned());
    let message = Some("no room for a critical pod's request of memory".to_owned());
    let killing = change(ContainerAction::Killing, pod('a'), Some(container("app", '1')));
    let mut world = World::default();
    world.change(0.0, ContainerChange { reason, message, ..killing }).died(2.0, pod('a'), unnamed('1'), 143);
    assert!(world.incidents().is_empty());
    let [end] = &world.ends()[..] else { unreachable!("one") };
    assert_eq!(end.reason, EndReason::Preempted);
    assert_eq!(
        end.message.as_deref(),
        Some(
            "Container app of pod default/pod-a ended with 143: its pod made room for a critical one (no room for a critical pod's request of memory)."
        )
    );
}
