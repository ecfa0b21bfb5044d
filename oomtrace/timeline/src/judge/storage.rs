//! Evictions that nothing says the resource of: whether they may be for memory.
//!
//! Before the kubelet looks at its thresholds, it evicts pods that use more of the node's disk than they may, or whose
//! `emptyDir` is over its `sizeLimit` (`localStorageEviction`, `eviction_manager.go`, 1.20 to 1.36). At its default verbosity
//! its log tells these apart only by what is missing: no threshold was met, and no pods were ranked.

use oomtrace_model::{ContainerAction, snapshot::Snapshot};

use super::super::{
    evidence::{Evicted, Evidence},
    names::Names,
    windows::{EVICTION, PASS},
};

/// Marks those that are not for memory.
pub(super) fn set_apart(evidence: &mut Evidence, names: &Names<'_>, snapshot: &Snapshot) {
    let undecided = |evicted: &Evicted| evicted.memory.is_none();
    let reported: Vec<_> = evidence
        .evicted
        .iter()
        .map(|evicted| {
            let reported = undecided(evicted).then(|| by_notice(evicted, names, snapshot)).flatten();
            reported.or_else(|| (undecided(evicted) && no_threshold_was_met(evicted, evidence)).then_some(false))
        })
        .collect();
    for (evicted, reported) in evidence.evicted.iter_mut().zip(reported) {
        evicted.memory = evicted.memory.or(reported);
    }
}

/// What the pod's status or its event says that the node was low on.
fn by_notice(evicted: &Evicted, names: &Names<'_>, snapshot: &Snapshot) -> Option<bool> {
    let of_pod = snapshot.evictions.iter().filter(|notice| !notice.refused);
    let mut of_pod =
        of_pod.filter(|notice| names.key(Some(&notice.pod), None, evicted.at).as_ref() == Some(&evicted.pod));
    of_pod.find_map(|notice| Some(notice.resource.as_deref()? == "memory"))
}

/// Whether the kubelet was listened to from before the pass on that the eviction would be of, and no pods were ranked in it.
/// It ends a pod's containers as soon as it has chosen the pod.
fn no_threshold_was_met(evicted: &Evicted, evidence: &Evidence) -> bool {
    let before = evicted.ending - EVICTION..=evicted.ending;
    let killing = evidence
        .changes_of(&evicted.pod)
        .find(|change| change.what.action == ContainerAction::Killing && before.contains(&change.at));
    let began = killing.map_or(evicted.ending, |change| change.at);
    evicted.pass.is_empty() && evidence.kubelet_from.is_some_and(|from| from <= began - PASS)
}
