//! `cargo-mutants` changes code in one place after the other, and runs the tests.

use std::path::PathBuf;

use anyhow::Result;

use crate::{cache, tool};

const VERSION: &str = "27.1.0";

/// The program.
pub(crate) fn cargo_mutants() -> Result<PathBuf> {
    let folder = cache::piece(&format!("cargo-mutants-{VERSION}"), |folder| {
        let mut install = tool::cargo();
        install.args(["install", "cargo-mutants", "--version", VERSION, "--locked", "--quiet", "--root"]).arg(folder);
        for variable in ["CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
            install.env_remove(variable);
        }
        tool::output(&mut install)?;
        Ok(())
    })?;
    Ok(folder.join("bin/cargo-mutants"))
}
