//! One output, written to by a thread of its own: a slow reader, or a slow disk, never keeps the ring buffer from being
//! read.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    file::{LineFile, Rotation},
    queue::{News, Next, Queue, Room},
};
use crate::confinement::Confinement;

/// A line has some 2 KiB, one of a kill with its candidates up to 10.
const ROOM: Room = Room { lines: 4096, bytes: 4 << 20 };
/// How long the end of the program waits for a reader.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines on their way out.
pub(crate) struct Writer {
    queue: Arc<Queue>,
}

impl Writer {
    /// Standard output. The receiver learns when its reader has gone.
    pub(super) fn stdout(confinement: &Confinement) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (closed, ended) = oneshot::channel();
        let confinement = confinement.clone();
        let writer = Self::start("stdout", ROOM, move |queue| {
            confinement.confine_thread(None);
            queue.end(write_stdout(queue));
            // Nobody listens any more when the program is ending by itself.
            let _ = closed.send(());
        })?;
        Ok((writer, ended))
    }

    /// A file, which is appended to.
    pub(crate) fn file(path: &Path, rotation: Rotation, confinement: &Confinement) -> io::Result<Self> {
        let file = LineFile::open(path, rotation)?;
        let (path, confinement) = (path.to_owned(), confinement.clone());
        Self::start("output", ROOM, move |queue| {
            confinement.confine_thread(Some(&path));
            queue.end(write_file(queue, file));
        })
    }

    /// A server, to which `send` sends all.
    pub(super) fn server(
        name: &str,
        confinement: &Confinement,
        send: impl FnOnce(&Queue) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let confinement = confinement.clone();
        Self::start(name, ROOM, move |queue| {
            confinement.confine_thread(None);
            queue.end(send(queue));
        })
    }

    fn start(name: &str, room: Room, write: impl FnOnce(&Queue) + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(room));
        let of_thread = Arc::clone(&queue);
        thread::Builder::new().name(name.to_owned()).spawn(move || write(&of_thread))?;
        Ok(Self { queue })
    }

    /// Hands over a line. Never waits.
    pub(crate) fn send(&self, line: Arc<str>) {
        self.queue.push(line);
    }

    /// Opens the file again.
    pub(super) fn reopen(&self) {
        self.queue.reopen();
    }

    /// Puts the file aside, and begins a new one.
    pub(crate) fn rotate(&self) {
        self.queue.rotate();
    }

    /// What has become of it since this was last asked: [`Queue::news`].
    pub(crate) fn news(&self, all: bool) -> News {
        self.queue.news(all)
    }

    /// Waits until every line is out.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.queue.finish(PATIENCE)
    }
}

/// A line is one write, so that lines of several writers do not mix, and is out before the next one is taken. The first
/// failure is the end: the reader has gone.
fn write_stdout(queue: &Queue) -> io::Result<()> {
    let mut stdout = io::stdout();
    loop {
        match queue.next() {
            Next::Line(line) => {
                stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).inspect_err(|_| queue.lose(1))?;
            }
            Next::Reopen | Next::Rotate => {}
            Next::End => return Ok(()),
        }
    }
}

/// A disk that is full may have room again: each line is tried, and those that fail are lost. The result is the last line's.
fn write_file(queue: &Queue, mut file: LineFile) -> io::Result<()> {
    let mut last = Ok(());
    loop {
        match queue.next() {
            Next::Line(line) => {
                if file.is_full(&line) {
                    rotate(queue, &mut file);
                }
                let result = file.write(&line);
                match (&last, &result) {
                    (Ok(()), Err(error)) => {
                        queue.complain(format!("lines are lost until it can be written to again: {error}"));
                    }
                    (Err(_), Ok(())) => queue.complain("it can be written to again".to_owned()),
                    _ => {}
                }
                if result.is_err() {
                    queue.lose(1);
                }
                last = result;
            }
            Next::Reopen => {
                if let Err(error) = file.reopen() {
                    queue.complain(format!("it cannot be opened again, and stays as it is: {error}"));
                }
            }
            Next::Rotate => rotate(queue, &mut file),
            Next::End => return last,
        }
    }
}

fn rotate(queue: &Queue, file: &mut LineFile) {
    if let Err(error) = file.rotate() {
        queue.complain(format!("it cannot be rotated, and grows: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    const LITTLE: Room = Room { lines: 3, bytes: 1 << 10 };

    /// A writer whose reader takes one line each time it is let to, and what it took.
    fn slow() -> io::Result<(Writer, mpsc::Sender<()>, mpsc::Receiver<String>)> {
        let (allow, allowed) = mpsc::channel();
        let (take, taken) = mpsc::channel();
        let writer = Writer::start("slow", LITTLE, move |queue| {
            while allowed.recv().is_ok()
                && let Next::Line(line) = queue.next()
            {
                let _ = take.send(line.to_string());
            }
            queue.end(Ok(()));
        })?;
        Ok((writer, allow, taken))
    }

    #[test]
    fn a_slow_reader_gets_the_newest_lines_and_the_oldest_are_counted() -> io::Result<()> {
        let (writer, allow, taken) = slow()?;
        for number in 1..=10 {
            writer.send(format!("{number}\n").into());
        }
        assert_eq!(writer.news(false), News { lost: 7, trouble: Vec::new() });
        for _ in 0..4 {
            let _ = allow.send(());
        }
        writer.finish()?;
        assert_eq!(taken.iter().collect::<Vec<_>>(), ["8\n", "9\n", "10\n"]);
        assert_eq!(writer.news(true).lost, 0, "they are counted once");
        Ok(())
    }

    #[test]
    fn what_waits_is_bounded_by_its_bytes_too() -> io::Result<()> {
        let (writer, ..) = slow()?;
        for _ in 0..3 {
            writer.send("x".repeat(600).into());
        }
        assert_eq!(writer.news(false).lost, 2);
        Ok(())
    }

    #[test]
    fn that_lines_are_lost_is_not_reported_so_often_that_it_is_what_loses_them() -> io::Result<()> {
        let (writer, ..) = slow()?;
        let send = |lines| (0..lines).for_each(|_| writer.send("line\n".into()));
        send(5);
        assert_eq!(writer.news(false).lost, 2);
        send(1);
        assert_eq!(writer.news(false).lost, 0, "it was reported just now");
        send(1);
        assert_eq!(writer.news(true).lost, 2, "at the end everything is");
        Ok(())
    }

    #[test]
    fn a_reader_that_never_reads_does_not_keep_the_program_from_ending() -> io::Result<()> {
        let (writer, _allow, _taken) = slow()?;
        writer.send("one\n".into());
        let started = Instant::now();
        let error = writer.queue.finish(Duration::from_millis(50)).expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        Ok(())
    }

    #[test]
    fn a_full_disk_is_said_once_and_each_line_counted() -> io::Result<()> {
        let writer = Writer::file(Path::new("/dev/full"), Rotation::NEVER, &Confinement::default())?;
        for _ in 0..5 {
            writer.send("line\n".into());
        }
        let error = writer.finish().expect_err("the disk is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let News { lost, trouble } = writer.news(true);
        assert_eq!((lost, trouble.len()), (5, 1), "{trouble:?}");
        Ok(())
    }
}
