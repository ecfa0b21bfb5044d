//! What oomtrace writes about itself, where Debian's programs look for it: the manual's pages and the shells' completions.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{File, read};
use crate::{archive::gzip, tool};

/// A shell, and the file that completes oomtrace's command line there.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/oomtrace"),
    ("fish", "usr/share/fish/vendor_completions.d/oomtrace.fish"),
    ("zsh", "usr/share/zsh/vendor-completions/_oomtrace"),
];
const MANUAL: &str = "usr/share/man/man1";

/// Has the very program that is packaged write them: they tell the options that it has, and nothing is built again.
pub(super) fn files(oomtrace: &Path) -> Result<Vec<File>> {
    let mut files = manual(oomtrace)?;
    for (shell, path) in COMPLETIONS {
        let script = tool::output(command(oomtrace).args(["completions", shell]))?;
        files.push((path.to_owned(), 0o644, script.into_bytes()));
    }
    Ok(files)
}

/// Compressed, as Debian's policy has it (12.1), and without a date.
fn manual(oomtrace: &Path) -> Result<Vec<File>> {
    let folder = tempfile::tempdir().context("no place for the manual's pages")?;
    tool::output(command(oomtrace).arg("man").arg(folder.path()))?;
    let page = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a page's name is not UTF-8")?;
        Ok((format!("{MANUAL}/{name}.gz"), 0o644, gzip(&read(&path)?)?))
    };
    fs::read_dir(folder.path())?.map(page).collect()
}

/// Nothing of this machine's environment, such as an `OOMTRACE_…` variable, gets into the package.
fn command(oomtrace: &Path) -> Command {
    let mut command = Command::new(oomtrace);
    command.env_clear();
    command
}
