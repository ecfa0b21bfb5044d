//! Events that wait a bounded moment for names that are not known yet.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    event::{Event, Observation},
    node::index::Unnamed,
};

/// Events that may wait; with more, the first goes on with what is known.
const MOST: usize = 4096;

/// A source of the names of pods and containers.
pub trait Names {
    /// Fills in the names that are known; whether some are missing still that may become known. `about` gets the pods and
    /// containers that the event speaks of.
    fn fill(&mut self, event: &mut Event, about: &mut Vec<Unnamed>) -> bool;

    /// The event that was filled last waited for its names in vain.
    fn give_up(&mut self) {}
}

/// Events in their order. Whatever speaks of the same pod or container as one that waits, waits behind it: so the events of each
/// stay in order, and those of others are not held up.
#[derive(Default)]
pub struct Waiting {
    /// Those that nobody has looked at yet.
    fresh: VecDeque<(Instant, Observation)>,
    held: VecDeque<(Instant, Observation)>,
    /// Of whom those that are held speak.
    held_about: HashSet<Unnamed>,
    /// Names have been learnt since those that are held were looked at.
    learnt: bool,
    names: Option<Box<dyn Names>>,
    wait: Duration,
}

impl Waiting {
    /// Asks `names`, and lets an event wait for them so long.
    #[must_use]
    pub fn new(names: Box<dyn Names>, wait: Duration) -> Self {
        Self { names: Some(names), wait, ..Self::default() }
    }

    /// Takes an event.
    pub fn push(&mut self, reported: Observation, now: Instant) {
        self.fresh.push_back((now + self.wait, reported));
    }

    /// Names have been learnt.
    pub fn learnt(&mut self) {
        self.learnt = true;
    }

    /// The events whose names are known, and those that have waited long enough.
    pub fn ready(&mut self, now: Instant) -> Vec<Observation> {
        let mut ready = Vec::new();
        let overdue = self.held.front().is_some_and(|(deadline, _)| *deadline <= now);
        if std::mem::take(&mut self.learnt) || overdue || self.held.len() + self.fresh.len() > MOST {
            let held = std::mem::take(&mut self.held);
            self.held_about.clear();
            self.look_at(held, now, &mut ready);
        }
        let fresh = std::mem::take(&mut self.fresh);
        self.look_at(fresh, now, &mut ready);
        ready
    }

    fn look_at(&mut self, events: VecDeque<(Instant, Observation)>, now: Instant, ready: &mut Vec<Observation>) {
        let mut left = events.len() + self.fresh.len();
        let mut about = Vec::new();
        for (deadline, mut reported) in events {
            let Some(names) = &mut self.names else {
                ready.push(reported);
                continue;
            };
            about.clear();
            let missing = names.fill(&mut reported.event, &mut about);
            let waits = missing && deadline > now && self.held.len() + left <= MOST;
            left -= 1;
            let is_held = waits || about.iter().any(|one| self.held_about.contains(one));
            if is_held || about.is_empty() && completes_a_picture(&self.held, &reported) {
                self.held_about.extend(about.drain(..));
                self.held.push_back((deadline, reported));
                continue;
            }
            if missing {
                names.give_up();
            }
            ready.push(reported);
        }
    }

    /// The first event, whether or not its names are known.
    pub fn release(&mut self) -> Option<Observation> {
        let (_, mut reported) = self.held.pop_front().or_else(|| self.fresh.pop_front())?;
        if let Some(names) = &mut self.names {
            names.fill(&mut reported.event, &mut Vec::new());
        }
        Some(reported)
    }

    /// When the first event has waited long enough.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.held.front().or(self.fresh.front()).map(|(deadline, _)| *deadline)
    }
}

/// Whether it is of what lies above a container whose memory is held: they were read together, and keep their order.
fn completes_a_picture(held: &VecDeque<(Instant, Observation)>, reported: &Observation) -> bool {
    let is_of_memory = |reported: &Observation| matches!(reported.event, Event::Pressure(_));
    is_of_memory(reported) && held.back().is_some_and(|(_, last)| is_of_memory(last))
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use crate::event::{Moment, OomKill, Pod, PodUid, Source};

    /// Knows the name of every pod once `learnt` is set, and always that of pods with even numbers.
    struct Learning(Rc<Cell<bool>>, Rc<Cell<u32>>);

    fn uid(number: u64) -> PodUid {
        format!("{number:08x}-23d2-4099-bf62-d501a2753c91").parse().expect("a uid")
    }

    impl Names for Learning {
        fn give_up(&mut self) {
            self.1.set(self.1.get() + 1);
        }

        fn fill(&mut self, event: &mut Event, about: &mut Vec<Unnamed>) -> bool {
            let Event::OomKill(kill) = event else { return false };
            let number = kill.decision.unwrap_or(0) / 10;
            about.push(Unnamed::Pod(uid(number)));
            if self.0.get() || number % 2 == 0 {
                kill.pod = Some(Pod { name: Some("web".to_owned()), ..Pod::default() });
            }
            kill.pod.is_none()
        }
    }

    fn kill(number: u64) -> Observation {
        let kill = OomKill { decision: Some(number), ..OomKill::default() };
        Observation { source: Source::Kernel, at: Moment::Boot(0), event: Event::OomKill(Box::new(kill)) }
    }

    fn reported(ready: Vec<Observation>) -> Vec<(u64, bool)> {
        let short = |reported: Observation| match reported.event {
            Event::OomKill(kill) => (kill.decision.unwrap_or(0), kill.pod.is_some()),
            other => unreachable!("{other:?}"),
        };
        ready.into_iter().map(short).collect()
    }

    fn waiting() -> (Waiting, Rc<Cell<bool>>) {
        let (waiting, known, _) = counting();
        (waiting, known)
    }

    /// The same, and how often names were waited for in vain.
    fn counting() -> (Waiting, Rc<Cell<bool>>, Rc<Cell<u32>>) {
        let (known, in_vain) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let learning = Learning(known.clone(), in_vain.clone());
        (Waiting::new(Box::new(learning), Duration::from_millis(500)), known, in_vain)
    }

    #[test]
    fn whoever_knows_the_names_hears_which_were_waited_for_in_vain() {
        let (mut waiting, known, in_vain) = counting();
        let now = Instant::now();
        waiting.push(kill(10), now);
        assert!(waiting.ready(now).is_empty());
        assert_eq!(in_vain.get(), 0);
        assert_eq!(reported(waiting.ready(now + Duration::from_millis(500))), [(10, false)]);
        assert_eq!(in_vain.get(), 1);
        known.set(true);
        waiting.push(kill(11), now);
        assert_eq!(reported(waiting.ready(now)), [(11, true)]);
        assert_eq!(in_vain.get(), 1);
    }

    #[test]
    fn an_event_waits_for_its_names_and_goes_on_once_they_are_known() {
        let (mut waiting, known) = waiting();
        let now = Instant::now();
        waiting.push(kill(10), now);
        assert!(waiting.ready(now).is_empty());
        known.set(true);
        assert!(waiting.ready(now).is_empty(), "nobody has said so");
        waiting.learnt();
        assert_eq!(reported(waiting.ready(now)), [(10, true)]);
        assert_eq!(waiting.deadline(), None);
    }

    #[test]
    fn events_of_one_pod_keep_their_order_and_those_of_others_do_not_wait_for_them() {
        let (mut waiting, _) = waiting();
        let now = Instant::now();
        let (of_unknown, of_known, of_another) = ([kill(10), kill(11)], kill(20), kill(30));
        for event in of_unknown {
            waiting.push(event, now);
        }
        waiting.push(of_known, now);
        waiting.push(of_another, now + Duration::from_millis(100));
        assert_eq!(reported(waiting.ready(now)), [(20, true)], "its names are known");
        let later = now + Duration::from_millis(500);
        assert_eq!(waiting.deadline(), Some(later));
        assert_eq!(reported(waiting.ready(later)), [(10, false), (11, false)]);
        assert_eq!(reported(waiting.release().into_iter().collect()), [(30, false)]);
    }

    #[test]
    fn what_was_read_together_keeps_its_order() {
        let (mut waiting, known) = waiting();
        let now = Instant::now();
        let memory =
            || Observation { source: Source::Oomtrace, at: Moment::Boot(0), event: Event::Pressure(Box::default()) };
        waiting.push(kill(10), now);
        waiting.push(memory(), now);
        assert_eq!(waiting.ready(now).len(), 1, "memory of nobody waits behind no kill");
        waiting.held.push_back((now + Duration::from_millis(500), memory()));
        waiting.push(memory(), now);
        assert!(waiting.ready(now).is_empty(), "but behind memory");
        known.set(true);
        waiting.learnt();
        assert_eq!(waiting.ready(now).len(), 3);
    }

    #[test]
    fn more_events_than_may_wait_push_the_first_on() {
        let (mut waiting, _) = waiting();
        let now = Instant::now();
        for number in 0..=MOST as u64 {
            // Each of a pod of its own.
            waiting.push(kill(10 + 20 * number), now);
        }
        assert_eq!(reported(waiting.ready(now)), [(10, false)]);
        assert!(waiting.ready(now).is_empty());
    }

    #[test]
    fn without_anybody_who_knows_names_nothing_waits() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        waiting.push(kill(10), now);
        assert_eq!(reported(waiting.ready(now)), [(10, false)]);
    }
}
