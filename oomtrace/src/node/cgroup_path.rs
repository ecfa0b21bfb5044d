//! A cgroup's path, read as the kubelet and the container runtimes write it.
//!
//! The kubelet makes `kubepods`, a cgroup per `QoS` class below it, and one per pod (`pkg/kubelet/cm`, 1.20 to 1.36); the
//! runtime makes one per container in its pod's. Two drivers spell that in two ways:
//!
//! * cgroupfs: `/kubepods/burstable/pod<uid>/<container id>`
//! * systemd: `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid with _>.slice/cri-containerd-<id>.scope`
//!
//! Anything may stand before that (`--cgroup-root`, a node that is itself a container, as kind's) and after it (a
//! container that makes cgroups of its own). Where several pods are nested, the OUTERMOST counts: it is the one that this
//! node's kubelet made, while a container could make cgroups below its own that look like another pod's.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a cgroup is to Kubernetes: whose limit its limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A container's, or one that the container made inside its own.
    Container,
    /// A pod's.
    Pod,
    /// The one of all burstable, or all best-effort pods.
    Qos,
    /// The one of all pods: what is allocatable on the node.
    Kubepods,
    /// The node itself.
    Node,
    /// None of Kubernetes: a system service, a user's session.
    Other,
}

/// A pod's quality-of-service class, as Kubernetes spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QosClass {
    /// Requests equal limits.
    Guaranteed,
    /// Some requests or limits.
    Burstable,
    /// No requests, no limits.
    BestEffort,
}

/// A pod's uid: 36 characters from the API server, or the 32 hexadecimal digits of a static pod's manifest hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUid(String);

/// Why a text is not a pod's uid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a UUID nor a hash of 32 hexadecimal digits")]
pub struct NotAPodUid(String);

impl FromStr for PodUid {
    type Err = NotAPodUid;

    /// Takes dashes, or the underscores that the systemd driver has in their place.
    fn from_str(text: &str) -> Result<Self, NotAPodUid> {
        let uid = text.replace('_', "-").to_ascii_lowercase();
        let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_uuid = uid.len() == 36 && uid.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && uid.split('-').all(hex);
        let is_hash = uid.len() == 32 && hex(&uid);
        if is_uuid || is_hash { Ok(Self(uid)) } else { Err(NotAPodUid(text.to_owned())) }
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container's id: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerId(String);

/// Why a text is not a container's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not 64 hexadecimal digits")]
pub struct NotAContainerId(String);

impl FromStr for ContainerId {
    type Err = NotAContainerId;

    fn from_str(text: &str) -> Result<Self, NotAContainerId> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAContainerId(text.to_owned()))
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a cgroup's path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupIdentity {
    /// What the cgroup is.
    pub level: Level,
    /// The pod that it is, or is in.
    pub pod_uid: Option<PodUid>,
    /// That pod's class.
    pub qos: Option<QosClass>,
    /// The container that it is, or is in: the pod's where there is one.
    pub container_id: Option<ContainerId>,
    /// What the runtime puts before the id: `cri-containerd`, `crio`, `docker`, `libpod`.
    pub runtime: Option<String>,
}

/// What one name of a path says.
enum Segment {
    Kubepods,
    Qos(QosClass),
    Pod { uid: PodUid, qos: Option<QosClass>, container: Option<(Option<String>, ContainerId)> },
    Container(Option<String>, ContainerId),
    Unknown,
}

impl CgroupIdentity {
    /// Reads a path. Whatever is not recognised is [`Level::Other`].
    #[must_use]
    pub fn parse(path: &str) -> Self {
        let mut found = Self { level: Level::Other, pod_uid: None, qos: None, container_id: None, runtime: None };
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        if names.peek().is_none() {
            found.level = Level::Node;
        }
        let mut in_kubepods = false;
        for name in names {
            if found.pod_uid.is_some() && found.container_id.is_some() {
                // Inside a pod's container: all that follows is the container's own.
                break;
            }
            found.level = match segment(name, in_kubepods) {
                Segment::Kubepods => {
                    in_kubepods = true;
                    // A node that is a container: what its kubelet makes counts.
                    (found.container_id, found.runtime) = (None, None);
                    Level::Kubepods
                }
                Segment::Qos(class) => {
                    found.qos = Some(class);
                    Level::Qos
                }
                Segment::Pod { uid, qos, container } if found.pod_uid.is_none() => {
                    found.qos = qos.or(found.qos).or(Some(QosClass::Guaranteed));
                    found.pod_uid = Some(uid);
                    let (runtime, id) = container.unzip();
                    (found.runtime, found.container_id) = (runtime.flatten(), id);
                    if found.container_id.is_some() { Level::Container } else { Level::Pod }
                }
                Segment::Container(runtime, id) if found.container_id.is_none() => {
                    (found.runtime, found.container_id) = (runtime, Some(id));
                    Level::Container
                }
                _ if found.container_id.is_some() => Level::Container,
                _ => Level::Other,
            };
        }
        found
    }
}

fn segment(name: &str, in_kubepods: bool) -> Segment {
    if let Some((slice, container)) = name.split_once(".slice:") {
        // A runtime set to the cgroupfs driver, given a systemd path: `<slice>:cri-containerd:<id>` as one name.
        let (prefix, id) = container.split_once(':').unwrap_or(("", container));
        return match (pod_slice(slice), id.parse()) {
            (Some((uid, qos)), Ok(id)) => Segment::Pod { uid, qos, container: Some((Some(prefix.to_owned()), id)) },
            _ => Segment::Unknown,
        };
    }
    if let Some(slice) = name.strip_suffix(".slice") {
        if let Some((uid, qos)) = pod_slice(slice) {
            return Segment::Pod { uid, qos, container: None };
        }
        let last = slice.rsplit('-').next().unwrap_or(slice);
        let is_child =
            slice.strip_suffix(last).is_some_and(|parent| parent.trim_end_matches('-').ends_with("kubepods"));
        return match (last, qos_class(last)) {
            ("kubepods", _) => Segment::Kubepods,
            (_, Some(class)) if is_child => Segment::Qos(class),
            _ => Segment::Unknown,
        };
    }
    if let Some((runtime, id)) = container(name) {
        return Segment::Container(runtime, id);
    }
    if name == "kubepods" {
        return Segment::Kubepods;
    }
    match (name.strip_prefix("pod").map(PodUid::from_str), qos_class(name)) {
        (Some(Ok(uid)), _) if in_kubepods => Segment::Pod { uid, qos: None, container: None },
        (_, Some(class)) if in_kubepods => Segment::Qos(class),
        _ => Segment::Unknown,
    }
}

/// `[<prefix>-]kubepods[-burstable|-besteffort]-pod<uid>`, without `.slice`.
fn pod_slice(slice: &str) -> Option<(PodUid, Option<QosClass>)> {
    let (parent, uid) = slice.rsplit_once("-pod")?;
    let uid = uid.parse().ok()?;
    let qos = parent.rsplit('-').next().and_then(qos_class);
    let root = if qos.is_some() { parent.rsplit_once('-')?.0 } else { parent };
    (root.rsplit('-').next() == Some("kubepods")).then_some((uid, qos))
}

fn qos_class(name: &str) -> Option<QosClass> {
    match name {
        "burstable" => Some(QosClass::Burstable),
        "besteffort" => Some(QosClass::BestEffort),
        _ => None,
    }
}

/// `[<runtime>-]<id>[.scope]`. The scope of a container's monitor (`crio-conmon-<id>`) is not the container's.
fn container(name: &str) -> Option<(Option<String>, ContainerId)> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (runtime, id) = match name.rsplit_once('-') {
        Some((runtime, id)) => (Some(runtime), id),
        None => (None, name),
    };
    if runtime.is_some_and(|runtime| runtime.ends_with("conmon")) {
        return None;
    }
    Some((runtime.map(ToOwned::to_owned), id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: &str = "109b8c09d2ea5e615b46acb0c782163570a8d00be849071b930fc8bf900ceb35";
    const D: &str = "795339be94ab6230e5b973d90e689bb38d0567f061eba5b35a94beaa20a0843f";
    const U: &str = "c8119223-23d2-4099-bf62-d501a2753c91";
    const V: &str = "13988cfa-3f13-431a-b298-a4694750cf27";
    const HASH: &str = "df465823e70c8abfd71f22990142be6a";

    /// Path with `C`, `D`, `U`, `V` (and `U_`, `V_` with underscores) filled in; level; uid; class; container; runtime.
    type Row =
        (&'static str, Level, Option<&'static str>, Option<QosClass>, Option<&'static str>, Option<&'static str>);

    const BURSTABLE: Option<QosClass> = Some(QosClass::Burstable);
    const BEST_EFFORT: Option<QosClass> = Some(QosClass::BestEffort);
    const GUARANTEED: Option<QosClass> = Some(QosClass::Guaranteed);

    #[rustfmt::skip]
    const PATHS: &[Row] = &[
        ("/", Level::Node, None, None, None, None),
        // kubelet 1.36 with containerd, systemd driver: as recorded on a node.
        ("/kubepods.slice", Level::Kubepods, None, None, None, None),
        ("/kubepods.slice/kubepods-burstable.slice", Level::Qos, None, BURSTABLE, None, None),
        ("/kubepods.slice/kubepods-besteffort.slice", Level::Qos, None, BEST_EFFORT, None, None),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U_}.slice", Level::Pod, Some(U), BURSTABLE, None, None),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U_}.slice/cri-containerd-{C}.scope", Level::Container, Some(U), BURSTABLE, Some(C), Some("cri-containerd")),
        ("/kubepods.slice/kubepods-pod{U_}.slice/cri-containerd-{C}.scope", Level::Container, Some(U), GUARANTEED, Some(C), Some("cri-containerd")),
        // A static pod: its uid is the hash of its manifest.
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poddf465823e70c8abfd71f22990142be6a.slice", Level::Pod, Some(HASH), BURSTABLE, None, None),
        // CRI-O and cri-dockerd; CRI-O's monitor is not the container.
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U_}.slice/crio-{C}.scope", Level::Container, Some(U), BEST_EFFORT, Some(C), Some("crio")),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U_}.slice/crio-conmon-{C}.scope", Level::Other, Some(U), BEST_EFFORT, None, None),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U_}.slice/docker-{C}.scope", Level::Container, Some(U), BEST_EFFORT, Some(C), Some("docker")),
        // cgroupfs driver.
        ("/kubepods", Level::Kubepods, None, None, None, None),
        ("/kubepods/burstable", Level::Qos, None, BURSTABLE, None, None),
        ("/kubepods/burstable/pod{U}", Level::Pod, Some(U), BURSTABLE, None, None),
        ("/kubepods/burstable/pod{U}/{C}", Level::Container, Some(U), BURSTABLE, Some(C), None),
        ("/kubepods/pod{U}/{C}", Level::Container, Some(U), GUARANTEED, Some(C), None),
        ("/kubepods/besteffort/pod{U}/crio-{C}", Level::Container, Some(U), BEST_EFFORT, Some(C), Some("crio")),
        // A limit that a container sets inside itself is still the container's.
        ("/kubepods/burstable/pod{U}/{C}/init.scope", Level::Container, Some(U), BURSTABLE, Some(C), None),
        // --cgroup-root, and a node that is a container (kind): as seen inside it and from its host.
        ("/kubelet/kubepods/burstable/pod{U}/{C}", Level::Container, Some(U), BURSTABLE, Some(C), None),
        ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{U_}.slice/cri-containerd-{C}.scope", Level::Container, Some(U), BURSTABLE, Some(C), Some("cri-containerd")),
        ("/system.slice/docker-{D}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{U_}.slice", Level::Pod, Some(U), GUARANTEED, None, None),
        ("/system.slice/docker-{D}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{U_}.slice/cri-containerd-{C}.scope", Level::Container, Some(U), GUARANTEED, Some(C), Some("cri-containerd")),
        ("/docker/{D}/kubelet/kubepods", Level::Kubepods, None, None, None, None),
        ("/docker/{D}/kubelet/kubepods/besteffort/pod{U}/{C}", Level::Container, Some(U), BEST_EFFORT, Some(C), None),
        // What a container makes below its own cgroup to look like another pod does not count.
        ("/kubepods/burstable/pod{U}/{C}/kubepods/burstable/pod{V}/{D}", Level::Container, Some(U), BURSTABLE, Some(C), None),
        // containerd under systemd, told of a systemd path while it uses the cgroupfs driver.
        ("/system.slice/containerd.service/kubepods-burstable-pod{U_}.slice:cri-containerd:{C}", Level::Container, Some(U), BURSTABLE, Some(C), Some("cri-containerd")),
        // Without Kubernetes.
        ("/docker/{C}", Level::Container, None, None, Some(C), None),
        ("/system.slice/docker-{C}.scope", Level::Container, None, None, Some(C), Some("docker")),
        ("/machine.slice/libpod-{C}.scope/container", Level::Container, None, None, Some(C), Some("libpod")),
        ("/machine.slice/libpod-conmon-{C}.scope", Level::Other, None, None, None, None),
        ("/system.slice/nginx.service", Level::Other, None, None, None, None),
        ("/user.slice/user-1000.slice/session-3.scope", Level::Other, None, None, None, None),
        // Not quite.
        ("/podruntime/pod{U}", Level::Other, None, None, None, None),
        ("/kubepods/burstable/podcasts", Level::Other, None, BURSTABLE, None, None),
        ("/burstable/pod{U}/not-an-id", Level::Other, None, None, None, None),
    ];

    fn fill(template: &str) -> String {
        template
            .replace("{U_}", &U.replace('-', "_"))
            .replace("{U}", U)
            .replace("{V}", V)
            .replace("{C}", C)
            .replace("{D}", D)
    }

    #[test]
    fn paths_of_every_driver_and_runtime_give_pod_class_container_and_level() {
        for (template, level, uid, qos, id, runtime) in PATHS {
            let path = fill(template);
            let found = CgroupIdentity::parse(&path);
            let texts = (found.pod_uid.map(|uid| uid.to_string()), found.container_id.map(|id| id.to_string()));
            assert_eq!(found.level, *level, "{path}");
            assert_eq!((texts.0.as_deref(), texts.1.as_deref()), (*uid, *id), "{path}");
            assert_eq!((found.qos, found.runtime.as_deref()), (*qos, *runtime), "{path}");
        }
    }

    #[test]
    fn every_cgroup_recorded_on_real_nodes_is_recognised() {
        let mut seen = 0;
        for line in include_str!("../../tests/data/cgroups.txt").lines() {
            let found = CgroupIdentity::parse(line);
            let expected = match line.rsplit('/').next() {
                Some(name) if name.strip_suffix(".scope").is_some() => Level::Container,
                Some(name) if name.contains("-pod") || name.starts_with("pod") => Level::Pod,
                Some("kubepods.slice" | "kubepods") => Level::Kubepods,
                _ => Level::Qos,
            };
            assert_eq!(found.level, expected, "{line}");
            assert_eq!(found.pod_uid.is_some(), matches!(expected, Level::Container | Level::Pod), "{line}");
            assert_eq!(found.container_id.is_some(), expected == Level::Container, "{line}");
            seen += 1;
        }
        assert!(seen > 20, "{seen} paths");
    }

    #[test]
    fn no_path_breaks_the_reader_and_nothing_is_made_up() {
        let pieces = [
            "/",
            "//",
            "pod",
            "kubepods",
            ".slice",
            "kubepods-",
            "-pod",
            ".slice:",
            ":",
            "burstable",
            "\u{0}",
            "é",
            C,
            U,
            "-",
            ".scope",
        ];
        let mut state = 1_u32;
        for _ in 0..20_000 {
            let mut path = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                path.push_str(pieces[(state >> 24) as usize % pieces.len()]);
            }
            let found = CgroupIdentity::parse(&path);
            assert!(found.pod_uid.is_none_or(|uid| path.contains(&uid.to_string())), "{path}");
            assert!(found.container_id.is_none_or(|id| path.contains(&id.to_string())), "{path}");
        }
    }
}
