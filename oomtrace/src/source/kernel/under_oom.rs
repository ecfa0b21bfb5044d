//! Cgroups that are frozen instead of killed: reported when their first task begins to wait, and when none does any more.

use std::collections::{HashMap, HashSet};

use oomtrace_common::record;

use super::{
    limits,
    machine::{Machine, milliseconds, reported, task},
    paths::Paths,
};
use crate::event::{Event, Observation, UnderOom, UnderOomState};

/// A task that was woken tries again, and may wait again right away: only after so long does nobody wait.
const SETTLED_NS: u64 = 1_000_000_000;
/// How many cgroups and, of each, how many tasks are followed.
const MOST: usize = 1024;

/// The cgroups that wait.
#[derive(Default)]
pub(super) struct Frozen(HashMap<u64, Wait>);

/// A time in which one cgroup waits.
struct Wait {
    began: UnderOom,
    began_ns: u64,
    /// The threads that wait.
    tids: HashSet<u32>,
    /// When the last of them went on.
    left_ns: u64,
}

impl Frozen {
    /// A task begins to wait, or has waited.
    pub(super) fn tell(&mut self, record: &record::UnderOom, paths: &Paths, machine: &Machine) -> Option<Observation> {
        let (id, now_ns) = (record.cgroup_id, record.header.boot_ns);
        if record.begins == 0 {
            if let Some(wait) = self.0.get_mut(&id) {
                wait.tids.remove(&record.task.tid);
                wait.left_ns = now_ns;
            }
            return None;
        }
        if let Some(wait) = self.0.get_mut(&id) {
            if wait.tids.len() < MOST {
                wait.tids.insert(record.task.tid);
            }
            return None;
        }
        let limit = limits::of_cgroup(id, &record.counters, paths, machine);
        let began = UnderOom {
            pod: limit.pod.clone(),
            container: limit.container.clone(),
            cgroup: paths.cgroup(id),
            state: UnderOomState::Began,
            limit: Some(limit),
            first_task: Some(task(&record.task, paths.path(record.task.cgroup_id))),
            waited_ms: None,
        };
        if self.0.len() < MOST {
            let tids = HashSet::from([record.task.tid]);
            self.0.insert(id, Wait { began: began.clone(), began_ns: now_ns, tids, left_ns: now_ns });
        }
        Some(reported(now_ns, Event::UnderOom(Box::new(began))))
    }

    /// The cgroups that wait, with their paths as far as these are known.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u64, Option<&str>)> {
        let waiting = self.0.iter().filter(|(_, wait)| !wait.tids.is_empty());
        waiting.map(|(id, wait)| (*id, wait.began.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref())))
    }

    /// Nobody waits in this cgroup, whatever records say: an end was missed.
    pub(super) fn is_over(&mut self, id: u64, now_ns: u64) {
        if let Some(wait) = self.0.get_mut(&id) {
            wait.tids.clear();
            wait.left_ns = now_ns;
        }
    }

    /// Gives the cgroups that wait no more.
    pub(super) fn poll(&mut self, now_ns: u64) -> Vec<Observation> {
        let over = |wait: &Wait| wait.tids.is_empty() && now_ns.saturating_sub(wait.left_ns) >= SETTLED_NS;
        let ended = self.0.extract_if(|_, wait| over(wait)).map(|(_, wait)| {
            let waited_ms = Some(milliseconds(wait.left_ns.saturating_sub(wait.began_ns)));
            let event = UnderOom { state: UnderOomState::Ended, waited_ms, ..wait.began };
            reported(wait.left_ns, Event::UnderOom(Box::new(event)))
        });
        ended.collect()
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;
    use crate::source::kernel::machine::tests::machine;

    const SECOND: u64 = 1_000_000_000;

    fn wait(tid: u32, begins: u32, now_ns: u64) -> record::UnderOom {
        let mut record = record::UnderOom { cgroup_id: 42, begins, ..record::UnderOom::zeroed() };
        record.header.boot_ns = now_ns;
        record.task.tid = tid;
        record
    }

    #[test]
    fn a_cgroup_waits_from_its_first_task_until_none_has_waited_for_a_second() {
        let (mut frozen, machine) = (Frozen::default(), machine());
        let mut tell = |record| frozen.tell(&record, &Paths::default(), &machine);
        assert!(tell(wait(1, 1, SECOND)).is_some());
        assert!(tell(wait(2, 1, SECOND)).is_none(), "it waits already");
        assert!(tell(wait(1, 0, 2 * SECOND)).is_none());
        assert!(frozen.poll(4 * SECOND).is_empty(), "the second task waits still");
        frozen.tell(&wait(2, 0, 4 * SECOND), &Paths::default(), &machine);
        assert!(frozen.poll(4 * SECOND + 1).is_empty(), "it may come back");
        let ended = frozen.poll(5 * SECOND);
        let [Observation { event: Event::UnderOom(ended), .. }] = &ended[..] else { unreachable!("{ended:?}") };
        assert_eq!((ended.state, ended.waited_ms), (UnderOomState::Ended, Some(3000.0)));
        assert!(frozen.tell(&wait(1, 1, 9 * SECOND), &Paths::default(), &machine).is_some(), "it begins anew");
    }

    #[test]
    fn a_wait_whose_end_was_missed_ends_when_the_cgroup_says_so() {
        let mut frozen = Frozen::default();
        frozen.tell(&wait(1, 1, SECOND), &Paths::default(), &machine());
        assert_eq!(frozen.waiting().collect::<Vec<_>>(), [(42, None)]);
        assert!(frozen.poll(100 * SECOND).is_empty());
        frozen.is_over(42, 100 * SECOND);
        assert_eq!(frozen.waiting().count(), 0);
        assert_eq!(frozen.poll(101 * SECOND).len(), 1);
    }
}
