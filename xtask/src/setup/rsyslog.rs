//! rsyslogd with its modules and the libraries they need, and jq, to read the lines that oomtrace writes.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

const PACKAGES: [&str; 12] = [
    "rsyslog",
    "libestr0",
    "libfastjson4",
    "libsystemd0",
    "libcap2",
    "libuuid1",
    "zlib1g",
    "libgcc-s1",
    "jq",
    "libjq1",
    "libonig5",
    "libc6",
];

/// The folder that they are unpacked in.
pub(crate) fn rsyslog() -> Result<PathBuf> {
    cache::piece("rsyslog", |folder| Suite::open("trixie")?.unpack(&PACKAGES, folder))
}

/// `jq`, ready for its arguments, whatever C library this machine has.
pub(crate) fn jq() -> Result<Command> {
    let folder = rsyslog()?;
    let libraries = folder.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(libraries).arg(folder.join("usr/bin/jq"));
    Ok(command)
}
