//! What ends pods and containers and has nothing to do with memory: no incident, whatever the form of the logs.

use serde_json::Value;

use super::{
    Logs,
    recast::{Cgroups, Kubelet},
    stories::{reported, reported_by},
    story::{Over, Place, Story},
};

fn comes_to_nothing(story: &Story) {
    assert_eq!(reported(story, &[]), [] as [Value; 0]);
    // Those that tell no exit codes.
    for kubelet in [Kubelet::V120, Kubelet::V121] {
        let Story { kernel, kubelet: log } = story.recast(kubelet, Cgroups::Systemd);
        assert_eq!(Logs::of(&kernel, &log).reported(&[]), [] as [Value; 0], "{kubelet:?}");
    }
}

#[test]
fn a_pod_over_its_own_limit_of_the_disk() {
    let place = Place::new('a', "app", '1');
    let mut story = Story::default();
    story.starts(0.0, place).ends_evicted(60.0, place, 137, 2).goes_on(200.0);
    comes_to_nothing(&story);
}

#[test]
fn an_eviction_for_anything_but_memory() {
    for resource in ["ephemeral-storage", "inodes", "pids"] {
        let place = Place::new('a', "app", '1');
        let mut story = Story::default();
        story.starts(0.0, place).evicts_for(resource, 60.0, place, 137, 2).goes_on(200.0);
        comes_to_nothing(&story);
    }
}

#[test]
fn a_pod_that_makes_room_for_a_critical_one() {
    let place = Place::new('a', "app", '1');
    let (name, uid) = (place.name(), place.uid());
    let mut story = Story::default();
    story
        .starts(0.0, place)
        .klog(20.0, &format!(r#""Attempting to evict pods in order to free up resources" pods=["{name}"] insufficientResources="[(res: memory, q: 100)]""#))
        .klog(20.1, &format!(r#""Preempting pod to free up resources" pod="{name}" podUID="{uid}" insufficientResources="[(res: memory, q: 100)]""#))
        .killing(20.2, place, 30)
        .ends(50.3, place, 137)
        .klog(50.5, &format!(r#""Pod evicted successfully" pod="{name}""#))
        .goes_on(200.0);
    comes_to_nothing(&story);
}

#[test]
fn a_pod_over_its_own_limit_of_the_disk_after_another_was_evicted_for_memory() {
    let (one, two) = (Place::new('a', "app", '1'), Place::new('b', "app", '2'));
    let mut story = Story::default();
    story.starts(0.0, one).starts(0.5, two).evicts(30.0, one, 137, 2).ends_evicted(50.0, two, 137, 2).goes_on(200.0);
    // All pods are ranked.
    story.kubelet = story.kubelet.replace("default/other", "default/pod-b");
    let found = reported(&story, &[]);
    assert_eq!((found.len(), &found[0][0]), (1, &"pod-a".into()), "{found:?}");
}

#[test]
fn a_probe_that_fails_because_the_program_does() {
    for (probe, code) in [("Liveness", 1), ("Readiness", 137)] {
        let place = Place::new('a', "app", '1');
        let uid = place.uid();
        let mut story = Story::default();
        story
            .starts(0.0, place)
            .klog(20.0, &format!(r#""Probe failed" probeType="{probe}" pod="default/pod-a" podUID="{uid}" containerName="app" probeResult="failure" output="connection refused""#))
            .ends(22.0, place, code)
            .goes_on(200.0);
        comes_to_nothing(&story);
    }
}

#[test]
fn a_node_that_shuts_down() {
    let place = Place::new('a', "app", '1');
    let mut story = Story::default();
    story
        .starts(0.0, place)
        .klog(20.0, r#""Shutdown manager detected new shutdown event, isNodeShuttingDownNow" event="shutdown""#)
        .klog(
            20.1,
            &format!(r#""Shutdown manager killing pod with gracePeriod" pod="{}" gracePeriod=20"#, place.name()),
        )
        .killing(20.2, place, 20)
        .ends(40.3, place, 137)
        .goes_on(41.0);
    comes_to_nothing(&story);
}

#[test]
fn a_program_that_ends_with_137_by_itself() {
    let place = Place::new('a', "job", '1');
    let mut story = Story::default();
    story.starts(0.0, place).ends(30.0, place, 137).goes_on(200.0);
    comes_to_nothing(&story);
}

#[test]
fn what_a_kubelet_that_is_started_finds_ended() {
    // Of a former boot, or of long ago: nobody saw it run.
    let (old, place) = (Place::new('a', "app", '9'), Place::new('a', "app", '1'));
    let mut story = Story::default();
    story.kubelet_starts(0.0).ends(2.0, old, 139).starts(3.0, place).goes_on(200.0);
    comes_to_nothing(&story);
}

#[test]
fn but_a_crash_while_the_kubelet_was_away_is_reported() {
    let place = Place::new('a', "app", '1');
    let mut story = Story::default();
    story.starts(0.0, place).goes_on(30.0).kubelet_starts(60.0).ends(62.0, place, 139).goes_on(200.0);
    let reported_codes: Vec<_> = Kubelet::ALL.into_iter().filter(|kubelet| kubelet.tells_exit_codes()).collect();
    let found = reported_by(&reported_codes, &story, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0][2], "crashed");
}

#[test]
fn and_a_kill_while_the_kubelet_was_away_is_no_invisible_one() {
    for group in [false, true] {
        let place = Place::new('a', "app", '1');
        let mut story = Story::default();
        story.starts(0.0, place).goes_on(15.0).oom(20.0, place, 801, Over::Container, group, &[]);
        story.kubelet_starts(100.0).ends(102.0, place, 137).goes_on(200.0);
        let found = reported(&story, &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&found[0][5], &found[0][6]), (&false.into(), &serde_json::json!(["OOMKilled 137"])), "{found:?}");
    }
}
