//! What the node, the kubelet and the runtime say.
//!
//! Writing to a string does not fail.

use std::fmt::Write as _;

use super::{
    page::Page,
    words::{escape, number, place, size},
};
use crate::event::{ContainerChange, ContainerEnded, Eviction, Level, Mark, OutOfMemoryLog, Pod, Pressure, SystemOom};

pub(super) fn write_pressure(page: &mut Page, ts: &str, pressure: &Pressure) {
    let whose = match pressure.level {
        Some(Level::Node) => "the node".to_owned(),
        Some(Level::Kubepods) => "all pods".to_owned(),
        Some(Level::Qos) => "a QoS class".to_owned(),
        _ => place(pressure.pod.as_ref(), pressure.container.as_ref()),
    };
    let text = format!(
        "memory of {whose}: {} of {}, working set {}, anon {}, file {}, swap {}",
        size(pressure.usage_bytes),
        size(pressure.limit_bytes),
        size(pressure.working_set_bytes),
        size(pressure.anon_bytes),
        size(pressure.file_bytes),
        size(pressure.swap_bytes),
    );
    page.event(ts, Mark::Other, &text);
}

pub(super) fn write_eviction(page: &mut Page, ts: &str, eviction: &Eviction) {
    let mut out = format!("kubelet eviction: {}", name_of(&eviction.phase));
    if let Some(pod) = &eviction.pod {
        let _ = write!(out, " {}", place(Some(pod), None));
    }
    if !eviction.pods.is_empty() {
        let pods: Vec<_> = eviction.pods.iter().map(pod_name).collect();
        let _ = write!(out, " [{}]", pods.join(", "));
    }
    if let Some(what) = eviction.signal.as_ref().or(eviction.resource.as_ref()) {
        let _ = write!(out, " ({})", escape(what));
    }
    if let Some(threshold) = eviction.threshold_bytes {
        let _ = write!(out, ", threshold {}", size(Some(threshold)));
    }
    if let Some(available) = eviction.available_bytes {
        let _ = write!(out, ", available {}", size(Some(available)));
    }
    if let Some(words) = eviction.message.as_ref().or(eviction.error.as_ref()) {
        let _ = write!(out, ": {}", escape(words));
    }
    page.event(ts, Mark::Eviction, &out);
}

fn pod_name(pod: &Pod) -> String {
    match (&pod.namespace, &pod.name) {
        (Some(namespace), Some(name)) => format!("{}/{}", escape(namespace), escape(name)),
        _ => pod.uid.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string),
    }
}

pub(super) fn write_system_oom(page: &mut Page, ts: &str, oom: &SystemOom) {
    let comm = escape(oom.comm.as_deref().unwrap_or("?"));
    let text = format!("kubelet: the node was out of memory, victim {comm} (pid {})", number(oom.pid));
    page.event(ts, Mark::Kill, &text);
}

pub(super) fn write_container(page: &mut Page, ts: &str, change: &ContainerChange) {
    let place = place(change.pod.as_ref(), change.container.as_ref());
    let mut out = format!("container {}: {place}", name_of(&change.action));
    if let Some(code) = change.exit_code {
        let _ = write!(out, ", exit code {code}");
    }
    if let Some(reason) = &change.reason {
        let _ = write!(out, ", {}", escape(reason));
    }
    page.event(ts, Mark::Exit, &out);
}

pub(super) fn write_log(page: &mut Page, ts: &str, log: &OutOfMemoryLog) {
    let place = place(log.pod.as_ref(), log.container.as_ref());
    let text = format!("log of {place}: {}", escape(log.message.as_deref().unwrap_or("?")));
    page.event(ts, Mark::Failure, &text);
}

pub(super) fn write_ended(page: &mut Page, ts: &str, ended: &ContainerEnded) {
    let place = place(ended.pod.as_ref(), ended.container.as_ref());
    let mut out =
        format!("ended as intended: {place}, exit code {}, {}", number(ended.exit_code), name_of(&ended.reason));
    if let Some(words) = &ended.message {
        let _ = write!(out, ": {}", escape(words));
    }
    page.event(ts, Mark::Exit, &out);
}

/// The name of an enumerator as JSON lines have it, with blanks.
fn name_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| Some(name.as_str()?.replace('_', " "))).unwrap_or_default()
}
