//! Whatever is let go of for lack of space: no incident comes back, none is invented, and the counts stay exact.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use oomtrace_model::{
    Container, ContainerAction, ContainerChange, Event, Incident, Level, Limit, Line, OomKill, SenderRole,
};

use super::{
    order::shuffle,
    world::{World, change, container, kill, pod, unnamed},
};
use crate::{Background, Keep, Replay, Timeline};

const SMALL: Keep = Keep { evidence: 20, context: 20 };

/// A live run: lines, and the clock that goes on beside.
struct Run {
    timeline: Timeline,
    /// Every line of an incident that was reported.
    reported: Vec<Incident>,
    kills: i64,
}

impl Run {
    fn new(keep: Keep) -> Self {
        Self { timeline: Timeline::new(keep, Background::default()), reported: Vec::new(), kills: 0 }
    }

    fn push(&mut self, line: &Line) {
        self.timeline.push(line);
        self.kills += i64::from(matches!(line.event, Event::OomKill(_)));
    }

    fn tick(&mut self) {
        self.reported.extend(self.timeline.news());
    }

    fn finish(mut self) -> Vec<Incident> {
        self.reported.extend(self.timeline.finish());
        self.reported
    }
}

/// The last line of each incident.
fn last(reported: &[Incident]) -> BTreeMap<&str, &Incident> {
    let mut last: BTreeMap<&str, &Incident> = BTreeMap::new();
    for incident in reported {
        if let Some(before) = last.insert(&incident.id, incident) {
            assert_eq!(incident.revision, before.revision + 1, "{incident:#?}");
        }
    }
    last
}

fn sum(incidents: impl IntoIterator<Item = u64>) -> i64 {
    incidents.into_iter().sum::<u64>().cast_signed()
}

/// The sums over all lines, and over the last lines, are the kills that there were.
fn assert_exact(reported: &[Incident], kills: i64) {
    assert_eq!(sum(reported.iter().map(|incident| incident.kills_new)), kills, "what is new in each line");
    assert_eq!(sum(last(reported).values().map(|incident| incident.kills)), kills, "what the last lines have");
}

/// A kill in a container of its own, reported with its end in all the ways that there are.
fn restart(world: &mut World, at: f64, letter: char, nth: u32) {
    let id = format!("{:064x}", u64::from(nth) << 8 | u64::from(u32::from(letter)));
    let app = || Container { id: id.parse().ok(), ..container("app", '0') };
    let mut killed = kill(pod(letter), app(), Level::Container, 64);
    let pid = 1000 + nth * 64 + u32::from(letter) % 64;
    (killed.victim.task.pid, killed.victim.task.tgid) = (Some(pid), Some(pid));
    killed.limit = killed.limit.map(|limit| Limit { cgroup: Some(format!("/{letter}")), ..limit });
    let of = |action| change(action, pod(letter), Some(app()));
    world
        .change(at - 0.5, of(ContainerAction::Started))
        .kill(at, killed)
        .exit(at + 0.1, pod(letter), app(), 137)
        .change(at + 0.3, of(ContainerAction::OomNoticed))
        .died(at + 1.0, pod(letter), app(), 137)
        .change(
            at + 2.0,
            ContainerChange {
                reason: Some("OOMKilled".to_owned()),
                exit_code: Some(137),
                ..of(ContainerAction::Reported)
            },
        );
}

/// A busy half hour: crash loops, kills of which nothing else is reported, a child of a container that goes on, evictions, kills by
/// people.
fn half_hour() -> World {
    let mut world = World::default();
    for nth in 0..12 {
        restart(&mut world, f64::from(nth) * 150.0, 'a', nth);
        restart(&mut world, 7.0 + f64::from(nth) * 61.0, 'b', nth);
    }
    for (nth, letter) in ('c'..='f').enumerate() {
        let nth = u32::try_from(nth).expect("small");
        restart(&mut world, 40.0 + f64::from(nth) * 300.0, letter, 50 + nth);
        let mut child = kill(pod(letter), container("web", letter), Level::Pod, 64);
        child.victim.task.tgid = Some(90_000 + nth);
        child.group = Some(false);
        world.kill(90.0 + f64::from(nth) * 300.0, child);
    }
    for (nth, letter) in ['7', '8'].into_iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let at = 200.0 + 500.0 * nth as f64;
        let mut hog = kill(pod(letter), container("hog", letter), Level::Kubepods, 1024);
        hog.victim.task.tgid = Some(80_000 + u32::from(letter));
        world.kill(at, hog).evicts(at + 5.0, letter);
        world.killing(at + 6.0, letter, container("hog", letter)).died(at + 7.0, pod(letter), unnamed(letter), 137);
    }
    world.signal(900.0, 9, SenderRole::Person, "bash", (pod('9'), container("app", '9'))).exit(
        900.1,
        pod('9'),
        container("app", '9'),
        137,
    );
    world.lines.sort_by(|a, b| a.ts.cmp(&b.ts));
    world
}

/// Swaps lines of different pods that are near each other, as several sources bring them.
fn interleave(lines: &mut [Line], state: &mut u64) {
    let size = usize::try_from(2 + *state % 9).expect("small");
    let pod = |line: &Line| serde_json::to_value(line).expect("JSON")["pod"]["uid"].to_string();
    for near in lines.chunks_mut(size) {
        shuffle(near, state);
        // What comes of a kill comes after it.
        for first in 0..near.len() {
            for second in first + 1..near.len() {
                if pod(&near[first]) == pod(&near[second]) && near[first].ts > near[second].ts {
                    near.swap(first, second);
                }
            }
        }
    }
}

#[test]
fn the_kills_of_all_incidents_are_the_kills_that_there_were_at_every_moment() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..25_u64 {
        let mut lines = half_hour().lines;
        interleave(&mut lines, &mut state);
        let keep = Keep { evidence: 8 + usize::try_from(round).expect("small"), context: 20 };
        let (mut small, mut all) = (Run::new(keep), Run::new(Keep::ALL));
        for (nth, line) in lines.iter().enumerate() {
            for run in [&mut small, &mut all] {
                run.push(line);
                if (nth as u64).is_multiple_of(1 + round % 3) {
                    run.tick();
                }
                assert_eq!(run.timeline.counts().kills, run.kills, "after {nth} lines of round {round}");
            }
            assert!(small.timeline.evidence.len() <= keep.evidence);
        }
        let kills = small.kills;
        assert_exact(&small.finish(), kills);
        assert_exact(&all.finish(), kills);
    }
}

#[test]
fn no_incident_comes_back_or_is_invented_under_another_name() {
    let lines = half_hour().lines;
    let mut run = Run::new(Keep { evidence: 80, context: 40 });
    let mut all = Run::new(Keep::ALL);
    for line in &lines {
        run.push(line);
        run.tick();
        all.push(line);
    }
    let (kept, all) = (run.finish(), all.finish());
    let (kept, all) = (last(&kept), last(&all));
    for (id, incident) in &kept {
        let same = all.get(id);
        assert_eq!(same.map(|same| same.kills), Some(incident.kills), "{id}: {}", incident.verdict.summary);
        assert_eq!(same.map(|same| &same.started), Some(&incident.started), "{id}");
        assert_eq!(same.map(|same| same.verdict.scenario), Some(incident.verdict.scenario), "{id}");
    }
    assert_eq!(kept.len(), all.len());
}

#[test]
fn a_crash_loop_of_more_lines_than_are_kept_keeps_its_id_its_beginning_and_its_counts() {
    let mut run = Run::new(SMALL);
    let mut world = World::default();
    for nth in 0..400 {
        restart(&mut world, f64::from(nth) * 300.0, 'a', nth);
    }
    for line in &world.lines {
        run.push(line);
        run.tick();
    }
    let reported = run.finish();
    assert_exact(&reported, 400);
    let of_it = last(&reported);
    let [incident] = of_it.values().collect::<Vec<_>>()[..] else { unreachable!("one incident: {of_it:#?}") };
    assert_eq!((incident.kills, incident.processes_killed, incident.deaths), (400, 400, 400));
    assert_eq!(
        incident.started,
        world.lines[1].ts.clone().min(world.lines[0].ts.clone()).max(incident.started.clone())
    );
    assert!(incident.verdict.summary.contains("the first of 400 kills"), "{}", incident.verdict.summary);
    assert!(incident.events_omitted > 1000, "{}", incident.events_omitted);
}

#[test]
fn a_backlog_of_600_kills_in_300_pods_is_an_incident_for_every_pod_and_all_kills() {
    let mut world = World::default();
    for nth in 0..600_u32 {
        let name = format!("pod-{}", nth % 300);
        let uid = format!("00000000-0000-0000-0000-{:012x}", nth % 300);
        let of = oomtrace_model::Pod { name: Some(name), uid: uid.parse().ok(), ..pod('a') };
        let app = Container { id: format!("{nth:064x}").parse().ok(), ..container("app", '0') };
        let mut killed = kill(of, app, Level::Container, 64);
        killed.victim.task.tgid = Some(1000 + nth);
        killed.limit = killed.limit.map(|limit| Limit { cgroup: Some(format!("/{}", nth % 300)), ..limit });
        world.kill(f64::from(nth) * 0.001, killed);
    }
    for keep in [Keep::LIVE, SMALL] {
        let mut run = Run::new(keep);
        world.lines.iter().for_each(|line| run.push(line));
        run.tick();
        let reported = run.finish();
        assert_exact(&reported, 600);
        let pods: BTreeSet<_> = reported.iter().filter_map(|incident| incident.pod.clone()?.name).collect();
        assert_eq!(pods.len(), 300);
    }
}

#[test]
fn what_might_have_made_an_incident_yet_and_had_to_go_is_counted() {
    let mut run = Run::new(SMALL);
    let mut world = World::default();
    for nth in 0..60_u32 {
        let app = Container { id: format!("{nth:064x}").parse().ok(), ..container("app", '0') };
        world.signal(f64::from(nth) * 0.01, 15, SenderRole::Runtime, "containerd", (pod('a'), app));
    }
    world.lines.iter().for_each(|line| run.push(line));
    assert!(run.timeline.dropped() >= 40, "{}", run.timeline.dropped());
}

#[test]
fn a_storm_of_2_000_kills_in_one_container_is_one_incident_with_all_of_them() {
    let mut run = Run::new(Keep::LIVE);
    for nth in 0..2_000_u32 {
        let mut world = World::default();
        let mut storm = kill(pod('a'), container("app", '1'), Level::Container, 64);
        storm.victim.task.tgid = Some(1000 + nth);
        world.kill(f64::from(nth) * 0.01, storm);
        run.push(&world.lines[0]);
    }
    run.tick();
    let reported = run.finish();
    assert_exact(&reported, 2_000);
    assert_eq!(last(&reported).len(), 1);
}

#[test]
fn a_crash_loop_is_reported_at_once_then_once_a_minute_and_closes_with_all() {
    let mut run = Run::new(Keep::LIVE);
    let mut world = World::default();
    for nth in 0..30 {
        restart(&mut world, 1.0 + f64::from(nth) * 10.0, 'a', nth);
    }
    let at = |line: &Line| line.ts.parse::<Timestamp>().expect("a time");
    let start = at(&world.lines[0]);
    let mut lines = world.lines.iter().peekable();
    let mut when = Vec::new();
    for half_seconds in 0..1000_i32 {
        let now = start + SignedDuration::from_millis(i64::from(half_seconds) * 500);
        while let Some(line) = lines.next_if(|line| at(line) <= now) {
            run.push(line);
        }
        run.timeline.advance(now);
        for incident in run.timeline.news() {
            when.push((half_seconds / 2, incident.kills_new, incident.kills, incident.deaths_new));
            run.reported.push(incident);
        }
    }
    assert_eq!(when.first().map(|(at, new, ..)| (*at, *new)), Some((0, 1)), "{when:?}");
    assert!(when.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 60), "{when:?}");
    assert_eq!(when.iter().map(|(_, new, ..)| new).sum::<u64>(), 30);
    assert_eq!(when.iter().map(|(.., new)| new).sum::<u64>(), 30);
    assert_eq!(when.last().map(|(_, _, kills, _)| *kills), Some(30));
    // A kill is not waited for until the incident closes.
    assert!(when.len() >= 6, "{when:?}");
}

#[test]
fn an_incident_that_turns_out_to_be_another_keeps_its_id() {
    let mut run = Run::new(Keep::LIVE);
    let mut world = World::default();
    // A kill in a container that nobody has a name for yet; then the runtime says whose it is.
    let mut killed: OomKill = kill(pod('a'), unnamed('1'), Level::Container, 64);
    killed.pod = None;
    world.kill(10.0, killed).change(11.0, change(ContainerAction::Died, pod('a'), Some(container("app", '1'))));
    run.push(&world.lines[0]);
    run.tick();
    run.push(&world.lines[1]);
    let reported = run.finish();
    assert_exact(&reported, 1);
    let of_it = last(&reported);
    let [incident] = of_it.values().collect::<Vec<_>>()[..] else { unreachable!("one incident: {of_it:#?}") };
    assert_eq!(incident.pod.as_ref().and_then(|pod| pod.name.as_deref()), Some("pod-a"));
}

#[test]
fn incidents_that_turn_out_to_be_one_are_closed_with_the_name_of_that_one() {
    let mut run = Run::new(Keep::LIVE);
    let mut world = World::default();
    let nameless = |id| {
        let mut killed = kill(pod('a'), unnamed(id), Level::Container, 64);
        killed.pod = None;
        killed.victim.task.tgid = Some(u32::from(id));
        killed
    };
    world.kill(10.0, nameless('1')).kill(30.0, nameless('2'));
    world.died(31.0, pod('a'), container("app", '1'), 137).died(31.0, pod('a'), container("app", '2'), 137);
    for line in &world.lines {
        run.push(line);
        run.tick();
    }
    let reported = run.finish();
    assert_exact(&reported, 2);
    let of_it = last(&reported);
    let (gone, stays): (Vec<&Incident>, Vec<&Incident>) = of_it.values().partition(|incident| incident.withdrawn);
    let ([gone], [stays]) = (&gone[..], &stays[..]) else { unreachable!("two names: {of_it:#?}") };
    assert_eq!((gone.replaced_by.as_ref(), gone.kills), (Some(&stays.id), 0));
    assert_eq!(stays.kills, 2);
}

/// Recorded as JSON and read again, lines are the same.
fn recorded(lines: &[Line]) -> Vec<Line> {
    lines
        .iter()
        .map(|line| serde_json::from_str(&serde_json::to_string(line).expect("JSON")).expect("a line"))
        .collect()
}

/// What an incident is in the end, whatever lines it was reported in.
fn in_the_end(incident: &Incident) -> String {
    let (kills_new, processes_killed_new, deaths_new) = (incident.kills, incident.processes_killed, incident.deaths);
    let last = Incident { revision: 1, kills_new, processes_killed_new, deaths_new, ..incident.clone() };
    serde_json::to_string_pretty(&last).expect("JSON")
}

/// Replay of a recording gives what was reported when it was recorded.
fn assert_replays(lines: &[Line], tick_after: impl Fn(usize) -> bool) {
    let mut run = Run::new(Keep::LIVE);
    for (nth, line) in lines.iter().enumerate() {
        run.push(line);
        if tick_after(nth) {
            let later = line.ts.parse::<Timestamp>().expect("a time")
                + SignedDuration::from_secs(i64::try_from(nth % 200).expect("small"));
            run.timeline.advance(later);
            run.tick();
        }
    }
    let reported = run.finish();
    let live: Vec<_> = last(&reported).into_values().filter(|incident| !incident.withdrawn).map(in_the_end).collect();
    let mut replay = Replay::default();
    for line in &recorded(lines) {
        replay.push(line);
    }
    let (mut replayed, _) = replay.finish();
    replayed.sort_by(|a, b| a.1.id.cmp(&b.1.id));
    let replayed: Vec<_> = replayed.iter().map(|(_, incident)| in_the_end(incident)).collect();
    for (live, replayed) in live.iter().zip(&replayed) {
        assert_eq!(live, replayed);
    }
    assert_eq!(live.len(), replayed.len());
}

#[test]
fn a_recording_that_is_replayed_gives_the_incidents_that_were_reported_live() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    for round in 1..8_usize {
        let mut lines = half_hour().lines;
        let mut more = half_hour().lines;
        for line in &mut more {
            let later = line.ts.parse::<Timestamp>().expect("a time") + SignedDuration::from_mins(20);
            line.ts = format!("{later:.9}");
        }
        lines.extend(more);
        interleave(&mut lines, &mut state);
        assert_replays(&lines, |nth| nth % round == 0);
    }
}

/// A recording of a node with a kubelet, as it was made.
fn recording(name: &str) -> Vec<Line> {
    let path = format!("{}/../tests/data/recordings/{name}.jsonl.zst", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(&path).expect(&path);
    let mut text = String::new();
    let mut reader = ruzstd::decoding::StreamingDecoder::new(file).expect("zstd");
    std::io::Read::read_to_string(&mut reader, &mut text).expect("text");
    let lines = text.lines().filter(|line| !line.contains(r#""kind":"incident""#));
    lines.map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn a_recorded_crash_loop_of_5_kills_is_one_of_5_kills_though_20_lines_are_kept() {
    let lines = recording("crashloop-only");
    for keep in [SMALL, Keep::LIVE] {
        let mut run = Run::new(keep);
        for line in &lines {
            run.push(line);
            run.tick();
            assert_eq!(run.timeline.counts().kills, run.kills);
        }
        let reported = run.finish();
        assert_exact(&reported, 5);
        let with_kills =
            last(&reported).values().filter(|incident| incident.kills > 0).map(|incident| incident.kills).sum::<u64>();
        assert_eq!(with_kills, 5);
    }
    assert_replays(&lines, |nth| nth % 3 == 0);
}

#[test]
fn of_25_minutes_of_a_busy_node_no_incident_comes_back_and_every_kill_is_counted_once() {
    let lines = recording("boot-n");
    let (mut run, mut all) = (Run::new(Keep::LIVE), Run::new(Keep::ALL));
    for line in &lines {
        run.push(line);
        run.tick();
        assert_eq!(run.timeline.counts().kills, run.kills, "{}", line.ts);
        all.push(line);
    }
    let kills = run.kills;
    assert_eq!(kills, 40);
    let (reported, all) = (run.finish(), all.finish());
    assert_exact(&reported, kills);
    let count = |reported: &[Incident]| {
        last(reported)
            .values()
            .filter(|incident| !incident.withdrawn)
            .map(|i| (i.id.clone(), i.kills))
            .collect::<Vec<_>>()
    };
    assert_eq!(count(&reported), count(&all));
    assert_replays(&lines, |nth| nth % 5 == 0);
}
