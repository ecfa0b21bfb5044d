//! The log of the kubelet that runs on this node, read as it is written.
//!
//! | from | how |
//! |---|---|
//! | the node's journal | its files, followed across rotation; else `journalctl --follow` |
//! | a file | followed across rotation and truncation |
//! | standard input | as it comes |
//!
//! What a log says is read by [`kubelet_log`](super::kubelet_log); here is only where its bytes come from.

mod feed;
mod file;
mod journal;
mod stdin;

use std::{path::PathBuf, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

pub use self::journal::{NoJournal, NoJournalctl, NotPrinted, gather, known_units, print};
use self::{feed::Feed, file::Followed, journal::Journal};
use super::{journal::Place, kubelet_log::Unprepared};
use crate::{degradation::Degradation, event::Observation};

/// How often a log that is not there is looked for: a file, and a journal.
const LOOK_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where the kubelet's log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// In the node's journal.
    Journal {
        /// The units of which it is the log; all that are known to run a kubelet where there are none.
        units: Vec<String>,
        /// Where its files are.
        place: Place,
        /// The folder in which is kept how far it was read, if that is to be.
        state: Option<PathBuf>,
    },
    /// In a file.
    File(PathBuf),
    /// On standard input.
    Stdin,
}

impl Log {
    /// Whether it may be read by `journalctl` later, where it is not there yet.
    pub(crate) fn may_need_journalctl(&self) -> bool {
        matches!(self, Self::Journal { .. }) && journal::has_journalctl()
    }
}

/// Why the kubelet's log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// There is no journal to be had.
    #[error(transparent)]
    Journal(#[from] NoJournal),
    /// The file.
    #[error("the kubelet's log {path} cannot be read: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Nothing can.
    #[error(transparent)]
    Unprepared(#[from] Unprepared),
}

/// The kubelet's log, from now on.
pub struct Kubelet {
    feed: Feed,
    from: Opened,
}

enum Opened {
    Journal(Journal),
    File(Followed),
    Stdin,
}

impl Kubelet {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// Fails where the log cannot be followed.
    pub fn open(log: &Log) -> Result<Self, Unreadable> {
        let (from, units) = match log {
            Log::Journal { units, place, state } => {
                (Opened::Journal(Journal::find(units, place, state.as_deref())?), units.as_slice())
            }
            Log::File(path) => {
                let followed = Followed::open(path).map_err(|error| Unreadable::File { path: path.clone(), error })?;
                (Opened::File(followed), [].as_slice())
            }
            Log::Stdin => (Opened::Stdin, [].as_slice()),
        };
        let identifiers = units.iter().map(|unit| unit.strip_suffix(".service").unwrap_or(unit).to_owned()).collect();
        Ok(Self { feed: Feed::new(identifiers)?, from })
    }

    /// Looks for a log that is not there until it is, and reads it then; `degradation` says so meanwhile.
    pub async fn run_when_there(
        log: Log,
        degradation: Degradation,
        tell: mpsc::Sender<Observation>,
        mut stop: watch::Receiver<bool>,
    ) {
        let every = if matches!(log, Log::File(_)) { LOOK_FOR.0 } else { LOOK_FOR.1 };
        let since = jiff::Timestamp::now();
        let kubelet = loop {
            tokio::select! {
                () = sleep(every) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if let Ok(kubelet) = Self::open(&log) {
                break kubelet;
            }
        };
        degradation.recover();
        kubelet.whole_since(since).run(tell, stop).await;
    }

    /// Whether it is read by `journalctl`.
    pub(crate) fn runs_journalctl(&self) -> bool {
        matches!(self.from, Opened::Journal(Journal::Journalctl(..)))
    }

    /// What is lacking in the way it is read, and why.
    #[must_use]
    pub fn lacking(&self) -> Option<String> {
        match &self.from {
            Opened::Journal(journal) => journal.lacking(),
            Opened::File(_) | Opened::Stdin => None,
        }
    }

    /// Tells also what was written before it was opened, from then on.
    fn whole_since(mut self, since: jiff::Timestamp) -> Self {
        self.feed.tell_since(since);
        match &mut self.from {
            Opened::File(file) => file.rewind(),
            Opened::Journal(journal) => journal.tell_since(since),
            Opened::Stdin => {}
        }
        self
    }

    /// Reads and tells until `stop` says so, or nobody listens any more; then tells what is open.
    pub async fn run(self, tell: mpsc::Sender<Observation>, stop: watch::Receiver<bool>) {
        let Self { mut feed, from } = self;
        // The receiver has gone.
        let _ = match from {
            Opened::Journal(journal) => journal.run(&mut feed, &tell, stop).await,
            Opened::File(file) => file.run(&mut feed, &tell, stop).await,
            Opened::Stdin => stdin::run(&mut feed, &tell, stop).await,
        };
        let _ = feed.finish(&tell).await;
    }
}
