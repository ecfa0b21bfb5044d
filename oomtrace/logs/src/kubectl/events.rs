//! What events say of memory, in whatever form they were printed.

use jiff::Timestamp;
use oomtrace_model::{EvictionPhase, Pod};
use serde_json::Value;

use super::{
    EvictionNotice, KernelLineNotice, KillerEviction, ProbeKill, Snapshot, SystemOomNotice,
    objects::{moment, text},
};
use crate::{kubelet_log, memory_killer::koordlet};

/// An event as the API has it.
pub(super) fn event(value: &Value, into: &mut Snapshot) {
    let Some(about) = value.get("involvedObject").or_else(|| value.get("regarding")) else { return };
    let ts = ["lastTimestamp", "eventTime", "deprecatedLastTimestamp", "firstTimestamp"]
        .iter()
        .find_map(|field| value.get(field).and_then(moment));
    let host = ["/source/host", "/deprecatedSource/host", "/reportingInstance"];
    let node = host.iter().filter_map(|at| value.pointer(at)?.as_str()).find(|host| !host.is_empty());
    let Some(message) = text(value, "message").or_else(|| text(value, "note")) else { return };
    let (Some(reason), Some(kind)) = (text(value, "reason"), text(about, "kind")) else { return };
    let seen = Seen {
        ts,
        node,
        reason,
        kind,
        namespace: text(about, "namespace"),
        name: text(about, "name"),
        uid: text(about, "uid"),
        message,
    };
    enter_event(&seen, into);
}

/// An event, in whatever form it was printed.
pub(super) struct Seen<'a> {
    pub(super) ts: Option<Timestamp>,
    pub(super) node: Option<&'a str>,
    pub(super) reason: &'a str,
    /// What it is about.
    pub(super) kind: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) uid: Option<&'a str>,
    pub(super) message: &'a str,
}

/// Takes in what an event says of memory.
pub(super) fn enter_event(seen: &Seen<'_>, into: &mut Snapshot) {
    let Seen { ts, node, reason, kind, namespace, name, uid, message } = *seen;
    // The API server's recorder, where there are many alike (`client-go/tools/record/events_cache.go`).
    let message = message.strip_prefix("(combined from similar events): ").unwrap_or(message);
    let of_node = || node.or(name).map(str::to_owned);
    let pod = || Pod {
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        uid: uid.and_then(|uid| uid.parse().ok()),
        ..Pod::default()
    };
    match reason {
        "Evicted" if kind.eq_ignore_ascii_case("pod") => {
            let (ts, node) = (ts.map(|at| at.to_string()), node.map(str::to_owned));
            let evicted = notice(pod(), message).map(|notice| EvictionNotice { ts, node, ..notice });
            if let Some(notice) = evicted {
                add(notice, into);
            }
        }
        "Killing" if kind.eq_ignore_ascii_case("pod") => {
            let kill = probe_kill(message).map(|(container, probe)| ProbeKill { pod: pod(), container, probe });
            into.probe_kills.extend(kill);
        }
        "evictPodSuccess" if koordlet::is_event_of_memory(message) => {
            into.killer_evictions.push(KillerEviction { pod: pod(), ts, node: node.map(str::to_owned) });
        }
        "SystemOOM" => {
            let victim = message.split_once("victim process: ");
            let victim = victim.map(|(_, rest)| rest.rsplit_once(", pid: ").unwrap_or((rest, "")));
            let comm = victim.map(|(comm, _)| comm.to_owned());
            // A tool that passes the event on may write on behind it.
            let pid = victim.and_then(|(_, pid)| pid.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
            into.system_ooms.push(SystemOomNotice { ts, node: of_node(), comm, pid });
        }
        // Rules of node-problem-detector that are set otherwise have longer names.
        reason if reason.ends_with("OOMKilling") => {
            into.kernel_lines.push(KernelLineNotice { ts, node: of_node(), text: message.to_owned() });
        }
        _ => {}
    }
}

/// Takes in an eviction, once: a pod's status, its event and a table of pods may all say of it.
pub(super) fn add(notice: EvictionNotice, into: &mut Snapshot) {
    let other = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
    let same = |known: &&mut EvictionNotice| {
        let (a, b) = (&known.pod, &notice.pod);
        let uids = a.uid.is_some() && b.uid.is_some() && a.uid != b.uid;
        let words =
            known.message.trim() == notice.message.trim() || known.message.is_empty() || notice.message.is_empty();
        a.name == b.name
            && !uids
            && !other(&a.namespace, &b.namespace)
            && !other(&known.node, &notice.node)
            && words
            && (known.ts.is_none() || notice.ts.is_none())
    };
    let Some(known) = into.evictions.iter_mut().find(same) else { return into.evictions.push(notice) };
    let EvictionNotice { pod, ts, node, message, resource, threshold_bytes, available_bytes, containers, refused } =
        notice;
    known.ts = known.ts.take().or(ts);
    known.node = known.node.take().or(node);
    known.pod.namespace = known.pod.namespace.take().or(pod.namespace);
    known.pod.uid = known.pod.uid.take().or(pod.uid);
    known.pod.owner = known.pod.owner.take().or(pod.owner);
    if known.message.is_empty() {
        (known.message, known.resource, known.containers, known.refused) = (message, resource, containers, refused);
        (known.threshold_bytes, known.available_bytes) = (threshold_bytes, available_bytes);
    }
}

/// The container and the probe: `Container web failed liveness probe, will be restarted`, before 1.15 `Killing container with id
/// docker://web:Container failed liveness probe.. Container will be killed and recreated.`
fn probe_kill(message: &str) -> Option<(String, String)> {
    let (before, _) = message.split_once(" probe")?;
    let (before, probe) = before.rsplit_once(" failed ")?;
    let name = match before.rsplit_once("://") {
        Some((_, rest)) => rest.split(':').next()?,
        None => before.strip_prefix("Container ")?,
    };
    matches!(probe, "liveness" | "startup").then(|| (name.to_owned(), probe.to_owned()))
}

/// What the message of an eviction says.
pub(super) fn notice(pod: Pod, message: &str) -> Option<EvictionNotice> {
    let read = kubelet_log::eviction_message(message)?;
    Some(EvictionNotice {
        pod,
        ts: None,
        node: None,
        message: message.to_owned(),
        refused: read.phase == EvictionPhase::AdmissionRefused,
        resource: read.resource,
        threshold_bytes: read.threshold_bytes,
        available_bytes: read.available_bytes,
        containers: read.containers,
    })
}
