//! Kills of which the kernel left the report out: where they were.
//!
//! The kernel reports ten kills in five seconds, and of the others says only who was killed. Which container that was in, others
//! may have noticed: cAdvisor and the container runtime, or the kubelet, whose status of an end says `OOMKilled`. What they
//! noticed of a container that no report names, at the time of such a kill, is that kill: both tell of a limit that was hit,
//! and each has what the other lacks. Of several, the first goes with the first.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::{
    event::{Container, ContainerAction, ContainerChange, ContainerId, Event, NOTICED, OomKill, Pod},
    node::snapshot::Snapshot,
};

/// A clock without fractions of seconds.
const EARLY: SignedDuration = SignedDuration::from_secs(-1);

/// What was noticed in a container that no report names.
struct Noticed {
    at: Timestamp,
    id: ContainerId,
    pod: Option<Pod>,
}

/// Gives kills without a place the one that was noticed. `reported` is in the order of time.
pub(super) fn place(mut reported: Vec<(Timestamp, &mut Event)>, snapshot: &Snapshot) {
    complete_ids(&mut reported, snapshot);
    if !reported.iter().any(|(_, event)| kill(event).is_some_and(is_nowhere)) {
        return;
    }
    let mut noticed = noticed(&reported, snapshot);
    for (at, event) in reported {
        let Event::OomKill(kill) = event else { continue };
        if !is_nowhere(kill) {
            continue;
        }
        let in_time = |noticed: &Noticed| (EARLY..=NOTICED).contains(&noticed.at.duration_since(at));
        let Some(index) = noticed.iter().position(in_time) else { continue };
        let Noticed { id, pod, .. } = noticed.remove(index);
        kill.container = Some(Container { id: Some(id), ..Container::default() });
        kill.pod = pod;
    }
}

/// Gives containers of whose id only the start was written the one id that begins so.
fn complete_ids(reported: &mut [(Timestamp, &mut Event)], snapshot: &Snapshot) {
    let change = |event: &Event| match event {
        Event::Container(change) => Some((change.id_begins().map(str::to_owned), change.container.clone())),
        Event::OomKill(kill) => Some((None, kill.container.clone())),
        _ => None,
    };
    let changes: Vec<_> = reported.iter().filter_map(|(_, event)| change(event)).collect();
    if changes.iter().all(|(begins, _)| begins.is_none()) {
        return;
    }
    let mut ids: BTreeSet<_> = changes.into_iter().filter_map(|(_, container)| container?.id).collect();
    let containers = snapshot.pods.values().flat_map(|record| record.containers.values());
    ids.extend(containers.flat_map(|container| container.ids.keys().cloned()));
    for (_, event) in reported {
        let Event::Container(change) = &mut **event else { continue };
        let Some(begins) = change.id_begins() else { continue };
        let mut found = ids.iter().filter(|id| id.as_str().starts_with(begins));
        if let (Some(id), None) = (found.next(), found.next()) {
            change.container = Some(Container { id: Some(id.clone()), ..Container::default() });
            change.message = None;
        }
    }
}

fn kill(event: &Event) -> Option<&OomKill> {
    match event {
        Event::OomKill(kill) => Some(kill),
        _ => None,
    }
}

/// Whether nothing tells where a kill for the limit of a cgroup was.
fn is_nowhere(kill: &OomKill) -> bool {
    let of_cgroup = kill.message.as_deref().is_some_and(|message| message.starts_with("Memory cgroup"));
    of_cgroup && kill.pod.is_none() && kill.container.is_none() && kill.cgroup.is_none() && kill.limit.is_none()
}

/// What was noticed, the earliest of each container, in the order of time.
fn noticed(reported: &[(Timestamp, &mut Event)], snapshot: &Snapshot) -> Vec<Noticed> {
    let id = |container: &Option<Container>| container.as_ref().and_then(|container| container.id.clone());
    let placed: BTreeSet<_> = reported.iter().filter_map(|(_, event)| id(&kill(event)?.container)).collect();
    let changes = || {
        reported.iter().filter_map(|(at, event)| match &**event {
            Event::Container(change) => Some((*at, &**change)),
            _ => None,
        })
    };
    let says_so = |change: &ContainerChange| change.reason.as_deref() == Some("OOMKilled");
    let reported: BTreeSet<_> = changes()
        .filter(|(_, change)| change.action == ContainerAction::Reported && says_so(change))
        .filter_map(|(_, change)| id(&change.container))
        .collect();
    let in_file = |id: &ContainerId| {
        let end = snapshot.container(id).and_then(|(_, _, container)| container.ends.get(id));
        end.is_some_and(|end| end.reason.as_deref() == Some("OOMKilled"))
    };
    let mut first: BTreeMap<ContainerId, Noticed> = BTreeMap::new();
    for (at, change) in changes() {
        let Some(id) = id(&change.container).filter(|id| !placed.contains(id)) else { continue };
        let of_kill = match change.action {
            ContainerAction::OomNoticed => true,
            ContainerAction::Died => reported.contains(&id) || in_file(&id),
            _ => false,
        };
        if of_kill {
            first.entry(id.clone()).or_insert_with(|| Noticed { at, id, pod: change.pod.clone() });
        }
    }
    // A pod's status has its last end, to the second.
    for record in snapshot.pods.values() {
        for (id, end) in record.containers.values().flat_map(|container| &container.ends) {
            if let Some(at) = end.ended
                && end.reason.as_deref() == Some("OOMKilled")
                && !placed.contains(id)
            {
                let noticed = || Noticed { at, id: id.clone(), pod: Some(record.pod.clone()) };
                first.entry(id.clone()).or_insert_with(noticed);
            }
        }
    }
    let mut noticed: Vec<_> = first.into_values().collect();
    noticed.sort_by_key(|noticed| noticed.at);
    noticed
}
