//! What CRI's messages tell.

use std::collections::HashMap;

use super::messages::{
    Container, ContainerEvent, ContainerEventType, ContainerMetadata, ContainerState, ContainerStatus, ImageSpec,
    PodSandbox, PodSandboxMetadata,
};
use crate::{
    event::{self, ContainerAction, ContainerChange, ContainerRole, Event, Moment, Observation, Source},
    node::{
        cgroup_path::ContainerId,
        fact::{ContainerFact, Fact, NameSource, PodFact, names_image},
        names::annotations::{self, Keys, POD_NAMESPACE, reported},
    },
};

/// What the kubelet adds to the labels of pods and containers for itself.
const OF_KUBELET: &str = "io.kubernetes.";

/// A list's entry for a container.
pub(in super::super) fn container(container: Container) -> Vec<Fact> {
    let Container { id, pod_sandbox_id: _, metadata, image, state, labels, annotations } = container;
    facts(&id, metadata, image, state, labels, annotations, 0)
}

/// A container's status.
pub(in super::super) fn status(status: ContainerStatus) -> Vec<Fact> {
    let ContainerStatus { id, metadata, state, image, labels, annotations, resources, .. } = status;
    let limit = resources.and_then(|resources| resources.linux).map_or(0, |linux| linux.memory_limit_in_bytes);
    facts(&id, metadata, image, state, labels, annotations, limit)
}

fn facts(
    id: &str,
    metadata: Option<ContainerMetadata>,
    image: Option<ImageSpec>,
    state: i32,
    labels: Keys,
    annotations: Keys,
    limit: i64,
) -> Vec<Fact> {
    let Ok(id) = id.parse::<ContainerId>() else { return Vec::new() };
    let mut keys = annotations;
    keys.extend(labels);
    let (mut container, pod) = annotations::facts(NameSource::Cri, id, &keys);
    // The labels are the kubelet's, and another client of the runtime need not set them; what CRI itself asks for is there.
    if let Some(ContainerMetadata { name, attempt }) = metadata {
        container.name = Some(name).filter(|name| !name.is_empty()).or(container.name);
        container.restart_count = Some(attempt);
    }
    container.image = image.and_then(|ImageSpec { image, user_specified_image }| {
        Some(user_specified_image).filter(|image| !image.is_empty()).or(Some(image).filter(|image| names_image(image)))
    });
    container.limit_bytes = u64::try_from(limit).ok().filter(|limit| *limit > 0);
    container.ended = state == ContainerState::Exited as i32;
    reported(container, pod).collect()
}

/// A list's entry for a sandbox.
pub(in super::super) fn sandbox(sandbox: PodSandbox) -> Vec<Fact> {
    let PodSandbox { id, metadata, state, labels } = sandbox;
    of_sandbox(&id, metadata, state, labels)
}

fn of_sandbox(
    id: &str,
    metadata: Option<PodSandboxMetadata>,
    state: i32,
    labels: HashMap<String, String>,
) -> Vec<Fact> {
    let Some(PodSandboxMetadata { name, uid, namespace, .. }) = metadata else { return Vec::new() };
    let (Ok(id), Ok(uid)) = (id.parse::<ContainerId>(), uid.parse()) else { return Vec::new() };
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    let pod = PodFact {
        namespace: namespace.or_else(|| labels.get(POD_NAMESPACE).cloned()),
        name: Some(name),
        labels: Some(labels.into_iter().filter(|(key, _)| !key.starts_with(OF_KUBELET)).collect()),
        ..PodFact::new(NameSource::Cri, uid)
    };
    let container = ContainerFact {
        pod: Some(pod.uid.clone()),
        role: Some(ContainerRole::Sandbox),
        // Not ready: its container has ended.
        ended: state != 0,
        ..ContainerFact::new(NameSource::Cri, id)
    };
    reported(container, Some(pod)).collect()
}

/// One of the runtime's events: what it tells, and what is worth telling people.
pub(in super::super) fn event(event: ContainerEvent) -> (Vec<Fact>, Option<Observation>) {
    let ContainerEvent { container_id, container_event_type, created_at, pod_sandbox_status, containers_statuses } =
        event;
    let kind = ContainerEventType::try_from(container_event_type).ok();
    let own = containers_statuses.iter().find(|status| status.id == container_id);
    let ended = own.filter(|_| kind == Some(ContainerEventType::Stopped)).and_then(|status| ending(status, created_at));
    let mut facts = Vec::new();
    if let Some(status) = pod_sandbox_status {
        facts.extend(of_sandbox(&status.id, status.metadata, status.state, status.labels));
    }
    facts.extend(containers_statuses.into_iter().flat_map(status));
    if kind == Some(ContainerEventType::Deleted)
        && let Ok(id) = container_id.parse()
    {
        facts.push(Fact::ContainerGone { id });
    }
    (facts, ended)
}

/// How a container ended, as the runtime will tell the kubelet.
pub(in super::super) fn ending(status: &ContainerStatus, created_at: i64) -> Option<Observation> {
    let at = if status.finished_at > 0 { status.finished_at } else { created_at };
    let change = ContainerChange {
        action: ContainerAction::Died,
        pod: None,
        container: Some(event::Container { id: Some(status.id.parse().ok()?), ..event::Container::default() }),
        cgroup: None,
        sandbox: Some(false),
        exit_code: Some(status.exit_code),
        reason: Some(status.reason.clone()).filter(|reason| !reason.is_empty()),
        message: None,
        grace_period_ms: None,
    };
    let at = Moment::Wall(jiff::Timestamp::from_nanosecond(i128::from(at)).ok()?);
    Some(Observation { source: Source::Cri, at, event: Event::Container(Box::new(change)) })
}
