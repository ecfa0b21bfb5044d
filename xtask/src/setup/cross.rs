//! The C compiler and linker for another architecture: what Rust links with, and what compiles the C of its crates.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use object::{
    Endianness, elf,
    read::elf::{ElfFile64, ProgramHeader as _},
};

use super::apt::Suite;
use crate::{arch::Arch, cache, tool};

const PIECE: &str = "cross-arm64";
/// Debian's prefix of the tools.
const PREFIX: &str = "aarch64-linux-gnu";
/// The folders whose programs run: those on the PATH, and what they call.
const PROGRAMS: [&str; 2] = ["usr/bin", "usr/lib/gcc-cross/aarch64-linux-gnu/12"];
/// Bookworm's packages keep some libraries outside of `usr`.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// Tools of binutils and GCC for arm64.
pub(crate) struct Cross(PathBuf);

impl Cross {
    /// The path of a tool: `gcc`, `ar`, `strip`.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.0.join("usr/bin").join(format!("{PREFIX}-{name}"))
    }
}

/// The tools for arm64, and Rust's standard library for it.
///
/// Debian 12's, whose C library is in the static programs then; the tools run with that C library, whatever this machine has.
pub(crate) fn cross() -> Result<Cross> {
    standard_library()?;
    let folder = cache::piece(PIECE, |folder| {
        let packages = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
        Suite::open("bookworm")?.download_with_dependencies(&packages, folder)?.unpack(folder)?;
        wrap_programs(folder, &cache::root()?.join(PIECE))
    })?;
    Ok(Cross(folder))
}

fn standard_library() -> Result<()> {
    let target = Arch::Arm64.target();
    let sysroot = tool::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(target).exists() {
        return Ok(());
    }
    tool::output(Command::new("rustup").args(["target", "add", target]))?;
    eprintln!("setup: standard library for {target}: added by rustup");
    Ok(())
}

/// Puts a script in the place of each program below `folder`, which starts it by the loader of its own packages, from where they
/// will be (`home`). GCC starts its parts by their paths, so that each needs one.
fn wrap_programs(folder: &Path, home: &Path) -> Result<()> {
    let libraries = LIBRARIES.map(|libraries| home.join(libraries).display().to_string()).join(":");
    let loader = home.join(LIBRARIES[0]).join("ld-linux-x86-64.so.2");
    for programs in PROGRAMS {
        let listed = folder.join(programs);
        for entry in fs::read_dir(&listed).with_context(|| format!("no {programs} in the packages"))? {
            let path = entry?.path();
            if !path.symlink_metadata()?.is_file() || !is_dynamic(&fs::read(&path)?) {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let own = format!("wrapped/{programs}/{name}");
            fs::create_dir_all(folder.join("wrapped").join(programs))?;
            fs::rename(&path, folder.join(&own))?;
            // Under the name that it is called by, it finds its other parts.
            let script = format!(
                "#!/bin/sh\nexec {} --argv0 \"$0\" --library-path {libraries} {} \"$@\"\n",
                loader.display(),
                home.join(own).display()
            );
            fs::write(&path, script).with_context(|| path.display().to_string())?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// Whether a file is a program that asks for a loader.
fn is_dynamic(bytes: &[u8]) -> bool {
    ElfFile64::<Endianness>::parse(bytes).is_ok_and(|file| {
        file.elf_program_headers().iter().any(|header| header.p_type(file.endian()) == elf::PT_INTERP)
    })
}
