//! Node.js with the libraries that it needs, for a guest in which a real runtime gives up at its own heap limit.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

const PACKAGES: [&str; 19] = [
    "nodejs",
    "libnode115",
    "libbrotli1",
    "libc6",
    "libcares2",
    "libgcc-s1",
    "libicu76",
    "libnghttp2-14",
    "libssl3t64",
    "libstdc++6",
    "libuv1t64",
    "libzstd1",
    "zlib1g",
    // Debian keeps some of its own modules apart.
    "node-acorn",
    "node-cjs-module-lexer",
    "node-minimatch",
    "node-brace-expansion",
    "node-balanced-match",
    "node-undici",
];

/// The folder that they are unpacked in.
pub(crate) fn nodejs() -> Result<PathBuf> {
    cache::piece("nodejs", |folder| Suite::open("trixie")?.unpack(&PACKAGES, folder))
}
