//! After the fact: what nothing can be added to any more is judged, reported and let go of, so that a log may be of any length.
//!
//! A group of lines is judged in parts, between which nothing happened for longer than any window ([`crate::windows::PAUSE`]), each
//! when no more can come to it: so the result does not depend on when that is. Of what was judged only the starts of
//! containers stay that were not seen to end, since their ends may come any time, and a kill in each container: so many of
//! those, the latest, that memory stays flat.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use oomtrace_model::{Incident, Line};

use super::{EndAsIntended, Timeline, digested::Digested, groups::Part, judge, judge::Depth, judged, sort};

/// What was let go of, and what it came to.
#[derive(Default)]
pub struct Settled {
    /// In the order of their time.
    pub incidents: Vec<Ended>,
    /// Where everything is asked for ([`super::Background::everything`]): events that could have made incidents and are in none.
    pub left_over: Vec<Line>,
    /// Ends of containers as Kubernetes intended them.
    pub ends: Vec<EndAsIntended>,
    /// Evictions that were not for memory, where those were not asked for.
    pub not_memory: u64,
    /// No incident that began before this time is yet to come, nanoseconds since 1970; `None` after the last.
    pub complete_until: Option<i64>,
}

/// An incident that gets no more.
pub struct Ended {
    /// When it began, nanoseconds since 1970.
    pub began: i64,
    /// Where it was.
    pub node: String,
    /// What it is.
    pub incident: Incident,
}

impl Timeline {
    /// What a log does not tell between the times of its first and its last line, the kubelet did not notice.
    pub fn kubelet_spoke(&mut self, span: Option<(Timestamp, Timestamp)>) {
        self.known.kubelet_span = span;
    }

    /// Judges what ended long before a time, and lets go of it: no event from before that time comes any more. Without a time
    /// the input has ended, and everything is judged.
    pub fn settle(&mut self, before: Option<Timestamp>) -> Settled {
        // What lies outside of the timeline's years is before or after all of it.
        let before = before.map(|before| {
            let outside = if before < Timestamp::UNIX_EPOCH { i64::MIN } else { i64::MAX };
            i64::try_from(before.as_nanosecond()).unwrap_or(outside)
        });
        self.take_group_kills(before);
        let (mut incidents, mut left_over, mut ends, mut not_memory) =
            (std::mem::take(&mut self.sealed), Vec::new(), std::mem::take(&mut self.ends), 0);
        for id in self.groups.unsettled() {
            while let Some(part) = self.groups.take_part(id, before) {
                let folds = self.groups.get(id).map(|group| group.folds.clone()).unwrap_or_default();
                let found = judged(part.lines(), &self.known, &self.nodes, &folds, Depth::Whole);
                let of_part = found.incidents;
                ends.extend(found.ends.into_iter().filter_map(|(_, end)| EndAsIntended::of(end)));
                if self.known.everything {
                    left_over.extend(self.left_over(&part, &of_part));
                }
                let (hidden, of_part): (Vec<_>, Vec<_>) = of_part.into_iter().partition(|judged| judged.hidden);
                not_memory += hidden.len() as u64;
                incidents.extend(of_part);
                for order in self.groups.let_go(id, part) {
                    self.evidence.remove(&order);
                    self.context.remove(&order);
                }
            }
        }
        sort(&mut incidents);
        let complete_until =
            self.evidence.keys().next().map(|order| order.at).into_iter().chain(self.group_kills.first()).min();
        let with_events = self.known.everything;
        let ended = |judge::Judged { at, mut incident, lines, node, .. }| {
            if with_events {
                incident.events_full = judge::reported(&lines).map(|line| (***line).clone()).collect();
            }
            Ended { began: at, node, incident }
        };
        let incidents = incidents.into_iter().map(ended).collect();
        Settled { incidents, left_over, ends, not_memory, complete_until }
    }

    /// Events of a part that could have made incidents and are in none.
    fn left_over(&self, part: &Part, incidents: &[judge::Judged]) -> Vec<Line> {
        let used: BTreeSet<*const Digested> =
            incidents.iter().flat_map(|judged| &judged.lines).map(Arc::as_ptr).collect();
        let left = part.lines().filter(|(order, line, lesson)| {
            !lesson && !used.contains(&Arc::as_ptr(line)) && self.evidence.contains_key(*order)
        });
        left.map(|(_, line, _)| (***line).clone()).collect()
    }
}
