//! The message that an evicted pod gets: in its status, in its event, and at V(3) in the log (`eviction/helpers.go`,
//! `evictionMessage`).
//!
//! - 1.3 and 1.4, for memory or the disk: `The node was low on compute resources.`
//! - 1.20 to 1.25: `The node was low on resource: memory. Container c was using 575052Ki, which exceeds its request of 0. `
//! - 1.26 on: `The node was low on resource: memory. Threshold quantity: 1Gi, available: 889724Ki. Container c was using
//!   514264Ki, request is 0, has larger consumption of memory. `
//! - 1.34 on, with pod-level resources: `Pod p was using 514264Ki, request is 0, has larger consumption of memory. `
//! - Refused, not evicted: `The node had condition: [MemoryPressure]. `

use oomtrace_model::{Container, ContainerUse, Eviction, EvictionPhase, quantity::bytes};

/// Reads the message of an eviction, or of a refusal for the node's conditions. `None` for any other.
pub fn read(message: &str) -> Option<Eviction> {
    // A refused pod's status puts `Pod ` (to 1.25) or `Pod was rejected: ` before it.
    if let Some((_, conditions)) = message.split_once("The node had condition: [") {
        let conditions = conditions.split_once(']')?.0;
        let node_conditions: Vec<_> = conditions.split([' ', ',']).map(str::to_owned).collect();
        return Some(Eviction {
            memory: Some(conditions.contains("MemoryPressure")),
            message: Some(message.to_owned()),
            node_conditions,
            ..Eviction::new(EvictionPhase::AdmissionRefused)
        });
    }
    let mut eviction = Eviction { message: Some(message.to_owned()), ..Eviction::new(EvictionPhase::Evicting) };
    if let Some(rest) = message.strip_prefix("The node was low on resource: ") {
        let (resource, sentences) = rest.split_once(". ").unwrap_or((rest.trim_end_matches('.'), ""));
        eviction.resource = Some(resource.to_owned());
        eviction.memory = Some(resource == "memory");
        for sentence in sentences.split(". ") {
            // The blank behind the last one is lost where it was pasted.
            read_sentence(sentence.trim_end_matches('.'), &mut eviction);
        }
        return Some(eviction);
    }
    if message.starts_with("The node was low on compute resources") {
        return Some(eviction);
    }
    // Limits of local storage (`localStorageEviction`): nothing of memory in them.
    let of_local_storage = message.starts_with("Pod ephemeral local storage usage exceeds")
        || message.starts_with("Usage of EmptyDir volume")
        || (message.starts_with("Container ") && message.contains(" exceeded its local ephemeral storage limit "));
    of_local_storage.then(|| Eviction {
        resource: Some("ephemeral-storage".to_owned()),
        memory: Some(false),
        ..eviction
    })
}

fn read_sentence(sentence: &str, eviction: &mut Eviction) {
    let size = |text: &str| if eviction.memory == Some(true) { bytes(text) } else { None };
    if let Some(quantities) = sentence.strip_prefix("Threshold quantity: ") {
        // Inodes and process ids are counted.
        let in_bytes =
            eviction.resource.as_deref().is_some_and(|resource| matches!(resource, "memory" | "ephemeral-storage"));
        if let Some((threshold, available)) = quantities.split_once(", available: ").filter(|_| in_bytes) {
            (eviction.threshold_bytes, eviction.available_bytes) = (bytes(threshold), bytes(available));
        }
        return;
    }
    let Some((who, amounts)) = sentence.split_once(" was using ") else { return };
    let Some((usage, rest)) = amounts.split_once(", ") else { return };
    let request = rest
        .strip_prefix("which exceeds its request of ")
        .or_else(|| rest.strip_prefix("request is ").and_then(|rest| rest.split(',').next()))
        .map(|request| request.trim_end_matches(". "));
    let (usage_bytes, request_bytes) = (size(usage), request.and_then(size));
    if let Some(name) = who.strip_prefix("Container ") {
        let container = Container { name: Some(name.to_owned()), ..Container::default() };
        eviction.containers.push(ContainerUse { container, usage_bytes, request_bytes });
    } else if who.starts_with("Pod ") {
        (eviction.pod_usage_bytes, eviction.pod_request_bytes) = (usage_bytes, request_bytes);
    }
}
