//! What is said of evictions.

use oomtrace_model::{AffectedContainer, EvictionPhase, Pod, ReportedBy, Scenario};

use super::super::{
    super::{
        windows::SECOND,
        words::{listed, one_line, pod_name, size},
    },
    Context,
    case::Case,
    eviction::{Crossed, notices, steps},
};

pub(in super::super) fn summary(
    case: &Case<'_>,
    context: &Context<'_>,
    crossed: &Crossed,
    pod: Option<&Pod>,
    containers: &[AffectedContainer],
) -> String {
    let name = pod_name(pod).map_or_else(|| "a pod".to_owned(), |name| format!("pod {name}"));
    let amounts = match (crossed.available_bytes, crossed.threshold_bytes) {
        (Some(available), Some(threshold)) => {
            format!(" ({} available, threshold {})", size(available), size(threshold))
        }
        (Some(available), None) => format!(" ({} available)", size(available)),
        (None, Some(threshold)) => format!(" (threshold {})", size(threshold)),
        (None, None) => counts(case, context).map_or_else(String::new, |(available, threshold)| {
            format!(" ({available} available, threshold {threshold})")
        }),
    };
    let why = match crossed.scenario() {
        Scenario::AllocatableEvicted => format!("all pods together used too much of what is allocatable{amounts}"),
        Scenario::NodePressureEvicted => {
            format!("the node's available memory fell below the eviction threshold{amounts}")
        }
        Scenario::Evicted => "of a shortage that nothing at hand names".to_owned(),
        _ => match own_limit(case, context) {
            Some(words) => {
                format!("it exceeded a limit of its own on storage ({words}); the node was not low on memory")
            }
            None if crossed.from == Some(ReportedBy::Inference) => {
                "it exceeded a limit of its own on storage: no threshold of the node was met".to_owned()
            }
            None => format!("the node was short of {}{amounts}, not of memory", resource_in_words(crossed)),
        },
    };
    let why = if crossed.from == Some(ReportedBy::Inference) { format!("most likely {why}") } else { why };
    let each: Vec<String> = containers
        .iter()
        .filter_map(|container| {
            let name = container.container.name.clone()?;
            Some(match (container.usage_bytes, container.request_bytes) {
                (Some(used), Some(0)) => format!("{name} used {} and requests nothing", size(used)),
                (Some(used), Some(request)) => format!("{name} used {} of a request of {}", size(used), size(request)),
                (Some(used), None) => format!("{name} used {}", size(used)),
                // The name alone is the incident's.
                (None, _) => return None,
            })
        })
        .collect();
    let containers = if each.is_empty() { String::new() } else { format!(": {}", listed(&each)) };
    let rank = rank(case, context).map_or_else(String::new, |(place, of)| {
        if of > 1 { format!(", number {place} of {of} in its ranking,") } else { String::new() }
    });
    format!("The kubelet evicted {name}{rank} because {why}{containers}.")
}

/// What the node was short of; the kubelet names inodes and process ids by what it frees of them.
fn resource_in_words(crossed: &Crossed) -> String {
    let resource = crossed.signal.as_deref().unwrap_or("disk space");
    match resource {
        "pids" => "process ids".to_owned(),
        "nodefs" => "disk space on its root filesystem (nodefs)".to_owned(),
        "imagefs" => "disk space for images (imagefs)".to_owned(),
        "nodefsInodes" => "inodes on its root filesystem (nodefsInodes)".to_owned(),
        "imagefsInodes" => "inodes for images (imagefsInodes)".to_owned(),
        resource => resource.to_owned(),
    }
}

/// What was available of inodes or process ids, and the threshold, as the pod's message has them.
fn counts(case: &Case<'_>, context: &Context<'_>) -> Option<(String, String)> {
    let evicted = case.evicted?;
    let of_lines = steps(evicted).filter_map(|(_, step)| step.message.as_deref());
    let of_files = notices(context, evicted).into_iter().map(|notice| notice.message.as_str());
    of_lines.chain(of_files).find_map(|message| {
        let (_, rest) = message.split_once("Threshold quantity: ")?;
        let (threshold, rest) = rest.split_once(", available: ")?;
        let available = rest.split(". ").next()?.trim_end_matches('.');
        Some((one_line(available), one_line(threshold)))
    })
}

/// A pod's own limit that it was evicted for, in the kubelet's words (`localStorageEviction`, `eviction_manager.go`).
fn own_limit(case: &Case<'_>, context: &Context<'_>) -> Option<String> {
    let evicted = case.evicted?;
    let of_lines = steps(evicted).filter_map(|(_, step)| step.message.clone());
    let of_files = notices(context, evicted).into_iter().map(|notice| notice.message.clone());
    let mut words = of_lines.chain(of_files).filter(|message| !message.starts_with("The node was low on resource"));
    words.next().map(|words| one_line(words.trim().trim_end_matches('.')))
}

/// The pod's place among those that were ranked.
fn rank(case: &Case<'_>, context: &Context<'_>) -> Option<(usize, usize)> {
    let evicted = case.evicted?;
    let (at, ranked) = steps(evicted).filter(|(_, step)| step.phase == EvictionPhase::Ranked).last()?;
    let place = ranked
        .pods
        .iter()
        .position(|pod| context.names.key(Some(pod), None, at + SECOND).as_ref() == Some(&evicted.pod))?;
    Some((place + 1, ranked.pods.len()))
}

pub(in super::super) fn advice_for(crossed: &Crossed) -> String {
    let threshold = crossed.threshold_bytes.map_or_else(String::new, |bytes| format!(" of {}", size(bytes)));
    match crossed.scenario() {
        Scenario::Killed if crossed.signal.as_deref() == Some("pids") => {
            return "Not memory: look at which pods have many processes or threads, and limit them (podPidsLimit of the kubelet)."
                .to_owned();
        }
        Scenario::Killed
            if crossed.signal.as_deref().is_some_and(|signal| signal.to_lowercase().contains("inodes")) =>
        {
            return "Not memory, nor disk space: look for many small files in the pod's writable layer, its emptyDir volumes and on the node."
                .to_owned();
        }
        Scenario::Killed => {
            return "Not memory: look at what the pod writes to its writable layer, its logs and its emptyDir volumes, and at the limits on them (ephemeral-storage, sizeLimit)."
                .to_owned();
        }
        Scenario::Evicted => {
            return "Find out for which resource first: the pod's status and event say it (kubectl describe pod), and so does the kubelet's log just before."
                .to_owned();
        }
        _ => {}
    }
    let what = if crossed.from == Some(ReportedBy::Inference) {
        format!(
            "The node's available memory, or what is left of all that pods may use, came below the eviction threshold{threshold}. "
        )
    } else if crossed.scenario() == Scenario::AllocatableEvicted {
        format!("Pods together came closer than the threshold{threshold} to all that they may use on this node. ")
    } else {
        format!("The node, its system services included, came below the threshold{threshold} of available memory. ")
    };
    format!("{what}{}", advice())
}

/// What keeps a pod from being chosen.
pub(in super::super) fn advice() -> String {
    "The kubelet takes pods first that use more than they request: request what the pod really uses (then the scheduler does not overfill the node), limit the pods that grow, or give the pod a higher priority.".to_owned()
}
