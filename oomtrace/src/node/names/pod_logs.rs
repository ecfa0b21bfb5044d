//! The folders of pods' logs, whose names the kubelet makes of the pods' and the containers' (`pkg/kubelet/kuberuntime`,
//! `BuildPodLogsDirectory` and `legacyLogSymlink`, 1.20 to 1.36). All that is needed is to list them.
//!
//! `/var/log/pods/<namespace>_<pod>_<uid>/` gives the pod, and the link
//! `/var/log/containers/<pod>_<namespace>_<container>-<id>.log` → `/var/log/pods/…/<container>/<restart count>.log`
//! the container. A sandbox has neither. None of the names can have an underscore.

use std::{fs, path::Path};

use super::host::Host;
use crate::node::{
    cgroup_path::{ContainerId, PodUid},
    fact::{ContainerFact, Fact, NameSource, PodFact},
};

/// What a folder of `/var/log/pods` is called for.
#[must_use]
pub fn pod(folder: &str) -> Option<PodFact> {
    let mut parts = folder.split('_');
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let uid: PodUid = uid.parse().ok()?;
    let named = parts.next().is_none() && !namespace.is_empty() && !name.is_empty();
    named.then(|| PodFact {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..PodFact::new(NameSource::PodLogs, uid)
    })
}

/// What a link of `/var/log/containers` tells by its name and what it points at.
///
/// Names are cut at 255 bytes, and then the id is not whole: such a link tells nothing.
#[must_use]
pub fn container(link: &str, target: &Path) -> Option<ContainerFact> {
    let (stem, id) = link.strip_suffix(".log")?.rsplit_once('-')?;
    let id: ContainerId = id.parse().ok()?;
    let name = stem.split('_').nth(2)?;
    let mut parts = target.iter().rev().filter_map(|part| part.to_str());
    let log = parts.next()?;
    let pod = parts.nth(1).and_then(pod);
    Some(ContainerFact {
        pod: pod.map(|pod| pod.uid),
        name: Some(name.to_owned()),
        restart_count: log.strip_suffix(".log").and_then(|count| count.parse().ok()),
        ..ContainerFact::new(NameSource::PodLogs, id)
    })
}

/// All that the folders tell now.
pub(super) fn list(host: &Host) -> Vec<Fact> {
    let names = |folder: &str| fs::read_dir(host.path(folder)).into_iter().flatten().filter_map(Result::ok);
    let pods = names("/var/log/pods").filter_map(|entry| pod(entry.file_name().to_str()?)).map(Fact::Pod);
    let containers = names("/var/log/containers").filter_map(|entry| {
        // What it points at need not be reachable from here.
        container(entry.file_name().to_str()?, &fs::read_link(entry.path()).ok()?).map(Fact::Container)
    });
    pods.chain(containers).collect()
}
