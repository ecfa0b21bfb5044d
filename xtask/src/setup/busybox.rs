//! A static busybox is the guests' whole userland.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// The path of the program.
pub(crate) fn busybox() -> Result<PathBuf> {
    let folder = cache::piece("busybox", |folder| Suite::open("trixie")?.unpack(&["busybox-static"], folder))?;
    Ok(folder.join("usr/bin/busybox"))
}
