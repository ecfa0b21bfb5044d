use std::io::Read as _;

use serde_json::{Map, Value};

use super::{
    super::{Format, Look},
    *,
};
use crate::{
    event::{Candidate, Eviction, EvictionPhase, Failure, Memory, Pod, Source, Step, Task},
    timeline::{Background, Keep, Timeline},
};

fn json(line: &Line) -> String {
    Format::Json.print(line, Look::of_file())
}

fn whole(line: &Line) -> String {
    Format::Json.print_whole(line, Look::of_file())
}

/// Six bytes a character in JSON.
fn hostile() -> String {
    "\u{1}\"\u{1f600}".repeat(2000)
}

/// The worst that a schema allows: every field, every list long, every text longer than anything that may come.
fn worst(schema: &Value, root: &Value, depth: usize) -> Value {
    let resolve = |reference: &str| {
        let name = reference.rsplit('/').next().unwrap_or_default();
        if reference == "#" { root.clone() } else { root["$defs"][name].clone() }
    };
    if let Some(only) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return only.clone();
    }
    if let (Some(reference), None) = (schema["$ref"].as_str(), schema.get("properties")) {
        return worst(&resolve(reference), root, depth);
    }
    let choices = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    if let (Some(choices), None) = (choices, schema.get("properties")) {
        return choices.iter().find(|one| one["type"] != "null").map_or(Value::Null, |one| worst(one, root, depth));
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match kind {
        "string" => match schema["pattern"].as_str() {
            Some(pattern) if pattern.contains("{64}") => serde_json::json!("a".repeat(64)),
            _ if schema["description"].as_str().is_some_and(|words| words.starts_with("A pod's uid")) => {
                serde_json::json!("12345678-1234-1234-1234-123456789012")
            }
            _ => serde_json::json!(hostile()),
        },
        "integer" => match schema["format"].as_str() {
            Some("uint8") => serde_json::json!(u8::MAX),
            Some("uint32") => serde_json::json!(u32::MAX),
            Some("int32") => serde_json::json!(i32::MIN),
            Some("uint64") => serde_json::json!(u64::MAX / 2),
            _ => serde_json::json!(i64::MIN),
        },
        "number" => serde_json::json!(-1.234_567_890_123_456_7e-300),
        "boolean" => serde_json::json!(false),
        "array" => {
            let item = worst(&schema["items"], root, depth + 1);
            Value::Array(vec![item; if depth < 2 { 40 } else { 3 }])
        }
        _ => {
            let mut fields = Map::new();
            let of = |schema: &Value| schema["properties"].as_object().cloned().unwrap_or_default();
            let same = schema["$ref"].as_str().map(resolve);
            // What `--full` prints may be of any length.
            let all = of(schema).into_iter().chain(same.iter().flat_map(of));
            for (name, field) in all.filter(|(name, _)| name != "events_full") {
                fields.insert(name, worst(&field, root, depth + 1));
            }
            Value::Object(fields)
        }
    }
}

/// A line of every kind, as bad as it may be.
fn worst_lines() -> Vec<Line> {
    let root = serde_json::to_value(schemars::schema_for!(Line)).expect("a schema");
    let of_kind = |variant: &Value| {
        let mut line = Map::new();
        for schema in [&serde_json::json!({"properties": root["properties"]}), variant] {
            if let Value::Object(fields) = worst(schema, &root, 0) {
                line.extend(fields);
            }
        }
        let text = Value::Object(line).to_string();
        serde_json::from_str(&text).unwrap_or_else(|error| unreachable!("{error}: {text:.2000}"))
    };
    root["oneOf"].as_array().expect("kinds").iter().map(of_kind).collect()
}

fn parsed(text: &str) -> Line {
    serde_json::from_str(text).unwrap_or_else(|error| unreachable!("{error}: {text}"))
}

#[test]
fn the_worst_line_of_every_kind_is_a_line_of_its_kind_and_no_longer_than_16_kib() {
    let lines = worst_lines();
    assert!(lines.len() >= 19, "{}", lines.len());
    for line in lines {
        let text = json(&line);
        let kind = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["kind"].clone();
        assert!(text.len() <= LONGEST, "{} bytes of {}", text.len(), kind(&text));
        assert!(text.ends_with('\n') && !text.trim_end().contains('\n'));
        assert!(whole(&line).len() > LONGEST || !whole(&line).contains("\\u0001"), "it was no bad case: {line:?}");
        assert_eq!(kind(&text), kind(&whole(&line)));
        parsed(&text);
        let otel = Format::Otel.print(&line, Look::of_file());
        assert!(otel.len() <= LONGEST, "{} bytes of {} as a log record", otel.len(), kind(&text));
    }
}

fn line_of(event: Event) -> Line {
    let (ts, node) = ("2026-01-01T00:00:00.000000000Z".to_owned(), "node1".to_owned());
    Line { ts, seq: 1, node, source: Source::Oomtrace, boot_ns: None, event }
}

fn kill(candidates: u32) -> Line {
    let candidate = |pid| Candidate {
        task: Task { pid: Some(pid), ..Task::default() },
        memory: Memory::default(),
        points: Some((1000 - pid).into()),
    };
    let candidates = Some((0..candidates).map(candidate).collect());
    line_of(Event::OomKill(Box::new(OomKill { candidates, ..OomKill::default() })))
}

#[test]
fn of_the_processes_that_could_have_been_killed_the_five_with_the_most_points_are_printed_and_the_others_counted() {
    let Event::OomKill(kill) = parsed(&json(&kill(20))).event else { unreachable!("a kill") };
    let pids: Vec<_> = kill.candidates.iter().flatten().filter_map(|candidate| candidate.task.pid).collect();
    assert_eq!((pids, kill.candidates_omitted), (vec![0, 1, 2, 3, 4], 15));
}

#[test]
fn what_is_recorded_is_whole() {
    let Event::OomKill(kill) = parsed(&whole(&kill(20))).event else { unreachable!("a kill") };
    assert_eq!((kill.candidates.map(|candidates| candidates.len()), kill.candidates_omitted), (Some(20), 0));
}

fn incident(state: IncidentState, steps: u64) -> Incident {
    let step = |seq| Step {
        ts: String::new(),
        since_ms: 0.0,
        source: Source::Kernel,
        seq,
        mark: crate::event::Mark::Kill,
        what: "OOM kill: app (7)".to_owned(),
    };
    let steps = (0..steps).map(step).collect();
    Incident { state, steps, steps_omitted: 7, events: (0..1000).collect(), ..Incident::default() }
}

#[test]
fn of_a_long_story_the_beginning_and_the_end_are_printed_and_the_middle_is_counted() {
    for (state, most) in [(IncidentState::Open, 0), (IncidentState::Closed, 10)] {
        let text = json(&line_of(Event::Incident(Box::new(incident(state, 100)))));
        let Event::Incident(incident) = parsed(&text).event else { unreachable!("an incident") };
        let seqs: Vec<_> = incident.steps.iter().map(|step| step.seq).collect();
        let ends = if most == 0 { (None, None) } else { (Some(&0), Some(&99)) };
        assert_eq!((seqs.len(), seqs.first(), seqs.last()), (most, ends.0, ends.1));
        assert_eq!(incident.steps_omitted, 100 - most as u64 + 7);
        assert_eq!(incident.events.len() as u64 + incident.events_omitted, 1000);
    }
}

#[test]
fn names_that_kubernetes_allows_are_never_shortened_for_lists_that_are_long() {
    let pod = |nth: u32| Pod { namespace: Some("n".repeat(63)), name: Some(format!("{nth:0253}")), ..Pod::default() };
    let pods: Vec<Pod> = (0..500).map(pod).collect();
    let eviction = Eviction { pods, ..Eviction::new(EvictionPhase::Ranked) };
    let Event::Eviction(step) = parsed(&json(&line_of(Event::Eviction(Box::new(eviction))))).event else {
        unreachable!("a step")
    };
    assert!(step.pods.len() >= 16 && step.pods.iter().all(|pod| pod.name.as_ref().is_some_and(|n| n.len() == 253)));
    assert_eq!(step.pods.len() as u64 + step.pods_omitted, 500);
}

#[test]
fn a_text_is_cut_between_characters_and_no_sooner_than_needed() {
    let cut = |text: &str, most| {
        let mut text = text.to_owned();
        shorten_text(&mut text, most);
        text
    };
    assert_eq!(cut("abcdef", 6), "abcdef");
    assert_eq!(cut("abc efg", 6), "abc…");
    assert_eq!(cut("äöüßäöü", 9), "äöü…");
    assert_eq!(cut("\u{1}\u{1}\u{1}", 12), "\u{1}…");
    let message = line_of(Event::Error(Failure { message: "x".repeat(100_000) }));
    assert!(json(&message).len() < 3000);
}

/// The default stream of a real container that was killed five times: kills and incidents, as printed live.
#[test]
fn a_further_kill_in_a_real_crash_loop_takes_less_than_5_kib_of_a_log() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recordings/crashloop-only.jsonl.zst");
    let packed = std::fs::File::open(path).expect("the recording");
    let mut text = String::new();
    ruzstd::decoding::StreamingDecoder::new(packed).expect("zstd").read_to_string(&mut text).expect("UTF-8");
    let lines: Vec<Line> = text.lines().map(parsed).collect();
    let time = |line: &Line| line.ts.parse::<jiff::Timestamp>().expect("a time");
    let mut timeline = Timeline::new(Keep::LIVE, Background::default());
    let mut printed = Vec::new();
    let mut now = time(&lines[0]);
    let mut waiting = lines.iter().filter(|line| !matches!(line.event, Event::Incident(_))).peekable();
    while waiting.peek().is_some() || now < time(lines.last().expect("a line")) + jiff::SignedDuration::from_mins(5) {
        now += jiff::SignedDuration::from_millis(500);
        while let Some(line) = waiting.next_if(|line| time(line) <= now) {
            timeline.push(line);
            if matches!(line.event, Event::OomKill(_)) {
                printed.push(json(line));
            }
        }
        timeline.advance(now);
        printed.extend(timeline.news().into_iter().map(|news| json(&line_of(Event::Incident(Box::new(news))))));
    }
    let sizes = |has: &str| printed.iter().filter(|line| line.contains(has)).map(String::len).collect::<Vec<_>>();
    let (kills, open) = (sizes(r#""kind":"oom_kill""#), sizes(r#""state":"open""#));
    let whole: usize = printed.iter().map(String::len).sum();
    assert_eq!(kills.len(), 5);
    // At most one line of the incident for each.
    let most = |sizes: &[usize]| sizes.iter().copied().max().unwrap_or(usize::MAX / 4);
    assert!(most(&kills) + most(&open) < 5120, "{kills:?}, {open:?}");
    assert!(whole / kills.len() < 5632, "{} bytes a kill, its closing included", whole / kills.len());
}
