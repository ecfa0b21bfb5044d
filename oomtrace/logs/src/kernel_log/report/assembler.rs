//! Puts lines together to decisions. See [`super`] for the lines and their order.

use super::{
    Decision, Elected, Item, Killed, Outcome, Process, Report, Trigger, killed,
    memory::{self, CgroupStats, Counted, Counter},
    open::{Open, Stage, is_near},
    opening,
    pending::{Further, Pending},
    presumed::Kills,
    summary,
    tasks::Columns,
};
use crate::kernel_log::form::{Caller, Message, When};

/// Puts lines together to decisions.
///
/// Nothing in the log says that a decision is over, as the members of a group may follow. So it is reported
///
/// - when a line comes that cannot be part of it: the start of another report, or a kill that is not its own;
/// - when the log is over, or has been silent for a while: [`flush`](Self::flush).
///
/// A `Killed process` line belongs to the decision before it where it is
///
/// - the first one after a report (or "Kill process", before 5.1), and of its chosen process or of a thread of it;
/// - a further one after `Tasks in …`, with the same reason, of a process of the report's table, or at once; but not the
///   last one before another `Tasks in …`, which is the victim of a decision without a report;
/// - at once after another with the same reason, where that other's victim is reported once more behind it: a group whose
///   `Tasks in …` is missing;
/// - the same process again, or one that was presumed while this line was missing ([`presumed`](super::presumed)).
///
/// Never does it, if 10 seconds are between the two, or if the log names the callers and they differ: all lines of a
/// decision are printed by one thread. Any other kill is a decision without a report.
#[derive(Default)]
pub struct Assembler {
    open: Option<Open>,
    pending: Option<Pending>,
    kills: Kills,
    /// When a person asked for a kill that has not come.
    asked: Option<When>,
    /// Processes that the reaper names, and whose kill is not in the log.
    orphans: Vec<Orphan>,
}

/// What the reaper says of a process whose kill is not in the log.
struct Orphan {
    when: When,
    caller: Option<Caller>,
    process: Process,
}

/// More of them are not kept.
const MOST_ORPHANS: usize = 64;

/// A line.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) when: When,
    pub(super) caller: Option<Caller>,
    pub(super) text: &'a str,
}

impl Entry<'_> {
    /// Without the blanks that a console puts behind a line. A row of the table ends with a name, which may be blank, and a
    /// part of a line (`Task in `) with one of its own.
    fn trimmed(self) -> Self {
        let text = match self.text {
            text if text.starts_with('[') || text.starts_with("Task") => text,
            text => text.trim_end_matches([' ', '\t', '\r']),
        };
        Self { text, ..self }
    }
}

impl Assembler {
    /// An assembler at the start of a log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the kernel said; gives what is complete by it.
    pub fn push(&mut self, message: &Message<'_>) -> Vec<Item> {
        let mut items = Vec::new();
        let entry = Entry { when: message.when, caller: message.caller, text: &message.text };
        // Behind the line that ends a report comes the kill: what was to follow of that line will not.
        let is_of_kill = |text: &str| {
            text.contains("Killed process ") || text.contains(" invoked oom-killer: ") || killed::is_reason(text)
        };
        if is_of_kill(entry.text)
            && let Some(cut) = self.pending.take_if(|pending| summary::read_rest(&pending.text).is_some())
        {
            self.on_cut_summary(Entry { when: cut.when, caller: cut.caller, text: &cut.text }, &mut items);
        }
        if let Some(mut pending) = self.pending.take() {
            let same_record = message.continues || (entry.when == pending.when && entry.when != When::default());
            let same_caller = !differ(pending.caller, entry.caller);
            match pending.further(entry.text, same_record, same_caller) {
                Further::Last(whole) => {
                    let whole = Entry { when: pending.when, caller: pending.caller, text: &whole };
                    self.take(whole, &mut items);
                    return items;
                }
                Further::Part => {
                    self.pending = Some(pending);
                    return items;
                }
                Further::Other => self.pending = Some(pending),
                Further::GivenUp if pending.is_kill() => self.give_up(pending, &mut items),
                Further::GivenUp => {}
            }
        }
        self.take(entry, &mut items);
        items
    }

    /// Gives what is open. Further lines of it would be reported as decisions of their own: call it at the end of the log, and
    /// while the log goes on only when it has been silent for a second or more and is [`settled`](Self::settled), or for
    /// much longer.
    pub fn flush(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        if let Some(pending) = self.pending.take() {
            self.give_up(pending, &mut items);
        }
        self.close(&mut items);
        for Orphan { when, caller, process } in std::mem::take(&mut self.orphans) {
            if self.kills.knows_pid(process.pid) {
                continue;
            }
            // The reaper takes the memory of nobody but a victim.
            let mut open = Open::new(Entry { when, caller, text: "" }, Decision::default(), Stage::Report);
            open.reaped_alone(process);
            items.push(Item::Decision(Box::new(open.finish(&mut self.kills))));
        }
        items
    }

    /// Whether nothing is open, or only such as has had its kill. A report that is still being printed is not settled: a
    /// slow console can hold it up.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.pending.is_none() && self.open.as_ref().is_none_or(|open| open.stage != Stage::Report)
    }

    fn give_up(&mut self, pending: Pending, items: &mut Vec<Item>) {
        let is_kill = pending.is_kill();
        let Pending { when, caller, text, .. } = pending;
        if !is_kill {
            self.on_cut_summary(Entry { when, caller, text: &text }, items);
            return;
        }
        let name_of = |pid| self.open.as_ref().and_then(|open| open.name_of(pid));
        match killed::torn(&text, when, name_of) {
            Some(killed) => drop(self.on_killed(Entry { when, caller, text: &text }, killed, items)),
            None => items.push(Item::Torn { when, text }),
        }
    }

    fn take(&mut self, entry: Entry<'_>, items: &mut Vec<Item>) {
        if let Some(open) = &mut self.open
            && open.is_too_long(entry.text.len())
        {
            self.close(items);
        }
        let spaced = summary::without_blanks(entry.text);
        let entry = Entry { text: spaced.as_deref().unwrap_or(entry.text), ..entry }.trimmed();
        // A record of several lines: either one of them has a name with line ends in it, or they are many.
        if !self.fact(entry, items) && !self.detail(entry) && entry.text.contains('\n') {
            for text in entry.text.split('\n') {
                let line = Entry { text, ..entry }.trimmed();
                let _ = self.fact(line, items) || self.detail(line);
            }
        }
    }

    /// A line that says what it is.
    fn fact(&mut self, entry: Entry<'_>, items: &mut Vec<Item>) -> bool {
        let Entry { text, when, .. } = entry;
        match text.as_bytes().first() {
            None => return true,
            Some(b'o') => {
                if summary::starts(text) {
                    return self.on_summary(entry, items);
                }
                if let Some(reaped) = killed::reaped(text, when) {
                    if let Some(open) = self.open.as_mut().filter(|_| !self.kills.knows(&reaped.process, when)) {
                        open.reaped(&reaped.process, when);
                    }
                    let pid = reaped.process.pid;
                    let known = self.kills.knows_pid(pid) || self.open.as_ref().is_some_and(|open| open.has(pid));
                    if !known && self.orphans.len() < MOST_ORPHANS {
                        self.orphans.push(Orphan { when, caller: entry.caller, process: reaped.process.clone() });
                    }
                    items.push(Item::Reaped(reaped));
                    return true;
                }
                if let Some(reports) = killed::suppressed(text) {
                    items.push(Item::Suppressed { when, reports });
                    return true;
                }
            }
            Some(b'm' | b's' | b'k' | b'S') => {
                if let Some((whose, counter)) = memory::counter(text) {
                    return self.on_counter(entry, whose, counter, items);
                }
                if killed::asked(text) {
                    self.asked = Some(when);
                }
            }
            Some(b'M' | b'T') => {
                if let Some(stats) = memory::stats(text) {
                    return self.on_stats(entry, stats, items);
                }
                if let Some((below, limit)) = summary::limit_of(text) {
                    return self.on_limit(entry, below, limit, items);
                }
                if let Some(group) = killed::group(text) {
                    return self.on_group(entry, group, items);
                }
                if text.starts_with("Task") || killed::is_reason(text) {
                    self.pending = Pending::new(text, when, entry.caller);
                }
            }
            Some(b'[') => {
                if let Some(columns) = Columns::read(text) {
                    return self.on_table(entry, columns, items);
                }
            }
            Some(b'K') => {
                if let Some(message) = killed::panic(text) {
                    return self.on_panic(entry, message, items);
                }
            }
            Some(b'O') if killed::none_killable(text) => return self.on_none_killable(entry, items),
            Some(b'O') if killed::is_reason(text) => self.pending = Pending::new(text, when, entry.caller),
            Some(_) => {}
        }
        self.kill(entry, items)
    }

    /// A line of a kill, or of a report's start, which may begin with anything.
    fn kill(&mut self, entry: Entry<'_>, items: &mut Vec<Item>) -> bool {
        let Entry { text, when, caller } = entry;
        if text.contains("ill process ") || text.contains("illed process ") {
            if let Some(killed) = killed::killed(text, when) {
                return self.on_killed(entry, killed, items);
            }
            if let Some(elected) = killed::elected(text) {
                return self.on_elected(entry, elected, items);
            }
            if killed::speaks_of_a_kill(text) {
                self.pending = Pending::new(text, when, caller);
                return true;
            }
        }
        if text.contains("OOM victim ")
            && let Some(process) = killed::exiting(text)
        {
            return self.on_exiting(entry, process, items);
        }
        if text.contains(" invoked oom-killer: ")
            && let Some(trigger) = opening::invoked(text)
        {
            return self.on_invoked(entry, trigger, items);
        }
        false
    }

    /// A line that says something only inside of a report.
    fn detail(&mut self, entry: Entry<'_>) -> bool {
        match &mut self.open {
            Some(open) if open.stage == Stage::Report && !differ(open.caller, entry.caller) => open.detail(entry),
            _ => false,
        }
    }

    fn close(&mut self, items: &mut Vec<Item>) {
        let Some(mut open) = self.open.take() else { return };
        let (caller, followers) = (open.caller, open.take_followers());
        let asked = open.asked;
        let mut decision = open.finish(&mut self.kills);
        if decision.is_of_cgroup() {
            // A person asks for a kill on the node's behalf: it is still to come.
            decision.asked = false;
            self.asked = self.asked.or(asked);
        }
        items.push(Item::Decision(Box::new(decision)));
        for killed in followers {
            let entry = Entry { when: killed.when, caller, text: "" };
            let decision = Decision { victim: Some(killed), ..Decision::default() };
            items.push(Item::Decision(Box::new(Open::new(entry, decision, Stage::Killing).finish(&mut self.kills))));
        }
    }

    /// Ends what is open, and starts anew.
    fn start(&mut self, entry: Entry<'_>, decision: Decision, stage: Stage, items: &mut Vec<Item>) {
        self.close(items);
        let asked = self.asked.take().filter(|asked| is_near(entry.when, *asked));
        let decision = Decision { asked: asked.is_some(), ..decision };
        self.open.insert(Open::new(entry, decision, stage)).asked = asked;
    }

    fn on_invoked(&mut self, entry: Entry<'_>, mut trigger: Trigger, items: &mut Vec<Item>) -> bool {
        if let Some(Caller::Task(id)) = entry.caller {
            trigger.pid = Some(id);
        }
        let nodemask = trigger.nodemask.clone();
        let report = Report { trigger: Some(trigger), nodemask, ..Report::default() };
        self.start(entry, Decision { report: Some(Box::new(report)), ..Decision::default() }, Stage::Report, items);
        true
    }

    /// The report that a line belongs to. Where none is open, or the open one has `already` such a line, it is one of
    /// which the start is missing.
    fn report(
        &mut self,
        entry: Entry<'_>,
        already: impl Fn(&Report) -> bool,
        items: &mut Vec<Item>,
    ) -> Option<&mut Open> {
        let fits = self.open.as_ref().is_some_and(|open| {
            open.stage == Stage::Report
                && !open.is_foreign(entry)
                && open.decision.elected.is_none()
                && open.decision.report.as_ref().is_some_and(|report| !already(report))
        });
        if !fits {
            let report = Report { start_missing: true, ..Report::default() };
            self.start(entry, Decision { report: Some(Box::new(report)), ..Decision::default() }, Stage::Report, items);
        }
        let open = self.open.as_mut()?;
        open.saw(entry);
        Some(open)
    }

    fn on_counter(&mut self, entry: Entry<'_>, whose: Counted, counter: Counter, items: &mut Vec<Item>) -> bool {
        let already = |report: &Report| match whose {
            Counted::Memory => report.memory.is_some(),
            Counted::Swap | Counted::MemoryAndSwap => report.swap.is_some(),
            Counted::Kernel => report.kernel.is_some(),
        };
        if let Some(open) = self.report(entry, already, items) {
            open.counter(whose, counter);
        }
        true
    }

    fn on_stats(&mut self, entry: Entry<'_>, stats: CgroupStats, items: &mut Vec<Item>) -> bool {
        if let Some(open) = self.report(entry, |report| report.candidates_total > 0, items) {
            open.stats(stats);
        }
        true
    }

    fn on_limit(&mut self, entry: Entry<'_>, below: Option<&str>, limit: Option<&str>, items: &mut Vec<Item>) -> bool {
        let already = |report: &Report| report.oom_cgroup.is_some() || report.victim_cgroup.is_some();
        if let Some(open) = self.report(entry, already, items) {
            open.limit(below, limit);
        }
        true
    }

    fn on_table(&mut self, entry: Entry<'_>, columns: Columns, items: &mut Vec<Item>) -> bool {
        if let Some(open) = self.report(entry, |report| report.candidates_total > 0, items) {
            open.columns = Some(columns);
        }
        true
    }

    fn on_summary(&mut self, entry: Entry<'_>, items: &mut Vec<Item>) -> bool {
        // A pager that cuts lines puts a mark.
        if entry.text.ends_with(['>', '…']) && self.on_cut_summary(entry, items) {
            return true;
        }
        if summary::read(entry.text, |_| None).is_none() {
            self.pending = Pending::new(entry.text, entry.when, entry.caller);
            return true;
        }
        if let Some(open) = self.report(entry, |report| report.chosen.is_some(), items) {
            open.summary(entry.text);
        }
        true
    }

    fn on_cut_summary(&mut self, entry: Entry<'_>, items: &mut Vec<Item>) -> bool {
        let Some(rest) = summary::read_rest(entry.text) else { return false };
        if let Some(open) = self.report(entry, |report| report.chosen.is_some(), items) {
            open.cut_summary(rest);
        }
        true
    }

    fn on_elected(&mut self, entry: Entry<'_>, elected: Elected, items: &mut Vec<Item>) -> bool {
        match &mut self.open {
            Some(open) if open.stage == Stage::Report && open.decision.elected.is_none() && !open.is_foreign(entry) => {
                open.saw(entry);
                open.decision.elected = Some(elected);
            }
            _ => {
                let decision = Decision { elected: Some(elected), ..Decision::default() };
                self.start(entry, decision, Stage::Report, items);
            }
        }
        true
    }

    fn on_killed(&mut self, entry: Entry<'_>, killed: Killed, items: &mut Vec<Item>) -> bool {
        let mut open = self.open.as_mut().filter(|open| !open.is_foreign(entry));
        // The pid may have been another's, whose own line is missing.
        let awaited = open.as_ref().is_some_and(|open| open.awaits(killed.pid));
        if !awaited && self.kills.is_late(&killed) {
            return true;
        }
        if open.as_mut().is_some_and(|open| open.kill(entry, &killed)) {
            return true;
        }
        self.start(entry, Decision { victim: Some(killed), ..Decision::default() }, Stage::Killing, items);
        true
    }

    fn on_group(&mut self, entry: Entry<'_>, group: &str, items: &mut Vec<Item>) -> bool {
        let mut decision = Decision { group: Some(group.to_owned()), ..Decision::default() };
        if let Some(open) = self.open.as_mut().filter(|open| open.stage != Stage::Ended && !open.is_foreign(entry)) {
            // The last kill was none of this decision's: it is this group's victim.
            decision.victim = open.take_last_member();
            if decision.victim.is_none() && open.decision.group.is_none() {
                open.saw(entry);
                // The line of the victim may be missing.
                open.stage = Stage::Killing;
                open.decision.group = Some(group.to_owned());
                return true;
            }
        }
        let when = decision.victim.as_ref().map_or(entry.when, |victim| victim.when);
        self.start(Entry { when, ..entry }, decision, Stage::Killing, items);
        true
    }

    fn on_exiting(&mut self, entry: Entry<'_>, process: Process, items: &mut Vec<Item>) -> bool {
        match &mut self.open {
            Some(open)
                if !open.is_foreign(entry)
                    && (open.stage == Stage::Report
                        || (open.stage == Stage::Killing && open.decision.group.is_some())) =>
            {
                open.exiting(entry, process);
            }
            _ => {
                let decision = Decision { exiting: vec![process], ..Decision::default() };
                self.start(entry, decision, Stage::Killing, items);
            }
        }
        true
    }

    fn on_none_killable(&mut self, entry: Entry<'_>, items: &mut Vec<Item>) -> bool {
        match &mut self.open {
            Some(open) if open.stage == Stage::Report && !open.is_foreign(entry) => {
                open.decision.outcome = Outcome::NoneKillable;
                open.stage = Stage::Ended;
                open.saw(entry);
            }
            _ => {
                let decision = Decision { outcome: Outcome::NoneKillable, ..Decision::default() };
                self.start(entry, decision, Stage::Ended, items);
            }
        }
        true
    }

    fn on_panic(&mut self, entry: Entry<'_>, message: &str, items: &mut Vec<Item>) -> bool {
        let outcome = Outcome::Panicked(message.to_owned());
        match &mut self.open {
            Some(open) if open.stage != Stage::Killing && !open.is_foreign(entry) => open.decision.outcome = outcome,
            _ => self.start(entry, Decision { outcome, ..Decision::default() }, Stage::Ended, items),
        }
        self.close(items);
        true
    }
}

/// Whether two lines are known to be of different callers.
pub(super) fn differ(one: Option<Caller>, other: Option<Caller>) -> bool {
    one.is_some() && other.is_some() && one != other
}
