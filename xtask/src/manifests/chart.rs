//! The chart by itself: what Helm refuses, what each option renders, what is said after an installation, and whether the chart's
//! README lists every value with its default.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::render::{CHART, chart, notes, text, yaml};

/// The question that was asked, and what is wrong with the answer.
pub(super) fn complaints() -> Result<[(&'static str, Vec<String>); 4]> {
    Ok([
        ("values that the chart does not have, refused by Helm", not_refused()),
        ("what each of the chart's options renders", not_rendered()?),
        ("the chart's notes", not_noted()?),
        ("the values in the chart's README", {
            unlisted(&yaml(&format!("{CHART}/values.yaml"))?, &text(&format!("{CHART}/README.md"))?)
        }),
    ])
}

/// Wrong values of every kind, and what Helm has to say of each.
fn wrong() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"metric": {"enabled": true}}), "additional properties 'metric' not allowed"),
        (json!({"metrics": {"enable": true}}), "at '/metrics': additional properties 'enable' not allowed"),
        (json!({"metrics": {"podMonitor": {"labls": {}}}}), "additional properties 'labls' not allowed"),
        (json!({"metrics": {"enabled": "yes"}}), "at '/metrics/enabled': got string, want boolean"),
        (json!({"metrics": {"port": "9477"}}), "at '/metrics/port': got string, want integer"),
        (json!({"metrics": {"port": 94770}}), "at '/metrics/port'"),
        // It would select pods that have no such port.
        (json!({"metrics": {"podMonitor": {"enabled": true}}}), "at '/metrics/enabled': value must be true"),
        (json!({"image": {"pullPolicy": "Sometimes"}}), "at '/image/pullPolicy'"),
        (json!({"config": {"heartbeat": "5m"}}), "at '/config': got object, want string"),
        (json!({"extraArgs": "--all"}), "at '/extraArgs': got string, want array"),
        (json!({"extraVolumeMounts": [{"name": "x"}]}), "missing property 'mountPath'"),
        (json!({"extraCapabilities": ["CAP_SYS_PTRACE"]}), "at '/extraCapabilities/0'"),
        (json!({"runtimeSocket": {"folder": "run/containerd"}}), "at '/runtimeSocket/folder'"),
        (json!({"networkPolicy": {"allowedNamespaces": "monitoring"}}), "want array"),
        (json!({"k8sEvents": true}), "at '/k8sEvents': got boolean, want object"),
        (json!({"k8sEvents": {"verbs": ["get"]}}), "at '/k8sEvents': additional properties 'verbs' not allowed"),
        (json!({"otlp": {"endpoint": "collector:4318"}}), "at '/otlp/endpoint'"),
        (json!({"otlp": {"protocol": "http/json"}}), "at '/otlp/protocol'"),
        (json!({"serviceAccount": {"automount": true}}), "additional properties 'automount' not allowed"),
        // What is the chart's own to set would be there twice.
        (json!({"securityContext": {"privileged": true}}), "additional properties 'privileged' not allowed"),
        (json!({"resourceQuota": {"enabled": true}, "priorityClassName": ""}), "needs a priorityClassName"),
    ]
}

fn not_refused() -> Vec<String> {
    let refused = |(values, words): (Value, &str)| match chart(&values) {
        Ok(_) => Some(format!("{values} is not refused")),
        Err(error) => {
            let said = format!("{error:#}");
            (!said.contains(words)).then(|| format!("{values} is refused, but without `{words}`: {said}"))
        }
    };
    wrong().into_iter().filter_map(refused).collect()
}

const POD: &str = "/spec/template/spec";

/// Of each option a value, and what it makes of which manifest. `null`: there is none.
fn promises() -> Vec<(Value, &'static str, String, Value)> {
    let pod = |path: &str| format!("{POD}{path}");
    let annotations = "/spec/template/metadata/annotations";
    let scraped = |path: &str| format!("{annotations}/prometheus.io~1{path}");
    let metrics = |more: Value| {
        let mut metrics = json!({"enabled": true});
        metrics.as_object_mut().zip(more.as_object()).into_iter().for_each(|(to, more)| to.extend(more.clone()));
        json!({"metrics": metrics})
    };
    let policy = |more: Value| {
        let mut values = metrics(json!({}));
        values["networkPolicy"] = more;
        values
    };
    let monitor = json!({"podMonitor": {"enabled": true, "interval": "10s"}});
    let volume = json!({"name": "x", "hostPath": {"path": "/x"}});
    let mount = json!({"name": "x", "mountPath": "/host/x"});
    let set = "DaemonSet";
    vec![
        (json!({}), set, pod("/containers/0/startupProbe/exec/command"), json!(["oomtrace", "healthy"])),
        (json!({}), set, pod("/containers/0/livenessProbe/exec/command"), json!(["oomtrace", "healthy"])),
        (json!({}), set, pod("/nodeSelector"), json!({"kubernetes.io/os": "linux"})),
        (json!({}), "NetworkPolicy", String::new(), Value::Null),
        (json!({}), "ResourceQuota", String::new(), Value::Null),
        (metrics(json!({})), set, pod("/containers/0/livenessProbe/httpGet/path"), json!("/healthz")),
        (metrics(json!({})), set, pod("/containers/0/livenessProbe/exec"), Value::Null),
        (metrics(json!({})), set, scraped("scrape"), json!("true")),
        (metrics(json!({"port": 9999})), set, scraped("port"), json!("9999")),
        (metrics(json!({"port": 9999})), set, pod("/containers/0/ports/0/containerPort"), json!(9999)),
        (metrics(json!({"annotations": false})), set, scraped("scrape"), Value::Null),
        (metrics(monitor.clone()), set, scraped("scrape"), Value::Null),
        (metrics(monitor), "PodMonitor", "/spec/podMetricsEndpoints/0/interval".to_owned(), json!("10s")),
        (json!({"extraVolumes": [volume]}), set, pod("/volumes/11"), volume.clone()),
        (json!({"extraVolumeMounts": [mount]}), set, pod("/containers/0/volumeMounts/11"), mount.clone()),
        (
            json!({"podSecurityContext": {"supplementalGroups": [4]}}),
            set,
            pod("/securityContext"),
            json!({"supplementalGroups": [4]}),
        ),
        (
            json!({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}),
            set,
            pod("/containers/0/securityContext/appArmorProfile/type"),
            json!("RuntimeDefault"),
        ),
        (
            json!({"securityContext": {"runAsGroup": 4}}),
            set,
            pod("/containers/0/securityContext/readOnlyRootFilesystem"),
            json!(true),
        ),
        (json!({"serviceAccount": {"name": "x"}}), "ServiceAccount", "/metadata/name".to_owned(), json!("x")),
        (json!({"serviceAccount": {"name": "x"}}), set, pod("/serviceAccountName"), json!("x")),
        (
            json!({"serviceAccount": {"annotations": {"a": "b"}}}),
            "ServiceAccount",
            "/metadata/annotations/a".to_owned(),
            json!("b"),
        ),
        (json!({"serviceAccount": {"create": false}}), "ServiceAccount", String::new(), Value::Null),
        (json!({"serviceAccount": {"create": false}}), set, pod("/serviceAccountName"), json!("default")),
        (
            policy(json!({"enabled": true, "allowedNamespaces": ["a", "b"]})),
            "NetworkPolicy",
            "/spec/ingress/0/from/0/namespaceSelector/matchExpressions/0/values".to_owned(),
            json!(["a", "b"]),
        ),
        (policy(json!({"enabled": true})), "NetworkPolicy", "/spec/ingress".to_owned(), json!([])),
        (policy(json!({"enabled": true})), "NetworkPolicy", "/spec/egress".to_owned(), json!([])),
        (
            policy(json!({"enabled": true, "egress": [{"ports": [{"port": 10250}]}]})),
            "NetworkPolicy",
            "/spec/egress/0/ports/0/port".to_owned(),
            json!(10250),
        ),
        (
            json!({"resourceQuota": {"enabled": true, "pods": 7}}),
            "ResourceQuota",
            "/spec/hard/pods".to_owned(),
            json!("7"),
        ),
        (
            json!({"resourceQuota": {"enabled": true}, "priorityClassName": "mine"}),
            "ResourceQuota",
            "/spec/scopeSelector/matchExpressions/0/values".to_owned(),
            json!(["mine"]),
        ),
    ]
}

/// The same of OTLP.
fn promises_of_otlp() -> Vec<(Value, &'static str, String, Value)> {
    let variable = |number: u32| format!("{POD}/containers/0/env/{number}");
    let url = "http://collector:4317";
    let otlp = json!({"otlp": {"endpoint": url, "protocol": "grpc"}});
    let set = "DaemonSet";
    vec![
        (json!({}), set, variable(0), json!({"name": "OOMTRACE_HOST_ROOT", "value": "/host"})),
        (otlp.clone(), set, variable(0), json!({"name": "OOMTRACE_OTLP", "value": url})),
        (otlp, set, variable(1), json!({"name": "OOMTRACE_OTLP_PROTOCOL", "value": "grpc"})),
    ]
}

/// The same of Kubernetes Events.
fn promises_of_events() -> Vec<(Value, &'static str, String, Value)> {
    let pod = |path: &str| format!("{POD}{path}");
    let events = json!({"k8sEvents": {"enabled": true}});
    let set = "DaemonSet";
    vec![
        (json!({}), "ClusterRole", String::new(), Value::Null),
        (json!({}), "ClusterRoleBinding", String::new(), Value::Null),
        (json!({}), set, pod("/automountServiceAccountToken"), json!(false)),
        (events.clone(), set, pod("/automountServiceAccountToken"), json!(true)),
        (events.clone(), set, pod("/containers/0/env/0"), json!({"name": "OOMTRACE_K8S_EVENTS", "value": "true"})),
        (events.clone(), "ClusterRole", "/rules/0/verbs".to_owned(), json!(["create", "patch"])),
        (
            json!({"k8sEvents": {"enabled": true}, "serviceAccount": {"name": "x"}}),
            "ClusterRoleBinding",
            "/subjects".to_owned(),
            json!([{"kind": "ServiceAccount", "name": "x", "namespace": "oomtrace"}]),
        ),
    ]
}

fn not_rendered() -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for (values, kind, pointer, promised) in
        promises().into_iter().chain(promises_of_events()).chain(promises_of_otlp())
    {
        let manifests = chart(&values)?;
        let found = manifests.iter().find(|manifest| manifest["kind"] == kind).and_then(|one| one.pointer(&pointer));
        let found = found.unwrap_or(&Value::Null);
        if *found != promised {
            complaints.push(format!("{values}: {kind} has {found} at {pointer}, not {promised}"));
        }
    }
    Ok(complaints)
}

/// Where the notes lack what somebody has to know, or have what is not the case.
fn not_noted() -> Result<Vec<String>> {
    const QUOTA: &str = "resourceQuota.enabled=true";
    let label = "kubectl label namespace oomtrace pod-security.kubernetes.io/enforce=privileged";
    let metrics = json!({"metrics": {"enabled": true, "podMonitor": {"enabled": true}}});
    let policy = json!({"metrics": {"enabled": true}, "networkPolicy": {"enabled": true}});
    let quota = json!({"resourceQuota": {"enabled": true}});
    let events = json!({"k8sEvents": {"enabled": true}});
    let kept_in = json!({"k8sEvents": {"enabled": true}, "networkPolicy": {"enabled": true}});
    let sent = json!({"otlp": {"endpoint": "http://collector:4318"}, "networkPolicy": {"enabled": true}});
    let (nothing, ours, system) = (json!({}), "oomtrace", "kube-system");
    let expected = [
        (ours, &nothing, label, true),
        (ours, &nothing, QUOTA, true),
        (ours, &nothing, "metrics.enabled=true serves them", true),
        (system, &nothing, QUOTA, false),
        (ours, &quota, QUOTA, false),
        (ours, &metrics, "scraped by the PodMonitor", true),
        (ours, &policy, "scraped by the annotations", true),
        (ours, &policy, "networkPolicy.allowedNamespaces", true),
        (ours, &nothing, "Events", false),
        (ours, &events, "--field-selector source=oomtrace.dev/oomtrace", true),
        (ours, &events, "networkPolicy.egress", false),
        (ours, &kept_in, "networkPolicy.egress", true),
        (ours, &sent, "are sent to http://collector:4318", true),
        (ours, &sent, "networkPolicy.egress", true),
    ];
    let mut complaints = Vec::new();
    for (namespace, values, words, there) in expected {
        if notes(namespace, values)?.contains(words) != there {
            let verb = if there { "do not say" } else { "say" };
            complaints.push(format!("with {values} in {namespace} they {verb} `{words}`"));
        }
    }
    Ok(complaints)
}

/// Where the table of values in a README is not what the values are: `` | `metrics.port` | `9477` | … | ``.
fn unlisted(values: &Value, readme: &str) -> Vec<String> {
    let rows: BTreeMap<_, _> = readme.lines().filter_map(row).collect();
    let mut complaints = Vec::new();
    for (key, default) in &rows {
        match key.split('.').try_fold(values, |value, part| value.get(part)).map(Value::to_string) {
            None => complaints.push(format!("there is no value {key}")),
            Some(value) if *default != value && default != "in values.yaml" => {
                complaints.push(format!("{key} is {value}, not {default}"));
            }
            Some(_) => {}
        }
    }
    let mut keys = Vec::new();
    leaves(values, "", &mut keys);
    let is_listed = |key: &str| rows.keys().any(|row| key == row || key.starts_with(&format!("{row}.")));
    complaints.extend(keys.iter().filter(|key| !is_listed(key)).map(|key| format!("{key} is not listed")));
    complaints
}

/// The value and its default that a line of the table is about.
fn row(line: &str) -> Option<(String, String)> {
    let mut cells = line.strip_prefix("| `")?.split(" | ");
    let key = cells.next()?.strip_suffix('`')?;
    Some((key.to_owned(), cells.next()?.replace('`', "")))
}

/// Every value that is no map of others: what can be set on its own.
fn leaves(value: &Value, path: &str, keys: &mut Vec<String>) {
    match value.as_object().filter(|members| !members.is_empty()) {
        Some(members) => {
            for (key, value) in members {
                leaves(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, keys);
            }
        }
        None => keys.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_the_readme_lacks_or_has_wrong_is_found() {
        let values = json!({"metrics": {"port": 9477, "labels": {}}, "resources": {"limits": {"memory": "1Mi"}}, "config": "x\n"});
        let table = "| value | default | what |\n|---|---|---|\n\
             | `metrics.port` | `9477` | the port |\n| `metrics.labels` | `{}` | labels |\n\
             | `resources` | in values.yaml | memory |\n| `config` | in values.yaml | options |\n";
        assert_eq!(unlisted(&values, table), Vec::<String>::new());
        let without = table.replace("| `metrics.labels` | `{}` | labels |\n", "");
        assert_eq!(unlisted(&values, &without), ["metrics.labels is not listed"]);
        assert_eq!(unlisted(&values, &table.replace("9477", "9478")), ["metrics.port is 9477, not 9478"]);
        let renamed = table.replace("`config`", "`configuration`");
        assert_eq!(unlisted(&values, &renamed), ["there is no value configuration", "config is not listed"]);
    }
}
