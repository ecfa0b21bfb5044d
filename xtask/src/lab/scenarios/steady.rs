//! Pods that keep what they have: `oomtrace memory` says of each, and of its containers, what the kubelet says.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::stage::Stage;
use crate::lab::NODE;

/// By then the pods have what they take, and the kubelet has read it: it does so every ten to fifteen seconds.
const SETTLED: Duration = Duration::from_secs(40);
/// So far may two readings be apart: what processors hold in reserve for a cgroup (64 pages each) comes and goes.
const APART: u64 = 2 * 64 * 4096;

pub(super) fn act(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_running(3)?;
    thread::sleep(SETTLED);
    let summary = stage.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{NODE}/proxy/stats/summary")])?;
    let summary: Value = serde_json::from_str(&summary).context("/stats/summary is not JSON")?;
    for pod in ["steady-heap", "steady-volume"] {
        compare(stage, pod, &summary).with_context(|| format!("the figures of {pod}"))?;
    }
    Ok(())
}

fn compare(stage: &Stage<'_>, pod: &str, summary: &Value) -> Result<()> {
    let pods = summary["pods"].as_array().context("/stats/summary has no pods")?;
    let kubelets =
        pods.iter().find(|other| other["podRef"]["name"] == pod && other["podRef"]["namespace"] == stage.namespace());
    let kubelets = kubelets.context("/stats/summary does not have it")?;
    let ours = stage.on_node(&format!("oomtrace memory {}/{pod} --format json", stage.namespace()))?;
    let ours: Value = serde_json::from_str(&ours).context("oomtrace memory did not print JSON")?;
    let lens = |name: &str| {
        let lenses = ours["lenses"].as_array().into_iter().flatten();
        lenses.filter(|lens| lens["name"] == name).find_map(|lens| lens["bytes"].as_u64())
    };
    same("usage", lens("usage"), &kubelets["memory"]["usageBytes"])?;
    same("working set", lens("working set"), &kubelets["memory"]["workingSetBytes"])?;
    let containers = kubelets["containers"].as_array().context("/stats/summary has no containers of it")?;
    ensure!(!containers.is_empty(), "/stats/summary has no containers of it");
    for container in containers {
        let own = ours["containers"].as_array().into_iter().flatten().find(|own| own["name"] == container["name"]);
        let own = own.and_then(|own| own["working_set_bytes"].as_u64());
        same(&format!("working set of {}", container["name"]), own, &container["memory"]["workingSetBytes"])?;
    }
    Ok(())
}

fn same(what: &str, ours: Option<u64>, kubelets: &Value) -> Result<()> {
    let (Some(ours), Some(kubelets)) = (ours, kubelets.as_u64()) else {
        bail!("{what}: oomtrace says {ours:?}, the kubelet {kubelets}");
    };
    println!("{what}: {ours} bytes, the kubelet {kubelets}");
    ensure!(ours.abs_diff(kubelets) <= APART, "{what}: oomtrace says {ours} bytes, the kubelet {kubelets}");
    Ok(())
}
