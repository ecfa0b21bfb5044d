//! QEMU, with every library it needs, unpacked aside: the same version everywhere, whatever this machine has.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// How to start QEMU.
pub(crate) enum Qemu {
    /// Ours, started by its own dynamic loader with its own libraries.
    Private(PathBuf),
    /// The one that `$OOMTRACE_QEMU` names.
    Own(OsString),
}

/// The QEMU to use.
pub(crate) fn qemu() -> Result<Qemu> {
    if let Some(program) = env::var_os("OOMTRACE_QEMU").filter(|program| !program.is_empty()) {
        return Ok(Qemu::Own(program));
    }
    let folder =
        cache::piece("qemu", |folder| Suite::open("trixie")?.unpack_with_dependencies("qemu-system-x86", folder))?;
    Ok(Qemu::Private(folder))
}

impl Qemu {
    /// `qemu-system-x86_64`, ready for its arguments.
    pub(crate) fn command(&self) -> Command {
        let folder = match self {
            Self::Private(folder) => folder,
            Self::Own(program) => return Command::new(program),
        };
        let libraries = folder.join("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&libraries).arg(folder.join("usr/bin/qemu-system-x86_64"));
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(folder.join(firmware));
        }
        command
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Private(folder) => folder,
            Self::Own(program) => Path::new(program),
        }
    }
}
