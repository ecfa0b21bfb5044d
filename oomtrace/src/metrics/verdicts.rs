//! Kills and evictions that wait a moment for their incident, since they are counted by what its verdict says.
//!
//! An incident is reported when it opens, within a second of its first event, and again whenever it closes with more. A kill is
//! counted ONCE, by the scenario of the first telling that has it; that an incident is judged otherwise in the end changes no
//! count, for a counter never goes down. Later kills in the same place while the incident is open are counted like the first.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::place::Place;
use crate::event::{Incident, IncidentState};

/// How long an incident may take to be reported with what was added: once a minute, and the tick after.
const WAIT: Duration = Duration::from_secs(62);
/// So many events wait at most, and so many incidents are remembered.
const MOST: usize = 4096;
/// What a label says that no incident reported.
const UNKNOWN: &str = "unknown";

/// What is counted by its incident's verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A kill, by scenario.
    Kill {
        /// The victim's.
        place: Place,
        /// Whose limit it was.
        level: &'static str,
    },
    /// An eviction, by signal.
    Eviction {
        /// The pod.
        place: Place,
    },
}

/// Something that is to be counted now, and what its verdict says.
pub(super) type Judged = (Subject, String);

#[derive(Debug)]
struct Held {
    seq: u64,
    subject: Subject,
    since: Instant,
}

/// What was counted of an incident that was reported closed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The incident itself.
    pub(super) counted: bool,
    /// How many of its kills, as invisible.
    pub(super) invisible: u64,
}

/// Events that wait, and incidents that were reported.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    held: VecDeque<Held>,
    /// The open incident that a subject's latest is in, and what its verdict says.
    open: BTreeMap<Subject, (String, String)>,
    seen: BTreeMap<String, Seen>,
    /// The keys of `seen`, the oldest first.
    order: VecDeque<String>,
}

impl Verdicts {
    /// Takes an event. It is to be counted now if its incident is known.
    pub(super) fn hold(&mut self, seq: u64, subject: Subject, now: Instant) -> Option<Judged> {
        if let Some((_, says)) = self.open.get(&subject) {
            return Some((subject, says.clone()));
        }
        self.held.push_back(Held { seq, subject, since: now });
        if self.held.len() > MOST { self.held.pop_front().map(unjudged) } else { None }
    }

    /// Takes an incident; gives those that have waited for it.
    pub(super) fn judge(&mut self, incident: &Incident) -> Vec<Judged> {
        let is_open = incident.state == IncidentState::Open;
        self.open.retain(|_, (id, _)| *id != incident.id);
        let mut seqs = [incident.events.as_slice(), &incident.verdict.evidence].concat();
        seqs.sort_unstable();
        let mut judged = Vec::new();
        self.held.retain(|held| {
            let is_in = seqs.binary_search(&held.seq).is_ok();
            if is_in {
                judged.push((held.subject.clone(), says(incident, &held.subject)));
            }
            !is_in
        });
        if is_open && self.open.len() < MOST {
            self.open
                .extend(judged.iter().map(|(subject, says)| (subject.clone(), (incident.id.clone(), says.clone()))));
        }
        judged
    }

    /// What was counted of an incident so far.
    pub(super) fn seen(&mut self, id: &str) -> &mut Seen {
        if !self.seen.contains_key(id) {
            self.order.push_back(id.to_owned());
            if self.order.len() > MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.seen.remove(&oldest);
            }
        }
        self.seen.entry(id.to_owned()).or_default()
    }

    /// Gives those that have waited in vain.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Judged> {
        let count = self.held.partition_point(|held| now.duration_since(held.since) >= WAIT);
        self.held.drain(..count).map(unjudged).collect()
    }
}

fn unjudged(held: Held) -> Judged {
    (held.subject, UNKNOWN.to_owned())
}

/// What an incident's verdict says of a subject.
fn says(incident: &Incident, subject: &Subject) -> String {
    let verdict = &incident.verdict;
    match subject {
        Subject::Kill { .. } => verdict.scenario.name().to_owned(),
        Subject::Eviction { .. } => verdict.signal.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
    }
}
