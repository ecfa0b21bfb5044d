//! Bytes in, events out; and what could not be read is counted.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    event::{Event, EvictionPhase, Failure, Lost, LostFrom, Moment, Source, Told},
    source::kubelet_log::{Calendar, Counts, Reader, Unprepared},
};

/// A log that has been silent for so long has told both halves of what it tells in two.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// Nobody listens any more.
#[derive(Debug)]
pub(super) struct Gone;

/// Reads a live log.
pub(super) struct Feed {
    reader: Reader,
    told: Vec<Told>,
    /// What happened before is read for the names in it, and not reported, but for the thresholds that the kubelet was started
    /// with: those hold as of now.
    since: Timestamp,
    counted: Counts,
}

impl Feed {
    /// `identifiers` are those of the kubelet beside the known ones.
    pub(super) fn new(identifiers: Vec<String>) -> Result<Self, Unprepared> {
        let now = Timestamp::now();
        let mut reader = Reader::new(Calendar { not_after: now, zone: TimeZone::UTC }, identifiers)?;
        reader.read_as_written();
        Ok(Self { reader, told: Vec::new(), since: now, counted: Counts::default() })
    }

    /// Tells what happened from then on.
    pub(super) fn tell_since(&mut self, since: Timestamp) {
        self.since = since;
    }

    /// Reads a log's past, for the names in it and the kubelet's last start.
    pub(super) fn learn(&mut self, bytes: &[u8]) {
        self.reader.push(bytes, &mut self.told);
        self.reader.finish(&mut self.told);
        let start = self.told.drain(..).rfind(is_start);
        self.told.extend(start.map(|told| Told { at: Moment::Wall(self.since), ..told }));
        self.counted = self.reader.counts();
    }

    pub(super) async fn push(&mut self, bytes: &[u8], tell: &mpsc::Sender<Told>) -> Result<(), Gone> {
        self.reader.set_not_after(Timestamp::now());
        self.reader.push(bytes, &mut self.told);
        self.count();
        self.send(tell).await
    }

    /// Nothing came for a while.
    pub(super) async fn idle(&mut self, tell: &mpsc::Sender<Told>) -> Result<(), Gone> {
        self.reader.flush(&mut self.told);
        self.send(tell).await
    }

    /// Whatever is open will not be continued.
    pub(super) async fn finish(&mut self, tell: &mpsc::Sender<Told>) -> Result<(), Gone> {
        self.reader.finish(&mut self.told);
        self.count();
        self.send(tell).await
    }

    /// Something that is wrong with the log as a whole.
    pub(super) async fn fail(&mut self, message: String, tell: &mpsc::Sender<Told>) -> Result<(), Gone> {
        warn!("{message}");
        self.told.push(now(Event::Error(Failure { message })));
        self.send(tell).await
    }

    /// Lines of it are known to be missing.
    pub(super) fn lose(&mut self, count: u64) {
        if count > 0 {
            self.told.push(now(Event::Lost(Lost::new(LostFrom::KubeletLog, count))));
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

    async fn send(&mut self, tell: &mpsc::Sender<Told>) -> Result<(), Gone> {
        for mut told in self.told.drain(..) {
            if matches!(told.at, Moment::Wall(at) if at < self.since) {
                if !is_start(&told) {
                    continue;
                }
                told.at = Moment::Wall(self.since);
            }
            tell.send(told).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}

fn is_start(told: &Told) -> bool {
    matches!(&told.event, Event::Eviction(step) if step.phase == EvictionPhase::Configured)
}

fn now(event: Event) -> Told {
    Told { source: Source::Kubelet, at: Moment::Wall(Timestamp::now()), event }
}
