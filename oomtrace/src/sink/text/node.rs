//! What the node, the kubelet and the runtime say.

use std::fmt::Write as _;

use super::words::{escape, number, place, size};
use crate::event::{ContainerChange, ContainerEnded, Eviction, Level, OutOfMemoryLog, Pod, Pressure, SystemOom};

pub(super) fn write_pressure(out: &mut String, ts: &str, pressure: &Pressure) -> std::fmt::Result {
    let whose = match pressure.level {
        Some(Level::Node) => "the node".to_owned(),
        Some(Level::Kubepods) => "all pods".to_owned(),
        Some(Level::Qos) => "a QoS class".to_owned(),
        _ => place(pressure.pod.as_ref(), pressure.container.as_ref()),
    };
    writeln!(
        out,
        "{ts}  memory of {whose}: {} of {}, working set {}, anon {}, file {}, swap {}",
        size(pressure.usage_bytes),
        size(pressure.limit_bytes),
        size(pressure.working_set_bytes),
        size(pressure.anon_bytes),
        size(pressure.file_bytes),
        size(pressure.swap_bytes),
    )
}

pub(super) fn write_eviction(out: &mut String, ts: &str, eviction: &Eviction) -> std::fmt::Result {
    write!(out, "{ts}  kubelet eviction: {}", name_of(&eviction.phase))?;
    if let Some(pod) = &eviction.pod {
        write!(out, " {}", place(Some(pod), None))?;
    }
    if !eviction.pods.is_empty() {
        let pods: Vec<_> = eviction.pods.iter().map(pod_name).collect();
        write!(out, " [{}]", pods.join(", "))?;
    }
    if let Some(what) = eviction.signal.as_ref().or(eviction.resource.as_ref()) {
        write!(out, " ({})", escape(what))?;
    }
    if let Some(threshold) = eviction.threshold_bytes {
        write!(out, ", threshold {}", size(Some(threshold)))?;
    }
    if let Some(available) = eviction.available_bytes {
        write!(out, ", available {}", size(Some(available)))?;
    }
    if let Some(words) = eviction.message.as_ref().or(eviction.error.as_ref()) {
        write!(out, ": {}", escape(words))?;
    }
    writeln!(out)
}

fn pod_name(pod: &Pod) -> String {
    match (&pod.namespace, &pod.name) {
        (Some(namespace), Some(name)) => format!("{}/{}", escape(namespace), escape(name)),
        _ => pod.uid.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string),
    }
}

pub(super) fn write_system_oom(out: &mut String, ts: &str, oom: &SystemOom) -> std::fmt::Result {
    let comm = escape(oom.comm.as_deref().unwrap_or("?"));
    writeln!(out, "{ts}  kubelet: the node was out of memory, victim {comm} (pid {})", number(oom.pid))
}

pub(super) fn write_container(out: &mut String, ts: &str, change: &ContainerChange) -> std::fmt::Result {
    let place = place(change.pod.as_ref(), change.container.as_ref());
    write!(out, "{ts}  container {}: {place}", name_of(&change.action))?;
    if let Some(code) = change.exit_code {
        write!(out, ", exit code {code}")?;
    }
    if let Some(reason) = &change.reason {
        write!(out, ", {}", escape(reason))?;
    }
    writeln!(out)
}

pub(super) fn write_log(out: &mut String, ts: &str, log: &OutOfMemoryLog) -> std::fmt::Result {
    let place = place(log.pod.as_ref(), log.container.as_ref());
    writeln!(out, "{ts}  log of {place}: {}", escape(log.message.as_deref().unwrap_or("?")))
}

pub(super) fn write_ended(out: &mut String, ts: &str, ended: &ContainerEnded) -> std::fmt::Result {
    let place = place(ended.pod.as_ref(), ended.container.as_ref());
    write!(out, "{ts}  ended as intended: {place}, exit code {}, {}", number(ended.exit_code), name_of(&ended.reason))?;
    if let Some(words) = &ended.message {
        write!(out, ": {}", escape(words))?;
    }
    writeln!(out)
}

/// The name of an enumerator as JSON lines have it, with blanks.
fn name_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| Some(name.as_str()?.replace('_', " "))).unwrap_or_default()
}
