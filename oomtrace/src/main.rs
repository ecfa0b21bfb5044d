//! The `oomtrace` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    oomtrace::cli::Cli::from_command_line().run()
}
