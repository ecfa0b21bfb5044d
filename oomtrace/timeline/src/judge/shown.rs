//! What Kubernetes shows for an incident: what the user is staring at.

use std::collections::BTreeMap;

use oomtrace_model::{AffectedContainer, Container, ContainerAction, ContainerId, Event, snapshot::EndRecord};

use super::{
    super::{evidence::Kill, windows::PAUSE},
    Context,
    case::Case,
    ending,
};

/// Of containers that the kernel killed in. Seen where a file has the container's end by its id, else what containerd and
/// CRI-O make of it: `OOMKilled` where they noticed the kernel's event in time.
pub(super) fn of_kills(case: &Case<'_>, context: &Context<'_>, invisible: Option<bool>) -> (Vec<String>, bool) {
    let ids: Vec<&ContainerId> = case.kills.iter().filter_map(|kill| kill.container.as_ref()).collect();
    let mut shows: Vec<String> = Vec::new();
    // The container outlived the kills: what became of it later has nothing to do with them, unless it is called so for them.
    // An end that is longer after is judged without them after the fact, and so live.
    let outlived = invisible == Some(true) && case.evicted.is_none();
    let soon =
        |id: &ContainerId| context.evidence.death_of(id).is_none_or(|death| death.at - case.last_kill() <= PAUSE);
    let unseen =
        |id: &ContainerId| context.evidence.death_of(id).is_some_and(|death| ending::is_unseen_end(context, death));
    let called = |id: &ContainerId| context.evidence.is_shown_as_oom(id, context.names) && soon(id) && !unseen(id);
    for id in ids.iter().filter(|id| !outlived || called(id)) {
        if let Some(text) = end(context, id).and_then(written) {
            add(&mut shows, text);
        }
    }
    // An evicted pod's status has forgotten the ids: `ContainerStatusUnknown`.
    if case.evicted.is_some() && shows.is_empty() {
        let name = case.container(context).and_then(|container| container.name);
        let record = context.names.container_record(case.pod.as_ref(), name.as_deref());
        for text in record.iter().flat_map(|record| &record.unnamed_ends).filter_map(written) {
            add(&mut shows, text);
        }
    }
    let seen = !shows.is_empty();
    if outlived && !seen {
        return (vec!["nothing".to_owned()], false);
    }
    if !seen {
        let codes = ids.iter().filter_map(|id| context.evidence.death_of(id)).filter_map(|death| death.exit_code);
        for code in codes {
            add(&mut shows, format!("OOMKilled {code}"));
        }
        if shows.is_empty() {
            let text = match invisible {
                Some(true) => "nothing",
                _ if !ids.is_empty() || case.pod.is_some() => "OOMKilled 137",
                _ if case.kills.iter().all(|kill| is_nowhere(kill)) => "OOMKilled 137, if it was in a container",
                _ => "nothing",
            };
            add(&mut shows, text.to_owned());
        }
    }
    if case.evicted.is_some() {
        shows.retain(|text| text != "nothing");
        add(&mut shows, "Evicted".to_owned());
    }
    (shows, seen)
}

/// Whether nothing tells where the kill was: a line of it alone.
fn is_nowhere(kill: &Kill) -> bool {
    let of_limit = kill.reported.limit.as_ref().and_then(|limit| limit.cgroup.as_ref());
    of_limit.is_none() && kill.reported.cgroup.is_none()
}

/// Of a container that ended by itself, or by a signal.
pub(super) fn of_end(case: &Case<'_>, context: &Context<'_>) -> (Vec<String>, bool) {
    let mut shows = Vec::new();
    for id in case.deaths.iter().filter_map(|death| death.container.as_ref()) {
        if let Some(text) = end(context, id).and_then(written) {
            add(&mut shows, text);
        }
    }
    let seen = !shows.is_empty();
    if !seen {
        for code in case.deaths.iter().filter_map(|death| death.exit_code) {
            add(&mut shows, if code == 0 { "Completed 0".to_owned() } else { format!("Error {code}") });
        }
        if shows.is_empty() {
            add(&mut shows, "Error".to_owned());
        }
    }
    (shows, seen)
}

fn add(shows: &mut Vec<String>, text: String) {
    if !shows.contains(&text) {
        shows.push(text);
    }
}

/// While the runtime has not said it yet: it may have missed the kernel's event, and then calls the end an `Error`
/// (containerd, `internal/cri/server/events.go`, and CRI-O both look for it when the container has ended).
pub(super) fn add_alternatives(shows: &mut Vec<String>) {
    let errors: Vec<_> =
        shows.iter().filter_map(|text| text.strip_prefix("OOMKilled ").map(|code| format!("Error {code}"))).collect();
    for text in errors {
        add(shows, text);
    }
}

/// How a container's end is shown: as a file has it, or as the kubelet or the runtime reported.
fn end<'a>(context: &Context<'a>, id: &ContainerId) -> Option<&'a EndRecord> {
    let of_file = context.known.snapshot.container(id).and_then(|(_, _, container)| container.ends.get(id));
    of_file.or_else(|| context.evidence.shown(id))
}

fn written(end: &EndRecord) -> Option<String> {
    let reason = end.reason.as_ref()?;
    Some(end.exit_code.map_or_else(|| reason.clone(), |code| format!("{reason} {code}")))
}

/// The containers that ended, or that were asked to.
pub(super) fn affected(case: &Case<'_>, context: &Context<'_>) -> Vec<AffectedContainer> {
    let mut named: BTreeMap<String, AffectedContainer> = BTreeMap::new();
    let mut unnamed: BTreeMap<ContainerId, AffectedContainer> = BTreeMap::new();
    let mut enter = |container: &Container, fill: &dyn Fn(&mut AffectedContainer)| {
        let mut container = container.clone();
        if container.name.is_none()
            && let Some(seen) = container.id.as_ref().and_then(|id| context.names.container(id))
        {
            container = Container { id: container.id, ..seen.container.clone() };
        }
        let entry = match (&container.name, &container.id) {
            (Some(name), _) => named.entry(name.clone()).or_default(),
            (None, Some(id)) => unnamed.entry(id.clone()).or_default(),
            (None, None) => return,
        };
        entry.container = Container {
            id: container.id.or(entry.container.id.take()),
            name: container.name.or(entry.container.name.take()),
            image: container.image.or(entry.container.image.take()),
            restart_count: container.restart_count.max(entry.container.restart_count),
            role: container.role.or(entry.container.role),
        };
        fill(entry);
    };
    let of_id = |id: &ContainerId| Container { id: Some(id.clone()), ..Container::default() };
    if let Some(container) = case.container(context) {
        enter(&container, &|_| {});
    }
    if let Some(evicted) = case.evicted {
        for (_, line) in evicted.lines.iter().chain(&evicted.pass) {
            if let Event::Eviction(step) = &line.event
                && step.pod.is_some()
            {
                for used in &step.containers {
                    enter(&used.container, &|entry| {
                        entry.usage_bytes = entry.usage_bytes.or(used.usage_bytes);
                        entry.request_bytes = entry.request_bytes.or(used.request_bytes);
                    });
                }
            }
        }
        for notice in super::eviction::notices(context, evicted) {
            for used in &notice.containers {
                enter(&used.container, &|entry| {
                    entry.usage_bytes = entry.usage_bytes.or(used.usage_bytes);
                    entry.request_bytes = entry.request_bytes.or(used.request_bytes);
                });
            }
        }
        for change in context.evidence.changes_of(&evicted.pod) {
            let reported = matches!(change.what.action, ContainerAction::Killing | ContainerAction::KillFailed);
            if reported
                && (evicted.at..=evicted.at + super::EVICTION).contains(&change.at)
                && let Some(container) = &change.what.container
            {
                enter(container, &|_| {});
            }
        }
        // What had not ended before.
        for seen in context.names.containers_of(&evicted.pod) {
            if seen.started.is_some()
                && seen.ended.is_none_or(|ended| ended >= evicted.at)
                && seen.container.name.is_some()
            {
                enter(&seen.container, &|_| {});
            }
        }
    }
    for death in &case.deaths {
        if let Some(id) = &death.container {
            enter(&of_id(id), &|entry| {
                entry.exit_code = death.exit_code.or(entry.exit_code);
            });
        }
    }
    // Where all that ended have names, ids without are the sandbox's, or of containers that had ended before.
    let mut all: Vec<_> =
        if named.is_empty() { unnamed.into_values().collect() } else { named.into_values().collect() };
    for entry in &mut all {
        if let Some(end) = entry.container.id.as_ref().and_then(|id| end(context, id)) {
            entry.reason.clone_from(&end.reason);
            entry.exit_code = entry.exit_code.or(end.exit_code);
        }
        let record = context.names.container_record(case.pod.as_ref(), entry.container.name.as_deref());
        entry.limit_bytes = record.and_then(|record| record.limit_bytes);
        let read = || entry.container.id.as_ref().and_then(|id| context.evidence.requests.get(id).copied());
        let request = entry.request_bytes.or_else(|| record.and_then(|record| record.request_bytes)).or_else(read);
        entry.request_bytes = request;
        entry.container.image = entry.container.image.take().or_else(|| record.and_then(|record| record.image.clone()));
    }
    all
}
