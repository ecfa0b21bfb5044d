//! Allocations that processes in containers were refused: reported at most once a second for each process and cause.
//!
//! The kernel counts for itself, and sends a record at a process's first refusal and then at most once a second. Nothing is reported
//! at the record: it says who, and the counts are fetched twice a second.

use std::collections::HashMap;

use oomtrace_common::record::{Refusal, RefusalCounts, RefusalKey, refused_by};

use super::{
    machine::{Machine, known, reported, task},
    paths::Paths,
};
use crate::{
    event::{AllocationRefused, Cgroup, Event, Observation, RefusedBy, Span, Task},
    probe::is_trial,
};

/// A process is reported at most so often.
const TELL_EVERY_NS: u64 = 1_000_000_000;
/// After so long without a refusal a process is refused no more.
const QUIET_NS: u64 = 5_000_000_000;

/// Who is being refused, by process id and cause: no more than the kernel's map has room for.
#[derive(Default)]
pub(super) struct Refusals(HashMap<(u32, u32), Spell>);

/// A time in which one process is refused.
struct Spell {
    task: Task,
    cgroup: Option<Cgroup>,
    requested_bytes: Option<u64>,
    limit_bytes: Option<u64>,
    reported_count: u64,
    reported_ns: Option<u64>,
}

impl Refusals {
    /// A process was refused something.
    pub(super) fn note(&mut self, refusal: &Refusal, paths: &Paths, machine: &Machine) {
        let task = task(&refusal.task, paths.path(refusal.task.cgroup_id));
        // Also where the path is not that of a container: a pid namespace of its own is one, too.
        if task.container.is_none() && task.container_init.is_none() {
            return;
        }
        let requested_bytes = machine.bytes(refusal.requested_pages);
        // `oomtrace doctor` in a container tries what the probes see.
        if is_trial(task.comm.as_deref(), requested_bytes) {
            return;
        }
        let seen = Spell {
            cgroup: paths.cgroup(refusal.task.cgroup_id),
            requested_bytes,
            limit_bytes: known(refusal.limit_bytes),
            task,
            reported_count: 0,
            reported_ns: None,
        };
        let key = (refusal.key.tgid, refusal.key.by);
        let before = self.0.remove(&key);
        let (reported_count, reported_ns) =
            before.map_or((0, None), |before| (before.reported_count, before.reported_ns));
        self.0.insert(key, Spell { reported_count, reported_ns, ..seen });
    }

    /// Takes all counts. Gives what there is to tell, and who is refused no more.
    pub(super) fn poll(
        &mut self,
        now_ns: u64,
        counts: &[(RefusalKey, RefusalCounts)],
        commit_limit_bytes: Option<u64>,
        end: bool,
    ) -> (Vec<Observation>, Vec<RefusalKey>) {
        let (mut events, mut quiet) = (Vec::new(), Vec::new());
        for (key, counts) in counts {
            let over = end || now_ns.saturating_sub(counts.last_ns) > QUIET_NS;
            // A process on the node itself is counted, but not reported.
            if let Some(spell) = self.0.get_mut(&(key.tgid, key.by)) {
                events.extend(spell.tell_if_due(now_ns, key.by, counts, commit_limit_bytes, over));
            }
            if over {
                self.0.remove(&(key.tgid, key.by));
                quiet.push(*key);
            }
        }
        (events, quiet)
    }
}

impl Spell {
    fn tell_if_due(
        &mut self,
        now_ns: u64,
        by: u32,
        counts: &RefusalCounts,
        commit_limit_bytes: Option<u64>,
        over: bool,
    ) -> Option<Observation> {
        let due =
            self.reported_ns.is_none_or(|reported_ns| over || now_ns.saturating_sub(reported_ns) >= TELL_EVERY_NS);
        let count = counts.count.saturating_sub(self.reported_count);
        if !due || count == 0 {
            return None;
        }
        (self.reported_count, self.reported_ns) = (counts.count, Some(now_ns));
        let by = match by {
            refused_by::OVERCOMMIT => RefusedBy::Overcommit,
            refused_by::RLIMIT_AS => RefusedBy::RlimitAs,
            refused_by::RLIMIT_DATA => RefusedBy::RlimitData,
            _ => RefusedBy::Rlimit,
        };
        let event = AllocationRefused {
            pod: self.task.pod.clone(),
            container: self.task.container.clone(),
            cgroup: self.cgroup.clone(),
            task: self.task.clone(),
            by,
            count,
            count_total: counts.count,
            requested_bytes: self.requested_bytes,
            limit_bytes: if by == RefusedBy::Overcommit { commit_limit_bytes } else { self.limit_bytes },
            first_ts: String::new(),
            last_ts: String::new(),
            span: Span { first_ns: counts.first_ns, last_ns: counts.last_ns },
        };
        Some(reported(counts.last_ns, Event::AllocationRefused(Box::new(event))))
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;
    use crate::source::kernel::machine::tests::machine;

    const SECOND: u64 = 1_000_000_000;
    const KEY: RefusalKey = RefusalKey { tgid: 7, by: refused_by::OVERCOMMIT };

    fn refusal(pid_ns_level: u32) -> Refusal {
        let mut refusal = Refusal { key: KEY, requested_pages: 256, ..Refusal::zeroed() };
        refusal.task.pid_ns_level = pid_ns_level;
        refusal
    }

    fn counts(count: u64, last_ns: u64) -> RefusalCounts {
        RefusalCounts { count, first_ns: SECOND, last_ns, sent_ns: SECOND }
    }

    /// The count of the window and in all.
    fn said(events: Vec<Observation>) -> Vec<(u64, u64)> {
        let said = events.into_iter().map(|reported| match reported.event {
            Event::AllocationRefused(refused) => (refused.count, refused.count_total),
            other => unreachable!("{other:?}"),
        });
        said.collect()
    }

    #[test]
    fn a_process_is_reported_once_a_second_and_to_its_last_refusal() {
        let mut refusals = Refusals::default();
        refusals.note(&refusal(1), &Paths::default(), &machine());
        let mut poll = |now_ns, counts| refusals.poll(now_ns, &[(KEY, counts)], Some(1), false);
        let (events, _) = poll(SECOND + 1, counts(3, SECOND));
        assert_eq!(said(events), [(3, 3)]);
        let (events, _) = poll(SECOND * 3 / 2, counts(9, SECOND + 2));
        assert_eq!(said(events), []);
        let (events, quiet) = poll(SECOND * 5 / 2, counts(11, SECOND * 2));
        assert_eq!((said(events), quiet.len()), (vec![(8, 11)], 0));
        let (events, quiet) = poll(SECOND * 8, counts(12, SECOND * 2));
        assert_eq!((said(events), quiet.len()), (vec![(1, 12)], 1));
    }

    #[test]
    fn what_a_doctor_provokes_beside_the_daemon_is_not_reported() {
        let trial = |requested_pages| {
            let mut trial = Refusal { requested_pages, ..refusal(1) };
            trial.task.comm[.."oomtrace-trial".len()].copy_from_slice(b"oomtrace-trial");
            let mut refusals = Refusals::default();
            refusals.note(&trial, &Paths::default(), &machine());
            said(refusals.poll(SECOND, &[(KEY, counts(2, SECOND))], None, true).0)
        };
        // As a return probe sees it.
        assert_eq!(trial(oomtrace_common::record::ABSENT), []);
        assert_eq!(trial(1), [(2, 2)], "an allocation of another size is no trial");
    }

    #[test]
    fn a_process_of_the_node_itself_is_not_reported() {
        let mut refusals = Refusals::default();
        refusals.note(&refusal(0), &Paths::default(), &machine());
        let (events, quiet) = refusals.poll(SECOND, &[(KEY, counts(3, SECOND))], None, true);
        assert_eq!((said(events), quiet.len()), (vec![], 1));
    }
}
