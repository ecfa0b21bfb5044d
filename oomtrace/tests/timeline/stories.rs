//! What happens on nodes, as both logs tell it in every form that they have.

use serde_json::{Value, json};

use super::{
    Logs,
    recast::{Cgroups, Kubelet},
    story::{Over, Place, Story},
};

/// The incidents of a story, reported in every form of its logs, are the same; of each what matters.
pub(crate) fn reported(story: &Story, more: &[&str]) -> Vec<Value> {
    reported_by(&Kubelet::ALL, story, more)
}

/// The same, reported by some kubelets only.
pub(crate) fn reported_by(kubelets: &[Kubelet], story: &Story, more: &[&str]) -> Vec<Value> {
    let mut first: Option<Vec<Value>> = None;
    for kubelet in kubelets.iter().copied() {
        for cgroups in Cgroups::ALL {
            let Story { kernel, kubelet: log } = story.recast(kubelet, cgroups);
            let found = Logs::of(&kernel, &log).reported(more);
            let found: Vec<_> = found.iter().map(gist).collect();
            let expected = first.get_or_insert_with(|| found.clone());
            if kubelet.tells_exit_codes() {
                assert_eq!(&found, expected, "{kubelet:?} {cgroups:?}");
            } else {
                assert_eq!(without_codes(&found), without_codes(expected), "{kubelet:?} {cgroups:?}");
            }
        }
    }
    first.unwrap_or_default()
}

/// What can be reported where no exit code is: all but what Kubernetes shows of a container, and in 1.20 the names of those that
/// the kubelet ends.
fn without_codes(gists: &[Value]) -> Vec<Value> {
    let reported = gists.iter().map(|gist| json!([gist[0], gist[2], gist[3], gist[4], gist[5]]));
    reported.collect()
}

fn gist(line: &Value) -> Value {
    let verdict = &line["verdict"];
    json!([
        line["pod"]["name"],
        line["container"]["name"],
        verdict["scenario"],
        verdict["also"],
        line["kills"],
        verdict["invisible"],
        verdict["kubernetes_shows"],
    ])
}

#[test]
fn a_node_out_of_memory_names_the_victims_pod() {
    let place = Place { qos: "-besteffort", ..Place::new('a', "bomb", '1') };
    let mut story = Story::default();
    story.starts(0.0, place).oom(20.0, place, 801, Over::Node, false, &[]).klog(
        20.9,
        r#""Got sys oom event" event={"Pid":801,"ProcessName":"memhog","TimeOfDeath":"2026-11-23T23:20:20.1Z","ContainerName":"/","VictimContainerName":"/","Constraint":""}"#,
    );
    story.ends(22.0, place, 137).goes_on(100.0);
    let expected = json!(["pod-a", null, "system_oom", null, 1, false, ["OOMKilled 137"]]);
    assert_eq!(reported(&story, &[]), [expected]);
}

#[test]
fn pods_over_allocatable_are_killed_by_the_kernel_and_then_evicted() {
    let (fast, bu) = (Place { qos: "-besteffort", ..Place::new('a', "fast", '1') }, Place::new('b', "app", '2'));
    let again = Place { id: '3', ..fast };
    let mut story = Story::default();
    story.starts(0.0, fast).starts(0.5, bu).oom(20.0, fast, 801, Over::Kubepods, true, &[]).ends(21.0, fast, 137);
    story.restarts(23.0, again).evicts(28.0, bu, 137, 2).evicts(40.0, again, 0, 2).goes_on(200.0);
    assert_eq!(
        reported(&story, &[]),
        [
            json!(["pod-a", "fast", "allocatable_oom", "allocatable_evicted", 1, false, ["OOMKilled 137", "Evicted"]]),
            json!(["pod-b", "app", "allocatable_evicted", null, 0, false, ["Evicted"]]),
        ]
    );
}

#[test]
fn a_soft_threshold_is_met_for_long_enough() {
    let place = Place::new('a', "app", '1');
    let mut story = Story::default();
    story.starts(0.0, place);
    for second in [20.0, 30.0] {
        let threshold = "threshold(signal=memory.available, operator=LessThan, value={<nil> 0.4}, gracePeriod=20s)";
        story.klog(
            second,
            &format!(
                r#""Eviction manager: eviction criteria not yet met" threshold="{threshold}" duration="{}s""#,
                second - 20.0
            ),
        );
    }
    story.evicts(40.0, place, 143, 5).goes_on(200.0);
    assert_eq!(reported(&story, &[]), [json!(["pod-a", "app", "node_pressure_evicted", null, 0, false, ["Evicted"]])]);
}

#[test]
fn of_two_signals_below_their_thresholds_it_is_the_one_that_the_kubelet_compared_last() {
    for (last, first, scenario) in [
        ("memory.available", "allocatableMemory.available", "node_pressure_evicted"),
        ("allocatableMemory.available", "memory.available", "allocatable_evicted"),
    ] {
        let place = Place::new('a', "app", '1');
        let mut story = Story::default();
        story.starts(0.0, place).klog(39.0, r#""Eviction manager: synchronize housekeeping""#);
        for (second, log, signal) in [
            (39.1, "thresholds - ignoring grace period", "memory.available"),
            (39.2, "thresholds - ignoring grace period", "allocatableMemory.available"),
            (39.3, "thresholds - updated stats", first),
            (39.4, "thresholds - updated stats", last),
        ] {
            let available = if signal == "memory.available" { "700Mi" } else { "900Mi" };
            story.klog(
                second,
                &format!(r#""Eviction manager: threshold observed resource" log="{log}" signal="{signal}" resourceName="memory" quantity="1Gi" available="{available}""#),
            );
        }
        story.evicts(40.0, place, 143, 2).goes_on(200.0);
        assert_eq!(reported(&story, &[]), [json!(["pod-a", "app", scenario, null, 0, false, ["Evicted"]])]);
    }
}

#[test]
fn a_container_over_its_limit_in_a_crash_loop_is_one_incident() {
    let mut story = Story::default();
    story.starts(0.0, Place::new('a', "app", '1'));
    for (second, pid, id) in [(10.0, 801, '1'), (30.0, 802, '2'), (70.0, 803, '3')] {
        let place = Place::new('a', "app", id);
        story.oom(second, place, pid, Over::Container, true, &[]).ends(second + 1.0, place, 137).klog(
            second + 2.0,
            r#""Error syncing pod, skipping" err="failed to \"StartContainer\" for \"app\" with CrashLoopBackOff: \"back-off 10s restarting failed container=app pod=pod-a_default(aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa)\"" pod="default/pod-a" podUID="aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa""#,
        );
        story.restarts(second + 10.0, Place::new('a', "app", char::from(id as u8 + 1)));
    }
    story.goes_on(200.0);
    assert_eq!(reported(&story, &[]), [json!(["pod-a", "app", "container_limit", null, 3, false, ["OOMKilled 137"]])]);
}

#[test]
fn a_child_that_is_killed_while_the_first_process_lives_on_is_invisible() {
    let place = Place::new('a', "app", '1');
    let mut story = Story::default();
    story.starts(0.0, place).oom(20.0, place, 801, Over::Container, false, &["sh"]).goes_on(100.0);
    assert_eq!(reported(&story, &[]), [json!(["pod-a", null, "container_limit", null, 1, true, ["nothing"]])]);
}

#[test]
fn a_first_process_that_reaps_its_killed_child_ends_with_its_own_code() {
    for code in [0, 1] {
        let place = Place::new('a', "app", '1');
        let mut story = Story::default();
        story.starts(0.0, place).oom(20.0, place, 801, Over::Container, false, &["sh"]).ends(21.5, place, code);
        story.goes_on(100.0);
        let shows = format!("OOMKilled {code}");
        assert_eq!(reported(&story, &[]), [json!(["pod-a", null, "container_limit", null, 1, false, [shows]])]);
    }
}

#[test]
fn a_limit_of_the_pods_that_two_containers_hit_together() {
    let (one, two) = (Place::new('a', "app", '1'), Place::new('a', "side", '2'));
    let mut story = Story::default();
    story.starts(0.0, one).restarts(2.5, two).oom(20.0, one, 801, Over::Pod, true, &[]).ends(21.5, one, 137);
    story.goes_on(100.0);
    assert_eq!(reported(&story, &[]), [json!(["pod-a", null, "pod_limit", null, 1, false, ["OOMKilled 137"]])]);
    // One container: the limit is its own too.
    let mut story = Story::default();
    story.starts(0.0, one).oom(20.0, one, 801, Over::Pod, true, &[]).ends(21.5, one, 137).goes_on(100.0);
    assert_eq!(reported(&story, &[]), [json!(["pod-a", null, "container_limit", null, 1, false, ["OOMKilled 137"]])]);
}

#[test]
fn a_pod_that_goes_is_no_incident() {
    // A rollout: SIGTERM, and SIGKILL when the grace period is over.
    for code in [0, 137, 143] {
        let place = Place::new('a', "app", '1');
        let mut story = Story::default();
        story.starts(0.0, place).deleted(20.0, place).killing(20.1, place, 30).ends(50.2, place, code).goes_on(100.0);
        assert_eq!(reported(&story, &[]), [] as [Value; 0], "{code}");
    }
}

#[test]
fn a_program_that_fails_by_itself_is_no_incident() {
    let mut story = Story::default();
    for (second, id) in [(0.0, '1'), (20.0, '2'), (60.0, '3')] {
        story.starts(second, Place::new('a', "app", id)).ends(second + 9.0, Place::new('a', "app", id), 1);
    }
    story.goes_on(200.0);
    assert_eq!(reported(&story, &[]), [] as [Value; 0]);
}

#[test]
fn a_liveness_probe_that_fails_is_no_oom() {
    let place = Place::new('a', "app", '1');
    let (uid, id) = (place.uid(), place.id());
    let mut story = Story::default();
    story
        .starts(0.0, place)
        .klog(20.0, &format!(r#""Probe failed" probeType="Liveness" pod="default/pod-a" podUID="{uid}" containerName="app" probeResult="failure" output="Get \"http://10.0.0.1/\": context deadline exceeded""#))
        .klog(20.1, &format!(r#""Message for Container of pod" containerName="app" containerStatusID={{"Type":"containerd","ID":"{id}"}} pod="default/pod-a" containerMessage="Container app failed liveness probe, will be restarted""#))
        .killing(20.2, place, 30)
        .ends(50.4, place, 137)
        .goes_on(150.0);
    assert_eq!(reported(&story, &[]), [] as [Value; 0]);
}

#[test]
fn a_pod_that_was_refused_never_ran() {
    let mut story = Story::default();
    for message in [
        r#""Failed to admit pod to node" pod="default/pod-a" nodeCondition=["MemoryPressure"]"#,
        r#""Pod admission denied" podUID="aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa" pod="default/pod-a" reason="Evicted" message="The node had condition: [MemoryPressure]. ""#,
    ] {
        story.klog(20.0, message);
    }
    story.goes_on(200.0);
    assert_eq!(reported(&story, &[]), [] as [Value; 0]);
}

#[test]
fn a_container_that_is_reported_to_end_after_a_kill_had_outlived_it() {
    let place = Place::new('a', "app", '1');
    let mut story = Story::default();
    story.starts(0.0, place).oom(20.0, place, 801, Over::Container, false, &["sh"]);
    story.deleted(30.0, place).killing(30.1, place, 30).ends(32.0, place, 143).goes_on(100.0);
    let found = reported(&story, &[]);
    assert_eq!((found.len(), &found[0][5], &found[0][6]), (1, &json!(true), &json!(["nothing"])), "{found:?}");
}

#[test]
fn two_containers_of_a_pod_that_no_line_names_are_two_incidents() {
    let (one, two) = (Place::new('a', "one", '1'), Place::new('a', "two", '2'));
    let mut story = Story::default();
    story.starts(0.0, one).restarts(2.5, two);
    story.oom(20.0, one, 801, Over::Container, true, &[]).ends(21.0, one, 137);
    story.oom(22.0, two, 802, Over::Container, true, &[]).ends(23.0, two, 137).goes_on(100.0);
    let of = json!(["pod-a", null, "container_limit", null, 1, false, ["OOMKilled 137"]]);
    assert_eq!(reported(&story, &[]), [of.clone(), of]);
}

#[test]
fn a_static_pod_is_known_by_its_manifests_hash() {
    let hash = "df465823e70c8abfd71f22990142be6a";
    let place = Place::new('a', "app", '1');
    let mut story = Story::default();
    story.starts(0.0, place).oom(20.0, place, 801, Over::Pod, true, &[]).ends(21.5, place, 137).goes_on(100.0);
    let uid = place.uid();
    let of_static = |text: &str| text.replace(&uid.replace('-', "_"), hash).replace(&uid, hash);
    let kubelet = of_static(&story.kubelet);
    // The API server's mirror of it has another uid.
    let mirror = kubelet.lines().nth(1).expect("a line").split("] ").next().expect("a head").to_owned();
    for version in Kubelet::ALL {
        let added = match version {
            Kubelet::V120 => format!("{mirror}] SyncLoop (ADD, \"api\"): \"pod-a_default({uid})\"\n"),
            _ => String::new(),
        };
        let kubelet = version.recast(&kubelet) + &added;
        let reported = Logs::of(&of_static(&story.kernel), &kubelet).reported(&[]);
        assert_eq!(reported.len(), 1, "{version:?}");
        let pod = &reported[0]["pod"];
        assert_eq!((&pod["namespace"], &pod["name"], &pod["uid"]), (&json!("default"), &json!("pod-a"), &json!(hash)));
        assert_eq!(reported[0]["victim"]["pod"]["name"], "pod-a", "{}", reported[0]["victim"]);
    }
}

#[test]
fn several_children_of_a_nameless_container_are_one_incident() {
    let place = Place::new('a', "app", '1');
    let mut story = Story::default();
    story.starts(0.0, place);
    story.oom(20.0, place, 801, Over::Container, false, &["sh"]).oom(60.0, place, 802, Over::Container, false, &["sh"]);
    story.kernel = story.kernel.replacen("memhog", "worker", story.kernel.matches("memhog").count() / 2);
    story.goes_on(200.0);
    assert_eq!(reported(&story, &[]), [json!(["pod-a", null, "container_limit", null, 2, true, ["nothing"]])]);
}

#[test]
fn a_kill_whose_report_the_kernel_left_out_is_where_it_was_noticed() {
    let (one, two) = (Place::new('a', "app", '1'), Place::new('b', "web", '2'));
    let mut story = Story::default();
    story.starts(0.0, one).starts(0.5, two);
    for (second, place, pid) in [(20.0, one, 801), (20.5, two, 802)] {
        story
            .dmesg(second, &format!("Memory cgroup out of memory: Killed process {pid} (memhog) total-vm:66588kB, anon-rss:65204kB, file-rss:544kB, shmem-rss:0kB, UID:0 pgtables:168kB oom_score_adj:984"))
            .klog(second + 0.9, &format!(r#"Created an OOM event in container "{}" at 2026-11-23 23:20:20.1 +0000 UTC m=+82.299366634"#, place.cgroup()))
            .ends(second + 1.0, place, 137);
    }
    story.goes_on(200.0);
    let of = |pod: &str| json!([pod, null, "unknown_limit", null, 1, false, ["OOMKilled 137"]]);
    assert_eq!(reported(&story, &[]), [of("pod-a"), of("pod-b")]);
}
