//! The kubelet's `/pods`: what the pods' specifications say.

mod access;
mod listener;
#[cfg(test)]
pub(crate) mod tests;

use serde::Deserialize;

pub use self::access::{Access, KubeletError, READ_ONLY, Trust};
use super::annotations::Keys;
use crate::{
    event::{ContainerRole, Owner},
    node::{
        cgroup_path::{ContainerId, PodUid, QosClass},
        fact::{ContainerFact, Fact, NameSource, PodFact, SpecContainer},
    },
    quantity,
};

/// The hash that a static pod's cgroup, log folder and containers bear (`pkg/kubelet/types/pod_update.go`). The uid of its
/// mirror is the API server's, and stands nowhere on the node.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

#[derive(Deserialize)]
struct PodList {
    /// `null` where there are none.
    items: Option<Vec<Pod>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    labels: Option<Keys>,
    annotations: Option<Keys>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Deserialize)]
struct OwnerReference {
    kind: String,
    name: String,
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    containers: Option<Vec<SpecOf>>,
    init_containers: Option<Vec<SpecOf>>,
    ephemeral_containers: Option<Vec<SpecOf>>,
    resources: Option<Resources>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecOf {
    name: String,
    image: Option<String>,
    restart_policy: Option<String>,
    resources: Option<Resources>,
}

#[derive(Deserialize)]
struct Resources {
    limits: Option<Keys>,
    requests: Option<Keys>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    qos_class: Option<QosClass>,
    container_statuses: Option<Vec<StatusOf>>,
    init_container_statuses: Option<Vec<StatusOf>>,
    ephemeral_container_statuses: Option<Vec<StatusOf>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusOf {
    name: String,
    restart_count: Option<u32>,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

/// What an answer of `/pods` tells.
///
/// # Errors
///
/// Fails where it is no list of pods.
pub fn parse(json: &[u8]) -> Result<Vec<Fact>, serde_json::Error> {
    let list: PodList = serde_json::from_slice(json)?;
    Ok(list.items.unwrap_or_default().into_iter().filter_map(facts).flatten().collect())
}

fn facts(pod: Pod) -> Option<Vec<Fact>> {
    let Pod { metadata, spec, status } = pod;
    let Metadata { name, namespace, uid, labels, annotations, owner_references } = metadata;
    let annotation = |key: &str| annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned();
    let uid: PodUid = [annotation(CONFIG_MIRROR), annotation(CONFIG_HASH), uid]
        .into_iter()
        .flatten()
        .find_map(|uid| uid.parse().ok())?;
    let owner = owner_references.unwrap_or_default().into_iter().find(|owner| owner.controller == Some(true));
    let Spec { containers, init_containers, ephemeral_containers, resources } = spec;
    let lists = [
        (containers, ContainerRole::App),
        (init_containers, ContainerRole::Init),
        (ephemeral_containers, ContainerRole::Ephemeral),
    ];
    let specs: Vec<_> = lists
        .into_iter()
        .flat_map(|(specs, role)| specs.unwrap_or_default().into_iter().map(move |spec| (spec, role)))
        .collect();
    let role = |spec: &SpecOf, list: ContainerRole| list.with_restart_policy(spec.restart_policy.as_deref());
    let limit = |resources: Option<&Resources>| quantity::bytes(resources?.limits.as_ref()?.get("memory")?);
    let request = |resources: Option<&Resources>| quantity::bytes(resources?.requests.as_ref()?.get("memory")?);
    let fact = PodFact {
        namespace,
        name,
        qos: status.qos_class,
        owner: owner.map(|OwnerReference { kind, name, .. }| Owner { kind, name }),
        labels: Some(labels.unwrap_or_default().into_iter().collect()),
        limit_bytes: limit(resources.as_ref()),
        containers: Some(
            specs
                .iter()
                .map(|(spec, kind)| SpecContainer {
                    name: spec.name.clone(),
                    role: role(spec, *kind),
                    limit_bytes: limit(spec.resources.as_ref()),
                    request_bytes: request(spec.resources.as_ref()).or_else(|| limit(spec.resources.as_ref())),
                })
                .collect(),
        ),
        ..PodFact::new(NameSource::Kubelet, uid.clone())
    };
    let Status { container_statuses, init_container_statuses, ephemeral_container_statuses, .. } = status;
    let statuses = [container_statuses, init_container_statuses, ephemeral_container_statuses];
    let containers = statuses.into_iter().flatten().flatten().filter_map(|status| {
        let StatusOf { name, restart_count, container_id } = status;
        // `containerd://<id>`, `cri-o://<id>`, `docker://<id>`.
        let id: ContainerId = container_id?.rsplit('/').next()?.parse().ok()?;
        let spec = specs.iter().find(|(spec, _)| spec.name == name);
        Some(Fact::Container(ContainerFact {
            pod: Some(uid.clone()),
            image: spec.and_then(|(spec, _)| spec.image.clone()),
            role: spec.map(|(spec, kind)| role(spec, *kind)),
            limit_bytes: spec.and_then(|(spec, _)| limit(spec.resources.as_ref())),
            name: Some(name),
            restart_count,
            ..ContainerFact::new(NameSource::Kubelet, id)
        }))
    });
    Some([Fact::Pod(fact)].into_iter().chain(containers).collect())
}
