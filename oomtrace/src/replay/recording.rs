//! Recordings: events as `oomtrace run` printed them, or as a log stack gives them back.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tracing::{info, warn};

use super::{
    given::Given,
    input::{self, Input},
    unwrap::{self, Unwrapper},
    what::What,
};
use crate::event::{Event, Line, Phase};

/// So many bytes show what a file is.
const SAMPLE_BYTES: u64 = 1 << 16;

/// What recordings hold.
#[derive(Default)]
pub(super) struct Recorded {
    /// Their events. What a timeline reported is not among them; that oomtrace was started is, as it tells runs apart.
    pub(super) events: Vec<Line>,
    /// The incidents that were reported: of each its last line.
    incidents: Vec<Line>,
}

impl Recorded {
    /// The incidents that are shown as they were reported, as not all events are there that they were made of; and the events of
    /// the other nodes.
    pub(super) fn split_reported(self) -> (Vec<Line>, Vec<Line>) {
        let Self { events, incidents } = self;
        let mut recorded: BTreeMap<&str, HashSet<u64>> = BTreeMap::new();
        for line in &events {
            recorded.entry(&line.node).or_default().insert(line.seq);
        }
        let lacks = |line: &&Line| match &line.event {
            Event::Incident(incident) => {
                let of_node = recorded.get(line.node.as_str());
                incident.events.iter().any(|seq| of_node.is_none_or(|seqs| !seqs.contains(seq)))
            }
            _ => false,
        };
        let nodes: BTreeSet<String> = incidents.iter().filter(lacks).map(|line| line.node.clone()).collect();
        let shown = incidents.into_iter().filter(|line| nodes.contains(&line.node)).collect();
        let events = events.into_iter().filter(|line| !nodes.contains(&line.node)).collect();
        (shown, events)
    }

    /// The incidents of nodes of which there is nothing else, and all events.
    pub(super) fn split_alone(self) -> (Vec<Line>, Vec<Line>) {
        let Self { events, incidents } = self;
        let says_nothing = |event: &Event| matches!(event, Event::Status(_) | Event::Lost(_) | Event::Error(_));
        let reported = events.iter().filter(|line| !says_nothing(&line.event));
        let nodes: HashSet<&str> = reported.map(|line| line.node.as_str()).collect();
        let alone = incidents.into_iter().filter(|line| !nodes.contains(line.node.as_str())).collect();
        (alone, events)
    }

    fn add(&mut self, file: Vec<Line>) {
        for line in file {
            match &line.event {
                Event::Incident(_) => self.incidents.push(line),
                Event::Status(status) if status.phase != Phase::Started => {}
                _ => self.events.push(line),
            }
        }
    }

    /// Leaves the last line of each incident, and none of those that turned out to be none.
    fn keep_last(&mut self) {
        let mut last: BTreeMap<(String, String), Line> = BTreeMap::new();
        for line in std::mem::take(&mut self.incidents) {
            let Event::Incident(incident) = &line.event else { continue };
            let key = (line.node.clone(), incident.id.clone());
            let is_newer = last.get(&key).is_none_or(|known| revision(known) <= incident.revision);
            if is_newer {
                last.insert(key, line);
            }
        }
        let stands = |line: &Line| matches!(&line.event, Event::Incident(incident) if !incident.withdrawn);
        self.incidents = last.into_values().filter(stands).collect();
    }
}

fn revision(line: &Line) -> u64 {
    match &line.event {
        Event::Incident(incident) => incident.revision,
        _ => 0,
    }
}

/// All lines of all recordings, those files first that begin first. A line that is none is said and passed over; a file without
/// any is an error.
pub(super) fn read_all(paths: &[Given]) -> anyhow::Result<Recorded> {
    let mut files: Vec<Vec<Line>> = Vec::new();
    let mut any_wrapped = false;
    for path in paths {
        let (mut lines, wrapped) = read(path)?;
        for line in &mut lines {
            if let Event::OomKill(kill) | Event::OomDecision(kill) = &mut line.event {
                kill.complete_places();
            }
        }
        any_wrapped |= wrapped;
        files.push(lines);
    }
    files.sort_by(|a, b| a.first().map(|line| &line.ts).cmp(&b.first().map(|line| &line.ts)));
    let mut lines = files.concat();
    if paths.len() > 1 || any_wrapped {
        // The same run, printed and recorded; the same line from two streams. An incident's lines have numbers of their own.
        let mut seen = HashSet::new();
        lines.retain(|line| seen.insert((line.node.clone(), line.ts.clone(), line.seq, revision(line))));
    }
    let mut recorded = Recorded::default();
    recorded.add(lines);
    recorded.keep_last();
    Ok(recorded)
}

/// The lines of a file, and whether they were inside of something.
fn read(path: &Given) -> anyhow::Result<(Vec<Line>, bool)> {
    let mut input = input::open(path)?;
    let start = input.peek(path, SAMPLE_BYTES)?;
    if is_document(&start) {
        let all = input.take_all(path)?;
        let mut found = unwrap::of_document(&all);
        anyhow::ensure!(!found.is_empty(), "{path}: {}", What::of(&start).instead_of_recording());
        set_in_order(&mut found);
        info!("{path}: recording{} in a JSON document, {} events", input.packing, found.len());
        return Ok((found, true));
    }
    let mut unwrapper = Unwrapper::default();
    let (mut found, mut bad, mut first_bad) = (Vec::new(), 0_u64, None);
    let lines = input::lines(path, &mut input, |number, text| {
        if text.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        if let Some(of_line) = unwrapper.read(text) {
            found.extend(of_line);
        } else {
            bad += 1;
            first_bad.get_or_insert(number);
        }
    })?;
    let Input { packing, .. } = input;
    if let Some(first) = first_bad {
        anyhow::ensure!(!found.is_empty(), "{path}: {}", What::of(&start).instead_of_recording());
        // A log stack gives back what it has; that not all of it is ours is nothing to worry about.
        if !unwrapper.wrapped {
            warn!("{path}: {bad} lines are no events and are passed over, the first of them line {first}");
        }
    }
    let inside = if unwrapper.wrapped { " inside of a log stack's lines" } else { "" };
    info!("{path}: recording{packing}{inside}, {} events in {lines} lines", found.len());
    if unwrapper.wrapped {
        set_in_order(&mut found);
    }
    Ok((found, unwrapper.wrapped))
}

/// Whether a file is one JSON document of several lines, or a list or an answer on one.
fn is_document(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    match text.first() {
        Some(b'[') => !matches!(text.get(1).copied(), Some(b' ' | b'0'..=b'9')) || first == b"[",
        // A line of an answer is longer than what was looked at, or has many of ours.
        Some(b'{') => {
            first == b"{" || first.len() == start.len() || memchr::memmem::find(first, b"\"values\"").is_some()
        }
        _ => false,
    }
}

/// Log stacks give lines back newest first, or a stream after the other: here they are set in the order of each node's time.
fn set_in_order(lines: &mut [Line]) {
    let order = |line: &Line| (line.ts.clone(), line.seq);
    let is_in_order = lines.is_sorted_by(|a, b| a.node != b.node || a.seq <= b.seq || a.ts <= b.ts);
    if !is_in_order {
        lines.sort_by_cached_key(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Incident, Source, SystemOom};

    fn line(seq: u64, event: Event) -> Line {
        let ts = format!("2026-06-01T10:00:{seq:02}Z");
        Line { ts, seq, node: "n1".to_owned(), source: Source::Oomtrace, boot_ns: None, event }
    }

    fn incident(seq: u64, revision: u64, events: Vec<u64>, withdrawn: bool) -> Line {
        let incident = Incident { id: "a".to_owned(), revision, events, withdrawn, ..Incident::default() };
        line(seq, Event::Incident(Box::new(incident)))
    }

    fn recorded(lines: Vec<Line>) -> Recorded {
        let mut recorded = Recorded::default();
        recorded.add(lines);
        recorded.keep_last();
        recorded
    }

    #[test]
    fn an_incident_whose_events_are_not_there_is_shown_as_its_last_line_has_it() {
        let lines = vec![incident(3, 1, vec![1], false), incident(5, 2, vec![1, 2], false)];
        let (shown, _) = recorded(lines).split_reported();
        assert_eq!(shown.iter().map(revision).collect::<Vec<_>>(), [2]);
        let withdrawn = vec![incident(3, 1, vec![1], false), incident(5, 2, vec![], true)];
        assert!(recorded(withdrawn).split_reported().0.is_empty());
    }

    #[test]
    fn an_incident_whose_events_are_there_is_made_of_them() {
        let noticed = SystemOom { pid: None, comm: None, of_any_limit: false };
        let lines = vec![line(1, Event::SystemOom(Box::new(noticed))), incident(3, 1, vec![1], false)];
        let (shown, events) = recorded(lines).split_reported();
        assert_eq!((shown.len(), events.len()), (0, 1));
    }
}
