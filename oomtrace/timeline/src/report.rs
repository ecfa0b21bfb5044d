//! What was reported of a group's incidents, and what there is to report.
//!
//! An incident's lines can be added up: each has all that it counts, and what of that is new. It is reported at once when it
//! opens. What is added later, a kill or another verdict, is reported at once as well, but at most once in [`LINE_EVERY`]; what
//! only adds to its story is reported when it closes.

use std::collections::BTreeMap;

use oomtrace_model::{Incident, IncidentState};

use super::{
    digest,
    fold::Counts,
    identity::Homes,
    judge::{self, Judged},
    windows::SECOND,
};

/// A crash loop is reported at most once in this time.
pub(super) const LINE_EVERY: i64 = 60 * SECOND;

/// The last line of an incident.
#[derive(Debug)]
struct Reported {
    /// Without steps, history and events.
    incident: Incident,
    counts: Counts,
    digest: u64,
    urgent: u64,
    /// When it was reported.
    at: i64,
    /// By which judging these were compared with what it is now.
    compared: u64,
    /// Whether that differs; and whether in what does not wait for the closing.
    differs: (bool, bool),
}

impl Reported {
    /// Whether it was reported so lately that nothing more is said of it now.
    fn waits(&self, now: Option<i64>) -> bool {
        now.is_some_and(|now| now - self.at < LINE_EVERY)
    }
}

/// The incidents that were reported, by name.
#[derive(Debug, Default)]
pub(super) struct Reports {
    reported: BTreeMap<String, Reported>,
    /// What all lines of the group's incidents together have counted.
    counted: Counts,
}

impl Reports {
    /// What there is to report of incidents now; at the end of the input (`None`) all closes. `complete` where none is missing.
    pub(super) fn news(
        &mut self,
        standing: &[Judged],
        judging: u64,
        homes: &mut Homes,
        complete: bool,
        now: Option<i64>,
    ) -> Vec<(i64, Incident)> {
        if standing.is_empty() && self.reported.is_empty() {
            return Vec::new();
        }
        let total = total(standing);
        let mut news = Vec::new();
        for judged in standing {
            let open = now.is_some_and(|now| now < judged.closes);
            if self.is_held_back(judged, now) {
                continue;
            }
            if self.is_due(judged, judging, open, now) {
                news.push((judged.at, self.line(judged, judging, open, now, total)));
            }
        }
        if !complete {
            return news;
        }
        // What was reported and is no incident any more.
        let is_gone = |id: &String| standing.iter().all(|judged| judged.incident.id != *id);
        let gone: Vec<String> = self.reported.keys().filter(|id| is_gone(id)).cloned().collect();
        for id in gone {
            let Some(reported) = self.reported.remove(&id) else { continue };
            news.push((reported.at, withdrawn(reported, homes.take_moved(&id))));
        }
        homes.settled();
        news
    }

    /// Whether there is nothing to report now, whatever is said of the incidents that have these names: all were reported lately,
    /// and no other.
    pub(super) fn wait(&self, homes: &Homes, now: Option<i64>) -> bool {
        !self.reported.is_empty()
            && self.reported.values().all(|reported| reported.waits(now))
            && homes.names().eq(self.reported.keys())
    }

    /// What would explain it may follow; what was reported once is not held back again.
    fn is_held_back(&self, judged: &Judged, now: Option<i64>) -> bool {
        let until = judged.not_before.zip(now).is_some_and(|(until, now)| now < until);
        until && !self.reported.contains_key(&judged.incident.id)
    }

    fn is_due(&mut self, judged: &Judged, judging: u64, open: bool, now: Option<i64>) -> bool {
        let Some(before) = self.reported.get_mut(&judged.incident.id) else { return true };
        if before.waits(now) {
            return false;
        }
        if before.compared != judging {
            let urgent = urgent(&judged.incident);
            let differs = digest(&judged.incident) != before.digest;
            (before.differs, before.compared) = ((differs, urgent != before.urgent), judging);
        }
        let (differs, urgent) = before.differs;
        let closes = !open && before.incident.state == IncidentState::Open;
        closes || urgent || differs && !open
    }

    /// The next line of an incident.
    fn line(&mut self, judged: &Judged, judging: u64, open: bool, now: Option<i64>, total: Counts) -> Incident {
        let mut incident = judged.incident.clone();
        let before = self.reported.get(&incident.id);
        let counts = Counts::of(&incident);
        let new = (counts - before.map(|before| before.counts).unwrap_or_default()).within(total - self.counted);
        self.counted += new;
        new.put_new(&mut incident);
        incident.revision = before.map_or(0, |before| before.incident.revision) + 1;
        if open {
            judge::open(&mut incident);
        }
        let reported = Reported {
            incident: light(&incident),
            counts,
            digest: digest(&judged.incident),
            urgent: urgent(&judged.incident),
            at: now.unwrap_or(judged.last),
            compared: judging,
            differs: (false, false),
        };
        self.reported.insert(incident.id.clone(), reported);
        incident
    }

    /// The last line of an incident, which is let go of; none where it was reported as it is. `total` is what all incidents of the
    /// group count.
    pub(super) fn seal(&mut self, judged: &Judged, total: Counts, now: Option<i64>) -> Option<Incident> {
        let last = match self.reported.get(&judged.incident.id) {
            Some(before) => before.incident.state == IncidentState::Open || before.digest != digest(&judged.incident),
            None => !self.is_held_back(judged, now),
        };
        let line = last.then(|| self.line(judged, 0, false, now, total));
        self.reported.remove(&judged.incident.id);
        self.counted -= Counts::of(&judged.incident);
        line
    }

    /// How many were reported as closed.
    pub(super) fn closed(&self) -> usize {
        self.reported.values().filter(|reported| reported.incident.state == IncidentState::Closed).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reported.is_empty()
    }

    /// Two groups have become one.
    pub(super) fn extend(&mut self, other: Self) {
        self.reported.extend(other.reported);
        self.counted += other.counted;
    }
}

pub(super) fn total(standing: &[Judged]) -> Counts {
    standing.iter().fold(Counts::default(), |sum, judged| sum + Counts::of(&judged.incident))
}

/// An incident that turned out to be none, or a part of another one.
fn withdrawn(reported: Reported, replaced_by: Option<String>) -> Incident {
    let mut incident = reported.incident;
    incident.revision += 1;
    incident.state = IncidentState::Closed;
    incident.ended = incident.ended.or_else(|| Some(incident.started.clone()));
    (incident.withdrawn, incident.replaced_by) = (true, replaced_by);
    Counts::default().put(&mut incident);
    Counts::default().put_new(&mut incident);
    incident
}

/// Without what is long.
fn light(incident: &Incident) -> Incident {
    let mut light = incident.clone();
    light.steps_omitted += light.steps.len() as u64;
    light.history_omitted += light.history.len() as u64;
    light.events_omitted += light.events.len() as u64;
    (light.steps, light.history, light.events) = (Vec::new(), Vec::new(), Vec::new());
    light
}

/// Whether an incident has more than it had, or is another; else what differs is that others, who had reported more of it, were
/// let go of.
pub(super) fn is_more(before: &Incident, now: &Incident) -> bool {
    let events = |incident: &Incident| incident.events.len() as u64 + incident.events_omitted;
    events(now) > events(before) || urgent(now) != urgent(before)
}

/// What does not wait for the closing: what is counted, and what it is.
fn urgent(incident: &Incident) -> u64 {
    let verdict = &incident.verdict;
    digest(&(
        (incident.kills, incident.processes_killed, incident.deaths, incident.evicted),
        (verdict.scenario, verdict.also, verdict.invisible, verdict.group_kill, verdict.innocent, verdict.bystander),
        (incident.severity, verdict.confidence, &verdict.signal),
    ))
}
