//! `cargo xtask mutants`: whether tests notice when the code of the pure rooms is changed.

use std::{
    num::NonZeroUsize,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{build, setup, tool};

/// The rooms whose tests build without the rest.
const ROOMS: [&str; 3] = ["oomtrace-model", "oomtrace-logs", "oomtrace-timeline"];
/// A change that makes a test go on for ever is noticed after so many seconds.
const LONGEST: &str = "120";
/// Building is what takes longest: without line numbers it is shorter. Without optimisation the tests would take ten times as long.
const PROFILE: (&str, &str) = ("CARGO_PROFILE_DEV_DEBUG", "false");
/// Tests that try hundreds of thousands of inputs for a panic, and take longer than all others together.
const SLOW: &str = "hostile::";

#[derive(Args)]
#[command(
    after_help = "Needs no privileges, and about as long for each change as the room's tests take to build and run. The list of \
                        changes that no test noticed is in target/mutants/mutants.out/missed.txt."
)]
pub(crate) struct Mutants {
    /// How many changes to try, evenly spread over all that there could be
    #[arg(long, value_name = "N", default_value = "50")]
    sample: NonZeroUsize,
    /// One room alone: oomtrace-model, oomtrace-logs or oomtrace-timeline
    #[arg(long, value_name = "PACKAGE", value_parser = ROOMS)]
    package: Option<String>,
}

pub(crate) fn run(mutants: &Mutants) -> Result<ExitCode> {
    let program = setup::cargo_mutants()?;
    let all = tool::output(command(&program, mutants).arg("--list"))?.lines().count();
    let shards = (all / mutants.sample).max(1);
    println!("{} of {all} possible changes", all.div_ceil(shards));
    let output = build::target_folder()?.join("mutants");
    let mut run = command(&program, mutants);
    run.args(["--shard", &format!("0/{shards}"), "--sharding", "round-robin", "--timeout", LONGEST]);
    run.arg("--output").arg(&output).env(PROFILE.0, PROFILE.1).args(["--", "--", "--skip", SLOW]);
    let status = run.status().context("cargo-mutants does not start")?;
    // 2 is that some were missed: the list is printed.
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn command(program: &Path, mutants: &Mutants) -> Command {
    let mut command = Command::new(program);
    command.arg("mutants").arg("--dir").arg(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(""));
    let rooms = ROOMS.iter().filter(|room| mutants.package.as_deref().is_none_or(|package| package == **room));
    command.args(rooms.flat_map(|room| ["--package", room]));
    command
}
