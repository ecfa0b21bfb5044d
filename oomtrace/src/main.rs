//! The `oomtrace` command.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    oomtrace::cli::Cli::parse().run()
}
