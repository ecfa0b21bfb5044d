//! The recorder, on a hierarchy of files.

use std::fs;

use super::{track::UNIT, *};

const POD: &str = "/kubepods/pod01234567-89ab-cdef-0123-456789abcdef";
const MIB: u64 = 1 << 20;

/// A hierarchy of files: a kernel's would not hold still.
struct Node {
    root: tempfile::TempDir,
    recorder: Recorder,
    start: Instant,
    second: u64,
}

impl Node {
    fn new(most: usize) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("cgroup.controllers"), "memory").expect("a file");
        let hierarchy = Hierarchy::find(root.path()).expect("a hierarchy");
        let host = Host::at(&root.path().join("host"));
        fs::create_dir_all(root.path().join("host/proc/7")).expect("a folder");
        fs::write(root.path().join("host/proc/stat"), "cpu 0\n").expect("a file");
        let recorder = Recorder::new(hierarchy, host, most, Duration::from_mins(5));
        let node = Self { root, recorder, start: Instant::now(), second: 0 };
        node.set_available(6000);
        node
    }

    fn set(&self, path: &str, mib: u64) {
        let folder = self.root.path().join(&path[1..]);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("memory.current"), format!("{}\n", mib * MIB)).expect("a file");
        fs::write(folder.join("memory.stat"), format!("anon {}\nfile 0\n", mib * MIB / 2)).expect("a file");
    }

    /// Of 8,000 MiB.
    fn set_available(&self, mib: u64) {
        let held = 8000 - mib;
        let text = format!(
            "MemTotal: {} kB\nMemAvailable: {} kB\nAnonPages: {} kB\nSwapTotal: 0 kB\n",
            8000 << 10,
            mib << 10,
            held << 10
        );
        fs::write(self.root.path().join("host/proc/meminfo"), text).expect("a file");
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.second)
    }

    fn tick(&mut self, seconds: u64) -> Vec<LimitAhead> {
        self.second += seconds;
        let now = self.now();
        self.recorder.tick(now)
    }

    /// Seconds before now, and MiB.
    fn before(&self, path: &str) -> Vec<(u64, u64)> {
        let earlier = self.recorder.before(path, self.now());
        earlier.iter().map(|reading| (reading.age_ms / 1000, reading.usage_bytes / MIB)).collect()
    }
}

#[test]
fn every_second_is_kept_for_two_minutes_and_every_minute_for_a_day_each_the_highest() {
    let mut node = Node::new(8 << 20);
    for minute in 0..1500 {
        node.set(POD, 10 + minute % 2);
        // A peak of a second in each hour.
        let peak = minute % 60 == 30;
        for second in 0..60 {
            if peak && second == 30 {
                node.set(POD, 500);
            }
            node.tick(1);
            if peak && second == 30 {
                node.set(POD, 10 + minute % 2);
            }
        }
    }
    let all: Vec<_> = node.recorder.tracks[POD].aged();
    assert_eq!(all.len(), 120 + 168 + 1410, "seconds, then tens of them, then minutes");
    assert!(all.is_sorted_by(|a, b| a.0 > b.0));
    assert_eq!(all.first().map(|(age, _)| *age), Some(86_340));
    let peaks = all.iter().filter(|(_, reading)| u64::from(reading.usage) * UNIT == 500 * MIB).count();
    assert_eq!(peaks, 24, "one an hour");
    assert!(node.recorder.tracks[POD].size() <= 16 << 10, "{}", node.recorder.tracks[POD].size());

    let before = node.before(POD);
    assert!((32..=64).contains(&before.len()), "{before:?}");
    assert_eq!((before.last().map(|(age, _)| *age), before[0].0 > 80_000), (Some(0), true), "{before:?}");
    assert!(before.iter().any(|(_, mib)| *mib == 500), "{before:?}");
}

#[test]
fn a_cgroup_is_recorded_from_when_it_is_made_and_kept_for_a_while_when_it_has_gone() {
    let mut node = Node::new(8 << 20);
    node.tick(1);
    node.set(POD, 5);
    node.recorder.learn(&[Fact::Cgroup { id: 7, path: POD.to_owned() }]);
    node.tick(1);
    node.set(POD, 6);
    node.tick(1);
    assert_eq!(node.before(POD), [(1, 5), (0, 6)]);
    let earlier = node.recorder.before(POD, node.now());
    assert_eq!(earlier[1].anon_bytes, None, "anon is read every ten seconds");

    node.recorder.learn(&[Fact::CgroupGone { id: 7 }]);
    fs::remove_dir_all(node.root.path().join(&POD[1..])).expect("removed");
    node.tick(30);
    assert_eq!(node.before(POD), [(31, 5), (30, 6)]);
    node.tick(300);
    node.recorder.make_room(node.now());
    assert_eq!(node.before(POD), []);
}

#[test]
fn seconds_in_which_oomtrace_was_held_up_are_a_gap() {
    let mut node = Node::new(8 << 20);
    node.set(POD, 5);
    node.tick(1);
    node.tick(40);
    assert_eq!(node.before(POD), [(40, 5), (0, 5)]);
}

#[test]
fn there_is_a_bound_and_what_there_is_no_room_for_is_counted() {
    let mut node = Node::new(4096);
    for pod in 0..40 {
        node.set(&format!("/kubepods/pod01234567-89ab-cdef-0123-4567890000{pod:02}"), 5);
    }
    node.tick(1);
    assert!(node.recorder.degraded().is_some() && node.recorder.size() < 8192, "{}", node.recorder.size());
    assert!(!node.before("").is_empty(), "the node is always recorded");
}

#[test]
fn what_has_no_limit_and_is_nothing_of_kubernetes_is_not_recorded() {
    let mut node = Node::new(8 << 20);
    node.set("/system.slice", 5);
    node.set("/limited", 5);
    fs::write(node.root.path().join("limited/memory.max"), "1048576\n").expect("a file");
    node.tick(1);
    assert_eq!((node.before("/system.slice").len(), node.before("/limited").len()), (0, 1));
}

#[test]
fn a_limit_that_will_be_reached_is_said_once_and_withdrawn_where_that_does_not_come_true() {
    let mut node = Node::new(8 << 20);
    node.set(POD, 400);
    let max = node.root.path().join(&POD[1..]).join("memory.max");
    fs::write(max, format!("{}\n", 1000 * MIB)).expect("a file");
    let run = |node: &mut Node, seconds: u64, used: &dyn Fn(u64) -> u64| {
        let mut said: Vec<(u64, Option<u64>, bool)> = Vec::new();
        for second in 0..seconds {
            node.set(POD, used(second));
            let ahead = node.tick(1);
            said.extend(ahead.iter().map(|ahead| (node.second, ahead.seconds_left, ahead.withdrawn)));
        }
        said
    };
    assert_eq!(run(&mut node, 60, &|second| 400 + second), [], "what is usual for it is not known yet");
    assert_eq!(run(&mut node, 600, &|_| 400), [], "it is level");
    // Three MiB a second, of which half cannot be written back.
    let grown = run(&mut node, 90, &|second| 400 + 3 * second);
    let in_time = |at: u64, left: u64| (690..=750).contains(&at) && (300..=600).contains(&left);
    assert!(matches!(grown[..], [(at, Some(left), false)] if in_time(at, left)), "{grown:?}");
    let level = run(&mut node, 400, &|_| 670);
    assert!(matches!(level[..], [(_, None, true)]), "{level:?}");
}

#[test]
fn of_the_node_it_is_the_kubelets_threshold_that_is_ahead_or_else_all_memory() {
    for (threshold, expected) in [(Some(500), 7500), (None, 8000)] {
        let mut node = Node::new(8 << 20);
        if let Some(threshold) = threshold {
            let kubelet = node.root.path().join("host/proc/7/cmdline");
            let flag = format!("--eviction-hard=memory.available<{threshold}Mi");
            fs::write(kubelet, format!("/usr/bin/kubelet\0{flag}\0")).expect("a file");
        }
        for _ in 0..700 {
            assert!(node.tick(1).is_empty(), "it is level");
        }
        let mut ahead = Vec::new();
        // Ten MiB a second: 1,500 and 2,000 MiB are left.
        for second in 0..150 {
            node.set_available(6000 - 10 * second);
            ahead.extend(node.tick(1));
        }
        let [ahead] = &ahead[..] else { unreachable!("{ahead:?}") };
        assert_eq!((ahead.level, ahead.limit_bytes), (Some(Level::Node), Some(expected * MIB)));
        assert_eq!(ahead.eviction_threshold_bytes, threshold.map(|threshold| threshold * MIB));
        let left = ahead.limit_bytes.zip(ahead.usage_bytes).map(|(limit, usage)| (limit - usage) / (10 * MIB));
        assert!(ahead.seconds_left.zip(left).is_some_and(|(said, left)| said.abs_diff(left) <= 5), "{ahead:?}");
        assert!(ahead.cgroup.is_none() && ahead.pod.is_none() && !ahead.withdrawn);
    }
}

#[test]
fn the_pods_that_grew_in_the_last_minutes_are_named_the_most_first() {
    let mut node = Node::new(8 << 20);
    let pod = |number: u32| format!("/kubepods/burstable/pod01234567-89ab-cdef-0123-4567890000{number:02}");
    // They grow by a second: 0, 1, 2, … MiB.
    for second in 0..400 {
        for number in 0..8 {
            node.set(&pod(number), 100 + second * u64::from(number));
        }
        node.set(&format!("{}/{}", pod(7), "a".repeat(64)), 100 + second * 7);
        node.tick(1);
    }
    for path in ["", "/kubepods", "/kubepods/burstable"] {
        let grown = node.recorder.grown(path, node.now());
        let uids: Vec<_> = grown.iter().filter_map(|grown| grown.pod.as_ref()?.uid.as_ref()).collect();
        let ends: Vec<_> = uids.iter().map(|uid| uid.to_string()[34..].to_owned()).collect();
        assert_eq!(ends, ["07", "06", "05", "04", "03"]);
        assert_eq!(grown[0].usage_bytes, (100 + 399 * 7) * MIB);
        assert!((290_000..=300_000).contains(&grown[0].over_ms), "{}", grown[0].over_ms);
        assert!(grown[0].grown_bytes.abs_diff(300 * 7 * MIB) < 80 * MIB, "{}", grown[0].grown_bytes / MIB);
    }
    assert!(node.recorder.grown("/kubepods/besteffort", node.now()).is_empty());
}
