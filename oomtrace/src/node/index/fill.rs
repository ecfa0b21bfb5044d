//! Names into events.

use super::{ContainerKey, ContainerRecord, InSpec, Index, PodKey};
use crate::event::{
    Container, ContainerId, ContainerRole, Event, Level, Mention, Mentions as _, PlaceMut, Pod, PodUid, Pressure,
};

impl Index {
    /// Fills in what is known of the pods and containers that the event speaks of, and leaves alone what it has already.
    /// Gives whether a name is still missing, so that it may be worth while to wait for it.
    pub fn fill(&self, event: &mut Event) -> bool {
        let mut unnamed = Vec::new();
        self.fill_noting(event, &mut unnamed, &mut Vec::new());
        !unnamed.is_empty()
    }

    /// The same; notes whose names are missing, and of whom the event speaks at all.
    pub fn fill_noting(&self, event: &mut Event, unnamed: &mut Vec<Unnamed>, about: &mut Vec<Unnamed>) {
        Filling { index: self, unnamed, about }.event(event);
    }

    /// A pod that has a name and perhaps no uid, or a uid and no name. By name it is found only if just one is known: a pod
    /// that was made again has the same.
    pub(super) fn pod_of_kubelet(&self, pod: &mut Pod) {
        if let Some(record) = pod.uid.as_ref().and_then(|uid| self.pods.get(&uid.packed())) {
            record.complete(pod);
            return;
        }
        let (None, Some(name), Some(namespace)) = (&pod.uid, &pod.name, &pod.namespace) else { return };
        let mut same = self.pods.iter().filter(|(_, record)| {
            record.name.as_deref() == Some(name) && record.namespace.as_deref() == Some(namespace.as_str())
        });
        if let (Some((key, record)), None) = (same.next(), same.next()) {
            pod.uid = Some(PodUid::from_packed(*key));
            record.complete(pod);
        }
    }
}

/// Who may have no name yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unnamed {
    /// A container; somebody should be asked about it.
    Container(ContainerId),
    /// A pod; a source that knows its containers knows it, too.
    Pod(PodUid),
}

/// One event being filled.
struct Filling<'a> {
    index: &'a Index,
    unnamed: &'a mut Vec<Unnamed>,
    about: &'a mut Vec<Unnamed>,
}

impl Filling<'_> {
    fn event(&mut self, event: &mut Event) {
        event.mentions(&mut |mention| match mention {
            Mention::Place(place) => self.place(place),
            Mention::Bystander(place) => {
                // Not worth while to wait for: they are many. Nor do lines about them wait behind this one.
                let noted = (self.unnamed.len(), self.about.len());
                self.place(place);
                self.unnamed.truncate(noted.0);
                self.about.truncate(noted.1);
            }
            Mention::Pod(pod) => self.index.pod_of_kubelet(pod),
        });
        if let Event::Container(change) = event {
            let role = change.container.as_ref().and_then(|container| container.role);
            change.sandbox = change.sandbox.or(role.map(|role| role == ContainerRole::Sandbox));
        }
        if let Event::Pressure(read) = event {
            let request = self.request_of(read);
            read.request_bytes = read.request_bytes.or(request);
        }
    }

    /// What a container requests, or all of a pod's that run beside each other.
    fn request_of(&self, read: &Pressure) -> Option<u64> {
        let pod = self.index.pods.get(&read.pod.as_ref()?.uid.as_ref()?.packed())?;
        let mut specs = pod.containers.iter();
        match (&read.container, read.level) {
            (Some(container), _) => {
                let name = container.name.as_deref()?;
                specs.find(|spec| *spec.name == *name)?.request_bytes
            }
            (None, Some(Level::Pod)) if !pod.containers.is_empty() => {
                let beside = |spec: &&InSpec| matches!(spec.role, ContainerRole::App | ContainerRole::Sidecar);
                specs.filter(beside).map(|spec| spec.request_bytes).sum()
            }
            _ => None,
        }
    }

    /// A pod and container, as far as the path of their cgroup reported, and that cgroup.
    fn place(&mut self, PlaceMut { pod, container, cgroup_id }: PlaceMut<'_>) {
        let index = self.index;
        let cgroup = cgroup_id.and_then(|id| index.cgroups.get(&id));
        let by_path: Option<PodKey> = pod.as_ref().and_then(|pod| pod.uid.as_ref()).map(PodUid::packed);
        let container_key: Option<ContainerKey> = match container {
            Some(container) => container.id.as_ref().map(ContainerId::packed),
            // Where the path could not be read, or only the cgroup's id came.
            None => cgroup.filter(|_| pod.is_none()).and_then(|cgroup| cgroup.container),
        };
        let record = container_key.as_ref().and_then(|key| index.containers.get(key));
        // A container that its runtime says is another pod's is a claim of the path's maker.
        let record = record.filter(|record| by_path.is_none() || record.pod.is_none() || record.pod == by_path);
        let pod_key = by_path.or(record.and_then(|record| record.pod)).or_else(|| cgroup.and_then(|cgroup| cgroup.pod));
        let pod_record = pod_key.as_ref().and_then(|key| index.pods.get(key));
        if let Some(key) = container_key {
            let id = || ContainerId::from_packed(&key);
            let container = container.get_or_insert_with(|| Container { id: Some(id()), ..Container::default() });
            if let Some(record) = record {
                record.complete(container, pod_record);
            }
            self.about.push(Unnamed::Container(id()));
            if record.is_none_or(ContainerRecord::lacks_a_name) {
                self.unnamed.push(Unnamed::Container(id()));
            }
        }
        if let Some(key) = pod_key {
            let pod = pod.get_or_insert_with(|| Pod { uid: Some(PodUid::from_packed(key)), ..Pod::default() });
            if let Some(record) = pod_record {
                record.complete(pod);
            }
            self.about.push(Unnamed::Pod(PodUid::from_packed(key)));
            if pod.name.is_none() {
                self.unnamed.push(Unnamed::Pod(PodUid::from_packed(key)));
            }
        }
    }
}

impl ContainerRecord {
    fn lacks_a_name(&self) -> bool {
        self.name.is_none() && self.role != Some(ContainerRole::Sandbox)
    }
}
