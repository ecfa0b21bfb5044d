//! Kills of whole groups that were reported at their first mark: the members follow, a line each.

use std::collections::VecDeque;

use oomtrace_model::{Event, Line, OomKill, OomVictim, Source, Why};

/// So long after the kill its members may follow, nanoseconds: on the slowest machine the kernel marks hundreds in this time.
const FOLLOWS: i64 = 2_000_000_000;

/// Kills whose members may be coming yet, each with its time.
#[derive(Default)]
pub(super) struct GroupKills(VecDeque<(i64, Line)>);

impl GroupKills {
    /// Takes the line of such a kill, or a member's; whether it is one of these.
    pub(super) fn take(&mut self, at: i64, line: &Line) -> bool {
        match &line.event {
            Event::OomKill(kill) if waits_for_members(kill) && line.source == Source::Kernel => {
                self.0.push_back((at, line.clone()));
                true
            }
            Event::OomVictim(victim) if victim.why == Why::Group => self.join(line, victim),
            _ => false,
        }
    }

    fn join(&mut self, line: &Line, victim: &OomVictim) -> bool {
        let group = self.0.iter_mut().rev().find_map(|(_, first)| match &mut first.event {
            Event::OomKill(kill) if kill.decision == victim.decision && first.node == line.node => Some(kill),
            _ => None,
        });
        group.map(|kill| kill.members.push(victim.task.clone())).is_some()
    }

    /// The time of the first kill.
    pub(super) fn first(&self) -> Option<i64> {
        self.0.front().map(|(at, _)| *at)
    }

    /// The kills whose members have come by now; all of them, where there is no time any more.
    pub(super) fn complete(&mut self, now: Option<i64>) -> Vec<(i64, Line)> {
        let is_complete = |at: i64| now.is_none_or(|now| now.saturating_sub(at) >= FOLLOWS);
        let complete = self.0.iter().take_while(|(at, _)| is_complete(*at)).count();
        self.0.drain(..complete).collect()
    }
}

/// A kill of a group that has no members yet, as the probes emit it.
fn waits_for_members(kill: &OomKill) -> bool {
    kill.group == Some(true) && kill.decision.is_some() && kill.members.is_empty()
}
