//! The reaper's lines, reported with what is known of the victims.

use std::collections::VecDeque;

use oomtrace_model::{Event, Moment, OomReaped, OomVictim, Task};

use super::reported;
use crate::kernel_log::report::Reaped;

/// The reaper comes two seconds after the kill at the latest: of more victims than these it is reported without the rest.
const REMEMBERED: usize = 256;

/// A victim, and when it was reported.
pub(super) struct Observation {
    at: Moment,
    pid: Option<u32>,
    reaped: OomReaped,
}

impl Observation {
    pub(super) fn new(at: Moment, victim: &OomVictim) -> Self {
        let OomVictim { why: _, decision, pod, container, cgroup, task, memory: _ } = victim.clone();
        Self {
            at,
            pid: task.pid,
            reaped: OomReaped { decision, pod, container, cgroup, task, left_anon_bytes: None, since_kill_ms: None },
        }
    }
}

/// Victims whose reaper may come, and reapers whose victims are not reported yet: a decision is open until the next line that
/// is not its own, and the reaper may be faster.
#[derive(Default)]
pub(super) struct Reapings {
    victims: VecDeque<Observation>,
    early: VecDeque<(Moment, Reaped)>,
}

impl Reapings {
    /// Takes victims; gives the reapings that came before them.
    pub(super) fn killed(&mut self, victims: impl Iterator<Item = Observation>) -> Vec<oomtrace_model::Observation> {
        for victim in victims {
            if self.victims.len() == REMEMBERED {
                self.victims.pop_front();
            }
            self.victims.push_back(victim);
        }
        self.flush()
    }

    /// Takes a line of the reaper; gives it, where its victim is known.
    pub(super) fn reaped(&mut self, reaped: Reaped, at: Moment) -> Vec<oomtrace_model::Observation> {
        if let Some(victim) = self.take(reaped.process.pid) {
            return vec![tell(&reaped, at, Some(victim))];
        }
        self.early.push_back((at, reaped));
        let too_many = self.early.len() > REMEMBERED;
        self.early.pop_front_if(|_| too_many).map(|(at, reaped)| tell(&reaped, at, None)).into_iter().collect()
    }

    /// Gives all that waits.
    pub(super) fn flush(&mut self) -> Vec<oomtrace_model::Observation> {
        let early = std::mem::take(&mut self.early);
        early
            .into_iter()
            .map(|(at, reaped)| {
                let victim = self.take(reaped.process.pid);
                tell(&reaped, at, victim)
            })
            .collect()
    }

    fn take(&mut self, pid: u32) -> Option<Observation> {
        let at = self.victims.iter().rposition(|victim| victim.pid == Some(pid))?;
        self.victims.remove(at)
    }
}

fn tell(reaped: &Reaped, at: Moment, victim: Option<Observation>) -> oomtrace_model::Observation {
    let event = match victim {
        Some(victim) => OomReaped {
            left_anon_bytes: reaped.left_anon_bytes,
            since_kill_ms: milliseconds(victim.at, at),
            ..victim.reaped
        },
        None => OomReaped {
            task: Task { pid: Some(reaped.process.pid), comm: Some(reaped.process.comm.clone()), ..Task::default() },
            left_anon_bytes: reaped.left_anon_bytes,
            ..OomReaped::default()
        },
    };
    reported(at, Event::OomReaped(Box::new(event)))
}

#[expect(clippy::cast_precision_loss, reason = "a time between two lines is far below 2^53 nanoseconds")]
fn milliseconds(from: Moment, to: Moment) -> Option<f64> {
    let nanoseconds = match (from, to) {
        (Moment::Boot(from), Moment::Boot(to)) => to.checked_sub(from)? as f64,
        (Moment::Wall(from), Moment::Wall(to)) => (to.as_nanosecond() - from.as_nanosecond()) as f64,
        _ => return None,
    };
    Some(nanoseconds / 1e6)
}
