//! What is counted, out of the lines that oomtrace tells.

use std::{collections::BTreeMap, time::Instant};

use super::{
    place::{Place, level},
    series::{Figure, Series},
    verdicts::{Judged, Subject, Verdicts},
};
use crate::event::{
    AllocationRefused, ChargeFailures, Event, Eviction, EvictionPhase, Incident, IncidentState, Kind, LimitAhead, Line,
    Lost, OomKill, RefusedBy, Status,
};

/// Everything that is exposed but the process's own figures.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) series: Series,
    /// Lines emitted, by kind.
    pub(super) events: BTreeMap<Kind, u64>,
    /// What was lost, by where, and by output.
    pub(super) lost: BTreeMap<(String, String), u64>,
    /// The latest status.
    pub(super) status: Option<Box<Status>>,
    verdicts: Verdicts,
}

impl Figures {
    pub(super) fn new(max_series: usize) -> Self {
        Self {
            series: Series::new(max_series),
            events: BTreeMap::new(),
            lost: BTreeMap::new(),
            status: None,
            verdicts: Verdicts::default(),
        }
    }

    /// Takes a line.
    pub(super) fn observe(&mut self, line: &Line, now: Instant) {
        *self.events.entry(line.event.kind()).or_default() += 1;
        match &line.event {
            Event::OomKill(kill) => self.kill(line.seq, kill, now),
            Event::Eviction(eviction) => self.eviction(line.seq, eviction, now),
            Event::Incident(incident) => self.judge(incident),
            Event::ChargeFailures(failures) => self.charges(failures),
            Event::AllocationRefused(refused) => self.refused(refused),
            Event::LimitAhead(ahead) => self.ahead(ahead),
            Event::Lost(lost) => self.lose(lost),
            Event::Status(status) => self.status = Some(status.clone()),
            _ => {}
        }
    }

    /// Now and then: counts what has waited in vain.
    pub(super) fn tick(&mut self, now: Instant) {
        let overdue = self.verdicts.overdue(now);
        self.count_all(overdue);
    }

    fn kill(&mut self, seq: u64, kill: &OomKill, now: Instant) {
        let place = Place::of(kill.pod.as_ref(), kill.container.as_ref(), kill.cgroup.as_ref());
        let level = level(kill.limit.as_ref().and_then(|limit| limit.level));
        let judged = self.verdicts.hold(seq, Subject::Kill { place, level }, now);
        self.count_all(judged);
    }

    /// A pod that was evicted, be it that it took longer to end than the kubelet waits (`killPodNow`,
    /// `pkg/kubelet/pod_workers.go`): it goes all the same.
    fn eviction(&mut self, seq: u64, eviction: &Eviction, now: Instant) {
        let timed_out = eviction.error.as_deref().is_some_and(|error| error.contains("timeout waiting to kill pod"));
        match eviction.phase {
            EvictionPhase::Evicted => {}
            EvictionPhase::Failed if timed_out => {}
            _ => return,
        }
        let subject = Subject::Eviction { place: Place::of(eviction.pod.as_ref(), None, None) };
        let judged = match &eviction.signal {
            Some(signal) => Some((subject, signal.clone())),
            None => self.verdicts.hold(seq, subject, now),
        };
        self.count_all(judged);
    }

    /// Takes an incident.
    pub(super) fn judge(&mut self, incident: &Incident) {
        let judged = self.verdicts.judge(incident);
        self.count_all(judged);
        if incident.state != IncidentState::Closed || incident.withdrawn {
            return;
        }
        let place = Place::of(incident.pod.as_ref(), incident.container.as_ref(), incident.cgroup.as_ref());
        let seen = self.verdicts.seen(&incident.id);
        let is_new = !std::mem::replace(&mut seen.counted, true);
        let invisible = if incident.verdict.invisible == Some(true) { incident.kills } else { 0 };
        let new_invisible = invisible.saturating_sub(seen.invisible);
        seen.invisible += new_invisible;
        self.series.add(Figure::InvisibleKills, place.labels(), new_invisible);
        let of_incident = [incident.severity.name(), incident.verdict.scenario.name(), level(incident.limit_level)];
        self.series.add(Figure::Incidents, with(&place, of_incident), u64::from(is_new));
    }

    fn count_all(&mut self, judged: impl IntoIterator<Item = Judged>) {
        for (subject, says) in judged {
            match subject {
                Subject::Kill { place, level } => self.series.add(Figure::OomKills, with(&place, [&says, level]), 1),
                Subject::Eviction { place: Place { namespace, pod, .. } } => {
                    self.series.add(Figure::Evictions, vec![namespace, pod, says], 1);
                }
            }
        }
    }

    fn charges(&mut self, failures: &ChargeFailures) {
        let place = Place::of(failures.pod.as_ref(), failures.container.as_ref(), failures.cgroup.as_ref());
        let labels = with(&place, [level(failures.limit.as_ref().and_then(|limit| limit.level))]);
        for (figure, count) in [
            (Figure::ChargeFailures, failures.attempts),
            (Figure::ChargeEnomem, failures.failed),
            (Figure::ChargeOoms, failures.ooms),
        ] {
            self.series.add(figure, labels.clone(), count.unwrap_or_default());
        }
    }

    fn ahead(&mut self, ahead: &LimitAhead) {
        let place = Place::of(ahead.pod.as_ref(), ahead.container.as_ref(), ahead.cgroup.as_ref());
        let figure = if ahead.withdrawn { Figure::LimitsAheadWithdrawn } else { Figure::LimitsAhead };
        self.series.add(figure, with(&place, [level(ahead.level)]), 1);
    }

    fn refused(&mut self, refused: &AllocationRefused) {
        let place = Place::of(refused.pod.as_ref(), refused.container.as_ref(), refused.cgroup.as_ref());
        let by = match refused.by {
            RefusedBy::Overcommit => "overcommit",
            RefusedBy::RlimitAs => "rlimit_as",
            RefusedBy::RlimitData => "rlimit_data",
            RefusedBy::Rlimit => "rlimit",
        };
        self.series.add(Figure::AllocationsRefused, with(&place, [by]), refused.count);
    }

    fn lose(&mut self, lost: &Lost) {
        // Serialised it is a string: its name in JSON lines.
        let from = serde_json::to_value(lost.from).ok().and_then(|name| name.as_str().map(ToOwned::to_owned));
        let key = (from.unwrap_or_default(), lost.output.clone().unwrap_or_default());
        *self.lost.entry(key).or_default() += lost.count;
    }
}

/// A place's labels, and more behind them.
fn with<const N: usize>(place: &Place, more: [&str; N]) -> Vec<String> {
    let mut labels = place.labels();
    labels.extend(more.map(ToOwned::to_owned));
    labels
}

#[cfg(test)]
mod tests;
