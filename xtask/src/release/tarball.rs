//! The program with all that belongs to it, for those who install it by hand.

use anyhow::Result;

use crate::{
    arch::Arch,
    archive::{Archive, gzip},
    installed::{Installed, Kind, VERSION},
};

/// What the archive's file is called.
pub(super) fn name(arch: Arch) -> String {
    format!("{}.tar.gz", root(arch))
}

/// The archive's one folder.
fn root(arch: Arch) -> String {
    format!("oomtrace-{VERSION}-{}", arch.target())
}

/// Where it is in the folder.
fn place(kind: &Kind) -> String {
    match kind {
        Kind::Program => "oomtrace".to_owned(),
        Kind::Completion("zsh") => "completions/_oomtrace".to_owned(),
        Kind::Completion(shell) => format!("completions/oomtrace.{shell}"),
        Kind::Manual(page) => format!("man/man1/{page}.gz"),
        Kind::Example => "config.toml".to_owned(),
        Kind::Unit => "oomtrace.service".to_owned(),
        Kind::Readme => "README.md".to_owned(),
        Kind::Page(path) => path.clone(),
        Kind::Licence(name) => (*name).to_owned(),
    }
}

pub(super) fn archive(installed: Installed, date: u64) -> Result<Vec<u8>> {
    let mut archive = Archive::new(date);
    for (kind, content) in installed.files {
        archive.file(&place(&kind), kind.mode(), content);
    }
    gzip(&archive.finish(&format!("{}/", root(installed.arch)))?)
}
