//! Incidents and verdicts: the pure middle. Nothing is opened here, and no clock is read.
//!
//! # What becomes of an event
//!
//! 1. Every [`Line`] that tells of a death, or of what may lead to one, is kept in order of its time ([`Timeline::push`]).
//! 2. The kept lines of a node are sorted out ([`evidence`]): kills (a kill told by several sources is one), ends of
//!    containers, evictions, signals, refusals. [`names`] says which pod and container each belongs to.
//! 3. They are paired by identity ([`windows`] says how long something may take) into incidents, and judged
//!    ([`judge`]).
//!
//! The order in which lines arrive does not matter: the incidents are a function of the set of lines.
//!
//! # When an incident opens and closes
//!
//! It opens with the first kill, eviction or end that makes it. It closes when nothing has been added for 75 seconds of
//! the events' own time (the kubelet's loop, clean-up and relist: [`windows::CLOSES_AFTER`]), or with the end of the
//! input. The same container killed again within 15 minutes is the same incident, told again with the same `id`.
//!
//! # What is kept
//!
//! At most [`Keep`] lines. Live, what can make no incident any more goes first. Beyond the limit the oldest go, and
//! [`Timeline::dropped`] counts them: then a crash loop that goes on for days is told anew from where its lines begin.

mod evidence;
mod judge;
mod names;
#[cfg(test)]
mod tests;
mod windows;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    event::{Event, EventRef, Incident, IncidentState, Line, Source},
    node::snapshot::Snapshot,
};

/// How many lines are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Of those that make incidents: kills, ends, evictions, signals.
    pub evidence: usize,
    /// Of those that only add to them: observations, readings of memory, starts of containers.
    pub context: usize,
}

impl Keep {
    /// On a node: some megabytes at the worst.
    pub const LIVE: Self = Self { evidence: 2_048, context: 1_024 };
    /// Of logs and recordings after the fact.
    pub const ALL: Self = Self { evidence: 200_000, context: 200_000 };
}

/// What is known beside the events.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Pods, from files.
    pub snapshot: Snapshot,
    /// `kubelet_evictions` of the kubelet's `/metrics` by `eviction_signal`, the last reading.
    pub evictions_by_signal: BTreeMap<String, u64>,
    /// The times of the first and the last line of the kubelet's log, whatever they say: what it does not tell in between,
    /// the kubelet did not notice.
    pub kubelet_span: Option<(Timestamp, Timestamp)>,
    /// The ends too that have nothing to do with memory, and that only logs tell of: pods that were deleted, evictions
    /// for disk space.
    pub everything: bool,
}

/// An event in the timeline's order.
#[derive(Clone, Debug)]
struct Kept {
    /// Nanoseconds since 1970.
    at: i64,
    line: Arc<Line>,
}

/// By what lines are ordered: two lines that are the same in all of this are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    at: i64,
    node: String,
    source: Source,
    digest: u64,
    seq: u64,
}

/// Numbers above this are none yet: [`Timeline::number`] gives them.
pub const UNNUMBERED: u64 = u64::MAX / 2;

/// Collects events, and tells incidents.
pub struct Timeline {
    keep: Keep,
    known: Known,
    evidence: BTreeMap<Order, Arc<Line>>,
    context: BTreeMap<Order, Arc<Line>>,
    dropped: u64,
    /// The latest time of any event, nanoseconds since 1970.
    now: Option<i64>,
    /// Evidence has come since the incidents were last made.
    stale: bool,
    /// What was told of each incident: a digest of it, and whether it was closed.
    told: BTreeMap<String, (u64, IncidentState)>,
    /// When the next open incident is due to close.
    due: Option<i64>,
}

impl Timeline {
    /// An empty one.
    #[must_use]
    pub fn new(keep: Keep, known: Known) -> Self {
        Self {
            keep,
            known,
            evidence: BTreeMap::new(),
            context: BTreeMap::new(),
            dropped: 0,
            now: None,
            stale: false,
            told: BTreeMap::new(),
            due: None,
        }
    }

    /// Takes an event. What [`Timeline::news`] then tells may have changed.
    pub fn push(&mut self, line: &Line) {
        let Some(at) = nanoseconds(&line.ts) else { return };
        self.now = self.now.max(Some(at));
        let Some(weight) = Weight::of(&line.event) else { return };
        let order =
            Order { at, node: line.node.clone(), source: line.source, digest: digest(&line.event), seq: line.seq };
        let (kept, most) = match weight {
            Weight::Evidence => (&mut self.evidence, self.keep.evidence),
            Weight::Context => (&mut self.context, self.keep.context),
        };
        kept.insert(order, Arc::new(line.clone()));
        if kept.len() > most {
            kept.pop_first();
            self.dropped += 1;
        }
        self.stale = true;
    }

    /// The clock has moved on though nothing happened: nanoseconds since 1970. An open incident may close by it.
    pub fn advance(&mut self, to: Timestamp) {
        self.now = self.now.max(i64::try_from(to.as_nanosecond()).ok());
    }

    /// The incidents that have opened, or have closed with more than was told of them, since this was last asked.
    pub fn news(&mut self) -> Vec<Incident> {
        let due = self.due.is_some_and(|due| self.now.is_some_and(|now| now >= due));
        if !self.stale && !due {
            return Vec::new();
        }
        let now = self.now;
        self.tell(now)
    }

    /// As [`Timeline::news`], at the end of the input: every incident closes.
    pub fn finish(&mut self) -> Vec<Incident> {
        self.tell(None)
    }

    /// How many lines had to go.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What was known from the beginning.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Gives the lines of logs their numbers, in the order of their time: only recordings have some. Call it when all are
    /// there.
    pub fn number(&mut self) {
        let mut next = self.last_seq();
        let mut numbered = BTreeMap::new();
        for (order, _) in merge(&self.evidence, &self.context).filter(|(order, _)| order.seq > UNNUMBERED) {
            next += 1;
            numbered.insert(order.clone(), next);
        }
        for kept in [&mut self.evidence, &mut self.context] {
            *kept = std::mem::take(kept)
                .into_iter()
                .map(|(order, line)| match numbered.get(&order) {
                    Some(seq) => (Order { seq: *seq, ..order }, Arc::new(Line { seq: *seq, ..(*line).clone() })),
                    None => (order, line),
                })
                .collect();
        }
    }

    /// The highest number of any line.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        let seqs = self.evidence.keys().chain(self.context.keys()).map(|order| order.seq);
        seqs.filter(|seq| *seq <= UNNUMBERED).max().unwrap_or(0)
    }

    /// All incidents, whatever was told of them, as they are at the end of the input, with their nodes.
    #[must_use]
    pub fn incidents(&self) -> Vec<(String, Incident)> {
        self.judged(None).into_iter().map(|judged| (judged.node, judged.incident)).collect()
    }

    /// The same, each with the events it is made of instead of their numbers.
    #[must_use]
    pub fn incidents_with_events(&self) -> Vec<(String, Incident)> {
        let judged = self.judged(None).into_iter();
        judged
            .map(|judge::Judged { mut incident, lines, node, .. }| {
                incident.events = judge::told(&lines).map(|line| EventRef::Line(Box::new((**line).clone()))).collect();
                (node, incident)
            })
            .collect()
    }

    /// The events that could have made incidents and are in none.
    #[must_use]
    pub fn left_over(&self) -> Vec<Line> {
        let judged = self.judged(None);
        let used: BTreeSet<*const Line> = judged.iter().flat_map(|judged| &judged.lines).map(Arc::as_ptr).collect();
        let left = self.evidence.values().filter(|line| !used.contains(&Arc::as_ptr(line)));
        left.map(|line| (**line).clone()).collect()
    }

    fn tell(&mut self, now: Option<i64>) -> Vec<Incident> {
        self.stale = false;
        let judged = self.judged(now);
        self.due = judged.iter().filter(|judged| judged.incident.state == IncidentState::Open).map(|j| j.closes).min();
        if let Some(now) = now {
            self.forget(&judged, now - 2 * windows::CRASH_LOOP);
        }
        let mut told = BTreeMap::new();
        let mut news = Vec::new();
        for judge::Judged { incident, .. } in judged {
            let digest = digest(&incident);
            let is_news = match self.told.get(&incident.id) {
                None => true,
                Some((before, _)) if *before == digest => false,
                Some(_) => incident.state == IncidentState::Closed,
            };
            let remembered = match self.told.get(&incident.id) {
                Some(before) if !is_news => *before,
                _ => (digest, incident.state),
            };
            told.insert(incident.id.clone(), remembered);
            if is_news {
                news.push(incident);
            }
        }
        self.told = told;
        news
    }

    /// Lets go of what can make no incident any more, where much is kept: lines from before `old` that are in no incident,
    /// or in one that closed before.
    fn forget(&mut self, judged: &[judge::Judged], old: i64) {
        let many = self.evidence.len() > self.keep.evidence / 2 || self.context.len() > self.keep.context / 2;
        if !many {
            return;
        }
        let alive = judged.iter().filter(|judged| judged.closes >= old).flat_map(|judged| &judged.lines);
        let alive: BTreeSet<*const Line> = alive.map(Arc::as_ptr).collect();
        self.evidence.retain(|order, line| order.at >= old || alive.contains(&Arc::as_ptr(line)));
        self.context.retain(|order, line| order.at >= old || alive.contains(&Arc::as_ptr(line)));
    }

    fn judged(&self, now: Option<i64>) -> Vec<judge::Judged> {
        let mut nodes: BTreeMap<&str, Vec<Kept>> = BTreeMap::new();
        let mut before: Option<&Order> = None;
        for (order, line) in merge(&self.evidence, &self.context) {
            // The same line read from two files.
            let twice = before.is_some_and(|before| {
                (before.at, &before.node, before.source, before.digest)
                    == (order.at, &order.node, order.source, order.digest)
            });
            before = Some(order);
            if !twice {
                nodes.entry(&order.node).or_default().push(Kept { at: order.at, line: Arc::clone(line) });
            }
        }
        let mut all: Vec<_> =
            nodes.into_iter().flat_map(|(node, lines)| judge::judge(node, &lines, &self.known, now)).collect();
        all.sort_by(|a, b| (a.at, &a.node, &a.incident.id).cmp(&(b.at, &b.node, &b.incident.id)));
        all
    }
}

/// Both in one order.
fn merge<'a>(
    evidence: &'a BTreeMap<Order, Arc<Line>>,
    context: &'a BTreeMap<Order, Arc<Line>>,
) -> impl Iterator<Item = (&'a Order, &'a Arc<Line>)> {
    let (mut left, mut right) = (evidence.iter().peekable(), context.iter().peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some((a, _)), Some((b, _))) if b < a => right.next(),
        (Some(_), _) => left.next(),
        (None, _) => right.next(),
    })
}

/// What a line is worth.
enum Weight {
    Evidence,
    Context,
}

impl Weight {
    fn of(event: &Event) -> Option<Self> {
        use crate::event::{ContainerAction, EvictionPhase};
        match event {
            Event::OomKill(_)
            | Event::Signal(_)
            | Event::AllocationRefused(_)
            | Event::SystemOom(_)
            | Event::PanicOnOom(_)
            | Event::UnderOom(_) => Some(Self::Evidence),
            Event::ProcessExit(exit) => {
                (exit.oom_victim || exit.container.is_some() || exit.pod.is_some()).then_some(Self::Evidence)
            }
            Event::Eviction(eviction) => Some(match eviction.phase {
                EvictionPhase::Observed | EvictionPhase::NodeConditions if eviction.memory == Some(false) => {
                    return None;
                }
                EvictionPhase::Observed | EvictionPhase::NodeConditions => Self::Context,
                _ => Self::Evidence,
            }),
            Event::Container(change) => Some(match change.action {
                ContainerAction::Created
                | ContainerAction::Started
                | ContainerAction::Removed
                // Every few seconds while a container waits.
                | ContainerAction::BackOff => Self::Context,
                _ => Self::Evidence,
            }),
            Event::ChargeFailures(_) | Event::Pressure(_) => Some(Self::Context),
            Event::OomDecision(_)
            | Event::OomVictim(_)
            | Event::OomReaped(_)
            | Event::Incident(_)
            | Event::Lost(_)
            | Event::Error(_)
            | Event::Status(_) => None,
        }
    }
}

/// Nanoseconds since 1970 of a line's time; `None` where it is none.
fn nanoseconds(ts: &str) -> Option<i64> {
    ts.parse::<Timestamp>().ok().and_then(|ts| i64::try_from(ts.as_nanosecond()).ok())
}

/// Tells contents apart.
fn digest(value: &impl serde::Serialize) -> u64 {
    fnv1a(serde_json::to_string(value).unwrap_or_default().as_bytes())
}

/// FNV-1a, 64 bits: the same in every build, as ids have to be.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
