use oomtrace_model::{
    Confidence, ContainerAction, ContainerChange, ContainerUse, Eviction, EvictionPhase, Level, ReportedBy, Scenario,
    snapshot::EvictionNotice,
};

use super::world::{MIB, World, change, container, kill, pod, pod_by_name, step, unnamed};

const NODE: &str = "memory.available";
const ALLOCATABLE: &str = "allocatableMemory.available";

fn observed(signal: &str, available: u64, threshold: Option<u64>) -> Eviction {
    Eviction {
        signal: Some(signal.to_owned()),
        memory: Some(true),
        available_bytes: Some(available * MIB),
        capacity_bytes: Some(2000 * MIB),
        threshold_bytes: threshold.map(|mib| mib * MIB),
        ..step(EvictionPhase::Observed)
    }
}

/// An eviction as the log of the default verbosity has it, with the lines about the containers.
pub(super) fn evicted() -> World {
    let mut world = World::default();
    world
        .evicts(0.0, 'a')
        .killing(0.2, 'a', container("web", '1'))
        .killing(0.21, 'a', container("cache", '2'))
        .died(6.0, pod('a'), unnamed('1'), 0)
        .died(6.1, pod('a'), unnamed('2'), 0);
    world
}

#[test]
fn an_evicted_pod_is_one_incident_with_all_its_containers() {
    let incident = evicted().incident();
    assert_eq!(incident.pod, Some(pod('a')).map(|pod| oomtrace_model::Pod { ..pod }));
    let names: Vec<_> =
        incident.containers.iter().filter_map(|container| container.container.name.as_deref()).collect();
    assert_eq!(names, ["cache", "web"]);
    assert_eq!((incident.kills, incident.deaths, incident.evicted), (0, 2, true));
    assert_eq!(incident.verdict.kubernetes_shows, ["Evicted"]);
    assert_eq!(
        (incident.verdict.signal_from, incident.verdict.confidence),
        (Some(ReportedBy::Inference), Confidence::Low)
    );
    assert!(incident.verdict.missing.iter().any(|missing| missing.contains("--kubelet-metrics")));
    assert!(incident.verdict.summary.contains("number 1 of 2 in its ranking"), "{}", incident.verdict.summary);
}

#[test]
fn the_kubelets_counter_tells_the_two_signals_apart() {
    for (signal, scenario) in [(NODE, Scenario::NodePressureEvicted), (ALLOCATABLE, Scenario::AllocatableEvicted)] {
        let mut world = evicted();
        world.known.evictions_by_signal.insert(signal.to_owned(), 1);
        let verdict = world.incident().verdict;
        assert_eq!(
            (verdict.scenario, verdict.signal.as_deref(), verdict.signal_from),
            (scenario, Some(signal), Some(ReportedBy::Metrics))
        );
    }
    // It counted both, and more than there are: then it does not tell.
    let mut world = evicted();
    world.known.evictions_by_signal.extend([(NODE.to_owned(), 1), (ALLOCATABLE.to_owned(), 1)]);
    assert_eq!(world.incident().verdict.confidence, Confidence::Low);
    // As many as there are: which is which is a guess, and said to be one.
    world.evicts(30.0, 'b').killing(30.2, 'b', container("web", '7'));
    let verdicts: Vec<_> = world.incidents().into_iter().map(|incident| incident.verdict).collect();
    let reported: Vec<_> = verdicts.iter().map(|verdict| (verdict.scenario, verdict.confidence)).collect();
    assert_eq!(
        reported,
        [(Scenario::AllocatableEvicted, Confidence::Low), (Scenario::NodePressureEvicted, Confidence::Low)]
    );
}

#[test]
fn what_the_kubelet_observed_in_the_pass_tells_the_signal_and_the_amounts() {
    let mut world = evicted();
    world.eviction(-0.1, observed(NODE, 2000, None)).eviction(-0.05, observed(ALLOCATABLE, 700, Some(1024)));
    let verdict = world.incident().verdict;
    assert_eq!((verdict.scenario, verdict.signal_from), (Scenario::AllocatableEvicted, Some(ReportedBy::Observation)));
    assert_eq!(
        (verdict.threshold_bytes, verdict.available_bytes, verdict.amounts_from),
        (Some(1024 * MIB), Some(700 * MIB), Some(ReportedBy::Observation))
    );
    // The node's alone was below.
    let mut world = evicted();
    world.eviction(-0.1, observed(NODE, 700, Some(1024))).eviction(-0.05, observed(ALLOCATABLE, 1900, None));
    assert_eq!(world.incident().verdict.scenario, Scenario::NodePressureEvicted);
    // Both were: the kubelet takes allocatable.
    let mut world = evicted();
    world.eviction(-0.1, observed(NODE, 700, Some(1024))).eviction(-0.05, observed(ALLOCATABLE, 900, Some(1024)));
    assert_eq!(world.incident().verdict.scenario, Scenario::AllocatableEvicted);
    // An observation of the loop before does not count.
    let mut world = evicted();
    world.eviction(-60.0, observed(NODE, 700, Some(1024)));
    assert_eq!(world.incident().verdict.signal_from, Some(ReportedBy::Inference));
}

#[test]
fn a_counter_that_goes_up_right_after_an_eviction_tells_its_signal() {
    let mut world = evicted();
    world.evicts(60.0, 'b').killing(60.2, 'b', container("web", '7'));
    let counted = |signal: &str| Eviction {
        signal: Some(signal.to_owned()),
        memory: Some(true),
        counted: Some(1),
        ..step(EvictionPhase::Counted)
    };
    world.eviction(15.0, counted(NODE)).eviction(75.0, counted(ALLOCATABLE));
    let verdicts: Vec<_> = world.incidents().into_iter().map(|incident| incident.verdict).collect();
    let reported: Vec<_> =
        verdicts.iter().map(|verdict| (verdict.scenario, verdict.signal_from, verdict.confidence)).collect();
    let metrics = Some(ReportedBy::Metrics);
    assert_eq!(
        reported,
        [
            (Scenario::NodePressureEvicted, metrics, Confidence::Medium),
            (Scenario::AllocatableEvicted, metrics, Confidence::Medium)
        ]
    );
}

#[test]
fn a_soft_threshold_is_always_the_nodes() {
    let mut world = evicted();
    let not_yet =
        Eviction { signal: Some(NODE.to_owned()), memory: Some(true), ..step(EvictionPhase::GracePeriodNotMet) };
    world.eviction(-10.0, not_yet);
    let verdict = world.incident().verdict;
    assert_eq!(
        (verdict.scenario, verdict.signal_from),
        (Scenario::NodePressureEvicted, Some(ReportedBy::SoftThreshold))
    );
}

#[test]
fn a_sandbox_is_no_container() {
    let mut world = World::default();
    world
        .started(-60.0, pod('a'), unnamed('0'))
        .started(-50.0, pod('a'), unnamed('1'))
        .file_says('a', &[("web", None)])
        .evicts(0.0, 'a')
        .killing(0.2, 'a', container("web", '1'))
        .died(6.0, pod('a'), unnamed('1'), 0)
        .died(8.0, pod('a'), unnamed('0'), 0);
    assert_eq!(world.incident().deaths, 1);
}

#[test]
fn a_pods_event_has_the_amounts() {
    let mut world = evicted();
    world.known.snapshot.evictions.push(EvictionNotice {
        pod: pod('a'),
        message: "The node was low on resource: memory. …".to_owned(),
        threshold_bytes: Some(1024 * MIB),
        available_bytes: Some(900 * MIB),
        containers: vec![ContainerUse {
            container: oomtrace_model::Container { name: Some("web".to_owned()), ..Default::default() },
            usage_bytes: Some(100 * MIB),
            request_bytes: Some(0),
        }],
        ..EvictionNotice::default()
    });
    let incident = world.incident();
    assert_eq!(
        (incident.verdict.available_bytes, incident.verdict.amounts_from),
        (Some(900 * MIB), Some(ReportedBy::Status))
    );
    assert!(incident.verdict.summary.contains("(900 MiB available, threshold 1 GiB)"), "{}", incident.verdict.summary);
    assert!(incident.verdict.summary.contains("web used 100 MiB and requests nothing"), "{}", incident.verdict.summary);
}

#[test]
fn a_pod_that_could_not_be_ended_in_time_is_evicted_all_the_same() {
    let mut world = World::default();
    let memory = |phase| Eviction { resource: Some("memory".to_owned()), memory: Some(true), ..step(phase) };
    world
        .eviction(0.0, memory(EvictionPhase::ThresholdMet))
        .eviction(0.1, Eviction { pods: vec![pod_by_name('a')], ..step(EvictionPhase::Ranked) })
        .eviction(
            9.0,
            Eviction { pod: Some(pod_by_name('a')), error: Some("timeout".to_owned()), ..step(EvictionPhase::Failed) },
        )
        .eviction(9.1, Eviction { pods: vec![pod_by_name('a')], ..step(EvictionPhase::AwaitingCleanup) });
    assert!(world.incident().evicted);
}

#[test]
fn an_eviction_for_disk_space_is_no_incident_of_memory() {
    let mut world = World::default();
    let disk = |phase| Eviction { resource: Some("ephemeral-storage".to_owned()), memory: Some(false), ..step(phase) };
    world
        .eviction(0.0, disk(EvictionPhase::ThresholdMet))
        .eviction(0.05, Eviction { pods: vec![pod_by_name('a')], ..step(EvictionPhase::Ranked) })
        .eviction(5.0, Eviction { pod: Some(pod_by_name('a')), ..step(EvictionPhase::Evicted) })
        .died(4.0, pod('a'), unnamed('1'), 137);
    assert!(world.incidents().is_empty());
    world.known.everything = true;
    assert_eq!(world.incidents()[0].verdict.scenario, Scenario::Killed);
}

#[test]
fn a_pod_refused_admission_never_ran_and_is_no_incident() {
    let mut world = World::default();
    world.eviction(0.0, Eviction { pod: Some(pod('a')), memory: Some(true), ..step(EvictionPhase::AdmissionRefused) });
    assert!(world.incidents().is_empty());
}

#[test]
fn an_eviction_that_the_oom_killer_overtook_is_one_incident_with_both() {
    let mut world = World::default();
    world.kill(-8.0, kill(pod('a'), container("app", '1'), Level::Kubepods, 1024)).died(
        -6.0,
        pod('a'),
        unnamed('1'),
        137,
    );
    world
        .evicts(0.0, 'a')
        .started(-3.0, pod('a'), container("app", '2'))
        .killing(0.2, 'a', container("app", '2'))
        .died(2.0, pod('a'), unnamed('2'), 0);
    let incident = world.incident();
    assert_eq!(
        (incident.verdict.scenario, incident.verdict.also),
        (Scenario::AllocatableOom, Some(Scenario::AllocatableEvicted))
    );
    assert_eq!((incident.kills, incident.evicted, incident.deaths), (1, true, 2));
    assert_eq!(incident.verdict.kubernetes_shows, ["OOMKilled 137", "Evicted"]);
}

#[test]
fn a_kill_in_an_evictions_grace_period_belongs_to_the_eviction() {
    let mut world = World::default();
    world
        .evicts(0.0, 'a')
        .killing(0.2, 'a', container("app", '1'))
        .eviction(0.1, Eviction { pod: Some(pod('a')), ..step(EvictionPhase::Evicting) })
        .kill(1.0, kill(pod('a'), container("app", '1'), Level::Container, 64))
        .died(2.0, pod('a'), unnamed('1'), 137);
    let incident = world.incident();
    assert_eq!(
        (incident.verdict.scenario, incident.verdict.also),
        (Scenario::AllocatableEvicted, Some(Scenario::ContainerLimit))
    );
    assert_eq!(incident.kills, 1);
}

#[test]
fn a_pod_that_took_an_evicted_ones_name_is_another() {
    let mut world = evicted();
    // The same name, another uid, started long after.
    let later = oomtrace_model::Pod { name: Some("pod-a".to_owned()), ..pod('b') };
    world.started(900.0, later, unnamed('7')).change(900.0, change(ContainerAction::Started, pod_by_name('a'), None));
    assert_eq!(world.incident().pod.and_then(|found| found.uid), pod('a').uid);
}

#[test]
fn a_log_in_two_forms_does_not_double_an_eviction() {
    let once = evicted();
    let mut twice = evicted();
    // Whole seconds.
    for line in &once.lines {
        let second = line.ts.split('.').next().expect("a time").to_owned() + "Z";
        twice.lines.push(oomtrace_model::Line { ts: second, seq: line.seq + 100, ..line.clone() });
    }
    let incident = twice.incident();
    assert_eq!(incident.deaths, 2);
    assert_eq!(incident.steps.len(), once.incident().steps.len());
}

fn configured(threshold: Option<u64>, ratio: Option<f64>) -> Eviction {
    let signal = threshold.map(|_| ()).or(ratio.map(|_| ())).map(|()| NODE.to_owned());
    Eviction {
        signal,
        memory: Some(true),
        threshold_bytes: threshold.map(|mib| mib * MIB),
        threshold_ratio: ratio,
        ..step(EvictionPhase::Configured)
    }
}

#[test]
fn what_the_kubelet_was_started_with_last_is_the_threshold_where_nothing_else_tells() {
    for signal in [NODE, ALLOCATABLE] {
        let mut world = evicted();
        world.known.evictions_by_signal.insert(signal.to_owned(), 1);
        world
            .eviction(-500.0, configured(Some(100), None))
            .eviction(-100.0, configured(Some(1024), None))
            .eviction(50.0, configured(Some(200), None));
        let verdict = world.incident().verdict;
        assert_eq!(
            (verdict.threshold_bytes, verdict.threshold_from, verdict.amounts_from, verdict.available_bytes),
            (Some(1024 * MIB), Some(ReportedBy::Configuration), Some(ReportedBy::Configuration), None),
            "{signal}"
        );
        assert!(verdict.summary.contains("(threshold 1 GiB)"), "{}", verdict.summary);
    }
    // The last start had none.
    let mut world = evicted();
    world.eviction(-500.0, configured(Some(100), None)).eviction(-100.0, configured(None, None));
    assert_eq!(world.incident().verdict.threshold_bytes, None);
    // The manager's own word is better.
    let mut world = evicted();
    world
        .eviction(-100.0, configured(Some(100), None))
        .eviction(-0.1, observed(NODE, 700, Some(1024)))
        .eviction(-0.05, observed(ALLOCATABLE, 1900, None));
    let verdict = world.incident().verdict;
    assert_eq!((verdict.threshold_bytes, verdict.threshold_from), (Some(1024 * MIB), Some(ReportedBy::Observation)));
}

#[test]
fn a_share_as_threshold_is_of_the_capacity_where_that_is_known() {
    let mut world = evicted();
    world.known.evictions_by_signal.insert(NODE.to_owned(), 1);
    world.eviction(-100.0, configured(None, Some(0.5)));
    assert_eq!(world.incident().verdict.threshold_bytes, None);
    world.known.snapshot.capacity_bytes = Some(2000 * MIB);
    assert_eq!(world.incident().verdict.threshold_bytes, Some(1000 * MIB));
    // What all pods may use is another capacity.
    world.known.evictions_by_signal = std::iter::once((ALLOCATABLE.to_owned(), 1)).collect();
    assert_eq!(world.incident().verdict.threshold_bytes, None);
}

#[test]
fn a_configured_threshold_makes_no_incident_and_none_is_of_disk_space() {
    let mut world = World::default();
    world.eviction(0.0, configured(Some(1024), None)).died(1.0, pod('a'), unnamed('1'), 1);
    assert!(world.incidents().is_empty());
    let disk = |phase| Eviction { resource: Some("ephemeral-storage".to_owned()), memory: Some(false), ..step(phase) };
    world
        .eviction(10.0, disk(EvictionPhase::ThresholdMet))
        .eviction(10.1, Eviction { pods: vec![pod_by_name('a')], ..step(EvictionPhase::Ranked) })
        .eviction(11.0, Eviction { pod: Some(pod_by_name('a')), ..step(EvictionPhase::Evicted) });
    world.known.everything = true;
    let incidents = world.incidents();
    let disk = incidents.iter().find(|incident| incident.evicted).expect("the eviction");
    assert_eq!(disk.verdict.threshold_bytes, None);
}

#[test]
fn a_soft_threshold_is_the_one_once_its_grace_period_is_over() {
    let soft = |met_for_ms| Eviction {
        signal: Some(NODE.to_owned()),
        memory: Some(true),
        threshold_bytes: Some(1536 * MIB),
        grace_period_ms: Some(60_000),
        met_for_ms: Some(met_for_ms),
        ..step(EvictionPhase::GracePeriodNotMet)
    };
    for (met_for_ms, expected) in [
        (50_000, (Some(1536 * MIB), Some(ReportedBy::SoftThreshold))),
        (20_000, (Some(1024 * MIB), Some(ReportedBy::Configuration))),
    ] {
        let mut world = evicted();
        world.eviction(-100.0, configured(Some(1024), None)).eviction(-10.0, soft(met_for_ms));
        let verdict = world.incident().verdict;
        assert_eq!((verdict.threshold_bytes, verdict.threshold_from), expected, "{met_for_ms}");
    }
}

#[test]
fn a_soft_threshold_goes_on_from_pod_to_pod_without_being_reported_again() {
    let not_yet =
        || Eviction { signal: Some(NODE.to_owned()), memory: Some(true), ..step(EvictionPhase::GracePeriodNotMet) };
    let signals = |pause: f64| {
        let mut world = World::default();
        world.eviction(-10.0, not_yet());
        for (nth, letter) in ['a', 'b', 'c', 'd'].into_iter().enumerate() {
            world.evicts(f64::from(u8::try_from(nth).expect("small")) * pause, letter);
        }
        let from = world.incidents().into_iter().map(|incident| incident.verdict.signal_from);
        from.map(|from| from.expect("a signal")).collect::<Vec<_>>()
    };
    assert_eq!(signals(40.0), [ReportedBy::SoftThreshold; 4]);
    // After some minutes it would have begun anew, and the kubelet would have said so.
    let later = [ReportedBy::SoftThreshold, ReportedBy::Inference, ReportedBy::Inference, ReportedBy::Inference];
    assert_eq!(signals(300.0), later);
}

#[test]
// Before 1.29 a hard threshold gives time, too (kubernetes/kubernetes#115819).
fn the_time_that_a_pod_is_given_is_no_sign_of_a_soft_threshold() {
    for (seconds, from) in [(2, ReportedBy::Inference), (20, ReportedBy::Inference)] {
        let mut world = World::default();
        let killing = change(ContainerAction::Killing, pod('a'), Some(container("web", '1')));
        world.evicts(0.0, 'a').change(0.2, ContainerChange { grace_period_ms: Some(seconds * 1000), ..killing }).died(
            6.0,
            pod('a'),
            unnamed('1'),
            0,
        );
        assert_eq!(world.incident().verdict.signal_from, Some(from), "{seconds}");
    }
}

#[test]
fn a_pod_of_the_same_name_is_evicted_anew() {
    let mut world = World::default();
    world.evicts(0.0, 'a').evicts(60.0, 'a');
    assert_eq!(world.incidents().len(), 2);
    // The files have the pod that came after both.
    world.file_says('a', &[("web", None)]);
    let record = world.known.snapshot.pods.values_mut().next().expect("a pod");
    record.created = Some("2040-01-01T00:00:00Z".parse().expect("a time"));
    let uids: Vec<_> = world.incidents().into_iter().map(|incident| incident.pod.and_then(|pod| pod.uid)).collect();
    assert_eq!(uids, [None, None]);
}

#[test]
fn what_an_eviction_was_for_is_said_to_be_missing_where_nothing_tells() {
    let mut world = World::default();
    world
        .eviction(0.0, Eviction { pods: vec![pod_by_name('a')], ..step(EvictionPhase::Ranked) })
        .eviction(4.0, Eviction { pod: Some(pod_by_name('a')), ..step(EvictionPhase::Evicted) });
    let missing = world.incident().verdict.missing;
    assert!(missing.iter().any(|missing| missing.starts_with("for which resource")), "{missing:?}");
}

#[test]
fn an_eviction_of_which_nothing_names_the_resource_is_not_laid_to_memory() {
    let evicted = || Eviction { pod: Some(pod('a')), ..step(EvictionPhase::Evicted) };
    let killing = |grace| {
        let killing = change(ContainerAction::Killing, pod('a'), Some(container("web", '1')));
        ContainerChange { grace_period_ms: Some(grace), ..killing }
    };
    // What a search for the pod's name leaves; 30 s of grace are no sign of a soft threshold.
    let mut world = World::default();
    world
        .eviction(0.0, Eviction { pods: vec![pod_by_name('a')], ..step(EvictionPhase::Ranked) })
        .change(0.1, killing(30_000))
        .eviction(9.0, evicted());
    let incident = world.incident();
    let verdict = &incident.verdict;
    assert_eq!((verdict.scenario, verdict.confidence), (Scenario::Evicted, Confidence::Low));
    assert_eq!((verdict.signal.as_deref(), verdict.signal_from), (None, None));
    assert_eq!(verdict.heading, "Evicted: the resource is not known");
    assert!(verdict.missing.iter().any(|missing| missing.contains("which resource")), "{:?}", verdict.missing);
    // The counter of a kubelet that evicted for memory alone tells it.
    world.known.evictions_by_signal.insert(NODE.to_owned(), 1);
    assert_eq!(world.incident().verdict.scenario, Scenario::NodePressureEvicted);
    // Of one that evicted for disk space, too, it does not.
    world.known.evictions_by_signal.insert("nodefs.available".to_owned(), 1);
    assert_eq!(world.incident().verdict.scenario, Scenario::Evicted);
}

#[test]
fn a_grace_period_of_the_pods_own_does_not_make_a_threshold_a_soft_one() {
    let mut world = World::default();
    let killing = change(ContainerAction::Killing, pod('a'), Some(container("web", '1')));
    world.evicts(0.0, 'a').change(0.2, ContainerChange { grace_period_ms: Some(30_000), ..killing }).died(
        6.0,
        pod('a'),
        unnamed('1'),
        0,
    );
    let verdict = world.incident().verdict;
    assert_eq!((verdict.signal_from, verdict.confidence), (Some(ReportedBy::Inference), Confidence::Low));
    assert!(verdict.heading.contains("is not known"), "{}", verdict.heading);
}

#[test]
fn which_signal_is_blamed_is_sure_only_where_the_other_had_room() {
    let blamed = |others: u64| {
        let mut world = evicted();
        let blames = Eviction { signal: Some(NODE.to_owned()), memory: Some(true), ..step(EvictionPhase::MustEvict) };
        world
            .eviction(-0.1, observed(NODE, 700, Some(1024)))
            .eviction(-0.05, observed(ALLOCATABLE, others, Some(1024)))
            .eviction(0.03, blames);
        let verdict = world.incident().verdict;
        assert_eq!(verdict.scenario, Scenario::NodePressureEvicted);
        verdict.confidence
    };
    assert_eq!(blamed(1900), Confidence::High);
    assert_eq!(blamed(900), Confidence::Medium);
}

#[test]
fn a_pending_soft_threshold_of_another_resource_is_no_reason() {
    let not_yet = Eviction {
        signal: Some("nodefs.available".to_owned()),
        memory: Some(false),
        ..step(EvictionPhase::GracePeriodNotMet)
    };
    let mut world = evicted();
    world.eviction(-30.0, not_yet);
    let incident = world.incident();
    assert!(!incident.verdict.summary.contains("nodefs"), "{}", incident.verdict.summary);
    assert!(incident.steps.iter().all(|step| !step.what.contains("nodefs")), "{:?}", incident.steps);
    assert_eq!(incident.verdict.signal_from, Some(ReportedBy::Inference));
}

#[test]
fn a_pods_own_limit_on_storage_is_neither_memory_nor_the_nodes() {
    let mut world = World::default();
    world.eviction(9.0, Eviction { pod: Some(pod('a')), ..step(EvictionPhase::Evicted) });
    world.known.snapshot.evictions.push(EvictionNotice {
        pod: pod('a'),
        message: "Usage of EmptyDir volume \"logs\" exceeds the limit \"30Mi\". ".to_owned(),
        resource: Some("ephemeral-storage".to_owned()),
        ..EvictionNotice::default()
    });
    assert!(world.incidents().is_empty(), "not about memory");
    assert_eq!(world.timeline().settle(None).not_memory, 1, "and counted");
    world.known.everything = true;
    let verdict = world.incident().verdict;
    assert_eq!((verdict.scenario, verdict.heading.as_str()), (Scenario::Killed, "Evicted: not for memory"));
    assert!(verdict.summary.contains("volume \"logs\" exceeds the limit \"30Mi\""), "{}", verdict.summary);
    assert!(!verdict.summary.contains("node was short"), "{}", verdict.summary);
}
