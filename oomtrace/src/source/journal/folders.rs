//! Which folders and files are this machine's.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use super::file::{Damage, JournalFile};
use crate::{clock, node::names::Host};

/// Where journald keeps its files, if it keeps them, and until it does.
const USUAL: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// A folder with more files is read as far.
const MOST_FILES: usize = 4096;

/// Where the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder that is named, with those of machines below it.
    Folder(PathBuf),
    /// A node's usual ones, below its root folder.
    Node(Host),
}

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
pub enum NoFiles {
    /// There is no such folder.
    #[error("there is neither {} nor {}", .0[0].display(), .0[1].display())]
    NoFolders([PathBuf; 2]),
    /// Folders are there, and none is this machine's.
    #[error("no folder in {0} is this machine's (/etc/machine-id), or has a file of this boot")]
    NoneOwn(String),
    /// A folder cannot be read.
    #[error("{path}: {error}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no file that can be read.
    #[error("{path}: {damage}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        damage: Damage,
    },
    /// There is no file.
    #[error("there is no file of the journal in {0}")]
    Empty(String),
}

/// A file that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    /// Size and time of the last change, nanoseconds.
    pub(super) state: (u64, i128),
}

impl Found {
    /// How long ago it was changed, or will be by a clock that was set back.
    pub(super) fn age(&self) -> Duration {
        let now = i128::from(Timestamp::now().as_microsecond()) * 1000;
        Duration::from_nanos(u64::try_from(now.abs_diff(self.state.1)).unwrap_or(u64::MAX))
    }
}

impl Place {
    /// The folders that hold files now.
    pub(super) fn folders(&self) -> Result<Vec<PathBuf>, NoFiles> {
        match self {
            Self::Folder(folder) => {
                let machines = machines(folder).map_err(|error| NoFiles::Folder { path: folder.clone(), error })?;
                Ok(std::iter::once(folder.clone()).chain(machines).collect())
            }
            Self::Node(host) => own(host),
        }
    }
}

/// The machine's own among the folders in the usual places: that of its id, or, where that cannot be read, those that were
/// written in this boot. Others are of containers and of machines whose disk this was.
fn own(host: &Host) -> Result<Vec<PathBuf>, NoFiles> {
    let places = USUAL.map(|place| host.path(place));
    let id = fs::read_to_string(host.path("/etc/machine-id")).ok();
    let id = id.as_deref().map(str::trim).filter(|id| is_id(id));
    let (mut seen, mut found, mut failed) = (false, Vec::new(), None);
    for place in &places {
        match machines(place) {
            Ok(machines) => {
                seen |= !machines.is_empty();
                found.extend(machines);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => failed = Some(NoFiles::Folder { path: place.clone(), error }),
        }
    }
    let boot = boot_id();
    let own = |folder: &PathBuf| match id {
        Some(id) => folder.file_name().is_some_and(|name| name == id),
        None => is_of_boot(folder, boot),
    };
    found.retain(own);
    match (found.is_empty(), failed) {
        (false, _) => Ok(found),
        (true, Some(failed)) => Err(failed),
        (true, None) if seen => Err(NoFiles::NoneOwn(list(&places))),
        (true, None) => Err(NoFiles::NoFolders(places)),
    }
}

/// Paths, one after the other.
pub(super) fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// The folders whose names are ids of machines.
fn machines(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name().to_str().is_some_and(is_id) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn is_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// This boot's id.
pub(super) fn boot_id() -> Option<[u8; 16]> {
    let id = clock::boot_id().ok()?;
    u128::from_str_radix(&id.replace('-', ""), 16).ok().map(u128::to_be_bytes)
}

fn is_of_boot(folder: &Path, boot: Option<[u8; 16]>) -> bool {
    let file = File::open(folder.join("system.journal")).ok().and_then(|file| JournalFile::open(file).ok());
    file.zip(boot).is_some_and(|(file, boot)| file.header().boot_id == boot)
}

/// The journal's files in a folder, those that journald could not close among them.
pub(super) fn files(folder: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_journal = name.to_str().is_some_and(|name| name.ends_with(".journal") || name.ends_with(".journal~"));
        // One that has gone by now is not there.
        let Some(metadata) = entry.metadata().ok().filter(|metadata| is_journal && metadata.is_file()) else {
            continue;
        };
        if found.len() == MOST_FILES {
            break;
        }
        let changed = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        found.push(Found {
            path: entry.path(),
            identity: (metadata.dev(), metadata.ino()),
            state: (metadata.len(), changed),
        });
    }
    Ok(found)
}
