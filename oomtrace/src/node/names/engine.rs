//! Docker and Podman, with Kubernetes or without: their state files.
//!
//! Docker keeps one for each container, `/var/lib/docker/containers/<id>/config.v2.json`. Podman and CRI-O share
//! `/var/lib/containers/storage/overlay-containers/containers.json` (and the same below `/run` for what does not outlast a
//! boot), which has all of them.

use std::{fs, io};

use serde::Deserialize;

use super::{
    annotations::{self, Keys},
    host::Host,
};
use crate::node::{
    cgroup_path::ContainerId,
    fact::{ContainerFact, Fact, NameSource},
};

/// Where Docker has a folder for each container.
pub const DOCKER: &str = "/var/lib/docker/containers";
const STORAGE: [&str; 2] = [
    "/run/containers/storage/overlay-containers/containers.json",
    "/var/lib/containers/storage/overlay-containers/containers.json",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerState {
    #[serde(rename = "ID")]
    id: ContainerId,
    /// Begins with a slash.
    name: String,
    restart_count: Option<u32>,
    config: DockerConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    image: Option<String>,
    labels: Option<Keys>,
}

/// What a `config.v2.json` of Docker tells.
pub fn docker(json: &[u8]) -> Result<Vec<Fact>, serde_json::Error> {
    let DockerState { id, name, restart_count, config } = serde_json::from_slice(json)?;
    let source = NameSource::EngineState;
    let labels = config.labels.unwrap_or_default();
    let (mut container, pod) = annotations::facts(source, id, &labels);
    container.image = config.image;
    if pod.is_none() {
        container.name = Some(name.trim_start_matches('/').to_owned());
        container.restart_count = restart_count;
    }
    Ok(annotations::told(container, pod).collect())
}

#[derive(Deserialize)]
struct Stored {
    id: ContainerId,
    #[serde(default)]
    names: Vec<String>,
    /// JSON in JSON.
    #[serde(default)]
    metadata: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredMetadata {
    #[serde(rename = "image-name")]
    image: Option<String>,
}

/// What a `containers.json` of Podman's and CRI-O's storage tells.
pub fn storage(json: &[u8]) -> Result<Vec<Fact>, serde_json::Error> {
    let stored: Vec<Stored> = serde_json::from_slice(json)?;
    let facts = stored.into_iter().flat_map(|Stored { id, names, metadata }| {
        let source = NameSource::EngineState;
        let image = serde_json::from_str::<StoredMetadata>(&metadata).unwrap_or_default().image;
        let in_pod = names.iter().find_map(|name| annotations::of_full_name(source, &id, name));
        let (container, pod) = in_pod.map_or_else(
            || (ContainerFact { name: names.first().cloned(), ..ContainerFact::new(source, id.clone()) }, None),
            |(container, pod)| (container, Some(pod)),
        );
        let container = ContainerFact { image, ..container };
        annotations::told(container, pod)
    });
    Ok(facts.collect())
}

/// What Docker has of one container.
pub(super) fn look_up(host: &Host, id: &ContainerId) -> Result<Vec<Fact>, String> {
    let path = host.path(DOCKER).join(id.as_str()).join("config.v2.json");
    match fs::read(&path) {
        Ok(json) => docker(&json).map_err(|error| format!("{} is not Docker's state: {error}", path.display())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// What Podman and CRI-O have of all theirs. A file that is just being replaced is read the next time.
pub(super) fn list(host: &Host) -> Result<Vec<Fact>, String> {
    let mut facts = Vec::new();
    for path in STORAGE.iter().map(|path| host.path(path)) {
        match fs::read(&path) {
            Ok(json) => facts.extend(
                storage(&json).map_err(|error| format!("{} is not a storage's list: {error}", path.display()))?,
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        }
    }
    Ok(facts)
}

/// The containers that Docker has.
pub(super) fn docker_ids(host: &Host) -> Vec<ContainerId> {
    let entries = fs::read_dir(host.path(DOCKER)).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}
