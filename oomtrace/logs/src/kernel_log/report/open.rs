//! A decision that lines still come for.

use oomtrace_model::SwapCounter;

use super::{
    Decision, Killed, Outcome, Process, Report,
    assembler::{Entry, differ},
    memory::{self, CgroupStats, Counted, Counter, NodeMemory},
    opening,
    presumed::{self, Kills},
    summary,
    tasks::{self, Candidate, Columns},
};
use crate::kernel_log::form::{Caller, When};

/// A report of more lines is given up: more than any node has processes.
pub(super) const MOST_LINES: usize = 1 << 18;
/// A report of more bytes is given up.
pub(super) const MOST_BYTES: usize = 1 << 25;
/// How many of a decision's members, and of its exiting processes, are kept.
pub(super) const MOST_MEMBERS: usize = 1024;
/// Lines of one decision are not so far apart, even on a slow console.
const LONGEST_PAUSE_NS: i128 = 10_000_000_000;
/// A kill so soon after a report is its own, where nothing else speaks against it.
const SHORT_PAUSE_NS: i128 = 1_000_000_000;

pub(super) struct Open {
    pub(super) decision: Decision,
    pub(super) stage: Stage,
    pub(super) caller: Option<Caller>,
    pub(super) columns: Option<Columns>,
    /// When the last line of it was logged.
    last: When,
    /// The last line added a member.
    added_member: bool,
    /// Lines of `memory.stat` are to be expected.
    stats_follow: bool,
    /// Kills at once after its own, for the same reason: of its group, if the victim's line comes again among them.
    followers: Vec<Killed>,
    /// Whom the reaper named before any kill was reported.
    reaped: Option<Process>,
    /// The `oom-kill:` line, to be read again when the victim's name is known better.
    summary: Option<String>,
    /// When a person asked for it, or for the next.
    pub(super) asked: Option<When>,
    lines: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is known of how it ended.
    Report,
    /// Somebody is killed, or was found exiting.
    Killing,
    /// It ended without a kill.
    Ended,
}

impl Open {
    pub(super) fn new(entry: Entry<'_>, decision: Decision, stage: Stage) -> Self {
        Self {
            decision: Decision { when: entry.when, ..decision },
            stage,
            caller: entry.caller,
            columns: None,
            last: entry.when,
            added_member: false,
            stats_follow: false,
            followers: Vec::new(),
            reaped: None,
            summary: None,
            asked: None,
            lines: 0,
            bytes: 0,
        }
    }

    /// Whether the line cannot be of this decision: of another caller, or of another time.
    pub(super) fn is_foreign(&self, entry: Entry<'_>) -> bool {
        differ(self.caller, entry.caller) || !is_near(entry.when, self.last)
    }

    /// Notes that the line is of this decision.
    pub(super) fn saw(&mut self, entry: Entry<'_>) {
        // The first lines may have been cut out without theirs.
        if self.decision.when == When::default() {
            self.decision.when = entry.when;
        }
        self.last = entry.when;
        self.added_member = false;
    }

    /// Counts a line, of whatever; whether that is enough.
    pub(super) fn is_too_long(&mut self, bytes: usize) -> bool {
        if self.stage != Stage::Report {
            return false;
        }
        self.lines += 1;
        self.bytes += bytes;
        let too_long = self.lines > MOST_LINES || self.bytes > MOST_BYTES;
        if let Some(report) = self.decision.report.as_mut().filter(|_| too_long) {
            report.given_up = true;
        }
        too_long
    }

    /// A line that says something only inside of a report; whether it does.
    pub(super) fn detail(&mut self, entry: Entry<'_>) -> bool {
        let Some(report) = self.decision.report.as_deref_mut() else { return false };
        // The table is the last before the line that ends the report.
        let found = match &self.columns {
            Some(columns) => row(report, columns, entry.text),
            None => {
                (self.stats_follow && stat(report, entry.text))
                    || of_trigger(report, entry.text)
                    || node(report, entry.text)
            }
        };
        if found {
            self.saw(entry);
        }
        found
    }

    pub(super) fn counter(&mut self, whose: Counted, counter: Counter) {
        let Some(report) = &mut self.decision.report else { return };
        match whose {
            Counted::Memory => report.memory = Some(counter),
            Counted::Swap => (report.swap, report.swap_counter) = (Some(counter), Some(SwapCounter::Swap)),
            Counted::MemoryAndSwap => {
                (report.swap, report.swap_counter) = (Some(counter), Some(SwapCounter::MemoryAndSwap));
            }
            Counted::Kernel => report.kernel = Some(counter),
        }
    }

    pub(super) fn stats(&mut self, stats: CgroupStats) {
        let Some(report) = &mut self.decision.report else { return };
        self.stats_follow = stats.values.is_empty();
        if report.stats.len() < CgroupStats::MOST_CGROUPS {
            report.stats.push(stats);
        }
    }

    pub(super) fn limit(&mut self, below: Option<&str>, limit: Option<&str>) {
        let Some(report) = &mut self.decision.report else { return };
        report.oom_cgroup = limit.map(ToOwned::to_owned);
        report.victim_cgroup = below.map(ToOwned::to_owned);
    }

    /// Reads the `oom-kill:` line, with the names known from the table, or from the line of the kill.
    pub(super) fn summary(&mut self, text: &str) {
        let Some(report) = self.decision.report.as_deref_mut() else { return };
        let victim = self.decision.victim.as_ref();
        let read = summary::read(text, |pid| {
            let killed = victim.filter(|victim| victim.pid == pid).map(|victim| victim.comm.as_str());
            killed.or_else(|| report.candidates.iter().find(|row| row.pid == pid).map(|row| row.comm.as_str()))
        });
        let Some(summary) = read else { return };
        report.constraint = Some(summary.constraint);
        report.nodemask = summary.nodemask;
        report.cpuset = summary.cpuset;
        report.mems_allowed = summary.mems_allowed;
        report.global = summary.global;
        report.oom_cgroup = summary.oom_cgroup;
        report.victim_cgroup = summary.task_cgroup;
        report.chosen = Some(Process { pid: summary.pid, comm: summary.comm });
        report.chosen_uid = summary.uid;
        self.columns = None;
        if self.summary.is_none() {
            self.summary = Some(text.to_owned());
        }
    }

    /// What is left of the `oom-kill:` line.
    pub(super) fn cut_summary(&mut self, rest: summary::Rest<'_>) {
        let Some(report) = self.decision.report.as_deref_mut() else { return };
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        report.constraint = Some(rest.constraint.to_owned());
        report.nodemask = rest.nodemask;
        report.cpuset = owned(rest.cpuset);
        report.mems_allowed = rest.mems_allowed;
        report.global = Some(rest.global);
        report.oom_cgroup = owned(rest.oom_cgroup);
        report.victim_cgroup = owned(rest.task_cgroup);
        report.chosen = rest.pid.zip(rest.comm).map(|(pid, comm)| Process { pid, comm: comm.to_owned() });
        self.columns = None;
    }

    /// The name of a process in this report.
    pub(super) fn name_of(&self, pid: u32) -> Option<String> {
        let chosen = presumed::chosen(&self.decision).filter(|chosen| chosen.pid == pid);
        let row = || self.row(pid).map(|row| row.comm.clone());
        chosen.map(|chosen| chosen.comm.clone()).or_else(row)
    }

    fn row(&self, pid: u32) -> Option<&Candidate> {
        self.decision.report.as_ref()?.candidates.iter().find(|row| row.pid == pid)
    }

    /// The reaper names a process that was not known to be killed: the victim, where this report chose it or could.
    pub(super) fn reaped(&mut self, process: &Process, when: When) {
        let row = self.row(process.pid);
        let can_be = match self.decision.report.as_ref().and_then(|report| report.chosen.as_ref()) {
            Some(chosen) => chosen.pid == process.pid || row.is_some_and(|row| row.tgid == chosen.pid),
            None => row.is_some() || self.decision.report.as_ref().is_some_and(|report| report.candidates_total == 0),
        };
        if self.stage == Stage::Report && is_near(when, self.last) && can_be {
            self.reaped.get_or_insert_with(|| process.clone());
        }
    }

    /// The reaper's word is all that there is of it.
    pub(super) fn reaped_alone(&mut self, process: Process) {
        self.reaped = Some(process);
    }

    /// Whether a process is one that this decision killed, or found exiting.
    pub(super) fn has(&self, pid: u32) -> bool {
        let Decision { victim, members, exiting, .. } = &self.decision;
        let killed = victim.iter().chain(members).chain(&self.followers).any(|killed| killed.pid == pid);
        killed || exiting.iter().chain(&self.reaped).any(|process| process.pid == pid)
    }

    /// Takes the line of a kill, where it is of this decision; whether it is.
    pub(super) fn kill(&mut self, entry: Entry<'_>, killed: &Killed) -> bool {
        match self.stage {
            Stage::Report if self.chose(killed, entry.caller) => self.victim(killed.clone()),
            Stage::Killing if self.is_victim_among_followers(killed) => {
                self.decision.members.append(&mut self.followers);
            }
            Stage::Killing if self.is_again(killed) => {}
            Stage::Killing if self.awaits(killed.pid) => self.victim(killed.clone()),
            Stage::Killing if self.has_member(killed) => {
                self.saw(entry);
                self.member(killed.clone());
                return true;
            }
            Stage::Killing if self.has_follower(killed) => self.followers.push(killed.clone()),
            _ => return false,
        }
        self.saw(entry);
        true
    }

    /// Whether the killed process can be the one that this report chose.
    fn chose(&self, killed: &Killed, caller: Option<Caller>) -> bool {
        // The line before was "Kill process", and a child of it may be killed instead.
        if self.decision.elected.is_some() {
            return true;
        }
        let Some(report) = &self.decision.report else { return false };
        let row = self.row(killed.pid);
        let same_caller = caller.is_some() && caller == self.caller;
        match (&report.chosen, row) {
            (Some(chosen), _) if chosen.pid == killed.pid => true,
            // Its first thread has gone, and another is named: `find_lock_task_mm`.
            (Some(chosen), Some(row)) => row.tgid == chosen.pid,
            (Some(chosen), None) => report.candidates_total == 0 && (same_caller || killed.comm == chosen.comm),
            (None, Some(_)) => true,
            (None, None) => same_caller || self.is_next(report, killed),
        }
    }

    /// Whether the kill follows at once, and for the same reason, where the report lists nobody (`vm.oom_dump_tasks`) and
    /// chooses nobody (before 5.0). Else lines are missing: better a kill without a limit than one with another's.
    fn is_next(&self, report: &Report, killed: &Killed) -> bool {
        let of_cgroup = report.memory.is_some() || report.oom_cgroup.is_some() || !report.stats.is_empty();
        let reason = if of_cgroup { "Memory cgroup" } else { "Out of memory" };
        (of_cgroup || report.node.is_some() || report.global == Some(true))
            && report.candidates_total == 0
            // From 5.1 the reason is in the same line: where there is none, a hand left it out.
            && match killed.message.as_deref() {
                Some(message) => message.starts_with(reason),
                None => report.constraint.is_some(),
            }
            && self.is_soon(killed.when)
    }

    fn victim(&mut self, killed: Killed) {
        self.stage = Stage::Killing;
        let named = self.decision.report.as_ref().and_then(|report| report.chosen.as_ref());
        let reread = named.is_some_and(|chosen| chosen.pid == killed.pid && chosen.comm != killed.comm);
        self.decision.victim = Some(killed);
        if let Some(summary) = self.summary.take().filter(|_| reread) {
            self.summary(&summary);
        }
    }

    /// Whether this kill was reported already.
    fn is_again(&self, killed: &Killed) -> bool {
        let Decision { victim, members, group, .. } = &self.decision;
        let same = |known: &Killed| {
            known.pid == killed.pid
                && known.message == killed.message
                && (group.is_some()
                    || known.total_vm_bytes.is_none()
                    || Killed { when: killed.when, ..known.clone() } == *killed)
        };
        victim.iter().chain(members).chain(&self.followers).any(same)
    }

    /// Whether it is the victim once more, behind others: as a member of the group, whose `Tasks in …` is missing.
    fn is_victim_among_followers(&self, killed: &Killed) -> bool {
        let again = |victim: &Killed| {
            (victim.pid, &victim.message) == (killed.pid, &killed.message)
                && killed.when.since(&victim.when).is_some_and(|pause| pause > 0)
        };
        !self.followers.is_empty() && self.decision.victim.as_ref().is_some_and(again)
    }

    /// Whether a kill comes at once after this one, and nothing tells yet whether it is of the same group.
    fn has_follower(&self, killed: &Killed) -> bool {
        let Decision { victim, group, .. } = &self.decision;
        group.is_none()
            && victim.as_ref().is_some_and(|victim| victim.message == killed.message)
            && self.followers.len() < MOST_MEMBERS
            && self.is_soon(killed.when)
    }

    /// Those that turn out to be decisions of their own.
    pub(super) fn take_followers(&mut self) -> Vec<Killed> {
        std::mem::take(&mut self.followers)
    }

    /// Whether it can be a member of the group that is being killed.
    fn has_member(&self, killed: &Killed) -> bool {
        let Decision { victim, group, report, .. } = &self.decision;
        let all_listed = report
            .as_ref()
            .is_some_and(|report| report.candidates_total > 0 && report.candidates_total == report.candidates.len());
        let can_be_listed = group.is_some() && (!all_listed || self.row(killed.pid).is_some());
        (group.is_some() || !self.decision.members.is_empty())
            && victim.as_ref().is_none_or(|victim| victim.message == killed.message)
            && (can_be_listed || self.is_soon(killed.when))
    }

    /// Whether this process was chosen, and its own line has not come: behind `Tasks in …` it is missing.
    pub(super) fn awaits(&self, pid: u32) -> bool {
        self.decision.victim.is_none() && presumed::chosen(&self.decision).is_some_and(|chosen| chosen.pid == pid)
    }

    fn is_soon(&self, when: When) -> bool {
        when.since(&self.last).is_none_or(|pause| (0..SHORT_PAUSE_NS).contains(&pause))
    }

    fn member(&mut self, killed: Killed) {
        if self.decision.members.len() < MOST_MEMBERS {
            self.decision.members.push(killed);
            self.added_member = true;
        } else {
            self.decision.members_omitted += 1;
        }
    }

    pub(super) fn take_last_member(&mut self) -> Option<Killed> {
        if self.added_member { self.decision.members.pop() } else { self.followers.pop() }
    }

    pub(super) fn exiting(&mut self, entry: Entry<'_>, process: Process) {
        self.saw(entry);
        self.stage = Stage::Killing;
        if self.decision.exiting.len() < MOST_MEMBERS {
            self.decision.exiting.push(process);
        }
    }

    /// The decision as it ended, as far as `kills` does not know it already.
    pub(super) fn finish(self, kills: &mut Kills) -> Decision {
        let mut decision = self.decision;
        if decision.victim.is_some() || !decision.members.is_empty() {
            decision.outcome = Outcome::Killed;
        } else if !decision.exiting.is_empty() && decision.outcome == Outcome::Unknown {
            decision.outcome = Outcome::AlreadyExiting;
        }
        kills.take(&mut decision, self.reaped, self.last);
        if let Some(report) = decision.report.as_deref_mut() {
            infer(report);
            let total = total_pages(report);
            tasks::keep_most(&mut report.candidates, total);
        }
        decision
    }
}

/// Whether two lines may be of one decision by their times.
pub(super) fn is_near(one: When, other: When) -> bool {
    one.since(&other).is_none_or(|pause| pause.abs() <= LONGEST_PAUSE_NS)
}

fn row(report: &mut Report, columns: &Columns, text: &str) -> bool {
    let Some(row) = columns.row(text) else { return false };
    let total = total_pages(report);
    report.candidates.push(row);
    report.candidates_total += 1;
    tasks::prune(&mut report.candidates, total);
    true
}

fn stat(report: &mut Report, text: &str) -> bool {
    let Some((name, value)) = memory::stat(text) else { return false };
    if let Some(stats) = report.stats.last_mut().filter(|stats| stats.values.len() < CgroupStats::MOST_VALUES) {
        stats.values.push((name.to_owned(), value));
    }
    true
}

fn of_trigger(report: &mut Report, text: &str) -> bool {
    let Some(trigger) = &mut report.trigger else { return false };
    if let Some((pid, uid)) = opening::stack_of(text, &trigger.comm) {
        trigger.pid = trigger.pid.or(Some(pid));
        trigger.uid = trigger.uid.or(uid);
        return true;
    }
    let Some((cpuset, nodes)) = opening::cpuset_of(text, &trigger.comm) else { return false };
    report.cpuset.get_or_insert_with(|| cpuset.to_owned());
    report.mems_allowed.get_or_insert_with(|| nodes.to_owned());
    true
}

fn node(report: &mut Report, text: &str) -> bool {
    if text == "Mem-Info:" {
        report.node.get_or_insert_default();
        return true;
    }
    report.node.as_mut().is_some_and(|node| node.take(text))
}

/// What other lines tell where the `oom-kill:` line is missing: before 5.0, or where it was cut.
fn infer(report: &mut Report) {
    if report.oom_cgroup.is_none() && report.global != Some(true) {
        // The first is of the cgroup over its limit (`mem_cgroup_print_oom_info`).
        report.oom_cgroup = report.stats.first().map(|stats| stats.cgroup.clone());
    }
    if report.global.is_none() {
        let of_a_cgroup = report.memory.is_some() || report.oom_cgroup.is_some() || report.victim_cgroup.is_some();
        report.global = if of_a_cgroup { Some(false) } else { report.node.is_some().then_some(true) };
    }
    if report.constraint.is_none() && report.global == Some(false) {
        // `constrained_alloc`: always so for a cgroup's limit, and only then.
        report.constraint = Some("MEMCG".to_owned());
    }
}

/// RAM and swap, or the limit with its swap, in pages of 4 KiB; as far as it is known.
fn total_pages(report: &Report) -> u64 {
    let bytes = |size: Option<u64>| size.unwrap_or(0) / 4096;
    if let Some(NodeMemory { ram_pages, swap_total_bytes, .. }) = report.node.as_deref() {
        return ram_pages.unwrap_or(0) + bytes(*swap_total_bytes);
    }
    bytes(report.memory.and_then(|memory| memory.limit_bytes))
}
