//! rsyslogd with its modules and the libraries they need, and jq, to read the lines that oomtrace writes.

use std::path::PathBuf;

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
