//! The journal through `journalctl`, where its files cannot be read: by the version of systemd that wrote them, whatever
//! compression or format they have.
//!
//! `journalctl` follows the journal across its rotation. Where it ends (journald's restart ends older ones), another goes
//! on after the last entry that was read, so that nothing is lost and nothing reported twice.

use std::{
    io,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use memchr::{memchr, memmem, memrchr};
use rustix::{
    fs::{Mode, OFlags},
    process::{Signal, set_parent_process_death_signal},
};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStdout, Command},
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tracing::{debug, info};

use crate::{
    event::Observation,
    source::{
        kubelet::feed::{Feed, Gone, SILENCE},
        kubelet_log::MAX_LINE_BYTES,
    },
};

/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// How many of the last entries are read for the names in them.
const PAST: &str = "--lines=5000";
/// The fields that are read, beside those that are always printed; from systemd 236 on.
const FIELDS: &str = "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_PID";
/// The pause before the next attempt, at first and at last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));
/// One that lived so long did not fail at once.
const LIVED: Duration = Duration::from_secs(10);
/// Of what it says on standard error, so much is kept.
const LAST_WORDS: usize = 512;
/// Where systemd's programs are, NixOS's too.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin";

/// Why `journalctl` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoJournalctl {
    /// There is none.
    #[error("there is no journalctl here")]
    NoProgram,
    /// It cannot be started.
    #[error("journalctl cannot be run ({0})")]
    NotRun(io::Error),
}

/// The journal, as `journalctl` prints it.
pub(in crate::source::kubelet) struct Journalctl {
    units: Vec<String>,
    /// Where its files are, if not in the usual place.
    folder: Option<PathBuf>,
    /// After which entry to go on.
    cursor: Option<String>,
    /// Whether this `journalctl` can leave fields out.
    chooses_fields: bool,
    buffer: Vec<u8>,
}

impl Journalctl {
    /// Tries it out; `units` are those whose entries are read.
    pub(super) fn find(units: Vec<String>, folder: Option<PathBuf>) -> Result<Self, NoJournalctl> {
        let journal = Self { units, folder, cursor: None, chooses_fields: true, buffer: Vec::new() };
        let mut command = command();
        command.as_std_mut().arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        match command.as_std_mut().status() {
            Ok(_) => Ok(journal),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NoJournalctl::NoProgram),
            Err(error) => Err(NoJournalctl::NotRun(error)),
        }
    }

    fn follow(&self) -> io::Result<Child> {
        let mut command = command();
        command.args(["--follow", "--all", "--quiet", "--no-pager", "--output=json"]);
        match &self.cursor {
            Some(cursor) => command.arg("--no-tail").arg(format!("--after-cursor={cursor}")),
            None => command.arg(PAST),
        };
        if self.chooses_fields {
            command.arg(FIELDS);
        }
        if let Some(folder) = &self.folder {
            command.arg("--directory").arg(folder);
        }
        for unit in &self.units {
            command.arg(format!("--unit={unit}"));
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    pub(super) async fn run(
        mut self,
        feed: &mut Feed,
        tell: &mpsc::Sender<Observation>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Gone> {
        let (mut pause, mut failed) = (PAUSES.0, false);
        loop {
            let started = Instant::now();
            let (ended, worked) = match self.follow() {
                Ok(mut child) => match self.read(&mut child, feed, tell, &mut stop).await? {
                    Ended::Stopped => {
                        if let Err(error) = child.kill().await {
                            debug!("journalctl cannot be ended: {error}");
                        }
                        return Ok(());
                    }
                    Ended::Itself { worked } => (last_words(child).await, worked),
                },
                Err(error) => (error.to_string(), false),
            };
            feed.idle(tell).await?;
            if self.chooses_fields && ended.contains("output-fields") {
                debug!("this journalctl prints all fields: {ended}");
                self.chooses_fields = false;
                continue;
            }
            if worked || started.elapsed() > LIVED {
                (pause, failed) = (PAUSES.0, false);
                info!("journalctl ended ({ended}); another goes on where it was");
            } else if !failed {
                failed = true;
                let message =
                    format!("the node's journal cannot be followed ({ended}); it is tried again until it can");
                feed.fail(message, tell).await?;
            }
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Reads until it ends, or is to.
    async fn read(
        &mut self,
        child: &mut Child,
        feed: &mut Feed,
        tell: &mpsc::Sender<Observation>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Ended, Gone> {
        let mut worked = false;
        let Some(mut stdout) = child.stdout.take() else { return Ok(Ended::Itself { worked }) };
        self.buffer.clear();
        loop {
            let read = tokio::select! {
                read = timeout(SILENCE, self.more(&mut stdout)) => read,
                _ = stop.wait_for(|stop| *stop) => return Ok(Ended::Stopped),
            };
            match read {
                Ok(Ok(0) | Err(_)) => return Ok(Ended::Itself { worked }),
                Ok(Ok(_)) => {
                    worked = true;
                    self.take(feed, tell).await?;
                }
                Err(_) => feed.idle(tell).await?,
            }
        }
    }

    /// Reads more, after what is there of a line. Nothing is lost where it is given up halfway.
    async fn more(&mut self, stdout: &mut ChildStdout) -> io::Result<usize> {
        self.buffer.reserve(PIECE);
        stdout.read_buf(&mut self.buffer).await
    }

    /// Gives whole entries on, and keeps the last one's cursor: an entry that is cut when `journalctl` ends is read again.
    async fn take(&mut self, feed: &mut Feed, tell: &mpsc::Sender<Observation>) -> Result<(), Gone> {
        let Some(end) = memrchr(b'\n', &self.buffer) else {
            // A coredump's fields may be of any size; the reader counts what is beyond its limit.
            if self.buffer.len() > MAX_LINE_BYTES {
                feed.push(&self.buffer, tell).await?;
                self.buffer.clear();
            }
            return Ok(());
        };
        let lines = &self.buffer[..=end];
        if let Some(cursor) = last_cursor(lines) {
            self.cursor = Some(cursor);
        }
        feed.push(lines, tell).await?;
        self.buffer.drain(..=end);
        if self.buffer.capacity() > MAX_LINE_BYTES {
            self.buffer.shrink_to(PIECE);
        }
        Ok(())
    }
}

/// What `journalctl` prints for these arguments, once: at most so many bytes, within this time. `folder` is where
/// the journal's files are, if not in the usual place.
///
/// # Errors
///
/// Fails where `journalctl` cannot be run, or does not end in time.
pub async fn print(
    folder: Option<PathBuf>,
    arguments: &[String],
    limit: Duration,
    most: usize,
) -> Result<Vec<u8>, NotPrinted> {
    let journal = Journalctl::find(Vec::new(), folder)?;
    let mut command = command();
    command.args(arguments);
    if let Some(folder) = &journal.folder {
        command.arg("--directory").arg(folder);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(NoJournalctl::NotRun)?;
    let Some(stdout) = child.stdout.take() else { return Err(NotPrinted::Nothing(String::new())) };
    let (mut printed, mut stdout) = (Vec::new(), stdout.take(most as u64 + 1));
    let read = timeout(limit, stdout.read_to_end(&mut printed)).await;
    if read.is_err() || printed.len() > most {
        if let Err(error) = child.kill().await {
            debug!("journalctl cannot be ended: {error}");
        }
        let words = if read.is_err() { "in time" } else { "in so little room" };
        return Err(NotPrinted::Nothing(format!("it did not come to its end {words}")));
    }
    let words = last_words(child).await;
    if !printed.trim_ascii().is_empty() {
        return Ok(printed);
    }
    // `journalctl` that has found nothing of what was asked for says nothing, or that it opened no files.
    let words = if words == "exit status: 0" { "it has no such lines".to_owned() } else { words };
    Err(NotPrinted::Nothing(words))
}

/// Why `journalctl` printed nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotPrinted {
    /// It cannot be run.
    #[error(transparent)]
    No(#[from] NoJournalctl),
    /// It was run.
    #[error("the journal: {0}")]
    Nothing(String),
}

/// Whether there is a `journalctl` here.
pub(in crate::source::kubelet) fn is_there() -> bool {
    std::env::split_paths(PATH).any(|folder| folder.join("journalctl").exists())
}

/// The command, ready for its arguments.
fn command() -> Command {
    let mut command = Command::new("journalctl");
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    // SAFETY: between fork and exec only system calls are made: no memory is allocated and no lock is taken.
    unsafe {
        command.pre_exec(|| {
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // Landlock forbids it: then it is killed as late as oomtrace.
            let _ = killable();
            Ok(())
        });
    }
    command
}

/// Takes back what oomtrace was granted against the OOM killer: where memory ends, `journalctl` goes first, and comes again.
fn killable() -> io::Result<()> {
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, b"0")?;
    Ok(())
}

/// How following came to an end.
enum Ended {
    Stopped,
    /// Whether it had anything to say before.
    Itself {
        worked: bool,
    },
}

/// `"__CURSOR":"s=…;i=…"` of the last entry that has one.
fn last_cursor(lines: &[u8]) -> Option<String> {
    let label = b"\"__CURSOR\"";
    let after = &lines[memmem::rfind(lines, label)? + label.len()..];
    // Old versions put blanks around the colon.
    let start = memchr(b'"', after)? + 1;
    let end = start + memchr(b'"', &after[start..])?;
    std::str::from_utf8(&after[start..end]).ok().map(str::to_owned)
}

/// What it said when it ended, or how it did.
async fn last_words(mut child: Child) -> String {
    let mut words = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = timeout(SILENCE, stderr.take(LAST_WORDS as u64).read_to_end(&mut words)).await;
    }
    let words = String::from_utf8_lossy(&words).trim().replace('\n', "; ");
    match child.wait().await {
        Ok(status) if words.is_empty() => status.to_string(),
        Ok(status) => format!("{words}; {status}"),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::last_cursor;

    #[test]
    fn the_cursor_is_the_last_entrys() {
        let lines = br#"{"__CURSOR":"s=1;i=2","MESSAGE":"x"}
{"MESSAGE":"y","__CURSOR" : "s=1;i=3"}
"#;
        assert_eq!(last_cursor(lines).as_deref(), Some("s=1;i=3"));
        assert_eq!(last_cursor(b"{\"MESSAGE\":\"__CURSOR\"}\n"), None);
    }
}
