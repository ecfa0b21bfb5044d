//! Times in which a cgroup hits its limit: reported when one begins, at most once a second while it goes on, and when it ends.
//!
//! The kernel counts for itself, and sends a record at the first failure and then at most once a second: with the cgroup's
//! counters and the task, and its path before it. The counts between the records are fetched.

use std::collections::HashMap;

use oomtrace_common::record::{ChargeCounts, ChargeFailure, MemcgCounters};

use super::{
    limits,
    machine::{Machine, reported, task},
    paths::Paths,
};
use crate::event::{Cgroup, ChargeFailures, ChargeState, Event, Limit, Observation, Span, Task};

/// A cgroup is reported at most so often.
const TELL_EVERY_NS: u64 = 1_000_000_000;
/// After so long without a failure a cgroup fails no more.
const QUIET_NS: u64 = 5_000_000_000;

/// Which of the counts are counted at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeesCharges {
    /// Attempts that hit a limit.
    pub attempts: bool,
    /// Charges that fail.
    pub failed: bool,
    /// Charges that lead to an OOM.
    pub ooms: bool,
}

/// The cgroups that hit their limits just now: no more than the kernel's map has room for.
#[derive(Default)]
pub(super) struct Charges(HashMap<u64, Spell>);

/// A time in which one cgroup hits its limit.
struct Spell {
    cgroup: Option<Cgroup>,
    limit: Limit,
    last_task: Option<Task>,
    /// What has been reported; nothing before it began.
    reported: ChargeCounts,
    /// When something was last reported; `None` where it has not begun.
    reported_ns: Option<u64>,
}

impl Charges {
    /// A cgroup has failed.
    pub(super) fn tell(&mut self, failure: &ChargeFailure, paths: &Paths, machine: &Machine) -> Option<Observation> {
        let id = failure.cgroup_id;
        let seen = Spell {
            cgroup: paths.cgroup(id),
            limit: limits::of_cgroup(id, &failure.counters, paths, machine),
            last_task: Some(task(&failure.task, paths.path(failure.task.cgroup_id))),
            reported: NOTHING,
            reported_ns: None,
        };
        let spell = match self.0.entry(id) {
            std::collections::hash_map::Entry::Vacant(vacant) => vacant.insert(seen),
            std::collections::hash_map::Entry::Occupied(occupied) => {
                let spell = occupied.into_mut();
                let Spell { cgroup, limit, last_task, .. } = seen;
                (spell.cgroup, spell.limit, spell.last_task) = (cgroup, limit, last_task);
                spell
            }
        };
        spell.tell_if_due(failure.header.boot_ns, &failure.counts, machine)
    }

    /// Takes all counts. Gives what there is to tell, and the cgroups that have ceased to fail.
    pub(super) fn poll(
        &mut self,
        now_ns: u64,
        counts: &[(u64, ChargeCounts)],
        end: bool,
        machine: &Machine,
    ) -> (Vec<Observation>, Vec<u64>) {
        let (mut events, mut ceased) = (Vec::new(), Vec::new());
        for (id, counts) in counts {
            let is_new = !self.0.contains_key(id);
            // A cgroup whose record was lost is known by its id alone; until the next time it may only be late.
            let spell = self.0.entry(*id).or_insert_with(|| Spell::of_unknown(*id, machine));
            if is_new && !end {
                continue;
            }
            if end || now_ns.saturating_sub(counts.last_ns) > QUIET_NS {
                if spell.reported_ns.is_none() {
                    events.extend(spell.tell_if_due(now_ns, counts, machine));
                }
                events.push(spell.reported(ChargeState::Ceased, now_ns, counts, machine));
                self.0.remove(id);
                ceased.push(*id);
            } else {
                events.extend(spell.tell_if_due(now_ns, counts, machine));
            }
        }
        (events, ceased)
    }
}

const NOTHING: ChargeCounts = ChargeCounts { attempts: 0, failed: 0, ooms: 0, first_ns: 0, last_ns: 0, sent_ns: 0 };

impl Spell {
    fn of_unknown(id: u64, machine: &Machine) -> Self {
        let unknown = oomtrace_common::record::ABSENT;
        let counters = MemcgCounters {
            memory_usage_pages: unknown,
            memory_max_pages: unknown,
            swap_usage_pages: unknown,
            swap_max_pages: unknown,
        };
        let paths = Paths::default();
        Self {
            cgroup: paths.cgroup(id),
            limit: limits::of_cgroup(id, &counters, &paths, machine),
            last_task: None,
            reported: NOTHING,
            reported_ns: None,
        }
    }

    /// Tells that it begins or goes on, where there is something new and the last telling is long enough ago.
    fn tell_if_due(&mut self, now_ns: u64, counts: &ChargeCounts, machine: &Machine) -> Option<Observation> {
        let is_new = counts.attempts > self.reported.attempts
            || counts.failed > self.reported.failed
            || counts.ooms > self.reported.ooms;
        let state = match self.reported_ns {
            None => ChargeState::Began,
            Some(reported_ns) if is_new && now_ns.saturating_sub(reported_ns) >= TELL_EVERY_NS => ChargeState::GoesOn,
            Some(_) => return None,
        };
        Some(self.reported(state, now_ns, counts, machine))
    }

    fn reported(&mut self, state: ChargeState, now_ns: u64, counts: &ChargeCounts, machine: &Machine) -> Observation {
        let SeesCharges { attempts, failed, ooms } = machine.sees_charges;
        let newly = |seen: bool, now: u64, before: u64| seen.then(|| now.saturating_sub(before));
        let event = ChargeFailures {
            pod: self.limit.pod.clone(),
            container: self.limit.container.clone(),
            cgroup: self.cgroup.clone(),
            state,
            limit: Some(self.limit.clone()),
            attempts: newly(attempts, counts.attempts, self.reported.attempts),
            failed: newly(failed, counts.failed, self.reported.failed),
            ooms: newly(ooms, counts.ooms, self.reported.ooms),
            attempts_total: attempts.then_some(counts.attempts),
            failed_total: failed.then_some(counts.failed),
            ooms_total: ooms.then_some(counts.ooms),
            first_ts: String::new(),
            last_ts: String::new(),
            last_task: self.last_task.clone(),
            span: Span { first_ns: counts.first_ns, last_ns: counts.last_ns },
        };
        self.reported = *counts;
        self.reported_ns = Some(now_ns);
        let at = if state == ChargeState::Began { counts.first_ns } else { now_ns };
        reported(at, Event::ChargeFailures(Box::new(event)))
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;
    use crate::source::kernel::machine::tests::machine;

    const SECOND: u64 = 1_000_000_000;

    fn counts(attempts: u64, last_ns: u64) -> ChargeCounts {
        ChargeCounts { attempts, first_ns: SECOND, last_ns, ..NOTHING }
    }

    fn failure(attempts: u64, now_ns: u64) -> ChargeFailure {
        let mut failure = ChargeFailure { cgroup_id: 42, counts: counts(attempts, now_ns), ..ChargeFailure::zeroed() };
        failure.header.boot_ns = now_ns;
        failure
    }

    /// State, attempts of the window and in all.
    fn said(events: impl IntoIterator<Item = Observation>) -> Vec<(ChargeState, Option<u64>, Option<u64>)> {
        let said = events.into_iter().map(|reported| match reported.event {
            Event::ChargeFailures(failures) => (failures.state, failures.attempts, failures.attempts_total),
            other => unreachable!("{other:?}"),
        });
        said.collect()
    }

    #[test]
    fn a_cgroup_that_fails_is_reported_at_once_then_once_a_second_and_when_it_ceases() {
        let (mut charges, machine) = (Charges::default(), machine());
        let began = charges.tell(&failure(1, SECOND), &Paths::default(), &machine);
        assert_eq!(said(began), [(ChargeState::Began, Some(1), Some(1))]);
        let mut poll = |now_ns, counts| charges.poll(now_ns, &[(42, counts)], false, &machine);
        let (events, _) = poll(SECOND + SECOND / 2, counts(50, SECOND + 1));
        assert_eq!(said(events), []);
        let (events, _) = poll(2 * SECOND, counts(80, 2 * SECOND - 1));
        assert_eq!(said(events), [(ChargeState::GoesOn, Some(79), Some(80))]);
        // Nothing new.
        let (events, ceased) = poll(4 * SECOND, counts(80, 2 * SECOND - 1));
        assert_eq!((said(events), ceased), (vec![], vec![]));
        let (events, ceased) = poll(8 * SECOND, counts(83, 2 * SECOND));
        assert_eq!((said(events), ceased), (vec![(ChargeState::Ceased, Some(3), Some(83))], vec![42]));
        // Should it fail again, it begins anew.
        let began = charges.tell(&failure(1, 9 * SECOND), &Paths::default(), &machine);
        assert_eq!(said(began), [(ChargeState::Began, Some(1), Some(1))]);
    }

    #[test]
    fn a_cgroup_that_still_fails_at_the_end_of_tracing_is_reported_to_the_last_count() {
        let (mut charges, machine) = (Charges::default(), machine());
        charges.tell(&failure(1, SECOND), &Paths::default(), &machine);
        let (events, ceased) = charges.poll(SECOND + 5, &[(42, counts(7, SECOND + 4))], true, &machine);
        assert_eq!((said(events), ceased), (vec![(ChargeState::Ceased, Some(6), Some(7))], vec![42]));
    }

    #[test]
    fn a_cgroup_whose_record_was_lost_is_reported_by_its_id() {
        let (mut charges, machine) = (Charges::default(), machine());
        // It may come yet.
        assert_eq!(said(charges.poll(2 * SECOND, &[(42, counts(4, SECOND))], false, &machine).0), []);
        let (events, _) = charges.poll(2 * SECOND + 1, &[(42, counts(5, SECOND))], false, &machine);
        let Some(Observation { event: Event::ChargeFailures(failures), .. }) = events.first() else {
            unreachable!("{events:?}")
        };
        assert_eq!((failures.state, failures.attempts), (ChargeState::Began, Some(5)));
        assert_eq!(failures.cgroup.as_ref().and_then(|cgroup| cgroup.id), Some(42));
        assert!(failures.limit.as_ref().is_some_and(|limit| limit.limit_bytes.is_none()));
        assert_eq!(failures.failed, None, "what is not counted is not 0");
    }
}
