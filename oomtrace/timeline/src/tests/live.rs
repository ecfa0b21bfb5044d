//! What a node with a real kubelet recorded, replayed as it came, against what really happened there (`truth.json`: kills by the
//! kernel's own log, evictions by the API server).

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use oomtrace_model::{ContainerEnded, EndReason, Event, Incident, IncidentState, Line, Scenario, Severity};
use serde_json::Value;

use crate::{Background, Keep, Timeline};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/live").join(name)
}

fn recorded(name: &str) -> Vec<Line> {
    let packed = std::fs::File::open(data(&format!("{name}.jsonl.zst"))).expect("a recording");
    let mut text = String::new();
    ruzstd::decoding::StreamingDecoder::new(packed).expect("zstd").read_to_string(&mut text).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| unreachable!("{name}: {error}: {line}")))
        .collect()
}

/// What was reported of a recording while it went on.
struct Reported {
    lines: Vec<Line>,
    /// Each time that an incident was reported.
    news: Vec<Incident>,
    /// The incidents as they were reported last.
    last: Vec<Incident>,
    ends: Vec<ContainerEnded>,
}

impl Reported {
    fn of(name: &str) -> Self {
        Self::of_lines(recorded(name))
    }

    fn of_lines(lines: Vec<Line>) -> Self {
        Self::of_kept(lines, Keep::LIVE)
    }

    fn of_kept(lines: Vec<Line>, keep: Keep) -> Self {
        let mut timeline = Timeline::new(keep, Background::default());
        let (mut news, mut ends) = (Vec::new(), Vec::new());
        for line in &lines {
            timeline.push(line);
            timeline.advance(line.ts.parse::<Timestamp>().expect("a time"));
            news.extend(timeline.news());
            ends.extend(timeline.take_ends());
        }
        news.extend(timeline.finish());
        ends.extend(timeline.take_ends());
        let by_id: BTreeMap<_, _> = news.iter().map(|incident| (incident.id.clone(), incident.clone())).collect();
        let ends = ends.into_iter().map(|end| end.event).collect();
        Self { lines, last: by_id.into_values().collect(), news, ends }
    }

    fn of_severity(&self, severity: Severity) -> impl Iterator<Item = &Incident> {
        self.last.iter().filter(move |incident| incident.severity == severity)
    }

    fn summaries(&self) -> Vec<&str> {
        self.last.iter().map(|incident| incident.verdict.summary.as_str()).collect()
    }

    /// How many kills the kernel decided on in each container.
    fn kills(&self) -> BTreeMap<(String, String), u64> {
        let mut kills = BTreeMap::new();
        for line in &self.lines {
            if let Event::OomKill(kill) = &line.event {
                *kills.entry(who(kill.pod.as_ref(), kill.container.as_ref())).or_default() += 1;
            }
        }
        kills
    }
}

fn who(pod: Option<&oomtrace_model::Pod>, container: Option<&oomtrace_model::Container>) -> (String, String) {
    let name = pod.and_then(|pod| Some(format!("{}/{}", pod.namespace.as_deref()?, pod.name.as_deref()?)));
    (name.unwrap_or_default(), container.and_then(|container| container.name.clone()).unwrap_or_default())
}

fn truth() -> BTreeMap<String, Vec<Value>> {
    serde_json::from_slice(&std::fs::read(data("truth.json")).expect("the truth")).expect("JSON")
}

fn allowed(truth: &Value, scenario: Scenario) -> bool {
    let any = truth["scenario_any"].as_array();
    let mut names = any.into_iter().flatten().chain([&truth["scenario"]]).filter_map(Value::as_str);
    names.any(|name| name == scenario.name())
}

#[test]
fn every_kill_and_eviction_of_a_real_node_is_reported_once_and_nothing_else() {
    for (name, expected) in truth() {
        let reported = Reported::of(&name);
        let of_pod = |pod: &Value| {
            let memory = reported.of_severity(Severity::Memory);
            memory.filter(|incident| pod == &who(incident.pod.as_ref(), None).0).collect::<Vec<_>>()
        };
        let mut explained: BTreeSet<String> = BTreeSet::new();
        for incident in &expected {
            let found = of_pod(&incident["pod"]);
            // Two kills fell into the time when oomtrace had been killed itself.
            if name == "kill9" && found.is_empty() {
                continue;
            }
            let right = found.iter().find(|found| {
                let container = who(None, found.container.as_ref()).1;
                incident["container"].is_null() || incident["container"] == container
            });
            let right =
                right.unwrap_or_else(|| unreachable!("{name}: {incident} is not in {:#?}", reported.summaries()));
            assert!(allowed(incident, right.verdict.scenario), "{name}: {incident}: {}", right.verdict.summary);
            assert_eq!(right.evicted, incident["kills"].is_null(), "{name}: {incident}");
            if let Some(level) = incident["limit_level"].as_str() {
                assert_eq!(serde_json::to_value(right.limit_level).expect("JSON"), level, "{name}: {incident}");
            }
            explained.insert(right.id.clone());
        }
        // The count of all incidents is that of the kernel's decisions, and each is in the container that was killed.
        let mut kills = BTreeMap::new();
        for incident in reported.of_severity(Severity::Memory) {
            if incident.kills > 0 {
                *kills.entry(who(incident.pod.as_ref(), incident.container.as_ref())).or_default() += incident.kills;
            } else {
                assert!(explained.contains(&incident.id), "{name}: {}", incident.verdict.summary);
            }
        }
        assert_eq!(kills, reported.kills(), "{name}: {:#?}", reported.summaries());
        let others: Vec<_> =
            reported.of_severity(Severity::Other).map(|incident| incident.verdict.summary.as_str()).collect();
        assert_eq!(others, [""; 0], "{name}");
        // What was reported once stays.
        let last: BTreeSet<_> = reported.last.iter().map(|incident| &incident.id).collect();
        assert!(reported.news.iter().all(|incident| last.contains(&incident.id)), "{name}");
    }
}

/// What is reported of lines while the clock is set, each time before the line of an index: how often, and what each time.
fn reported_with_steps(lines: &[Line], steps: &[(usize, SignedDuration)]) -> Vec<(Scenario, IncidentState, u64, bool)> {
    let shift = |ts: &mut String, by: SignedDuration| {
        if let Ok(at) = ts.parse::<Timestamp>() {
            *ts = format!("{:.9}", at + by);
        }
    };
    let mut timeline = Timeline::new(Keep::LIVE, Background::default());
    let (mut news, mut set) = (Vec::new(), SignedDuration::ZERO);
    for (index, line) in lines.iter().enumerate() {
        for (_, by) in steps.iter().filter(|(before, _)| *before == index) {
            timeline.step_clock(*by);
            set += *by;
        }
        let mut line = line.clone();
        shift(&mut line.ts, set);
        match &mut line.event {
            Event::ChargeFailures(failures) => {
                shift(&mut failures.first_ts, set);
                shift(&mut failures.last_ts, set);
            }
            Event::AllocationRefused(refused) => {
                shift(&mut refused.first_ts, set);
                shift(&mut refused.last_ts, set);
            }
            _ => {}
        }
        timeline.push(&line);
        timeline.advance(line.ts.parse().expect("a time"));
        news.extend(timeline.news());
    }
    news.extend(timeline.finish());
    let said = |incident: Incident| (incident.verdict.scenario, incident.state, incident.kills, incident.evicted);
    news.into_iter().map(said).collect()
}

#[test]
fn a_clock_that_is_set_changes_no_incident_and_has_none_reported_again() {
    let hour = SignedDuration::from_hours(1);
    for name in truth().keys() {
        let lines = recorded(name);
        let (third, two_thirds) = (lines.len() / 3, lines.len() * 2 / 3);
        let undisturbed = reported_with_steps(&lines, &[]);
        for by in [hour, -hour] {
            let back_and_forth = reported_with_steps(&lines, &[(third, by), (two_thirds, -by)]);
            assert_eq!(back_and_forth, undisturbed, "{name}, set by {by:#} and back");
        }
    }
}

#[test]
fn fifty_short_lived_pods_make_no_incident_but_their_kills_and_each_end_is_one_event() {
    let churn = Reported::of("n-churn");
    assert_eq!(churn.last.len(), 5, "{:#?}", churn.summaries());
    let sandboxes = churn.ends.iter().filter(|end| end.reason == EndReason::Sandbox).count();
    let ids: BTreeSet<_> = churn.ends.iter().filter_map(|end| end.container.as_ref()?.id.clone()).collect();
    assert_eq!(ids.len(), churn.ends.len());
    assert!(sandboxes >= 50, "{sandboxes}");
}

#[test]
fn an_eviction_that_ends_in_sigkill_is_never_called_anything_else() {
    for name in ["n-evict-stub", "evict-stub-rec", "k120-evict"] {
        let evicted = Reported::of(name);
        assert!(evicted.news.iter().all(|incident| incident.evicted), "{name}: {:#?}", evicted.summaries());
        let pods: BTreeSet<_> = evicted.last.iter().map(|incident| who(incident.pod.as_ref(), None)).collect();
        let ends = evicted.ends.iter().filter(|end| end.sandbox == Some(false) && end.exit_code == Some(137));
        let ends = ends.filter(|end| pods.contains(&who(end.pod.as_ref(), None)));
        let reasons: BTreeSet<_> = ends.map(|end| end.reason).collect();
        assert_eq!(reasons, [EndReason::Evicted].into(), "{name}");
    }
}

#[test]
fn an_eviction_for_the_nodes_disk_is_no_incident_and_joined_with_the_end_before_it() {
    let disk = Reported::of("n-disk");
    assert!(disk.news.is_empty(), "{:#?}", disk.summaries());
    let ends: Vec<_> = disk.ends.iter().filter(|end| end.sandbox == Some(false)).collect();
    assert_eq!(ends.len(), 2);
    for end in ends {
        assert_eq!(
            (end.reason, end.exit_code, end.signal.as_deref()),
            (EndReason::Evicted, Some(137), Some("SIGKILL"))
        );
        assert!(end.message.as_ref().is_some_and(|words| words.ends_with("evicted, not for memory.")), "{end:?}");
    }
}

#[test]
fn a_shared_pid_namespace_makes_no_container_invisible() {
    let mut lines = recorded("n-pidns");
    for line in &mut lines {
        // What the probes say now of a process whose namespace has another container's first process.
        if let Event::OomKill(kill) = &mut line.event {
            kill.victim.task.container_init = None;
        }
    }
    let shared = Reported::of_lines(lines);
    assert_eq!(shared.last.len(), 2, "{:#?}", shared.summaries());
    assert!(shared.news.iter().all(|incident| incident.verdict.invisible != Some(true)));
    assert!(shared.last.iter().all(|incident| incident.verdict.invisible == Some(false)));
}

/// Twenty-five minutes with drains, rollouts, a preemption, liveness kills, disk evictions, Jobs, static and debugged pods.
#[test]
fn of_a_busy_node_only_kills_and_crashes_are_incidents() {
    let busy = Reported::of_kept(recorded("boot-n"), Keep::ALL);
    let others: BTreeSet<_> = busy
        .of_severity(Severity::Other)
        .map(|incident| (who(incident.pod.as_ref(), None).0, incident.verdict.scenario.name()))
        .collect();
    let expected = [("team-a/segv".to_owned(), "crashed"), ("team-a/self-137".to_owned(), "killed")];
    // One was killed in before, and lived on until its pod was deleted: the runtime calls that end OOMKilled, and nothing says that
    // Kubernetes showed it.
    assert_eq!(others, expected.into(), "{:#?}", busy.summaries());
    let reasons: BTreeSet<_> = busy.ends.iter().map(|end| end.reason).collect();
    for reason in [EndReason::Sandbox, EndReason::PodDeleted, EndReason::Probe, EndReason::Evicted] {
        assert!(reasons.contains(&reason), "{reason:?}");
    }
}
