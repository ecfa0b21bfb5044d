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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_that_tells_its_options() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        run(&Args { folder: folder.path().join("man1") })?;
        for subcommand in super::super::Cli::command().get_subcommands() {
            let page = folder.path().join(format!("man1/oomtrace-{}.1", subcommand.get_name()));
            let text = fs::read_to_string(&page)?.replace('\\', "");
            for option in subcommand.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(text.contains(&format!("--{option}")), "{}: no --{option}", page.display());
            }
        }
        Ok(())
    }
}
