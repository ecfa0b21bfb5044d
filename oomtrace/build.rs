//! Builds the probes, to be embedded in the program, and finds out what `--version` tells.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

/// The version whose LLVM is the one of the pinned compiler; `cargo xtask setup` installs it.
const BPF_LINKER: &str = "bpf-linker-0.10.4";

/// The commit: where the sources are no repository, the builder gives it in this variable.
const COMMIT: &str = "OOMTRACE_BUILD_COMMIT";

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let root = manifest.parent().context("the package has no parent folder")?;
    for input in ["oomtrace-common/src", "oomtrace-ebpf/build.rs", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo:rerun-if-env-changed=OOMTRACE_CACHE");
    tell_build_info(root);

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

/// What the program was built from and with, for `src/build_info.rs`. Nothing in it differs between two builds of the same
/// commit.
fn tell_build_info(root: &Path) {
    println!("cargo:rerun-if-env-changed={COMMIT}");
    let commit = commit(root).or_else(|| env::var(COMMIT).ok()).filter(|commit| !commit.is_empty());
    let rustc = env::var_os("RUSTC").and_then(|rustc| output(Command::new(rustc).arg("--version")));
    let unknown = || "unknown".to_owned();
    println!("cargo:rustc-env={COMMIT}={}", commit.unwrap_or_else(unknown));
    println!("cargo:rustc-env=OOMTRACE_BUILD_TARGET={}", env::var("TARGET").unwrap_or_else(|_| unknown()));
    println!("cargo:rustc-env=OOMTRACE_BUILD_PROFILE={}", env::var("PROFILE").unwrap_or_else(|_| unknown()));
    println!("cargo:rustc-env=OOMTRACE_BUILD_RUSTC={}", rustc.unwrap_or_else(unknown));
}

/// The commit that is checked out, where `root` is a repository of its own and not a folder in somebody else's.
fn commit(root: &Path) -> Option<String> {
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(root).args(arguments));
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // These change with every commit and checkout, and with nothing else. One that is not there would have every build run again.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--git-path", name]).map(|path| root.join(path)).filter(|path| path.exists());
        if let Some(path) = path {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// What a command prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
