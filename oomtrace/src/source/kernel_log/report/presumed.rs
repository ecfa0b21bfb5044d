//! Kills whose own line is missing, as logs are filtered and cut: the report says who was chosen, or the reaper who died.

use std::collections::VecDeque;

use super::{Decision, Killed, Outcome, Process};
use crate::source::kernel_log::form::When;

/// A kill's line is not farther from its report, also where a log was sorted by severity.
const SAME_KILL_NS: i128 = 60_000_000_000;
/// How many kills are kept.
const REMEMBERED: usize = 256;

/// The latest kills, so that none is told twice.
#[derive(Default)]
pub(super) struct Kills(VecDeque<Known>);

struct Known {
    process: Process,
    when: When,
    /// Its own line has not come, or not whole.
    presumed: bool,
}

impl Known {
    fn is(&self, pid: u32, comm: &str, when: When) -> bool {
        self.process.pid == pid
            && self.process.comm == comm
            && when.since(&self.when).is_none_or(|pause| pause.abs() <= SAME_KILL_NS)
    }
}

impl Kills {
    /// Whether it was told.
    pub(super) fn knows(&self, process: &Process, when: When) -> bool {
        self.0.iter().any(|known| known.is(process.pid, &process.comm, when))
    }

    /// Whether this is the line of a kill that was told for want of it.
    pub(super) fn is_late(&mut self, killed: &Killed) -> bool {
        let presumed = |known: &&mut Known| known.presumed && known.is(killed.pid, &killed.comm, killed.when);
        self.0.iter_mut().find(presumed).map(|known| known.presumed = false).is_some()
    }

    /// Takes a decision that is over. Where nothing says how it ended, whoever was `reaped`, or else was chosen, was killed:
    /// nothing but the kill comes after the choice.
    pub(super) fn take(&mut self, decision: &mut Decision, reaped: Option<Process>, last: When) {
        let nobody = decision.victim.is_none() && decision.exiting.is_empty();
        if nobody && matches!(decision.outcome, Outcome::Unknown | Outcome::Killed) {
            decision.victim = reaped
                .or_else(|| chosen(decision).cloned())
                .filter(|process| !self.knows(process, last))
                .map(|process| victim(decision, process, last))
                .or_else(|| take_largest(&mut decision.members));
        }
        if decision.victim.is_some() {
            decision.outcome = Outcome::Killed;
        }
        for killed in decision.victim.iter().chain(&decision.members) {
            if self.0.len() == REMEMBERED {
                self.0.pop_front();
            }
            let process = Process { pid: killed.pid, comm: killed.comm.clone() };
            self.0.push_back(Known { process, when: killed.when, presumed: killed.total_vm_bytes.is_none() });
        }
    }
}

/// Who was to be killed.
pub(super) fn chosen(decision: &Decision) -> Option<&Process> {
    let of_report = decision.report.as_ref().and_then(|report| report.chosen.as_ref());
    of_report.or_else(|| decision.elected.as_ref().map(|elected| &elected.process))
}

/// Of a group whose report and first line are missing, the largest is likely to be the victim.
fn take_largest(members: &mut Vec<Killed>) -> Option<Killed> {
    let (at, _) = members.iter().enumerate().max_by_key(|(_, member)| member.rss_anon_bytes)?;
    Some(members.remove(at))
}

fn victim(decision: &Decision, process: Process, when: When) -> Killed {
    let report = decision.report.as_deref();
    let is_chosen = report.and_then(|report| report.chosen.as_ref()) == Some(&process);
    let uid = report.filter(|_| is_chosen).and_then(|report| report.chosen_uid);
    Killed { when, pid: process.pid, comm: process.comm, uid, ..Killed::default() }
}
