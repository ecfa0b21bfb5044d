//! The incidents are a function of the set of events, and of nothing else.

use super::world::{World, container, kill, pod, pod_by_uid, unnamed};
use crate::{
    event::{IncidentState, Level, Line, SenderRole},
    timeline::{Keep, Timeline},
};

/// A busy node: kills, evictions, both of one pod, a crash, a kill by a person.
fn busy() -> World {
    let mut world = World::default();
    for (at, id) in [(0.0, '1'), (20.0, '2'), (60.0, '3')] {
        world.kill(at, kill(pod_by_uid('a'), unnamed(id), Level::Container, 64)).died(
            at + 2.0,
            pod('a'),
            container("app", id),
            137,
        );
    }
    world.kill(61.0, kill(pod('b'), container("hog", '4'), Level::Kubepods, 1024)).died(
        63.0,
        pod('b'),
        unnamed('4'),
        137,
    );
    world.evicts(70.0, 'b').killing(70.2, 'b', container("hog", '5')).died(72.0, pod('b'), unnamed('5'), 0);
    world.evicts(90.0, 'c').killing(90.2, 'c', container("web", '6')).died(95.0, pod('c'), unnamed('6'), 143);
    world.died(30.0, pod('d'), container("app", '7'), 139);
    world.signal(33.0, 9, SenderRole::Process, "bash", (pod('e'), container("app", '8'))).exit(
        33.1,
        pod('e'),
        container("app", '8'),
        137,
    );
    world
}

fn told(lines: &[Line]) -> String {
    let mut timeline = Timeline::new(Keep::ALL, crate::timeline::Known::default());
    for line in lines {
        timeline.push(line);
    }
    serde_json::to_string_pretty(&timeline.incidents()).expect("JSON")
}

#[test]
fn events_in_any_order_make_the_same_incidents() {
    let mut lines = busy().lines;
    let expected = told(&lines);
    assert_eq!(busy().incidents().len(), 5, "{expected}");
    // A small generator is enough to shuffle with, and the same in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        for last in (1..lines.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let other = usize::try_from(state % (last as u64 + 1)).expect("small");
            lines.swap(last, other);
        }
        assert_eq!(told(&lines), expected);
    }
}

#[test]
fn an_event_that_arrives_twice_changes_nothing() {
    let lines = busy().lines;
    let twice: Vec<_> = lines.iter().flat_map(|line| [line.clone(), line.clone()]).collect();
    assert_eq!(told(&twice), told(&lines));
}

#[test]
fn live_an_incident_is_told_when_it_opens_and_when_it_closes_and_ends_as_a_replay_does() {
    let world = busy();
    let mut lines = world.lines.clone();
    lines.sort_by(|a, b| a.ts.cmp(&b.ts));
    let mut live = Timeline::new(Keep::LIVE, crate::timeline::Known::default());
    let mut told = Vec::new();
    for line in &lines {
        live.push(line);
        told.extend(live.news());
    }
    let later = lines.last().expect("lines").ts.parse::<jiff::Timestamp>().expect("a time");
    live.advance(later + jiff::SignedDuration::from_secs(3600));
    told.extend(live.news());
    assert!(live.news().is_empty(), "nothing is told twice");
    for incident in world.incidents() {
        let of_it: Vec<_> = told.iter().filter(|other| other.id == incident.id).collect();
        assert_eq!(of_it.first().map(|first| first.state), Some(IncidentState::Open), "{incident:#?}");
        let last = of_it.last().expect("told");
        assert_eq!(serde_json::to_string(last).expect("JSON"), serde_json::to_string(&incident).expect("JSON"));
    }
    assert_eq!(told.iter().filter(|incident| incident.state == IncidentState::Closed).count(), 5);
}

#[test]
fn what_is_kept_is_bounded_and_what_went_is_counted() {
    let mut timeline = Timeline::new(Keep { evidence: 10, context: 10 }, crate::timeline::Known::default());
    let lines = busy().lines;
    for line in &lines {
        timeline.push(line);
    }
    assert_eq!(timeline.dropped(), lines.len() as u64 - 10);
}
