//! Lines between their sender, which never waits, and the thread that writes them, which may wait for long.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long after losses were reported more of the same output are.
const LOST_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// What waits for a slow output is no more than this: the oldest lines make room for the newest, and are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Lines.
    pub(super) lines: usize,
    /// Their bytes.
    pub(super) bytes: usize,
}

/// What the thread is to do next.
pub(super) enum Next {
    /// Write this.
    Line(Arc<str>),
    /// Open its file again: somebody may have moved it away.
    Reopen,
    /// Put its file aside, and begin a new one.
    Rotate,
    /// Nothing more: everything is written.
    End,
}

/// What a thread that takes several lines at once is to do next.
pub(super) enum Taken {
    /// Send these.
    Lines(Vec<Arc<str>>),
    /// Whatever it waited for the time for.
    Nothing,
    /// Nothing more: everything is taken.
    End,
}

/// What has become of an output since it was last asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Lines that made room for newer ones, or could not be written.
    pub(crate) lost: u64,
    /// What began to go wrong, or went wrong on the way, each in a sentence.
    pub(crate) trouble: Vec<String>,
}

/// Shared by both sides.
pub(super) struct Queue {
    room: Room,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Arc<str>>,
    bytes: usize,
    /// Lines that the thread has in hand.
    taken: usize,
    reopen: bool,
    rotate: bool,
    closing: bool,
    news: News,
    lost_reported: Option<Instant>,
    /// How the thread ended, once it has.
    ended: Option<io::Result<()>>,
}

impl Queue {
    pub(super) fn new(room: Room) -> Self {
        Self { room, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line; the oldest go where there is no room. Behind the thread's end, all are gone.
    pub(super) fn push(&self, line: Arc<str>) {
        let mut state = self.state();
        if state.ended.is_some() {
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        while state.lines.len() > self.room.lines || (state.bytes > self.room.bytes && state.lines.len() > 1) {
            let Some(oldest) = state.lines.pop_front() else { break };
            state.bytes -= oldest.len();
            state.news.lost += 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Has the file opened again.
    pub(super) fn reopen(&self) {
        self.state().reopen = true;
        self.changed.notify_all();
    }

    /// Has the file put aside before anything more is written to it.
    pub(super) fn rotate(&self) {
        self.state().rotate = true;
        self.changed.notify_all();
    }

    /// What has happened since this was last asked. Losses are reported when the first line is lost, and then now and then, or `all`
    /// of them: that lines are lost is a line, too, which makes another one go.
    pub(super) fn news(&self, all: bool) -> News {
        let mut state = self.state();
        let mut news = std::mem::take(&mut state.news);
        if all || state.lost_reported.is_none_or(|reported| reported.elapsed() >= LOST_AGAIN_AFTER) {
            state.lost_reported = if news.lost > 0 { Some(Instant::now()) } else { state.lost_reported };
        } else {
            state.news.lost = std::mem::take(&mut news.lost);
        }
        news
    }

    /// Waits until every line is written, but no longer than `patience`: a reader that does not read may never do so.
    pub(super) fn finish(&self, patience: Duration) -> io::Result<()> {
        let mut state = self.state();
        state.closing = true;
        self.changed.notify_all();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| state.ended.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.ended.take().unwrap_or_else(|| {
            let left = state.lines.len() + state.taken;
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it takes nothing any more, and {left} lines are left"),
            ))
        })
    }

    /// For the thread: waits for something to do.
    pub(super) fn next(&self) -> Next {
        let mut state = self
            .changed
            .wait_while(self.state(), |state| {
                state.lines.is_empty() && !state.reopen && !state.rotate && !state.closing
            })
            .unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.reopen) {
            return Next::Reopen;
        }
        if std::mem::take(&mut state.rotate) {
            return Next::Rotate;
        }
        match state.lines.pop_front() {
            Some(line) => {
                state.bytes -= line.len();
                state.taken = 1;
                Next::Line(line)
            }
            None => Next::End,
        }
    }

    /// For the thread: waits for lines, and takes what there is of them, at least one and no more than `most`; nothing, where there
    /// are none until then.
    pub(super) fn take(&self, most: Room, until: Option<Instant>) -> Taken {
        let mut state = self.wait_while(until, |state| state.lines.is_empty() && !state.closing);
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while let Some(line) = state.lines.front()
            && lines.len() < most.lines
            && (lines.is_empty() || bytes + line.len() <= most.bytes)
        {
            bytes += line.len();
            lines.extend(state.lines.pop_front());
        }
        state.bytes -= bytes;
        state.taken = lines.len();
        match lines.is_empty() {
            false => Taken::Lines(lines),
            true if state.closing => Taken::End,
            true => Taken::Nothing,
        }
    }

    /// For the thread, which has lines in hand: waits for the time, but not when the end is waited for. Whether it is.
    pub(super) fn wait(&self, until: Option<Instant>) -> bool {
        self.wait_while(until, |state| !state.closing).closing
    }

    fn wait_while(&self, until: Option<Instant>, waits: impl Fn(&mut State) -> bool) -> MutexGuard<'_, State> {
        let state = self.state();
        match until {
            None => self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let patience = until.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout_while(state, patience, waits);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// For the thread: so many lines could not be written.
    pub(super) fn lose(&self, lines: u64) {
        self.state().news.lost += lines;
    }

    /// For the thread: something went wrong.
    pub(super) fn complain(&self, trouble: String) {
        self.state().news.trouble.push(trouble);
    }

    /// For the thread: it is over.
    pub(super) fn end(&self, result: io::Result<()>) {
        let mut state = self.state();
        let left = state.lines.len() as u64;
        state.news.lost += left;
        state.lines.clear();
        state.bytes = 0;
        state.ended = Some(result);
        drop(state);
        self.changed.notify_all();
    }
}
