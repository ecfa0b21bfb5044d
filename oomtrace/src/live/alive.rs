//! A file that says that the main loop goes round, for probes that run a command: `oomtrace healthy`.
//!
//! It holds the boot-time clock, which nobody can set, as of the last round. It is there only while the node is traced: the loop
//! begins once something is attached, and a file that an earlier run left behind is removed before that.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tracing::warn;

use crate::clock;

/// How often it is written.
const WRITTEN_EVERY: Duration = Duration::from_secs(1);

/// The file, written by the main loop.
#[derive(Debug, Default)]
pub(super) struct Alive {
    file: Option<PathBuf>,
    written: Option<Instant>,
    unwritten: Option<String>,
}

impl Alive {
    /// Removes what an earlier run left behind. Nothing is written before the first [`Alive::beat`].
    pub(super) fn start(file: Option<&Path>) -> Self {
        let mut alive = Self { file: file.map(ToOwned::to_owned), ..Self::default() };
        alive.remove();
        alive
    }

    /// The main loop goes round.
    pub(super) fn beat(&mut self, now: Instant) {
        let Some(file) = &self.file else { return };
        if self.written.is_some_and(|written| now.duration_since(written) < WRITTEN_EVERY) {
            return;
        }
        self.written = Some(now);
        let unwritten = write(file).err().map(|error| {
            format!(
                "`oomtrace healthy` will say that oomtrace is not alive: {error:#} (--alive-file); it is tried again"
            )
        });
        if let (Some(words), None) = (&unwritten, &self.unwritten) {
            warn!("{words}");
        }
        self.unwritten = unwritten;
    }

    /// The main loop ends.
    pub(super) fn finish(&mut self) {
        self.remove();
    }

    fn remove(&mut self) {
        let Some(file) = &self.file else { return };
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(
                    "{} cannot be removed ({error}): it may say that oomtrace is alive when it is not",
                    file.display()
                );
            }
            _ => {}
        }
    }

    /// Why the file cannot be written now.
    pub(super) fn degraded(&self) -> Option<String> {
        self.unwritten.clone()
    }
}

/// Replaces the file, so that nobody reads half of it.
fn write(file: &Path) -> anyhow::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, clock::boot_ns().to_string()).with_context(|| format!("{} cannot be written", new.display()))?;
    fs::rename(&new, file).with_context(|| format!("{} cannot be replaced", file.display()))
}

/// How long ago the main loop that writes this file last went round.
///
/// # Errors
///
/// Fails where it is longer ago than `within`, or where the file is missing, torn or of another boot.
pub fn last_round(file: &Path, within: Duration) -> anyhow::Result<Duration> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!(
                "not tracing: there is no {}; oomtrace is starting or stopping, or runs without --alive-file",
                file.display()
            )
        }
        text => text.with_context(|| format!("{} cannot be read", file.display()))?,
    };
    let at: u64 = text.trim().parse().with_context(|| format!("{} holds no time", file.display()))?;
    let now = clock::boot_ns();
    let Some(ago) = now.checked_sub(at).map(Duration::from_nanos) else {
        bail!("not tracing: {} is of another boot", file.display())
    };
    if ago > within {
        bail!("the main loop has not gone round for {} s", ago.as_secs());
    }
    Ok(ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_mins(1);

    /// What a reader learns from a file with this in it.
    fn said(text: &str) -> Result<Duration, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("alive");
        fs::write(&file, text).expect("written");
        last_round(&file, WITHIN).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_loop_that_goes_round_is_alive_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("alive");
        fs::write(&file, clock::boot_ns().to_string()).expect("written");
        let mut alive = Alive::start(Some(&file));
        let starting = last_round(&file, WITHIN).expect_err("an earlier run wrote it").to_string();
        assert!(starting.starts_with("not tracing: there is no "), "{starting}");
        let now = Instant::now();
        alive.beat(now);
        assert!(last_round(&file, WITHIN).expect("it is alive") < WITHIN);
        fs::write(&file, "0").expect("written");
        alive.beat(now + WRITTEN_EVERY / 2);
        assert!(last_round(&file, WITHIN).is_err(), "it is not written each time");
        alive.beat(now + WRITTEN_EVERY);
        assert!(last_round(&file, WITHIN).is_ok());
        alive.finish();
        assert!(last_round(&file, WITHIN).is_err());
    }

    #[test]
    fn a_loop_that_hangs_is_not_alive() {
        let hangs = clock::boot_ns().checked_sub(nanos(WITHIN) + nanos(Duration::from_secs(5)));
        // A machine that was booted within the minute has no such time.
        if let Some(at) = hangs {
            assert_eq!(said(&at.to_string()), Err("the main loop has not gone round for 65 s".to_owned()));
        }
        assert!(said(&clock::boot_ns().to_string()).is_ok());
    }

    fn nanos(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos()).expect("no time that long")
    }

    #[test]
    fn what_is_torn_or_of_another_boot_says_nothing() {
        let torn = said("12 monkeys").expect_err("it is no time");
        assert!(torn.contains("holds no time"), "{torn}");
        let later = clock::boot_ns() + nanos(WITHIN);
        let other = said(&later.to_string()).expect_err("it is in the future");
        assert!(other.ends_with("is of another boot"), "{other}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_reported_once_and_tried_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gone/alive");
        let mut alive = Alive::start(Some(&file));
        let now = Instant::now();
        alive.beat(now);
        let degraded = alive.degraded().expect("it cannot be written");
        assert!(degraded.contains("alive.new cannot be written") && degraded.contains("--alive-file"), "{degraded}");
        fs::create_dir(folder.path().join("gone")).expect("a folder");
        alive.beat(now + WRITTEN_EVERY);
        assert_eq!(alive.degraded(), None);
        assert!(last_round(&file, WITHIN).is_ok());
    }
}
