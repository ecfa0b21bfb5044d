//! The `oomtrace` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    match oomtrace::cli::Plugin::from_command_line() {
        Some(plugin) => plugin.run(),
        None => oomtrace::cli::Cli::from_command_line().run(),
    }
}
