//! `cargo xtask lab run`: scenarios of deploy/scenarios, and what oomtrace says of them.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

#[derive(Args)]
pub(crate) struct Run {
    /// The scenarios, by name
    #[arg(required = true)]
    scenarios: Vec<String>,
}

pub(crate) fn run(run: &Run) -> Result<ExitCode> {
    bail!("there is no scenario `{}`", run.scenarios.join("`, `"))
}
