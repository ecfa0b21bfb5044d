//! Builds the probes, to be embedded in the program.

use std::{env, ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

/// The version whose LLVM is the one of the pinned compiler; `cargo xtask setup` installs it.
const BPF_LINKER: &str = "bpf-linker-0.10.4";

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let root = manifest.parent().context("the package has no parent folder")?;
    for input in ["oomtrace-common/src", "oomtrace-ebpf/build.rs", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo:rerun-if-env-changed=OOMTRACE_CACHE");

    let path = path_with_bpf_linker()?;
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
    // SAFETY: no other thread runs yet.
    unsafe {
        env::set_var("PATH", path);
        // A stable compiler builds the core library for a target that has none prebuilt.
        env::set_var("RUSTC_BOOTSTRAP", "1");
    }
    let probes = root.join("oomtrace-ebpf");
    let package = Package {
        name: "oomtrace-ebpf",
        root_dir: probes.to_str().context("the path is not UTF-8")?,
        ..Default::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))
        .context("the probes do not build; `cargo xtask setup` brings bpf-linker and the standard library's source")
}

/// `PATH` with the folder of bpf-linker first: from the cache of `cargo xtask setup`, else wherever it is installed.
fn path_with_bpf_linker() -> Result<OsString> {
    let cache = env::var_os("OOMTRACE_CACHE")
        .map(PathBuf::from)
        .or_else(|| env::var_os("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("oomtrace")))
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/oomtrace")));
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = cache.map(|cache| cache.join(BPF_LINKER).join("bin"));
    let folders: Vec<_> = installed.into_iter().chain(env::split_paths(&path)).collect();
    if !folders.iter().any(|folder| folder.join("bpf-linker").is_file()) {
        bail!("bpf-linker is neither on PATH nor installed by oomtrace; run `cargo xtask setup`");
    }
    env::join_paths(folders).context("PATH cannot be extended")
}
