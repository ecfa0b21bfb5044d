//! Names in a copy of `/var/log/pods` and `/var/log/containers`: what the kubelet calls its folders and files
//! (`pkg/kubelet/kuberuntime/helpers.go`, `legacy.go`, 1.20 to 1.36).

use super::{
    Snapshot,
    read::{add_id, enter},
};
use crate::event::{Pod, PodUid};

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

/// `<pod>_<namespace>_<container>-<id>.log`, a link in `/var/log/containers`, of a pod whose uid is known already.
pub fn enter_link(file: &str, into: &mut Snapshot) -> bool {
    let entry = || {
        let mut parts = file.strip_suffix(".log")?.splitn(3, '_');
        let (name, namespace, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let (container, id) = rest.rsplit_once('-')?;
        Some((name, namespace, container, id.parse().ok()?))
    };
    let Some((name, namespace, container, id)) = entry() else { return false };
    let record = into
        .pods
        .values_mut()
        .find(|record| record.pod.name.as_deref() == Some(name) && record.pod.namespace.as_deref() == Some(namespace));
    let Some(record) = record else { return false };
    add_id(record.containers.entry(container.to_owned()).or_default(), id);
    true
}
