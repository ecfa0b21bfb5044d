//! How oomtrace starts.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    check_eq,
    scenarios::Scenario,
};

pub(crate) const ALL: &[Scenario] = &[("oomtrace_starts_in_a_container_of_24_mib", small_container)];

fn small_container() -> Outcome {
    let container = Cgroup::make(&container_path(40, 40))?;
    container.limit(24)?;
    let script = format!(
        "echo $$ > '{}' && exec oomtrace run --format json --duration 1s --log-level warn",
        container.procs().display()
    );
    let output = Command::new("sh").args(["-c", &script]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "it ended with {}", output.status);
    let first = String::from_utf8_lossy(&output.stdout).lines().next().context("it printed nothing")?.to_owned();
    let status: serde_json::Value = serde_json::from_str(&first)?;
    check_eq!(status["phase"].as_str(), Some("started"), "the phase of {first}");
    Ok(())
}
