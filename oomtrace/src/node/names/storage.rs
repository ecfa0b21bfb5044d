//! The storage that Podman and CRI-O share: its lists of containers, with their names.
//!
//! Below `/var/lib/containers/storage`, and below `/run/containers/storage` for what is not to outlast a boot, each driver
//! has a folder of its own, `overlay-containers`, `vfs-containers`, …: in it the lists, and a folder for each container.
//! A list is `containers.json`, or `volatile-containers.json` for those that are not worth a `fsync`: CRI-O's, and what
//! `podman run --rm` makes (`newContainerStore`, `containers.go` of containers/storage; seen with Podman 5.4).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{annotations, host::Host};
use crate::node::{
    cgroup_path::ContainerId,
    fact::{ContainerFact, Fact, NameSource},
};

const ROOTS: [&str; 2] = ["/run/containers/storage", "/var/lib/containers/storage"];
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];

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

/// The folders that drivers have here now.
pub(super) fn folders(host: &Host) -> Vec<PathBuf> {
    let entries = ROOTS.iter().filter_map(|root| fs::read_dir(host.path(root)).ok()).flatten();
    let of_driver = |path: &Path| path.to_str().is_some_and(|path| path.ends_with("-containers"));
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| of_driver(path)).collect()
}

/// What Podman and CRI-O have of all theirs. A list that is just being replaced is read the next time.
pub(super) fn list(host: &Host) -> Result<Vec<Fact>, String> {
    let mut facts = Vec::new();
    for path in folders(host).iter().flat_map(|folder| LISTS.map(|list| folder.join(list))) {
        match fs::read(&path) {
            Ok(json) => facts
                .extend(parse(&json).map_err(|error| format!("{} is not a storage's list: {error}", path.display()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        }
    }
    Ok(facts)
}

/// What a list tells.
///
/// # Errors
///
/// Fails where it is none.
pub fn parse(json: &[u8]) -> Result<Vec<Fact>, serde_json::Error> {
    let stored: Vec<Stored> = serde_json::from_slice(json)?;
    let facts = stored.into_iter().flat_map(|Stored { id, names, metadata }| {
        let source = NameSource::EngineState;
        let image = serde_json::from_str::<StoredMetadata>(&metadata).unwrap_or_default().image;
        let in_pod = names.iter().find_map(|name| annotations::of_full_name(source, &id, name));
        let (container, pod) = in_pod.map_or_else(
            || (ContainerFact { name: names.first().cloned(), ..ContainerFact::new(source, id.clone()) }, None),
            |(container, pod)| (container, Some(pod)),
        );
        // Of a container that was made of a folder, the name is there and empty.
        let container = ContainerFact { image: image.filter(|image| !image.is_empty()), ..container };
        annotations::reported(container, pod)
    });
    Ok(facts.collect())
}
