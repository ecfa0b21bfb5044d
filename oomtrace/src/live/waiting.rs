//! Events that wait a bounded moment for names that are not known yet.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::event::{Event, Told};

/// Events that may wait; with more, the first goes on with what is known.
const MOST: usize = 4096;

/// Whoever knows the names of pods and containers.
pub trait Names {
    /// Fills in the names that are known; whether some are missing still that may become known.
    fn fill(&mut self, event: &mut Event) -> bool;

    /// The event that was filled last waited for its names in vain.
    fn give_up(&mut self) {}
}

/// Events in their order. Whatever comes behind one that waits, waits too: so events stay in order.
#[derive(Default)]
pub struct Waiting {
    queue: VecDeque<(Instant, Told)>,
    names: Option<Box<dyn Names>>,
    wait: Duration,
}

impl Waiting {
    /// Asks `names`, and lets an event wait for them so long.
    #[must_use]
    pub fn new(names: Box<dyn Names>, wait: Duration) -> Self {
        Self { queue: VecDeque::new(), names: Some(names), wait }
    }

    /// Takes an event.
    pub fn push(&mut self, told: Told, now: Instant) {
        self.queue.push_back((now + self.wait, told));
    }

    /// The first event, where its names are known or it has waited long enough.
    pub fn pop(&mut self, now: Instant) -> Option<Told> {
        let too_many = self.queue.len() > MOST;
        let (deadline, told) = self.queue.front_mut()?;
        let missing = self.names.as_mut().is_some_and(|names| names.fill(&mut told.event));
        if missing && *deadline > now && !too_many {
            return None;
        }
        if missing && let Some(names) = &mut self.names {
            names.give_up();
        }
        self.queue.pop_front().map(|(_, told)| told)
    }

    /// The first event, whether or not its names are known.
    pub fn release(&mut self) -> Option<Told> {
        let (_, mut told) = self.queue.pop_front()?;
        if let Some(names) = &mut self.names {
            names.fill(&mut told.event);
        }
        Some(told)
    }

    /// When the first event has waited long enough.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.queue.front().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use crate::event::{Moment, OomKill, Pod, Source};

    /// Knows the name of every pod once it is told to.
    struct Learning(Rc<Cell<bool>>, Rc<Cell<u32>>);

    impl Names for Learning {
        fn give_up(&mut self) {
            self.1.set(self.1.get() + 1);
        }

        fn fill(&mut self, event: &mut Event) -> bool {
            let Event::OomKill(kill) = event else { return false };
            if self.0.get() {
                kill.pod = Some(Pod { name: Some("web".to_owned()), ..Pod::default() });
            }
            kill.pod.is_none()
        }
    }

    fn kill(number: u64) -> Told {
        let kill = OomKill { decision: Some(number), ..OomKill::default() };
        Told { source: Source::Kernel, at: Moment::Boot(0), event: Event::OomKill(Box::new(kill)) }
    }

    fn told(told: Option<Told>) -> Option<(u64, bool)> {
        let Event::OomKill(kill) = told?.event else { return None };
        Some((kill.decision?, kill.pod.is_some()))
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
        waiting.push(kill(1), now);
        waiting.push(kill(2), now);
        assert!(waiting.pop(now).is_none());
        assert_eq!(in_vain.get(), 0);
        assert_eq!(told(waiting.pop(now + Duration::from_millis(500))), Some((1, false)));
        assert_eq!(in_vain.get(), 1);
        known.set(true);
        assert_eq!(told(waiting.pop(now + Duration::from_millis(500))), Some((2, true)));
        assert_eq!(in_vain.get(), 1);
    }

    #[test]
    fn an_event_waits_for_its_names_and_goes_on_once_they_are_known() {
        let (mut waiting, known) = waiting();
        let now = Instant::now();
        waiting.push(kill(1), now);
        assert!(waiting.pop(now).is_none());
        known.set(true);
        assert_eq!(told(waiting.pop(now)), Some((1, true)));
        assert_eq!(waiting.deadline(), None);
    }

    #[test]
    fn an_event_whose_names_never_come_goes_on_without_and_keeps_its_place() {
        let (mut waiting, _) = waiting();
        let now = Instant::now();
        waiting.push(kill(1), now);
        waiting.push(kill(2), now + Duration::from_millis(100));
        let later = now + Duration::from_millis(500);
        assert_eq!(waiting.deadline(), Some(later));
        assert_eq!(told(waiting.pop(later)), Some((1, false)));
        assert!(waiting.pop(later).is_none());
        assert_eq!(told(waiting.release()), Some((2, false)));
    }

    #[test]
    fn more_events_than_may_wait_push_the_first_on() {
        let (mut waiting, _) = waiting();
        let now = Instant::now();
        for number in 0..=MOST as u64 {
            waiting.push(kill(number), now);
        }
        assert_eq!(told(waiting.pop(now)), Some((0, false)));
        assert!(waiting.pop(now).is_none());
    }

    #[test]
    fn without_anybody_who_knows_names_nothing_waits() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        waiting.push(kill(1), now);
        assert_eq!(told(waiting.pop(now)), Some((1, false)));
    }
}
