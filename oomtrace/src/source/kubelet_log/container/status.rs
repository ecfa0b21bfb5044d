//! How containers ended, from the status that the kubelet sends: `Patch status for pod`, V(3).

use serde_json::Value as Json;

use super::id_of;
use crate::event::{Container, ContainerAction, ContainerChange, Pod};

/// The containers of a patch that ended, now or before they were started again.
pub(super) fn of_patch(pod: &Pod, patch: &str) -> Vec<ContainerChange> {
    let Ok(patch) = serde_json::from_str::<Json>(patch) else { return Vec::new() };
    let Some(status) = patch.get("status") else { return Vec::new() };
    ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"]
        .iter()
        .filter_map(|list| status.get(list)?.as_array())
        .flatten()
        .flat_map(|container| ended(pod, container))
        .collect()
}

fn ended<'a>(pod: &'a Pod, status: &'a Json) -> impl Iterator<Item = ContainerChange> + 'a {
    ["lastState", "state"].into_iter().filter_map(|state| {
        let ended = status.get(state)?.get("terminated")?;
        let text = |json: &Json, name: &str| json.get(name)?.as_str().map(str::to_owned);
        // Counted is what came after: of what ended last, that is one less.
        let count = status.get("restartCount").and_then(Json::as_u64).and_then(|count| u32::try_from(count).ok());
        let restart_count = if state == "state" { count } else { count.and_then(|count| count.checked_sub(1)) };
        let id = ended.get("containerID").and_then(Json::as_str).and_then(id_of);
        let (name, image) = (text(status, "name"), text(status, "image"));
        Some(ContainerChange {
            pod: Some(pod.clone()),
            container: Some(Container { name, id, image, restart_count, role: None }),
            sandbox: Some(false),
            exit_code: ended.get("exitCode").and_then(Json::as_i64).and_then(|code| i32::try_from(code).ok()),
            reason: text(ended, "reason"),
            message: text(ended, "message"),
            ..ContainerChange::new(ContainerAction::Reported)
        })
    })
}
