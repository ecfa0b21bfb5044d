//! The sources against nodes that really ran: `tests/data/names` has, of each moment, the cgroups that were there, the
//! folders of logs, the OCI configurations, CRI's answers and the kubelet's `/pods`; and, to compare with, what the API
//! server said of each container.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    collect_once,
    cri::messages::{
        Container, ContainerMetadata, ContainerResources, ContainerStatus, ImageSpec, LinuxContainerResources,
        PodSandbox, PodSandboxMetadata,
    },
    engine, kubelet, oci, pod_logs, storage,
};
use crate::{
    event::{ContainerId, ContainerRole, PodUid, QosClass},
    node::{
        fact::{Fact, NameSource},
        index::{Bounds, Index},
        names::{Host, Options, cri},
    },
};

#[derive(Deserialize)]
struct Capture {
    cgroups: Vec<String>,
    var_log_pods: Vec<String>,
    var_log_containers: Vec<(String, PathBuf)>,
    oci: BTreeMap<String, Value>,
    cri: Cri,
    kubelet_pods: Value,
    api_server: Vec<Truth>,
}

#[derive(Deserialize)]
struct Cri {
    containers: Vec<Value>,
    sandboxes: Vec<Value>,
    statuses: Vec<Value>,
}

#[derive(Deserialize)]
struct Truth {
    id: ContainerId,
    namespace: String,
    pod: String,
    uid: PodUid,
    qos: QosClass,
    container: String,
    restart_count: u32,
    image: String,
    role: ContainerRole,
}

fn captures() -> Vec<(String, Capture)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/names");
    let mut captures: Vec<_> = fs::read_dir(folder)
        .expect("the folder of captures")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let json = fs::read(entry.path()).expect("a capture");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&json).expect("a capture's form"))
        })
        .collect();
    captures.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(captures.len() >= 7, "only {} captures", captures.len());
    captures
}

fn index(facts: impl IntoIterator<Item = Fact>) -> Index {
    let mut index = Index::new(Bounds { entries: 1000, keep: Duration::from_mins(1) });
    facts.into_iter().for_each(|fact| index.learn(fact, 0));
    index
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn strings(value: &Value) -> HashMap<String, String> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn small<T: TryFrom<u64>>(value: &Value) -> T {
    T::try_from(value.as_u64().unwrap_or(0)).ok().expect("it fits")
}

fn metadata(value: &Value) -> ContainerMetadata {
    ContainerMetadata { name: text(&value["name"]), attempt: small(&value["attempt"]) }
}

fn image(value: &Value) -> ImageSpec {
    ImageSpec { image: text(&value["image"]), user_specified_image: text(&value["user_specified_image"]) }
}

impl Cri {
    /// CRI's two lists, as the runtime gave them.
    fn lists(&self) -> Vec<Fact> {
        let sandboxes = self.sandboxes.iter().flat_map(|sandbox| {
            let metadata = &sandbox["metadata"];
            cri::read::sandbox(PodSandbox {
                id: text(&sandbox["id"]),
                metadata: Some(PodSandboxMetadata {
                    name: text(&metadata["name"]),
                    uid: text(&metadata["uid"]),
                    namespace: text(&metadata["namespace"]),
                    attempt: small(&metadata["attempt"]),
                }),
                state: small(&sandbox["state"]),
                labels: strings(&sandbox["labels"]),
            })
        });
        let containers = self.containers.iter().flat_map(|container| {
            cri::read::container(Container {
                id: text(&container["id"]),
                pod_sandbox_id: text(&container["pod_sandbox_id"]),
                metadata: Some(metadata(&container["metadata"])),
                image: Some(image(&container["image"])),
                state: small(&container["state"]),
                labels: strings(&container["labels"]),
                annotations: strings(&container["annotations"]),
            })
        });
        sandboxes.chain(containers).collect()
    }

    /// Each container's status, as events bring it.
    fn statuses(&self) -> Vec<Fact> {
        let facts = self.statuses.iter().flat_map(|status| {
            cri::read::status(ContainerStatus {
                id: text(&status["id"]),
                metadata: Some(metadata(&status["metadata"])),
                state: small(&status["state"]),
                image: Some(image(&status["image"])),
                labels: strings(&status["labels"]),
                annotations: strings(&status["annotations"]),
                resources: Some(ContainerResources {
                    linux: Some(LinuxContainerResources {
                        memory_limit_in_bytes: small(&status["resources"]["linux"]["memory_limit_in_bytes"]),
                    }),
                }),
                ..ContainerStatus::default()
            })
        });
        facts.collect()
    }
}

impl Capture {
    fn kubelet(&self) -> Vec<Fact> {
        kubelet::parse(&serde_json::to_vec(&self.kubelet_pods).expect("JSON")).expect("the kubelet's answer")
    }

    fn oci(&self) -> Vec<Fact> {
        let parse = |(id, config): (&String, &Value)| {
            oci::parse(id.parse().expect("an id"), &serde_json::to_vec(config).expect("JSON")).expect("a configuration")
        };
        self.oci.iter().flat_map(parse).collect()
    }

    fn pod_logs(&self) -> Vec<Fact> {
        let pods = self.var_log_pods.iter().map(|folder| Fact::Pod(pod_logs::pod(folder).expect("a pod's folder")));
        let links = self.var_log_containers.iter();
        let containers =
            links.map(|(link, target)| Fact::Container(pod_logs::container(link, target).expect("a container's link")));
        pods.chain(containers).collect()
    }
}

/// Compares what an index has of a container with what the API server said; gives whether it has it.
fn agrees(index: &Index, truth: &Truth, what: &str) -> bool {
    let Some(known) = index.known(&truth.id) else { return false };
    let (pod, container) = (known.pod.expect("its pod"), known.container.expect("itself"));
    assert_eq!(pod.uid.as_ref(), Some(&truth.uid), "{what}");
    assert_eq!(pod.namespace.as_deref(), Some(truth.namespace.as_str()), "{what}");
    assert_eq!(pod.name.as_deref(), Some(truth.pod.as_str()), "{what}");
    assert_eq!(container.name.as_deref(), Some(truth.container.as_str()), "{what}");
    true
}

#[test]
fn cri_names_every_container_that_the_api_server_knows_of() {
    for (name, capture) in captures() {
        for (what, facts) in [("lists", capture.cri.lists()), ("statuses", capture.cri.statuses())] {
            let sandboxes = if what == "statuses" { capture.cri.lists() } else { Vec::new() };
            let index = index(facts.into_iter().chain(sandboxes));
            for truth in &capture.api_server {
                let what = format!("{name}, CRI's {what}, {}", truth.container);
                // Of a container that just ended the API server may be behind: CRI has removed it.
                let listed = capture.cri.containers.iter().any(|container| container["id"] == truth.id.as_str());
                assert_eq!(agrees(&index, truth, &what), listed, "{what}");
                if listed {
                    let container = index.known(&truth.id).and_then(|known| known.container).expect("it is known");
                    assert_eq!(container.restart_count, Some(truth.restart_count), "{what}");
                    // The runtime of the old node does not keep what was asked for, but the image's id.
                    assert!(container.image.is_none_or(|image| image == truth.image), "{what}");
                }
            }
        }
    }
}

#[test]
fn the_kubelets_pods_name_the_same_and_know_limits_classes_and_roles() {
    let mut roles = BTreeMap::<_, usize>::new();
    for (name, capture) in captures() {
        let index = index(capture.kubelet());
        for truth in &capture.api_server {
            let what = format!("{name}, /pods, {}", truth.container);
            // The API server and the kubelet were not asked at the same instant.
            if !agrees(&index, truth, &what) {
                continue;
            }
            let known = index.known(&truth.id).expect("it is known");
            let container = known.container.expect("itself");
            assert_eq!(known.pod.and_then(|pod| pod.qos), Some(truth.qos), "{what}");
            assert_eq!(container.restart_count, Some(truth.restart_count), "{what}");
            assert_eq!(container.role, Some(truth.role), "{what}");
            assert_eq!(container.image.as_deref(), Some(truth.image.as_str()), "{what}");
            if truth.qos == QosClass::Guaranteed {
                assert!(known.limit_bytes.is_some(), "{what}: a guaranteed pod's container has a limit");
            }
            *roles.entry(truth.role).or_default() += 1;
        }
    }
    assert!(roles.get(&ContainerRole::Init).is_some_and(|count| *count > 0), "{roles:?}");
    assert!(roles.get(&ContainerRole::App).is_some_and(|count| *count > 20), "{roles:?}");
}

#[test]
fn the_folders_of_logs_alone_give_the_same_names_as_cri() {
    let mut compared = 0;
    for (name, capture) in captures() {
        let (logs, cri) = (index(capture.pod_logs()), index(capture.cri.lists()));
        for (link, target) in &capture.var_log_containers {
            let id = pod_logs::container(link, target).expect("a link").id;
            let (by_logs, by_cri) = (logs.known(&id).expect("by its link"), cri.known(&id).expect("by CRI"));
            let names = |known: super::super::index::KnownNames| {
                let (pod, container) = (known.pod.expect("a pod"), known.container.expect("a container"));
                (pod.namespace, pod.name, pod.uid, container.name, container.restart_count)
            };
            assert_eq!(names(by_logs), names(by_cri), "{name}, {link}");
            compared += 1;
        }
    }
    assert!(compared >= 20, "only {compared} links");
}

#[test]
fn the_runtimes_configurations_give_the_same_names_and_the_limits() {
    let mut limits = 0;
    for (name, capture) in captures() {
        let index = index(capture.oci());
        for (id, config) in &capture.oci {
            let id: ContainerId = id.parse().expect("an id");
            let known = index.known(&id).expect("by its configuration");
            if let Some(truth) = capture.api_server.iter().find(|truth| truth.id == id) {
                agrees(&index, truth, &format!("{name}, OCI, {}", truth.container));
            }
            let limit = config["linux"]["resources"]["memory"]["limit"].as_u64().filter(|limit| *limit > 0);
            assert_eq!(known.limit_bytes, limit, "{name}");
            limits += usize::from(limit.is_some());
        }
    }
    assert!(limits > 10, "only {limits} limits");
}

#[test]
fn every_containers_cgroup_of_a_capture_has_names_from_all_sources_together() {
    for (name, capture) in captures() {
        let cgroups = capture.cgroups.iter().zip(1..).map(|(path, id)| Fact::Cgroup { id, path: path.clone() });
        let index = index(cgroups.chain(capture.cri.lists()).chain(capture.kubelet()).chain(capture.pod_logs()));
        for (path, id) in capture.cgroups.iter().zip(1..) {
            let Some(known) = index.known_cgroup(id) else { continue };
            let pod = known.pod.expect("only pods are known here");
            assert!(pod.name.is_some() && pod.namespace.is_some() && pod.qos.is_some(), "{name}: {path}: {pod:?}");
            if let Some(container) = known.container {
                let sandbox = container.role == Some(ContainerRole::Sandbox);
                assert_eq!(container.name.is_none(), sandbox, "{name}: {path}: {container:?}");
            }
        }
    }
}

#[test]
fn a_static_pod_goes_by_its_manifests_hash() {
    let (_, capture) =
        captures().into_iter().find(|(name, _)| name.starts_with("oomkill-1.36-mid")).expect("a capture");
    let known = index(capture.kubelet()).known_pod(&"df465823e70c8abfd71f22990142be6a".parse().expect("its hash"));
    assert_eq!(known.and_then(|known| known.pod?.name).as_deref(), Some("static-web-node1"));
}

#[test]
fn a_mirror_pod_of_the_api_server_goes_by_the_hash_of_what_it_mirrors() {
    let json = br#"{"items":[{"metadata":{"name":"etcd-n1","namespace":"kube-system","uid":"00000001-23d2-4099-bf62-d501a2753c91",
        "annotations":{"kubernetes.io/config.mirror":"df465823e70c8abfd71f22990142be6a","kubernetes.io/config.source":"file"},
        "ownerReferences":[{"kind":"Node","name":"n1","controller":true}]}}]}"#;
    let index = index(kubelet::parse(json).expect("an answer"));
    let known = index.known_pod(&"df465823e70c8abfd71f22990142be6a".parse().expect("its hash")).expect("it is known");
    assert_eq!(known.pod.and_then(|pod| pod.owner).map(|owner| owner.kind).as_deref(), Some("Node"));
}

#[test]
fn sidecars_and_ephemeral_containers_are_reported_from_the_rest() {
    let json = br#"{"items":[{"metadata":{"name":"p","namespace":"n","uid":"00000001-23d2-4099-bf62-d501a2753c91"},
        "spec":{"containers":[{"name":"app","resources":{"limits":{"memory":"64Mi"}}}],
                "initContainers":[{"name":"once"},{"name":"proxy","restartPolicy":"Always"}],
                "ephemeralContainers":[{"name":"debug"}]},
        "status":{"qosClass":"Burstable"}}]}"#;
    let facts = kubelet::parse(json).expect("an answer");
    let named = |name: &str| {
        // A container that /pods has no status of yet: only its name is known.
        let id: ContainerId = format!("{:064x}", 7).parse().expect("an id");
        let mut index = index(facts.clone());
        index.learn(
            Fact::Container(crate::node::fact::ContainerFact {
                pod: Some("00000001-23d2-4099-bf62-d501a2753c91".parse().expect("a uid")),
                name: Some(name.to_owned()),
                ..crate::node::fact::ContainerFact::new(NameSource::Cri, id.clone())
            }),
            0,
        );
        let known = index.known(&id).expect("it is known");
        (known.container.and_then(|container| container.role), known.limit_bytes)
    };
    assert_eq!(named("app"), (Some(ContainerRole::App), Some(64 << 20)));
    assert_eq!(named("once"), (Some(ContainerRole::Init), None));
    assert_eq!(named("proxy"), (Some(ContainerRole::Sidecar), None));
    assert_eq!(named("debug"), (Some(ContainerRole::Ephemeral), None));
}

#[test]
fn docker_names_its_containers_with_kubernetes_and_without() {
    let id = format!("{:064x}", 5);
    let alone =
        format!(r#"{{"ID":"{id}","Name":"/web","RestartCount":2,"Config":{{"Image":"nginx:1","Labels":{{}}}}}}"#);
    let known = index(engine::docker(alone.as_bytes()).expect("its state")).known(&id.parse().expect("an id"));
    let container = known.and_then(|known| known.container).expect("it is known");
    assert_eq!((container.name.as_deref(), container.image.as_deref()), (Some("web"), Some("nginx:1")));
    assert_eq!(container.restart_count, Some(2));

    let in_pod = format!(
        r#"{{"ID":"{id}","Name":"/k8s_app_web-0_shop_00000001-23d2-4099-bf62-d501a2753c91_3","RestartCount":0,"Config":{{"Image":"nginx:1",
        "Labels":{{"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.container.name":"app",
        "io.kubernetes.pod.uid":"00000001-23d2-4099-bf62-d501a2753c91","annotation.io.kubernetes.container.restartCount":"3"}}}}}}"#
    );
    let known = index(engine::docker(in_pod.as_bytes()).expect("its state")).known(&id.parse().expect("an id"));
    let known = known.expect("it is known");
    assert_eq!(
        known.container.and_then(|container| Some((container.name?, container.restart_count?))),
        Some(("app".to_owned(), 3))
    );
    assert_eq!(known.pod.and_then(|pod| pod.name).as_deref(), Some("web-0"));
}

#[test]
fn podman_and_cri_o_name_their_containers_in_their_storage() {
    let (alone, app, pause) = (format!("{:064x}", 1), format!("{:064x}", 2), format!("{:064x}", 3));
    let json = format!(
        r#"[{{"id":"{alone}","names":["cache"],"metadata":"{{\"image-name\":\"docker.io/library/redis:7\"}}"}},
        {{"id":"{app}","names":["k8s_app_web-0_shop_00000001-23d2-4099-bf62-d501a2753c91_4"],"metadata":"{{}}"}},
        {{"id":"{pause}","names":["k8s_POD_web-0_shop_00000001-23d2-4099-bf62-d501a2753c91_0"]}}]"#
    );
    let index = index(storage::parse(json.as_bytes()).expect("a list"));
    let container =
        |id: &str| index.known(&id.parse().expect("an id")).and_then(|known| known.container).expect("known");
    assert_eq!(container(&alone).name.as_deref(), Some("cache"));
    assert_eq!(container(&alone).image.as_deref(), Some("docker.io/library/redis:7"));
    assert_eq!((container(&app).name.as_deref(), container(&app).restart_count), (Some("app"), Some(4)));
    assert_eq!(container(&pause).role, Some(ContainerRole::Sandbox));
}

#[test]
fn an_oci_configuration_of_cri_o_names_pod_and_container() {
    let json = br#"{"annotations":{"io.kubernetes.cri-o.ContainerType":"container","io.kubernetes.container.name":"app",
        "io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.cri-o.ImageName":"quay.io/app:2",
        "io.kubernetes.pod.uid":"00000001-23d2-4099-bf62-d501a2753c91","io.kubernetes.container.restartCount":"1"}}"#;
    let id: ContainerId = format!("{:064x}", 2).parse().expect("an id");
    let known = index(oci::parse(id.clone(), json).expect("a configuration")).known(&id).expect("it is known");
    let container = known.container.expect("itself");
    assert_eq!((container.name.as_deref(), container.image.as_deref()), (Some("app"), Some("quay.io/app:2")));
    assert_eq!(container.restart_count, Some(1));
    assert_eq!(known.pod.and_then(|pod| pod.namespace).as_deref(), Some("shop"));
}

#[test]
fn a_sandboxs_configuration_names_its_pod_and_is_no_container_to_wait_for() {
    let uid = "00000001-23d2-4099-bf62-d501a2753c91";
    let containerd = format!(
        r#"{{"annotations":{{"io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-name":"web-0",
        "io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-uid":"{uid}"}}}}"#
    );
    let cri_o = format!(
        r#"{{"annotations":{{"io.kubernetes.cri-o.ContainerType":"sandbox","io.kubernetes.container.name":"POD",
        "io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"{uid}"}}}}"#
    );
    // Before 1.6.11 it has no uid but in its cgroup's path.
    let old = format!(
        r#"{{"annotations":{{"io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-name":"web-0",
        "io.kubernetes.cri.sandbox-namespace":"shop"}},
        "linux":{{"cgroupsPath":"kubepods-burstable-pod{}.slice:cri-containerd:{:064x}"}}}}"#,
        uid.replace('-', "_"),
        2
    );
    for json in [containerd, cri_o, old] {
        let id: ContainerId = format!("{:064x}", 2).parse().expect("an id");
        let known = index(oci::parse(id.clone(), json.as_bytes()).expect("a configuration")).known(&id).expect("known");
        let container = known.container.expect("itself");
        assert_eq!((container.name, container.role), (None, Some(ContainerRole::Sandbox)), "{json}");
        assert_eq!(known.pod.and_then(|pod| pod.name).as_deref(), Some("web-0"), "{json}");
    }
}

#[test]
fn names_of_log_folders_that_are_not_the_kubelets_are_no_pods() {
    for folder in [
        "",
        "lost+found",
        "a_b",
        "a_b_c",
        "a_b_00000001-23d2-4099-bf62-d501a2753c91_d",
        "__00000001-23d2-4099-bf62-d501a2753c91",
    ] {
        assert_eq!(pod_logs::pod(folder), None, "{folder:?}");
    }
    // A name that the file system made the kubelet cut.
    let cut = format!("{}_shop_app-0123.log", "w".repeat(200));
    assert_eq!(pod_logs::container(&cut, Path::new("/var/log/pods/x/app/0.log")), None);
}

#[test]
fn a_node_mounted_elsewhere_is_read_there_and_damaged_files_are_named() {
    let root = tempfile::tempdir().expect("a folder");
    let (good, bad) = (format!("{:064x}", 1), format!("{:064x}", 2));
    let bundle = |id: &str| root.path().join("run/containerd/io.containerd.runtime.v2.task/k8s.io").join(id);
    for (id, json) in
        [(&good, r#"{"annotations":{"io.kubernetes.cri.container-name":"app"}}"#), (&bad, r#"{"annotations"#)]
    {
        fs::create_dir_all(bundle(id)).expect("a bundle");
        fs::write(bundle(id).join("config.json"), json).expect("a configuration");
    }
    let options = Options {
        host: Host::at(root.path()),
        cgroup_root: root.path().to_path_buf(),
        cri: cri::Access::default(),
        kubelet: None,
        kubelet_degradation: crate::degradation::Degradation::default(),
        sees_cgroups: true,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (facts, trouble) = runtime.block_on(collect_once(&options));
    let known = index(facts).known(&good.parse().expect("an id")).expect("it is known");
    assert_eq!(known.container.and_then(|container| container.name).as_deref(), Some("app"));
    assert!(trouble.iter().any(|trouble| trouble.contains(&bad) && trouble.contains("config.json")), "{trouble:?}");
    assert!(trouble.iter().any(|trouble| trouble.contains("--cri-endpoint")), "{trouble:?}");
}
