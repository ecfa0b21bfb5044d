//! `bpf-linker` makes the eBPF object out of rustc's bitcode.

use std::path::PathBuf;

use anyhow::Result;

use crate::{cache, tool};

/// The last version that can use rustc 1.95's own LLVM (22), so that no LLVM needs to be installed. It moves
/// together with `rust-toolchain.toml`, and `oomtrace/build.rs` looks for it in this folder of the cache.
const VERSION: &str = "0.10.4";

/// The folder that `bin/bpf-linker` is in.
pub(crate) fn bpf_linker() -> Result<PathBuf> {
    cache::piece(&format!("bpf-linker-{VERSION}"), |folder| {
        let mut install = tool::cargo();
        install.args(["install", "bpf-linker", "--version", VERSION, "--locked", "--quiet"]);
        install.args(["--no-default-features", "--features", "rust-llvm-22", "--root"]).arg(folder);
        // It is for this machine and loads LLVM at run time, which a static program could not.
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
            install.env_remove(variable);
        }
        tool::output(&mut install)?;
        Ok(())
    })
}
