//! Bytes in, events out; and what could not be read is counted.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    event::{Event, EvictionPhase, Failure, Lost, LostFrom, Moment, Observation, Source},
    source::kubelet_log::{Calendar, Counts, LogReader, Unprepared},
};

/// A log that has been silent for so long has reported both halves of what it tells in two.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// Nobody listens any more.
#[derive(Debug)]
pub(super) struct Gone;

/// Reads a live log.
pub(super) struct Feed {
    reader: LogReader,
    reported: Vec<Observation>,
    /// What happened before is read for the names in it, and not reported, but for the thresholds that the kubelet was started
    /// with: those hold as of now.
    since: Timestamp,
    counted: Counts,
}

impl Feed {
    /// `identifiers` are those of the kubelet beside the known ones.
    pub(super) fn new(identifiers: Vec<String>) -> Result<Self, Unprepared> {
        let now = Timestamp::now();
        let mut reader = LogReader::new(Calendar { not_after: now, zone: TimeZone::UTC }, identifiers)?;
        reader.read_as_written();
        Ok(Self { reader, reported: Vec::new(), since: now, counted: Counts::default() })
    }

    /// Tells what happened from then on.
    pub(super) fn tell_since(&mut self, since: Timestamp) {
        self.since = since;
    }

    /// Reads a log's past, for the names in it and the kubelet's last start.
    pub(super) fn learn(&mut self, bytes: &[u8]) {
        self.reader.push(bytes, &mut self.reported);
        self.reader.finish(&mut self.reported);
        let start = self.reported.drain(..).rfind(is_start);
        self.reported.extend(start.map(|reported| Observation { at: Moment::Wall(self.since), ..reported }));
        self.counted = self.reader.counts();
    }

    pub(super) async fn push(&mut self, bytes: &[u8], tell: &mpsc::Sender<Observation>) -> Result<(), Gone> {
        self.reader.set_not_after(Timestamp::now());
        self.reader.push(bytes, &mut self.reported);
        self.count();
        self.send(tell).await
    }

    /// Nothing came for a while.
    pub(super) async fn idle(&mut self, tell: &mpsc::Sender<Observation>) -> Result<(), Gone> {
        self.reader.flush(&mut self.reported);
        self.send(tell).await
    }

    /// Whatever is open will not be continued.
    pub(super) async fn finish(&mut self, tell: &mpsc::Sender<Observation>) -> Result<(), Gone> {
        self.reader.finish(&mut self.reported);
        self.count();
        self.send(tell).await
    }

    /// Something that is wrong with the log as a whole.
    pub(super) async fn fail(&mut self, message: String, tell: &mpsc::Sender<Observation>) -> Result<(), Gone> {
        warn!("{message}");
        self.reported.push(now(Event::Error(Failure { message })));
        self.send(tell).await
    }

    /// Lines of it are known to be missing.
    pub(super) fn lose(&mut self, count: u64) {
        if count > 0 {
            self.reported.push(now(Event::Lost(Lost::new(LostFrom::KubeletLog, count))));
        }
    }

    fn count(&mut self) {
        let (before, counts) = (std::mem::replace(&mut self.counted, self.reader.counts()), self.reader.counts());
        let lost = |counts: Counts| counts.unreadable + counts.undated + counts.overlong;
        let more = lost(counts).saturating_sub(lost(before));
        if more > 0 {
            let why = counts.last_error.map_or_else(String::new, |error| format!(", the last: {error}"));
            warn!("{more} lines of the kubelet's log cannot be read{why}");
            self.lose(more);
        }
        if counts.forged > before.forged {
            warn!(
                "{} lines of the kubelet's log name another process than the one that wrote them; they are not believed",
                counts.forged - before.forged
            );
        }
    }

    async fn send(&mut self, tell: &mpsc::Sender<Observation>) -> Result<(), Gone> {
        for mut reported in self.reported.drain(..) {
            if matches!(reported.at, Moment::Wall(at) if at < self.since) {
                if !is_start(&reported) {
                    continue;
                }
                reported.at = Moment::Wall(self.since);
            }
            tell.send(reported).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}

fn is_start(reported: &Observation) -> bool {
    matches!(&reported.event, Event::Eviction(step) if step.phase == EvictionPhase::Configured)
}

fn now(event: Event) -> Observation {
    Observation { source: Source::Kubelet, at: Moment::Wall(Timestamp::now()), event }
}
