//! What the API's schemas cannot know: what oomtrace means to be in a cluster.

use serde_json::{Value, json};

use super::CUSTOM;
use crate::image;

/// What may be added to a container in which nothing else is possible.
const CAPABILITIES: [&str; 4] = ["BPF", "PERFMON", "SYSLOG", "SYS_RESOURCE"];

/// Manifests that are applied together.
pub(super) struct Release<'a>(pub(super) &'a [Value]);

impl<'a> Release<'a> {
    fn only(&self, kind: &str) -> Option<&'a Value> {
        let mut found = self.0.iter().filter(|manifest| manifest["kind"] == kind);
        found.next().filter(|_| found.next().is_none())
    }
}

/// Where oomtrace keeps how far a node was traced.
const STATE: &str = "/var/lib/oomtrace";
/// Which file `oomtrace run` writes for `oomtrace healthy`.
const ALIVE_FILE: &str = "OOMTRACE_ALIVE_FILE";
/// By which `oomtrace run` writes Kubernetes Events.
const EVENTS: &str = "OOMTRACE_K8S_EVENTS";

/// What a release does that it should not, or lacks.
pub(super) fn broken(release: &Release<'_>) -> Vec<String> {
    let Some(set) = release.only("DaemonSet") else { return vec!["there is not one DaemonSet".to_owned()] };
    let (template, pod) = (&set["spec"]["template"], &set["spec"]["template"]["spec"]);
    let container = &pod["containers"][0];
    let rules = [
        ("it is not called what the image is called", container["image"] == image::NAME),
        (
            "it selects other pods than its own",
            contains(&template["metadata"]["labels"], &set["spec"]["selector"]["matchLabels"]),
        ),
        ("it writes to its own root", container["securityContext"]["readOnlyRootFilesystem"] == true),
        (
            "it mounts what may be written",
            items(&container["volumeMounts"]).all(|mount| is_its_own_to_write(mount, pod)),
        ),
        ("it mounts what is no volume", mounts_volumes(pod)),
        ("its configuration is of another name", configured(release, pod)),
        ("it keeps mounts of the node's alive", items(&container["volumeMounts"]).all(lets_go)),
        (
            "it has capabilities of which nobody knows what they are for",
            few_capabilities(&container["securityContext"]),
        ),
        (
            "it shares a namespace of the node's",
            ["hostPID", "hostIPC", "hostNetwork"].iter().all(|field| pod[field] != true),
        ),
        (
            "it is freed from the runtime's AppArmor profile",
            !template["metadata"]["annotations"].to_string().contains("apparmor"),
        ),
        ("it mounts more of the node's /run than it reads", items(&pod["volumes"]).all(few_of_run)),
        ("taints keep it away", pod["tolerations"] == json!([{"operator": "Exists"}])),
        ("it has no memory limit above its request", limited(&container["resources"])),
        ("a probe asks a port that is not there", probes_reach(container)),
        ("nothing asks whether it is alive, and whether it traces", probed(container)),
        ("`oomtrace healthy` has no file that both may have", heard(container, pod)),
        ("it is kept to nodes of one architecture", pod["nodeSelector"]["kubernetes.io/arch"].is_null()),
        ("its quota does not admit its priority class", admitted(release, pod)),
        ("it is scraped twice", release.0.iter().all(|manifest| manifest["kind"] != CUSTOM) || !annotated(template)),
        (
            "it holds a token of the API that it does not need",
            pod["automountServiceAccountToken"] == writes_events(container),
        ),
        ("it may do something else in the API than create and patch Events", few_rights(release, pod)),
        (
            "its service account is not there",
            release
                .only("ServiceAccount")
                .is_some_and(|account| account["metadata"]["name"] == pod["serviceAccountName"]),
        ),
        ("the PodMonitor does not find it", monitored(release, template)),
    ];
    rules.into_iter().filter(|(_, kept)| !kept).map(|(rule, _)| rule.to_owned()).collect()
}

/// Whether a mount is read-only, the folder of the node that is oomtrace's alone, or memory of the pod's own.
fn is_its_own_to_write(mount: &Value, pod: &Value) -> bool {
    let volume = volume_of(mount, pod);
    mount["readOnly"] == true || volume.is_some_and(|volume| volume["hostPath"]["path"] == STATE || is_memory(volume))
}

fn volume_of<'a>(mount: &Value, pod: &'a Value) -> Option<&'a Value> {
    items(&pod["volumes"]).find(|volume| volume["name"] == mount["name"])
}

fn is_memory(volume: &Value) -> bool {
    volume["emptyDir"]["medium"] == "Memory" && volume["emptyDir"]["sizeLimit"].is_string()
}

/// Whether a hanging program is started again, and a starting one awaited.
fn probed(container: &Value) -> bool {
    container["livenessProbe"].is_object()
        && (container["readinessProbe"].is_object() || container["startupProbe"].is_object())
}

/// Whether the file that `oomtrace run` writes for `oomtrace healthy` is in memory that it may write to.
fn heard(container: &Value, pod: &Value) -> bool {
    let asks = |probe: &&str| container[probe]["exec"]["command"] == json!(["oomtrace", "healthy"]);
    let Some(file) = items(&container["env"]).find(|variable| variable["name"] == ALIVE_FILE) else {
        return !["livenessProbe", "startupProbe"].iter().any(asks);
    };
    let folder = file["value"].as_str().and_then(|path| path.rsplit_once('/')).map(|(folder, _)| folder);
    let mount = items(&container["volumeMounts"]).find(|mount| mount["mountPath"].as_str() == folder);
    mount.is_some_and(|mount| mount["readOnly"] != true && volume_of(mount, pod).is_some_and(is_memory))
}

/// Whether it writes Kubernetes Events.
fn writes_events(container: &Value) -> bool {
    items(&container["env"]).any(|variable| variable["name"] == EVENTS && variable["value"] == "true")
}

/// Whether its account may create and patch Events, and nothing else; without Events, nothing at all.
fn few_rights(release: &Release<'_>, pod: &Value) -> bool {
    let of_api = |manifest: &&Value| manifest["apiVersion"].as_str().is_some_and(|api| api.starts_with("rbac."));
    let found: Vec<_> = release.0.iter().filter(of_api).collect();
    if !writes_events(&pod["containers"][0]) {
        return found.is_empty();
    }
    let (Some(role), Some(binding)) = (release.only("ClusterRole"), release.only("ClusterRoleBinding")) else {
        return false;
    };
    let account = release.only("ServiceAccount").map(|account| &account["metadata"]);
    let subjects: Vec<_> = items(&binding["subjects"]).collect();
    found.len() == 2
        && role["rules"]
            == json!([{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}])
        && role["aggregationRule"].is_null()
        && binding["roleRef"]["kind"] == "ClusterRole"
        && binding["roleRef"]["name"] == role["metadata"]["name"]
        && matches!((subjects.as_slice(), account), ([subject], Some(account))
            if subject["kind"] == "ServiceAccount" && subject["name"] == pod["serviceAccountName"]
                && subject["namespace"] == account["namespace"])
}

/// Whether a quota, if there is one, is for pods of this one's priority class.
fn admitted(release: &Release<'_>, pod: &Value) -> bool {
    let quotas = release.0.iter().filter(|manifest| manifest["kind"] == "ResourceQuota");
    quotas.into_iter().all(|quota| {
        let classes = &quota["spec"]["scopeSelector"]["matchExpressions"][0]["values"];
        items(classes).any(|class| *class == pod["priorityClassName"])
    })
}

fn annotated(template: &Value) -> bool {
    template["metadata"]["annotations"]["prometheus.io/scrape"].is_string()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn contains(all: &Value, some: &Value) -> bool {
    some.as_object().is_some_and(|some| !some.is_empty() && some.iter().all(|(key, value)| all[key] == *value))
}

fn mounts_volumes(pod: &Value) -> bool {
    items(&pod["containers"][0]["volumeMounts"])
        .all(|mount| items(&pod["volumes"]).any(|volume| volume["name"] == mount["name"]))
}

fn configured(release: &Release<'_>, pod: &Value) -> bool {
    let Some(config) = release.only("ConfigMap") else { return false };
    let used = items(&pod["volumes"]).filter(|volume| volume["configMap"].is_object());
    config["data"]["config.toml"].is_string()
        && used.into_iter().all(|volume| volume["configMap"]["name"] == config["metadata"]["name"])
}

/// Below these, the node mounts and unmounts all the time.
fn lets_go(mount: &Value) -> bool {
    let busy =
        ["journal", "containerd", "k3s", "crio", "runtime", "log", "cgroup"].iter().any(|name| mount["name"] == *name);
    !busy || mount["mountPropagation"] == "HostToContainer"
}

fn few_capabilities(context: &Value) -> bool {
    context["privileged"] == true
        || context["capabilities"]["drop"] == json!(["ALL"])
            && items(&context["capabilities"]["add"]).all(|added| CAPABILITIES.iter().any(|known| added == known))
}

/// Neither all of `/run`, nor a folder with a runtime's socket that is not asked for.
fn few_of_run(volume: &Value) -> bool {
    let path = volume["hostPath"]["path"].as_str().unwrap_or_default();
    path != "/" && path != "/run" && (volume["name"] == "runtime" || !["/run/containerd", "/run/crio"].contains(&path))
}

fn limited(resources: &Value) -> bool {
    let mebibytes = |value: &Value| value.as_str().and_then(|text| text.strip_suffix("Mi")?.parse::<u32>().ok());
    match (mebibytes(&resources["requests"]["memory"]), mebibytes(&resources["limits"]["memory"])) {
        (Some(request), Some(limit)) => request < limit,
        _ => false,
    }
}

fn probes_reach(container: &Value) -> bool {
    let ports = || items(&container["ports"]).map(|port| &port["name"]);
    ["livenessProbe", "readinessProbe"].iter().all(|probe| {
        let asked = &container[probe]["httpGet"]["port"];
        asked.is_null() || ports().any(|port| port == asked)
    })
}

fn monitored(release: &Release<'_>, template: &Value) -> bool {
    let monitors = release.0.iter().filter(|manifest| manifest["kind"] == CUSTOM);
    monitors.into_iter().all(|monitor| {
        let ports = &template["spec"]["containers"][0]["ports"];
        contains(&template["metadata"]["labels"], &monitor["spec"]["selector"]["matchLabels"])
            && items(&monitor["spec"]["podMetricsEndpoints"])
                .all(|end| items(ports).any(|port| port["name"] == end["port"]))
    })
}

/// Where the annotations of a set's pods are.
const ANNOTATIONS: &str = "/spec/template/metadata/annotations";

/// Where two releases run different pods. Names and labels are each tool's own.
pub(super) fn differences(first: &[Value], second: &[Value]) -> Vec<String> {
    let (first, second) = (Release(first), Release(second));
    let parts = [
        ("/spec/template/spec", "the pod"),
        ("/spec/updateStrategy", "how it is updated"),
        (ANNOTATIONS, "the pod's annotations"),
    ];
    let mut differences = Vec::new();
    for (pointer, what) in parts {
        let of = |release: &Release<'_>| {
            let part = release.only("DaemonSet").and_then(|set| set.pointer(pointer)).map(comparable);
            // An empty list of annotations need not be there.
            part.or_else(|| (pointer == ANNOTATIONS).then(|| json!({})))
        };
        if of(&first) != of(&second) || of(&first).is_none() {
            differences.push(format!("{what} differs: {} and {}", json!(of(&first)), json!(of(&second))));
        }
    }
    let last_line = |release: &Release<'_>| {
        let text = release.only("ConfigMap")?["data"]["config.toml"].as_str()?;
        Some(text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n"))
    };
    if last_line(&first) != last_line(&second) {
        differences.push("the configuration differs".to_owned());
    }
    differences
}

/// Without what is the tools' own way of rolling a changed configuration out.
fn comparable(part: &Value) -> Value {
    let mut part = part.clone();
    if let Some(annotations) = part.as_object_mut() {
        annotations.remove("checksum/config");
    }
    if let Some(volumes) = part.get_mut("volumes").and_then(Value::as_array_mut) {
        for volume in volumes.iter_mut().filter(|volume| volume["configMap"].is_object()) {
            volume["configMap"]["name"] = Value::Null;
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A release that keeps every rule.
    fn release() -> Vec<Value> {
        let context = json!({"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"], "add": ["BPF"]}});
        let container = json!({
            "image": image::NAME,
            "securityContext": context,
            "resources": {"requests": {"memory": "32Mi"}, "limits": {"memory": "128Mi"}},
            "ports": [{"name": "metrics"}],
            "livenessProbe": {"httpGet": {"port": "metrics"}},
            "readinessProbe": {"httpGet": {"port": "metrics"}},
            "env": [{"name": ALIVE_FILE, "value": "/run/oomtrace/alive"}],
            "volumeMounts": [
                {"name": "log", "readOnly": true, "mountPropagation": "HostToContainer"},
                {"name": "run", "mountPath": "/run/oomtrace"},
            ],
        });
        let pod = json!({
            "containers": [container],
            "hostPID": false,
            "volumes": [
                {"name": "log", "hostPath": {"path": "/var/log"}},
                {"name": "config", "configMap": {"name": "x"}},
                {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            ],
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "priorityClassName": "x",
            "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": false,
            "serviceAccountName": "x",
        });
        let template = json!({"metadata": {"labels": {"app": "x"}, "annotations": {"a": "b"}}, "spec": pod});
        vec![
            json!({"kind": "DaemonSet", "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template}}),
            json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"config.toml": ""}}),
            json!({"kind": "ServiceAccount", "metadata": {"name": "x"}}),
            json!({"kind": CUSTOM, "spec": {"selector": {"matchLabels": {"app": "x"}}, "podMetricsEndpoints": [{"port": "metrics"}]}}),
            json!({"kind": "ResourceQuota", "spec": {"scopeSelector": {"matchExpressions": [{"values": ["x"]}]}}}),
        ]
    }

    const QUOTA: &str = "/spec/scopeSelector/matchExpressions/0/values";

    /// What is said of a release with one thing changed.
    fn with(manifest: usize, pointer: &str, value: Value) -> Vec<String> {
        let mut manifests = release();
        *manifests[manifest].pointer_mut(pointer).expect("there is such a thing") = value;
        broken(&Release(&manifests))
    }

    #[test]
    fn a_release_that_keeps_the_rules_breaks_none() {
        assert_eq!(broken(&Release(&release())), Vec::<String>::new());
    }

    #[test]
    fn each_rule_can_be_broken() {
        let container = "/spec/template/spec/containers/0";
        let broken = [
            (0, format!("{container}/image"), json!("oomtrace:latest"), "it is not called what the image is called"),
            (0, "/spec/selector/matchLabels".to_owned(), json!({"app": "y"}), "it selects other pods than its own"),
            (
                0,
                format!("{container}/securityContext/readOnlyRootFilesystem"),
                json!(false),
                "it writes to its own root",
            ),
            (0, format!("{container}/volumeMounts/0/readOnly"), json!(false), "it mounts what may be written"),
            (0, "/spec/template/spec/volumes/0/name".to_owned(), json!("y"), "it mounts what is no volume"),
            (1, "/metadata/name".to_owned(), json!("y"), "its configuration is of another name"),
            (
                0,
                format!("{container}/volumeMounts/0/mountPropagation"),
                json!("None"),
                "it keeps mounts of the node's alive",
            ),
            (
                0,
                format!("{container}/securityContext/capabilities/add"),
                json!(["NET_ADMIN"]),
                "it has capabilities of which nobody knows what they are for",
            ),
            (0, "/spec/template/spec/hostPID".to_owned(), json!(true), "it shares a namespace of the node's"),
            (
                0,
                "/spec/template/metadata/annotations".to_owned(),
                json!({"container.apparmor.security.beta.kubernetes.io/oomtrace": "unconfined"}),
                "it is freed from the runtime's AppArmor profile",
            ),
            (
                0,
                "/spec/template/spec/volumes/0/hostPath/path".to_owned(),
                json!("/run"),
                "it mounts more of the node's /run than it reads",
            ),
            (
                0,
                "/spec/template/spec/volumes/0/hostPath/path".to_owned(),
                json!("/run/containerd"),
                "it mounts more of the node's /run than it reads",
            ),
            (0, "/spec/template/spec/tolerations".to_owned(), json!([]), "taints keep it away"),
            (
                0,
                format!("{container}/resources/limits/memory"),
                json!("32Mi"),
                "it has no memory limit above its request",
            ),
            (
                0,
                format!("{container}/livenessProbe/httpGet/port"),
                json!("http"),
                "a probe asks a port that is not there",
            ),
            (
                0,
                format!("{container}/livenessProbe"),
                Value::Null,
                "nothing asks whether it is alive, and whether it traces",
            ),
            (
                0,
                format!("{container}/env/0/value"),
                json!("/var/log/alive"),
                "`oomtrace healthy` has no file that both may have",
            ),
            (
                0,
                "/spec/template/spec/nodeSelector".to_owned(),
                json!({"kubernetes.io/arch": "amd64"}),
                "it is kept to nodes of one architecture",
            ),
            (
                0,
                "/spec/template/metadata/annotations".to_owned(),
                json!({"prometheus.io/scrape": "true"}),
                "it is scraped twice",
            ),
            (
                0,
                "/spec/template/spec/automountServiceAccountToken".to_owned(),
                json!(true),
                "it holds a token of the API that it does not need",
            ),
            (4, QUOTA.to_owned(), json!(["y"]), "its quota does not admit its priority class"),
            (2, "/metadata/name".to_owned(), json!("y"), "its service account is not there"),
            (3, "/spec/selector/matchLabels".to_owned(), json!({"app": "y"}), "the PodMonitor does not find it"),
        ];
        for (manifest, pointer, value, rule) in broken {
            assert_eq!(with(manifest, &pointer, value), [rule]);
        }
    }

    #[test]
    fn who_writes_events_has_a_token_and_the_rights_for_just_that() {
        const TOKEN: &str = "it holds a token of the API that it does not need";
        const RIGHTS: &str = "it may do something else in the API than create and patch Events";
        let api = "rbac.authorization.k8s.io/v1";
        let role = json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": "events"}, "rules": [
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        ]});
        let subject = json!({"kind": "ServiceAccount", "name": "x", "namespace": "n"});
        let binding = json!({
            "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": "events"}, "subjects": [subject],
            "roleRef": {"kind": "ClusterRole", "name": "events"},
        });
        let mut with_events = release();
        let pod = &mut with_events[0]["spec"]["template"]["spec"];
        pod["automountServiceAccountToken"] = json!(true);
        if let Some(env) = pod["containers"][0]["env"].as_array_mut() {
            env.push(json!({"name": EVENTS, "value": "true"}));
        }
        with_events[2]["metadata"]["namespace"] = json!("n");
        with_events.extend([role.clone(), binding]);
        assert_eq!(broken(&Release(&with_events)), Vec::<String>::new());
        let changed = |manifest: usize, pointer: &str, value: Value| {
            let mut manifests = with_events.clone();
            *manifests[manifest].pointer_mut(pointer).expect("there is such a thing") = value;
            broken(&Release(&manifests))
        };
        assert_eq!(changed(0, "/spec/template/spec/automountServiceAccountToken", json!(false)), [TOKEN]);
        assert_eq!(changed(5, "/rules/0/verbs", json!(["create", "patch", "get"])), [RIGHTS]);
        assert_eq!(changed(5, "/rules/0/apiGroups", json!(["events.k8s.io", ""])), [RIGHTS]);
        assert_eq!(changed(6, "/roleRef/name", json!("cluster-admin")), [RIGHTS]);
        assert_eq!(changed(6, "/subjects/0/name", json!("y")), [RIGHTS]);
        let mut without = release();
        without.push(role);
        assert_eq!(broken(&Release(&without)), [RIGHTS]);
    }

    #[test]
    fn pods_differ_in_anything_but_the_configurations_name() {
        let mut other = release();
        other[0]["spec"]["template"]["spec"]["volumes"][1]["configMap"]["name"] = json!("x-hash");
        for release in [&mut other, &mut release()] {
            release[0]["spec"]["updateStrategy"] = json!({});
        }
        let complete = |mut manifests: Vec<Value>| {
            manifests[0]["spec"]["updateStrategy"] = json!({});
            manifests[0]["spec"]["template"]["metadata"]["annotations"] = json!({});
            manifests
        };
        assert_eq!(differences(&complete(release()), &complete(other.clone())), Vec::<String>::new());
        other[0]["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        assert_eq!(differences(&complete(release()), &complete(other)).len(), 1);
    }
}
