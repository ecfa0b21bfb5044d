//! `cargo xtask manifests`: what is in `deploy/` for a cluster, rendered as a cluster's tools would and judged as its API
//! would: by kubectl's kustomize, by Helm, and by the API's schemas. And the unit for a host without a cluster, and
//! the configurations of log stacks that nothing here can run, and the queries, run by the engines that they are for.

mod chart;
mod log_stacks;
mod queries;
mod render;
mod rules;
mod unit;
mod workflows;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

pub(crate) use self::render::{overlay, overlay_text};
use self::{
    render::{chart as render, lint, refused},
    rules::Release,
};

/// The oldest Kubernetes whose schemas are to be had, and the newest.
const VERSIONS: [&str; 2] = ["1.25", "1.37"];
/// Not the API's own: its schema is the Prometheus operator's.
const CUSTOM: &str = "PodMonitor";

#[derive(Args)]
#[command(
    after_help = "Renders the overlays of deploy/kustomize, and by Helm deploy/helm/oomtrace with several values, and checks each against \
                  the schemas of Kubernetes 1.25 and 1.37, where nothing unknown is let pass, and against what oomtrace means \
                  to be: that it may write nowhere, that it may do nothing in the API but create and patch Events, and that only where \
                  these are asked for, that the chart and the overlays say the same. Runs deploy/queries in jq, DuckDB, \
                  ClickHouse and promtool, and reads OpenTelemetry's form of the same lines as OTLP. Needs python3 with pip, and jq."
)]
pub(crate) struct Manifests {}

pub(crate) fn run(_: &Manifests) -> Result<ExitCode> {
    let judged = judge()?;
    Ok(if judged.iter().all(|fine| *fine) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Renders and judges everything, says so on standard output, and gives of each rendering whether it is fine.
pub(crate) fn judge() -> Result<Vec<bool>> {
    let metrics = json!({"metrics": {"enabled": true}});
    let socket = json!({"metrics": {"enabled": true}, "runtimeSocket": {"enabled": true}});
    let events = json!({"metrics": {"enabled": true}, "k8sEvents": {"enabled": true}});
    let renderings = [
        ("kustomize, plain".to_owned(), overlay("plain")?),
        ("kustomize, prometheus".to_owned(), overlay("prometheus")?),
        ("chart, as it comes".to_owned(), render(&json!({}))?),
        (format!("chart with {metrics}"), render(&metrics)?),
        ("kustomize, runtime-socket".to_owned(), overlay("runtime-socket")?),
        (format!("chart with {socket}"), render(&socket)?),
        ("kustomize, k8s-events".to_owned(), overlay("k8s-events")?),
        (format!("chart with {events}"), render(&events)?),
    ];
    let more = [
        json!({"metrics": {"enabled": true, "podMonitor": {"enabled": true, "labels": {"release": "x"}}}}),
        json!({"metrics": {"enabled": true}, "networkPolicy": {"enabled": true, "allowedNamespaces": ["monitoring"]}}),
        json!({"networkPolicy": {"enabled": true, "egress": [{"ports": [{"port": 10250}]}]}, "resourceQuota": {"enabled": true}}),
        json!({
            "extraVolumes": [{"name": "docker", "hostPath": {"path": "/var/lib/docker"}}],
            "extraVolumeMounts": [{"name": "docker", "mountPath": "/host/var/lib/docker", "readOnly": true}],
        }),
        json!({
            "podSecurityContext": {"supplementalGroups": [4]},
            "securityContext": {"seLinuxOptions": {"type": "spc_t"}, "runAsGroup": 0},
            "serviceAccount": {"name": "tracer", "annotations": {"a": "b"}},
        }),
        json!({"privileged": true}),
        json!({"otlp": {"endpoint": "http://collector:4318"}}),
        json!({"k8sEvents": {"enabled": true}, "serviceAccount": {"name": "tracer"}}),
        json!({"kubeletLog": {"enabled": false}, "extraArgs": ["--heartbeat=1m"], "extraEnv": [{"name": "NO_COLOR", "value": "1"}]}),
        json!({"imagePullSecrets": [{"name": "x"}], "podLabels": {"a": "b"}, "podAnnotations": {"a": "b"}, "affinity": {"nodeAffinity": {}}}),
    ];
    let alike = |first: usize, second: usize| rules::differences(&renderings[first].1, &renderings[second].1);
    let mut judged = vec![
        say("the chart as it comes is the plain overlay", &alike(0, 2)),
        say("the chart with metrics is the overlay for Prometheus", &alike(1, 3)),
        say("the chart with the runtime's socket is the overlay with it", &alike(4, 5)),
        say("the chart with Kubernetes Events is the overlay for them", &alike(6, 7)),
    ];
    for (name, manifests) in renderings {
        judged.push(say(&name, &complaints(&manifests)?));
    }
    for values in more {
        let mut complaints = complaints(&render(&values)?)?;
        complaints.extend(lint(&values));
        judged.push(say(&format!("chart with {values}"), &complaints));
    }
    for (name, complaints) in chart::complaints()? {
        judged.push(say(name, &complaints));
    }
    for (name, complaints) in log_stacks::complaints()? {
        judged.push(say(&format!("configuration for {name}, which is not run here"), &complaints));
    }
    for (name, complaints) in queries::complaints()? {
        judged.push(say(name, &complaints));
    }
    for (name, complaints) in workflows::complaints()? {
        judged.push(say(&format!("the workflow {name}, by actionlint"), &complaints));
    }
    judged.push(say("the unit, by systemd-analyze", &unit::complaints(unit::UNIT)?));
    Ok(judged)
}

fn complaints(manifests: &[Value]) -> Result<Vec<String>> {
    let of_the_api: Vec<_> = manifests.iter().filter(|manifest| manifest["kind"] != CUSTOM).cloned().collect();
    let mut complaints = rules::broken(&Release(manifests));
    for version in VERSIONS {
        complaints.extend(
            refused(version, &of_the_api)?.into_iter().map(|refusal| format!("Kubernetes {version}: {refusal}")),
        );
    }
    Ok(complaints)
}

fn say(what: &str, complaints: &[String]) -> bool {
    println!("{what}: {}", if complaints.is_empty() { "ok" } else { "REFUSED" });
    for complaint in complaints {
        println!("    {complaint}");
    }
    complaints.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_complaint_is_not_fine() {
        assert!(say("a manifest", &[]));
        assert!(!say("a manifest", &["it is wrong".to_owned()]));
    }
}
