//! No line of JSON is longer than a container runtime takes in one piece.
//!
//! containerd and CRI-O cut what a container prints into pieces of 16 KiB (`MaxContainerLogLineSize`), which log stacks do not
//! always put together again. So lists are thinned, always to what is of use in a log ([`ROOMS`], the first), and further while
//! the line is too long. In this order, each step less of all of them: candidates of a kill and processes killed with it;
//! steps and events of an incident, of which the first and the last stay, and readings of memory, of which those stay that
//! give the curve its shape; pods, containers, probes and
//! what is degraded. What goes is counted in a field of the list's name with `_omitted`. When that is not enough, texts that
//! are longer than any name that Kubernetes allows are shortened, which ends them with `…`.
//!
//! Of a candidate or member in the pod and container that the line itself is about, only the names are printed again.
//!
//! A recording, and what `--full` prints, is whole.

use std::borrow::Cow;

use serde_json::Value;

use crate::event::{Event, Incident, IncidentState, Line, OomKill, Place, Status, thin_curve, thin_middle};

/// The longest line in bytes, with its line end.
pub const LONGEST: usize = 16 * 1024;

/// A container's id.
const LONGEST_ID: usize = 64;

/// How much of each list a line has.
struct Room {
    candidates: usize,
    members: usize,
    steps: usize,
    history: usize,
    events: usize,
    containers: usize,
    others: usize,
    /// Longest text in bytes of JSON; of any length in the first.
    text: usize,
}

/// From what every line has, to what fits whatever else is in it.
const ROOMS: [Room; 6] = [
    Room {
        candidates: 5,
        members: 20,
        steps: 10,
        history: 8,
        events: 32,
        containers: 32,
        others: 32,
        text: usize::MAX,
    },
    Room { candidates: 3, members: 8, steps: 10, history: 4, events: 24, containers: 16, others: 16, text: 2048 },
    Room { candidates: 2, members: 4, steps: 8, history: 4, events: 16, containers: 8, others: 8, text: 512 },
    Room { candidates: 1, members: 2, steps: 4, history: 2, events: 8, containers: 3, others: 3, text: 253 },
    Room { candidates: 0, members: 0, steps: 2, history: 0, events: 2, containers: 1, others: 1, text: 64 },
    Room { candidates: 0, members: 0, steps: 1, history: 0, events: 1, containers: 1, others: 1, text: 24 },
];

/// A line as it is printed, no longer than [`LONGEST`].
pub(super) fn fitting(line: &Line, print: impl Fn(&Line) -> String) -> String {
    let mut text = String::new();
    for room in &ROOMS {
        let thin = thinned(line, room);
        text = print(&thin);
        if text.len() > LONGEST && room.text < usize::MAX {
            text = print(&shortened(&thin, room.text));
        }
        if text.len() <= LONGEST {
            break;
        }
    }
    text
}

/// A line with its lists thinned.
fn thinned<'a>(line: &'a Line, room: &Room) -> Cow<'a, Line> {
    match &line.event {
        Event::OomKill(_)
        | Event::OomDecision(_)
        | Event::Eviction(_)
        | Event::Incident(_)
        | Event::Pressure(_)
        | Event::Status(_) => {
            let mut line = line.clone();
            thin(&mut line.event, room);
            Cow::Owned(line)
        }
        // They have no lists: the tests print the longest line of every kind that the schema has.
        _ => Cow::Borrowed(line),
    }
}

fn thin(event: &mut Event, room: &Room) {
    match event {
        Event::OomKill(kill) | Event::OomDecision(kill) => thin_kill(kill, room),
        Event::Eviction(step) => {
            step.pods_omitted += thin_end(&mut step.pods, room.others);
            step.containers_omitted += thin_end(&mut step.containers, room.others);
            step.node_conditions_omitted += thin_end(&mut step.node_conditions, room.others);
        }
        Event::Incident(incident) => thin_incident(incident, room),
        Event::Pressure(read) => read.grown_omitted += thin_end(&mut read.grown, room.others),
        Event::Status(status) => thin_status(status, room),
        _ => {}
    }
}

/// Most points first: the last of them matter least.
fn thin_kill(kill: &mut OomKill, room: &Room) {
    if let Some(candidates) = &mut kill.candidates {
        kill.candidates_omitted += thin_end(candidates, room.candidates);
    }
    kill.members_omitted += thin_end(&mut kill.members, room.members);
    let own = Place { pod: kill.pod.clone(), container: kill.container.clone() };
    kill.each_place(|pod, container| own.names_only(pod, container));
    if room.history == 0 && room.steps == 1 {
        // The line itself has the victim's.
        for task in [&mut kill.trigger, &mut kill.victim.task] {
            (task.pod, task.container) = (None, None);
        }
        if let Some(limit) = &mut kill.limit {
            (limit.pod, limit.container) = (None, None);
        }
    }
}

fn thin_incident(incident: &mut Incident, room: &Room) {
    // While it is open, a line says what it is and what is new. The events have the rest, and so has its closing.
    let room = if incident.state == IncidentState::Open {
        (incident.victim, incident.limit, incident.cgroup) = (None, None, None);
        incident.later_ids.clear();
        &Room { steps: 0, history: 0, events: 0, containers: 0, ..*room }
    } else {
        room
    };
    incident.steps_omitted += thin_middle(&mut incident.steps, room.steps);
    incident.history_omitted += thin_curve(&mut incident.history, room.history);
    incident.events_omitted += thin_middle(&mut incident.events, room.events);
    for line in &mut incident.events_full {
        thin(&mut line.event, room);
    }
    incident.containers_omitted += thin_end(&mut incident.containers, room.containers);
    let verdict = &mut incident.verdict;
    verdict.missing_omitted += thin_end(&mut verdict.missing, room.others);
    verdict.evidence_omitted += thin_end(&mut verdict.evidence, room.others);
    verdict.kubernetes_shows_omitted += thin_end(&mut verdict.kubernetes_shows, room.others);
}

fn thin_status(status: &mut Status, room: &Room) {
    // As many as there are functions of the kernel that are of interest.
    while status.attached.len() > 2 * room.others.max(2) {
        status.attached.pop_last();
        status.attached_omitted += 1;
    }
    status.degraded_omitted += thin_end(&mut status.degraded, room.others);
    status.losses_omitted += thin_end(&mut status.losses, room.others);
}

/// Leaves out the end of a long list. Gives how many went.
fn thin_end<T>(list: &mut Vec<T>, most: usize) -> u64 {
    let omitted = list.len().saturating_sub(most);
    list.truncate(most);
    omitted as u64
}

/// A line with no text longer than so many bytes of JSON. Ids and times are shorter, so it is a line still.
fn shortened(line: &Line, most: usize) -> Cow<'_, Line> {
    let Ok(mut value) = serde_json::to_value(line) else { return Cow::Borrowed(line) };
    shorten(&mut value, most);
    serde_json::from_value(value).map_or(Cow::Borrowed(line), Cow::Owned)
}

fn shorten(value: &mut Value, most: usize) {
    match value {
        Value::String(text) => shorten_text(text, most),
        Value::Array(values) => values.iter_mut().for_each(|value| shorten(value, most)),
        Value::Object(fields) => fields.values_mut().for_each(|value| shorten(value, most)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cuts a text between characters, so that it takes no more bytes in JSON, where a control character takes six.
fn shorten_text(text: &mut String, most: usize) {
    let in_json = |character: char| match character {
        '"' | '\\' => 2,
        character if character < ' ' => 6,
        character => character.len_utf8(),
    };
    // An id, a time, a name that the schema lists.
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte));
    if text.chars().map(in_json).sum::<usize>() <= most || text.len() <= LONGEST_ID && is_word(text) {
        return;
    }
    let mut bytes = '…'.len_utf8();
    let end = text.char_indices().find(|(_, character)| {
        bytes += in_json(*character);
        bytes > most
    });
    text.truncate(end.map_or(0, |(at, _)| at));
    text.push('…');
}

#[cfg(test)]
mod tests;
