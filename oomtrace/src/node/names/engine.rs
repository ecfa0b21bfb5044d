//! Docker, with Kubernetes or without: its state file for each container, `/var/lib/docker/containers/<id>/config.v2.json`.

use std::{fs, io};

use serde::Deserialize;

use super::{
    annotations::{self, Keys},
    host::Host,
};
use crate::node::{
    cgroup_path::ContainerId,
    fact::{Fact, NameSource},
};

/// Where Docker has a folder for each container.
pub const DOCKER: &str = "/var/lib/docker/containers";

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
///
/// # Errors
///
/// Fails where it is none.
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
    Ok(annotations::reported(container, pod).collect())
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

/// The containers that Docker has.
pub(super) fn docker_ids(host: &Host) -> Vec<ContainerId> {
    let entries = fs::read_dir(host.path(DOCKER)).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}
