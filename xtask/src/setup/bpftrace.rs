//! bpftrace, to compare oomtrace with: with all its libraries, since a guest has none.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// The folder that it is unpacked in.
pub(crate) fn bpftrace() -> Result<PathBuf> {
    cache::piece("bpftrace", |folder| Suite::open("trixie")?.unpack_with_dependencies("bpftrace", folder))
}
