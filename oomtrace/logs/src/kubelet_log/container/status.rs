//! How containers ended, from the status that the kubelet sends: `Patch status for pod`, V(3).

use std::borrow::Cow;

use jiff::Timestamp;
use oomtrace_model::{Container, ContainerAction, ContainerChange, ContainerRole, Pod};
use serde::Deserialize;

use super::id_of;

/// What matters of a strategic merge patch of a pod.
#[derive(Deserialize)]
struct Patch<'a> {
    #[serde(borrow)]
    status: Option<Status<'a>>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, rename = "initContainerStatuses")]
    init: Option<Vec<ContainerStatus<'a>>>,
    #[serde(borrow, rename = "containerStatuses")]
    app: Option<Vec<ContainerStatus<'a>>>,
    #[serde(borrow, rename = "ephemeralContainerStatuses")]
    ephemeral: Option<Vec<ContainerStatus<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    image: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "containerID")]
    container_id: Option<Cow<'a, str>>,
    restart_count: Option<u32>,
    #[serde(borrow)]
    last_state: Option<State<'a>>,
    #[serde(borrow)]
    state: Option<State<'a>>,
}

#[derive(Deserialize)]
struct State<'a> {
    #[serde(borrow)]
    terminated: Option<Terminated<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated<'a> {
    #[serde(borrow, rename = "containerID")]
    container_id: Option<Cow<'a, str>>,
    exit_code: Option<i32>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    finished_at: Option<Cow<'a, str>>,
}

/// How a container ended, and when: to the second.
pub(in super::super) struct Ended {
    pub(in super::super) change: ContainerChange,
    pub(in super::super) finished: Option<Timestamp>,
}

/// The containers of a patch that ended, now or before they were started again.
pub(super) fn of_patch(pod: &Pod, patch: &str) -> Vec<Ended> {
    let Ok(Patch { status: Some(status) }) = serde_json::from_str(patch) else { return Vec::new() };
    // Sidecars are among the init containers, and not marked.
    [(status.init, None), (status.app, Some(ContainerRole::App)), (status.ephemeral, Some(ContainerRole::Ephemeral))]
        .iter()
        .flat_map(|(containers, role)| containers.iter().flatten().flat_map(|container| ends(pod, container, *role)))
        .collect()
}

fn ends<'a>(
    pod: &'a Pod,
    status: &'a ContainerStatus<'_>,
    role: Option<ContainerRole>,
) -> impl Iterator<Item = Ended> + 'a {
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
    // Counted are the restarts up to now: of what ended last, that is one less, unless it waits to be started again.
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()?.container_id.as_ref());
    let waits = last.is_some() && last == status.container_id.as_ref();
    let before = status.restart_count.and_then(|count| count.checked_sub(u32::from(!waits)));
    let both = [(&status.last_state, before), (&status.state, status.restart_count)];
    both.into_iter().filter_map(move |(state, restart_count)| {
        let ended = state.as_ref()?.terminated.as_ref()?;
        let change = ContainerChange {
            pod: Some(pod.clone()),
            container: Some(Container {
                name: text(&status.name),
                id: ended.container_id.as_deref().and_then(id_of),
                image: text(&status.image),
                restart_count,
                role,
            }),
            sandbox: Some(false),
            exit_code: ended.exit_code,
            reason: text(&ended.reason),
            message: text(&ended.message),
            ..ContainerChange::new(ContainerAction::Reported)
        };
        Some(Ended { change, finished: ended.finished_at.as_deref().and_then(|at| at.parse().ok()) })
    })
}
