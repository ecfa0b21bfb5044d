//! Incidents and verdicts: the pure middle. Nothing is opened here, and no clock is read.
//!
//! # What becomes of an event
//!
//! 1. Every [`Line`] that reports a death, or what may lead to one, is kept in order of its time ([`Timeline::push`]).
//! 2. The kept lines of a node are sorted out ([`evidence`]): kills (a kill reported by several sources is one), ends of
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
//! input. The same container killed again within 15 minutes is the same incident, with the same `id`. [`report`] says what is
//! reported of it and when.
//!
//! # What is judged
//!
//! Groups of lines ([`groups`]), each by itself: that gives the same as judging everything at once, and takes as long as the
//! group is large, not as the node is busy. Live, and of a recording, those that an event touched; each incident keeps its
//! name, whatever it turns out to be ([`identity`]). Of logs, those that nothing can be added to any more
//! ([`Timeline::settle`]).
//!
//! # What is kept
//!
//! At most [`Keep`] lines; what goes is judged and reported before ([`retain`]). A crash loop that goes on for days keeps its
//! `id`, its beginning and its counts.

mod clock_steps;
mod digested;
mod evidence;
mod fold;
mod group_kills;
mod groups;
mod identity;
mod judge;
mod losses;
mod names;
mod order;
mod replay;
mod report;
mod retain;
mod settle;
#[cfg(test)]
mod tests;
mod thresholds;
mod weight;
mod windows;
pub mod words;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use oomtrace_model::{ContainerEnded, Event, EvictionPhase, Incident, Line, Source, snapshot::Snapshot};

use self::{
    clock_steps::ClockSteps,
    digested::Digested,
    fold::{Counts, Folds},
    group_kills::GroupKills,
    groups::Groups,
    judge::{Depth, Judged},
    losses::{Losses, REPORTED},
    order::{Kept, Order, by_node},
    thresholds::Thresholds,
    weight::Weight,
};
pub use self::{
    replay::Replay,
    settle::{Ended, Settled},
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
    /// On a node: about 4 MiB at the worst, some two hundred kills.
    pub const LIVE: Self = Self { evidence: 640, context: 320 };
    /// Of logs and recordings after the fact: more than happens on a node in an hour, 2 GiB at the worst. Of a storm that goes on
    /// for longer the incidents keep their counts.
    pub const ALL: Self = Self { evidence: 200_000, context: 200_000 };
}

/// What is known beside the events.
#[derive(Clone, Debug, Default)]
pub struct Background {
    /// Pods, from files.
    pub snapshot: Snapshot,
    /// `kubelet_evictions` of the kubelet's `/metrics` by `eviction_signal`, the last reading.
    pub evictions_by_signal: BTreeMap<String, u64>,
    /// The times of the first and the last line of the kubelet's log, whatever they say: what it does not tell in between,
    /// the kubelet did not notice.
    pub kubelet_span: Option<(Timestamp, Timestamp)>,
    /// What happened is known from pods' statuses and events alone.
    pub statuses_alone: bool,
    /// The ends too that have nothing to do with memory, and that only logs tell of: pods that were deleted, evictions
    /// for disk space. And of each incident its events instead of their numbers.
    pub everything: bool,
}

/// When a node's kubelet was heard first and last, nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    from: Option<i64>,
    until: Option<i64>,
    /// Something on the node is of Kubernetes.
    kubernetes: bool,
}

/// What is known of a node beside the lines that make incidents.
#[derive(Default)]
struct Node {
    heard: Heard,
    thresholds: Thresholds,
    losses: Losses,
}

/// Collects events, and makes incidents of them.
pub struct Timeline {
    keep: Keep,
    known: Background,
    evidence: BTreeMap<Order, Arc<Digested>>,
    context: BTreeMap<Order, Arc<Digested>>,
    /// Lines that were let go of and might have made an incident yet.
    dropped: u64,
    arrivals: u64,
    /// The latest time of any event, nanoseconds since 1970.
    latest: Option<i64>,
    /// The same, or the time that the clock has moved on to.
    now: Option<i64>,
    clock: ClockSteps,
    /// By name.
    nodes: BTreeMap<Arc<str>, Node>,
    /// The groups that what was learnt of their nodes since may have changed.
    changed: Changed,
    groups: Groups,
    group_kills: GroupKills,
    /// Incidents are reported as they come, and not settled after the fact.
    reporting: bool,
    /// What is to be reported for the last time of incidents whose lines were let go of, each with when it began.
    outbox: Vec<(i64, Incident)>,
    /// The same where incidents are settled after the fact.
    sealed: Vec<Judged>,
    /// What all these have counted.
    sealed_counts: Counts,
    /// Ends that nobody has taken yet.
    ends: Vec<EndAsIntended>,
}

/// The end of a container as Kubernetes intended it.
#[derive(Clone, Debug)]
pub struct EndAsIntended {
    /// When the container ended.
    pub at: Timestamp,
    /// Where.
    pub node: String,
    /// What is known of it.
    pub event: ContainerEnded,
}

/// Which groups are to be judged again for what was learnt of their nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Changed {
    #[default]
    None,
    /// Those that end later than this; all with incidents where there is no time.
    EndingAfter(Option<i64>),
    All,
}

impl Changed {
    /// The same, and those that end later than this.
    fn or_ending_after(self, time: i64) -> Self {
        match self {
            Self::None => Self::EndingAfter(Some(time)),
            Self::EndingAfter(before) => Self::EndingAfter(before.map(|before| before.min(time))),
            Self::All => Self::All,
        }
    }
}

impl Timeline {
    /// An empty one.
    #[must_use]
    pub fn new(keep: Keep, known: Background) -> Self {
        Self {
            keep,
            groups: Groups::new(&known.snapshot),
            group_kills: GroupKills::default(),
            known,
            evidence: BTreeMap::new(),
            context: BTreeMap::new(),
            dropped: 0,
            arrivals: 0,
            latest: None,
            now: None,
            clock: ClockSteps::default(),
            nodes: BTreeMap::new(),
            changed: Changed::None,
            reporting: false,
            outbox: Vec::new(),
            sealed: Vec::new(),
            sealed_counts: Counts::default(),
            ends: Vec::new(),
        }
    }

    /// Takes an event in as it comes. What [`Timeline::news`] then reports may have changed.
    pub fn push(&mut self, line: &Line) {
        self.reporting = true;
        if let Some(at) = nanoseconds(&line.ts).map(|wall| self.clock.of_line(wall, self.now))
            && !self.is_of_group_kill(at, line)
            && let Some(place) = self.place(at, line)
        {
            self.insert(place, Arc::new(line.clone().into()));
        }
        match std::mem::take(&mut self.changed) {
            Changed::None => {}
            Changed::EndingAfter(before) => {
                for id in self.groups.ending_after(before) {
                    self.name_incidents(id);
                }
            }
            Changed::All => self.groups.all_due(),
        }
        for id in self.groups.take_due() {
            self.name_incidents(id);
        }
        self.make_room();
    }

    /// Takes an event in that is settled after the fact ([`Timeline::settle`]), and whose time is known.
    pub fn push_owned(&mut self, at: Timestamp, line: Line) {
        let Ok(at) = i64::try_from(at.as_nanosecond()) else { return };
        if !self.is_of_group_kill(at, &line)
            && let Some(place) = self.place(at, &line)
        {
            self.insert(place, Arc::new(line.into()));
            self.make_room();
        }
    }

    /// Keeps the line of a kill whose members follow until these have come, and adds them to it.
    fn is_of_group_kill(&mut self, at: i64, line: &Line) -> bool {
        self.take_group_kills(Some(at));
        let is_of_group_kill = self.group_kills.take(at, line);
        if is_of_group_kill {
            (self.now, self.latest) = (self.now.max(Some(at)), self.latest.max(Some(at)));
        }
        is_of_group_kill
    }

    /// Takes in the kills whose members have come by now; without a time, all.
    fn take_group_kills(&mut self, now: Option<i64>) {
        for (at, line) in self.group_kills.complete(now) {
            if let Some(place) = self.place(at, &line) {
                self.insert(place, Arc::new(line.into()));
            }
        }
    }

    /// Where an event belongs; `None` where it makes no incident.
    fn place(&mut self, at: i64, line: &Line) -> Option<(Weight, Order)> {
        (self.now, self.latest) = (self.now.max(Some(at)), self.latest.max(Some(at)));
        match &line.event {
            Event::Eviction(step) if step.phase == EvictionPhase::Configured => {
                self.node(&line.node).1.thresholds.add(at, step);
            }
            Event::Lost(lost) if self.node(&line.node).1.losses.add(at, lost) => {
                self.changed = self.changed.or_ending_after(at.saturating_sub(REPORTED));
            }
            _ => {}
        }
        let weight = Weight::of(&line.event)?;
        let (node, _) = self.node(&line.node);
        self.learn_kubernetes(&node, line);
        if line.source == Source::Kubelet {
            self.hear(&node, at);
        }
        if self.groups.is_buried(&line.event) {
            return None;
        }
        self.arrivals += 1;
        Some((weight, Order { at, node, source: line.source, arrival: self.arrivals }))
    }

    /// A node, and its name, once for all of its lines.
    fn node(&mut self, name: &str) -> (Arc<str>, &mut Node) {
        let name = self.nodes.get_key_value(name).map_or_else(|| name.into(), |(name, _)| Arc::clone(name));
        (Arc::clone(&name), self.nodes.entry(name).or_default())
    }

    fn insert(&mut self, (weight, order): (Weight, Order), line: Arc<Digested>) {
        let kept = match weight {
            Weight::Evidence => &mut self.evidence,
            Weight::Context => &mut self.context,
        };
        self.groups.add(&order, &line, &self.known.snapshot);
        kept.insert(order, line);
    }

    /// What the kubelet has not noticed by its last line, it may notice yet.
    fn hear(&mut self, node: &str, at: i64) {
        let Some(Node { heard, .. }) = self.nodes.get_mut(node) else { return };
        let before = *heard;
        heard.from = heard.from.map_or(Some(at), |from| Some(from.min(at)));
        heard.until = heard.until.max(Some(at));
        if heard.from != before.from {
            self.changed = Changed::All;
        } else if heard.until != before.until && self.changed == Changed::None {
            self.changed = Changed::EndingAfter(before.until);
        }
    }

    /// A node that anything of Kubernetes is seen on is one of Kubernetes.
    fn learn_kubernetes(&mut self, node: &Arc<str>, line: &Line) {
        let files = !self.known.snapshot.pods.is_empty() || !self.known.snapshot.nodes.is_empty();
        let Some(Node { heard, .. }) = self.nodes.get_mut(node) else { return };
        if !heard.kubernetes && (files || line.source == Source::Kubelet || groups::is_of_kubernetes(&line.event)) {
            heard.kubernetes = true;
            self.changed = Changed::All;
        }
    }

    /// The clock has moved on though nothing happened: nanoseconds since 1970. An open incident may close by it.
    pub fn advance(&mut self, to: Timestamp) {
        let to = i64::try_from(to.as_nanosecond()).ok();
        self.now = self.now.max(to.map(|wall| self.clock.inside(wall)));
    }

    /// The wall clock was set, by so much: the times of what comes are in the new one. How long things are apart stays as it was.
    pub fn step_clock(&mut self, by: SignedDuration) {
        let by = i64::try_from(by.as_nanos()).unwrap_or(if by.is_negative() { i64::MIN } else { i64::MAX });
        self.clock.add(by, self.now);
    }

    /// What there is to report of incidents since this was last asked.
    pub fn news(&mut self) -> Vec<Incident> {
        let Some(now) = self.now else { return Vec::new() };
        self.report(Some(now))
    }

    /// As [`Timeline::news`], at the end of the input: every incident closes.
    pub fn finish(&mut self) -> Vec<Incident> {
        self.report(None)
    }

    /// What was reported for the last time of incidents that were let go of, as it comes.
    fn take_sealed(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.outbox).into_iter().map(|(_, incident)| incident).collect()
    }

    /// The ends of containers as Kubernetes intended them that [`Timeline::news`] and [`Timeline::finish`] came upon, each once.
    pub fn take_ends(&mut self) -> Vec<EndAsIntended> {
        let mut ends = std::mem::take(&mut self.ends);
        for end in &mut ends {
            let wall = i64::try_from(end.at.as_nanosecond()).map(|at| self.clock.outside(at).into());
            end.at = wall.ok().and_then(|wall| Timestamp::from_nanosecond(wall).ok()).unwrap_or(end.at);
        }
        ends
    }

    /// How many lines had to be let go of that might have made an incident yet.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether there are incidents that are open, or that more of the same may yet be added to.
    #[must_use]
    pub fn has_incidents(&self) -> bool {
        !self.outbox.is_empty() || self.groups.all().any(|group| group.incidents > 0 || !group.reports.is_empty())
    }

    /// How many incidents were not reported as closed yet.
    #[must_use]
    pub fn open_incidents(&self) -> usize {
        self.groups.all().map(|group| group.incidents.saturating_sub(group.reports.closed())).sum()
    }

    /// Whether an event makes a difference to incidents.
    #[must_use]
    pub fn uses(event: &Event) -> bool {
        let configured = matches!(event, Event::Eviction(step) if step.phase == EvictionPhase::Configured);
        configured || matches!(event, Event::Lost(_)) || Weight::of(event).is_some()
    }

    /// How many lines are kept.
    #[must_use]
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// What was known from the beginning.
    #[must_use]
    pub fn known(&self) -> &Background {
        &self.known
    }

    /// All incidents as they are at the end of the input, judged at once.
    #[cfg(test)]
    fn incidents(&self) -> Vec<Incident> {
        let lines = order::merge(&self.evidence, &self.context).map(|(order, line)| (order, line, false));
        let mut all = judged(lines, &self.known, &self.nodes, &Folds::new(), Depth::Whole).incidents;
        all.retain(|judged| !judged.hidden);
        sort(&mut all);
        all.into_iter().map(|judged| judged.incident).collect()
    }

    /// All incidents as at the end of the input, each group judged by itself.
    #[cfg(test)]
    fn incidents_by_group(&mut self) -> Vec<Incident> {
        let mut all: Vec<_> =
            self.groups.ids().into_iter().flat_map(|id| self.judged(id, Depth::Whole).incidents).collect();
        sort(&mut all);
        all.into_iter().map(|judged| judged.incident).collect()
    }

    /// The incidents that a group's lines make.
    fn judged(&self, id: u64, depth: Depth) -> judge::Findings {
        let Some(group) = self.groups.get(id) else { return judge::Findings::default() };
        let mut found = judged(group.lines(), &self.known, &self.nodes, &group.folds, depth);
        found.incidents.retain(|judged| !judged.hidden);
        found
    }

    /// Gives the incidents of a group that has changed their names, which is all that depends on when: what is said of them is found
    /// out when it is reported.
    fn name_incidents(&mut self, id: u64) {
        let judge::Findings { incidents: mut outlined, ends } = self.judged(id, Depth::Names);
        let Some(group) = self.groups.get_mut(id) else { return };
        group.homes.name(&mut outlined, true);
        (group.ends, group.incidents, group.pushed) = (ends, outlined.len(), 0);
    }

    /// Judges a group, if it has changed. Only where that depends on its lines alone and not on when it happens, its incidents keep
    /// the names that they get.
    fn judge_group(&mut self, id: u64, keep_names: bool) {
        let changed = |group: &groups::Group| group.stale || keep_names && group.pushed > 0;
        if !self.groups.get(id).is_some_and(changed) {
            return;
        }
        let judge::Findings { incidents: mut judged, ends } = self.judged(id, Depth::Whole);
        let Some(group) = self.groups.get_mut(id) else { return };
        (group.ends, group.incidents) = (ends, judged.len());
        group.homes.name(&mut judged, keep_names);
        group.stand(judged);
        group.stale = false;
        group.judgings += 1;
        if keep_names {
            group.pushed = 0;
        }
    }

    fn report(&mut self, now: Option<i64>) -> Vec<Incident> {
        self.take_group_kills(now);
        let mut news = std::mem::take(&mut self.outbox);
        for id in self.groups.ids() {
            let Some(group) = self.groups.get(id) else { continue };
            // What did not change since its names were kept, keeps them.
            let complete = group.pushed == 0;
            let waits = complete && group.reports.wait(&group.homes, now);
            if !waits {
                self.judge_group(id, complete);
            }
            if let Some(group) = self.groups.get_mut(id) {
                let groups::Group { standing, judgings, homes, reports, .. } = group;
                if !waits {
                    news.extend(reports.news(standing, *judgings, homes, complete || now.is_none(), now));
                }
                self.ends.extend(group.new_ends(now));
            }
            self.groups.drop_empty(id);
        }
        news.sort_by(|a, b| (a.0, &a.1.id, a.1.revision).cmp(&(b.0, &b.1.id, b.1.revision)));
        news.into_iter().map(|(_, incident)| incident).collect()
    }

    /// What all incidents count that there are and were.
    #[cfg(test)]
    fn counts(&mut self) -> Counts {
        let ids = self.groups.ids();
        let sealed = self.sealed_counts;
        ids.into_iter().fold(sealed, |sum, id| {
            self.judge_group(id, false);
            sum + self.groups.get(id).map(|group| report::total(&group.standing)).unwrap_or_default()
        })
    }
}

/// The incidents that lines make, of whatever nodes they are.
fn judged<'a>(
    lines: impl Iterator<Item = (&'a Order, &'a Arc<Digested>, bool)>,
    known: &Background,
    nodes: &BTreeMap<Arc<str>, Node>,
    folds: &Folds,
    depth: Depth,
) -> judge::Findings {
    let of_node = |(node, lines): (&str, Vec<Kept>)| match nodes.get(node) {
        Some(of) => judge::judge(node, &lines, known, of, folds, depth),
        None => judge::judge(node, &lines, known, &Node::default(), folds, depth),
    };
    let mut all = judge::Findings::default();
    for judge::Findings { incidents, ends } in by_node(lines).into_iter().map(of_node) {
        all.incidents.extend(incidents);
        all.ends.extend(ends);
    }
    all
}

impl EndAsIntended {
    /// `None` of a time that is none.
    fn of(end: judge::End) -> Option<Self> {
        let at = Timestamp::from_nanosecond(end.at.into()).ok()?;
        Some(Self { at, node: end.node, event: end.event })
    }
}

fn sort(judged: &mut [Judged]) {
    judged.sort_by(|a, b| (a.at, &a.node, &a.incident.id).cmp(&(b.at, &b.node, &b.incident.id)));
}

/// Nanoseconds since 1970 of a line's time; `None` where it is none.
fn nanoseconds(ts: &str) -> Option<i64> {
    ts.parse::<Timestamp>().ok().and_then(|ts| i64::try_from(ts.as_nanosecond()).ok())
}

/// A time that is given in a line which is at `at`.
fn in_line(line: &Line, at: i64, ts: &str) -> Option<i64> {
    let distance = nanoseconds(ts)?.checked_sub(nanoseconds(&line.ts)?)?;
    at.checked_add(distance)
}

/// Tells contents apart.
fn digest(value: &impl serde::Serialize) -> u64 {
    fnv1a(serde_json::to_string(value).unwrap_or_default().as_bytes())
}

/// FNV-1a, 64 bits: the same in every build, as ids have to be.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
