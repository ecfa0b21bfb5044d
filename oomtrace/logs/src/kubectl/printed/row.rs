//! Rows of tables whose head was not pasted, and the rows of tables of pods.

use jiff::Timestamp;
use oomtrace_model::{Pod, snapshot::EndRecord};

use super::{
    super::{
        EvictionNotice, Snapshot,
        events::{Seen, add, enter_event},
        objects::entry,
    },
    before,
};

/// A row of `kubectl get pods`: `[NAMESPACE] NAME READY STATUS RESTARTS AGE [IP NODE …]`.
///
/// Of a pod the column of statuses has one word, of which these say how it ended (`printPod`,
/// `pkg/printers/internalversion/printers.go`): `Evicted`, `OOMKilled`, `Init:OOMKilled`, and without a reason `ExitCode:137`
/// and `Signal:9`.
pub(super) fn of_pods(line: &str, into: &mut Snapshot) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some(at) = words.iter().take(3).position(|word| is_ready(word)).filter(|at| *at > 0) else { return false };
    let (Some(name), Some(status), Some(restarts)) = (words.get(at - 1), words.get(at + 1), words.get(at + 2)) else {
        return false;
    };
    if !is_name(name) || !status.starts_with(|c: char| c.is_ascii_uppercase()) || restarts.parse::<u32>().is_err() {
        return false;
    }
    let namespace = at.checked_sub(2).and_then(|at| words.get(at)).filter(|name| is_name(name));
    let pod = Pod {
        namespace: namespace.map(|namespace| (*namespace).to_owned()),
        name: Some((*name).to_owned()),
        ..Pod::default()
    };
    // `3 (30s ago)`: when the container was started last.
    let (ago, behind) = match &words[at + 3..] {
        [ago, "ago)", behind @ ..] => (ago.strip_prefix('('), behind),
        behind => (None, behind),
    };
    // Behind the age come an address and the node, where they are asked for.
    let node = match behind {
        [_, ip, node, ..] if *ip == "<none>" || ip.parse::<std::net::IpAddr>().is_ok() => Some((*node).to_owned()),
        _ => None,
    };
    let node = node.filter(|node| node != "<none>");
    if *status == "Evicted" {
        add(EvictionNotice { pod, node, ..EvictionNotice::default() }, into);
        return true;
    }
    let ended = ago.and_then(|ago| before(into.printed, ago));
    let Some(end) = ended_as(status.trim_start_matches("Init:"), ended) else { return true };
    let record = entry(into, pod);
    record.node = record.node.take().or(node);
    // A description, where there is one, says which container it was.
    if record.containers.is_empty() {
        let container = record.containers.entry(String::new()).or_default();
        container.restart_count = restarts.parse().ok();
        container.unnamed_ends.push(end);
    }
    true
}

/// How a container ended by a status that is not that of the pod.
fn ended_as(status: &str, ended: Option<Timestamp>) -> Option<EndRecord> {
    let end = |exit_code, reason: &str| EndRecord {
        exit_code,
        reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
        ended,
        finished: None,
    };
    if let Some(code) = status.strip_prefix("ExitCode:") {
        return Some(end(Some(code.parse().ok()?), ""));
    }
    if let Some(signal) = status.strip_prefix("Signal:") {
        return Some(end(Some(128 + signal.parse::<u8>().map(i32::from).ok()?), ""));
    }
    (status == "OOMKilled").then(|| end(None, status))
}

/// A row of `kubectl get events`, or of those of a description: the type and the reason stand beside each other, and the
/// message is the rest behind whom it is of.
pub(super) fn of_event(line: &str, asked: &Pod, into: &mut Snapshot) -> bool {
    let Some(kind) =
        [" Warning ", " Normal ", "\tWarning\t", "\tNormal\t"].iter().find(|kind| format!(" {line}").contains(**kind))
    else {
        return false;
    };
    let line = format!(" {line}");
    let Some((head, rest)) = line.split_once(kind) else { return false };
    let rest = rest.trim_start();
    let (reason, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !matches!(reason, "Evicted" | "SystemOOM" | "OOMKilling" | "evictPodSuccess" | "Killing") {
        return false;
    }
    let quoted = |word: &&str| word.chars().all(|c| matches!(c, '>' | '|'));
    let head: Vec<&str> = head.split_whitespace().skip_while(quoted).collect();
    let rest = rest.trim_start();
    let first = rest.split_whitespace().next().unwrap_or_default();
    // `pod/cart-5   The node …`, or `6m28s (x3 over 10m)  kubelet, node1   The node …`.
    let (object, age, rest) = match first
        .split_once('/')
        .filter(|(kind, _)| kind.eq_ignore_ascii_case("pod") || kind.eq_ignore_ascii_case("node"))
    {
        Some(object) => (Some(object), head.last().copied(), rest[first.len()..].trim_start()),
        None if is_age(first) => (None, Some(first), rest),
        // kubectl to 1.12: the name of the event, and the kind of its object, are columns before.
        None if first == "kubelet," => (by_name(&head), head.first().copied(), rest),
        // The reporter stands before, and the message behind the reason.
        None if head.contains(&"kernel-monitor,") => (by_name(&head), head.first().copied(), rest),
        None => return false,
    };
    let (kind, name) = match object {
        Some((kind, name)) => (kind, Some(name)),
        None if matches!(reason, "SystemOOM" | "OOMKilling") => ("node", None),
        None => ("pod", Some(asked.name.as_deref().unwrap_or_default())),
    };
    let reporters = ["kubelet, ", "kernel-monitor, "];
    let beside = head.iter().position(|word| *word == "kernel-monitor,").and_then(|at| head.get(at + 1)).copied();
    let node = reporters.iter().find_map(|reporter| rest.split(reporter).nth(1)?.split_whitespace().next()).or(beside);
    let starts = [
        "The node was low",
        "The node had condition",
        "Pod ephemeral",
        "Usage of",
        "Container ",
        "System OOM",
        "Memory cgroup",
        "Out of memory",
        "evict ",
        "Killing container with id",
    ];
    let Some(at) = starts.iter().filter_map(|start| rest.find(start)).min() else { return false };
    let namespace = match head[..] {
        [namespace, _] if is_name(namespace) && object.is_some() && !is_age(namespace) => Some(namespace),
        _ => None,
    };
    let seen = Seen {
        ts: age.and_then(|age| before(into.printed, age)),
        node,
        reason,
        kind,
        namespace: namespace.or(asked.namespace.as_deref().filter(|_| object.is_none())),
        name,
        uid: None,
        message: &rest[at..],
    };
    enter_event(&seen, into);
    true
}

/// `web-1.15f2a3 Pod`
fn by_name<'a>(head: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let at = head.iter().position(|word| matches!(*word, "Pod" | "Node"))?;
    let name = head.get(at.checked_sub(1)?)?;
    Some((head[at], name.rsplit_once('.').map_or(*name, |(name, _)| name)))
}

/// `0/1`
fn is_ready(word: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.len() < 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once('/').is_some_and(|(ready, all)| number(ready) && number(all))
}

/// Whether a word may be the name of an object of Kubernetes'.
pub(super) fn is_name(word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    word.len() < 254 && word.starts_with(|c: char| c.is_ascii_alphanumeric()) && word.bytes().all(is_part)
}

/// `5m22s`, `3d`, `<unknown>`.
fn is_age(word: &str) -> bool {
    let number = word.starts_with(|c: char| c.is_ascii_digit());
    word == "<unknown>" || number && word.bytes().all(|byte| byte.is_ascii_digit() || b"ydhms".contains(&byte))
}
