//! Kills whose own line is missing, as logs are filtered and cut: the report says who was chosen, or the reaper who died.

use std::collections::VecDeque;

use oomtrace_model::KnownBy;

use super::{Decision, Killed, Outcome, Process};
use crate::kernel_log::form::When;

/// A kill's line is not farther from its report, also where a log was sorted by severity.
const SAME_KILL_NS: i128 = 60_000_000_000;
/// Nor are so many other kills between them, where no times tell.
const SAME_KILL_COUNT: usize = 16;
/// How many kills are kept.
const REMEMBERED: usize = 256;

/// The latest kills, so that none is reported twice.
#[derive(Default)]
pub(super) struct Kills(VecDeque<PresumedKill>);

struct PresumedKill {
    process: Process,
    when: When,
    cgroup: Option<String>,
    /// Its own line has not come, or not whole.
    presumed: bool,
}

impl PresumedKill {
    /// Whether it is this process, after so many other kills.
    fn is(&self, pid: u32, comm: &str, when: When, others: usize) -> bool {
        self.process.pid == pid
            && self.process.comm == comm
            && when.since(&self.when).map_or(others < SAME_KILL_COUNT, |pause| pause.abs() <= SAME_KILL_NS)
    }
}

impl Kills {
    /// Whether it was given out.
    pub(super) fn knows(&self, process: &Process, when: When) -> bool {
        self.find(process, when).is_some()
    }

    /// Whether a process with this pid was reported to be killed.
    pub(super) fn knows_pid(&self, pid: u32) -> bool {
        self.0.iter().any(|known| known.process.pid == pid)
    }

    /// The same of the victim of a report; in another cgroup a process of this pid is another.
    fn knows_in(&self, cgroup: Option<&String>, process: &Process, when: When) -> bool {
        let known = self.find(process, when);
        known.is_some_and(|known| known.cgroup.is_none() || cgroup.is_none() || known.cgroup.as_ref() == cgroup)
    }

    /// The latest of this process.
    fn find(&self, process: &Process, when: When) -> Option<&PresumedKill> {
        let mut known = self.0.iter().rev().zip(0..);
        known.find(|(known, others)| known.is(process.pid, &process.comm, when, *others)).map(|(known, _)| known)
    }

    /// Whether this is the line of a kill that was presumed without it.
    pub(super) fn is_late(&mut self, killed: &Killed) -> bool {
        let mut known = self.0.iter_mut().rev().zip(0..);
        let late =
            known.find(|(known, others)| known.presumed && known.is(killed.pid, &killed.comm, killed.when, *others));
        late.map(|(known, _)| known.presumed = false).is_some()
    }

    /// Takes a decision that is over. Where nothing says how it ended, the process that was `reaped`, or else was chosen, was killed:
    /// nothing but the kill comes after the choice.
    pub(super) fn take(&mut self, decision: &mut Decision, reaped: Option<Process>, last: When) {
        let by_reaper = reaped.is_some();
        let nobody = decision.victim.is_none() && decision.exiting.is_empty();
        let cgroup = decision.report.as_ref().and_then(|report| report.victim_cgroup.clone());
        if nobody && matches!(decision.outcome, Outcome::Unknown | Outcome::Killed) {
            decision.victim = reaped
                .or_else(|| chosen(decision).cloned())
                .filter(|process| !self.knows_in(cgroup.as_ref(), process, last))
                .map(|process| victim(decision, process, last))
                .or_else(|| take_largest(&mut decision.members));
        }
        if decision.victim.is_some() {
            decision.outcome = Outcome::Killed;
        }
        decision.known_by = match &decision.victim {
            Some(_) if !nobody => None,
            // From 5.0 the `oom-kill:` line names the process that is killed.
            Some(_) if decision.report.as_ref().is_some_and(|report| report.chosen.is_some()) => None,
            Some(_) if by_reaper => Some(KnownBy::Reaper),
            Some(_) => decision.elected.as_ref().map(|_| KnownBy::Choice),
            None if nobody && decision.outcome == Outcome::Unknown && was_killed(decision) => Some(KnownBy::Limit),
            None => None,
        };
        if decision.known_by == Some(KnownBy::Limit) {
            decision.outcome = Outcome::Killed;
        }
        for killed in decision.victim.iter().chain(&decision.members) {
            if self.0.len() == REMEMBERED {
                self.0.pop_front();
            }
            let process = Process { pid: killed.pid, comm: killed.comm.clone() };
            let presumed = killed.total_vm_bytes.is_none();
            self.0.push_back(PresumedKill { process, when: killed.when, cgroup: cgroup.clone(), presumed });
        }
    }
}

/// Whether the log says that somebody was killed, without anybody's name: `Task in /a killed as a result of limit of /b`, or
/// `Tasks in /a are going to be killed due to memory.oom.group set`.
fn was_killed(decision: &Decision) -> bool {
    let in_cgroup = decision.report.as_ref().is_some_and(|report| report.victim_cgroup.is_some());
    (in_cgroup || decision.group.is_some()) && decision.exiting.is_empty()
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
