//! A static busybox is the guests' whole userland.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Suite;
use crate::{arch::Arch, cache};

/// The path of the program for this machine and its guests.
pub(crate) fn busybox() -> Result<PathBuf> {
    busybox_for(Arch::Amd64)
}

/// The path of the program for another architecture.
pub(crate) fn busybox_for(arch: Arch) -> Result<PathBuf> {
    let folder = cache::piece(&arch.piece("busybox"), |folder| {
        Suite::open_for(arch, "trixie")?.unpack(&["busybox-static"], folder)
    })?;
    Ok(folder.join("usr/bin/busybox"))
}
