//! `oomtrace man`: the manual's pages.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::CommandFactory as _;
use tracing::info;

/// Options of `oomtrace man`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write them to, oomtrace.1 and one for each subcommand; it is made if it is not there.
    folder: PathBuf,
}

/// Writes them.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = args.folder.display();
    fs::create_dir_all(&args.folder).with_context(|| format!("{folder} cannot be made"))?;
    clap_mangen::generate_to(super::Cli::command(), &args.folder)
        .with_context(|| format!("the pages cannot be written to {folder}"))?;
    info!("the manual's pages are in {folder}");
    Ok(())
}
