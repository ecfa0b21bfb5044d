//! Which pod has which uid, which container which id: learnt from all lines, for those that say only half of it.

use oomtrace_model::{Container, ContainerId, Pod, PodUid, bounded::Bounded};

/// Pods that are remembered: a node has 110 by default, 500 where it is stretched.
const PODS: usize = 4096;
/// Containers that are remembered: each restart makes one.
const CONTAINERS: usize = 16_384;

/// What a log reported of names. Bounded: the oldest are forgotten first.
#[derive(Debug)]
pub struct Names {
    pods: Bounded<PodUid, (String, String)>,
    /// By namespace and name, the latest: a pod that replaces another has its name.
    uids: Bounded<(String, String), PodUid>,
    containers: Bounded<ContainerId, KnownContainer>,
    /// The latest container of a name in a pod.
    latest: Bounded<(PodUid, String), ContainerId>,
}

/// What is known of a container.
#[derive(Clone, Debug, Default)]
struct KnownContainer {
    pod: Option<PodUid>,
    name: Option<String>,
    sandbox: Option<bool>,
    /// It ended: another of its name may run by now.
    ended: bool,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            pods: Bounded::new(PODS),
            uids: Bounded::new(PODS),
            containers: Bounded::new(CONTAINERS),
            latest: Bounded::new(CONTAINERS),
        }
    }
}

impl Names {
    /// The pod with this uid, by name.
    #[must_use]
    pub fn pod(&self, uid: &PodUid) -> Option<Pod> {
        let (namespace, name) = self.pods.get(uid)?;
        let (namespace, name) = (Some(namespace.clone()), Some(name.clone()));
        Some(Pod { namespace, name, uid: Some(uid.clone()), ..Pod::default() })
    }

    /// The uid of the latest pod of this name.
    #[must_use]
    pub fn uid_of(&self, namespace: &str, name: &str) -> Option<&PodUid> {
        self.uids.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The uid of the pod that a container is in.
    #[must_use]
    pub fn pod_of(&self, container: &ContainerId) -> Option<&PodUid> {
        self.containers.get(container)?.pod.as_ref()
    }

    /// The id that begins so, where only one does.
    pub(super) fn id_that_begins(&self, start: &str) -> Option<ContainerId> {
        let mut found = self.containers.iter().map(|(id, _)| id).filter(|id| id.as_str().starts_with(start));
        let first = found.next()?;
        found.next().is_none().then(|| first.clone())
    }

    /// The container with this id, by name.
    #[must_use]
    pub fn container(&self, id: &ContainerId) -> Option<Container> {
        let name = self.containers.get(id)?.name.clone()?;
        Some(Container { name: Some(name), id: Some(id.clone()), ..Container::default() })
    }

    /// Whether a container is its pod's sandbox; `None` where no line reported.
    #[must_use]
    pub fn is_sandbox(&self, id: &ContainerId) -> Option<bool> {
        self.containers.get(id)?.sandbox
    }

    /// Learns what a pod and one of its containers are called, as far as they are known.
    pub(super) fn learn(&mut self, pod: Option<&Pod>, container: Option<&Container>) {
        if let Some(Pod { namespace: Some(namespace), name: Some(name), uid: Some(uid), .. }) = pod {
            // A pod that is known already may have been replaced by one of its name: its late lines do not take it back.
            let known = self.pods.get(uid).is_some_and(|known| (&known.0, &known.1) == (namespace, name));
            if !known {
                let full = (namespace.clone(), name.clone());
                self.pods.insert(uid.clone(), full.clone());
                self.uids.insert(full, uid.clone());
            }
        }
        let Some(Container { name, id: Some(id), .. }) = container else { return };
        let uid = pod.and_then(|pod| pod.uid.as_ref());
        let is_new = |known: &KnownContainer| {
            uid.is_some() && uid != known.pod.as_ref() || name.is_some() && *name != known.name
        };
        let known = self.containers.get(id);
        if known.is_some_and(|known| !is_new(known)) {
            return;
        }
        let mut known = known.cloned().unwrap_or_default();
        known.pod = uid.cloned().or(known.pod);
        known.name = name.clone().or(known.name);
        if let (Some(pod), Some(name)) = (&known.pod, &known.name) {
            self.latest.insert((pod.clone(), name.clone()), id.clone());
        }
        self.containers.insert(id.clone(), known);
    }

    pub(super) fn learn_end(&mut self, id: &ContainerId) {
        let mut known = self.containers.get(id).cloned().unwrap_or_default();
        known.ended = true;
        self.containers.insert(id.clone(), known);
    }

    pub(super) fn learn_sandbox(&mut self, id: &ContainerId, sandbox: bool) {
        let mut known = self.containers.get(id).cloned().unwrap_or_default();
        known.sandbox = Some(sandbox);
        self.containers.insert(id.clone(), known);
    }

    /// Adds to a pod and a container what is known of them.
    pub(super) fn complete(&self, pod: &mut Option<Pod>, container: Option<&mut Container>) {
        let id = container.as_ref().and_then(|container| container.id.as_ref());
        if let Some(uid) = id.and_then(|id| self.pod_of(id)) {
            let pod = pod.get_or_insert_default();
            pod.uid.get_or_insert_with(|| uid.clone());
        }
        if let Some(pod) = pod {
            self.complete_pod(pod);
        }
        let Some(container) = container else { return };
        if let Some(id) = &container.id {
            if container.name.is_none() {
                container.name = self.containers.get(id).and_then(|known| known.name.clone());
            }
        } else if let (Some(uid), Some(name)) = (pod.as_ref().and_then(|pod| pod.uid.as_ref()), &container.name) {
            let latest = self.latest.get(&(uid.clone(), name.clone()));
            let runs = |id: &&ContainerId| self.containers.get(id).is_some_and(|known| !known.ended);
            container.id = latest.filter(runs).cloned();
        }
    }

    pub(super) fn complete_pod(&self, pod: &mut Pod) {
        match pod {
            Pod { uid: None, namespace: Some(namespace), name: Some(name), .. } => {
                pod.uid = self.uid_of(namespace, name).cloned();
            }
            Pod { uid: Some(uid), namespace: namespace @ None, name: name @ None, .. } => {
                if let Some((known_namespace, known_name)) = self.pods.get(uid) {
                    (*namespace, *name) = (Some(known_namespace.clone()), Some(known_name.clone()));
                }
            }
            _ => {}
        }
    }
}
