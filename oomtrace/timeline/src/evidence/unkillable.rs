//! Limits that were hit with nobody below them who may be killed: each process has `oom_score_adj` -1000.

use oomtrace_model::{ChargeFailures, Container, Event, Limit, Line, OOM_SCORE_ADJ_MIN, OomKill, Pod, Task};

/// Where only calls of the OOM handling are counted: a single one may have found a victim that was exiting already.
const OOMS: u64 = 2;

/// What says that nobody may be killed for a limit.
pub(crate) enum Unkillable<'a> {
    /// The kernel says so.
    Said(&'a OomKill),
    /// Its OOM handling ran again and again, for a process that must not be killed.
    Inferred(&'a ChargeFailures),
}

impl<'a> Unkillable<'a> {
    /// What an event says of it. Of the counts of a time of failures only one does: that in which they are enough.
    pub(crate) fn of(event: &'a Event) -> Option<Self> {
        match event {
            // The node's end is a panic. Where the table of processes has none, they were all about to end.
            Event::OomDecision(decision) if decision.message.as_deref() == Some(OomKill::NONE_KILLABLE) => {
                let weighed = decision.candidates_weighed.unwrap_or(0) > 0;
                let none_may_be = decision.candidates.as_ref().is_some_and(Vec::is_empty);
                (weighed && none_may_be).then_some(Self::Said(decision))
            }
            Event::ChargeFailures(failures) => {
                let total = failures.ooms_total?;
                let before = total.saturating_sub(failures.ooms?);
                let asks = failures.last_task.as_ref()?.oom_score_adj?;
                (asks == OOM_SCORE_ADJ_MIN && before < OOMS && total >= OOMS).then_some(Self::Inferred(failures))
            }
            _ => None,
        }
    }

    /// The pod and the container whose limit was hit.
    pub(crate) fn place(&self) -> (&'a Option<Pod>, &'a Option<Container>) {
        match self {
            Self::Said(decision) => {
                decision.limit.as_ref().map_or((&None, &None), |limit| (&limit.pod, &limit.container))
            }
            Self::Inferred(failures) => (&failures.pod, &failures.container),
        }
    }

    /// The limit that was hit.
    pub(crate) fn limit(&self) -> Option<&'a Limit> {
        match self {
            Self::Said(decision) => decision.limit.as_ref(),
            Self::Inferred(failures) => failures.limit.as_ref(),
        }
    }

    /// Who asked for more.
    pub(crate) fn trigger(&self) -> Option<&'a Task> {
        match self {
            Self::Said(decision) => Some(&decision.trigger),
            Self::Inferred(failures) => failures.last_task.as_ref(),
        }
    }
}

/// A limit at which nobody may be killed.
#[derive(Clone, Debug)]
pub(crate) struct LeftAlone {
    pub(crate) limit: Option<Limit>,
    pub(crate) trigger: Option<Task>,
    /// Since when it is inferred; `None` where the kernel says it.
    pub(crate) inferred_since: Option<i64>,
}

impl LeftAlone {
    /// What a line at `at` says of it.
    pub(super) fn of(unkillable: &Unkillable<'_>, line: &Line, at: i64) -> Self {
        Self {
            limit: unkillable.limit().cloned(),
            trigger: unkillable.trigger().cloned(),
            inferred_since: match unkillable {
                Unkillable::Said(_) => None,
                Unkillable::Inferred(failures) => {
                    Some(crate::in_line(line, at, &failures.first_ts).unwrap_or(i64::MIN))
                }
            },
        }
    }
}
