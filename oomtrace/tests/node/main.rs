//! `oomtrace node` and `oomtrace memory`, compared with what real kubelets said of their nodes.
//!
//! `data/node-states` has states of nodes of Kubernetes 1.20.2 and 1.36.3 as they were captured: the limits and use of each cgroup,
//! the kubelet's configuration, its `/stats/summary` and `/pods`, the node's status. What was not captured, `memory.stat` and
//! `/proc/meminfo`, is written so that it gives the use that the kubelet reported.

mod folder;
mod memory;
mod replayed;
mod truth;

use std::process::{Command, Output};

use serde_json::Value;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Every captured state.
const STATES: [&str; 6] = [
    "evict-1.20-systemd-later",
    "evict-1.36-systemd-end",
    "evict-1.36-systemd-later",
    "oomkill-1.36-systemd-early",
    "oomkill-1.36-systemd-end",
    "oomkill-1.36-systemd-mid",
];

fn oomtrace(arguments: &[&str]) -> Result<Output, std::io::Error> {
    Command::new(env!("CARGO_BIN_EXE_oomtrace")).args(arguments).env_clear().output()
}

/// What it prints as JSON.
fn json(arguments: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let output = oomtrace(&[arguments, &["--format", "json"]].concat())?;
    if !output.status.success() {
        return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
