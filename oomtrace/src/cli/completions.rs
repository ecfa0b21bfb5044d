//! `oomtrace completions`: what a shell needs to complete oomtrace's command line.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

/// Options of `oomtrace completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints them.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut super::Cli::command(), "oomtrace", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
