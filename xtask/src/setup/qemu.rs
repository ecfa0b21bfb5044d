//! QEMU, with every library it needs, unpacked aside: the same version everywhere, whatever this machine has.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::apt::Suite;
use crate::{arch::Arch, cache};

/// How to start QEMU.
pub(crate) enum Qemu {
    /// Ours, started by its own dynamic loader with its own libraries.
    Private { folder: PathBuf, arch: Arch },
    /// The one that `$OOMTRACE_QEMU` names.
    Own(OsString),
}

/// The QEMU to use for machines of this architecture.
pub(crate) fn qemu(arch: Arch) -> Result<Qemu> {
    if arch == Arch::Amd64
        && let Some(program) = env::var_os("OOMTRACE_QEMU").filter(|program| !program.is_empty())
    {
        return Ok(Qemu::Own(program));
    }
    let package = match arch {
        Arch::Amd64 => "qemu-system-x86",
        Arch::Arm64 => "qemu-system-arm",
    };
    let folder =
        cache::piece(&arch.piece("qemu"), |folder| Suite::open("trixie")?.unpack_with_dependencies(package, folder))?;
    Ok(Qemu::Private { folder, arch })
}

impl Qemu {
    /// `qemu-system-…`, ready for its arguments.
    pub(crate) fn command(&self) -> Command {
        let (folder, arch) = match self {
            Self::Private { folder, arch } => (folder, arch),
            Self::Own(program) => return Command::new(program),
        };
        let libraries = folder.join("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(&libraries)
            .arg(folder.join(format!("usr/bin/qemu-system-{}", arch.machine())));
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(folder.join(firmware));
        }
        command
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Private { folder, .. } => folder,
            Self::Own(program) => Path::new(program),
        }
    }
}
