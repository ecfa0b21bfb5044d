//! The OCI `config.json` of each container: names without asking anybody.
//!
//! A runtime writes it before it has the container started, and takes it away after its end: it is there when the
//! container's cgroup is made.
//!
//! | runtime | where |
//! |---|---|
//! | containerd | `/run/containerd/io.containerd.runtime.v2.task/<namespace>/<id>/config.json` |
//! | K3s', RKE2's and k0s' containerd | the same below `/run/k3s` and `/run/k0s` |
//! | CRI-O, Podman | `<id>/userdata/config.json` in a folder of their [storage] |

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    annotations::{self, Keys, POD_UID, SANDBOX_UID},
    host::Host,
    storage,
};
use crate::node::{
    cgroup_path::{CgroupIdentity, ContainerId},
    fact::{Fact, NameSource},
};

/// Real ones have 10 to 60 KiB.
const MOST_BYTES: u64 = 4 << 20;

/// Folders with a folder for each namespace of containerd, and in it one for each container.
const CONTAINERD: [&str; 5] = [
    "/run/containerd/io.containerd.runtime.v2.task",
    "/run/k3s/containerd/io.containerd.runtime.v2.task",
    "/run/k0s/containerd/io.containerd.runtime.v2.task",
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task",
    "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task",
];

/// What a container's first process is started with.
#[derive(Debug, Default, Deserialize)]
pub struct Started {
    /// Its arguments, the program first.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its environment, `NAME=value` each.
    #[serde(default)]
    pub env: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    annotations: Keys,
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(rename = "cgroupsPath")]
    cgroups_path: Option<String>,
    resources: Option<Resources>,
}

#[derive(Deserialize)]
struct Resources {
    memory: Option<Memory>,
}

#[derive(Deserialize)]
struct Memory {
    limit: Option<i64>,
}

/// What a container's `config.json` tells.
///
/// # Errors
///
/// Fails where it is none.
pub fn parse(id: ContainerId, json: &[u8]) -> Result<Vec<Fact>, serde_json::Error> {
    let Config { mut annotations, linux } = serde_json::from_slice(json)?;
    // containerd has the annotation since 1.6.11 only.
    if ![POD_UID, SANDBOX_UID].iter().any(|key| annotations.contains_key(*key))
        && let Some(path) = linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref())
        && let Some(uid) = CgroupIdentity::parse(path).pod_uid
    {
        annotations.insert(SANDBOX_UID.to_owned(), uid.to_string());
    }
    let (mut container, pod) = annotations::facts(NameSource::OciConfig, id, &annotations);
    let memory = linux.and_then(|linux| linux.resources?.memory?.limit);
    // 0 and -1 mean that there is none.
    container.limit_bytes = memory.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    let named = container.name.is_some() || container.role.is_some() || pod.is_some();
    Ok(if named { annotations::reported(container, pod).collect() } else { Vec::new() })
}

/// What is known of one container. Nothing, where no runtime here has it.
pub(super) fn look_up(host: &Host, id: &ContainerId) -> Result<Vec<Fact>, String> {
    for path in places(host, id) {
        match read(&path) {
            Ok(json) => {
                return parse(id.clone(), &json)
                    .map_err(|error| format!("{} is not an OCI configuration: {error}", path.display()));
            }
            // Not there, or gone meanwhile.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        }
    }
    Ok(Vec::new())
}

/// What a container's first process is started with, where a runtime here has the container.
#[must_use]
pub fn started(host: &Host, id: &ContainerId) -> Option<Started> {
    #[derive(Deserialize)]
    struct Process {
        process: Started,
    }
    let json = places(host, id).iter().find_map(|path| read(path).ok())?;
    serde_json::from_slice(&json).ok().map(|Process { process }| process)
}

/// Where runtimes keep their containers' folders: containerd's are there or not, of the others only those that are.
pub fn folders(host: &Host) -> impl Iterator<Item = PathBuf> {
    CONTAINERD.iter().map(|folder| host.path(folder)).chain(storage::folders(host))
}

/// The folders that containers' folders are made in, and those that such folders are made in.
pub(super) fn watched(host: &Host) -> Vec<PathBuf> {
    folders(host).chain(namespaces(host)).collect()
}

/// The containers that have a folder here now.
pub(super) fn list(host: &Host) -> Vec<ContainerId> {
    let mut ids: Vec<_> = namespaces(host)
        .into_iter()
        .chain(storage::folders(host))
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn places(host: &Host, id: &ContainerId) -> Vec<PathBuf> {
    let containerd = namespaces(host).into_iter().map(|folder| folder.join(id.as_str()).join("config.json"));
    let storage =
        storage::folders(host).into_iter().map(|folder| folder.join(id.as_str()).join("userdata/config.json"));
    containerd.chain(storage).collect()
}

fn namespaces(host: &Host) -> Vec<PathBuf> {
    let roots = CONTAINERD.iter().filter_map(|root| fs::read_dir(host.path(root)).ok());
    roots.flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
