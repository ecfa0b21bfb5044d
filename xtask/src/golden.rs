//! `cargo xtask golden`: what `oomtrace timeline` prints of every capture, compared with what it printed before.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{build, tool};

#[derive(Args)]
#[command(
    after_help = "What is expected of the captures in oomtrace/tests/data is in oomtrace/tests/golden/expected, and \
                        `cargo xtask test` compares it, too. What is printed of captures in other folders is kept in \
                        target/golden the first time, and compared with that from then on."
)]
pub(crate) struct Golden {
    /// Take what is printed now as what is expected
    #[arg(long)]
    bless: bool,
    /// Folders of other captures
    #[arg(value_name = "FOLDER")]
    beside: Vec<PathBuf>,
}

pub(crate) fn run(golden: &Golden) -> Result<ExitCode> {
    compare(golden, None)?;
    let store = build::target_folder()?.join("golden");
    for folder in &golden.beside {
        let folder = folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))?;
        compare(golden, Some((&folder, &store.join(folder.strip_prefix("/").unwrap_or(&folder)))))?;
    }
    println!("every capture reads as it did");
    Ok(ExitCode::SUCCESS)
}

/// Runs the test that compares, with one folder of other captures and where to keep what is printed of them.
fn compare(golden: &Golden, beside: Option<(&Path, &Path)>) -> Result<()> {
    let mut cargo = tool::cargo();
    cargo.args(["test", "--quiet", "--package", "oomtrace", "--test", "golden", "--"]);
    if let Some((folder, store)) = beside {
        cargo
            .arg("captures_outside_the_project")
            .env("OOMTRACE_GOLDEN_BESIDE", folder)
            .env("OOMTRACE_GOLDEN_STORE", store);
    } else {
        cargo.arg("every_capture");
    }
    if golden.bless {
        cargo.env("OOMTRACE_GOLDEN_BLESS", "yes");
    }
    tool::run(&mut cargo)
}
