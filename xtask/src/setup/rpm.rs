//! RPM's own tools with the libraries they need: the distribution's RPM, or none, would make other bytes.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// The folder of Debian's package `rpm`.
pub(crate) struct Rpm(PathBuf);

/// Debian 12's, 4.18.
pub(crate) fn rpm() -> Result<Rpm> {
    let folder = cache::piece("rpm", |folder| Suite::open("bookworm")?.unpack_with_dependencies("rpm", folder))?;
    Ok(Rpm(folder))
}

impl Rpm {
    /// `rpm` or `rpmbuild`, ready for its arguments, with a database that is this one's alone.
    pub(crate) fn command(&self, program: &str, database: &Path) -> Result<Command> {
        let Self(folder) = self;
        let libraries = ["lib", "usr/lib"].map(|place| folder.join(place).join("x86_64-linux-gnu"));
        let mut command = Command::new(libraries[0].join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(env::join_paths(&libraries)?);
        command.arg(folder.join("usr/bin").join(program));
        command.arg("--define").arg(format!("_dbpath {}", database.display()));
        command.env("RPM_CONFIGDIR", folder.join("usr/lib/rpm"));
        Ok(command)
    }
}
