//! Who grew before memory ran out for all.

use std::{fmt::Write as _, time::Duration};

use oomtrace_model::{GrownPod, Pressure, Scenario, Verdict};

use super::super::Context;
use crate::words::{listed, pod_name, size, span};

/// How many are named in a sentence.
const NAMED: usize = 3;

/// Says which pods grew most in the minutes before, and what of that they had requested.
pub(in super::super) fn add(pressures: &[&Pressure], context: &Context<'_>, verdict: &mut Verdict) {
    if !matches!(verdict.scenario, Scenario::AllocatableOom | Scenario::SystemOom) {
        return;
    }
    let Some(grown) = pressures.iter().map(|read| &read.grown).find(|grown| !grown.is_empty()) else { return };
    let named: Vec<_> = grown.iter().take(NAMED).filter_map(|pod| sentence(pod, context)).collect();
    let Some(over) = grown.iter().map(|pod| pod.over_ms).max().filter(|_| !named.is_empty()) else { return };
    let over = span(Duration::from_millis(over));
    let _ = write!(verdict.advice, " In the last {over} these grew most: {}.", listed(&named));
}

fn sentence(grown: &GrownPod, context: &Context<'_>) -> Option<String> {
    let name = pod_name(grown.pod.as_ref())?;
    let uid = grown.pod.as_ref().and_then(|pod| pod.uid.as_ref());
    // Not every source of pods has requests.
    let requested = uid.and_then(|uid| {
        let containers = context.known.snapshot.pods.get(uid)?.containers.values();
        containers.filter_map(|container| container.request_bytes).reduce(|sum, request| sum + request)
    });
    let requested = requested.map_or_else(String::new, |bytes| format!(" (it requests {})", size(bytes)));
    Some(format!("{name} by {} to {}{requested}", size(grown.grown_bytes), size(grown.usage_bytes)))
}
