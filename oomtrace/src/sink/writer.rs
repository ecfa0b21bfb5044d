//! Standard output, written to by a thread of its own: a slow reader never keeps the ring buffer from being read.

use std::{
    io::{self, Write as _},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

/// Lines that may wait for a slow reader; at about 2 KiB each some 8 MiB at the worst. More are counted as lost.
const WAITING: usize = 4096;

/// Lines on their way to standard output.
pub struct Writer {
    lines: SyncSender<String>,
    thread: JoinHandle<io::Result<()>>,
    lost: u64,
}

impl Writer {
    /// Starts the thread. The receiver is told when the reader has gone.
    pub fn stdout() -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (lines, waiting) = sync_channel(WAITING);
        let (closed, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            let result = write_all(&waiting);
            // Nobody listens any more when the program is ending by itself.
            let _ = closed.send(());
            result
        })?;
        Ok((Self { lines, thread, lost: 0 }, ended))
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
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes standard output died")))
    }
}

/// A line is one write, so that lines of several writers do not mix, and is out before the next one is taken.
fn write_all(waiting: &Receiver<String>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for line in waiting {
        stdout.write_all(line.as_bytes())?;
        stdout.flush()?;
    }
    Ok(())
}
