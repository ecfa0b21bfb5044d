//! What koordlet (Koordinator's agent on a node) logs where it ends pods because the node is short of memory.
//!
//! | line, behind klog's head | in it |
//! |---|---|
//! | `evict pod shop/cart-5 success, reason: EvictPodByNodeMemoryUsage` | it asked the API server to evict the pod |
//! | `memoryEvict pick pod shop/cart-5 to evict` (from V(5)) | the same, or it stopped the containers itself |
//!
//! (`Evictor.evictPod` in `pkg/koordlet/qosmanager`, `memoryEvictor.killAndEvictBEPods` in its `plugins/memoryevict`.) Its
//! Kubernetes event, with the reason `evictPodSuccess`, has the first one's words: `evict Pod:cart-5, reason: …, message: …`.

use oomtrace_model::{Pod, Signal, Task};

use super::{KOORDLET, sender};

/// Reads a message. SIGTERM is what an evicted pod is sent first; whether SIGKILL follows, koordlet does not say.
pub(super) fn read(text: &str) -> Option<Signal> {
    let name = evicted(text).or_else(|| picked(text))?;
    let (namespace, name) = name.split_once('/')?;
    let is_name = |name: &str| !name.is_empty() && !name.contains([' ', '/', '"']);
    (is_name(namespace) && is_name(name))
        .then(|| of_pod(Pod { namespace: Some(namespace.to_owned()), name: Some(name.to_owned()), ..Pod::default() }))
}

/// Whether the message of an event says that a pod was evicted for memory.
pub(crate) fn is_event_of_memory(message: &str) -> bool {
    let reason = message.split_once(", reason: ").map(|(_, rest)| rest.split(',').next().unwrap_or(rest));
    reason.is_some_and(is_of_memory)
}

/// SIGTERM to all processes of a pod.
pub(crate) fn of_pod(pod: Pod) -> Signal {
    Signal {
        pod: Some(pod.clone()),
        container: None,
        cgroup: None,
        signal: "SIGTERM".to_owned(),
        signal_number: Some(15),
        sender: sender(KOORDLET, None),
        target: Task { pod: Some(pod), ..Task::default() },
    }
}

fn evicted(text: &str) -> Option<&str> {
    let (name, reason) = text.strip_prefix("evict pod ")?.split_once(" success, reason: ")?;
    is_of_memory(reason).then_some(name)
}

fn picked(text: &str) -> Option<&str> {
    text.strip_prefix("memoryEvict pick pod ")?.strip_suffix(" to evict")
}

/// `EvictPodByNodeMemoryUsage`; before 1.0 `evictPodByNodeMemoryUsage`. Others are of CPU.
fn is_of_memory(reason: &str) -> bool {
    reason.to_ascii_lowercase().contains("memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eviction_for_memory_names_the_pod() {
        for text in [
            "evict pod shop/cart-5 success, reason: EvictPodByNodeMemoryUsage",
            "memoryEvict pick pod shop/cart-5 to evict",
        ] {
            let pod = read(text).and_then(|signal| signal.pod).expect("a pod");
            assert_eq!((pod.namespace.as_deref(), pod.name.as_deref()), (Some("shop"), Some("cart-5")), "{text}");
        }
        for text in [
            "evict pod shop/cart-5 success, reason: EvictPodByBECPUSatisfaction",
            "evict pod shop/cart-5 failed, reason: EvictPodByNodeMemoryUsage, error: forbidden",
            "memoryEvict pick pod  to evict",
            "evict pod a b/c success, reason: EvictPodByNodeMemoryUsage",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn its_event_has_a_reason_of_its_own() {
        // koordinator.sh, "Eviction Strategy based on memory usage".
        let event = "evict Pod:be-pod-demo, reason: EvictPodByNodeMemoryUsage, message: killAndEvictBEPods for node(n1), need to release memory: 8077889699";
        assert!(is_event_of_memory(event));
        assert!(!is_event_of_memory("evict Pod:a, reason: EvictPodByBECPUSatisfaction, message: memory"));
    }
}
