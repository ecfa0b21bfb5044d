//! Standard output and the recording, each written to by a thread of its own: a slow reader, or a slow disk, never keeps
//! the ring buffer from being read.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

/// Lines that may wait for a slow reader; at about 2 KiB each some 8 MiB at the worst. More are counted as lost.
const WAITING: usize = 4096;

/// Lines on their way out.
pub struct Writer {
    lines: SyncSender<String>,
    thread: JoinHandle<io::Result<()>>,
    lost: u64,
}

impl Writer {
    /// Standard output. The receiver is told when its reader has gone.
    pub fn stdout() -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (closed, ended) = oneshot::channel();
        let writer = Self::start("stdout", io::stdout(), move || {
            // Nobody listens any more when the program is ending by itself.
            let _ = closed.send(());
        })?;
        Ok((writer, ended))
    }

    /// A file, which is appended to: it may be cut to nothing meanwhile (logrotate's `copytruncate`).
    pub fn file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Self::start("record", file, || {})
    }

    fn start(
        name: &str,
        outlet: impl Write + Send + 'static,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let result = write_all(&waiting, outlet);
            ended();
            result
        })?;
        Ok(Self { lines, thread, lost: 0 })
    }

    /// Whether it writes no more: it failed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Hands over a line, or counts it as lost.
    pub fn send(&mut self, line: String) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.lost += 1;
        }
    }

    /// How many lines were lost since this was last asked.
    pub fn newly_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Waits until every line is out.
    pub fn finish(self) -> io::Result<()> {
        drop(self.lines);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread that writes lines died")))
    }
}

/// A line is one write, so that lines of several writers do not mix, and is out before the next one is taken.
fn write_all(waiting: &Receiver<String>, mut outlet: impl Write) -> io::Result<()> {
    for line in waiting {
        outlet.write_all(line.as_bytes())?;
        outlet.flush()?;
    }
    Ok(())
}
