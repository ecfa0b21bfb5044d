//! What a cgroup's path says: which pod, which container, whose limit.
//!
//! The kubelet makes `kubepods`, below it a cgroup per `QoS` class, and one per pod (`pkg/kubelet/cm`, 1.20 to 1.36);
//! the runtime makes one per container inside its pod's. A guaranteed pod stands directly below `kubepods`.
//!
//! | driver | path |
//! |---|---|
//! | cgroupfs | `/kubepods/burstable/pod<uid>/<container>` |
//! | systemd | `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid, _ for ->.slice/<container>` |
//! | systemd, but not the runtime | `/system.slice/containerd.service/kubepods-pod<uid, _ for ->.slice:cri-containerd:<id>` |
//!
//! `<container>` is `[<prefix>-]<id>[.scope]`: `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`, or
//! `<id>` alone; `kata_<id>` is the virtual machine of a pod's sandbox. A prefix that ends in `conmon` is the container's
//! monitor, a process of the runtime on the node. The sandbox ("pause") of a pod looks like any container: only the runtime
//! knows which it is.
//!
//! Of the same shape and on any host: `/docker/<id>`, `/machine.slice/libpod-<id>.scope`,
//! `/libpod_parent/[<id of Podman's pod>/]libpod-<id>`. cgroup v1 has the same paths as v2.
//!
//! # Above and below: the outermost pod counts
//!
//! Whatever stands above the kubelet's tree is [`outer`](CgroupIdentity::outer): a `--cgroup-root`, or the Docker
//! container that a kind, k3d or minikube node is. Whatever stands below what was recognised is
//! [`nested`](CgroupIdentity::nested): systemd in a container, Docker in a pod, a whole cluster in a pod.
//!
//! A container that may make cgroups can give them any name, also `kubepods/burstable/pod<uid of another pod>/<id>`.
//! Read innermost first, it could have its own OOM kills blamed on that pod. So the OUTERMOST kubelet tree counts: only
//! the node made what lies above the first pod's container, and everything below is that container's word, kept in
//! `nested`.
//!
//! This still reads kind, as a plain container is no pod: there the tree inside it is the outermost. Such a container
//! could make a false tree too; then `outer` names it. A path is a claim; the proof that it is a pod's is that the
//! runtime gives the same path or cgroup id for it.
//!
//! A user may make any cgroup below his own systemd's, `user@<uid>.service`. A tree of a kubelet there is his word: it is
//! [`Level::Other`], of that unit, also where it is that of a rootless Kubernetes.
//!
//! A cluster inside a pod is read as that pod, which is right on the host. oomtrace that runs inside such a cluster
//! uses [`CgroupIdentity::parse_within`] with the cgroup of its own node.
//!
//! # Refused
//!
//! A `pod…` that is not followed by a [`PodUid`] and an id that is not a [`ContainerId`] are not recognised, and so
//! `nested` and [`Level::Other`]. LXC containers have names, no ids: they are [`Level::Other`] too (and `outer` to a
//! kubelet inside).

mod ids;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::ids::{ContainerId, InvalidContainerId, InvalidPodUid, PodUid};
use crate::{Container, Pod};

/// What a cgroup is to Kubernetes: whose limit its limit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A container's, in a pod or not, or one that was made inside it.
    Container,
    /// A pod's: all its containers together.
    Pod,
    /// All burstable, or all best-effort pods together.
    Qos,
    /// All pods together: what is allocatable on the node.
    Kubepods,
    /// The node itself.
    Node,
    /// None of these: a system service, a user's session, a container's monitor.
    #[default]
    Other,
}

/// A pod's quality-of-service class, as Kubernetes spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum QosClass {
    /// Every container's requests equal its limits.
    Guaranteed,
    /// Some container has a request or a limit.
    Burstable,
    /// No container has any.
    BestEffort,
}

/// The container runtime that named a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// containerd: through CRI, or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker: alone, or through cri-dockerd.
    Docker,
    /// Podman.
    Podman,
}

/// Who makes the cgroups: the kubelet's and the runtime's `cgroupDriver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// The kubelet or the runtime itself, as plain directories.
    Cgroupfs,
    /// systemd, as slices and scopes.
    Systemd,
}

/// What a cgroup's path says of it. What it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CgroupIdentity {
    /// What the cgroup is. With [`Level::Container`] there always is a `container_id`.
    pub level: Level,
    /// The pod that it is, or is in.
    pub pod_uid: Option<PodUid>,
    /// That pod's class; the class whose cgroup it is.
    pub qos: Option<QosClass>,
    /// The container that it is, or is in.
    pub container_id: Option<ContainerId>,
    /// The container that the processes here watch over without being part of it: conmon's.
    pub monitor_of: Option<ContainerId>,
    /// The runtime of that container, where the name tells.
    pub runtime: Option<Runtime>,
    /// Who made the kubelet's cgroups; of a container without a pod, who made its cgroup.
    pub driver: Option<Driver>,
    /// Outside of the kubelet's tree, the system's systemd unit that it is, or is in. `None` for a container's own
    /// scope.
    pub unit: Option<String>,
    /// The path below the innermost cgroup recognised here, without a leading `/`. At [`Level::Container`] the limit is
    /// one that was set inside the container, and not the one in the pod's specification.
    pub nested: Option<String>,
    /// The path above the kubelet's tree, where that is not at the root. Can be parsed in its turn: it is the container
    /// that a node of kind is.
    pub outer: Option<String>,
}

impl CgroupIdentity {
    /// The pod that the cgroup is, or is in.
    #[must_use]
    pub fn pod(&self) -> Option<Pod> {
        let uid = self.pod_uid.clone()?;
        Some(Pod { uid: Some(uid), qos: self.qos, ..Pod::default() })
    }

    /// The container that the cgroup is, or is in.
    #[must_use]
    pub fn container(&self) -> Option<Container> {
        let id = self.container_id.clone()?;
        Some(Container { id: Some(id), ..Container::default() })
    }

    /// Reads a path from the root of its hierarchy, as the kernel or `/proc/PID/cgroup` has it. Bytes that are not
    /// UTF-8 may have been replaced: what is recognised is ASCII. Whatever is not recognised is [`Level::Other`].
    #[must_use]
    pub fn parse(path: &str) -> Self {
        // `/proc/PID/cgroup` says so of a cgroup that has gone while the process is a zombie (cgroups(7)).
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Self { level: if path.is_empty() { Level::Other } else { Level::Node }, ..Self::default() };
        }
        let kubelets = (0..names.len()).find_map(|at| Some((at, Self::of_kubelet(&names[..at], &names[at..])?)));
        if kubelets.as_ref().is_some_and(|(at, _)| names[..*at].iter().any(|name| is_a_users(name))) {
            return Self::of_unit(&names);
        }
        kubelets
            .map(|(_, identity)| identity)
            .or_else(|| (0..names.len()).find_map(|at| Self::of_container(&names[..at], &names[at..])))
            .unwrap_or_else(|| Self::of_unit(&names))
    }

    /// Whether the node made the cgroup for a pod or a container: not one that a container made inside itself, nor a
    /// monitor's.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self.level, Level::Pod | Level::Container) && self.nested.is_none()
    }

    /// Reads a path as the node sees it whose own cgroup is `node`: a node of kind, in a container or in another
    /// cluster's pod. There `node` itself is [`Level::Node`]. A path that is not below `node` is read as
    /// [`parse`](Self::parse) does.
    #[must_use]
    pub fn parse_within(node: &str, path: &str) -> Self {
        let node = node.trim_end_matches('/');
        let below = match path.strip_prefix(node) {
            Some("") if !node.is_empty() => "/",
            Some(below) if !node.is_empty() && below.starts_with('/') => below,
            _ => return Self::parse(path),
        };
        let identity = Self::parse(below);
        let outer = format!("{node}{}", identity.outer.as_deref().unwrap_or_default());
        Self { outer: Some(outer), ..identity }
    }

    /// The kubelet's cgroup with which `names` begin, or one below it.
    fn of_kubelet(above: &[&str], names: &[&str]) -> Option<Self> {
        let KubeletCgroup { driver, qos, pod_uid, container, below } = KubeletCgroup::read(names)?;
        let nested = joined(container.as_ref().map_or(below, |container| container.inside(below)));
        let level = match (&container, &nested) {
            (Some(leaf), _) if leaf.monitor => Level::Other,
            (Some(_), _) => Level::Container,
            (None, Some(_)) => Level::Other,
            (None, None) if pod_uid.is_some() => Level::Pod,
            (None, None) if qos.is_some() => Level::Qos,
            (None, None) => Level::Kubepods,
        };
        let outer = joined(above).map(|above| format!("/{above}"));
        let identity = Self { level, pod_uid, qos, driver: Some(driver), nested, outer, ..Self::default() };
        Some(match container {
            Some(leaf) => identity.with(leaf),
            None => identity,
        })
    }

    /// The container with which `names` begin, outside of every kubelet's tree, or a cgroup below it.
    fn of_container(above: &[&str], names: &[&str]) -> Option<Self> {
        let (name, below) = names.split_first()?;
        let mut leaf = Leaf::read(name)?;
        if leaf.monitor {
            return Some(Self::of_unit(&[above, names].concat()).with(leaf));
        }
        match above.last() {
            Some(&"docker") => leaf.runtime = Some(Runtime::Docker),
            // Podman's pod: its containers have a prefix (`libpod/runtime_pod_linux.go`).
            Some(&"libpod_parent") if leaf.runtime.is_none() => return None,
            _ => {}
        }
        let driver = if leaf.scope { Driver::Systemd } else { Driver::Cgroupfs };
        let unit = unit(above).map(|(name, _)| name.to_owned());
        let nested = joined(leaf.inside(below));
        Some(Self { level: Level::Container, driver: Some(driver), unit, nested, ..Self::default() }.with(leaf))
    }

    /// Neither a pod's nor a container's: a unit's, or in a unit's; a slice's, where there are only slices.
    fn of_unit(names: &[&str]) -> Self {
        let only_slices = names.iter().all(|name| unit_type(name) == Some("slice"));
        let slice = names.last().filter(|_| only_slices).map(|name| (*name, &[][..]));
        let Some((name, below)) = unit(names).or(slice) else { return Self::default() };
        Self { unit: Some(name.to_owned()), nested: joined(below), ..Self::default() }
    }

    fn with(self, Leaf { id, monitor, runtime, scope: _ }: Leaf) -> Self {
        let (container_id, monitor_of) = if monitor { (None, Some(id)) } else { (Some(id), None) };
        Self { container_id, monitor_of, runtime, ..self }
    }
}

/// Whether a cgroup is a user's to make cgroups in as he likes: his own systemd's.
fn is_a_users(name: &str) -> bool {
    name.strip_prefix("user@").is_some_and(|user| user.ends_with(".service"))
}

/// The innermost of the cgroups that the kubelet made, and the container's below it.
struct KubeletCgroup<'a> {
    driver: Driver,
    qos: Option<QosClass>,
    pod_uid: Option<PodUid>,
    container: Option<Leaf>,
    below: &'a [&'a str],
}

impl<'a> KubeletCgroup<'a> {
    fn read(names: &'a [&'a str]) -> Option<Self> {
        let (first, below) = names.split_first()?;
        let (driver, Place { qos, pod_uid }, below) = if *first == "kubepods" {
            let (place, below) = directories(below);
            (Driver::Cgroupfs, place, below)
        } else if let Some((slice, container)) = first.split_once(".slice:") {
            // runc's `<slice>:<prefix>:<id>`, taken for a directory's name by a runtime that is not set to systemd.
            let Place { qos, pod_uid } = Place::of_slice(slice)?;
            let container = Leaf::read(container);
            let below = if container.is_some() { below } else { names };
            return Some(Self { driver: Driver::Systemd, qos, pod_uid, container, below });
        } else {
            let (place, below) = slices(first.strip_suffix(".slice")?, below)?;
            (Driver::Systemd, place, below)
        };
        // Only a pod has containers.
        let container = below.first().filter(|_| pod_uid.is_some()).and_then(|name| Leaf::read(name));
        let below = if container.is_some() { &below[1..] } else { below };
        Some(Self { driver, qos, pod_uid, container, below })
    }
}

/// `[burstable/|besteffort/][pod<uid>/]` below `kubepods`, and what follows.
fn directories<'a>(below: &'a [&'a str]) -> (Place, &'a [&'a str]) {
    let qos = below.first().and_then(|name| qos_class(name));
    let below = if qos.is_some() { &below[1..] } else { below };
    match below.first().and_then(|name| name.strip_prefix("pod")?.parse().ok()) {
        Some(uid) => (Place::pod(uid, qos), &below[1..]),
        None => (Place { qos, pod_uid: None }, below),
    }
}

/// The innermost of the kubelet's slices that `slice` and the names below it are, and what follows.
fn slices<'a>(mut slice: &'a str, mut below: &'a [&'a str]) -> Option<(Place, &'a [&'a str])> {
    let mut place = Place::of_slice(slice)?;
    // To systemd `a-b.slice` is `a.slice`'s child, and nothing else is.
    while let [name, rest @ ..] = below
        && let Some(child) = name.strip_suffix(".slice")
        && child.strip_prefix(slice).is_some_and(|own| own.starts_with('-'))
        && let Some(deeper) = Place::of_slice(child)
    {
        (slice, place, below) = (child, deeper, rest);
    }
    Some((place, below))
}

/// Where in the kubelet's tree a cgroup is.
struct Place {
    qos: Option<QosClass>,
    pod_uid: Option<PodUid>,
}

impl Place {
    /// A pod with no class in its path is a guaranteed one.
    fn pod(uid: PodUid, qos: Option<QosClass>) -> Self {
        Self { qos: qos.or(Some(QosClass::Guaranteed)), pod_uid: Some(uid) }
    }

    /// `[<cgroup root>-]kubepods[-burstable|-besteffort][-pod<uid>]`, a slice's name without `.slice`: its parents'
    /// names are in it, so it tells all by itself.
    fn of_slice(name: &str) -> Option<Self> {
        let (_, below) = name.rsplit_once("kubepods").filter(|(root, _)| root.is_empty() || root.ends_with('-'))?;
        let (class, uid) = match below.split_once("-pod") {
            Some((class, uid)) => (class, Some(uid.parse().ok()?)),
            None => (below, None),
        };
        let qos = if class.is_empty() { None } else { Some(qos_class(class.strip_prefix('-')?)?) };
        Some(uid.map_or(Self { qos, pod_uid: None }, |uid| Self::pod(uid, qos)))
    }
}

fn qos_class(name: &str) -> Option<QosClass> {
    match name {
        "burstable" => Some(QosClass::Burstable),
        "besteffort" => Some(QosClass::BestEffort),
        _ => None,
    }
}

/// The last cgroup that a runtime makes: a container's, or its monitor's.
struct Leaf {
    id: ContainerId,
    monitor: bool,
    runtime: Option<Runtime>,
    scope: bool,
}

impl Leaf {
    /// `[<prefix>-]<id>[.scope]`, `<prefix>:<id>`, or `kata_<id>`.
    fn read(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".scope").unwrap_or(name);
        let kata = stem.strip_prefix("kata_").map(|id| ("kata", id));
        let (prefix, id) = kata.or_else(|| stem.rsplit_once(['-', ':'])).unwrap_or(("", stem));
        let runtime = match prefix {
            "cri-containerd" | "nerdctl" => Some(Runtime::Containerd),
            "crio" | "crio-conmon" => Some(Runtime::CriO),
            "docker" => Some(Runtime::Docker),
            // `libpod-payload` in a unit's own cgroup (`podman run --cgroups=split`, Quadlet).
            "libpod" | "libpod-payload" | "libpod-conmon" => Some(Runtime::Podman),
            _ => None,
        };
        Some(Self { id: id.parse().ok()?, monitor: prefix.ends_with("conmon"), runtime, scope: stem != name })
    }

    /// What of `below` lies inside the container's cgroup.
    ///
    /// crun of 2020 to 2025 puts a container's processes and limits into `container` below its scope, unless told not
    /// to (containers/crun#305, undone by #1768): the kernel then names that cgroup, and it is the container's own.
    fn inside<'a>(&self, below: &'a [&'a str]) -> &'a [&'a str] {
        below.strip_prefix(&["container"]).filter(|_| self.scope).unwrap_or(below)
    }
}

/// The system manager's unit with which `names` begin, and what follows: the first unit below slices, as systemd itself
/// reads a path (`src/basic/cgroup-util.c`, `cg_path_get_unit`).
fn unit<'a>(names: &'a [&'a str]) -> Option<(&'a str, &'a [&'a str])> {
    let slices = names.iter().take_while(|name| unit_type(name) == Some("slice")).count();
    let (name, below) = names[slices..].split_first()?;
    matches!(unit_type(name), Some("service" | "scope" | "mount" | "socket" | "swap")).then_some((*name, below))
}

fn unit_type(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(_, unit_type)| unit_type)
}

fn joined(names: &[&str]) -> Option<String> {
    (!names.is_empty()).then(|| names.join("/"))
}
