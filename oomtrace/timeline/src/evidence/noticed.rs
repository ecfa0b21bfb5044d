//! Kills that no line of the kernel's reports, and that others noticed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use oomtrace_model::{
    Container, ContainerAction, ContainerChange, ContainerId, Event, Level, Limit, OomKill, SwapCounter, SystemOom,
    Task, Victim,
};

use super::{Cause, Evidence, Kill, as_kill, is_before_all, process};
use crate::{
    Kept,
    digested::Digested,
    names::{Names, PodKey},
    windows::{NOTICED, SAME_KILL, SAME_STEP, SECOND},
};

impl Evidence {
    /// Kills that no line of the kernel's tells, and that others noticed: the runtime or cAdvisor in a container, the
    /// kubelet on the node, a pod's status.
    pub(super) fn add_noticed(&mut self, names: &Names<'_>) {
        let before = || self.killed_before.values().filter_map(|line| as_kill(line));
        let mut reported: BTreeSet<_> = self.kills.iter().filter_map(|kill| kill.container.clone()).collect();
        reported.extend(self.killed_before.keys().cloned());
        let pids: BTreeSet<_> =
            self.kills.iter().map(|kill| &kill.reported).chain(before()).filter_map(process).collect();
        let mut last: BTreeMap<ContainerId, i64> = BTreeMap::new();
        let mut noticed = Vec::new();
        for change in self.changes.iter().filter(|change| change.what.action == ContainerAction::OomNoticed) {
            // Of its id only the start is known, and no other line has it.
            if change.what.id_begins().is_some() {
                let near = change.at - NOTICED..=change.at + SECOND;
                if !self.kills.iter().any(|kill| near.contains(&kill.at)) {
                    noticed.push(Kill::noticed(change.at, None, None, &change.line, None));
                }
                continue;
            }
            if change.container.is_none() && change.pod.is_none() && unit(&change.what).is_some() {
                if !self.is_known_in_unit(change) {
                    let mut kill = Kill::noticed(change.at, None, None, &change.line, None);
                    kill.reported.cgroup.clone_from(&change.what.cgroup);
                    kill.reported.time_unknown = is_before_all(change.at);
                    noticed.push(kill);
                }
                continue;
            }
            let Some(id) = change.container.clone().filter(|id| !reported.contains(id)) else { continue };
            if self.is_unplaced_kill(change.at - SAME_STEP..=change.at + SECOND) || self.is_of_limit_above(change) {
                continue;
            }
            // Several notice the same one.
            if last.insert(id.clone(), change.at).is_none_or(|before| change.at - before > SAME_KILL) {
                let pod = change.pod.clone().or_else(|| names.key(None, Some(&id), change.at));
                noticed.push(Kill::noticed(change.at, pod, Some(id), &change.line, None));
            }
        }
        for (at, line) in &self.system_ooms {
            let Event::SystemOom(oom) = &line.event else { continue };
            let known = match oom.pid {
                Some(pid) => pids.contains(&pid),
                // What cannot be distinguished is not reported twice.
                None => self.kills.iter().any(|kill| {
                    let node = kill.reported.limit.as_ref().and_then(|limit| limit.level) == Some(Level::Node);
                    node && (at - NOTICED..=at + SECOND).contains(&kill.at)
                }),
            };
            if !known {
                noticed.push(Kill::noticed(*at, None, None, line, Some(oom)));
            }
        }
        for death in &self.deaths {
            let known = |id: &ContainerId| reported.contains(id) || last.contains_key(id);
            let Some(id) = death.container.clone().filter(|id| !known(id)) else { continue };
            if death.sandbox || death.is_old(names) {
                continue;
            }
            if !self.is_shown_as_oom(&id, names) || self.ended_as_reported(death) {
                continue;
            }
            let unplaced = self.is_unplaced_kill(death.at - NOTICED..=death.at + SECOND);
            if !unplaced && let Some((_, line)) = death.lines.first() {
                noticed.push(Kill::noticed(death.at, death.pod.clone(), Some(id), line, None));
            }
        }
        for end in &self.unnamed_kills {
            let near = end.at - NOTICED..=end.at + SECOND;
            if !self.kills.iter().any(|kill| kill.pod == end.pod && near.contains(&kill.at)) {
                let mut kill = Kill::noticed(end.at, end.pod.clone(), None, &end.line, None);
                kill.reported.container.clone_from(&end.what.container);
                kill.reported.time_unknown = is_before_all(end.at);
                noticed.push(kill);
            }
        }
        self.kills.append(&mut noticed);
        self.kills.sort_by_key(|kill| kill.at);
    }

    /// Whether what was noticed in a container is a kill in another one: at a limit of v1 the kernel notifies every cgroup below it
    /// (`mem_cgroup_oom_notify`), and runtimes report that of each of their containers.
    fn is_of_limit_above(&self, change: &Cause<ContainerChange>) -> bool {
        self.above.iter().any(|(at, pod)| {
            (change.at - NOTICED..=change.at + SECOND).contains(at)
                && pod.as_ref().is_none_or(|pod| change.pod.as_ref() == Some(pod))
        })
    }

    /// Whether what systemd noticed in a unit is a kill that is known: one in the unit, or one at that time wherever, for the
    /// manager of a user has units of its own.
    fn is_known_in_unit(&self, change: &Cause<ContainerChange>) -> bool {
        let own = unit(&change.what);
        let near = change.at - NOTICED..=change.at + SECOND;
        let of_kernel = self.kills.iter().any(|kill| {
            let of_unit = kill.reported.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_deref()) == own;
            of_unit || near.contains(&kill.at)
        });
        let is_manager = own.is_some_and(|unit| unit.starts_with("user@"));
        let is_same = |other: &Cause<ContainerChange>| {
            let apart = change.at - other.at;
            match unit(&other.what) {
                Some(unit) if Some(unit) == own => 0 < apart && apart <= SAME_STEP,
                Some(_) => is_manager && apart.abs() <= SAME_STEP,
                None => false,
            }
        };
        of_kernel || self.changes.iter().filter(|other| other.what.action == ContainerAction::OomNoticed).any(is_same)
    }

    /// Whether there is a kill in this time that nothing places: what was noticed then may be this one.
    fn is_unplaced_kill(&self, within: RangeInclusive<i64>) -> bool {
        let unplaced = |kill: &&Kill| kill.container.is_none() && kill.reported.cgroup.is_none();
        self.kills.iter().filter(unplaced).any(|kill| within.contains(&kill.at))
    }
}

/// The unit that systemd noticed a kill in.
fn unit(change: &ContainerChange) -> Option<&str> {
    change.cgroup.as_ref()?.unit.as_deref()
}

/// When a kill at a limit of v1 above a container's was, and the pod if it is the pod's limit.
pub(super) fn above(Kept { at, line, .. }: &Kept, names: &Names<'_>) -> Option<(i64, Option<PodKey>)> {
    let Event::OomKill(kill) = &line.event else { return None };
    let limit = kill.limit.as_ref().filter(|limit| limit.swap_counter == Some(SwapCounter::MemoryAndSwap))?;
    let container = kill.container.as_ref().and_then(|container| container.id.as_ref());
    match limit.level? {
        Level::Pod => names.key(kill.pod.as_ref(), container, *at).map(|pod| (*at, Some(pod))),
        Level::Qos | Level::Kubepods => Some((*at, None)),
        Level::Container | Level::Node | Level::Other => None,
    }
}

impl Kill {
    /// A kill of which only others tell: who, and when about. Where the kubelet says that the node was out of memory, it is
    /// known whose limit it was.
    fn noticed(
        at: i64,
        pod: Option<PodKey>,
        container: Option<ContainerId>,
        line: &Arc<Digested>,
        node: Option<&SystemOom>,
    ) -> Self {
        let victim = Task {
            pid: node.and_then(|oom| oom.pid),
            tgid: node.and_then(|oom| oom.pid),
            comm: node.and_then(|oom| oom.comm.clone()),
            ..Task::default()
        };
        let reported = OomKill {
            container: container.clone().map(|id| Container { id: Some(id), ..Container::default() }),
            victim: Victim { task: victim, ..Victim::default() },
            limit: node.filter(|oom| !oom.of_any_limit).map(|_| Limit { level: Some(Level::Node), ..Limit::default() }),
            ..OomKill::default()
        };
        Self { at, pod, container, reported, lines: vec![(at, Arc::clone(line))], more: 0, until: at }
    }
}
