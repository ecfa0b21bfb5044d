//! The standard library's source: `core` is compiled anew for the eBPF target, which has no ready-made one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::apt::Suite;
use crate::{cache, tool};

/// The folder of the source, inside the toolchain, where cargo's `build-std` looks for it.
pub(crate) fn rust_src() -> Result<PathBuf> {
    let sysroot = PathBuf::from(tool::output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    let folder = sysroot.join("lib/rustlib/src/rust");
    if folder.join("library/core").exists() {
        return Ok(folder);
    }
    let Err(rustup) = tool::output(Command::new("rustup").args(["component", "add", "rust-src"])) else {
        eprintln!("setup: rust-src: added by rustup in {}", folder.display());
        return Ok(folder);
    };
    cache::publish(&folder, "rust-src", from_debian).with_context(|| {
        format!(
            "{rustup:#}\nrustup cannot add rust-src to the toolchain in {}, nor can Debian's package take its place; if \
             the toolchain is somebody else's, let them run `rustup component add rust-src`",
            sysroot.display()
        )
    })?;
    Ok(folder)
}

/// Debian ships the same source. It has to be of the compiler's very version: another's does not compile.
fn from_debian(folder: &Path) -> Result<()> {
    let version = tool::output(Command::new("rustc").arg("--version"))?;
    let release = version.split(' ').nth(1).with_context(|| format!("`rustc --version` says {version:?}"))?;
    let suite = Suite::open("trixie-backports")?;
    let package = format!("rust-src={}", suite.version_of("rust-src", release)?);
    let unpacked = folder.join("package");
    suite.unpack(&[package], &unpacked)?;
    let library = unpacked.join(format!("usr/src/rustc-{release}/library"));
    ensure!(library.join("core").exists(), "Debian's rust-src has no {}", library.display());
    fs::rename(&library, folder.join("library"))?;
    Ok(fs::remove_dir_all(&unpacked)?)
}
