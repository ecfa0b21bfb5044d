//! The keys under which Kubernetes and the runtimes write down whose a container is. Docker's labels, CRI's labels and the
//! annotations of OCI specifications use the same.

use std::collections::HashMap;

use crate::{
    event::ContainerRole,
    node::{
        cgroup_path::{ContainerId, PodUid},
        fact::{ContainerFact, Fact, NameSource, PodFact},
    },
};

/// Labels or annotations.
pub(super) type Keys = HashMap<String, String>;

/// By the kubelet, for every runtime: `pkg/kubelet/types/labels.go`.
pub(super) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(super) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(super) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(super) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub(super) const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";

/// By containerd: `pkg/cri/annotations/annotations.go`.
pub(super) const SANDBOX_UID: &str = "io.kubernetes.cri.sandbox-uid";

/// The name that the kubelet gave a sandbox when it talked to Docker itself.
const SANDBOX_NAME: &str = "POD";

/// What the keys of one container tell of it and its pod. `id` is the container's.
pub(super) fn facts(source: NameSource, id: ContainerId, keys: &Keys) -> (ContainerFact, Option<PodFact>) {
    let get = |names: &[&str]| names.iter().find_map(|name| keys.get(*name)).filter(|value| !value.is_empty()).cloned();
    let uid = get(&[POD_UID, SANDBOX_UID]).and_then(|uid| uid.parse::<PodUid>().ok());
    let kind =
        get(&["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType", "io.kubernetes.docker.type"]);
    let name = get(&[CONTAINER_NAME, "io.kubernetes.cri.container-name"]);
    let sandbox = matches!(kind.as_deref(), Some("sandbox" | "podsandbox")) || name.as_deref() == Some(SANDBOX_NAME);
    let container = ContainerFact {
        pod: uid.clone(),
        name: name.filter(|_| !sandbox),
        image: get(&["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"]),
        restart_count: get(&[RESTART_COUNT, "annotation.io.kubernetes.container.restartCount"])
            .and_then(|count| count.parse().ok()),
        role: sandbox.then_some(ContainerRole::Sandbox),
        ..ContainerFact::new(source, id)
    };
    let pod = uid.map(|uid| PodFact {
        namespace: get(&[POD_NAMESPACE, "io.kubernetes.cri.sandbox-namespace"]),
        name: get(&[POD_NAME, "io.kubernetes.cri.sandbox-name"]),
        ..PodFact::new(source, uid)
    });
    (container, pod)
}

/// The same as facts.
pub(super) fn reported(container: ContainerFact, pod: Option<PodFact>) -> impl Iterator<Item = Fact> {
    // The pod first: what waits for the container then has both.
    pod.map(Fact::Pod).into_iter().chain([Fact::Container(container)])
}

/// `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`: how dockershim, cri-dockerd and CRI-O name containers. None of the
/// parts can have an underscore.
pub(super) fn of_full_name(source: NameSource, id: &ContainerId, name: &str) -> Option<(ContainerFact, PodFact)> {
    let mut parts = name.trim_start_matches('/').strip_prefix("k8s_")?.split('_');
    let (container, pod, namespace) = (parts.next()?, parts.next()?, parts.next()?);
    let uid: PodUid = parts.next()?.parse().ok()?;
    let attempt = parts.next().and_then(|attempt| attempt.parse().ok());
    let sandbox = container == SANDBOX_NAME;
    let container = ContainerFact {
        pod: Some(uid.clone()),
        name: (!sandbox).then(|| container.to_owned()),
        restart_count: attempt,
        role: sandbox.then_some(ContainerRole::Sandbox),
        ..ContainerFact::new(source, id.clone())
    };
    let pod =
        PodFact { namespace: Some(namespace.to_owned()), name: Some(pod.to_owned()), ..PodFact::new(source, uid) };
    Some((container, pod))
}
