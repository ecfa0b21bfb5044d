//! Sets up, builds, tests and demonstrates oomtrace.

mod arch;
mod archive;
mod bench;
mod build;
mod cache;
mod deb;
mod demo;
#[cfg(test)]
mod dependencies;
mod fuzz;
mod golden;
mod image;
mod in_guest;
mod installed;
mod lab;
mod manifests;
mod mutants;
mod release;
mod scenarios;
mod setup;
mod soak;
mod test;
mod tool;
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// Sets up, builds, tests and demonstrates oomtrace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Xtask {
    /// Fetch what building and testing need: the standard library's source, bpf-linker, QEMU, the test kernels, Kubernetes
    #[command(after_help = setup::VARIABLES)]
    Setup,
    /// Build the static `oomtrace` binary
    Build(build::Build),
    /// Make the container image, without a container daemon
    Image(image::Image),
    /// Make the Debian package, without Debian's tools
    Deb(deb::Deb),
    /// Make everything that a release consists of
    Release(release::Release),
    /// Render and check the manifests in deploy/
    Manifests(manifests::Manifests),
    /// Run every check: formatting, clippy, unit tests, and the kernel tests on each kernel
    Test(test::Test),
    /// Show oomtrace at work: a real kernel kills two containers for memory
    Demo(demo::Demo),
    /// Measure oomtrace in an emulated machine
    Bench(bench::Bench),
    /// Feed what oomtrace reads from outside with what nobody would write
    Fuzz(fuzz::Fuzz),
    /// Compare what `oomtrace timeline` prints of every capture with what it printed before
    Golden(golden::Golden),
    /// Change the code of the pure rooms in one place after the other, and see whether a test notices
    Mutants(mutants::Mutants),
    /// Make every memory death of the table happen, and check what oomtrace says of it
    Scenarios(scenarios::Scenarios),
    /// Kill at random in a guest, beside restarts, steps of the clock and more, and check that each kill is reported once
    Soak(soak::Soak),
    /// A real Kubernetes node: kubelet, containerd and systemd in an emulated machine, the control plane beside it
    Lab(lab::LabCommand),
    /// What the others run in their guests
    #[command(hide = true, subcommand)]
    InGuest(in_guest::InGuest),
    /// Run a command in a virtual machine with a real kernel
    Vm(vm::Vm),
}

fn main() -> ExitCode {
    let xtask = Xtask::parse();
    let failed = if matches!(xtask, Xtask::Vm(_)) { ExitCode::from(vm::NO_STATUS) } else { ExitCode::FAILURE };
    let result = match xtask {
        Xtask::Setup => setup::run(),
        Xtask::Build(build) => build::run(&build),
        Xtask::Image(image) => image::run(&image),
        Xtask::Deb(deb) => deb::run(&deb),
        Xtask::Release(release) => release::run(&release),
        Xtask::Manifests(manifests) => manifests::run(&manifests),
        Xtask::Test(test) => Ok(test::run(&test)),
        Xtask::Demo(demo) => demo::run(&demo),
        Xtask::Bench(bench) => bench::run(&bench),
        Xtask::Fuzz(fuzz) => fuzz::run(&fuzz),
        Xtask::Golden(golden) => golden::run(&golden),
        Xtask::Mutants(mutants) => mutants::run(&mutants),
        Xtask::Scenarios(scenarios) => scenarios::run(&scenarios),
        Xtask::Soak(soak) => soak::run(&soak),
        Xtask::Lab(lab) => lab::run(&lab),
        Xtask::InGuest(what) => in_guest::run(&what).map(|()| ExitCode::SUCCESS),
        Xtask::Vm(vm) => vm::run(&vm),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        failed
    })
}

#[cfg(test)]
#[path = "../../oomtrace/tests/docs/blocks.rs"]
mod blocks;

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use crate::blocks::{blocks, commands, pages};

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        super::Xtask::command().debug_assert();
    }

    #[test]
    fn every_command_of_ours_in_the_documentation_is_one_that_there_is() {
        let shell = pages().iter().flat_map(blocks).filter(|block| block.language == "sh").collect::<Vec<_>>();
        let mut parsed = 0;
        for (at, line) in shell.iter().flat_map(|block| block.lines.iter().map(|line| (&block.at, line))) {
            for command in
                commands(line).into_iter().filter(|command| command.words.starts_with(&CARGO_XTASK.map(Into::into)))
            {
                let words = ["cargo xtask"].into_iter().chain(command.words[2..].iter().map(String::as_str));
                let refused = super::Xtask::command().try_get_matches_from(words).err();
                let refused = refused.filter(|error| error.kind() != ErrorKind::DisplayHelp);
                assert!(
                    refused.is_none(),
                    "{at}: `{line}`: {}",
                    refused.map(|error| error.to_string()).unwrap_or_default()
                );
                parsed += 1;
            }
        }
        assert!(parsed > 5, "only {parsed} commands are there");
    }

    const CARGO_XTASK: [&str; 2] = ["cargo", "xtask"];
}
