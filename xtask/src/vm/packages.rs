//! What a guest has of Debian's packages beside busybox.

use std::{ffi::OsStr, fs, path::Path};

use anyhow::{Context as _, Result};

use super::initramfs::Initramfs;
use crate::setup;

const CONTAINERD_CONFIG: &str = include_str!("containerd.toml");
const PODMAN_CONFIG: &str = include_str!("podman.toml");
const INIT_UNIT: &str = include_str!("vm.service");
const SYSTEMD_PROGRAMS: [&str; 6] = [
    "usr/bin/journalctl",
    "usr/bin/systemctl",
    "usr/lib/systemd/systemd",
    "usr/lib/systemd/systemd-executor",
    "usr/lib/systemd/systemd-journald",
    "usr/lib/x86_64-linux-gnu/systemd/libsystemd-core-257.so",
];
/// What a unit with the usual dependencies needs, and the journal.
const SYSTEMD_UNITS: [&str; 14] = [
    "basic.target",
    "local-fs.target",
    "local-fs-pre.target",
    "multi-user.target",
    "paths.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "sysinit.target",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "timers.target",
    "umount.target",
];
/// What rsyslogd, its modules and jq link to.
const RSYSLOG_LIBRARIES: [&str; 11] = [
    "libc.so.6",
    "libcap.so.2",
    "libestr.so.0",
    "libfastjson.so.4",
    "libgcc_s.so.1",
    "libjq.so.1",
    "libm.so.6",
    "libonig.so.5",
    "libsystemd.so.0",
    "libuuid.so.1",
    "libz.so.1",
];

/// Of the packages only what runs: with its documentation an initramfs would take twice as long to unpack.
pub(super) fn write_containerd(initramfs: &mut Initramfs) -> Result<()> {
    let root = setup::containerd()?;
    initramfs.copy(&root.join("usr/bin/ctr"), Path::new("/usr/bin/ctr"))?;
    write_runtime(initramfs, &root)?;
    initramfs.file(Path::new("/etc/containerd/config.toml"), 0o644, CONTAINERD_CONFIG.as_bytes())
}

/// containerd and runc from where they are unpacked.
fn write_runtime(initramfs: &mut Initramfs, root: &Path) -> Result<()> {
    for program in ["usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/sbin/runc"] {
        initramfs.copy(&root.join(program), &Path::new("/").join(program))?;
    }
    write_libraries(initramfs, root, &["libc.so.6", "libseccomp.so.2"])
}

pub(super) fn write_docker(initramfs: &mut Initramfs) -> Result<()> {
    let root = setup::docker()?;
    for program in ["usr/sbin/dockerd", "usr/bin/docker"] {
        initramfs.copy(&root.join(program), &Path::new("/").join(program))?;
    }
    write_runtime(initramfs, &setup::containerd()?)?;
    write_libraries(initramfs, &root, &["libcap.so.2", "libgcc_s.so.1", "libm.so.6", "libsystemd.so.0"])
}

pub(super) fn write_podman(initramfs: &mut Initramfs) -> Result<()> {
    let root = setup::podman()?;
    for program in ["podman", "conmon", "crun"] {
        initramfs.copy(&root.join("usr/bin").join(program), &Path::new("/usr/bin").join(program))?;
    }
    // Podman does not start without its set-up of networks, which a container that has none does not need.
    initramfs.file(Path::new("/usr/lib/podman/netavark"), 0o755, b"#!/bin/sh\nexit 1\n")?;
    initramfs.file(Path::new("/etc/containers/containers.conf"), 0o644, PODMAN_CONFIG.as_bytes())?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    initramfs.copy(&libraries.join("ld-linux-x86-64.so.2"), Path::new("/lib64/ld-linux-x86-64.so.2"))?;
    let archive = |name: &OsStr| Path::new(name).extension().is_some_and(|extension| extension == "a");
    write_every_library(initramfs, &libraries, |name| !archive(name))
}

pub(super) fn write_nodejs(initramfs: &mut Initramfs) -> Result<()> {
    let root = setup::nodejs()?;
    for path in ["usr/bin/node", "usr/share/nodejs"] {
        initramfs.copy(&root.join(path), &Path::new("/").join(path))?;
    }
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    initramfs.copy(&libraries.join("ld-linux-x86-64.so.2"), Path::new("/lib64/ld-linux-x86-64.so.2"))?;
    write_every_library(initramfs, &libraries, |_| true)
}

/// Of what is in deploy only what belongs to them.
pub(super) fn write_readers(initramfs: &mut Initramfs) -> Result<()> {
    write_prometheus(initramfs)?;
    write_rsyslog(initramfs)?;
    write_systemd(initramfs)?;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy");
    for folder in ["prometheus", "grafana", "log-stacks", "systemd"] {
        initramfs.copy(&deploy.join(folder), &Path::new("/deploy").join(folder))?;
    }
    Ok(())
}

fn write_prometheus(initramfs: &mut Initramfs) -> Result<()> {
    let root = setup::prometheus()?;
    for program in ["prometheus", "promtool"] {
        initramfs.copy(&root.join("usr/bin").join(program), &Path::new("/usr/bin").join(program))?;
    }
    write_libraries(initramfs, &root, &["libc.so.6"])
}

/// With Debian's own configuration of it, which takes in what is in /etc/rsyslog.d; and jq.
fn write_rsyslog(initramfs: &mut Initramfs) -> Result<()> {
    let root = setup::rsyslog()?;
    for file in ["usr/sbin/rsyslogd", "usr/bin/jq", "usr/lib/x86_64-linux-gnu/rsyslog", "etc/rsyslog.conf"] {
        initramfs.copy(&root.join(file), &Path::new("/").join(file))?;
    }
    write_libraries(initramfs, &root, &RSYSLOG_LIBRARIES)
}

/// The loader and libraries of packages that were unpacked in `root`.
fn write_libraries(initramfs: &mut Initramfs, root: &Path, names: &[&str]) -> Result<()> {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    initramfs.copy(&libraries.join("ld-linux-x86-64.so.2"), Path::new("/lib64/ld-linux-x86-64.so.2"))?;
    for name in names {
        let file = libraries.join(name);
        let file = file.canonicalize().with_context(|| format!("no {} in the packages", file.display()))?;
        initramfs.copy(&file, &Path::new("/lib/x86_64-linux-gnu").join(name))?;
    }
    Ok(())
}

/// Not running, and `journalctl` not on the PATH: a test that wants a journal starts it.
pub(super) fn write_journald(initramfs: &mut Initramfs) -> Result<()> {
    let root = setup::systemd()?;
    for (program, folder) in [("systemd-journald", "usr/lib/systemd"), ("journalctl", "usr/bin")] {
        initramfs.copy(&root.join(folder).join(program), &Path::new("/usr/lib/systemd").join(program))?;
    }
    write_systemd_libraries(initramfs, &root)
}

/// With it, init has systemd run the guest's command, as a unit (`init.sh`). There are no units but those that others need.
fn write_systemd(initramfs: &mut Initramfs) -> Result<()> {
    let root = setup::systemd()?;
    let programs = SYSTEMD_PROGRAMS.iter().map(|program| (*program).to_owned());
    let units = SYSTEMD_UNITS.iter().map(|unit| format!("usr/lib/systemd/system/{unit}"));
    for file in programs.chain(units) {
        initramfs.copy(&root.join(&file), &Path::new("/").join(&file))?;
    }
    initramfs.file(Path::new("/etc/systemd/system/vm.service"), 0o644, INIT_UNIT.as_bytes())?;
    write_systemd_libraries(initramfs, &root)
}

fn write_systemd_libraries(initramfs: &mut Initramfs, root: &Path) -> Result<()> {
    let (libraries, shared) = (root.join("usr/lib/x86_64-linux-gnu"), "systemd/libsystemd-shared-257.so");
    initramfs.copy(&libraries.join(shared), &Path::new("/usr/lib/x86_64-linux-gnu").join(shared))?;
    write_every_library(initramfs, &libraries, |name| name != "libssl.so.3")
}

/// The libraries in a folder that are wanted, by their names.
fn write_every_library(initramfs: &mut Initramfs, folder: &Path, wanted: impl Fn(&OsStr) -> bool) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if !path.is_dir() && wanted(name) {
            initramfs.copy(&path, &Path::new("/usr/lib/x86_64-linux-gnu").join(name))?;
        }
    }
    Ok(())
}
