//! systemd with the libraries it needs: journald and journalctl, for guests whose kubelet logs to a journal, systemd itself, for
//! one that has units, and `systemd-analyze`.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::apt::Suite;
use crate::cache;

/// What systemd's programs link to. With their dependencies the packages would be five times as many.
const PACKAGES: [&str; 18] = [
    "systemd",
    "libsystemd-shared",
    "libacl1",
    "libapparmor1",
    "libaudit1",
    "libblkid1",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcrypt1",
    "libmount1",
    "libpam0g",
    "libpcre2-8-0",
    "libseccomp2",
    "libselinux1",
    "libssl3t64",
    "libzstd1",
    "zlib1g",
];

/// The folder that they are unpacked in.
pub(crate) fn systemd() -> Result<PathBuf> {
    cache::piece("systemd", |folder| Suite::open("trixie")?.unpack(&PACKAGES, folder))
}

/// `systemd-analyze`, ready for its arguments, whatever this machine has.
pub(crate) fn systemd_analyze() -> Result<Command> {
    let folder = systemd()?;
    let libraries = folder.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(env::join_paths([libraries.clone(), libraries.join("systemd")])?);
    command.arg(folder.join("usr/bin/systemd-analyze"));
    Ok(command)
}

/// What `systemd-journal-remote` links to beside.
const OF_JOURNAL_REMOTE: [&str; 16] = [
    "systemd-journal-remote",
    "libbrotli1",
    "libcurl4t64",
    "libffi8",
    "libgmp10",
    "libgnutls30t64",
    "libhogweed6t64",
    "libidn2-0",
    "liblz4-1",
    "liblzma5",
    "libmicrohttpd12t64",
    "libnettle8t64",
    "libp11-kit0",
    "libtasn1-6",
    "libunistring5",
    "systemd",
];

/// A program that writes a journal's files in every form there is, and `journalctl` of the same version.
pub(crate) fn journal_tools() -> Result<(PathBuf, PathBuf)> {
    let systemd = systemd()?;
    let folder = cache::piece("journal-remote", |folder| {
        Suite::open("trixie")?.unpack(&OF_JOURNAL_REMOTE, folder)?;
        let own = cache::root()?.join("journal-remote");
        for (name, program) in [
            ("journal-remote", own.join("usr/lib/systemd/systemd-journal-remote")),
            ("journalctl", systemd.join("usr/bin/journalctl")),
        ] {
            script(&folder.join(name), &program, [&own, &systemd])?;
        }
        Ok(())
    })?;
    Ok((folder.join("journal-remote"), folder.join("journalctl")))
}

/// A script that runs a program with the libraries in these folders.
pub(super) fn script(script: &Path, program: &Path, folders: [&Path; 2]) -> Result<()> {
    const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
    let libraries = folders.map(|folder| {
        let folder = folder.join(LIBRARIES);
        format!("{0}:{0}/systemd", folder.display())
    });
    let loader = folders[1].join(LIBRARIES).join("ld-linux-x86-64.so.2");
    let text = format!(
        "#!/bin/sh\nexec {} --library-path {} {} \"$@\"\n",
        loader.display(),
        libraries.join(":"),
        program.display()
    );
    fs::write(script, text).with_context(|| script.display().to_string())?;
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).with_context(|| script.display().to_string())
}
