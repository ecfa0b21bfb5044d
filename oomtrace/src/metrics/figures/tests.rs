use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    event::{Container, Limit, Phase, Pod, Rung, Scenario, Source, Verdict},
    metrics::{
        Metrics,
        expose::{Exposition, expose},
    },
    node::cgroup_path::Level,
};

struct World {
    metrics: Arc<Metrics>,
    seq: u64,
}

impl World {
    fn new() -> Self {
        Self::with_room(100)
    }

    fn with_room(max_series: usize) -> Self {
        Self { metrics: Metrics::new(max_series), seq: 0 }
    }

    fn tell(&mut self, event: Event) -> u64 {
        self.seq += 1;
        let (ts, node) = ("2026-01-01T00:00:00Z".to_owned(), "node".to_owned());
        let line = Line { ts, seq: self.seq, node, source: Source::Kernel, boot_ns: None, event };
        self.metrics.observe(&line);
        self.seq
    }

    fn kill(&mut self, pod: &str) -> u64 {
        let limit = Some(Limit { level: Some(Level::Container), ..Limit::default() });
        self.tell(Event::OomKill(Box::new(OomKill {
            pod: Some(named(pod)),
            container: Some(app()),
            limit,
            ..OomKill::default()
        })))
    }

    fn incident(&mut self, state: IncidentState, scenario: Scenario, kills: &[u64]) {
        let incident = Incident {
            id: "incident-1".to_owned(),
            state,
            pod: Some(named("web")),
            container: Some(app()),
            kills: kills.len() as u64,
            limit_level: Some(Level::Container),
            events: kills.to_vec(),
            verdict: Verdict { scenario, invisible: Some(true), ..Verdict::default() },
            ..Incident::default()
        };
        self.tell(Event::Incident(Box::new(incident)));
    }

    fn later(&self) {
        self.metrics.figures().tick(Instant::now() + Duration::from_secs(63));
    }

    /// The samples of a metric.
    fn samples(&self, name: &str) -> Vec<String> {
        let text = expose(&self.metrics, Exposition::OpenMetrics).expect("figures can be written");
        text.lines().filter(|line| line.starts_with(name)).map(ToOwned::to_owned).collect()
    }
}

fn named(pod: &str) -> Pod {
    Pod { namespace: Some("shop".to_owned()), name: Some(pod.to_owned()), ..Pod::default() }
}

fn app() -> Container {
    Container { name: Some("app".to_owned()), ..Container::default() }
}

fn kills_of(pod: &str, scenario: &str, count: u64) -> String {
    format!(
        r#"oomtrace_oom_kills_total{{namespace="shop",pod="{pod}",container="app",unit="",scenario="{scenario}",limit_level="container"}} {count}"#
    )
}

#[test]
fn a_kill_is_counted_by_what_its_incident_says_when_it_opens() {
    let mut world = World::new();
    let kill = world.kill("web");
    assert!(world.samples("oomtrace_oom_kills_total").is_empty(), "it waits for its incident");
    world.incident(IncidentState::Open, Scenario::ContainerLimit, &[kill]);
    assert_eq!(world.samples("oomtrace_oom_kills_total"), [kills_of("web", "container_limit", 1)]);
    world.kill("web");
    assert_eq!(
        world.samples("oomtrace_oom_kills_total"),
        [kills_of("web", "container_limit", 2)],
        "of the same incident"
    );
}

#[test]
fn an_incident_that_is_revised_counts_no_kill_twice_and_itself_once_by_its_last_verdict() {
    let mut world = World::new();
    let kill = world.kill("web");
    world.incident(IncidentState::Open, Scenario::ContainerLimit, &[kill]);
    assert!(world.samples("oomtrace_incidents_total").is_empty(), "it is open");
    world.incident(IncidentState::Closed, Scenario::PodLimit, &[kill]);
    world.incident(IncidentState::Closed, Scenario::PodLimit, &[kill]);
    world.later();
    assert_eq!(world.samples("oomtrace_oom_kills_total"), [kills_of("web", "container_limit", 1)]);
    let incident = r#"oomtrace_incidents_total{namespace="shop",pod="web",container="app",unit="",severity="memory",scenario="pod_limit",limit_level="container"} 1"#;
    assert_eq!(world.samples("oomtrace_incidents_total"), [incident]);
}

#[test]
fn invisible_kills_are_counted_when_the_incident_closes_and_those_after_that_when_it_does_again() {
    let mut world = World::new();
    let first = world.kill("web");
    world.incident(IncidentState::Open, Scenario::ContainerLimit, &[first]);
    assert!(world.samples("oomtrace_invisible_kills_total").is_empty(), "the first process may die yet");
    world.incident(IncidentState::Closed, Scenario::ContainerLimit, &[first]);
    let second = world.kill("web");
    world.incident(IncidentState::Closed, Scenario::ContainerLimit, &[first, second]);
    let reported = r#"oomtrace_invisible_kills_total{namespace="shop",pod="web",container="app",unit=""} 2"#;
    assert_eq!(world.samples("oomtrace_invisible_kills_total"), [reported]);
    assert_eq!(world.samples("oomtrace_oom_kills_total"), [kills_of("web", "container_limit", 2)]);
}

#[test]
fn a_kill_without_an_incident_is_counted_all_the_same() {
    let mut world = World::new();
    world.kill("web");
    world.later();
    assert_eq!(world.samples("oomtrace_oom_kills_total"), [kills_of("web", "unknown", 1)]);
}

#[test]
fn an_eviction_is_counted_by_the_signal_that_its_log_or_its_incident_tells() {
    let mut world = World::new();
    let evicted = |signal: Option<&str>| {
        let signal = signal.map(ToOwned::to_owned);
        Event::Eviction(Box::new(Eviction { pod: Some(named("web")), signal, ..Eviction::new(EvictionPhase::Evicted) }))
    };
    world.tell(evicted(Some("nodefs.available")));
    let seq = world.tell(evicted(None));
    let verdict = Verdict { signal: Some("memory.available".to_owned()), ..Verdict::default() };
    let incident = Incident { id: "2".to_owned(), events: vec![seq], verdict, ..Incident::default() };
    world.tell(Event::Incident(Box::new(incident)));
    world.tell(Event::Eviction(Box::new(Eviction {
        pod: Some(named("web")),
        ..Eviction::new(EvictionPhase::Evicting)
    })));
    world.later();
    let of = |signal: &str| format!(r#"oomtrace_evictions_total{{namespace="shop",pod="web",signal="{signal}"}} 1"#);
    assert_eq!(world.samples("oomtrace_evictions_total"), [of("memory.available"), of("nodefs.available")]);
}

#[test]
fn more_series_than_there_is_room_for_are_counted_and_never_kept() {
    let mut world = World::with_room(3);
    for pod in ["a", "b", "c", "d", "e"] {
        world.kill(pod);
    }
    world.later();
    assert_eq!(world.samples("oomtrace_oom_kills_total").len(), 3);
    assert_eq!(world.samples("oomtrace_metrics_series "), ["oomtrace_metrics_series 3"]);
    let dropped = r#"oomtrace_metrics_series_dropped_total{metric="oomtrace_oom_kills_total"} 2"#;
    assert!(world.samples("oomtrace_metrics_series_dropped_total").contains(&dropped.to_owned()));
}

#[test]
fn what_was_lost_is_reported_by_place_and_output() {
    let mut world = World::new();
    let lost = |from, count| Lost::new(from, count);
    world.tell(Event::Lost(lost(crate::event::LostFrom::Ring, 3)));
    world.tell(Event::Lost(Lost { output: Some("/a".to_owned()), ..lost(crate::event::LostFrom::Output, 2) }));
    assert_eq!(
        world.samples("oomtrace_lost_events_total"),
        [
            r#"oomtrace_lost_events_total{from="output",output="/a"} 2"#,
            r#"oomtrace_lost_events_total{from="ring",output=""} 3"#,
        ]
    );
}

#[test]
fn a_name_from_outside_cannot_break_out_of_its_label() {
    let mut world = World::new();
    world.kill("a\"} 1\n\\");
    world.later();
    assert_eq!(world.samples("oomtrace_oom_kills_total"), [kills_of(r#"a\"} 1\n\\"#, "unknown", 1)]);
}

#[test]
fn it_is_ready_while_something_is_attached_and_until_it_stops() {
    let mut world = World::new();
    assert!(!world.metrics.is_ready() && world.metrics.is_alive());
    let status = |phase, attached: Option<Rung>| {
        Event::Status(Box::new(Status {
            phase,
            version: String::new(),
            schema_version: None,
            kernel: String::new(),
            cgroup_version: None,
            attached: [("oom_kill_process".to_owned(), attached)].into(),
            degraded: Vec::new(),
            attached_omitted: 0,
            degraded_omitted: 0,
            losses_omitted: 0,
            kills: 0,
            lost: 0,
            losses: Vec::new(),
            untold_signals: 0,
            away_ms: None,
            incidents_resumed: 0,
            confined: Vec::new(),
        }))
    };
    world.tell(status(Phase::Started, None));
    assert!(!world.metrics.is_ready(), "nothing is attached");
    world.tell(status(Phase::Started, Some(Rung::Fentry)));
    assert!(world.metrics.is_ready());
    assert_eq!(world.samples("oomtrace_attached"), [r#"oomtrace_attached{symbol="oom_kill_process",rung="fentry"} 1"#]);
    world.tell(status(Phase::Stopped, Some(Rung::Fentry)));
    assert!(!world.metrics.is_ready());
}
