//! What the eviction manager says (`pkg/kubelet/eviction/eviction_manager.go`, `helpers.go`), 1.20 to 1.36.
//!
//! From 1.21 its messages are structured and begin with `Eviction manager: `; 1.20 prints sentences with a small `e`,
//! which [`printf`] turns into the same.

mod configured;
pub(super) mod message;
mod printf;

use std::borrow::Cow;

use oomtrace_model::{Eviction, EvictionPhase, quantity::bytes};

use super::{
    duration,
    klog::{Message, Value},
    pods,
};

/// What a line of the eviction manager says.
pub(super) enum Said {
    /// A step.
    Step(Box<Eviction>),
    /// The kubelet starts, with these thresholds of memory.
    Configured(Vec<Eviction>),
    /// A new pass of its loop, or one that ended with nothing to do: no threshold is met any more as far as is known.
    NewPass,
}

/// Reads a message of the eviction manager, or of what refuses pods on its word. `None` for any other message.
pub(super) fn read(message: &Message<'_>) -> Option<Said> {
    let step = |eviction: Option<Eviction>| eviction.map(|eviction| Said::Step(Box::new(eviction)));
    match &*message.text {
        "Evicting pod" => step(evicting(message, "pod")),
        "Event occurred" if message.word("kind")? == "Pod" => match &*message.word("reason")? {
            "Evicted" => step(evicting(message, "object")),
            _ => None,
        },
        "Failed to admit pod to node" => {
            let node_conditions = message.key("nodeCondition")?.list();
            step(Some(refused(node_conditions)).map(|refused| with_pod(refused, message)))
        }
        "Pod admission denied" if message.word("reason")? == "Evicted" => {
            let read = message::read(&message.word("message")?)?;
            step((read.phase == EvictionPhase::AdmissionRefused).then(|| with_pod(read, message)))
        }
        text => {
            if let Some(thresholds) = configured::read(message) {
                return Some(Said::Configured(thresholds));
            }
            let said = text.strip_prefix("Eviction manager:").or_else(|| text.strip_prefix("eviction manager:"));
            match said {
                Some(said) => structured(message, said.trim_start()).or_else(|| printf::read(said.trim_start())),
                None => step(printf::refused(text)),
            }
        }
    }
}

fn structured(message: &Message<'_>, said: &str) -> Option<Said> {
    use EvictionPhase as Phase;
    let phase = match said {
        "synchronize housekeeping" | "no resources are starved" => return Some(Said::NewPass),
        "" if message.word("log").as_deref() == Some("observations") => return observation(message),
        "threshold observed resource" => Phase::Observed,
        "attempting to reclaim" => Phase::ThresholdMet,
        "eviction criteria not yet met" => Phase::GracePeriodNotMet,
        "node conditions - observed" | "node conditions - transition period not met" => Phase::NodeConditions,
        "able to reduce resource pressure without evicting pods." => Phase::Reclaimed,
        "must evict pod(s) to reclaim" => Phase::MustEvict,
        "pods ranked for eviction" => Phase::Ranked,
        "pod is evicted successfully" => Phase::Evicted,
        "pod failed to evict" => Phase::Failed,
        "cannot evict a critical pod" => Phase::CriticalPodSpared,
        "eviction thresholds have been met, but no pods are active to evict"
        | "unable to evict any pods from the node" => Phase::NothingToEvict,
        "pods evicted, waiting for pod to be cleaned up" => Phase::AwaitingCleanup,
        "pods successfully cleaned up" => Phase::CleanedUp,
        "timed out waiting for pods to be cleaned up" => Phase::CleanupTimedOut,
        "failed to get summary stats"
        | "failed to get summary stats after resource reclaim"
        | "failed to synchronize"
        | "no ranking function for signal"
        | "unexpected error when attempting to reduce resource pressure" => Phase::Error,
        _ => return None,
    };
    let word = |key: &str| message.word(key).map(Cow::into_owned);
    let mut eviction = about(word("resourceName").filter(|name| bytes(name).is_none()), word("signal"), phase);
    eviction.pod = message.key("pod").as_ref().and_then(pods::of_value);
    eviction.pods = message.key("pods").as_ref().map(pods::list_of_value).unwrap_or_default();
    eviction.node_conditions = message.key("nodeCondition").as_ref().map(Value::list).unwrap_or_default();
    eviction.error = word("err").or_else(|| (phase == Phase::Error).then(|| said.to_owned()));
    if eviction.memory == Some(true) {
        // 1.21 calls what is available `resource`.
        eviction.available_bytes = word("available").or_else(|| word("resource")).as_deref().and_then(bytes);
        eviction.threshold_bytes = word("quantity").as_deref().and_then(bytes);
    }
    if let Some(threshold) = word("threshold") {
        read_threshold(&threshold, &mut eviction);
    }
    eviction.met_for_ms = word("duration").as_deref().and_then(duration::milliseconds);
    Some(Said::Step(Box::new(eviction)))
}

/// What was available of memory. Other resources are observed as often, and say nothing about it.
fn observation(message: &Message<'_>) -> Option<Said> {
    let signal = message.word("signal")?.into_owned();
    // 1.21.1 gives what is available under the name of the resource.
    let available = message.word("available").or_else(|| message.word("resourceName"))?;
    observed(signal, &available, &message.word("capacity")?)
}

fn observed(signal: String, available: &str, capacity: &str) -> Option<Said> {
    let eviction = about(None, Some(signal), EvictionPhase::Observed);
    (eviction.memory == Some(true)).then(|| {
        let (available_bytes, capacity_bytes) = (bytes(available), bytes(capacity));
        Said::Step(Box::new(Eviction { available_bytes, capacity_bytes, ..eviction }))
    })
}

/// A step about a resource, or a signal: `signalToResource` (`helpers.go`).
fn about(resource: Option<String>, signal: Option<String>, phase: EvictionPhase) -> Eviction {
    let resource = resource.or_else(|| {
        let of_signal = match signal.as_deref()? {
            "memory.available" | "allocatableMemory.available" => "memory",
            "pid.available" => "pids",
            signal if signal.ends_with(".inodesFree") => "inodes",
            signal if signal.ends_with("fs.available") => "ephemeral-storage",
            _ => return None,
        };
        Some(of_signal.to_owned())
    });
    let memory = resource.as_deref().map(|resource| resource == "memory");
    Eviction { resource, memory, signal, ..Eviction::new(phase) }
}

fn refused(node_conditions: Vec<String>) -> Eviction {
    let memory = Some(node_conditions.iter().any(|condition| condition == "MemoryPressure"));
    Eviction { memory, node_conditions, ..Eviction::new(EvictionPhase::AdmissionRefused) }
}

fn with_pod(eviction: Eviction, message: &Message<'_>) -> Eviction {
    let mut pod = message.key("pod").as_ref().and_then(pods::of_value).unwrap_or_default();
    pod.uid = message.word("podUID").and_then(|uid| pods::by_uid(&uid));
    Eviction { pod: Some(pod), ..eviction }
}

/// `"Evicting pod" pod="ns/name" podUID="…" message="…"` (1.25 on, V(3)), and the Event that the pod gets (V(3)).
fn evicting(message: &Message<'_>, pod: &str) -> Option<Eviction> {
    let read = message::read(&message.word("message")?)?;
    let mut pod = message.key(pod).as_ref().and_then(pods::of_value)?;
    pod.uid = message.word("podUID").and_then(|uid| pods::by_uid(&uid));
    Some(Eviction { pod: Some(pod), ..read })
}

/// `threshold(signal=memory.available, operator=LessThan, value={<nil> 0.4}, gracePeriod=20s)`: `formatThreshold`
/// (`helpers.go`). The value is a quantity, or a share of the capacity.
fn read_threshold(text: &str, eviction: &mut Eviction) {
    let field = |name: &str| {
        let value = text.split_once(name)?.1;
        let end = value.find([',', ')']).unwrap_or(value.len());
        Some(&value[..end])
    };
    if let Some(signal) = field("signal=") {
        let Eviction { resource, memory, signal, .. } = about(None, Some(signal.to_owned()), eviction.phase);
        (eviction.resource, eviction.memory, eviction.signal) = (resource, memory, signal);
    }
    if let Some((quantity, ratio)) = field("value={").and_then(|value| value.strip_suffix('}')?.split_once(' ')) {
        eviction.threshold_bytes = bytes(quantity).filter(|_| eviction.memory == Some(true));
        eviction.threshold_ratio = ratio.parse().ok().filter(|ratio| *ratio > 0.0);
    }
    eviction.grace_period_ms = field("gracePeriod=").and_then(duration::milliseconds);
}
