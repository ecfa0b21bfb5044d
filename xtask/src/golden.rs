//! `cargo xtask golden`: what `oomtrace timeline` prints of every capture, and what the pure rooms make of each, compared with what
//! it was before.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{build, tool};

#[derive(Args)]
#[command(
    after_help = "What is expected of the captures in oomtrace/tests/data is in oomtrace/tests/golden/expected, the events \
                        in them in oomtrace/logs/tests/expected, and the incidents of these in \
                        oomtrace/timeline/tests/expected; `cargo xtask test` compares all three, too. What is printed of captures in other folders is kept in \
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

/// The tests of the pure rooms that compare. The second reads what the first expects.
const ROOMS: [(&str, &str); 2] = [("oomtrace-logs", "events"), ("oomtrace-timeline", "incidents")];

pub(crate) fn run(golden: &Golden) -> Result<ExitCode> {
    for (room, test) in ROOMS {
        tool::run(&mut cargo_test(golden, room, test))?;
    }
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
    let mut cargo = cargo_test(golden, "oomtrace", "golden");
    cargo.arg("--");
    if let Some((folder, store)) = beside {
        cargo
            .arg("captures_outside_the_project")
            .env("OOMTRACE_GOLDEN_BESIDE", folder)
            .env("OOMTRACE_GOLDEN_STORE", store);
    } else {
        cargo.arg("every_capture");
    }
    tool::run(&mut cargo)
}

fn cargo_test(golden: &Golden, package: &str, test: &str) -> Command {
    let mut cargo = tool::cargo();
    cargo.args(["test", "--quiet", "--package", package, "--test", test]);
    if golden.bless {
        cargo.env("OOMTRACE_GOLDEN_BLESS", "yes");
    }
    cargo
}
