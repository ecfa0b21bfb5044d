use jiff::{Timestamp, tz::TimeZone};

use super::{LogReader, at};
use crate::kubelet_log::Calendar;

const MESSAGE: &str = r#"440 f.go:1] "Eviction manager: attempting to reclaim" resourceName="memory""#;

fn time_of(line: &str, not_after: &str, zone: TimeZone) -> String {
    let not_after: Timestamp = not_after.parse().expect("a time");
    let mut reader = LogReader::new(Calendar { not_after, zone }, Vec::new()).expect("a reader");
    let mut reported = Vec::new();
    reader.push(line.as_bytes(), &mut reported);
    reader.finish(&mut reported);
    at(&reported[0])
}

fn utc(line: &str, not_after: &str) -> String {
    time_of(line, not_after, TimeZone::UTC)
}

#[test]
fn a_line_without_a_year_is_of_the_latest_that_it_can_be() {
    let line = |day: &str| format!("I{day} 23:24:42.998045     {MESSAGE}");
    assert_eq!(utc(&line("1123"), "2026-11-24T00:00:00Z"), "2026-11-23T23:24:42.998045Z");
    assert_eq!(utc(&line("1231"), "2026-01-02T00:00:00Z"), "2025-12-31T23:24:42.998045Z", "the year has turned");
    assert_eq!(utc(&line("0102"), "2026-01-02T00:00:00Z"), "2026-01-02T23:24:42.998045Z", "a clock may be ahead");
    assert_eq!(utc(&line("0229"), "2026-11-24T00:00:00Z"), "2024-02-29T23:24:42.998045Z", "a leap year's");
    assert_eq!(utc(&line("1225"), "2026-11-24T00:00:00Z"), "2025-12-25T23:24:42.998045Z");
}

#[test]
fn the_journals_instant_gives_the_year_and_the_zone_and_the_kubelets_the_microseconds() {
    for (kept, expected) in [
        ("2026-11-23T23:24:43.1+00:00", "2026-11-23T23:24:42.998045Z"),
        ("2026-11-23T22:24:43.1+00:00", "2026-11-23T22:24:42.998045Z"), // the kubelet's zone is an hour ahead
        ("2026-11-24T00:24:43.1+01:00", "2026-11-23T23:24:42.998045Z"), // the reader's is
        ("2026-11-23T17:54:43.1+00:00", "2026-11-23T17:54:42.998045Z"), // India
        ("2026-11-24T07:24:43.1+00:00", "2026-11-24T07:24:42.998045Z"), // the Pacific
        ("1999-11-23T23:24:43+00:00", "1999-11-23T23:24:42.998045Z"),
        ("2026-11-23T23:29:43+00:00", "2026-11-23T23:24:42.998045Z"), // five minutes late
    ] {
        let line = format!("{kept} node1 kubelet[440]: I1123 23:24:42.998045     {MESSAGE}");
        assert_eq!(time_of(&line, "2030-01-01T00:00:00Z", TimeZone::fixed(jiff::tz::offset(-3))), expected, "{kept}");
    }
}

#[test]
fn a_year_or_a_day_that_turns_between_the_two_stamps_is_no_riddle() {
    let line = |kept: &str| format!("{kept} node1 kubelet[440]: I1231 23:59:59.999999     {MESSAGE}");
    let expected = "2025-12-31T23:59:59.999999Z";
    assert_eq!(utc(&line("2026-01-01T00:00:00.1+00:00"), "2030-01-01T00:00:00Z"), expected);
    assert_eq!(utc(&line("Jan 01 00:00:00"), "2026-06-01T00:00:00Z"), expected);
    assert_eq!(utc(&line("Thu 2026-01-01 00:00:00 CET"), "2030-06-01T00:00:00Z"), expected);
}

#[test]
fn the_zone_is_the_nodes_where_nothing_else_tells() {
    let line = format!("Nov 23 23:24:43 node1 kubelet[440]: I1123 23:24:42.998045     {MESSAGE}");
    let zone = TimeZone::fixed(jiff::tz::offset(5));
    assert_eq!(time_of(&line, "2026-12-01T00:00:00Z", zone), "2026-11-23T18:24:42.998045Z");
}
