//! Names in a copy of `/var/log/pods` and `/var/log/containers`: what the kubelet calls its folders and files
//! (`pkg/kubelet/kuberuntime/helpers.go`, `legacy.go`, 1.20 to 1.36).

use std::path::Path;

use oomtrace_model::{Pod, PodUid};

use super::{PodRecord, Snapshot, objects::enter};

/// `<namespace>_<pod>_<uid>`: neither part has an underscore.
#[must_use]
pub fn pod(folder: &str) -> Option<Pod> {
    let mut parts = folder.split('_');
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let uid: PodUid = uid.parse().ok()?;
    let pod =
        Pod { namespace: Some(namespace.to_owned()), name: Some(name.to_owned()), uid: Some(uid), ..Pod::default() };
    parts.next().is_none().then_some(pod)
}

/// A pod's folder, with the folders of its containers in it.
pub fn enter_pod<'a>(folder: &str, containers: impl Iterator<Item = &'a str>, into: &mut Snapshot) -> bool {
    let Some(record) = pod(folder).and_then(|pod| enter(into, pod)) else { return false };
    for container in containers {
        record.containers.entry(container.to_owned()).or_default();
    }
    true
}

/// `<pod>_<namespace>_<container>-<id>.log`, a link in `/var/log/containers` to
/// `/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart count>.log`. Without what it leads to, the pod has to be known
/// already, and to be the only one of its name.
pub fn enter_link(file: &str, target: Option<&Path>, into: &mut Snapshot) -> bool {
    let entry = || {
        let mut parts = file.strip_suffix(".log")?.splitn(3, '_');
        let (name, namespace, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let (container, id) = rest.rsplit_once('-')?;
        Some((name, namespace, container, id.parse().ok()?))
    };
    let Some((name, namespace, container, id)) = entry() else { return false };
    let folder = target.and_then(|target| target.parent()?.parent()?.file_name()?.to_str());
    let restart_count = target.and_then(|target| target.file_stem()?.to_str()?.parse().ok());
    let record = if let Some(pod) = folder.and_then(pod) {
        enter(into, pod)
    } else {
        let (name, namespace) = (Some(name), Some(namespace));
        let of_name = |record: &&mut PodRecord| {
            record.pod.name.as_deref() == name && record.pod.namespace.as_deref() == namespace
        };
        let mut found = into.pods.values_mut().filter(of_name);
        found.next().filter(|_| found.next().is_none())
    };
    let Some(record) = record else { return false };
    record.containers.entry(container.to_owned()).or_default().add_id(id, restart_count);
    true
}
