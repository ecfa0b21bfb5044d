//! Which pod and container a cgroup is: everything that the [sources](super::names) reported, kept right in time.
//!
//! What never changes is the key: a container's id, a pod's uid, a cgroup's id. Names are looked up by these alone, so a
//! pod that was made again under the same name (a `StatefulSet`'s), a container that was restarted and a reused pid are never
//! taken for their predecessors. What has ended is kept for a while, because the questions come after the end.
//!
//! Pure: it opens nothing and reads no clock. Ids are kept as bytes and equal texts once, so that ten thousand containers
//! take a few MiB.

mod fill;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc, time::Duration};

pub use self::fill::Unnamed;
use super::{
    cgroup_path::{CgroupIdentity, ContainerId, PodUid, QosClass},
    fact::{ContainerFact, Fact, NameSource, PodFact, SpecContainer},
};
use crate::event::{Container, ContainerRole, Owner, Pod};
use oomtrace_model::bounded::Bounded;

/// How much the index keeps.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At most so many containers, as many pods, and twice as many cgroups.
    pub entries: usize,
    /// How long after the end.
    pub keep: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 10_000, keep: Duration::from_mins(10) }
    }
}

/// What is known of the node's pods and containers.
pub struct Index {
    containers: Bounded<ContainerKey, ContainerRecord>,
    pods: Bounded<PodKey, PodRecord>,
    cgroups: Bounded<u64, CgroupRecord>,
    texts: HashSet<Arc<str>>,
    keep_ns: u64,
}

type ContainerKey = [u8; 32];
type PodKey = ([u8; 16], bool);

#[derive(Default)]
struct ContainerRecord {
    pod: Option<PodKey>,
    name: Option<Arc<str>>,
    image: Option<Arc<str>>,
    restart_count: Option<u32>,
    role: Option<ContainerRole>,
    limit_bytes: Option<u64>,
    cgroup_id: Option<u64>,
    source: Option<NameSource>,
}

#[derive(Default)]
struct PodRecord {
    namespace: Option<Arc<str>>,
    name: Option<Arc<str>>,
    qos: Option<QosClass>,
    owner: Option<(Arc<str>, Arc<str>)>,
    labels: Box<[(Arc<str>, Arc<str>)]>,
    limit_bytes: Option<u64>,
    containers: Box<[InSpec]>,
    source: Option<NameSource>,
}

/// A container of a pod's specification.
struct InSpec {
    name: Arc<str>,
    role: ContainerRole,
    limit_bytes: Option<u64>,
    request_bytes: Option<u64>,
}

#[derive(Default)]
struct CgroupRecord {
    container: Option<ContainerKey>,
    pod: Option<PodKey>,
    /// Whether it is the container's or the pod's own: not one inside it, whose end is not theirs.
    own: bool,
}

/// What is known of one container and its pod: for people who ask, events take it by [`Index::fill`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownNames {
    /// Its pod.
    pub pod: Option<Pod>,
    /// The pod's labels.
    pub labels: Vec<(String, String)>,
    /// The container.
    pub container: Option<Container>,
    /// The limit of its specification.
    pub limit_bytes: Option<u64>,
    /// Who reported its name; where it has none, its pod's.
    pub source: Option<NameSource>,
    /// Whether it has ended.
    pub ended: bool,
}

impl Index {
    /// An index that knows nothing yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let Bounds { entries, keep } = bounds;
        Self {
            containers: Bounded::new(entries),
            pods: Bounded::new(entries),
            // A container's and its pod's.
            cgroups: Bounded::new(entries.saturating_mul(2)),
            texts: HashSet::new(),
            keep_ns: u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Takes in what a source reported. `now_ns` is of any clock that does not go back.
    pub fn learn(&mut self, fact: Fact, now_ns: u64) {
        match fact {
            Fact::Cgroup { id, path } => self.cgroup(id, &path, now_ns),
            Fact::CgroupGone { id } => self.cgroup_gone(id, now_ns),
            Fact::Container(fact) => self.container(fact, now_ns),
            Fact::ContainerGone { id } => self.containers.end(&id.packed(), now_ns),
            Fact::Pod(fact) => self.pod(fact, now_ns),
            Fact::PodGone { uid } => self.pods.end(&uid.packed(), now_ns),
        }
    }

    /// Forgets what ended too long ago. To be called now and then: every few seconds.
    pub fn sweep(&mut self, now_ns: u64) {
        let Self { containers, pods, cgroups, texts, keep_ns } = self;
        containers.sweep(now_ns, *keep_ns);
        pods.sweep(now_ns, *keep_ns);
        cgroups.sweep(now_ns, *keep_ns);
        texts.retain(|text| Arc::strong_count(text) > 1);
    }

    /// How many containers are known, the ended among them.
    #[must_use]
    pub fn containers(&self) -> usize {
        self.containers.len()
    }

    /// What is known of a container.
    #[must_use]
    pub fn known(&self, id: &ContainerId) -> Option<KnownNames> {
        let key = id.packed();
        let record = self.containers.get(&key)?;
        let pod = record.pod.as_ref().and_then(|pod| self.pods.get(pod));
        let mut container = Container { id: Some(id.clone()), ..Container::default() };
        record.complete(&mut container, pod);
        Some(KnownNames {
            pod: record.pod.map(|key| known_pod(key, pod)),
            labels: pod.map(labels).unwrap_or_default(),
            limit_bytes: record.limit_bytes.or(record.in_spec(pod).and_then(|spec| spec.limit_bytes)),
            container: Some(container),
            source: record.source.or(pod.and_then(|pod| pod.source)),
            ended: self.containers.has_ended(&key),
        })
    }

    /// What is known of a pod.
    #[must_use]
    pub fn known_pod(&self, uid: &PodUid) -> Option<KnownNames> {
        let key = uid.packed();
        let record = self.pods.get(&key)?;
        Some(KnownNames {
            pod: Some(known_pod(key, Some(record))),
            labels: labels(record),
            container: None,
            limit_bytes: record.limit_bytes,
            source: record.source,
            ended: self.pods.has_ended(&key),
        })
    }

    /// What is known of a cgroup: its container, or its pod.
    #[must_use]
    pub fn known_cgroup(&self, id: u64) -> Option<KnownNames> {
        let record = self.cgroups.get(&id)?;
        match (record.container, record.pod) {
            (Some(container), _) => self.known(&ContainerId::from_packed(&container)),
            (None, Some(pod)) => self.known_pod(&PodUid::from_packed(pod)),
            (None, None) => None,
        }
    }

    fn cgroup(&mut self, id: u64, path: &str, now_ns: u64) {
        let identity = CgroupIdentity::parse(path);
        let own = identity.is_own();
        let CgroupIdentity { container_id, pod_uid, qos, .. } = identity;
        let (container, pod) = (container_id.map(|id| id.packed()), pod_uid.map(|uid| uid.packed()));
        if container.is_none() && pod.is_none() {
            return;
        }
        *self.cgroups.report(id, now_ns) = CgroupRecord { container, pod, own };
        self.cgroups.revive(&id);
        if let Some(key) = container {
            let record = self.containers.report(key, now_ns);
            record.pod = pod.or(record.pod);
            if own {
                record.cgroup_id = Some(id);
                self.containers.revive(&key);
            }
        }
        if let Some(key) = pod {
            self.pods.report(key, now_ns).qos = qos;
            if own {
                self.pods.revive(&key);
            }
        }
    }

    fn cgroup_gone(&mut self, id: u64, now_ns: u64) {
        self.cgroups.end(&id, now_ns);
        match self.cgroups.get(&id) {
            // A container that was started again may have another one by now.
            Some(CgroupRecord { container: Some(container), own: true, .. })
                if self.containers.get(container).is_some_and(|record| record.cgroup_id == Some(id)) =>
            {
                self.containers.end(container, now_ns);
            }
            Some(CgroupRecord { container: None, pod: Some(pod), own: true }) => self.pods.end(pod, now_ns),
            _ => {}
        }
    }

    fn container(&mut self, fact: ContainerFact, now_ns: u64) {
        let ContainerFact { source, id, pod, name, image, restart_count, role, limit_bytes, ended } = fact;
        let (name, image) = (self.intern(name), self.intern(image));
        let key = id.packed();
        let record = self.containers.report(key, now_ns);
        let better = record.source.is_none_or(|before| source >= before);
        take(&mut record.pod, pod.map(|uid| uid.packed()), better);
        if name.is_some() && (better || record.name.is_none()) {
            record.source = Some(source);
        }
        take(&mut record.name, name, better);
        take(&mut record.image, image, better);
        take(&mut record.restart_count, restart_count, better);
        take(&mut record.role, role, better);
        take(&mut record.limit_bytes, limit_bytes, better);
        if ended {
            self.containers.end(&key, now_ns);
        }
    }

    fn pod(&mut self, fact: PodFact, now_ns: u64) {
        let PodFact { source, uid, namespace, name, qos, owner, labels, limit_bytes, containers } = fact;
        let (namespace, name) = (self.intern(namespace), self.intern(name));
        let owner = owner.map(|Owner { kind, name }| (self.text(&kind), self.text(&name)));
        let labels =
            labels.map(|labels| labels.iter().map(|(key, value)| (self.text(key), self.text(value))).collect());
        let containers = containers.map(|containers| {
            let containers = containers.into_iter();
            containers
                .map(|SpecContainer { name, role, limit_bytes, request_bytes }| InSpec {
                    name: self.text(&name),
                    role,
                    limit_bytes,
                    request_bytes,
                })
                .collect()
        });
        let record = self.pods.report(uid.packed(), now_ns);
        let better = record.source.is_none_or(|before| source >= before);
        if name.is_some() && (better || record.name.is_none()) {
            record.source = Some(source);
        }
        take(&mut record.namespace, namespace, better);
        take(&mut record.name, name, better);
        take(&mut record.qos, qos, better);
        take(&mut record.owner, owner, true);
        take(&mut record.limit_bytes, limit_bytes, better);
        if let Some(labels) = labels {
            record.labels = labels;
        }
        if let Some(containers) = containers {
            record.containers = containers;
        }
    }

    fn intern(&mut self, text: Option<String>) -> Option<Arc<str>> {
        text.map(|text| self.text(&text))
    }

    /// The one copy of a text.
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text = Arc::<str>::from(text);
        self.texts.insert(Arc::clone(&text));
        text
    }
}

/// Takes over what is reported: always into a gap, over what is there only from a `better` source.
fn take<T>(field: &mut Option<T>, reported: Option<T>, better: bool) {
    if reported.is_some() && (better || field.is_none()) {
        *field = reported;
    }
}

/// Into a gap what is known; what is there already costs nothing.
fn fill<T>(field: &mut Option<T>, known: impl FnOnce() -> Option<T>) {
    if field.is_none() {
        *field = known();
    }
}

fn text(text: Option<&Arc<str>>) -> Option<String> {
    text.map(|text| text.as_ref().to_owned())
}

fn labels(pod: &PodRecord) -> Vec<(String, String)> {
    pod.labels.iter().map(|(key, value)| (key.as_ref().to_owned(), value.as_ref().to_owned())).collect()
}

fn known_pod(key: PodKey, record: Option<&PodRecord>) -> Pod {
    let mut pod = Pod { uid: Some(PodUid::from_packed(key)), ..Pod::default() };
    if let Some(record) = record {
        record.complete(&mut pod);
    }
    pod
}

impl PodRecord {
    /// Fills what is missing.
    fn complete(&self, pod: &mut Pod) {
        let Pod { namespace, name, uid: _, qos, owner } = pod;
        fill(namespace, || text(self.namespace.as_ref()));
        fill(name, || text(self.name.as_ref()));
        fill(qos, || self.qos);
        let owned = |(kind, name): &(Arc<str>, Arc<str>)| Owner { kind: kind.to_string(), name: name.to_string() };
        fill(owner, || self.owner.as_ref().map(owned));
    }
}

impl ContainerRecord {
    /// Its place in its pod's specification, by its name.
    fn in_spec<'a>(&self, pod: Option<&'a PodRecord>) -> Option<&'a InSpec> {
        pod?.containers.iter().find(|spec| self.name.as_ref() == Some(&spec.name))
    }

    /// Fills what is missing.
    fn complete(&self, container: &mut Container, pod: Option<&PodRecord>) {
        let Container { name, id: _, image, restart_count, role } = container;
        fill(name, || text(self.name.as_ref()));
        fill(image, || text(self.image.as_ref()));
        fill(restart_count, || self.restart_count);
        fill(role, || self.role.or_else(|| self.in_spec(pod).map(|spec| spec.role)));
    }
}
