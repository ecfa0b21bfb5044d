//! Pods that keep what they have: `oomtrace memory` says of each, and of its containers, what the kubelet says, and
//! `oomtrace node` of the node and its budget.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::stage::Stage;
use crate::lab::NODE;

/// By then the pods have what they take, and the kubelet has read it: it does so every ten to fifteen seconds.
const SETTLED: Duration = Duration::from_secs(40);
/// So far may two readings be apart: what processors hold in reserve for a cgroup (64 pages each) comes and goes.
const APART: u64 = 2 * 64 * 4096;
/// So far may two readings of the whole node be apart: its daemons work on, and the kubelet's may be fifteen seconds old.
const NODE_APART: u64 = 32 << 20;

pub(super) fn act(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_running(3)?;
    thread::sleep(SETTLED);
    let summary = stage.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{NODE}/proxy/stats/summary")])?;
    let summary: Value = serde_json::from_str(&summary).context("/stats/summary is not JSON")?;
    for pod in ["steady-heap", "steady-volume"] {
        compare(stage, pod, &summary).with_context(|| format!("the figures of {pod}"))?;
    }
    compare_node(stage, &summary).context("the figures of the node")
}

fn compare_node(stage: &Stage<'_>, summary: &Value) -> Result<()> {
    let node = stage.kubectl(&["get", "node", NODE, "--output", "json"])?;
    let node: Value = serde_json::from_str(&node).context("the node's object is not JSON")?;
    let ours = stage.on_node("oomtrace node --format json")?;
    let ours: Value = serde_json::from_str(&ours).context("oomtrace node did not print JSON")?;
    // The scheduler's figures, to the byte.
    for (what, known) in [("capacity", "capacity"), ("allocatable", "allocatable")] {
        let kubernetes = node["status"][known]["memory"].as_str().and_then(kibibytes);
        let kubernetes = kubernetes.with_context(|| format!("the node has no {known} in KiB"))?;
        same(what, ours["budget"][what]["bytes"].as_u64(), &kubernetes.into(), 0)?;
    }
    let signals = ours["now"]["signals"].as_array().context("oomtrace node has no signals")?;
    let signal = signals.iter().find(|signal| signal["signal"] == "memory.available");
    let signal = signal.context("oomtrace node does not have memory.available")?;
    let kubelets = &summary["node"]["memory"];
    if kubelets["workingSetBytes"].as_u64().unwrap_or(0) == 0 {
        // It reads files of the hierarchy's root that cgroup v2 does not have, and takes all memory for available.
        println!("this kubelet knows no working set of the node on cgroup v2: not compared");
        return compare_pods(stage, &ours, summary);
    }
    same("memory.available", signal["available_bytes"].as_u64(), &kubelets["availableBytes"], NODE_APART)?;
    same("the node's working set", signal["working_set_bytes"].as_u64(), &kubelets["workingSetBytes"], NODE_APART)?;
    compare_pods(stage, &ours, summary)
}

fn compare_pods(stage: &Stage<'_>, ours: &Value, summary: &Value) -> Result<()> {
    for pod in ["steady-heap", "steady-volume"] {
        let own = ours["pods"].as_array().into_iter().flatten();
        let name = format!("{}/{pod}", stage.namespace());
        let own = own.filter(|own| own["name"] == name).find_map(|own| own["working_set_bytes"].as_u64());
        let kubelets = &of_pod(stage, pod, summary)?["memory"]["workingSetBytes"];
        same(&format!("working set of {pod} in the node's report"), own, kubelets, APART)?;
    }
    Ok(())
}

/// `2020528Ki`, as the API has memory.
fn kibibytes(quantity: &str) -> Option<u64> {
    quantity.strip_suffix("Ki")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn of_pod<'a>(stage: &Stage<'_>, pod: &str, summary: &'a Value) -> Result<&'a Value> {
    let pods = summary["pods"].as_array().context("/stats/summary has no pods")?;
    let is_it = |other: &Value| other["podRef"]["name"] == pod && other["podRef"]["namespace"] == stage.namespace();
    pods.iter().find(|other| is_it(other)).context("/stats/summary does not have it")
}

fn compare(stage: &Stage<'_>, pod: &str, summary: &Value) -> Result<()> {
    let kubelets = of_pod(stage, pod, summary)?;
    let ours = stage.on_node(&format!("oomtrace memory {}/{pod} --format json", stage.namespace()))?;
    let ours: Value = serde_json::from_str(&ours).context("oomtrace memory did not print JSON")?;
    let lens = |name: &str| {
        let lenses = ours["lenses"].as_array().into_iter().flatten();
        lenses.filter(|lens| lens["name"] == name).find_map(|lens| lens["bytes"].as_u64())
    };
    same("usage", lens("usage"), &kubelets["memory"]["usageBytes"], APART)?;
    same("working set", lens("working set"), &kubelets["memory"]["workingSetBytes"], APART)?;
    let containers = kubelets["containers"].as_array().context("/stats/summary has no containers of it")?;
    ensure!(!containers.is_empty(), "/stats/summary has no containers of it");
    for container in containers {
        let own = ours["containers"].as_array().into_iter().flatten().find(|own| own["name"] == container["name"]);
        let own = own.and_then(|own| own["working_set_bytes"].as_u64());
        same(&format!("working set of {}", container["name"]), own, &container["memory"]["workingSetBytes"], APART)?;
    }
    Ok(())
}

fn same(what: &str, ours: Option<u64>, kubelets: &Value, apart: u64) -> Result<()> {
    let (Some(ours), Some(kubelets)) = (ours, kubelets.as_u64()) else {
        bail!("{what}: oomtrace says {ours:?}, the kubelet {kubelets}");
    };
    println!("{what}: {ours} bytes, the kubelet {kubelets}");
    ensure!(ours.abs_diff(kubelets) <= apart, "{what}: oomtrace says {ours} bytes, the kubelet {kubelets}");
    Ok(())
}
