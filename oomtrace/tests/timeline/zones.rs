//! Nodes whose clocks on the wall show another time than UTC.

use serde_json::Value;

use super::{
    Logs,
    recast::Kubelet,
    story::{Over, Place, Story},
};

/// A container that is killed twice, and one whose child is killed while it lives on.
fn story() -> Story {
    let (app, again, other) = (Place::new('a', "app", '1'), Place::new('a', "app", '2'), Place::new('b', "web", '3'));
    let mut story = Story::default();
    story.starts(0.0, app).starts(0.5, other);
    story.oom(20.0, app, 801, Over::Container, true, &[]).ends(21.0, app, 137).restarts(25.0, again);
    story.oom(40.0, again, 802, Over::Container, true, &[]).ends(41.0, again, 137);
    story.oom(60.0, other, 803, Over::Container, false, &["sh"]).goes_on(200.0);
    story
}

/// klog's times in a zone: hours from UTC, to the east.
fn klog_in(log: &str, hours: i64) -> String {
    let line = |line: &str| {
        let hour = 23 + hours;
        let (day, hour) = if hour >= 24 { (24, hour - 24) } else { (23, hour) };
        format!("I11{day} {hour:02}{}\n", &line[8..])
    };
    log.lines().map(line).collect()
}

/// `dmesg -T` in a zone.
fn dmesg_in(log: &str, hours: i64) -> String {
    let line = |line: &str| {
        let (time, text) = line.split_once("+00:00 node1 kernel: ").expect("a line");
        let hour = 23 + hours;
        let (day, hour) = if hour >= 24 { (24, hour - 24) } else { (23, hour) };
        format!("[Mon Nov {day} {hour:02}{} 2026] {text}\n", &time[13..19])
    };
    log.lines().map(line).collect()
}

fn gist(reported: &[Value]) -> Vec<String> {
    let of = |line: &Value| {
        let (started, verdict) = (line["started"].as_str().expect("a time"), &line["verdict"]);
        format!("{} {} {} {}", &started[..16], line["pod"]["name"], line["kills"], verdict["invisible"])
    };
    reported.iter().map(of).collect()
}

const EXPECTED: [&str; 2] = ["2026-11-23T23:20 \"pod-a\" 2 false", "2026-11-23T23:21 \"pod-b\" 1 true"];

#[test]
fn local_times_of_one_log_are_set_right_by_the_instants_of_the_other() {
    let Story { kernel, kubelet } = story();
    for hours in [-5, 0, 1, 9] {
        let logs = Logs::of(&kernel, &klog_in(&kubelet, hours));
        assert_eq!(gist(&logs.reported(&[])), EXPECTED, "the kubelet's, {hours}");
        let json = Kubelet::Json.recast(&kubelet);
        let logs = Logs::of(&dmesg_in(&kernel, hours), &json);
        assert_eq!(gist(&logs.reported(&[])), EXPECTED, "the kernel's, {hours}");
    }
}

#[test]
fn a_zone_that_one_log_writes_is_the_others() {
    // Nobody who was killed was seen to end.
    let Story { kernel, kubelet } = story();
    let kubelet: String =
        kubelet.lines().filter(|line| !line.contains("(PLEG)")).map(|l| l.to_owned() + "\n").collect();
    let kernel = kernel.replace("2026-11-23T23:", "2026-11-24T01:").replace("+00:00", "+02:00");
    let logs = Logs::of(&kernel, &klog_in(&kubelet, 2));
    let full = logs.reported(&["--full"]);
    let times: Vec<_> = full.iter().filter_map(|line| line["ts"].as_str()).collect();
    assert!(!times.is_empty() && times.iter().all(|time| time.starts_with("2026-11-23T23:2")), "{times:?}");
}

#[test]
fn where_all_times_are_local_they_agree_and_what_is_asked_for_counts() {
    let Story { kernel, kubelet } = story();
    for (more, hour) in [(&[][..], "2026-11-24T01"), (&["--time-zone", "+02:00"][..], "2026-11-23T23")] {
        let logs = Logs::of(&dmesg_in(&kernel, 2), &klog_in(&kubelet, 2));
        let reported = gist(&logs.reported(more));
        let expected = EXPECTED.map(|line| line.replace("2026-11-23T23", hour));
        assert_eq!(reported, expected);
    }
}
