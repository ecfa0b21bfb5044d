//! What pods' statuses and events say happened, as events of the timeline: for looking at `kubectl`'s output alone.

use jiff::Timestamp;
use oomtrace_model::{
    Container, ContainerAction, ContainerChange, ContainerId, Event, Eviction, EvictionPhase, Line, OomKill,
    OutOfMemoryLog, Pod, Source, SystemOom, rfc3339,
};

use super::{EndRecord, LastWords, Snapshot};
use crate::{
    kernel_log::{self, Clock, Machine},
    memory_killer::koordlet,
};

/// What files say happened.
#[derive(Debug, Default)]
pub struct Happened {
    /// The ends of containers, the evictions and the nodes' kills, in the order of time.
    pub lines: Vec<Line>,
    /// How many have no time: they are given in their order, at the start of 1970.
    pub untimed: i64,
    /// Ends that were lost with their containers (`ContainerStatusUnknown`): their exit code is made up.
    pub lost: usize,
    /// Events of kills (`OOMKilling`) whose message is no line of the kernel's that can be read.
    pub unreadable: usize,
}

/// What statuses and events say happened.
#[must_use]
pub fn lines(snapshot: &Snapshot) -> Happened {
    let (mut found, mut untimed, mut unreadable, mut lost) = (Vec::new(), 0, 0, 0);
    let mut add = |at: Option<Timestamp>, node: Option<&String>, event: Event| {
        // In their order, at a time that nobody takes for theirs.
        let at = at.unwrap_or_else(|| {
            untimed += 1;
            Timestamp::from_microsecond(untimed).unwrap_or(Timestamp::UNIX_EPOCH)
        });
        found.push((at, node.cloned().unwrap_or_else(|| "unknown".to_owned()), event));
    };
    let known = snapshot.pods.values().map(|record| (record, false));
    for (record, described) in known.chain(snapshot.described.values().map(|record| (record, true))) {
        for (name, container) in &record.containers {
            let ended = |id: Option<&ContainerId>, end: &EndRecord| {
                let before = || container.restart_count.and_then(|count| count.checked_sub(1));
                let of_it = Container {
                    name: Some(name.clone()).filter(|name| !name.is_empty()),
                    id: id.cloned(),
                    image: container.image.clone(),
                    restart_count: id.map_or_else(before, |id| container.ids.get(id).copied().flatten()),
                    role: container.role,
                };
                let is_known = record.pod.uid.is_some() || record.pod.name.is_some();
                ContainerChange {
                    pod: Some(record.pod.clone()).filter(|_| is_known),
                    container: Some(of_it),
                    exit_code: end.exit_code,
                    reason: end.reason.clone(),
                    ..ContainerChange::new(ContainerAction::Died)
                }
            };
            let named = container.ends.iter().map(|(id, end)| (Some(id), end));
            let is_lost = |end: &&EndRecord| end.reason.as_deref() == Some("ContainerStatusUnknown");
            lost += container.unnamed_ends.iter().filter(is_lost).count();
            // Of a pod that is known by its uid, a status without an id otherwise is one that was lost with its container, too.
            let unnamed = container
                .unnamed_ends
                .iter()
                .filter(|end| !is_lost(end))
                .filter(|end| described || end.reason.as_deref() == Some("OOMKilled"));
            let unnamed = unnamed.map(|end| (None, end));
            // A child was killed, and the first process exited with 0.
            let failed = |end: &EndRecord| end.exit_code != Some(0) || end.reason.as_deref() == Some("OOMKilled");
            for (id, end) in named.chain(unnamed).filter(|(_, end)| failed(end)) {
                let change = ended(id, end);
                add(end.ended.or(end.finished), record.node.as_ref(), Event::Container(Box::new(change)));
            }
        }
    }
    for notice in snapshot.evictions.iter().filter(|notice| !notice.refused) {
        let at = notice.ts.as_deref().and_then(|ts| ts.parse().ok());
        let node = notice.node.as_ref().or_else(|| node_of(snapshot, &notice.pod));
        // The amounts are the notice's, and the verdict takes them from there: where no name tells which notice it is, by its
        // containers.
        let step = Eviction {
            pod: Some(notice.pod.clone()),
            resource: notice.resource.clone(),
            memory: notice.resource.as_deref().map(|resource| resource == "memory"),
            containers: if notice.pod.is_nameless() { notice.containers.clone() } else { Vec::new() },
            ..Eviction::new(EvictionPhase::Evicted)
        };
        add(at, node, Event::Eviction(Box::new(step)));
    }
    for evicted in &snapshot.killer_evictions {
        let signal = koordlet::of_pod(evicted.pod.clone());
        add(evicted.ts, evicted.node.as_ref(), Event::Signal(Box::new(signal)));
    }
    for oom in &snapshot.system_ooms {
        let event = SystemOom { pid: oom.pid, comm: oom.comm.clone(), of_any_limit: false };
        add(oom.ts, oom.node.as_ref(), Event::SystemOom(Box::new(event)));
    }
    let mut found: Vec<_> = found.into_iter().map(|(at, node, event)| (at, node, Source::Kubelet, event)).collect();
    for notice in &snapshot.kernel_lines {
        let Some(kill) = kill_of(&notice.text) else {
            unreadable += 1;
            continue;
        };
        let at = notice.ts.unwrap_or_else(|| {
            untimed += 1;
            Timestamp::from_microsecond(untimed).unwrap_or(Timestamp::UNIX_EPOCH)
        });
        let kill = OomKill { time_unknown: notice.ts.is_none(), ..kill };
        let node = notice.node.clone().unwrap_or_else(|| "unknown".to_owned());
        found.push((at, node, Source::Kmsg, Event::OomKill(Box::new(kill))));
    }
    found.sort_by_key(|(a, ..)| *a);
    let line = |(seq, (at, node, source, event)): (u64, (Timestamp, String, Source, Event))| Line {
        ts: rfc3339(at),
        seq,
        node,
        source,
        boot_ns: None,
        event,
    };
    Happened { lines: (1..).zip(found).map(line).collect(), untimed, lost, unreadable }
}

/// The kill that a line of the kernel's is of; its time stands beside it.
fn kill_of(text: &str) -> Option<OomKill> {
    let mut events = kernel_log::Events::new(Clock::default(), Machine::default());
    let reported = events.push_line(text.as_bytes()).into_iter().chain(events.finish());
    reported.into_iter().find_map(|reported| match reported.event {
        Event::OomKill(kill) => Some(OomKill { time_unknown: false, ..*kill }),
        _ => None,
    })
}

/// What containers' logs say of memory that ran out, as events of a node.
#[must_use]
pub fn last_words(snapshot: &Snapshot, node: &str) -> Vec<Line> {
    let line = |(seq, last): (u64, &LastWords)| {
        let of_it =
            Container { name: Some(last.container.clone()), restart_count: last.restart_count, ..Container::default() };
        let log = OutOfMemoryLog {
            pod: Some(last.pod.clone()),
            container: Some(of_it),
            runtime: Some(last.words.runtime.to_owned()),
            message: Some(last.words.text.clone()),
        };
        Line {
            ts: rfc3339(last.words.at),
            seq,
            node: node.to_owned(),
            source: Source::Cri,
            boot_ns: None,
            event: Event::OutOfMemoryLog(Box::new(log)),
        }
    };
    (1..).zip(&snapshot.last_words).map(line).collect()
}

fn node_of<'a>(snapshot: &'a Snapshot, pod: &Pod) -> Option<&'a String> {
    snapshot.pods.get(snapshot.canonical(pod.uid.as_ref()?))?.node.as_ref()
}
