//! Pods that have to go for a critical one: `pkg/kubelet/preemption/preemption.go`.

use super::{Said, pods};

/// What is said of it from `[(res: memory, q: 209715200), ]`: which of the critical pod's requests there was no room for.
pub(super) fn words(resources: &str) -> String {
    let names = resources.split("(res: ").skip(1).map(|rest| rest.split(',').next().unwrap_or_default());
    match names.collect::<Vec<_>>().join(" and ") {
        names if names.is_empty() => "no room for a critical pod's request".to_owned(),
        names => format!("no room for a critical pod's request of {names}"),
    }
}

/// 1.20, after its `preemption: `. The pods to go are all of their fields there, and the ones that went are named.
pub(super) fn printf(said: &str) -> Option<Said> {
    if let Some((_, resources)) = said.split_once(", in order to free up resources: ") {
        return Some(Said::Preempting(Vec::new(), words(resources)));
    }
    Some(Said::Preempted(pods::by_full_name(said.strip_prefix("pod ")?.strip_suffix(" evicted successfully")?)?))
}
