//! What is left of lines that were let go of for lack of space: counts, on the line of the incident that stays.

use std::{
    collections::BTreeMap,
    ops::{Add, AddAssign, Sub, SubAssign},
    sync::Arc,
};

use oomtrace_model::Incident;

use super::digested::Digested;

/// What can be counted of an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) kills: i64,
    pub(super) processes: i64,
    pub(super) deaths: i64,
}

impl Counts {
    pub(super) fn of(incident: &Incident) -> Self {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            kills: signed(incident.kills),
            processes: signed(incident.processes_killed),
            deaths: signed(incident.deaths),
        }
    }

    /// What of these is more than nothing, and no more than there is.
    pub(super) fn within(self, available: Self) -> Self {
        let within = |count: i64, most: i64| count.min(most).max(0);
        Self {
            kills: within(self.kills, available.kills),
            processes: within(self.processes, available.processes),
            deaths: within(self.deaths, available.deaths),
        }
    }

    pub(super) fn put(self, incident: &mut Incident) {
        (incident.kills, incident.processes_killed, incident.deaths) =
            (unsigned(self.kills), unsigned(self.processes), unsigned(self.deaths));
    }

    pub(super) fn put_new(self, incident: &mut Incident) {
        (incident.kills_new, incident.processes_killed_new, incident.deaths_new) =
            (unsigned(self.kills), unsigned(self.processes), unsigned(self.deaths));
    }
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            processes: self.processes + other.processes,
            deaths: self.deaths + other.deaths,
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            kills: self.kills - other.kills,
            processes: self.processes - other.processes,
            deaths: self.deaths - other.deaths,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

/// What an incident had that its lines do not tell any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Fold {
    pub(super) counts: Counts,
    pub(super) started: String,
    /// The time of the last line that was let go of.
    pub(super) last: i64,
    pub(super) ended: String,
    /// The time of the last kill, as far as its line was let go of.
    pub(super) last_kill: i64,
    steps: u64,
    history: u64,
    events: u64,
}

/// By the address of the line that stays.
pub(super) type Folds = BTreeMap<usize, Fold>;

/// What tells lines apart for as long as they are kept.
pub(super) fn address(line: &Arc<Digested>) -> usize {
    Arc::as_ptr(line).addr()
}

impl Fold {
    /// How many kills it stands for.
    pub(super) fn kills(&self) -> u64 {
        unsigned(self.counts.kills)
    }

    /// Adds what an incident had more `before` its lines were let go of than `after`.
    pub(super) fn add_difference(&mut self, before: &Incident, after: &Incident) {
        self.counts += Counts::of(before) - Counts::of(after);
        self.steps += all(before.steps.len(), before.steps_omitted)
            - least(before, after, |i| all(i.steps.len(), i.steps_omitted));
        self.history += all(before.history.len(), before.history_omitted)
            - least(before, after, |i| all(i.history.len(), i.history_omitted));
        self.events += all(before.events.len(), before.events_omitted)
            - least(before, after, |i| all(i.events.len(), i.events_omitted));
    }

    /// Puts back what was let go of.
    pub(super) fn add_to(&self, incident: &mut Incident) {
        (Counts::of(incident) + self.counts).put(incident);
        incident.steps_omitted += self.steps;
        incident.history_omitted += self.history;
        incident.events_omitted += self.events;
        if self.started < incident.started {
            incident.started.clone_from(&self.started);
        }
        if incident.ended.as_ref().is_none_or(|ended| *ended < self.ended) {
            incident.ended = Some(self.ended.clone());
        }
    }
}

fn least(before: &Incident, after: &Incident, of: impl Fn(&Incident) -> u64) -> u64 {
    of(before).min(of(after))
}

fn all(listed: usize, omitted: u64) -> u64 {
    listed as u64 + omitted
}
