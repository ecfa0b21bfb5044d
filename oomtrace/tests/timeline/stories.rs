//! What happens on nodes, as both logs tell it in every form that they have.

use serde_json::{Value, json};

use super::{
    Logs,
    recast::{Cgroups, Kubelet},
    story::{Over, Place, Story},
};

/// The incidents of a story, told in every form of its logs, are the same; of each what matters.
fn told(story: &Story, more: &[&str]) -> Vec<Value> {
    let mut first: Option<Vec<Value>> = None;
    for kubelet in Kubelet::ALL {
        for cgroups in Cgroups::ALL {
            let Story { kernel, kubelet: log } = story.recast(kubelet, cgroups);
            let found = Logs::of(&kernel, &log).told(more);
            let found: Vec<_> = found.iter().map(gist).collect();
            let expected = first.get_or_insert_with(|| found.clone());
            if kubelet != Kubelet::V121 {
                assert_eq!(&found, expected, "{kubelet:?} {cgroups:?}");
            }
        }
    }
    first.unwrap_or_default()
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
    assert_eq!(told(&story, &[]), [expected]);
}

#[test]
fn pods_over_allocatable_are_killed_by_the_kernel_and_then_evicted() {
    let (fast, bu) = (Place { qos: "-besteffort", ..Place::new('a', "fast", '1') }, Place::new('b', "app", '2'));
    let again = Place { id: '3', ..fast };
    let mut story = Story::default();
    story.starts(0.0, fast).starts(0.5, bu).oom(20.0, fast, 801, Over::Kubepods, true, &[]).ends(21.0, fast, 137);
    story.restarts(23.0, again).evicts(28.0, bu, 137, 2).evicts(40.0, again, 0, 2).goes_on(200.0);
    assert_eq!(
        told(&story, &[]),
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
    assert_eq!(told(&story, &[]), [json!(["pod-a", "app", "node_pressure_evicted", null, 0, false, ["Evicted"]])]);
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
        assert_eq!(told(&story, &[]), [json!(["pod-a", "app", scenario, null, 0, false, ["Evicted"]])]);
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
    assert_eq!(told(&story, &[]), [json!(["pod-a", "app", "container_limit", null, 3, false, ["OOMKilled 137"]])]);
}

#[test]
fn a_child_that_is_killed_while_the_first_process_lives_on_is_invisible() {
    let place = Place::new('a', "app", '1');
    let mut story = Story::default();
    story.starts(0.0, place).oom(20.0, place, 801, Over::Container, false, &["sh"]).goes_on(100.0);
    assert_eq!(told(&story, &[]), [json!(["pod-a", null, "container_limit", null, 1, true, ["nothing"]])]);
}

#[test]
fn a_first_process_that_reaps_its_killed_child_ends_with_its_own_code() {
    for code in [0, 1] {
        let place = Place::new('a', "app", '1');
        let mut story = Story::default();
        story.starts(0.0, place).oom(20.0, place, 801, Over::Container, false, &["sh"]).ends(21.5, place, code);
        story.goes_on(100.0);
        let shows = format!("OOMKilled {code}");
        assert_eq!(told(&story, &[]), [json!(["pod-a", null, "container_limit", null, 1, false, [shows]])]);
    }
}

#[test]
fn a_limit_of_the_pods_that_two_containers_hit_together() {
    let (one, two) = (Place::new('a', "app", '1'), Place::new('a', "side", '2'));
    let mut story = Story::default();
    story.starts(0.0, one).restarts(2.5, two).oom(20.0, one, 801, Over::Pod, true, &[]).ends(21.5, one, 137);
    story.goes_on(100.0);
    assert_eq!(told(&story, &[]), [json!(["pod-a", null, "pod_limit", null, 1, false, ["OOMKilled 137"]])]);
    // One container: the limit is its own too.
    let mut story = Story::default();
    story.starts(0.0, one).oom(20.0, one, 801, Over::Pod, true, &[]).ends(21.5, one, 137).goes_on(100.0);
    assert_eq!(told(&story, &[]), [json!(["pod-a", null, "container_limit", null, 1, false, ["OOMKilled 137"]])]);
}

#[test]
fn a_pod_that_goes_is_no_incident() {
    // A rollout: SIGTERM, and SIGKILL when the grace period is over.
    for code in [0, 137, 143] {
        let place = Place::new('a', "app", '1');
        let mut story = Story::default();
        story.starts(0.0, place).deleted(20.0, place).killing(20.1, place, 30).ends(50.2, place, code).goes_on(100.0);
        assert_eq!(told(&story, &[]), [] as [Value; 0], "{code}");
    }
}

#[test]
fn a_program_that_fails_by_itself_is_no_incident() {
    let mut story = Story::default();
    for (second, id) in [(0.0, '1'), (20.0, '2'), (60.0, '3')] {
        story.starts(second, Place::new('a', "app", id)).ends(second + 9.0, Place::new('a', "app", id), 1);
    }
    story.goes_on(200.0);
    assert_eq!(told(&story, &[]), [] as [Value; 0]);
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
    assert_eq!(told(&story, &[]), [json!(["pod-a", "app", "killed", null, 0, false, ["Error 137"]])]);
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
    assert_eq!(told(&story, &[]), [] as [Value; 0]);
}
