//! systemd with the libraries it needs: journald and journalctl, for guests whose kubelet logs to a journal, systemd itself, for
//! one that has units, and `systemd-analyze`.

use std::{env, path::PathBuf, process::Command};

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// What systemd's programs link to. With their dependencies the packages would be five times as many.
const PACKAGES: [&str; 18] = [
    "systemd",
    "libsystemd-shared",
    "libacl1",
    "libapparmor1",
    "libaudit1",
    "libblkid1",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcrypt1",
    "libmount1",
    "libpam0g",
    "libpcre2-8-0",
    "libseccomp2",
    "libselinux1",
    "libssl3t64",
    "libzstd1",
    "zlib1g",
];

/// The folder that they are unpacked in.
pub(crate) fn systemd() -> Result<PathBuf> {
    cache::piece("systemd", |folder| Suite::open("trixie")?.unpack(&PACKAGES, folder))
}

/// `systemd-analyze`, ready for its arguments, whatever this machine has.
pub(crate) fn systemd_analyze() -> Result<Command> {
    let folder = systemd()?;
    let libraries = folder.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(env::join_paths([libraries.clone(), libraries.join("systemd")])?);
    command.arg(folder.join("usr/bin/systemd-analyze"));
    Ok(command)
}
