//! What is judged and let go of on the way gives the same as what is kept to the end.

use jiff::{SignedDuration, Timestamp};
use oomtrace_model::{Container, ContainerAction, ContainerChange, Incident, Level, Limit, Line, Scenario};

use super::{
    order::tangled,
    world::{World, change, container, kill, pod, unnamed},
};
use crate::{Background, Ended, Keep, Settled, Timeline};

fn time(line: &Line) -> Timestamp {
    line.ts.parse().expect("a time")
}

fn json(ended: &[Ended]) -> Vec<String> {
    ended.iter().map(|ended| serde_json::to_string_pretty(&ended.incident).expect("JSON")).collect()
}

/// All incidents of lines in the order of time, judged as they come.
fn on_the_way(lines: &[Line]) -> (Vec<String>, usize) {
    let mut timeline = Timeline::new(Keep::ALL, Background::default());
    let (mut reported, mut most) = (Vec::new(), 0);
    for line in lines {
        timeline.push(line);
        reported.extend(json(&timeline.settle(Some(time(line))).incidents));
        most = most.max(timeline.evidence.len() + timeline.context.len());
    }
    reported.extend(json(&timeline.settle(None).incidents));
    (reported, most)
}

#[test]
fn a_log_of_days_is_judged_as_it_comes_and_kept_for_an_hour() {
    let mut one = tangled().lines;
    one.sort_by(|a, b| (&a.ts, a.seq).cmp(&(&b.ts, b.seq)));
    let copy = |nth: u64| -> Vec<Line> {
        let later = SignedDuration::from_hours(2 * nth.cast_signed());
        let moved = |line: &Line| {
            let at = time(line).checked_add(later).expect("a time");
            Line { ts: format!("{at:.9}"), seq: line.seq + 1000 * nth, ..line.clone() }
        };
        one.iter().map(moved).collect()
    };
    let mut expected = Vec::new();
    for nth in 0..4 {
        let mut alone = Timeline::new(Keep::ALL, Background::default());
        for line in copy(nth) {
            alone.push(&line);
        }
        expected.extend(alone.incidents().iter().map(|incident| serde_json::to_string_pretty(incident).expect("JSON")));
    }
    let (mut reported, most) = on_the_way(&(0..4).flat_map(copy).collect::<Vec<_>>());
    expected.sort();
    reported.sort();
    for (reported, expected) in reported.iter().zip(&expected) {
        assert_eq!(reported, expected);
    }
    assert_eq!(reported.len(), expected.len());
    assert!(most <= one.len() + 10, "{most} of {} lines were kept at once", one.len());
}

#[test]
fn the_start_of_a_container_is_remembered_until_its_end() {
    let mut world = World::default();
    // A sandbox and two containers, one of which hits the pod's limit a day later.
    world.started(0.0, pod('a'), unnamed('1')).started(5.0, pod('a'), container("app", '2'));
    world.started(6.0, pod('a'), container("proxy", '3')).kubelet_speaks(40_000.0);
    world.kill(86_400.0, kill(pod('a'), container("app", '2'), Level::Pod, 64)).kubelet_speaks(86_500.0);
    let whole = world.incident();
    assert_eq!(whole.verdict.scenario, Scenario::PodLimit);
    let (reported, _) = on_the_way(&world.lines);
    assert_eq!(reported, [serde_json::to_string_pretty(&whole).expect("JSON")]);
}

#[test]
fn a_kill_is_remembered_until_the_container_that_outlived_it_ends() {
    let child = || {
        let mut child = kill(pod('a'), container("app", '1'), Level::Container, 64);
        (child.group, child.victim.task.container_init) = (Some(false), Some(false));
        child
    };
    let end = |code, reported: bool, start: bool| {
        let mut world = World::default();
        if start {
            world.started(0.0, pod('a'), container("app", '1'));
        }
        world.kill(100.0, child()).kubelet_speaks(200.0);
        // A day on, with a pause each hour for all to be let go of.
        for hour in 1..24 {
            world.change(f64::from(hour) * 3600.0, change(ContainerAction::BackOff, pod('a'), None));
        }
        if reported {
            world.killing(86_400.0, 'a', container("app", '1'));
        }
        world.died(86_401.0, pod('a'), unnamed('1'), code).change(
            86_401.5,
            ContainerChange {
                reason: Some("OOMKilled".to_owned()),
                exit_code: Some(code),
                ..change(ContainerAction::Reported, pod('a'), Some(container("app", '1')))
            },
        );
        let (reported, _) = on_the_way(&world.lines);
        reported.iter().map(|reported| serde_json::from_str(reported).expect("an incident")).collect::<Vec<Incident>>()
    };
    // It ended by itself: there is no second kill.
    assert_eq!(end(0, false, true).len(), 1);
    // A log may begin after the container's start.
    for start in [true, false] {
        let [kill, end] = &end(143, true, start)[..] else { unreachable!("two incidents") };
        assert_eq!((kill.verdict.scenario, kill.kills), (Scenario::ContainerLimit, 1));
        assert_eq!(end.verdict.scenario, Scenario::Killed);
        assert!(end.verdict.summary.contains("because app was OOM-killed in it at 20"), "{}", end.verdict.summary);
    }
}

#[test]
fn kills_are_remembered_of_so_many_containers_that_memory_stays_flat() {
    let mut timeline = Timeline::new(Keep::ALL, Background::default());
    let (mut world, containers) = (World::default(), 600_u32);
    for nth in 0..containers {
        let mut kill = kill(pod('a'), container("app", '1'), Level::Container, 64);
        kill.container = Some(Container { id: format!("{nth:064x}").parse().ok(), ..container("app", '1') });
        (kill.pod, kill.limit) = (None, None);
        kill.victim.task.tgid = Some(100 + nth);
        world.kill(f64::from(nth) * 3600.0, kill);
    }
    for line in &world.lines {
        timeline.push(line);
        timeline.settle(Some(time(line)));
    }
    timeline.settle(None);
    assert_eq!(timeline.evidence.len() + timeline.context.len(), 0);
    assert_eq!(timeline.groups.kept(), 512);
}

#[test]
fn an_incident_that_began_before_another_that_is_over_is_waited_for() {
    let mut world = World::default();
    for minute in 0..8 {
        world.kill(f64::from(minute) * 600.0, kill(pod('a'), container("app", '1'), Level::Container, 64));
    }
    let mut of_b = kill(pod('b'), container("app", '2'), Level::Container, 64);
    of_b.victim.task.tgid = Some(8);
    of_b.limit = of_b.limit.map(|limit| Limit { cgroup: Some("/b".to_owned()), ..limit });
    world.kill(30.0, of_b);
    let mut timeline = world.timeline();
    let later = |seconds| time(&world.lines[0]).checked_add(SignedDuration::from_secs(seconds)).expect("a time");
    let Settled { incidents, complete_until, .. } = timeline.settle(Some(later(4500)));
    let began = incidents.iter().map(|ended| ended.began).collect::<Vec<_>>();
    assert_eq!(began.len(), 1, "only the one of pod-b can be over");
    assert!(complete_until.is_some_and(|until| until < began[0]), "{complete_until:?}, {began:?}");
    assert_eq!(timeline.settle(None).incidents.len(), 1);
}

#[test]
fn a_time_that_no_event_can_have_is_no_end_of_the_input() {
    let mut world = World::default();
    world.kill(0.0, kill(pod('a'), container("app", '1'), Level::Container, 64));
    let mut timeline = world.timeline();
    assert!(timeline.settle(Some(Timestamp::MIN)).incidents.is_empty());
    assert_eq!(timeline.settle(Some(Timestamp::MAX)).incidents.len(), 1);
}

#[test]
fn a_chain_of_more_kills_than_are_kept_is_one_incident_with_all_of_them() {
    for containers in [1, 300] {
        let mut timeline = Timeline::new(Keep { evidence: 40, context: 40 }, Background::default());
        let mut ended = Vec::new();
        for nth in 0..300_u32 {
            let id = format!("{:064x}", nth % containers).parse().ok();
            let container = Container { id, ..container("app", '1') };
            let mut known = kill(pod('a'), container, Level::Container, 64);
            known.victim.task.tgid = Some(1000 + nth);
            let mut world = World::default();
            world.kill(f64::from(nth) * 61.0, known);
            let line = world.lines.remove(0);
            let at = time(&line);
            timeline.push_owned(at, line);
            ended.extend(timeline.settle(Some(at)).incidents);
        }
        ended.extend(timeline.settle(None).incidents);
        let kills: Vec<u64> = ended.iter().map(|ended| ended.incident.kills).collect();
        assert_eq!(kills, [300], "in {containers} containers");
    }
}
