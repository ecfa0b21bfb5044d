//! What is not known is said.

use oomtrace_model::{
    Confidence, Container, ContainerAction, Event, Level, OomKill, OutOfMemoryLog, Pressure, Scenario, Source,
};

use super::world::{MIB, World, change, container, kill, pod, pod_by_uid, unnamed};

#[test]
fn a_kill_alone_does_not_say_whose_limit_it_was() {
    let alone = |limit| OomKill {
        pod: None,
        container: None,
        limit,
        message: Some("Memory cgroup out of memory".to_owned()),
        ..kill(pod('a'), unnamed('1'), Level::Container, 80)
    };
    let verdict = World::default().kill(0.0, alone(None)).incident().verdict;
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::UnknownLimit, Confidence::Low));
    assert_eq!(verdict.heading, "OOM kill: whose limit is not known");
    assert_eq!(verdict.kubernetes_shows, ["OOMKilled 137, if it was in a container"]);
    assert!(!verdict.summary.contains("in the node"), "{}", verdict.summary);
    // How large it is may be known.
    let mut limit = kill(pod('a'), unnamed('1'), Level::Container, 80).limit.expect("a limit");
    (limit.level, limit.cgroup) = (None, None);
    let verdict = World::default().kill(0.0, alone(Some(limit))).incident().verdict;
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::UnknownLimit, Confidence::Low));
    assert!(
        verdict.summary.contains("a memory limit of 80 MiB was hit; nothing at hand says whose"),
        "{}",
        verdict.summary
    );
}

#[test]
fn what_a_runtime_noticed_says_neither_whose_limit_it_was_nor_what_became_of_the_container() {
    let mut world = World::default();
    let noticed = oomtrace_model::ContainerChange {
        container: Some(unnamed('5')),
        ..oomtrace_model::ContainerChange::new(ContainerAction::OomNoticed)
    };
    world.tell(0.0, Source::Cri, Event::Container(Box::new(noticed)));
    let verdict = world.incident().verdict;
    assert_eq!((verdict.scenario, verdict.invisible), (Scenario::UnknownLimit, None));
    assert!(!verdict.summary.contains("lives on"), "{}", verdict.summary);
}

/// What systemd noticed in a unit.
fn in_unit(unit: &str) -> Event {
    let cgroup = Some(oomtrace_model::Cgroup { unit: Some(unit.to_owned()), ..oomtrace_model::Cgroup::default() });
    let noticed = oomtrace_model::ContainerChange::new(ContainerAction::OomNoticed);
    Event::Container(Box::new(oomtrace_model::ContainerChange { cgroup, ..noticed }))
}

#[test]
fn what_systemd_noticed_in_a_unit_is_a_kill_that_may_be_known_already() {
    let mut world = World::default();
    world
        .tell(0.0, Source::Cri, in_unit("a.service"))
        .tell(0.1, Source::Cri, in_unit("user@1000.service"))
        .tell(1.0, Source::Cri, in_unit("a.service"))
        .tell(200.0, Source::Cri, in_unit("a.service"));
    let incidents = world.incidents();
    let starts: Vec<_> = incidents.iter().map(|incident| incident.kills).collect();
    assert_eq!(starts, [2], "one each time, and the manager of a user's has others in it");
    let verdict = &incidents[0].verdict;
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::UnknownLimit, Confidence::Low));
    assert!(verdict.summary.contains("in unit a.service"), "{}", verdict.summary);
    assert_eq!(verdict.kubernetes_shows, [""; 0]);
    // The kernel's line of it, or of another at that time, is the same kill.
    for unit in ["a.service", "b.service"] {
        let mut world = World::default();
        let cgroup = oomtrace_model::Cgroup {
            path: Some(format!("/system.slice/{unit}")),
            unit: Some(unit.to_owned()),
            ..oomtrace_model::Cgroup::default()
        };
        let known = OomKill { cgroup: Some(cgroup), ..kill(pod('a'), unnamed('1'), Level::Container, 80) };
        world.kill(0.0, known).tell(1.0, Source::Cri, in_unit("a.service"));
        assert_eq!(world.incidents().len(), 1, "{unit}");
    }
}

#[test]
fn an_incident_is_of_its_first_kill_and_later_lives_are_listed() {
    let mut world = World::default();
    world
        .kill(0.0, kill(pod_by_uid('a'), unnamed('1'), Level::Container, 64))
        .kill(60.0, kill(pod_by_uid('a'), unnamed('2'), Level::Container, 64));
    let incident = world.incident();
    assert_eq!(incident.container.and_then(|container| container.id), unnamed('1').id);
    assert_eq!(incident.later_ids, Vec::from_iter(unnamed('2').id));
    assert!(incident.verdict.summary.contains("the first of 2 kills"), "{}", incident.verdict.summary);
}

#[test]
fn of_a_pod_of_whose_containers_one_alone_is_known_that_one_has_the_name() {
    let killed = |names: &[&str]| {
        let mut world = World::default();
        let containers: Vec<_> = names.iter().map(|name| (*name, None)).collect();
        world.file_says('a', &containers);
        world.known.snapshot.pods.values_mut().for_each(|record| record.complete = false);
        world.kill(0.0, kill(pod_by_uid('a'), unnamed('1'), Level::Container, 64));
        world.incident().container.and_then(|container| container.name)
    };
    assert_eq!(killed(&["app"]).as_deref(), Some("app"));
    assert_eq!(killed(&["app", "proxy"]), None);
}

fn log(name: &str, message: &str) -> Event {
    Event::OutOfMemoryLog(Box::new(OutOfMemoryLog {
        pod: Some(pod('a')),
        container: Some(Container { name: Some(name.to_owned()), ..Container::default() }),
        runtime: Some("Java".to_owned()),
        message: Some(message.to_owned()),
    }))
}

#[test]
fn a_runtime_that_gives_up_at_its_own_limit_says_so_in_its_log() {
    let words = "java.lang.OutOfMemoryError: Java heap space";
    let ended = |second: f64, name: &str, code: u8| {
        let mut world = World::default();
        world.tell(second, Source::Cri, log(name, words));
        let pressure = Pressure {
            container: Some(container("app", '1')),
            usage_bytes: Some(200 * MIB),
            limit_bytes: Some(256 * MIB),
            ..Pressure::default()
        };
        world.tell(-5.0, Source::Oomtrace, Event::Pressure(Box::new(pressure)));
        world.exit(0.0, pod('a'), container("app", '1'), code);
        world.incidents().pop().map(|incident| incident.verdict)
    };
    let verdict = ended(-1.0, "app", 3).expect("an incident");
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::RuntimeRefused, Confidence::Medium));
    assert_eq!(
        verdict.summary,
        format!(
            "Container app of pod default/pod-a gave up with exit code 3 after its log said that memory ran out (Java): \"{words}\"; no OOM kill was seen. It used 200 MiB of its limit of 256 MiB shortly before."
        )
    );
    assert!(verdict.advice.contains("-Xmx"), "{}", verdict.advice);
    // Another container's log, or one of long before, says nothing of it.
    assert!(ended(-1.0, "proxy", 3).is_none());
    assert!(ended(-300.0, "app", 3).is_none());
    assert!(ended(-1.0, "app", 0).is_none());
    // A fault without such a line is a crash, and nothing is claimed of memory.
    let crashed = ended(-300.0, "app", 134).expect("an incident");
    assert_eq!((crashed.scenario, crashed.confidence), (Scenario::Crashed, Confidence::Medium));
    assert!(!crashed.summary.contains("memory"), "{}", crashed.summary);
}

#[test]
fn an_oom_kill_that_its_log_speaks_of_too_is_the_kernels() {
    let mut world = World::default();
    world
        .tell(-1.0, Source::Cri, log("app", "java.lang.OutOfMemoryError: Java heap space"))
        .kill(0.0, kill(pod('a'), container("app", '1'), Level::Container, 64))
        .died(1.0, pod('a'), unnamed('1'), 137)
        .change(1.1, change(ContainerAction::BackOff, pod('a'), Some(container("app", '1'))));
    assert_eq!(world.incident().verdict.scenario, Scenario::ContainerLimit);
}

#[test]
fn of_a_crash_it_is_said_which_limit_of_a_heap_was_set_and_where() {
    let crashed = |started_with: &[&str], specified: &[&str], comm: &str| {
        let mut world = World::default();
        world.file_says('a', &[("app", Some(256))]);
        for record in world.known.snapshot.pods.values_mut().flat_map(|pod| pod.containers.values_mut()) {
            record.heap_settings = specified.iter().map(|setting| (*setting).to_owned()).collect();
        }
        let exit = oomtrace_model::ProcessExit {
            pod: Some(pod('a')),
            container: Some(container("app", '1')),
            task: oomtrace_model::Task {
                container_init: Some(true),
                comm: Some(comm.to_owned()),
                ..Default::default()
            },
            signal: Some("SIGABRT".to_owned()),
            container_exit_code: Some(134),
            heap_settings: started_with.iter().map(|setting| (*setting).to_owned()).collect(),
            ..Default::default()
        };
        world.tell(0.0, Source::Kernel, Event::ProcessExit(Box::new(exit)));
        world.incident().verdict
    };
    let verdict = crashed(&["-Xmx192m"], &["JAVA_TOOL_OPTIONS=-XX:MaxRAMPercentage=80"], "java");
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::Crashed, Confidence::Medium));
    for words in [
        "a program of Java (by the name of its first process)",
        "started with (command line and environment, read while it ran) -Xmx192m.",
        "Its specification has JAVA_TOOL_OPTIONS=-XX:MaxRAMPercentage=80.",
    ] {
        assert!(verdict.advice.contains(words), "{words}: {}", verdict.advice);
    }
    let by_settings = crashed(&[], &["NODE_OPTIONS=--max-old-space-size=96"], "sh").advice;
    assert!(by_settings.contains("a program of Node.js (by the settings of its heap)"), "{by_settings}");
    let nothing = crashed(&[], &[], "app").advice;
    assert!(!nothing.contains("specification") && !nothing.contains("a program of"), "{nothing}");
}

#[test]
fn a_status_without_an_id_and_without_a_time_is_of_the_container_that_it_names() {
    let mut world = World::default();
    world.known.statuses_alone = true;
    let ended = |name: &str, reason: &str| {
        let container = oomtrace_model::Container { name: Some(name.to_owned()), ..Default::default() };
        oomtrace_model::ContainerChange {
            pod: Some(oomtrace_model::Pod { uid: None, ..pod('a') }),
            container: Some(container),
            exit_code: Some(137),
            reason: Some(reason.to_owned()),
            ..oomtrace_model::ContainerChange::new(ContainerAction::Died)
        }
    };
    let line = |seq, ts: &str, change| oomtrace_model::Line {
        ts: ts.to_owned(),
        seq,
        node: "n".to_owned(),
        source: Source::Kubelet,
        boot_ns: None,
        event: Event::Container(Box::new(change)),
    };
    world.lines.push(line(1, "1970-01-01T00:00:00.000001Z", ended("app", "OOMKilled")));
    world.lines.push(line(2, "2026-06-01T10:00:00Z", ended("proxy", "Error")));
    let incidents = world.incidents();
    let seen: Vec<_> = incidents
        .iter()
        .map(|incident| {
            let name = incident.container.as_ref().and_then(|container| container.name.as_deref());
            (incident.verdict.scenario, name, incident.time_unknown)
        })
        .collect();
    assert_eq!(
        seen,
        [(Scenario::UnknownLimit, Some("app"), true), (Scenario::Killed, Some("proxy"), false)],
        "{:?}",
        incidents.iter().map(|incident| &incident.verdict.summary).collect::<Vec<_>>()
    );
    assert!(incidents[0].verdict.missing.iter().any(|missing| missing.starts_with("when it was")));
}

#[test]
fn events_of_a_failed_probe_explain_a_status_with_137() {
    let mut world = World::default();
    world.known.statuses_alone = true;
    world.known.snapshot.probe_kills.push(oomtrace_model::snapshot::ProbeKill {
        pod: pod('a'),
        container: "app".to_owned(),
        probe: "liveness".to_owned(),
    });
    world.died(0.0, pod('a'), container("app", '1'), 137).died(9.0, pod('b'), container("app", '2'), 137);
    let [probed, other] = &world.incidents()[..] else { unreachable!("two") };
    assert_eq!((probed.verdict.scenario, probed.verdict.confidence), (Scenario::Killed, Confidence::Medium));
    let words = "the kubelet ends it because its liveness probe fails";
    assert!(probed.verdict.summary.contains(words), "{}", probed.verdict.summary);
    assert_eq!(other.verdict.confidence, Confidence::Low);
    assert!(!other.verdict.summary.contains("probe"), "{}", other.verdict.summary);
}

#[test]
fn an_end_whose_container_has_no_name_is_not_the_nodes() {
    for (code, words) in [(139, "A container crashed by SIGSEGV"), (137, "A container ended with exit code 137")] {
        let mut world = World::default();
        world.known.statuses_alone = true;
        let ended = oomtrace_model::ContainerChange {
            container: Some(Container::default()),
            exit_code: Some(code),
            ..oomtrace_model::ContainerChange::new(ContainerAction::Died)
        };
        let incident = world.change(0.0, ended).incident();
        assert!(incident.verdict.summary.starts_with(words), "{}", incident.verdict.summary);
    }
    // By its name alone each is one of its own.
    let mut world = World::default();
    world.known.statuses_alone = true;
    for (second, name) in [(0.0, "web"), (1.0, "cache")] {
        let ended = oomtrace_model::ContainerChange {
            container: Some(Container { name: Some(name.to_owned()), ..Container::default() }),
            exit_code: Some(137),
            ..oomtrace_model::ContainerChange::new(ContainerAction::Died)
        };
        world.change(second, ended);
    }
    let [web, cache] = &world.incidents()[..] else { unreachable!("two") };
    assert!(web.verdict.summary.starts_with("Container web ended"), "{}", web.verdict.summary);
    assert!(cache.verdict.summary.starts_with("Container cache ended"), "{}", cache.verdict.summary);
}
