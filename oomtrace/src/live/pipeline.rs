//! The stages that every event passes, in their order.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::info;

use super::{
    last_words::LastWords,
    open_incidents::{Again, Left, OpenIncidents},
    pressure::{Asked, Pressure},
    waiting::Waiting,
};
use crate::{
    clock::{self, WallClock},
    event::{Event, Incident, Line, Lost, LostFrom, Moment, Observation, Source, Status},
    metrics::Metrics,
    node::fact::Fact,
    sink::{KubernetesEvents, Outlets},
    timeline::{Background, EndAsIntended, Keep, Timeline},
};

/// Takes events from all sources; names, numbers and prints them.
pub struct Pipeline {
    pressure: Pressure,
    last_words: LastWords,
    waiting: Waiting,
    numbering: Numbering,
    outlets: Outlets,
    metrics: Option<Arc<Metrics>>,
    kubernetes_events: Option<KubernetesEvents>,
    timeline: Option<Timeline>,
    open_incidents: Option<OpenIncidents>,
    /// What is to be reported of before this run.
    again: Again,
    /// Whether incidents are reported, and not only counted.
    tells_incidents: bool,
    kills: u64,
    lost: Vec<Lost>,
    /// What the timeline had no room for, as far as it was reported.
    dropped: u64,
    /// When this run began, or the one before ended that it goes on from.
    started: jiff::Timestamp,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    #[must_use]
    pub fn new(node: String, pressure: Pressure, waiting: Waiting, outlets: Outlets) -> Self {
        let numbering = Numbering { node, clock: WallClock::now(), seq: 0 };
        Self {
            pressure,
            last_words: LastWords::new(None),
            waiting,
            numbering,
            outlets,
            metrics: None,
            kubernetes_events: None,
            timeline: None,
            open_incidents: None,
            again: Again::default(),
            tells_incidents: false,
            kills: 0,
            lost: Vec::new(),
            dropped: 0,
            started: jiff::Timestamp::now(),
        }
    }

    /// Goes on from an earlier run that ended so long ago: what was killed since belongs to this one.
    pub fn resume_after(&mut self, away: Duration) {
        self.started = self.started.checked_sub(away).unwrap_or(self.started);
    }

    /// Kills reported so far.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.kills
    }

    /// What was lost so far, each place once.
    #[must_use]
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// Takes events, in their order.
    pub fn push_all(&mut self, reported: Vec<Observation>) {
        let asked: Vec<_> = reported.into_iter().filter_map(|reported| self.take(reported)).collect();
        self.advance();
        self.read_memory(asked);
    }

    /// Takes an event.
    pub fn push(&mut self, reported: Observation) {
        self.push_all(vec![reported]);
    }

    /// Takes an event; returns whose memory to read for it. A kubelet that is restarted logs the kernel's kills since the node's
    /// boot again: those from before this run are not part of it.
    fn take(&mut self, reported: Observation) -> Option<Asked> {
        if let (Event::SystemOom(oom), Moment::Wall(at)) = (&reported.event, reported.at)
            && at < self.started
        {
            let (comm, pid) = (oom.comm.as_deref().unwrap_or("a process"), oom.pid.unwrap_or_default());
            info!(
                "not reported: the kubelet's log has a kill of {comm:?} (pid {pid}) at {at}, before oomtrace was started; \
                 `oomtrace timeline` reports it from the logs"
            );
            return None;
        }
        let asked = Pressure::asked(&reported.event);
        self.waiting.push(reported, Instant::now());
        asked
    }

    /// Takes in which cgroups were made and removed.
    pub fn cgroups_changed(&mut self, facts: &[Fact]) {
        self.pressure.cgroups_changed(facts);
    }

    /// Lets the flight recorder read memory, if it is time.
    pub fn record_memory(&mut self) {
        let ahead = self.pressure.record(Instant::now());
        if !ahead.is_empty() {
            self.push_all(ahead);
        }
    }

    /// What could be better here.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        let of_incidents = self.open_incidents.as_ref().and_then(OpenIncidents::degraded);
        self.pressure.degraded().into_iter().chain(of_incidents).collect()
    }

    /// Reads memory for events that are on their way: their readers do not wait for it.
    fn read_memory(&mut self, asked: Vec<Asked>) {
        if asked.is_empty() {
            return;
        }
        let now = Instant::now();
        for asked in asked {
            for reported in self.pressure.read(asked, now) {
                self.waiting.push(reported, now);
            }
        }
        self.advance();
    }

    /// Lets go on whatever need not wait any more.
    pub fn advance(&mut self) {
        for reported in self.waiting.ready(Instant::now()) {
            self.tell(reported);
        }
        for reported in self.last_words.due(Instant::now()) {
            self.tell(reported);
        }
    }

    /// Names have been learnt: what waits for them may go on.
    pub fn names_learnt(&mut self) {
        self.waiting.learnt();
        self.advance();
    }

    /// Reads the logs of containers that gave up.
    pub fn read_logs(&mut self, last_words: LastWords) {
        self.last_words = last_words;
    }

    /// Lets go on whatever waits.
    pub fn release(&mut self) {
        while let Some(reported) = self.waiting.release() {
            self.tell(reported);
        }
    }

    /// Waits until something has waited long enough.
    pub async fn due(&self) {
        match self.waiting.deadline().into_iter().chain(self.last_words.deadline()).min() {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Tells what the outputs lost, and what is wrong with them; at the `end` all of it, and nothing more goes to the API server.
    pub fn tell_outlets(&mut self, end: bool) {
        let of_events = if end {
            self.kubernetes_events.take().map(KubernetesEvents::finish)
        } else {
            self.kubernetes_events.as_ref().map(KubernetesEvents::news)
        };
        for event in self.outlets.news(end).into_iter().chain(of_events.unwrap_or_default()) {
            self.say(event);
        }
    }

    /// Opens every file that is written to again.
    pub fn reopen_files(&self) {
        self.outlets.reopen();
    }

    /// Tells the status, now.
    pub fn say_status(&mut self, status: Status) {
        self.say(Event::Status(Box::new(status)));
    }

    /// Tells something of oomtrace itself, now. It names no pod, so it need not wait.
    fn say(&mut self, event: Event) {
        self.tell(Observation { source: Source::Oomtrace, at: Moment::Boot(clock::boot_ns()), event });
    }

    /// An event with all its names: it is counted, numbered and printed.
    fn tell(&mut self, reported: Observation) {
        match &reported.event {
            Event::OomKill(_) => self.kills += 1,
            Event::Lost(lost) => self.count(lost),
            _ => {}
        }
        self.last_words.note(&reported.event, Instant::now());
        self.read_clock();
        let line = self.numbering.number(reported);
        if let Some(metrics) = &self.metrics {
            metrics.observe(&line);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.push(&line);
        }
        if let Some(open) = &mut self.open_incidents {
            open.keep(&line);
        }
        self.outlets.print(&line);
    }

    /// Looks whether somebody has set the clock.
    fn read_clock(&mut self) {
        let Some(by) = self.numbering.clock.refresh() else { return };
        self.started = self.started.checked_add(by).unwrap_or(self.started);
        if let Some(timeline) = &mut self.timeline {
            timeline.step_clock(by);
        }
        if let Some(open) = &mut self.open_incidents {
            open.set_clock(self.numbering.clock);
        }
    }

    /// Makes incidents of the events, and reports them among these.
    pub fn watch_incidents(&mut self) {
        self.tells_incidents = true;
        self.timeline = Some(Timeline::new(Keep::LIVE, Background::default()));
    }

    /// Counts what is reported. What a kill came to only its incident says, so those are made even where they are not reported.
    pub fn count_in(&mut self, metrics: Arc<Metrics>) {
        self.timeline.get_or_insert_with(|| Timeline::new(Keep::LIVE, Background::default()));
        self.metrics = Some(metrics);
    }

    /// Has Kubernetes Events made of incidents, be these reported elsewhere or not.
    pub fn make_kubernetes_events(&mut self, events: KubernetesEvents) {
        self.timeline.get_or_insert_with(|| Timeline::new(Keep::LIVE, Background::default()));
        self.kubernetes_events = Some(events);
    }

    /// Goes on with incidents that were open when oomtrace was killed, and keeps what the next start needs to do so. To be called when
    /// it is known whether incidents are made. Gives how many go on.
    pub(super) fn keep_incidents(&mut self, mut open: OpenIncidents, left: Left) -> usize {
        let Some(timeline) = &mut self.timeline else { return 0 };
        let seq = left.lines().map(|line| line.seq).max().unwrap_or_default();
        self.again = left.go_on(timeline, self.numbering.clock);
        let going_on = timeline.open_incidents();
        // Those were reported.
        self.dropped = timeline.dropped();
        if going_on > 0 {
            // Incidents name their lines by these numbers.
            self.numbering.seq = seq;
            info!("{going_on} incidents were open when oomtrace was killed, and go on");
        }
        open.set_clock(self.numbering.clock);
        self.open_incidents = Some(open);
        going_on
    }

    /// Reports what may not have come out before this run, and what is left of incidents of another boot.
    pub fn report_again(&mut self) {
        let Again { lines, incidents, ends } = std::mem::take(&mut self.again);
        if lines.len() + incidents.len() > 0 {
            let (lines, incidents) = (lines.len(), incidents.len());
            info!("{lines} lines and {incidents} incidents of the run before are reported once more, or to their end");
        }
        for line in &lines {
            self.outlets.print(line);
        }
        self.tell_all(incidents);
        self.emit_ends(ends);
    }

    /// Reports incidents that have opened, that something was added to, or that have closed; and what the timeline had no room
    /// for.
    pub fn tell_incidents(&mut self) {
        self.read_clock();
        let Some(timeline) = &mut self.timeline else { return };
        let now = jiff::Timestamp::now();
        timeline.advance(now);
        let (news, ends, dropped) = (timeline.news(), timeline.take_ends(), timeline.dropped());
        if let Some(open) = &mut self.open_incidents {
            if !news.is_empty() || !ends.is_empty() {
                open.reported(now);
            }
            open.tick(Instant::now(), timeline.has_incidents(), self.numbering.clock);
        }
        self.tell_all(news);
        self.emit_ends(ends);
        let lost = dropped - std::mem::replace(&mut self.dropped, dropped);
        if lost > 0 {
            self.say(Event::Lost(Lost::new(LostFrom::Timeline, lost)));
        }
    }

    /// Tells the incidents that are open still, as nothing more will come.
    pub fn close_incidents(&mut self) {
        let Some(timeline) = &mut self.timeline else { return };
        let (news, ends) = (timeline.finish(), timeline.take_ends());
        self.tell_all(news);
        self.emit_ends(ends);
        if let Some(open) = self.open_incidents.take() {
            open.finish();
        }
    }

    /// Emits the ends of containers as Kubernetes intended them, at the time when they ended.
    fn emit_ends(&mut self, ends: Vec<EndAsIntended>) {
        if !self.tells_incidents {
            return;
        }
        for EndAsIntended { at, node: _, event } in ends {
            let event = Event::ContainerEnded(Box::new(event));
            self.tell(Observation { source: Source::Oomtrace, at: Moment::Wall(at), event });
        }
    }

    fn tell_all(&mut self, incidents: Vec<Incident>) {
        for incident in incidents {
            if let Some(events) = &self.kubernetes_events {
                events.take(&incident);
            }
            if self.tells_incidents {
                self.say(Event::Incident(Box::new(incident)));
            } else if let Some(metrics) = &self.metrics {
                metrics.judge(&incident);
            }
        }
    }

    fn count(&mut self, lost: &Lost) {
        match self
            .lost
            .iter_mut()
            .find(|known| known.from == lost.from && known.output == lost.output && known.program == lost.program)
        {
            Some(known) => known.count += lost.count,
            None => self.lost.push(lost.clone()),
        }
    }

    /// Waits until every line is out.
    ///
    /// # Errors
    ///
    /// Fails where an output could not be written to.
    pub fn finish(self) -> io::Result<()> {
        self.outlets.finish()
    }
}

/// Gives each event its number, and its time as wall time.
struct Numbering {
    node: String,
    clock: WallClock,
    seq: u64,
}

impl Numbering {
    fn number(&mut self, Observation { source, at, mut event }: Observation) -> Line {
        self.seq += 1;
        event.tell_span(|boot_ns| self.clock.rfc3339(boot_ns));
        let (ts, boot_ns) = match at {
            Moment::Boot(boot_ns) => (self.clock.rfc3339(boot_ns), Some(boot_ns)),
            Moment::Wall(wall) => (clock::rfc3339(wall), None),
        };
        Line { ts, seq: self.seq, node: self.node.clone(), source, boot_ns, event }
    }
}
