//! The incidents are a function of the set of events, and of nothing else.

use std::collections::BTreeMap;

use oomtrace_model::{
    Event, Eviction, EvictionPhase, Incident, IncidentState, Level, Limit, Line, OomKill, SenderRole, Source,
};

use super::world::{World, candidate, container, kill, pod, pod_by_uid, step, task, unnamed};
use crate::{Keep, Timeline};

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

/// Lines that say something of others than whom they are about: a ranking and a list of processes name pods, a note of the
/// kubelet's is of a kill, and its going on tells what it did not notice.
pub(super) fn tangled() -> World {
    let mut world = busy();
    let of = |letter, id, level, pid| {
        let mut kill = kill(pod_by_uid(letter), unnamed(id), level, 64);
        kill.victim.task = task("app", pid);
        kill.limit = kill.limit.map(|limit| Limit { cgroup: Some(format!("/{level:?}/{letter}")), ..limit });
        kill
    };
    world
        .kill(100.0, of('f', 'a', Level::Container, 21))
        .eviction(160.0, Eviction { pods: vec![pod('f'), pod('8')], ..step(EvictionPhase::Ranked) });
    world.kill(101.0, OomKill { group: Some(false), ..of('7', 'b', Level::Container, 22) });
    let candidates = Some(vec![candidate("x", 24, 9, Some((pod('6'), container("named", 'd'))))]);
    world.kill(102.0, OomKill { candidates, ..of('5', 'c', Level::Pod, 23) });
    world.kill(103.0, of('6', 'd', Level::Container, 24)).kubelet_speaks(99.0).kubelet_speaks(180.0);
    world.kill(104.0, of('4', 'e', Level::Node, 25));
    for pid in [Some(25), Some(26), None] {
        let oom = oomtrace_model::SystemOom { pid, comm: None, of_any_limit: false };
        world.tell(105.0, Source::Kubelet, Event::SystemOom(Box::new(oom)));
    }
    world
}

fn reported(lines: &[Line]) -> String {
    let mut timeline = Timeline::new(Keep::ALL, crate::Background::default());
    for line in lines {
        timeline.push(line);
    }
    serde_json::to_string_pretty(&timeline.incidents()).expect("JSON")
}

/// What it is in the end, whatever lines it was reported in and as what it began: its name is of that.
fn json(incident: &Incident) -> String {
    let (kills_new, processes_killed_new, deaths_new) = (incident.kills, incident.processes_killed, incident.deaths);
    let id = String::new();
    let last = Incident { id, revision: 1, kills_new, processes_killed_new, deaths_new, ..incident.clone() };
    serde_json::to_string_pretty(&last).expect("JSON")
}

/// A small generator is enough to shuffle with, and the same in every run.
pub(super) fn shuffle(lines: &mut [Line], state: &mut u64) {
    for last in (1..lines.len()).rev() {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        let other = usize::try_from(*state % (last as u64 + 1)).expect("small");
        lines.swap(last, other);
    }
}

#[test]
fn events_in_any_order_make_the_same_incidents() {
    let mut lines = busy().lines;
    let expected = reported(&lines);
    assert_eq!(busy().incidents().len(), 5, "{expected}");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        shuffle(&mut lines, &mut state);
        assert_eq!(reported(&lines), expected);
    }
}

#[test]
fn an_event_that_arrives_twice_changes_nothing() {
    let lines = busy().lines;
    let twice: Vec<_> = lines.iter().flat_map(|line| [line.clone(), line.clone()]).collect();
    assert_eq!(reported(&twice), reported(&lines));
}

#[test]
fn live_an_incident_is_reported_when_it_opens_and_when_it_closes_and_ends_as_a_replay_does() {
    let world = busy();
    let mut lines = world.lines.clone();
    lines.sort_by(|a, b| a.ts.cmp(&b.ts));
    let mut live = Timeline::new(Keep::LIVE, crate::Background::default());
    let mut reported = Vec::new();
    for line in &lines {
        live.push(line);
        reported.extend(live.news());
    }
    let later = lines.last().expect("lines").ts.parse::<jiff::Timestamp>().expect("a time");
    live.advance(later + jiff::SignedDuration::from_secs(3600));
    reported.extend(live.news());
    assert!(live.news().is_empty(), "nothing is reported twice");
    for incident in world.incidents() {
        let of_it: Vec<_> = reported.iter().filter(|other| other.id == incident.id).collect();
        assert_eq!(of_it.first().map(|first| first.state), Some(IncidentState::Open), "{incident:#?}");
        let last = of_it.last().expect("reported");
        assert_eq!(json(last), json(&incident));
    }
    assert_eq!(reported.iter().filter(|incident| incident.state == IncidentState::Closed).count(), 5);
}

#[test]
fn judging_what_an_event_touches_gives_what_judging_everything_gives() {
    let mut lines = tangled().lines;
    let expected: Vec<String> = tangled().incidents().iter().map(json).collect();
    assert_eq!(expected.len(), 11);
    let mut state = 0x1234_5678_9abc_def1_u64;
    for round in 0..60 {
        shuffle(&mut lines, &mut state);
        let mut live = Timeline::new(Keep::LIVE, crate::Background::default());
        let mut reported: BTreeMap<String, String> = BTreeMap::new();
        for (index, line) in lines.iter().enumerate() {
            live.push(line);
            // Judged after each event, and after several.
            if index % (1 + round % 4) == 0 {
                reported.extend(live.news().iter().map(|incident| (incident.id.clone(), json(incident))));
            }
            let whole: Vec<String> = live.incidents().iter().map(json).collect();
            let parts: Vec<String> = live.incidents_by_group().iter().map(json).collect();
            assert_eq!(parts, whole, "after {} lines of round {round}", index + 1);
        }
        reported.extend(live.finish().iter().map(|incident| (incident.id.clone(), json(incident))));
        for incident in &expected {
            assert!(reported.values().any(|reported| reported == incident), "{incident}");
        }
    }
}

#[test]
fn what_the_kubelet_turns_out_not_to_have_noticed_is_reported_though_the_incident_is_closed() {
    let mut world = World::default();
    let child = OomKill { group: Some(false), ..kill(pod('a'), container("app", '1'), Level::Container, 64) };
    world.kubelet_speaks(-5.0).kill(0.0, child);
    let mut live = world.timeline();
    let killed = world.lines[1].ts.parse::<jiff::Timestamp>().expect("a time");
    let later = |seconds| killed + jiff::SignedDuration::from_secs(seconds);
    live.advance(later(200));
    assert_eq!(live.news().last().map(|incident| incident.verdict.invisible), Some(None));
    world.kubelet_speaks(210.0);
    live.push(&world.lines[2]);
    assert!(live.news().is_empty(), "no more than a line a minute");
    live.advance(later(270));
    assert_eq!(live.news().last().map(|incident| incident.verdict.invisible), Some(Some(true)));
}
