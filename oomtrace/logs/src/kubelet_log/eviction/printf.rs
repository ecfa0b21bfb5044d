//! The eviction manager's sentences in 1.20, after their `eviction manager: `. Pods are `name_namespace(uid)`.

use oomtrace_model::{Eviction, EvictionPhase as Phase, quantity::bytes};

use super::{Said, about, observed, refused as refused_for};
use crate::kubelet_log::{duration, pods};

pub(super) fn read(said: &str) -> Option<Said> {
    if matches!(said, "synchronize housekeeping" | "no resources are starved") {
        return Some(Said::NewPass);
    }
    if let Some((log, rest)) = said.split_once(": ")
        && let Some(said) = observation(log, rest)
    {
        return Some(said);
    }
    let eviction = of_resource(said).or_else(|| of_pods(said)).or_else(|| other(said))?;
    Some(Said::Step(Box::new(eviction)))
}

/// `observations: signal=…, available: …, capacity: …, time: …`, `thresholds - …: threshold [signal=…, quantity=…] observed …`.
fn observation(log: &str, rest: &str) -> Option<Said> {
    if log == "observations" {
        let (signal, rest) = rest.strip_prefix("signal=")?.split_once(", available: ")?;
        let (available, capacity) = rest.split_once(", capacity: ")?;
        return observed(signal.to_owned(), available, capacity.split(',').next()?);
    }
    let threshold = rest.strip_prefix("threshold [signal=")?;
    let (signal, quantity, available) = match threshold.split_once(", quantity=") {
        Some((signal, rest)) => {
            let (quantity, available) = rest.split_once("] observed ")?;
            (signal, quantity, available)
        }
        None => return None,
    };
    let mut eviction = about(None, Some(signal.to_owned()), Phase::Observed);
    if eviction.memory == Some(true) {
        (eviction.threshold_bytes, eviction.available_bytes) = (bytes(quantity), bytes(available));
    }
    Some(Said::Step(Box::new(eviction)))
}

fn of_resource(said: &str) -> Option<Eviction> {
    let step = |resource: &str, phase| Some(about(Some(resource.to_owned()), None, phase));
    if let Some(resource) = said.strip_prefix("attempting to reclaim ") {
        return step(resource, Phase::ThresholdMet);
    }
    if let Some(resource) = said.strip_prefix("must evict pod(s) to reclaim ") {
        return step(resource, Phase::MustEvict);
    }
    if let Some(rest) = said.strip_prefix("able to reduce ") {
        return step(rest.strip_suffix(" pressure without evicting pods.")?, Phase::Reclaimed);
    }
    let rest = said.strip_prefix("unexpected error when attempting to reduce ")?;
    let (resource, error) = rest.split_once(" pressure: ")?;
    let error = Some(error.to_owned());
    Some(Eviction { error, ..step(resource, Phase::Error)? })
}

fn of_pods(said: &str) -> Option<Eviction> {
    let list = |names: &str, phase| Some(Eviction { pods: pods::by_full_names(names), ..Eviction::new(phase) });
    if let Some(names) = said.strip_prefix("pods ranked for eviction: ") {
        return list(names, Phase::Ranked);
    }
    if let Some(rest) = said.strip_prefix("timed out waiting for pods ") {
        return list(rest.strip_suffix(" to be cleaned up")?, Phase::CleanupTimedOut);
    }
    if let Some(name) = said.strip_prefix("cannot evict a critical pod ") {
        return Some(Eviction { pod: pods::by_full_name(name), ..Eviction::new(Phase::CriticalPodSpared) });
    }
    if let Some(rest) = said.strip_prefix("pods ") {
        return match rest.strip_suffix(" evicted, waiting for pod to be cleaned up") {
            Some(names) => list(names, Phase::AwaitingCleanup),
            None => list(rest.strip_suffix(" successfully cleaned up")?, Phase::CleanedUp),
        };
    }
    let rest = said.strip_prefix("pod ")?;
    if let Some(name) = rest.strip_suffix(" is evicted successfully") {
        return Some(Eviction { pod: pods::by_full_name(name), ..Eviction::new(Phase::Evicted) });
    }
    let (name, error) = rest.split_once(" failed to evict ")?;
    let error = Some(error.to_owned());
    Some(Eviction { pod: pods::by_full_name(name), error, ..Eviction::new(Phase::Failed) })
}

fn other(said: &str) -> Option<Eviction> {
    if let Some(rest) = said.strip_prefix("node conditions - ") {
        let (_, conditions) = rest.split_once(": [")?;
        let node_conditions = conditions.strip_suffix(']')?.split_whitespace().map(str::to_owned).collect();
        return Some(Eviction { node_conditions, ..Eviction::new(Phase::NodeConditions) });
    }
    if let Some(rest) = said.strip_prefix("eviction criteria not yet met for ") {
        let (threshold, met) = rest.rsplit_once(", duration: ")?;
        let mut eviction = Eviction::new(Phase::GracePeriodNotMet);
        super::read_threshold(threshold, &mut eviction);
        return Some(Eviction { met_for_ms: duration::milliseconds(met), ..eviction });
    }
    let of_the_manager = ["failed to get summary stats", "no ranking function for signal"];
    of_the_manager
        .iter()
        .any(|start| said.starts_with(start))
        .then(|| Eviction { error: Some(said.to_owned()), ..Eviction::new(Phase::Error) })
}

/// `Failed to admit pod late_default(4639…) - node has conditions: [MemoryPressure]`.
pub(super) fn refused(text: &str) -> Option<Eviction> {
    let (name, conditions) = text.strip_prefix("Failed to admit pod ")?.split_once(" - node has conditions: [")?;
    let conditions = conditions.strip_suffix(']')?.split_whitespace().map(str::to_owned).collect();
    Some(Eviction { pod: pods::by_full_name(name), ..refused_for(conditions) })
}
