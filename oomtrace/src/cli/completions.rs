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
    super::print(&script(args.shell))
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut super::Cli::command(), "oomtrace", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_completes_the_options_of_run() {
        for shell in Shell::value_variants() {
            assert!(script(*shell).contains("metrics-listen"), "{shell}");
        }
    }
}
