//! journald and journalctl with the libraries they need, for guests whose kubelet logs to a journal.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// What systemd's programs link to. With their dependencies the packages would be five times as many.
const PACKAGES: [&str; 15] = [
    "systemd",
    "libsystemd-shared",
    "libacl1",
    "libaudit1",
    "libblkid1",
    "libcap-ng0",
    "libcap2",
    "libcrypt1",
    "libmount1",
    "libpam0g",
    "libpcre2-8-0",
    "libselinux1",
    "libssl3t64",
    "libzstd1",
    "zlib1g",
];

/// The folder that they are unpacked in.
pub(crate) fn journald() -> Result<PathBuf> {
    cache::piece("journald", |folder| Suite::open("trixie")?.unpack(&PACKAGES, folder))
}
