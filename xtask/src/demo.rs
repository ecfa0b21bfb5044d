//! `cargo xtask demo`: the main job in one command. A real kernel kills for memory; oomtrace says who, where and why.

use std::{
    fs,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    build,
    setup::Kernel,
    vm::{Cgroup, Guest},
};

const SCRIPT: &str = include_str!("demo.sh");

#[derive(Args)]
pub(crate) struct Demo {
    /// The kernel to boot
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
    /// The cgroup hierarchy that the guest mounts
    #[arg(long, value_enum, default_value = "v2")]
    cgroup: Cgroup,
    /// How oomtrace prints its events; by default text on a terminal, else JSON lines
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Text,
}

pub(crate) fn run(demo: &Demo) -> Result<ExitCode> {
    let format = demo.format.unwrap_or(if io::stdout().is_terminal() { Format::Text } else { Format::Json });
    let format = match format {
        Format::Json => "json",
        Format::Text => "text",
    };
    let oomtrace = build::oomtrace(false)?;
    let scratch = tempfile::tempdir().context("no place for the demonstration's script")?;
    fs::write(scratch.path().join("demo.sh"), SCRIPT)?;
    eprintln!("-- booting kernel {} in an emulated machine", demo.kernel);
    let guest = Guest {
        cgroup: demo.cgroup,
        programs: vec![(oomtrace, "oomtrace")],
        share: Some(scratch.path().to_owned()),
        ..Guest::new(demo.kernel, ["sh", "/share/demo.sh", format])
    };
    let outcome = guest.run()?;
    Ok(ExitCode::from(outcome.status))
}
