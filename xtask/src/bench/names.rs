//! What ten thousand containers' names cost. It needs no kernel of its own: the walk is of folders in memory, on this machine,
//! or on demand of real cgroups in an emulated one.

use std::{
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    arch::Arch,
    build,
    setup::{self, Kernel},
    tool,
    vm::Guest,
};

#[derive(Args)]
#[command(after_help = "The exit status is 1 where a goal is missed.")]
pub(crate) struct Names {
    /// In an emulated machine, which is far slower, among real cgroups
    #[arg(long)]
    guest: bool,
}

impl Names {
    pub(crate) fn run(&self, kernel: Kernel) -> Result<ExitCode> {
        let program = program()?;
        if !self.guest {
            let status = Command::new(program).status().context("the bench does not start")?;
            return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let guest = Guest {
            programs: vec![(program, "names")],
            memory: 2048,
            timeout: Duration::from_mins(20),
            ..Guest::new(kernel, ["names"])
        };
        Ok(ExitCode::from(guest.run()?.status))
    }
}

/// Builds the bench and gives its path.
fn program() -> Result<PathBuf> {
    setup::toolchain()?;
    let mut cargo = build::cargo(Arch::Amd64)?;
    cargo.args(["bench", "--quiet", "--package", "oomtrace", "--bench", "names", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    let messages = tool::output(&mut cargo)?;
    build::executable(&messages, "bench", "names").context("cargo did not say where the bench `names` is")
}
