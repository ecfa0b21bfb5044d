//! `oomtrace healthy`: whether an `oomtrace run` beside it traces, for probes that run a command.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use jiff::SignedDuration;

use crate::live;

/// Options of `oomtrace healthy`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file that `oomtrace run --alive-file FILE` writes. Default: the one of `run`'s configuration.
    #[arg(long, value_name = "FILE")]
    alive_file: Option<PathBuf>,
    /// How long ago its main loop may have gone round.
    #[arg(long, value_name = "TIME", default_value = "1m")]
    within: SignedDuration,
}

/// Says how long ago the main loop went round; fails where that is too long.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.alive_file.as_ref().context("no --alive-file says where to look")?;
    let ago = live::last_round(file, args.within.unsigned_abs())?;
    Ok(writeln!(io::stdout(), "tracing: the main loop went round {:.1} s ago", ago.as_secs_f32())?)
}
