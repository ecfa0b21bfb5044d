use super::*;

const A: &str = "109b8c09d2ea5e615b46acb0c782163570a8d00be849071b930fc8bf900ceb35";
const B: &str = "795339be94ab6230e5b973d90e689bb38d0567f061eba5b35a94beaa20a0843f";
const U: &str = "c8119223-23d2-4099-bf62-d501a2753c91";
const V: &str = "13988cfa-3f13-431a-b298-a4694750cf27";
const HASH: &str = "df465823e70c8abfd71f22990142be6a";

/// `{A}` and `{B}` are container ids, `{U}` and `{V}` pod uids, `{U_}` and `{V_}` the same with underscores.
fn fill(template: &str) -> String {
    template
        .replace("{A}", A)
        .replace("{B}", B)
        .replace("{U_}", &U.replace('-', "_"))
        .replace("{V_}", &V.replace('-', "_"))
        .replace("{U}", U)
        .replace("{V}", V)
        .replace("{HASH}", HASH)
}

/// What was read, in one line: `level class uid container`, then ` key=value` for what else there is, in templates' words.
fn read(template: &str) -> String {
    tell(&CgroupIdentity::parse(&fill(template)))
}

fn tell(identity: &CgroupIdentity) -> String {
    let CgroupIdentity { level, pod_uid, qos, container_id, monitor_of, runtime, driver, unit, nested, outer } =
        identity;
    let word = |value: serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let mut reported = [
        word(serde_json::json!(level)),
        word(serde_json::json!(qos)),
        word(serde_json::json!(pod_uid)),
        word(serde_json::json!(container_id)),
    ]
    .join(" ");
    for (key, value) in [
        ("driver", serde_json::json!(driver)),
        ("runtime", serde_json::json!(runtime)),
        ("monitor_of", serde_json::json!(monitor_of)),
        ("unit", serde_json::json!(unit)),
        ("nested", serde_json::json!(nested)),
        ("outer", serde_json::json!(outer)),
    ] {
        if let Some(value) = value.as_str() {
            reported = format!("{reported} {key}={value}");
        }
    }
    let (u_, v_) = (U.replace('-', "_"), V.replace('-', "_"));
    [(A, "{A}"), (B, "{B}"), (U, "{U}"), (V, "{V}"), (HASH, "{HASH}"), (&u_, "{U_}"), (&v_, "{V_}")]
        .iter()
        .fold(reported, |reported, (text, template)| reported.replace(text, template))
}

#[track_caller]
fn check(rows: &[(&str, &str)]) {
    for (path, expected) in rows {
        assert_eq!(read(path), *expected, "{path}");
    }
}

#[test]
fn every_cgroup_of_the_recorded_nodes_is_read_as_the_runtime_and_the_api_server_knew_it() {
    let table = include_str!("../../../tests/data/cgroup_paths.tsv");
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let mut read = 0;
    for row in rows {
        let (path, expected) = row.split_once('\t').expect("a path and what it is");
        let reported = tell(&CgroupIdentity { driver: None, runtime: None, ..CgroupIdentity::parse(path) });
        assert_eq!(fill(&reported), expected.replace('\t', " "), "{path}");
        read += 1;
    }
    assert_eq!(read, 56);
}

#[test]
#[rustfmt::skip]
fn each_driver_and_runtime_names_pods_and_containers_in_its_own_way() {
    check(&[
        ("/", "node - - -"),
        // containerd, systemd driver: the recorded nodes.
        ("/kubepods.slice", "kubepods - - - driver=systemd"),
        ("/kubepods.slice/kubepods-besteffort.slice", "qos BestEffort - - driver=systemd"),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U_}.slice", "pod Burstable {U} - driver=systemd"),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U_}.slice/cri-containerd-{A}.scope", "container Burstable {U} {A} driver=systemd runtime=containerd"),
        ("/kubepods.slice/kubepods-pod{U_}.slice/cri-containerd-{A}.scope", "container Guaranteed {U} {A} driver=systemd runtime=containerd"),
        // A static pod: kubernetes.io/config.hash.
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{HASH}.slice", "pod Burstable {HASH} - driver=systemd"),
        // cgroupfs driver: containerd and cri-dockerd alike; kubelet 1.20 makes this tree too, empty, beside systemd's.
        ("/kubepods", "kubepods - - - driver=cgroupfs"),
        ("/kubepods/burstable", "qos Burstable - - driver=cgroupfs"),
        ("/kubepods/pod{U}", "pod Guaranteed {U} - driver=cgroupfs"),
        ("/kubepods/burstable/pod{U}/{A}", "container Burstable {U} {A} driver=cgroupfs"),
        ("/kubepods/besteffort/pod{HASH}/{A}", "container BestEffort {HASH} {A} driver=cgroupfs"),
        ("/kubepods/pod{U}/{A}", "container Guaranteed {U} {A} driver=cgroupfs"),
        // CRI-O (containerd/nri#227, OpenShift): a sandbox without a process has no scope.
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U_}.slice/crio-{A}.scope", "container BestEffort {U} {A} driver=systemd runtime=cri-o"),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U_}.slice/crio-{A}", "container BestEffort {U} {A} driver=systemd runtime=cri-o"),
        ("/kubepods/burstable/pod{U}/crio-{A}", "container Burstable {U} {A} driver=cgroupfs runtime=cri-o"),
        // cri-dockerd, and the dockershim before it (kontena/pharos-cluster#440).
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U_}.slice/docker-{A}.scope", "container BestEffort {U} {A} driver=systemd runtime=docker"),
        // A runtime that this program has not heard of; a runtime on cgroupfs below a systemd kubelet.
        ("/kubepods.slice/kubepods-pod{U_}.slice/newcomer-{A}.scope", "container Guaranteed {U} {A} driver=systemd"),
        ("/kubepods.slice/kubepods-pod{U_}.slice/{A}", "container Guaranteed {U} {A} driver=systemd"),
        // The same with containerd (containerd#5226, kubernetes#106514); cgroup v1's hierarchies differ in what is above.
        ("/system.slice/containerd.service/kubepods-burstable-pod{U_}.slice:cri-containerd:{A}", "container Burstable {U} {A} driver=systemd runtime=containerd outer=/system.slice/containerd.service"),
        ("/kubepods-besteffort-pod{U_}.slice:cri-containerd:{A}", "container BestEffort {U} {A} driver=systemd runtime=containerd"),
        // `linux.cgroupsPath` of the OCI config.json of a container of the recorded nodes.
        ("kubepods-pod{U_}.slice:cri-containerd:{A}", "container Guaranteed {U} {A} driver=systemd runtime=containerd"),
        // From /proc/PID/cgroup, after the cgroup.
        ("/kubepods/burstable/pod{U}/{A} (deleted)", "container Burstable {U} {A} driver=cgroupfs"),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_monitor_is_not_the_container_it_watches() {
    check(&[
        // CRI-O with conmon_cgroup = "pod" (OpenShift), both drivers, and the default "system.slice".
        ("/kubepods.slice/kubepods-pod{U_}.slice/crio-conmon-{A}.scope", "other Guaranteed {U} - driver=systemd runtime=cri-o monitor_of={A}"),
        ("/kubepods/burstable/pod{U}/crio-conmon-{A}", "other Burstable {U} - driver=cgroupfs runtime=cri-o monitor_of={A}"),
        ("/system.slice/crio-conmon-{A}.scope", "other - - - runtime=cri-o monitor_of={A} unit=crio-conmon-{A}.scope"),
        // podman as root, and as a user.
        ("/machine.slice/libpod-conmon-{A}.scope", "other - - - runtime=podman monitor_of={A} unit=libpod-conmon-{A}.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-{A}.scope", "other - - - runtime=podman monitor_of={A} unit=user@1000.service nested=user.slice/libpod-conmon-{A}.scope"),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_limit_set_inside_a_container_is_the_containers_and_says_where_inside() {
    check(&[
        ("/kubepods.slice/kubepods-pod{U_}.slice/cri-containerd-{A}.scope/init.scope", "container Guaranteed {U} {A} driver=systemd runtime=containerd nested=init.scope"),
        ("/kubepods/burstable/pod{U}/{A}/system.slice/nginx.service", "container Burstable {U} {A} driver=cgroupfs nested=system.slice/nginx.service"),
        ("/docker/{A}/worker", "container - - {A} driver=cgroupfs runtime=docker nested=worker"),
        // crun's own sub-cgroup below a scope is the container: crun(1), run.oci.systemd.subgroup.
        ("/kubepods.slice/kubepods-pod{U_}.slice/crio-{A}.scope/container", "container Guaranteed {U} {A} driver=systemd runtime=cri-o"),
        ("/kubepods.slice/kubepods-pod{U_}.slice/crio-{A}.scope/container/worker", "container Guaranteed {U} {A} driver=systemd runtime=cri-o nested=worker"),
        ("/kubepods/pod{U}/{A}/container", "container Guaranteed {U} {A} driver=cgroupfs nested=container"),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_kubelets_tree_may_stand_anywhere() {
    check(&[
        // --cgroup-root, both drivers; kind's, as seen from inside.
        ("/foo/bar/kubepods/besteffort", "qos BestEffort - - driver=cgroupfs outer=/foo/bar"),
        ("/kubelet/kubepods/burstable/pod{U}/{A}", "container Burstable {U} {A} driver=cgroupfs outer=/kubelet"),
        ("/k8s.slice/k8s-kubepods.slice", "kubepods - - - driver=systemd outer=/k8s.slice"),
        ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{U_}.slice/cri-containerd-{A}.scope", "container BestEffort {U} {A} driver=systemd runtime=containerd outer=/kubelet.slice"),
        // kind from its host: cgroup v2 with either driver of Docker and of the node, cgroup v1.
        ("/system.slice/docker-{B}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{U_}.slice", "pod Guaranteed {U} - driver=systemd outer=/system.slice/docker-{B}.scope/kubelet.slice"),
        ("/system.slice/docker-{B}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{U_}.slice/cri-containerd-{A}.scope", "container Burstable {U} {A} driver=systemd runtime=containerd outer=/system.slice/docker-{B}.scope/kubelet.slice"),
        ("/system.slice/docker-{B}.scope/kubelet/kubepods/burstable/pod{HASH}/{A}", "container Burstable {HASH} {A} driver=cgroupfs outer=/system.slice/docker-{B}.scope/kubelet"),
        ("/docker/{B}/kubelet/kubepods/burstable/pod{U}/{A}", "container Burstable {U} {A} driver=cgroupfs outer=/docker/{B}/kubelet"),
        // k3d; minikube's docker driver with CRI-O (minikube#11280); k3s in LXC (leptonai/gpud#70); rootless k3s.
        ("/docker/{B}/kubepods/besteffort/pod{U}/{A}", "container BestEffort {U} {A} driver=cgroupfs outer=/docker/{B}"),
        ("/docker/{B}/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U_}.slice/crio-{A}.scope", "container BestEffort {U} {A} driver=systemd runtime=cri-o outer=/docker/{B}"),
        ("/lxc.payload.web-lxc/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U_}.slice", "pod Burstable {U} - driver=systemd outer=/lxc.payload.web-lxc"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/k3s-rootless.service/kubepods/pod{U}/{A}", "other - - - unit=user@1000.service nested=app.slice/k3s-rootless.service/kubepods/pod{U}/{A}"),
        // A user's claim to be in a pod.
        ("/user.slice/user-1000.slice/user@1000.service/kubepods/burstable/pod{U}/{A}", "other - - - unit=user@1000.service nested=kubepods/burstable/pod{U}/{A}"),
        ("/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{U_}.slice/cri-containerd-{A}.scope", "other - - - unit=user@1000.service nested=kubepods.slice/kubepods-pod{U_}.slice/cri-containerd-{A}.scope"),
    ]);
    // What is above is a path, too.
    assert_eq!(read("/docker/{B}/kubelet"), "container - - {B} driver=cgroupfs runtime=docker nested=kubelet");
}

#[test]
#[rustfmt::skip]
fn a_container_cannot_pass_for_another_pod() {
    check(&[
        ("/kubepods/burstable/pod{U}/{A}/kubepods/burstable/pod{V}/{B}", "container Burstable {U} {A} driver=cgroupfs nested=kubepods/burstable/pod{V}/{B}"),
        ("/kubepods.slice/kubepods-pod{U_}.slice/cri-containerd-{A}.scope/kubepods.slice/kubepods-pod{V_}.slice", "container Guaranteed {U} {A} driver=systemd runtime=containerd nested=kubepods.slice/kubepods-pod{V_}.slice"),
        ("/kubepods/burstable/pod{U}/{A}/kubepods-pod{V_}.slice:cri-containerd:{B}", "container Burstable {U} {A} driver=cgroupfs nested=kubepods-pod{V_}.slice:cri-containerd:{B}"),
        // Nor where its own id is not one (containerd#5226).
        ("/kubepods-pod{U_}.slice:cri-containerd:webapp/kubepods/pod{V}", "other Guaranteed {U} - driver=systemd nested=kubepods-pod{U_}.slice:cri-containerd:webapp/kubepods/pod{V}"),
        // Nor below a name that is not recognised, nor straight below a pod.
        ("/kubepods/burstable/podcast/kubepods/burstable/pod{V}/{B}", "other Burstable - - driver=cgroupfs nested=podcast/kubepods/burstable/pod{V}/{B}"),
        ("/kubepods.slice/kubepods-pod{U_}.slice/kubepods-pod{V_}.slice", "other Guaranteed {U} - driver=systemd nested=kubepods-pod{V_}.slice"),
        // A container without a pod that does so is named, above.
        ("/docker/{A}/kubepods/burstable/pod{V}/{B}", "container Burstable {V} {B} driver=cgroupfs outer=/docker/{A}"),
    ]);
}

#[test]
fn a_cluster_inside_a_pod_is_that_pod_on_the_host_and_a_cluster_to_its_own_node() {
    let node = fill("/kubepods/burstable/pod{V}/{B}/docker/{B}");
    let path = format!("{node}{}", fill("/kubelet/kubepods/pod{U}/{A}"));

    let on_the_host = CgroupIdentity::parse(&path);
    assert_eq!(
        tell(&on_the_host),
        "container Burstable {V} {B} driver=cgroupfs nested=docker/{B}/kubelet/kubepods/pod{U}/{A}"
    );
    let inside = CgroupIdentity::parse(&on_the_host.nested.expect("what is inside"));
    assert_eq!(tell(&inside), "container Guaranteed {U} {A} driver=cgroupfs outer=/docker/{B}/kubelet");

    let reported_within = |path: &str| tell(&CgroupIdentity::parse_within(&node, path));
    let outer = "outer=/kubepods/burstable/pod{V}/{B}/docker/{B}";
    assert_eq!(reported_within(&path), format!("container Guaranteed {{U}} {{A}} driver=cgroupfs {outer}/kubelet"));
    assert_eq!(reported_within(&node), format!("node - - - {outer}"));
    assert_eq!(
        reported_within(&format!("{node}/system.slice/kubelet.service")),
        format!("other - - - unit=kubelet.service {outer}")
    );
    // Elsewhere on the host.
    assert_eq!(reported_within("/"), "node - - -");
    assert_eq!(
        reported_within(&format!("{node}x/kubepods")),
        read("/kubepods/burstable/pod{V}/{B}/docker/{B}x/kubepods")
    );
    assert_eq!(CgroupIdentity::parse_within("/", &path), CgroupIdentity::parse(&path));
    assert_eq!(CgroupIdentity::parse_within("", &path), CgroupIdentity::parse(&path));
}

#[test]
#[rustfmt::skip]
fn containers_and_units_of_a_plain_host_have_their_names() {
    check(&[
        ("/docker/{A}", "container - - {A} driver=cgroupfs runtime=docker"),
        ("/system.slice/docker-{A}.scope", "container - - {A} driver=systemd runtime=docker"),
        ("/docker/{A}/docker/{B}", "container - - {A} driver=cgroupfs runtime=docker nested=docker/{B}"),
        ("/ecs/1b2f6ac8d9a44c35b4ac6a3f1a44ee61/{A}", "container - - {A} driver=cgroupfs"),
        ("/machine.slice/libpod-{A}.scope/container", "container - - {A} driver=systemd runtime=podman"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container", "container - - {A} driver=systemd runtime=podman unit=user@1000.service"),
        ("/libpod_parent/libpod-{A}", "container - - {A} driver=cgroupfs runtime=podman"),
        // A pod of Podman's: no container, but around some.
        ("/libpod_parent/{B}/libpod-{A}", "container - - {A} driver=cgroupfs runtime=podman"),
        ("/libpod_parent/{B}/conmon", "other - - -"),
        ("/libpod_parent/{B}", "other - - -"),
        ("/docker/kata_{A}", "container - - {A} driver=cgroupfs runtime=docker"),
        // Quadlet: the unit is the name that people know.
        ("/system.slice/web.service/libpod-payload-{A}", "container - - {A} driver=cgroupfs runtime=podman unit=web.service"),
        ("/system.slice/nerdctl-{A}.scope", "container - - {A} driver=systemd runtime=containerd"),
        // A sandbox made with crictl, in no pod's cgroup (containerd/cri#290).
        ("/system.slice/system-getty.slice/cri-containerd-{A}.scope", "container - - {A} driver=systemd runtime=containerd"),
        ("/system.slice/nginx.service", "other - - - unit=nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "other - - - unit=getty@tty1.service"),
        ("/system.slice/docker.service/probe", "other - - - unit=docker.service nested=probe"),
        ("/user.slice/user-1000.slice/session-3.scope", "other - - - unit=session-3.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/firefox.scope", "other - - - unit=user@1000.service nested=app.slice/firefox.scope"),
        ("/user.slice/user-1000.slice", "other - - - unit=user-1000.slice"),
        ("/init.scope", "other - - - unit=init.scope"),
        ("/nomad.slice/share.slice/b1f6ac8d.redis.scope", "other - - - unit=b1f6ac8d.redis.scope"),
        // LXC: a unit inside is not one of this host.
        ("/lxc/101/ns", "other - - -"),
        ("/lxc.payload.web/system.slice", "other - - -"),
        ("/lxc.payload.web/system.slice/nginx.service", "other - - -"),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_only_looks_like_kubernetes_is_not_recognised() {
    check(&[
        ("", "other - - -"),
        ("/podruntime/kubelet", "other - - -"),
        ("/podruntime/pod{U}", "other - - -"),
        ("/burstable/pod{U}", "other - - -"),
        ("/pod{U}", "other - - -"),
        ("/mykubepods/burstable/pod{U}", "other - - -"),
        ("/mykubepods.slice", "other - - - unit=mykubepods.slice"),
        ("/kubepods-extra.slice", "other - - - unit=kubepods-extra.slice"),
        ("/kubepods-burstable-extra.slice", "other - - - unit=kubepods-burstable-extra.slice"),
        ("/kubepods-guaranteed-pod{U_}.slice", "other - - - unit=kubepods-guaranteed-pod{U_}.slice"),
        ("/kubepods/guaranteed", "other - - - driver=cgroupfs nested=guaranteed"),
        // Uids and ids of the wrong length, case or punctuation.
        ("/kubepods/burstable/pod1111/2222", "other Burstable - - driver=cgroupfs nested=pod1111/2222"),
        ("/kubepods/burstable/podC8119223-23D2-4099-BF62-D501A2753C91", "other Burstable - - driver=cgroupfs nested=podC8119223-23D2-4099-BF62-D501A2753C91"),
        ("/kubepods/pod{U}/109b8c09d2ea", "other Guaranteed {U} - driver=cgroupfs nested=109b8c09d2ea"),
        ("/kubepods/pod{U}/{A}0", "other Guaranteed {U} - driver=cgroupfs nested={A}0"),
        ("/kubepods/burstable/{A}", "other Burstable - - driver=cgroupfs nested={A}"),
        ("/docker/buildkit/jn6ia2s1fq8dwlqvd5sjv3mwm", "other - - -"),
    ]);
}

#[test]
fn ids_are_written_as_they_are_read_and_nothing_else_is_an_id() {
    let systemd: PodUid = U.replace('-', "_").parse().expect("the systemd driver's form");
    assert_eq!(systemd.to_string(), U);
    for uid in [U, HASH] {
        assert_eq!(uid.parse::<PodUid>().expect("a uid").as_str(), uid);
        assert_eq!(serde_json::json!(uid.parse::<PodUid>().ok()), serde_json::json!(uid));
    }
    assert_eq!(serde_json::from_value::<ContainerId>(serde_json::json!(A)).expect("an id").to_string(), A);

    for not in
        ["", "1111", &U[1..], "c8119223_23d2-4099_bf62-d501a2753c91", "c8119223-23d2-4099-bf62-d501a2753c9g", &A[..12]]
    {
        assert!(not.parse::<PodUid>().is_err(), "{not}");
        assert!(serde_json::from_value::<PodUid>(serde_json::json!(not)).is_err(), "{not}");
    }
    for not in ["", &A[..12], &A[..63], &A.to_uppercase(), U, &"é".repeat(32)] {
        assert!(not.parse::<ContainerId>().is_err(), "{not}");
        assert!(serde_json::from_value::<ContainerId>(serde_json::json!(not)).is_err(), "{not}");
    }
    let error = "pod 7\n".parse::<PodUid>().expect_err("not a uid").to_string();
    assert!(error.starts_with(r#""pod 7\n" is not a pod's uid: "#), "{error}");
}

#[test]
fn the_words_of_the_json_form_are_fixed() {
    let words = |value: serde_json::Value| value.to_string();
    let levels = [Level::Container, Level::Pod, Level::Qos, Level::Kubepods, Level::Node, Level::Other];
    assert_eq!(words(serde_json::json!(levels)), r#"["container","pod","qos","kubepods","node","other"]"#);
    let classes = [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort];
    assert_eq!(words(serde_json::json!(classes)), r#"["Guaranteed","Burstable","BestEffort"]"#);
    let runtimes = [Runtime::Containerd, Runtime::CriO, Runtime::Docker, Runtime::Podman];
    assert_eq!(words(serde_json::json!(runtimes)), r#"["containerd","cri-o","docker","podman"]"#);

    let schema = serde_json::json!(schemars::schema_for!(ContainerId));
    assert_eq!((&schema["type"], &schema["pattern"]), (&"string".into(), &"^[0-9a-f]{64}$".into()));
    let identity = CgroupIdentity::parse(&fill("/system.slice/docker-{B}.scope/kubepods/burstable/pod{U}/{A}/x"));
    let json = serde_json::to_string(&identity).expect("JSON");
    assert_eq!(serde_json::from_str::<CgroupIdentity>(&json).expect("an identity"), identity);
}

/// Paths spliced from what paths are made of, and from what they are not: the same ones on every run.
fn spliced_paths() -> impl Iterator<Item = String> {
    #[rustfmt::skip]
    let pieces = [
        "/", "/", "/", "/", "kubepods", "/kubepods", "/kubepods/pod{U}", "/kubepods.slice", "kubepods-", "-pod", "pod", "pod{U}",
        "-pod{U_}", "-pod{V}", "{HASH}", "burstable", "besteffort", "/burstable", "/kubepods-pod{U_}.slice", ".slice", ".scope",
        ".slice:", ":", "-", "_", "{A}", "{B}", "/docker/{B}", "crio-", "/cri-containerd-{A}", "conmon-", "/crio-conmon-{A}", "container", ".service",
        " (deleted)", "\u{fffd}é\0\n", "..",
    ]
    .map(fill);
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        // A linear congruential generator; its high bits are the random ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 40).unwrap_or(0) % below
    };
    (0..20_000).map(move |_| (0..random(14)).map(|_| pieces[random(pieces.len())].as_str()).collect())
}

#[test]
fn whatever_the_path_nothing_is_made_up() {
    let mut recognised = [0; 3];
    for path in spliced_paths() {
        let found = CgroupIdentity::parse(&path);
        let dashed = path.replace('_', "-");
        let CgroupIdentity { level, pod_uid, qos, container_id, monitor_of, unit, nested, outer, .. } = &found;
        assert!(pod_uid.as_ref().is_none_or(|uid| dashed.contains(uid.as_str())), "{path:?}");
        assert!([container_id, monitor_of].into_iter().flatten().all(|id| path.contains(id.as_str())), "{path:?}");
        assert!(unit.as_ref().is_none_or(|unit| path.contains(unit.as_str())), "{path:?}");
        assert!(!nested.as_deref().is_some_and(|nested| nested.is_empty() || nested.starts_with('/')), "{path:?}");
        assert!(outer.as_deref().is_none_or(|outer| outer.starts_with('/') && outer.len() > 1), "{path:?}");
        // The parts agree with one another.
        assert_eq!(*level == Level::Container, container_id.is_some(), "{path:?}");
        assert!(*level != Level::Pod || pod_uid.is_some(), "{path:?}");
        assert!(*level != Level::Qos || qos.is_some(), "{path:?}");
        assert!(pod_uid.is_none() || qos.is_some(), "{path:?}");
        assert!(container_id.is_none() || monitor_of.is_none(), "{path:?}");
        for (count, seen) in
            recognised.iter_mut().zip([pod_uid.is_some(), container_id.is_some(), monitor_of.is_some()])
        {
            *count += usize::from(seen);
        }
    }
    // The generator does reach what it is to test.
    assert!(recognised.iter().all(|count| *count > 100), "{recognised:?}");
}

#[test]
fn whatever_a_container_makes_below_its_cgroup_it_stays_that_container() {
    let container = fill("/kubepods/burstable/pod{U}/{A}");
    let expected = CgroupIdentity { nested: None, ..CgroupIdentity::parse(&container) };
    for path in spliced_paths().filter(|path| !path.ends_with(" (deleted)")) {
        let found = CgroupIdentity::parse(&format!("{container}/{path}"));
        assert_eq!(CgroupIdentity { nested: None, ..found }, expected, "{path:?}");
    }
}
