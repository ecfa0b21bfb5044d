//! containerd and runc with the libraries they need, for guests with a real container runtime.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// The folder that they are unpacked in.
pub(crate) fn containerd() -> Result<PathBuf> {
    cache::piece("containerd", |folder| {
        Suite::open("trixie")?.unpack(&["containerd", "runc", "libseccomp2", "libc6"], folder)
    })
}
