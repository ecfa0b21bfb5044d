//! What is shown: the last incidents, each as an article that is made once.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use crate::{
    event::Incident,
    sink::html::live::{article, page, summary},
};

/// All articles together; one with a chart has some 10 KiB.
const MOST_BYTES: usize = 8 << 20;
/// So many ids are known of incidents that were let go of: one that comes again is not one of them any more.
const LET_GO: usize = 4096;
/// What stands before an article as an event.
const HEAD: &str = "event: incident\ndata: ";
const TAIL: &str = "\n\n";

/// Shared by the thread that takes incidents and the one that answers.
pub(super) struct Shown {
    state: Mutex<State>,
    versions: watch::Sender<u64>,
    keep: usize,
    /// Names this run: versions of another one mean nothing here.
    run: String,
}

#[derive(Default)]
struct State {
    /// In the order in which they came.
    incidents: Vec<Kept>,
    bytes: usize,
    let_go: u64,
    let_go_ids: VecDeque<String>,
    /// Goes up with each change.
    version: u64,
    /// What was last made of this version.
    page: Option<Bytes>,
    summary: Option<Bytes>,
}

struct Kept {
    node: String,
    /// Without what only its article has.
    incident: Incident,
    /// The article, as it is sent when it changes.
    event: Bytes,
    /// Since which version it is so.
    version: u64,
}

impl Kept {
    fn article(&self) -> &str {
        str::from_utf8(&self.event[HEAD.len()..self.event.len() - TAIL.len()]).unwrap_or_default()
    }
}

impl Shown {
    pub(super) fn new(keep: usize) -> Self {
        let run = Timestamp::now().as_nanosecond().to_string();
        Self { state: Mutex::default(), versions: watch::Sender::new(0), keep, run }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A version that is half made is made again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line of an incident: a new one, or one that takes the place of what was shown of it.
    pub(super) fn take(&self, node: String, incident: Incident) {
        let event = Bytes::from([HEAD, &article(&node, &incident), TAIL].concat());
        let mut state = self.state();
        let version = state.version + 1;
        let known = state.incidents.iter().position(|known| known.incident.id == incident.id);
        if incident.withdrawn {
            let Some(known) = known else { return };
            let gone = state.incidents.remove(known);
            state.bytes -= gone.event.len();
        } else {
            state.bytes += event.len();
            let kept = Kept { node, incident: summed_up(incident), event, version };
            if let Some(known) = known {
                let before = std::mem::replace(&mut state.incidents[known], kept);
                state.bytes -= before.event.len();
            } else {
                if let Some(back) = state.let_go_ids.iter().position(|id| *id == kept.incident.id) {
                    state.let_go_ids.remove(back);
                    state.let_go -= 1;
                }
                state.incidents.push(kept);
            }
            state.make_room(self.keep);
        }
        (state.version, state.page, state.summary) = (version, None, None);
        drop(state);
        self.versions.send_replace(version);
    }

    /// Says when there is a new version.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }

    /// A version's number, by its name; none where it is of another run.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let (run, number) = name.split_once('-')?;
        number.parse().ok().filter(|number| run == self.run && *number <= self.state().version)
    }

    /// All of it as a page.
    pub(super) fn page(&self) -> Bytes {
        let mut state = self.state();
        if let Some(page) = &state.page {
            return page.clone();
        }
        let articles: Vec<_> = state.incidents.iter().map(Kept::article).collect();
        let name = format!("{}-{}", self.run, state.version);
        let page = Bytes::from(page(&state.all(), &articles, state.let_go, &name));
        state.page = Some(page.clone());
        page
    }

    /// Events that bring a page of an earlier version up to date, or one without a version, and the version that it has then. The
    /// last of them has the version's name, so that all come again where one did not arrive.
    pub(super) fn since(&self, since: Option<u64>) -> (Vec<Bytes>, u64) {
        let mut state = self.state();
        let version = state.version;
        if since == Some(version) {
            return (Vec::new(), version);
        }
        let changed = state.incidents.iter().filter(|kept| since.is_none_or(|since| kept.version > since));
        let mut events: Vec<_> = changed.map(|kept| kept.event.clone()).collect();
        let summary = state.summary.take().unwrap_or_else(|| {
            let ids: Vec<_> = state.incidents.iter().map(|kept| &kept.incident.id).collect();
            let html = summary(&state.all(), state.let_go).into_string();
            let data = json!({"incidents": ids, "html": html});
            Bytes::from(format!("id: {}-{version}\nevent: summary\ndata: {data}{TAIL}", self.run))
        });
        events.push(summary.clone());
        state.summary = Some(summary);
        (events, version)
    }
}

impl State {
    fn all(&self) -> Vec<(&str, &Incident)> {
        self.incidents.iter().map(|kept| (kept.node.as_str(), &kept.incident)).collect()
    }

    /// Those go that have not changed for longest, but for the last one.
    fn make_room(&mut self, keep: usize) {
        while self.incidents.len() > keep || self.bytes > MOST_BYTES && self.incidents.len() > 1 {
            let oldest = self.incidents.iter().enumerate().min_by_key(|(_, kept)| kept.version);
            let Some((oldest, _)) = oldest else { return };
            let gone = self.incidents.remove(oldest);
            self.bytes -= gone.event.len();
            self.let_go += 1;
            self.let_go_ids.push_back(gone.incident.id);
            if self.let_go_ids.len() > LET_GO {
                self.let_go_ids.pop_front();
            }
        }
    }
}

/// What tables and counts are made of.
fn summed_up(incident: Incident) -> Incident {
    Incident {
        steps: Vec::new(),
        history: Vec::new(),
        events: Vec::new(),
        events_full: Vec::new(),
        victim: None,
        ..incident
    }
}
