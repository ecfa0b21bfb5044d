//! Names of containers that were killed and that no line names directly.

use std::collections::BTreeMap;

use oomtrace_model::ContainerAction;

use super::super::{
    evidence::{Evidence, Kill},
    names::Names,
    windows::SECOND,
};

/// Finds out the names of containers that were killed and that no line names directly.
pub(super) fn name(names: &mut Names<'_>, evidence: &Evidence) {
    let unnamed = |names: &Names<'_>, kill: &Kill| {
        let id = kill.container.clone()?;
        let nameless = names.container(&id).is_none_or(|seen| seen.container.name.is_none());
        (nameless && kill.reported.container.as_ref().is_none_or(|container| container.name.is_none())).then_some(id)
    };
    let deaths: Vec<_> = evidence.deaths.iter().filter(|death| !death.sandbox).collect();
    // The kubelet ends a container's back-off line with its name, right after the container's end.
    for death in &deaths {
        let (Some(id), Some(pod)) = (&death.container, &death.pod) else { continue };
        let soon = death.at - 2 * SECOND..death.at + 2 * SECOND;
        let back_off = evidence
            .changes_of(pod)
            .find(|change| change.what.action == ContainerAction::BackOff && (death.at..soon.end).contains(&change.at));
        let from = deaths.partition_point(|other| other.at < soon.start);
        let together = deaths[from..].iter().take_while(|other| other.at < soon.end);
        if together.filter(|other| other.pod.as_ref() == Some(pod)).count() > 1 {
            continue;
        }
        if let Some(name) = back_off.and_then(|change| change.what.container.as_ref()?.name.clone()) {
            names.name_container(id, &name);
        }
    }
    // A container that failed is started again under its name: where the pod has no other, the next one is the same. The
    // latest first, for a name goes back through all its restarts.
    for death in deaths.iter().rev() {
        let (Some(id), Some(pod)) = (&death.container, &death.pod) else { continue };
        let nameless = names.container(id).is_some_and(|seen| seen.container.name.is_none());
        if nameless
            && death.exit_code.is_some_and(|code| code != 0)
            && names.containers_at(pod, death.at) == Some(1)
            && let Some(name) = names.next_name(pod, death.at)
        {
            names.name_container(id, &name);
        }
    }
    // Of a pod's containers, the one with the limit that was hit.
    for kill in &evidence.kills {
        let Some(id) = unnamed(names, kill) else { continue };
        let (Some(key), Some(limit)) = (&kill.pod, kill.reported.limit.as_ref().and_then(|limit| limit.limit_bytes))
        else {
            continue;
        };
        let Some(record) = names.record(key) else { continue };
        let mut with_limit = record.containers.iter().filter(|(_, container)| container.limit_bytes == Some(limit));
        if let (Some((name, _)), None) = (with_limit.next(), with_limit.next()) {
            let name = name.clone();
            names.name_container(&id, &name);
        }
    }
    // Of a pod's containers, the one that was killed before with the same limit and the same process.
    let alike = |kill: &Kill| {
        let limit = kill.reported.limit.as_ref()?;
        Some((
            kill.pod.clone()?,
            limit.level.map(|level| level as u8),
            limit.limit_bytes?,
            kill.reported.victim.task.comm.clone()?,
        ))
    };
    let mut known: BTreeMap<_, Option<String>> = BTreeMap::new();
    for kill in &evidence.kills {
        let name =
            kill.container.as_ref().and_then(|id| names.container(id)).and_then(|seen| seen.container.name.clone());
        if let (Some(alike), Some(name)) = (alike(kill), name) {
            // Two names: neither.
            known
                .entry(alike)
                .and_modify(|known| {
                    if known.as_ref() != Some(&name) {
                        *known = None;
                    }
                })
                .or_insert(Some(name));
        }
    }
    for kill in &evidence.kills {
        let Some(id) = unnamed(names, kill) else { continue };
        if let Some(name) = alike(kill).and_then(|alike| known.get(&alike).cloned().flatten()) {
            names.name_container(&id, &name);
        }
    }
}
