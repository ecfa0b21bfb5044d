//! Up to which entry the journal was read, kept in a file: what the kubelet logs while oomtrace does not run is reported by its next
//! start in the same boot.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tracing::warn;

use crate::source::journal::Position;

/// The file, in the folder of `--state-dir`.
const FILE: &str = "journal.json";
/// It is written no more often.
const EVERY: Duration = Duration::from_secs(1);

/// Where it is kept, if anywhere.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    file: Option<PathBuf>,
    written: Option<Instant>,
    kept: Position,
    failed: bool,
}

impl Cursor {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { file: folder.map(|folder| folder.join(FILE)), ..Self::default() }
    }

    /// Up to where an earlier run of this boot read. A file that is torn or of another boot says nothing.
    pub(super) fn resume(&self) -> Option<Position> {
        let text = fs::read(self.file.as_ref()?).ok()?;
        serde_json::from_slice(&text).ok().filter(Position::is_of_this_boot)
    }

    /// Keeps a position, unless that was done just now; `at_once` at the end.
    pub(super) fn keep(&mut self, position: Position, at_once: bool) {
        let due = self.written.is_none_or(|written| written.elapsed() >= EVERY);
        let Some(file) = self.file.as_ref().filter(|_| position != self.kept && (due || at_once)) else { return };
        self.written = Some(Instant::now());
        match write(file, position) {
            Ok(()) => (self.kept, self.failed) = (position, false),
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    warn!(
                        "{} cannot be written ({error}): what the kubelet logs while oomtrace does not run stays unknown",
                        file.display()
                    );
                }
                // An old one would have entries reported twice.
                let _ = fs::remove_file(file);
            }
        }
    }
}

fn write(file: &Path, position: Position) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec(&position)?)?;
    fs::rename(new, file)
}
