//! etcd with the C library it needs: the store of the lab's API server.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// Where it is.
pub(super) fn folder() -> Result<PathBuf> {
    cache::piece("etcd", |folder| Suite::open("trixie")?.unpack(&["etcd-server", "libc6"], folder))
}

/// `etcd`, ready for its arguments, whatever C library this machine has.
pub(crate) fn etcd() -> Result<Command> {
    let folder = folder()?;
    let libraries = folder.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(libraries).arg(folder.join("usr/bin/etcd"));
    Ok(command)
}
