//! The journal's files, read in a thread of its own: a page of them may have to come from a slow disk.

use std::{
    convert::Infallible,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::cursor::Cursor;
use crate::{
    event::Observation,
    source::{
        journal::{NoFiles, Place, Position, Reader, Taken, Terms},
        kubelet::feed::{Feed, Gone, SILENCE},
    },
};

/// How often they are looked at: so often does journald itself wake who follows its files.
const EVERY: Duration = Duration::from_millis(250);
/// How many of the last entries are read for the names in them.
const PAST: usize = 5000;
/// And where an earlier run read before them.
const PAST_AND_AWAY: usize = 20_000;
/// So much of what was there at the start is handed on at once.
const PIECE: usize = 256 * 1024;
/// So many pieces wait to be taken in.
const WAITING: usize = 4;
/// What is read of an entry of the kubelet's, and of a whole log for later.
const FIELDS: &[&str] = &["MESSAGE", "SYSLOG_IDENTIFIER", "_COMM", "_PID"];
const ALL_FIELDS: &[&str] = &[
    "_TRANSPORT",
    "PRIORITY",
    "SYSLOG_FACILITY",
    "SYSLOG_IDENTIFIER",
    "_HOSTNAME",
    "_COMM",
    "_PID",
    "_SYSTEMD_UNIT",
    "_SOURCE_MONOTONIC_TIMESTAMP",
    "MESSAGE",
];

/// The journal's files.
pub(in crate::source::kubelet) struct Files {
    reader: Reader,
    /// What was written from then on is reported.
    since: Timestamp,
    /// Up to where an earlier run read: what comes after is reported, too.
    resume: Option<Position>,
    cursor: Cursor,
}

/// What the thread hands over.
enum Piece {
    /// Of before.
    Past(Vec<u8>),
    /// There is no more of before.
    PastEnds,
    /// New entries.
    New(Vec<u8>),
    /// That was all, up to here.
    UpTo(Position),
    /// Entries that cannot be read, and why.
    Trouble(Taken),
}

/// Nobody takes them any more.
struct Unwanted;

impl Files {
    pub(super) fn open(units: &[String], place: &Place, state: Option<&Path>) -> Result<Self, NoFiles> {
        let reader = Reader::open(place.clone(), Terms::of_units(units), FIELDS)?;
        let cursor = Cursor::new(state);
        Ok(Self { reader, since: Timestamp::now(), resume: cursor.resume(), cursor })
    }

    pub(super) fn tell_since(&mut self, since: Timestamp) {
        self.since = since;
    }

    pub(super) async fn run(
        mut self,
        feed: &mut Feed,
        tell: &mpsc::Sender<Observation>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Gone> {
        let (hand_over, mut pieces) = mpsc::channel(WAITING);
        let (mut cursor, mut position) = (std::mem::take(&mut self.cursor), Position::default());
        let stopped = Arc::new(AtomicBool::new(false));
        let reading = {
            let stopped = Arc::clone(&stopped);
            let thread = thread::Builder::new().name("journal".to_owned());
            thread.spawn(move || self.read(&hand_over, &stopped))
        };
        let reading = match reading {
            Ok(reading) => reading,
            Err(error) => {
                return feed.fail(format!("the journal cannot be read: no thread for it: {error}"), tell).await;
            }
        };
        loop {
            let piece = tokio::select! {
                piece = timeout(SILENCE, pieces.recv()) => piece,
                Ok(_) = stop.wait_for(|stop| *stop), if !stopped.load(Ordering::Relaxed) => {
                    // What was written meanwhile is still read.
                    stopped.store(true, Ordering::Relaxed);
                    reading.thread().unpark();
                    continue;
                }
            };
            match piece {
                Ok(Some(Piece::UpTo(now))) => position = now,
                Ok(Some(piece)) => take(piece, feed, tell).await?,
                Ok(None) => {
                    cursor.keep(position, true);
                    return Ok(());
                }
                Err(_) => feed.idle(tell).await?,
            }
            cursor.keep(position, false);
        }
    }

    /// Reads until it is stopped, or nobody takes what it reads.
    fn read(mut self, hand_over: &mpsc::Sender<Piece>, stopped: &AtomicBool) {
        if self.read_past(hand_over).is_err() {
            return;
        }
        loop {
            let last = stopped.load(Ordering::Relaxed);
            if self.read_new(hand_over).is_err() || last || hand_over.is_closed() {
                return;
            }
            thread::park_timeout(EVERY);
        }
    }

    fn read_new(&mut self, hand_over: &mpsc::Sender<Piece>) -> Result<(), Unwanted> {
        let before = self.reader.position();
        let taken = self.reader.take(|entries| give(hand_over, Piece::New(entries.to_vec())))?;
        trouble(hand_over, taken)?;
        let position = self.reader.position();
        if position == before { Ok(()) } else { give(hand_over, Piece::UpTo(position)) }
    }

    fn read_past(&mut self, hand_over: &mpsc::Sender<Piece>) -> Result<(), Unwanted> {
        let since = u64::try_from(self.since.as_microsecond()).unwrap_or(0);
        let resume = self.resume;
        let is_past = |position: &Position, realtime: u64| {
            realtime < since && !resume.is_some_and(|resume| position.is_after(&resume))
        };
        let most = if resume.is_some() { PAST_AND_AWAY } else { PAST };
        let (mut entries, mut of_past) = (Vec::new(), true);
        let taken = self.reader.past(
            most,
            |_, _| true,
            |entry, position, realtime| {
                // They come in order: what follows the first that is new is new as well.
                if of_past && !is_past(position, realtime) {
                    of_past = false;
                    give(hand_over, Piece::Past(std::mem::take(&mut entries)))?;
                    give(hand_over, Piece::PastEnds)?;
                }
                entries.extend_from_slice(entry);
                if entries.len() < PIECE {
                    return Ok(());
                }
                let piece = std::mem::take(&mut entries);
                give(hand_over, if of_past { Piece::Past(piece) } else { Piece::New(piece) })
            },
        )?;
        if of_past {
            give(hand_over, Piece::Past(entries))?;
            give(hand_over, Piece::PastEnds)?;
        } else {
            give(hand_over, Piece::New(entries))?;
        }
        give(hand_over, Piece::UpTo(self.reader.position()))?;
        trouble(hand_over, taken)
    }
}

fn give(hand_over: &mpsc::Sender<Piece>, piece: Piece) -> Result<(), Unwanted> {
    hand_over.blocking_send(piece).map_err(|_| Unwanted)
}

fn trouble(hand_over: &mpsc::Sender<Piece>, taken: Taken) -> Result<(), Unwanted> {
    if taken == Taken::default() { Ok(()) } else { give(hand_over, Piece::Trouble(taken)) }
}

async fn take(piece: Piece, feed: &mut Feed, tell: &mpsc::Sender<Observation>) -> Result<(), Gone> {
    match piece {
        Piece::Past(entries) => feed.learn(&entries),
        // Where an entry stands says that it is new, whatever the clock says.
        Piece::PastEnds => feed.tell_since(Timestamp::MIN),
        Piece::New(entries) => feed.push(&entries, tell).await?,
        Piece::UpTo(_) => {}
        Piece::Trouble(Taken { lost, trouble }) => {
            feed.lose(lost);
            for words in trouble {
                feed.fail(format!("the node's journal cannot be read in whole: {words}"), tell).await?;
            }
        }
    }
    Ok(())
}

/// The last entries of these units, or of the kernel where there are none, in the journal's export format: at most so many, of
/// at most so many bytes, written since.
///
/// # Errors
///
/// Fails where there is no file that can be read.
pub fn gather(
    place: Place,
    units: Option<&[String]>,
    since: Timestamp,
    most: usize,
    most_bytes: usize,
) -> Result<Vec<u8>, NoFiles> {
    let terms = units.map_or_else(|| Terms::with("_TRANSPORT=kernel"), Terms::of_units);
    let mut reader = Reader::open(place, terms, ALL_FIELDS)?;
    let since = u64::try_from(since.as_microsecond()).unwrap_or(0);
    let mut gathered = Vec::new();
    let Ok(Taken { trouble, .. }) = reader.past(
        most,
        |_, realtime| realtime >= since,
        |entry, _, _| {
            if gathered.len() + entry.len() <= most_bytes {
                gathered.extend_from_slice(entry);
            }
            Ok::<_, Infallible>(())
        },
    );
    for words in trouble {
        tracing::warn!("the node's journal cannot be read in whole: {words}");
    }
    Ok(gathered)
}
