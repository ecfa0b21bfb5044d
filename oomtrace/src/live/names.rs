//! Names of pods and containers for the events that pass.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::waiting;
use crate::{
    clock,
    event::{ContainerId, Event, Observation},
    node::{
        cgroup_path::CgroupIdentity,
        fact::Fact,
        index::{Bounds, Index, Unnamed},
        names::{self, Asker, Heard},
    },
};

/// Facts that may wait to be taken in. The sources wait with the rest.
const WAITING: usize = 1024;
/// Facts that are taken in at a time, so that events do not wait for many.
const AT_A_TIME: usize = 256;
/// The sources are not asked again about the same container so soon: they try again by themselves. Each time they are asked in
/// vain it is twice as long, up to [`NOT_AWAITED_FOR`]: on a host without Kubernetes nobody has a name, and asking costs more than
/// the event.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// A name that was waited for in vain is not waited for again so soon: a host without Kubernetes has none for its containers.
const NOT_AWAITED_FOR: Duration = Duration::from_mins(1);
/// How often what ended long ago is forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How names are learnt, and how long they are kept and waited for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to look.
    pub sources: names::Options,
    /// How much is kept.
    pub bounds: Bounds,
    /// How long an event waits for names.
    pub wait: Duration,
}

/// The index, and what fills it.
pub(super) struct Learning {
    heard: mpsc::Receiver<Heard>,
    known: SharedNames,
    swept: Instant,
}

/// The index, as the pipeline asks it. All of it is on one thread.
#[derive(Clone)]
pub(super) struct SharedNames(Rc<RefCell<State>>);

struct State {
    index: Index,
    asker: Asker,
    asked: HashMap<ContainerId, Asked>,
    /// When their names were waited for in vain.
    in_vain: HashMap<Unnamed, Instant>,
    /// Whose names the event filled last lacks.
    unnamed: Vec<Unnamed>,
    /// Whether any name was learnt at all.
    has_names: bool,
    /// When a name was waited for in vain last.
    gave_up: Option<Instant>,
}

impl Learning {
    /// Starts asking the sources.
    pub(super) fn start(options: &Options) -> io::Result<Self> {
        let (reported, heard) = mpsc::channel(WAITING);
        let asker = names::start(options.sources.clone(), reported)?;
        let index = Index::new(options.bounds);
        let state = State {
            index,
            asker,
            asked: HashMap::new(),
            in_vain: HashMap::new(),
            unnamed: Vec::new(),
            has_names: false,
            gave_up: None,
        };
        Ok(Self { heard, known: SharedNames(Rc::new(RefCell::new(state))), swept: Instant::now() })
    }

    /// Who knows the names.
    pub(super) fn known(&self) -> SharedNames {
        self.known.clone()
    }

    /// Waits until something is heard, and takes it in; gives what is to be reported.
    pub(super) async fn next(&mut self) -> Vec<Observation> {
        let Some(first) = self.heard.recv().await else {
            // The thread has gone, which it does only if it fails: names stay as they are.
            return std::future::pending().await;
        };
        let more = std::iter::from_fn(|| self.heard.try_recv().ok()).take(AT_A_TIME);
        let mut reported = Vec::new();
        let now_ns = clock::boot_ns();
        let mut state = self.known.0.borrow_mut();
        for heard in [first].into_iter().chain(more) {
            match heard {
                Heard::Fact(fact) => {
                    state.has_names |= is_name(&fact);
                    state.index.learn(fact, now_ns);
                }
                Heard::Event(event) => reported.push(event),
            }
        }
        reported
    }

    /// Takes in what the kernel reported of cgroups, and asks whose they are.
    pub(super) fn learn(&self, facts: Vec<Fact>) {
        let now_ns = clock::boot_ns();
        let mut state = self.known.0.borrow_mut();
        for fact in facts {
            if let Fact::Cgroup { path, .. } = &fact
                && let CgroupIdentity { container_id: Some(id), nested: None, .. } = CgroupIdentity::parse(path)
            {
                state.ask(id);
            }
            state.index.learn(fact, now_ns);
        }
    }

    /// Now and then.
    pub(super) fn tick(&mut self) {
        if self.swept.elapsed() >= SWEEP_EVERY {
            self.swept = Instant::now();
            let mut state = self.known.0.borrow_mut();
            state.index.sweep(clock::boot_ns());
            let now = Instant::now();
            state.asked.retain(|_, asked| !asked.is_forgotten(now));
            state.in_vain.retain(|_, since| since.elapsed() < NOT_AWAITED_FOR);
        }
    }
}

/// Whether somebody knows a name.
fn is_name(fact: &Fact) -> bool {
    match fact {
        Fact::Pod(pod) => pod.name.is_some(),
        Fact::Container(container) => container.name.is_some(),
        _ => false,
    }
}

/// Whether it is of no use to wait for names: none has ever been learnt here, and one was waited for in vain a moment ago. So it is
/// on a host without Kubernetes, where every container would be waited for.
fn expects_none(has_names: bool, gave_up: Option<Instant>) -> bool {
    !has_names && gave_up.is_some_and(|gave_up| gave_up.elapsed() < NOT_AWAITED_FOR)
}

/// That the sources were asked about a container.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    /// They are not asked again for so long.
    pause: Duration,
}

impl Asked {
    fn first(at: Instant) -> Self {
        Self { at, pause: ASK_AGAIN_AFTER }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.at) >= self.pause
    }

    fn again(self, at: Instant) -> Self {
        Self { at, pause: (self.pause * 2).min(NOT_AWAITED_FOR) }
    }

    /// Whether it is so long ago that the next time is a first one.
    fn is_forgotten(&self, now: Instant) -> bool {
        now.duration_since(self.at) >= self.pause + NOT_AWAITED_FOR
    }
}

impl State {
    fn ask(&mut self, id: ContainerId) {
        let now = Instant::now();
        let asked = match self.asked.get(&id) {
            None => Asked::first(now),
            Some(before) if before.is_over(now) => before.again(now),
            Some(_) => return,
        };
        self.asker.ask(id.clone());
        self.asked.insert(id, asked);
    }
}

impl waiting::Names for SharedNames {
    fn fill(&mut self, event: &mut Event, about: &mut Vec<Unnamed>) -> bool {
        let mut state = self.0.borrow_mut();
        let mut unnamed = std::mem::take(&mut state.unnamed);
        unnamed.clear();
        state.index.fill_noting(event, &mut unnamed, about);
        for one in &unnamed {
            if let Unnamed::Container(id) = one {
                state.ask(id.clone());
            }
        }
        let missing =
            !expects_none(state.has_names, state.gave_up) && unnamed.iter().any(|one| !state.in_vain.contains_key(one));
        state.unnamed = unnamed;
        missing
    }

    fn give_up(&mut self) {
        let mut state = self.0.borrow_mut();
        let now = Instant::now();
        for one in std::mem::take(&mut state.unnamed) {
            state.in_vain.insert(one, now);
        }
        state.gave_up = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_asked_for_ever_more_seldom() {
        let start = Instant::now();
        let mut asked = Asked::first(start);
        let mut times = vec![0];
        for second in 1..=200 {
            let now = start + Duration::from_secs(second);
            if asked.is_over(now) {
                asked = asked.again(now);
                times.push(second);
            }
        }
        assert_eq!(times, [0, 3, 9, 21, 45, 93, 153]);
        assert!(
            !asked.is_forgotten(start + Duration::from_secs(272))
                && asked.is_forgotten(start + Duration::from_secs(273))
        );
    }

    #[test]
    fn where_no_name_was_ever_learnt_one_wait_in_vain_is_enough() {
        let now = Instant::now();
        assert!(!expects_none(false, None), "the first is waited for");
        assert!(expects_none(false, Some(now)));
        assert!(!expects_none(true, Some(now)), "others have names");
        assert!(!expects_none(false, now.checked_sub(NOT_AWAITED_FOR)), "they may have come");
    }
}
