//! Kills of a kernel log without times: `journalctl -o cat`, `dmesg -H`, lines that were cut out by hand. When they were,
//! what noticed something of the same container says: cAdvisor and the runtime of each kill, the kubelet of the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::boot::{ENDED_AFTER, NOTICED_AFTER};
use crate::event::{ContainerAction, ContainerId, Event, Moment, Observation};

/// Several notice the same kill within this time of each other: cAdvisor and the runtime, each at once.
const SAME_NOTICE: SignedDuration = SignedDuration::from_secs(2);

/// Kills that wait for their time.
#[derive(Default)]
pub(super) struct Untimed {
    of_container: BTreeMap<ContainerId, VecDeque<Observation>>,
    /// When a kill was noticed last in a container.
    noticed: BTreeMap<ContainerId, Timestamp>,
    /// Containers that the kubelet told to end: their ends are no kills.
    reported_to_end: BTreeSet<ContainerId>,
}

impl Untimed {
    /// Keeps the kills in containers; gives back what no other log can tell the time of.
    pub(super) fn keep(&mut self, untimed: Vec<Observation>) -> Vec<Observation> {
        let mut others = Vec::new();
        for reported in untimed {
            let container = match &reported.event {
                Event::OomKill(kill) => kill.container.as_ref().and_then(|container| container.id.clone()),
                _ => None,
            };
            match container {
                Some(id) => self.of_container.entry(id).or_default().push_back(reported),
                None => others.push(reported),
            }
        }
        others
    }

    /// The kills that this tells the time of, with that time.
    pub(super) fn timed_by(&mut self, reported: &Observation) -> Vec<Observation> {
        let (Event::Container(change), Moment::Wall(at)) = (&reported.event, reported.at) else { return Vec::new() };
        let Some(id) = change.container.as_ref().and_then(|container| container.id.as_ref()) else { return Vec::new() };
        let Some(waiting) = self.of_container.get_mut(id) else { return Vec::new() };
        let (count, before) = match change.action {
            ContainerAction::OomNoticed => {
                let last = self.noticed.insert(id.clone(), at);
                let again = last.is_some_and(|last| at.duration_since(last) <= SAME_NOTICE);
                (usize::from(!again).min(waiting.len()), NOTICED_AFTER)
            }
            ContainerAction::Killing => {
                self.reported_to_end.insert(id.clone());
                return Vec::new();
            }
            ContainerAction::Died
                if !self.reported_to_end.contains(id) && matches!(change.exit_code, None | Some(137)) =>
            {
                (waiting.len(), ENDED_AFTER)
            }
            _ => return Vec::new(),
        };
        let at = Moment::Wall(at.checked_sub(before).unwrap_or(at));
        waiting.drain(..count).map(|kill| timed(at, kill)).collect()
    }

    /// Those that nothing reported the time of.
    pub(super) fn rest(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.of_container).into_values().flatten().collect()
    }
}

/// The kill, at a time that is known.
fn timed(at: Moment, mut kill: Observation) -> Observation {
    if let Event::OomKill(kill) = &mut kill.event {
        kill.time_unknown = false;
    }
    Observation { at, ..kill }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::event::{Container, ContainerChange, OomKill, Source};

    fn container(letter: char) -> Container {
        Container { id: letter.to_string().repeat(64).parse().ok(), ..Container::default() }
    }

    fn kill(letter: Option<char>) -> Observation {
        let kill = OomKill { container: letter.map(container), ..OomKill::default() };
        Observation { source: Source::Kmsg, at: Moment::Wall(Timestamp::MAX), event: Event::OomKill(Box::new(kill)) }
    }

    fn change(second: i64, action: ContainerAction) -> Observation {
        let change = ContainerChange { container: Some(container('1')), ..ContainerChange::new(action) };
        let at = Moment::Wall(Timestamp::from_second(second).expect("a time"));
        Observation { source: Source::Kubelet, at, event: Event::Container(Box::new(change)) }
    }

    fn millis(reported: &[Observation]) -> Vec<i64> {
        let at = |reported: &Observation| if let Moment::Wall(at) = reported.at { at.as_millisecond() } else { 0 };
        reported.iter().map(at).collect()
    }

    #[test]
    fn each_kill_is_timed_by_what_was_noticed_of_its_container() {
        let mut untimed = Untimed::default();
        let others = untimed.keep(vec![kill(Some('1')), kill(Some('1')), kill(Some('1')), kill(Some('2')), kill(None)]);
        assert_eq!(others.len(), 1);
        assert!(untimed.timed_by(&change(10, ContainerAction::Started)).is_empty());
        assert_eq!(millis(&untimed.timed_by(&change(20, ContainerAction::OomNoticed))), [19_150]);
        // By another, of the same kill.
        assert!(untimed.timed_by(&change(21, ContainerAction::OomNoticed)).is_empty());
        assert_eq!(millis(&untimed.timed_by(&change(30, ContainerAction::Died))), [29_000, 29_000]);
        assert!(untimed.timed_by(&change(41, ContainerAction::OomNoticed)).is_empty());
        assert_eq!(untimed.rest().len(), 1);
    }

    #[test]
    fn an_end_that_is_none_of_a_kill_tells_no_time() {
        let mut untimed = Untimed::default();
        untimed.keep(vec![kill(Some('1'))]);
        let mut ended = change(30, ContainerAction::Died);
        if let Event::Container(change) = &mut ended.event {
            change.exit_code = Some(143);
        }
        assert!(untimed.timed_by(&ended).is_empty());
        assert!(untimed.timed_by(&change(30, ContainerAction::Killing)).is_empty());
        assert!(untimed.timed_by(&change(32, ContainerAction::Died)).is_empty());
        assert_eq!(untimed.rest().len(), 1);
    }
}
