//! From what is told to the timeline, and from there to the incidents that are printed: in the order of time, as much at once
//! as there is memory for.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::{Args, boot::Zero, print::Printer};
use crate::{
    clock,
    event::{Event, Incident, Line, Moment, OomKill, Source, Told},
    timeline::{Settled, Timeline},
};

/// So many lines are kept before the first of them are judged.
const BATCH: usize = 8192;
/// Lines that are written at once are out of order by less than this, whatever holds a kubelet up.
const DISORDER: SignedDuration = SignedDuration::from_mins(10);

/// What was told and is not judged yet, and what was judged and cannot be printed yet.
pub(super) struct Intake<'a> {
    args: &'a Args,
    timeline: Timeline,
    printer: Printer,
    /// The node that logs are from.
    node: String,
    zero: Zero,
    waiting: Vec<(Timestamp, Told)>,
    /// When so many wait, it is time to judge the first of them.
    full: usize,
    /// The last line's number.
    seq: u64,
    /// Everything before was handed over to the timeline.
    handed_over: Timestamp,
    late: u64,
    /// Incidents that others which began before may yet precede, by their beginning, node and id.
    ended: BTreeMap<(i64, String, String), Incident>,
    incidents: u64,
    left_over: Vec<Line>,
}

impl<'a> Intake<'a> {
    /// Recordings are taken in as they are.
    pub(super) fn new(
        args: &'a Args,
        mut timeline: Timeline,
        recorded: Vec<Line>,
        node: String,
        zero: Zero,
        printer: Printer,
    ) -> Self {
        let seq = recorded.iter().map(|line| line.seq).max().unwrap_or(0);
        for line in recorded {
            if let Ok(at) = line.ts.parse() {
                timeline.push_owned(at, line);
            }
        }
        Self {
            args,
            timeline,
            printer,
            node,
            zero,
            waiting: Vec::new(),
            full: BATCH,
            seq,
            handed_over: Timestamp::MIN,
            late: 0,
            ended: BTreeMap::new(),
            incidents: 0,
            left_over: Vec::new(),
        }
    }

    /// Takes in what logs tell.
    pub(super) fn take(&mut self, told: impl IntoIterator<Item = Told>) {
        for told in told {
            let at = match told.at {
                Moment::Wall(wall) => wall,
                Moment::Boot(boot_ns) => self.zero.wall(boot_ns),
            };
            self.late += u64::from(at < self.handed_over);
            self.waiting.push((at, told));
        }
    }

    /// Whether so much waits that the first of it should be judged.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.full
    }

    /// Judges and prints what nothing can be added to any more, where all logs were read up to `read`. `spoke` is the time
    /// that the kubelet was heard in.
    pub(super) fn advance(
        &mut self,
        read: Timestamp,
        spoke: Option<(Timestamp, Timestamp)>,
        name: &impl Fn(&mut OomKill),
    ) -> Result<()> {
        // The counter has the sum over the whole log: which evictions it is of, only the whole log tells.
        if !self.timeline.known().evictions_by_signal.is_empty() {
            self.full = usize::MAX;
            return Ok(());
        }
        let until = read.checked_sub(DISORDER).unwrap_or(Timestamp::MIN);
        self.hand_over(Some(until), name);
        self.full = BATCH.max(self.waiting.len() * 2);
        self.timeline.kubelet_spoke(spoke);
        let settled = self.timeline.settle(Some(until));
        self.print(settled)
    }

    /// Judges and prints the rest.
    pub(super) fn finish(mut self, spoke: Option<(Timestamp, Timestamp)>, name: &impl Fn(&mut OomKill)) -> Result<()> {
        self.hand_over(None, name);
        self.timeline.kubelet_spoke(spoke);
        let settled = self.timeline.settle(None);
        self.print(settled)?;
        if self.timeline.dropped() > 0 {
            warn!(
                "{} events were too many, and the oldest of them are left out: give less of the logs",
                self.timeline.dropped()
            );
        }
        if self.late > 0 {
            warn!(
                "{} lines come after others that are more than ten minutes later, and may make incidents of their own: give the \
                 parts of a log as files of their own, or in the order of time",
                self.late
            );
        }
        info!("{} incidents", self.incidents);
        self.left_over.sort_by(|a, b| (&a.ts, a.seq).cmp(&(&b.ts, b.seq)));
        for line in self.left_over {
            self.printer.print(line)?;
        }
        self.printer.finish()
    }

    /// Whether nobody reads what is printed any more.
    pub(super) fn is_unread(&self) -> bool {
        self.printer.is_unread()
    }

    /// Gives the lines from before a time, or all, their numbers, and hands them over.
    fn hand_over(&mut self, until: Option<Timestamp>, name: &impl Fn(&mut OomKill)) {
        self.waiting.sort_by_key(|(at, told)| (*at, told.source));
        let count = until.map_or(self.waiting.len(), |until| self.waiting.partition_point(|(at, _)| *at < until));
        self.handed_over = until.unwrap_or(Timestamp::MAX);
        for (at, Told { source, at: moment, mut event }) in self.waiting.drain(..count) {
            if let Event::OomKill(kill) = &mut event {
                name(kill);
            }
            let boot_ns = match moment {
                Moment::Wall(_) => None,
                Moment::Boot(boot_ns) => Some(boot_ns),
            };
            self.seq += 1;
            let line = Line { ts: clock::rfc3339(at), seq: self.seq, node: self.node.clone(), source, boot_ns, event };
            self.timeline.push_owned(at, line);
        }
    }

    fn print(&mut self, settled: Settled) -> Result<()> {
        self.left_over.extend(settled.left_over);
        for ended in settled.incidents.into_iter().filter(|ended| self.args.chooses(&ended.incident)) {
            self.ended.insert((ended.began, ended.node, ended.incident.id.clone()), ended.incident);
        }
        while let Some(entry) = self.ended.first_entry() {
            if settled.complete_until.is_some_and(|until| entry.key().0 >= until) {
                break;
            }
            let ((_, node, _), incident) = entry.remove_entry();
            self.seq += 1;
            self.incidents += 1;
            let (ts, seq, source) = (incident.started.clone(), self.seq, Source::Oomtrace);
            let event = Event::Incident(Box::new(incident));
            self.printer.print(Line { ts, seq, node, source, boot_ns: None, event })?;
        }
        Ok(())
    }
}
