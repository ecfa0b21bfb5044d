//! What the log tells, settled with what cgroups count.

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::{
    counters::{Counted, Counters},
    kill_counts::{KillCounts, weight},
};
use crate::{
    clock,
    event::{Cgroup, Event, Lost, LostFrom, Moment, Observation, OomKill, Source, Task},
    node::{cgroup_path::CgroupIdentity, hierarchy::Hierarchy},
};

/// Of so many kills of one cgroup that the log lost, each is reported; more are counted as lost.
const MOST_TOLD: u64 = 64;
/// Where only reading again may help.
const RETRY: Duration = Duration::from_secs(1);

/// What cgroups count, and what of it is not in the log yet.
pub(super) struct Accounts {
    counters: Counters,
    kill_counts: KillCounts,
    hierarchy: Hierarchy,
    left_out: u64,
}

impl Accounts {
    pub(super) fn open(hierarchy: Hierarchy) -> io::Result<Self> {
        let counters = Counters::watch(hierarchy.clone())?;
        Ok(Self { counters, kill_counts: KillCounts::default(), hierarchy, left_out: 0 })
    }

    /// Waits until there is something to settle; for ever where nothing is counted.
    pub(super) async fn due(accounts: Option<&Self>) {
        let Some(Self { counters, kill_counts, .. }) = accounts else { return std::future::pending().await };
        let overdue = async {
            match kill_counts.due() {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = counters.changed() => if changed.is_err() { tokio::time::sleep(RETRY).await },
            () = overdue => {}
        }
    }

    /// Places kills that the log could not place, and adds those that it lost.
    pub(super) fn settle(&mut self, reported: &mut Vec<Observation>) -> io::Result<()> {
        let now = Instant::now();
        for counted in self.counters.read(now)? {
            self.kill_counts.counted(counted, now);
        }
        let mut placed = HashMap::new();
        for reported in reported.iter_mut() {
            match &mut reported.event {
                Event::OomKill(kill) => {
                    if let Some(path) = self.settle_kill(kill, now) {
                        placed.insert(kill.decision, path);
                    }
                }
                Event::OomVictim(victim) => {
                    if let Some(path) = placed.get(&victim.decision) {
                        let cgroup = place(&mut victim.task, path, &self.hierarchy);
                        (victim.pod, victim.container) = (victim.task.pod.clone(), victim.task.container.clone());
                        victim.cgroup = victim.cgroup.take().or(Some(cgroup));
                    }
                }
                _ => {}
            }
        }
        let overdue = self.kill_counts.overdue(now);
        reported.extend(overdue.into_iter().flat_map(|counted| self.tell(&counted)));
        let left_out = self.counters.left_out();
        if left_out > self.left_out {
            reported.push(own(Event::Lost(Lost::new(LostFrom::Map, left_out - self.left_out))));
            self.left_out = left_out;
        }
        Ok(())
    }

    /// Notes a kill of the log; gives the cgroup that it is placed in where the log did not tell.
    fn settle_kill(&mut self, kill: &mut OomKill, now: Instant) -> Option<String> {
        if let Some(path) = kill.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()) {
            // One that is not counted explains no count.
            let path = self.counters.counted_in(path)?;
            self.kill_counts.reported(path, weight(kill), now);
            return None;
        }
        if kill.container.is_some() {
            return None;
        }
        let path = self.kill_counts.place(weight(kill), now)?;
        kill.cgroup = Some(place(&mut kill.victim.task, &path, &self.hierarchy));
        (kill.pod, kill.container) = (kill.victim.task.pod.clone(), kill.victim.task.container.clone());
        Some(path)
    }

    /// Kills of which nothing is known but where.
    fn tell(&self, Counted { cgroup, kills }: &Counted) -> Vec<Observation> {
        let mut reported: Vec<_> = (0..*kills.min(&MOST_TOLD))
            .map(|_| {
                let mut kill = OomKill::default();
                kill.cgroup = Some(place(&mut kill.victim.task, cgroup, &self.hierarchy));
                (kill.pod, kill.container) = (kill.victim.task.pod.clone(), kill.victim.task.container.clone());
                let at = Moment::Boot(clock::boot_ns());
                Observation { source: Source::Kmsg, at, event: Event::OomKill(Box::new(kill)) }
            })
            .collect();
        if *kills > MOST_TOLD {
            reported.push(own(Event::Lost(Lost::new(LostFrom::KernelLog, kills - MOST_TOLD))));
        }
        reported
    }
}

/// Says of a task that it was in this cgroup, or in one below it.
fn place(task: &mut Task, path: &str, hierarchy: &Hierarchy) -> Cgroup {
    let identity = CgroupIdentity::parse(path);
    let id = hierarchy.id(path);
    (task.pod, task.container, task.cgroup_id) = (identity.pod(), identity.container(), id);
    Cgroup { path: Some(path.to_owned()), id, unit: identity.unit }
}

fn own(event: Event) -> Observation {
    Observation { source: Source::Oomtrace, at: Moment::Boot(clock::boot_ns()), event }
}
