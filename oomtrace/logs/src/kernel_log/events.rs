//! A kernel log's lines in, events out: the two layers below with what turns decisions into events.
//!
//! ```
//! use oomtrace_logs::kernel_log::{Clock, Events, Machine};
//! use oomtrace_model::Event;
//!
//! let log: &[u8] = b"[ 12.5] Out of memory: Killed process 7 (java) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB";
//! let mut events = Events::new(Clock::default(), Machine::default());
//! let mut reported = Vec::new();
//! for line in log.split(|byte| *byte == b'\n') {
//!     reported.extend(events.push_line(line));
//! }
//! reported.extend(events.finish());
//! assert!(matches!(&reported[0].event, Event::OomKill(kill) if kill.victim.task.pid == Some(7)));
//! ```

mod cgroup;
mod kill;
mod reaped;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use oomtrace_model::{Event, Failure, Lost, LostFrom, Moment, Observation, Source, Why};

use self::{
    reaped::{Observation as Victims, Reapings},
    table::Table,
};
use super::{
    clock::{Alignment, Clock},
    form::{self, Form, Line, LineReader, MAX_LINE_BYTES, Message, Skipped, Wall, When},
    report::{Assembler, Decision, Item, Outcome},
};
pub use crate::envelope::export::is_export;
use crate::{envelope::export::Export, memory_killer};

/// What a report does not tell of the machine that it is of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    /// Bytes in a page. Where it is not given, the report of a kill tells it: the victim's size is in it both in pages
    /// and in kB. Sizes in pages are `null` until then.
    pub page_size: Option<u64>,
    /// All swap: `SwapTotal` in `/proc/meminfo`. A report of the node tells it, one of a cgroup does not.
    pub swap_total_bytes: Option<u64>,
}

/// What was read so far, and what of it was passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// All lines.
    pub lines: u64,
    /// Of them the kernel's.
    pub kernel_lines: u64,
    /// The others, by why they are not.
    pub skipped: BTreeMap<Skipped, u64>,
    /// The form of the last line that has one.
    pub form: Option<Form>,
    /// Decisions of the OOM killer.
    pub decisions: u64,
    /// Decisions without any time: reported in their order, at the start of 1970.
    pub untimed: u64,
    /// Signals that a user-space OOM killer says it sent.
    pub sent: u64,
    /// Reports that end before they say who was killed.
    pub without_end: u64,
    /// The cgroup whose limit the last of them is about.
    pub without_end_of: Option<String>,
    /// Reports that end without a kill: nobody could be killed, or the victim was exiting already.
    pub without_kill: u64,
    /// Reports that the kernel's rate limit left out.
    pub suppressed_reports: u64,
    /// Lines of a kill that were cut.
    pub torn: u64,
    /// Lines without the head that others have, which say what the kernel says of a kill.
    pub strangers: u64,
}

/// Why lines cannot be searched for.
#[derive(Debug, thiserror::Error)]
#[error("the search for the kernel's lines cannot be prepared")]
pub struct Unprepared(#[from] aho_corasick::BuildError);

/// Reads a kernel log line by line and tells it in events.
pub struct Events {
    reader: LineReader,
    export: Export,
    assembler: Assembler,
    clock: Clock,
    alignment: Alignment,
    machine: Machine,
    reapings: Reapings,
    statistics: Statistics,
}

impl Events {
    /// At the start of a log.
    #[must_use]
    pub fn new(clock: Clock, machine: Machine) -> Self {
        Self {
            reader: LineReader::new(),
            export: Export::default(),
            assembler: Assembler::new(),
            clock,
            alignment: Alignment::default(),
            machine,
            reapings: Reapings::default(),
            statistics: Statistics::default(),
        }
    }

    /// Takes a line, with or without its line end; gives what it completes. In a log that goes on, a decision is reported
    /// when the next begins, or by [`flush`](Self::flush).
    pub fn push_line(&mut self, line: &[u8]) -> Vec<Observation> {
        self.push_line_of(line, None)
    }

    /// The same of a line with a time beside it, which counts where the line has none.
    pub fn push_line_of(&mut self, line: &[u8], wall: Option<Wall>) -> Vec<Observation> {
        let written = line;
        let line = form::beside(self.reader.read(line), When { boot_ns: None, wall });
        if matches!(line, Line::Skipped(Skipped::Unreadable(_))) && says_of_a_kill(written) {
            self.statistics.strangers += 1;
        }
        if self.reader.disowns_first() {
            self.assembler = Assembler::new();
        }
        self.statistics.form = self.reader.form();
        let sent = if let Line::Killer(message) = &line { self.sent(message) } else { None };
        let items = assemble(&line, &mut self.statistics, &mut self.alignment, &mut self.assembler);
        items.into_iter().flat_map(|item| self.tell(item)).chain(sent).collect()
    }

    /// The signal that a user-space OOM killer says it sent.
    fn sent(&mut self, message: &Message<'_>) -> Option<Observation> {
        let signal = memory_killer::read_kmsg(&message.text)?;
        self.statistics.sent += 1;
        Some(reported(self.at(&message.when), Event::Signal(Box::new(signal))))
    }

    /// Takes a piece of a log in the journal's export format ([`is_export`]), cut anywhere.
    pub fn push_export(&mut self, bytes: &[u8]) -> Vec<Observation> {
        let mut items = Vec::new();
        let Self { export, reader, statistics, alignment, assembler, .. } = self;
        export.push(bytes, MAX_LINE_BYTES, |entry| {
            items.extend(assemble(&reader.entry(entry, Form::Export), statistics, alignment, assembler));
        });
        self.statistics.form = self.reader.form();
        items.into_iter().flat_map(|item| self.tell(item)).collect()
    }

    /// Gives what is open in a log that goes on: see [`Assembler::flush`] for when.
    pub fn flush(&mut self) -> Vec<Observation> {
        let items = self.assembler.flush();
        let mut reported: Vec<_> = items.into_iter().flat_map(|item| self.tell(item)).collect();
        reported.extend(self.reapings.flush());
        reported
    }

    /// Gives what is open at the end of the log.
    pub fn finish(&mut self) -> Vec<Observation> {
        let Self { export, reader, statistics, alignment, assembler, .. } = self;
        let mut items = Vec::new();
        export.finish(|entry| items = assemble(&reader.entry(entry, Form::Export), statistics, alignment, assembler));
        let mut reported: Vec<Observation> = items.into_iter().flat_map(|item| self.tell(item)).collect();
        reported.extend(self.flush());
        reported
    }

    /// Whether nothing is open that more lines are certain to come for: [`Assembler::settled`].
    #[must_use]
    pub fn settled(&self) -> bool {
        self.assembler.settled()
    }

    /// The hosts that the kernel's lines name.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        self.reader.hosts()
    }

    /// What was read so far.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The clock, to be set as more is known of it.
    pub fn clock_mut(&mut self) -> &mut Clock {
        &mut self.clock
    }

    fn tell(&mut self, item: Item) -> Vec<Observation> {
        match item {
            Item::Decision(decision) => self.decision(&decision),
            Item::Reaped(reaped) => {
                let at = self.at(&reaped.when);
                self.reapings.reaped(reaped, at)
            }
            Item::Suppressed { when, reports } => {
                self.statistics.suppressed_reports += reports;
                let lost = Event::Lost(Lost::new(LostFrom::KernelReport, reports));
                vec![reported(self.at(&when), lost)]
            }
            Item::Torn { when, text } => {
                self.statistics.torn += 1;
                let message = format!("a line of the kernel's log about a kill was cut, and is not reported: {text:?}");
                vec![reported(self.at(&when), Event::Error(Failure { message }))]
            }
        }
    }

    fn decision(&mut self, decision: &Decision) -> Vec<Observation> {
        self.statistics.decisions += 1;
        if self.moment(&decision.when).is_none() {
            self.statistics.untimed += 1;
        }
        let number = self.statistics.decisions;
        let table = Table::new(decision, self.machine);
        // Pages do not change their size while a log is written.
        self.machine.page_size = self.machine.page_size.or(table.page_size);

        let at = self.at(&decision.when);
        let mut kill = Box::new(kill::tell(decision, number, &table));
        kill.time_unknown = self.moment(&decision.when).is_none();
        let marked: Vec<_> = kill::marked(decision, &kill, &table).collect();
        match decision.outcome {
            Outcome::Unknown => {
                self.statistics.without_end += 1;
                self.statistics.without_end_of = kill.limit.as_ref().and_then(|limit| limit.cgroup.clone());
            }
            Outcome::NoneKillable | Outcome::AlreadyExiting => self.statistics.without_kill += 1,
            Outcome::Killed | Outcome::Panicked(_) => {}
        }
        let event = match (&decision.outcome, kill::panic_on_oom(decision)) {
            (_, Some(panic_on_oom)) => Event::PanicOnOom(Box::new(kill::panic(&kill, panic_on_oom))),
            (Outcome::Killed, None) => Event::OomKill(kill),
            (_, None) => Event::OomDecision(kill),
        };
        let mut events = vec![reported(at, event)];
        if decision.outcome == Outcome::Unknown {
            events.push(reported(at, Event::Error(Failure { message: unknown_end(decision) })));
        }
        let mut victims = Vec::with_capacity(marked.len());
        for (when, victim) in marked {
            let at = when.map_or(at, |when| self.at(&when));
            victims.push((at, victim));
        }
        let known = victims.iter().filter(|(_, victim)| victim.why != Why::AlreadyDying);
        let released = self.reapings.killed(known.map(|(at, victim)| Victims::new(*at, victim)));
        events.extend(victims.into_iter().map(|(at, victim)| reported(at, Event::OomVictim(Box::new(victim)))));
        events.extend(released);
        events
    }

    fn moment(&self, when: &When) -> Option<Moment> {
        let aligned = if self.clock.booted.is_none() { self.alignment.moment(when) } else { None };
        aligned.or_else(|| self.clock.moment(when))
    }

    fn at(&self, when: &When) -> Moment {
        // In their order, at a time that nobody takes for theirs.
        self.moment(when).unwrap_or_else(|| {
            let order = i64::try_from(self.statistics.decisions).unwrap_or(i64::MAX);
            Moment::Wall(Timestamp::from_microsecond(order).unwrap_or(Timestamp::UNIX_EPOCH))
        })
    }
}

/// Counts a line, and takes in what the kernel says in it.
fn assemble(
    line: &Line<'_>,
    statistics: &mut Statistics,
    alignment: &mut Alignment,
    assembler: &mut Assembler,
) -> Vec<Item> {
    statistics.lines += 1;
    match line {
        Line::Skipped(why) => {
            *statistics.skipped.entry(*why).or_default() += 1;
            Vec::new()
        }
        Line::Kernel(message) => {
            statistics.kernel_lines += 1;
            alignment.learn(&message.when);
            assembler.push(message)
        }
        // It is no part of a decision of the kernel's.
        Line::Killer(_) => Vec::new(),
    }
}

/// Whether a line has the words of a kill.
fn says_of_a_kill(line: &[u8]) -> bool {
    let has = |words: &[u8]| memchr::memmem::find(line, words).is_some();
    has(b"Killed process ") || has(b"invoked oom-killer")
}

fn reported(at: Moment, event: Event) -> Observation {
    Observation { source: Source::Kmsg, at, event }
}

fn unknown_end(decision: &Decision) -> String {
    let elected = decision.elected.as_ref().map(|elected| &elected.process);
    let chosen = decision.report.as_ref().and_then(|report| report.chosen.as_ref()).or(elected);
    let whom = chosen.map_or_else(|| "nobody that is known".to_owned(), |who| format!("{} ({:?})", who.pid, who.comm));
    format!("the kernel's report of its choice of {whom} ends before it says whether it was killed: lines are missing")
}
