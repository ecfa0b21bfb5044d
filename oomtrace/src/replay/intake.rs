//! From what is given to the timeline, and from there to the incidents that are printed: in the order of time, as much at once
//! as there is memory for.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::{Show, acquainted::Acquainted, boot::Zero, place, recording::Recorded, untimed::Untimed};
use crate::{
    clock,
    event::{Event, Eviction, EvictionPhase, Incident, Line, Moment, Observation, OomKill, Pod, Source},
    timeline::{EndAsIntended, Replay, Settled, Timeline},
};

/// Prints the incidents of recordings as they were reported live.
pub(super) fn replay(recorded: Recorded, mut shown: impl Show) -> Result<()> {
    let (reported, recorded) = recorded.split_reported();
    let mut replay = Replay::default();
    for line in &recorded {
        replay.push(line);
    }
    let (incidents, dropped) = replay.finish();
    if dropped > 0 {
        warn!(
            "{dropped} events were too many at once, then as now, and may be missing from incidents (--full takes all in)"
        );
    }
    let mut seq = recorded.iter().map(|line| line.seq).max().unwrap_or(0);
    let replayed = incidents.into_iter().map(|(node, incident)| {
        seq += 1;
        let (ts, event) = (incident.started.clone(), Event::Incident(Box::new(incident)));
        Line { ts, seq, node, source: Source::Oomtrace, boot_ns: None, event }
    });
    let as_they_are = reported.len();
    let mut lines: Vec<Line> = replayed.chain(reported).collect();
    lines.sort_by(|a, b| (began(a), &a.node).cmp(&(began(b), &b.node)));
    for line in lines {
        let Event::Incident(incident) = &line.event else { continue };
        if shown.takes(incident, &line.node) {
            shown.incident(line)?;
        }
    }
    if as_they_are > 0 {
        info!(
            "{as_they_are} incidents are shown as they were reported: not all events are there that they were made of"
        );
    }
    info!("{} incidents", shown.count());
    shown.finish()
}

fn began(line: &Line) -> Option<&str> {
    match &line.event {
        Event::Incident(incident) => Some(&incident.started),
        _ => None,
    }
}

/// Where a kernel log with times is had.
const PRINTED: &str = "`dmesg`, `dmesg -T` and `journalctl -k` print times";
/// So many lines are kept before the first of them are judged.
const BATCH: usize = 8192;
/// Lines that are written at once are out of order by less than this, whatever holds a kubelet up.
const DISORDER: SignedDuration = SignedDuration::from_mins(10);

/// What was reported and is not judged yet, and what was judged and cannot be printed yet.
pub(super) struct Intake<S> {
    timeline: Timeline,
    shown: S,
    /// Whether the pods that files name are those of the incidents.
    acquainted: Acquainted,
    /// The node that logs are from.
    node: String,
    zero: Zero,
    waiting: Vec<Waiting>,
    untimed: Untimed,
    /// When so many wait, it is time to judge the first of them.
    full: usize,
    /// The last line's number.
    seq: u64,
    /// Everything before was handed over to the timeline.
    handed_over: Timestamp,
    late: u64,
    /// What the kubelet was about to do, and was not seen to have done.
    unfinished: Option<Unfinished>,
    /// Incidents that others which began before may yet precede, by their beginning, node and id.
    ended: BTreeMap<(i64, String, String), Incident>,
    not_memory: u64,
    left_over: Vec<Line>,
}

/// A pass of the eviction manager that pods were to be evicted in.
struct Unfinished {
    at: Timestamp,
    resource: Option<String>,
    /// The first of those that were ranked, and how many there were; critical ones are passed over.
    ranked: Vec<String>,
}

impl Unfinished {
    /// The kubelet's next step.
    fn next(this: &mut Option<Self>, at: Timestamp, step: &Eviction) {
        let name = |pod: &Pod| pod.namespace.iter().chain(&pod.name).map(String::as_str).collect::<Vec<_>>().join("/");
        match step.phase {
            EvictionPhase::MustEvict => *this = Some(Self { at, resource: step.resource.clone(), ranked: Vec::new() }),
            EvictionPhase::Ranked => {
                let pass = this.get_or_insert(Self { at, resource: step.resource.clone(), ranked: Vec::new() });
                pass.ranked = step.pods.iter().map(name).collect();
            }
            EvictionPhase::CriticalPodSpared => {
                if let (Some(pass), Some(pod)) = (this, &step.pod) {
                    pass.ranked.retain(|ranked| *ranked != name(pod));
                }
            }
            EvictionPhase::NothingToEvict | EvictionPhase::Reclaimed => *this = None,
            phase if phase.is_of_evicted() => *this = None,
            _ => {}
        }
    }

    fn say(&self) {
        let why = self.resource.as_deref().map_or_else(String::new, |resource| format!(" for {resource}"));
        let first = match &self.ranked[..] {
            [] => String::new(),
            [only] => format!(", {only} alone in its ranking"),
            [first, ..] => format!(", {first} first of {} in its ranking", self.ranked.len()),
        };
        info!(
            "at {:.0} the kubelet was about to evict a pod{why}{first}: no line says that it did, so the log ends before that, or was cut",
            self.at
        );
    }
}

/// A line that has its number, or what will become one.
enum Waiting {
    Recorded(Timestamp, Line),
    Observation(Timestamp, Observation),
}

impl Waiting {
    fn at(&self) -> Timestamp {
        let (Self::Recorded(at, _) | Self::Observation(at, _)) = self;
        *at
    }

    fn source(&self) -> Source {
        match self {
            Self::Recorded(_, line) => line.source,
            Self::Observation(_, observed) => observed.source,
        }
    }
}

impl<S: Show> Intake<S> {
    /// Recordings are taken in as they are.
    pub(super) fn new(timeline: Timeline, recorded: Vec<Line>, node: String, zero: Zero, shown: S) -> Self {
        let seq = recorded.iter().map(|line| line.seq).max().unwrap_or(0);
        let recorded = recorded.into_iter().filter_map(|line| Some(Waiting::Recorded(line.ts.parse().ok()?, line)));
        Self {
            timeline,
            shown,
            acquainted: Acquainted::default(),
            node,
            zero,
            waiting: recorded.collect(),
            untimed: Untimed::default(),
            full: BATCH,
            seq,
            handed_over: Timestamp::MIN,
            late: 0,
            unfinished: None,
            ended: BTreeMap::new(),
            not_memory: 0,
            left_over: Vec::new(),
        }
    }

    /// Takes in incidents that were reported, and are shown as they are.
    pub(super) fn take_reported(&mut self, reported: Vec<Line>) {
        for line in reported {
            let Event::Incident(incident) = line.event else { continue };
            if self.shown.takes(&incident, &line.node) {
                let began = incident
                    .started
                    .parse::<Timestamp>()
                    .map_or(i64::MIN, |at| i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX));
                self.ended.insert((began, line.node, incident.id.clone()), *incident);
            }
        }
    }

    /// Takes in what logs tell.
    pub(super) fn take(&mut self, observed: impl IntoIterator<Item = Observation>) {
        for observed in observed {
            for kill in self.untimed.timed_by(&observed) {
                self.wait(kill);
            }
            self.wait(observed);
        }
    }

    /// Takes in what kernel logs without times tell.
    pub(super) fn take_untimed(&mut self, untimed: Vec<Observation>) {
        for observed in self.untimed.keep(untimed) {
            self.wait(observed);
        }
    }

    fn wait(&mut self, observed: Observation) {
        let at = match observed.at {
            Moment::Wall(wall) => wall,
            Moment::Boot(boot_ns) => self.zero.wall(boot_ns),
        };
        self.late += u64::from(at < self.handed_over);
        if let Event::Eviction(step) = &observed.event {
            Unfinished::next(&mut self.unfinished, at, step);
        }
        self.waiting.push(Waiting::Observation(at, observed));
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
        self.timeline.kubelet_spoke(spoke);
        self.judge(Some(read.checked_sub(DISORDER).unwrap_or(Timestamp::MIN)), name)?;
        self.full = BATCH.max(self.waiting.len() * 2);
        Ok(())
    }

    /// Judges and prints the rest.
    pub(super) fn finish(mut self, spoke: Option<(Timestamp, Timestamp)>, name: &impl Fn(&mut OomKill)) -> Result<()> {
        self.timeline.kubelet_spoke(spoke);
        let untimed = self.untimed.rest();
        match untimed.len() {
            0 => {}
            1 => warn!("1 kill has no time, and no other log has it: when it was is not known ({PRINTED})"),
            more => {
                warn!("{more} kills have no time, and no other log has it: when they were is not known ({PRINTED})");
            }
        }
        for observed in untimed {
            self.wait(observed);
        }
        self.judge(None, name)?;
        if self.timeline.dropped() > 0 {
            warn!("{} events were too many at once, and are left out: give less of the logs", self.timeline.dropped());
        }
        if self.late > 0 {
            warn!(
                "{} lines come after others that are more than ten minutes later, and may make incidents of their own: give the \
                 parts of a log as files of their own, or in the order of time",
                self.late
            );
        }
        if let Some(unfinished) = &self.unfinished {
            unfinished.say();
        }
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        self.acquainted.say(&self.timeline.known().snapshot);
        let (count, hidden) = (self.shown.count(), self.not_memory);
        if hidden > 0 {
            info!(
                "{count} incident{}; {hidden} eviction{} for something else than memory left out (--full shows them)",
                plural(count),
                plural(hidden)
            );
        } else {
            info!("{count} incident{}", plural(count));
        }
        self.left_over.sort_by(|a, b| (&a.ts, a.seq).cmp(&(&b.ts, b.seq)));
        for line in self.left_over {
            self.shown.other(line)?;
        }
        self.shown.finish()
    }

    /// Whether nobody reads what is printed any more.
    pub(super) fn is_unread(&self) -> bool {
        self.shown.is_unread()
    }

    /// Hands over what is from before a time, or all, so much at once as there is memory for, and judges what it can.
    fn judge(&mut self, until: Option<Timestamp>, name: &impl Fn(&mut OomKill)) -> Result<()> {
        // A counter has the sum over the whole log: which evictions it is of, only the whole log tells.
        let at_once = !self.timeline.known().evictions_by_signal.is_empty();
        self.waiting.sort_by_key(|waiting| (waiting.at(), waiting.source()));
        // Recordings are taken in as they are.
        let observed = self.waiting.iter_mut().filter_map(|waiting| match waiting {
            Waiting::Observation(at, observed) => Some((*at, &mut observed.event)),
            Waiting::Recorded(..) => None,
        });
        place::place(observed.collect(), &self.timeline.known().snapshot);
        let count = until.map_or(self.waiting.len(), |until| self.waiting.partition_point(|one| one.at() < until));
        let mut rest = self.waiting.split_off(count);
        std::mem::swap(&mut self.waiting, &mut rest);
        let mut lines = rest.into_iter().peekable();
        while lines.peek().is_some() {
            for waiting in lines.by_ref().take(BATCH) {
                self.hand_over(waiting, name);
            }
            if let Some(next) = lines.peek().filter(|_| !at_once) {
                let settled = self.timeline.settle(Some(next.at()));
                self.print(settled)?;
            }
        }
        self.handed_over = until.unwrap_or(Timestamp::MAX);
        if until.is_some() && at_once {
            return Ok(());
        }
        let settled = self.timeline.settle(until);
        self.print(settled)
    }

    /// Gives a line its number, where it has none yet.
    fn hand_over(&mut self, waiting: Waiting, name: &impl Fn(&mut OomKill)) {
        let (at, line) = match waiting {
            Waiting::Recorded(at, line) => (at, line),
            Waiting::Observation(at, Observation { source, at: moment, mut event }) => {
                if let Event::OomKill(kill) = &mut event {
                    name(kill);
                }
                let boot_ns = match moment {
                    Moment::Wall(_) => None,
                    Moment::Boot(boot_ns) => Some(boot_ns),
                };
                self.seq += 1;
                let (ts, seq, node) = (clock::rfc3339(at), self.seq, self.node.clone());
                (at, Line { ts, seq, node, source, boot_ns, event })
            }
        };
        self.timeline.push_owned(at, line);
    }

    fn print(&mut self, settled: Settled) -> Result<()> {
        self.left_over.extend(settled.left_over);
        if self.timeline.known().everything {
            for EndAsIntended { at, node, event } in settled.ends {
                self.seq += 1;
                let (ts, seq, source) = (clock::rfc3339(at), self.seq, Source::Oomtrace);
                let event = Event::ContainerEnded(Box::new(event));
                self.left_over.push(Line { ts, seq, node, source, boot_ns: None, event });
            }
        }
        self.not_memory += settled.not_memory;
        for ended in settled.incidents {
            self.acquainted.meet(&ended.incident, &self.timeline.known().snapshot);
            if !self.shown.takes(&ended.incident, &ended.node) {
                continue;
            }
            self.ended.insert((ended.began, ended.node, ended.incident.id.clone()), ended.incident);
        }
        while let Some(entry) = self.ended.first_entry() {
            if settled.complete_until.is_some_and(|until| entry.key().0 >= until) {
                break;
            }
            let ((_, node, _), incident) = entry.remove_entry();
            self.seq += 1;
            let (ts, seq, source) = (incident.started.clone(), self.seq, Source::Oomtrace);
            let event = Event::Incident(Box::new(incident));
            self.shown.incident(Line { ts, seq, node, source, boot_ns: None, event })?;
        }
        Ok(())
    }
}
