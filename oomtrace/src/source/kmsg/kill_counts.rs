//! Kills that the log tells, set against those that cgroups count.
//!
//! The kernel counts every kill in its cgroup, and logs it. So a count with no kill in the log is a kill that the log
//! lost; and a kill that the log cannot place is placed where alone the counts have one too many.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::counters::Counted;
use crate::event::OomKill;

/// So long a count waits for its line in the log: longer than a report may be held up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is counted and not reported yet, by cgroup.
#[derive(Default)]
pub(super) struct KillCounts {
    untold: BTreeMap<String, Untold>,
    /// Kills that were reported without their cgroup, and the time of the last.
    unplaced: u64,
    last_unplaced: Option<Instant>,
}

struct Untold {
    /// Negative where the log was faster.
    kills: i64,
    since: Instant,
}

/// How often the kernel counts a kill: each process, and the victim of a group twice, as it is killed again with its group.
pub(super) fn weight(kill: &OomKill) -> i64 {
    let group = i64::from(kill.group == Some(true));
    1 + group + i64::try_from(kill.members.len()).unwrap_or(0)
}

impl KillCounts {
    /// A cgroup counted kills.
    pub(super) fn counted(&mut self, Counted { cgroup, kills }: Counted, now: Instant) {
        self.add(cgroup, i64::try_from(kills).unwrap_or(i64::MAX), now);
    }

    /// The log reported a kill in this cgroup.
    pub(super) fn reported(&mut self, cgroup: &str, weight: i64, now: Instant) {
        self.add(cgroup.to_owned(), -weight, now);
    }

    /// The log reported a kill without its cgroup: gives the only one that it can be.
    pub(super) fn place(&mut self, weight: i64, now: Instant) -> Option<String> {
        let mut possible = self.untold.iter().filter(|(_, untold)| untold.kills >= weight);
        if let (Some((cgroup, _)), None) = (possible.next(), possible.next()) {
            let cgroup = cgroup.clone();
            self.reported(&cgroup, weight, now);
            return Some(cgroup);
        }
        self.unplaced += u64::try_from(weight).unwrap_or(0);
        self.last_unplaced = Some(now);
        None
    }

    fn add(&mut self, cgroup: String, kills: i64, now: Instant) {
        let untold = self.untold.entry(cgroup).or_insert(Untold { kills: 0, since: now });
        untold.kills += kills;
        untold.since = now;
        self.untold.retain(|_, untold| untold.kills != 0);
    }

    /// When something may be overdue.
    pub(super) fn due(&self) -> Option<Instant> {
        self.untold.values().map(|untold| untold.since + PATIENCE).min()
    }

    /// The counts that no line of the log has explained, and none that could not be placed can explain.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Counted> {
        let is_due = |since: Instant| now.duration_since(since) >= PATIENCE;
        let mut overdue = Vec::new();
        self.untold.retain(|cgroup, untold| {
            if !is_due(untold.since) {
                return true;
            }
            let kills = u64::try_from(untold.kills).unwrap_or(0);
            let explained = kills.min(self.unplaced);
            self.unplaced -= explained;
            if kills > explained {
                overdue.push(Counted { cgroup: cgroup.clone(), kills: kills - explained });
            }
            false
        });
        if self.last_unplaced.is_some_and(is_due) {
            (self.unplaced, self.last_unplaced) = (0, None);
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Task;

    fn counted(cgroup: &str, kills: u64) -> Counted {
        Counted { cgroup: cgroup.to_owned(), kills }
    }

    #[test]
    fn a_kill_that_is_counted_and_reported_is_reported_once_whichever_comes_first() {
        let (mut kill_counts, now) = (KillCounts::default(), Instant::now());
        kill_counts.counted(counted("/a", 1), now);
        kill_counts.reported("/a", 1, now);
        kill_counts.reported("/b", 1, now);
        kill_counts.counted(counted("/b", 1), now);
        assert_eq!(kill_counts.due(), None);
        assert_eq!(kill_counts.overdue(now + 2 * PATIENCE), []);
    }

    #[test]
    fn a_kill_that_the_log_lost_is_reported_after_a_while() {
        let (mut kill_counts, now) = (KillCounts::default(), Instant::now());
        kill_counts.counted(counted("/a", 2), now);
        kill_counts.reported("/a", 1, now);
        assert_eq!(kill_counts.overdue(now + PATIENCE / 2), []);
        assert_eq!(kill_counts.overdue(now + PATIENCE), [counted("/a", 1)]);
        assert_eq!(kill_counts.overdue(now + 2 * PATIENCE), []);
    }

    #[test]
    fn a_kill_without_a_cgroup_is_placed_where_it_alone_can_be() {
        let (mut kill_counts, now) = (KillCounts::default(), Instant::now());
        kill_counts.counted(counted("/a", 1), now);
        assert_eq!(kill_counts.place(1, now).as_deref(), Some("/a"));
        assert_eq!(kill_counts.due(), None);
    }

    #[test]
    fn a_kill_that_can_be_in_two_cgroups_is_in_none_and_is_not_reported_again() {
        let (mut kill_counts, now) = (KillCounts::default(), Instant::now());
        kill_counts.counted(counted("/a", 1), now);
        kill_counts.counted(counted("/b", 1), now);
        assert_eq!(kill_counts.place(1, now), None);
        assert_eq!(kill_counts.place(1, now), None);
        assert_eq!(kill_counts.overdue(now + PATIENCE), []);
    }

    #[test]
    fn a_group_counts_its_victim_twice() {
        let group = OomKill { group: Some(true), members: vec![Task::default(); 3], ..OomKill::default() };
        assert_eq!(weight(&group), 5);
        assert_eq!(weight(&OomKill::default()), 1);
    }
}
