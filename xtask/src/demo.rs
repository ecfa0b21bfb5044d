//! `cargo xtask demo`: the main job in one command. A real kernel kills for memory; oomtrace says who, where and why.

use std::{
    env, fs,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    arch::Arch,
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
    /// The machine's architecture
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// The cgroup hierarchy that the guest mounts
    #[arg(long, value_enum, default_value = "v2")]
    cgroup: Cgroup,
    /// How oomtrace prints its events
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Text,
}

pub(crate) fn run(demo: &Demo) -> Result<ExitCode> {
    let format = match demo.format {
        Format::Json => "json",
        Format::Text => "text",
    };
    // The guest's console knows nothing of the screen that its output ends up on.
    let screen = terminal_size::terminal_size_of(io::stdout());
    let columns = screen.map(|(columns, _)| columns.0.to_string()).or_else(|| env::var("COLUMNS").ok());
    let columns = columns.unwrap_or_else(|| "0".to_owned());
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    let colour = if io::stdout().is_terminal() && !is_plain { "always" } else { "never" };
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    let locale = locale.unwrap_or_else(|| "C".to_owned());
    let oomtrace = build::oomtrace(demo.arch, false)?;
    let scratch = tempfile::tempdir().context("no place for the demonstration's script")?;
    fs::write(scratch.path().join("demo.sh"), SCRIPT)?;
    eprintln!("-- booting kernel {} ({}) in an emulated machine", demo.kernel, demo.arch);
    let guest = Guest {
        arch: demo.arch,
        cgroup: demo.cgroup,
        programs: vec![(oomtrace, "oomtrace")],
        share: Some(scratch.path().to_owned()),
        ..Guest::new(demo.kernel, ["sh", "/share/demo.sh", format, colour, &columns, &locale])
    };
    let outcome = guest.run()?;
    Ok(ExitCode::from(outcome.status))
}
