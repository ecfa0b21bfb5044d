//! Prometheus and promtool with the libraries they need, to scrape what oomtrace serves.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// The folder that they are unpacked in.
pub(crate) fn prometheus() -> Result<PathBuf> {
    cache::piece("prometheus", |folder| Suite::open("trixie")?.unpack(&["prometheus", "promtool", "libc6"], folder))
}
