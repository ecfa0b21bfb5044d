//! The node's journal: its files, else what `journalctl` makes of them.

mod cursor;
mod files;
mod journalctl;
mod units;

use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, watch};

pub(super) use self::journalctl::is_there as has_journalctl;
use self::{files::Files, journalctl::Journalctl};
pub use self::{
    files::gather,
    journalctl::{NoJournalctl, NotPrinted, print},
};
use super::feed::{Feed, Gone};
use crate::{
    event::Observation,
    source::journal::{NoFiles, Place},
};

/// Why there is no journal to be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "the node's journal cannot be read: {files}, and {journalctl}. In a container, mount the node's /var/log/journal and \
     /run/log/journal below --host-root; or name the log's file: --kubelet-log FILE"
)]
pub struct NoJournal {
    files: NoFiles,
    journalctl: NoJournalctl,
}

/// The node's journal.
pub(super) enum Journal {
    /// Its files.
    Files(Box<Files>),
    /// By `journalctl`, and why not its files.
    Journalctl(Journalctl, NoFiles),
}

impl Journal {
    /// Finds it; `units` are the kubelet's, all that are known where there are none. In the folder `state` is kept how far it was read.
    pub(super) fn find(units: &[String], place: &Place, state: Option<&Path>) -> Result<Self, NoJournal> {
        let units = if units.is_empty() { units::known() } else { units::with_runtimes(units) };
        match Files::open(&units, place, state) {
            Ok(files) => Ok(Self::Files(Box::new(files))),
            Err(files) => match Journalctl::find(units, folder(place)) {
                Ok(journalctl) => Ok(Self::Journalctl(journalctl, files)),
                Err(journalctl) => Err(NoJournal { files, journalctl }),
            },
        }
    }

    /// What is lacking in the way it is read.
    pub(super) fn lacking(&self) -> Option<String> {
        match self {
            Self::Files(_) => None,
            Self::Journalctl(_, why) => Some(format!("the journal is read by journalctl, not from its files: {why}")),
        }
    }

    /// Tells also what was written from then on, before it was opened.
    pub(super) fn tell_since(&mut self, since: jiff::Timestamp) {
        if let Self::Files(files) = self {
            files.tell_since(since);
        }
    }

    pub(super) async fn run(
        self,
        feed: &mut Feed,
        tell: &mpsc::Sender<Observation>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), Gone> {
        match self {
            Self::Files(files) => files.run(feed, tell, stop).await,
            Self::Journalctl(journalctl, _) => journalctl.run(feed, tell, stop).await,
        }
    }
}

/// The folder that `journalctl` is given, where it would not find the journal itself.
fn folder(place: &Place) -> Option<PathBuf> {
    match place {
        Place::Folder(folder) => Some(folder.clone()),
        Place::Node(_) => None,
    }
}

/// All units that are known to run a kubelet, and those that speak of containers.
#[must_use]
pub fn known_units() -> Vec<String> {
    units::known()
}
