use oomtrace_model::{
    Confidence, Container, ContainerAction, ContainerChange, ContainerRole, Level, OomKill, Scenario, SenderRole,
    Source, Task, Victim,
};

use super::world::{MIB, World, candidate, change, container, kill, pod, pod_by_uid, task, unnamed};

#[test]
fn a_container_over_its_own_limit() {
    let mut world = World::default();
    world.kill(0.0, kill(pod('a'), container("app", '1'), Level::Container, 64)).died(2.0, pod('a'), unnamed('1'), 137);
    let incident = world.incident();
    let verdict = &incident.verdict;
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::ContainerLimit, Confidence::High));
    assert_eq!(
        (verdict.invisible, verdict.group_kill, verdict.innocent, verdict.bystander),
        (Some(false), Some(true), Some(false), Some(false))
    );
    assert_eq!((incident.kills, incident.deaths), (1, 1));
    assert_eq!((incident.limit_level, incident.limit_bytes), (Some(Level::Container), Some(64 * MIB)));
    assert_eq!(incident.victim_comm.as_deref(), Some("app"));
    assert_eq!(verdict.kubernetes_shows, ["OOMKilled 137"]);
    assert_eq!(
        verdict.summary,
        "The kernel killed app (pid 7) with 63 MiB of its own in container app of pod default/pod-a because the container hit its memory limit of 64 MiB."
    );
    assert!(verdict.advice.contains("limit above 64 MiB"), "{}", verdict.advice);
}

#[test]
fn a_crash_loop_of_oom_kills_is_one_incident() {
    let mut world = World::default();
    for (restart, id) in ['1', '2', '3', '4'].into_iter().enumerate() {
        let at = f64::from(u32::try_from(restart).expect("few")) * 300.0;
        world.kill(at, kill(pod_by_uid('a'), unnamed(id), Level::Container, 64)).died(
            at + 2.0,
            pod('a'),
            unnamed(id),
            137,
        );
    }
    let incident = world.incident();
    assert_eq!((incident.kills, incident.deaths), (4, 4));
    assert!(incident.verdict.advice.contains("within 300 s of each kill"), "{}", incident.verdict.advice);
    // Twenty minutes later it is another one.
    world.kill(3000.0, kill(pod_by_uid('a'), unnamed('5'), Level::Container, 64));
    assert_eq!(world.incidents().len(), 2);
}

#[test]
fn a_pod_of_one_container_that_hits_the_pods_limit_has_hit_its_own() {
    let at_pod = || kill(pod('a'), unnamed('1'), Level::Pod, 64);
    // A file says it has one container.
    let mut world = World::default();
    world.file_says('a', &[("app", Some(64))]).kill(0.0, at_pod());
    let incident = world.incident();
    assert_eq!((incident.verdict.scenario, incident.verdict.confidence), (Scenario::ContainerLimit, Confidence::High));
    assert_eq!(incident.limit_level, Some(Level::Pod));
    assert_eq!(incident.container.and_then(|container| container.name).as_deref(), Some("app"));
    // The kubelet started a sandbox and one container.
    let mut world = World::default();
    world.started(0.0, pod('a'), unnamed('0')).started(1.0, pod('a'), unnamed('1')).kill(9.0, at_pod());
    assert_eq!(
        (world.incident().verdict.scenario, world.incident().verdict.confidence),
        (Scenario::ContainerLimit, Confidence::High)
    );
    // The kernel lists no other process but the sandbox's.
    let mut pause = candidate("pause", 3, 0, None);
    pause.task.oom_score_adj = Some(-998);
    let mut world = World::default();
    world.kill(
        0.0,
        OomKill {
            candidates: Some(vec![candidate("app", 7, 63, None), pause]),
            candidates_weighed: Some(2),
            ..at_pod()
        },
    );
    assert_eq!(
        (world.incident().verdict.scenario, world.incident().verdict.confidence),
        (Scenario::ContainerLimit, Confidence::High)
    );
    // Nothing tells.
    let mut world = World::default();
    world.kill(0.0, at_pod());
    let verdict = world.incident().verdict;
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::ContainerLimit, Confidence::Medium));
    assert!(verdict.missing.iter().any(|missing| missing.contains("how many containers")));
}

#[test]
fn containers_that_hit_a_limit_together_that_none_of_them_has() {
    let at_pod = || kill(pod('a'), unnamed('1'), Level::Pod, 64);
    let mut world = World::default();
    world.file_says('a', &[("app", None), ("cache", None)]).kill(0.0, at_pod());
    assert_eq!(world.incident().verdict.scenario, Scenario::PodLimit);
    // The sandbox and two containers ran.
    let mut world = World::default();
    world
        .started(0.0, pod('a'), unnamed('0'))
        .started(1.0, pod('a'), unnamed('1'))
        .started(1.5, pod('a'), unnamed('2'))
        .kill(9.0, at_pod());
    assert_eq!(world.incident().verdict.scenario, Scenario::PodLimit);
    // The kernel lists processes of two containers, and the victim is not the one that ate.
    let small = candidate("app", 7, 10, Some((pod('a'), container("app", '1'))));
    let large = candidate("redis", 8, 50, Some((pod('a'), container("cache", '2'))));
    let mut world = World::default();
    world.kill(0.0, OomKill { candidates: Some(vec![large, small]), ..at_pod() });
    let verdict = world.incident().verdict;
    assert_eq!((verdict.scenario, verdict.bystander), (Scenario::PodLimit, Some(true)));
    assert!(
        verdict.summary.contains("redis in container cache of pod default/pod-a used most (50 MiB"),
        "{}",
        verdict.summary
    );
}

#[test]
fn pods_over_allocatable_may_have_a_bystander_killed() {
    let victim = candidate("app", 7, 20, Some((pod('a'), container("app", '1'))));
    let eater = candidate("memhog", 8, 900, Some((pod('b'), container("leaky", '2'))));
    let oom = OomKill {
        candidates: Some(vec![victim, eater]),
        trigger: task("memhog", 8),
        ..kill(pod('a'), unnamed('1'), Level::Kubepods, 1024)
    };
    let mut world = World::default();
    world.kill(0.0, oom);
    let verdict = world.incident().verdict;
    assert_eq!(
        (verdict.scenario, verdict.bystander, verdict.innocent),
        (Scenario::AllocatableOom, Some(true), Some(true))
    );
    assert!(
        verdict
            .summary
            .contains("memhog in container leaky of pod default/pod-b used most (900 MiB against the victim's 20 MiB)"),
        "{}",
        verdict.summary
    );
    assert!(verdict.advice.contains("1 GiB"), "{}", verdict.advice);
}

#[test]
fn a_node_that_ran_out() {
    let mut world = World::default();
    world.kill(0.0, kill(pod('a'), unnamed('1'), Level::Node, 2048)).died(1.0, pod('a'), unnamed('1'), 137);
    assert_eq!(world.incident().verdict.scenario, Scenario::SystemOom);
    // The report was left out by the rate limit: the last line still says so.
    let mut world = World::default();
    let bare = OomKill {
        limit: None,
        message: Some("Out of memory".to_owned()),
        ..kill(pod('a'), unnamed('1'), Level::Node, 1)
    };
    world.kill(0.0, bare);
    assert_eq!(
        (world.incident().verdict.scenario, world.incident().verdict.confidence),
        (Scenario::SystemOom, Confidence::Medium)
    );
}

#[test]
fn a_child_killed_while_pid_1_survives_is_invisible_to_kubernetes() {
    let child = || OomKill { group: Some(false), ..kill(pod('a'), container("app", '1'), Level::Container, 64) };
    // The kernel knows that it was not the first process.
    let mut world = World::default();
    let mut seen = child();
    seen.victim.task.container_init = Some(false);
    world.kill(0.0, seen);
    let verdict = world.incident().verdict;
    assert_eq!((verdict.invisible, verdict.kubernetes_shows), (Some(true), vec!["nothing".to_owned()]));
    // Nothing tells.
    let mut world = World::default();
    world.kill(0.0, child());
    assert_eq!(world.incident().verdict.invisible, None);
    // The kubelet was listened to, and saw no end.
    world.kubelet_speaks(-5.0).kubelet_speaks(60.0);
    assert_eq!(world.incident().verdict.invisible, Some(true));
    // Its first process reaped the child and exited by itself: the container ended, and the mark of the kill is on it.
    let mut world = World::default();
    world.kill(0.0, child()).died(1.2, pod('a'), unnamed('1'), 1);
    let verdict = world.incident().verdict;
    assert_eq!((verdict.invisible, verdict.kubernetes_shows), (Some(false), vec!["OOMKilled 1".to_owned()]));
}

#[test]
fn a_kill_reported_by_the_probes_and_by_two_copies_of_the_log_is_one() {
    let mut world = World::default();
    let by_probes = OomKill { decision: Some(1), ..kill(pod('a'), unnamed('1'), Level::Container, 64) };
    let mut by_log = kill(pod('a'), unnamed('1'), Level::Container, 64);
    by_log.victim.task.tgid = None;
    by_log.group = None;
    world.tell(0.0, Source::Kernel, oomtrace_model::Event::OomKill(Box::new(by_probes)));
    world.kill(0.1, by_log.clone()).kill(-0.7, by_log);
    let incident = world.incident();
    assert_eq!((incident.kills, incident.group), (1, Some(true)));
}

#[test]
fn a_container_without_a_name_gets_the_one_that_the_kubelet_waits_with() {
    let mut world = World::default();
    let back_off = ContainerChange {
        ..change(
            ContainerAction::BackOff,
            pod('a'),
            Some(oomtrace_model::Container { name: Some("app".to_owned()), ..Default::default() }),
        )
    };
    world
        .kill(0.0, kill(pod_by_uid('a'), unnamed('1'), Level::Container, 64))
        .died(2.0, pod_by_uid('a'), unnamed('1'), 137)
        .change(2.1, back_off)
        .kill(15.0, kill(pod_by_uid('a'), unnamed('2'), Level::Container, 64));
    let incident = world.incident();
    assert_eq!(incident.kills, 2);
    assert_eq!(incident.container.and_then(|container| container.name).as_deref(), Some("app"));
    assert_eq!(incident.pod.and_then(|pod| pod.name).as_deref(), Some("pod-a"));
}

#[test]
fn two_containers_of_one_pod_are_two_incidents() {
    let mut world = World::default();
    world
        .kill(0.0, kill(pod('a'), container("app", '1'), Level::Container, 64))
        .kill(1.0, kill(pod('a'), container("cache", '2'), Level::Container, 32));
    assert_eq!(world.incidents().len(), 2);
}

#[test]
fn a_host_service_over_its_limit_is_reported_as_such() {
    let mut world = World::default();
    let victim =
        Victim { task: Task { ..task("postgres", 9) }, ..kill(pod('a'), unnamed('1'), Level::Other, 10).victim };
    let cgroup = oomtrace_model::Cgroup {
        path: Some("/system.slice/pg.service".to_owned()),
        id: None,
        unit: Some("pg.service".to_owned()),
    };
    world.kill(
        0.0,
        OomKill {
            pod: None,
            container: None,
            cgroup: Some(cgroup),
            victim,
            ..kill(pod('a'), unnamed('1'), Level::Other, 10)
        },
    );
    let incident = world.incident();
    assert_eq!(incident.verdict.scenario, Scenario::OtherLimit);
    assert!(incident.verdict.summary.contains("in unit pg.service"), "{}", incident.verdict.summary);
}

#[test]
fn a_container_without_a_limit_did_not_hit_it() {
    let reported = |limit_mib| {
        let mut world = World::default();
        world.file_says('a', &[("app", limit_mib)]).died(0.0, pod('a'), container("app", '1'), 137).change(
            0.1,
            ContainerChange {
                reason: Some("OOMKilled".to_owned()),
                exit_code: Some(137),
                ..change(ContainerAction::Reported, pod('a'), Some(container("app", '1')))
            },
        );
        let verdict = world.incident().verdict;
        (verdict.scenario, verdict.confidence, verdict.summary, verdict.advice)
    };
    let (scenario, confidence, summary, advice) = reported(Some(64));
    assert_eq!((scenario, confidence), (Scenario::UnknownLimit, Confidence::Low));
    assert!(summary.contains("(the container's own is 64 MiB)"), "{summary}");
    assert!(advice.contains("64 MiB"), "{advice}");
    let (scenario, confidence, summary, _) = reported(None);
    assert_eq!((scenario, confidence), (Scenario::UnknownLimit, Confidence::Low));
    assert!(summary.contains("the container has none of its own"), "{summary}");
}

#[test]
fn a_sandbox_is_reported_as_such_by_its_process_or_by_files() {
    let killed = |comm: &str, score: i32, known: bool| {
        let mut world = World::default();
        world.file_says('a', &[("app", None)]);
        if known {
            let record = world.known.snapshot.pods.values_mut().next().expect("a pod");
            record.sandboxes.extend(unnamed('2').id);
        }
        let mut kill = kill(pod('a'), unnamed('2'), Level::Container, 64);
        kill.victim.task.comm = Some(comm.to_owned());
        kill.victim.task.oom_score_adj = Some(score);
        world.kill(0.0, kill);
        let incident = world.incident();
        let sandbox = incident.container.as_ref().is_some_and(|container| container.role.is_some());
        assert!(
            !sandbox || incident.verdict.summary.contains("in the sandbox of pod default/pod-a"),
            "{}",
            incident.verdict.summary
        );
        incident.container.and_then(|container| container.role)
    };
    assert_eq!(killed("pause", -998, false), Some(ContainerRole::Sandbox));
    assert_eq!(killed("qemu-system-x86", 900, true), Some(ContainerRole::Sandbox));
    assert_eq!(killed("pause", 900, false), None, "anybody may have the name");
}

#[test]
fn each_life_of_a_container_has_its_own_restart_count() {
    let mut world = World::default();
    world.file_says('a', &[("app", None)]);
    let record = world.known.snapshot.pods.values_mut().next().expect("a pod");
    let app = record.containers.get_mut("app").expect("a container");
    app.restart_count = Some(3);
    app.ids.extend([(unnamed('2').id.expect("an id"), Some(3)), (unnamed('1').id.expect("an id"), Some(2))]);
    world.kill(0.0, kill(pod('a'), unnamed('1'), Level::Container, 64));
    assert_eq!(world.incident().container, Some(Container { restart_count: Some(2), ..container("app", '1') }));
}

#[test]
fn the_limit_of_the_container_that_a_node_runs_in_is_not_the_killed_containers() {
    let mut world = World::default();
    let mut kill = kill(pod('a'), container("app", '1'), Level::Container, 64);
    if let Some(limit) = &mut kill.limit {
        limit.container = Some(Container { name: Some("kind-worker".to_owned()), ..unnamed('2') });
    }
    world.kill(0.0, kill);
    let verdict = world.incident().verdict;
    assert_eq!(verdict.scenario, Scenario::OtherLimit);
    let words = "because the container that the node runs in (kind-worker) hit its memory limit of 64 MiB";
    assert!(verdict.summary.contains(words), "{}", verdict.summary);
    assert!(verdict.advice.contains("Give the container that the node runs in a limit above"), "{}", verdict.advice);
}

#[test]
fn a_container_that_the_kubelet_ended_later_had_outlived_the_kill() {
    let child = OomKill { group: Some(false), ..kill(pod('a'), container("app", '1'), Level::Container, 64) };
    let mut world = World::default();
    world
        .kill(0.0, child)
        .killing(12.0, 'a', container("app", '1'))
        .died(14.0, pod('a'), unnamed('1'), 137)
        .kubelet_speaks(60.0);
    let verdict = world.incident().verdict;
    assert_eq!((verdict.invisible, verdict.kubernetes_shows), (Some(true), vec!["nothing".to_owned()]));
}

#[test]
fn a_kill_that_only_the_kubelet_noticed_is_reported_and_what_is_missing_is_said() {
    let mut world = World::default();
    world
        .change(0.0, change(ContainerAction::OomNoticed, pod('a'), Some(unnamed('1'))))
        .change(0.2, change(ContainerAction::OomNoticed, pod('a'), Some(unnamed('1'))))
        .died(1.0, pod('a'), container("app", '1'), 137);
    let incident = world.incident();
    assert_eq!((incident.kills, incident.deaths, incident.verdict.confidence), (1, 1, Confidence::Low));
    assert!(incident.verdict.missing.iter().any(|missing| missing.contains("--kernel-log")));
    // The kernel tells it, too: then it is one, and nothing is missing.
    world.kill(-1.0, kill(pod('a'), container("app", '1'), Level::Container, 64));
    let incident = world.incident();
    assert_eq!((incident.kills, incident.verdict.confidence), (1, Confidence::High));
    // The node was out of memory, says the kubelet alone.
    let mut world = World::default();
    let oom = oomtrace_model::SystemOom { pid: Some(801), comm: Some("memhog".to_owned()), of_any_limit: false };
    world.tell(0.0, Source::Kubelet, oomtrace_model::Event::SystemOom(Box::new(oom.clone())));
    assert_eq!(world.incident().verdict.scenario, Scenario::SystemOom);
    // It says so of any limit's before 1.21.
    let mut world = World::default();
    let oom = oomtrace_model::SystemOom { of_any_limit: true, ..oom };
    world.tell(0.0, Source::Kubelet, oomtrace_model::Event::SystemOom(Box::new(oom)));
    let incident = world.incident();
    assert_eq!((incident.limit_level, incident.verdict.confidence), (None, Confidence::Low));
}

#[test]
fn a_container_whose_first_process_is_reported_to_end_after_a_kill_had_outlived_it() {
    let mut child = kill(pod('a'), container("app", '1'), Level::Container, 64);
    (child.group, child.victim.task.container_init) = (Some(false), Some(false));
    let mut world = World::default();
    world.kill(0.0, child.clone()).exit(5.1, pod('a'), container("app", '1'), 143);
    assert_eq!(world.incident().verdict.invisible, Some(false));
    // By its own entry point, which reaps the child: no.
    world.signal(5.0, 15, SenderRole::SameContainer, "tini", (pod('a'), container("app", '1')));
    assert_eq!(world.incident().verdict.invisible, Some(false));
    world.signal(5.0, 15, SenderRole::Runtime, "runc", (pod('a'), container("app", '1')));
    let incidents = world.incidents();
    let reported = incidents.iter().map(|incident| (incident.verdict.scenario, incident.verdict.invisible));
    assert_eq!(reported.collect::<Vec<_>>(), [(Scenario::ContainerLimit, Some(true))]);
    assert_eq!(world.ends().iter().map(|end| end.exit_code).collect::<Vec<_>>(), [Some(143)]);
}

#[test]
fn the_members_of_a_group_that_follow_their_kill_are_its_own() {
    use oomtrace_model::{Event, OomVictim, Why};
    let mut world = World::default();
    let first = OomKill { decision: Some(3), ..kill(pod('a'), unnamed('1'), Level::Container, 64) };
    world.tell(0.0, Source::Kernel, Event::OomKill(Box::new(first)));
    for (pid, decision, why) in [(7, 3, Why::Killed), (8, 3, Why::Group), (9, 4, Why::Group), (10, 3, Why::Group)] {
        let victim = OomVictim {
            why,
            decision: Some(decision),
            pod: Some(pod('a')),
            container: Some(unnamed('1')),
            cgroup: None,
            memory: oomtrace_model::Memory::default(),
            task: super::world::task("worker", pid),
        };
        world.tell(0.1, Source::Kernel, Event::OomVictim(Box::new(victim)));
    }
    let incident = world.incident();
    assert_eq!((incident.kills, incident.processes_killed), (1, 3));
}
