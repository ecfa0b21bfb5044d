//! The disk of the lab's node: a Debian with systemd, containerd, CNI plugins, the kernel's modules and a kubelet. It is made of
//! packages that are never installed, and without mounting anything: their files go, with their owners, straight into an
//! ext4 file system.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tar::{Archive, Builder, EntryType, Header};

use super::{Kernel, apt::Suite, busybox, kernel, kubernetes_source::kubernetes};
use crate::cache;

/// The kernel that the node boots.
pub(crate) const KERNEL: Kernel = Kernel::V6_12;

/// What the node has; apt adds what they need.
const PACKAGES: [&str; 29] = [
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "containerd",
    "containernetworking-plugins",
    "coreutils",
    "curl",
    "dash",
    "dbus",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "iproute2",
    "iptables",
    "jq",
    "libc-bin",
    "mawk",
    "mount",
    "netbase",
    "procps",
    "runc",
    "sed",
    "systemd",
    "systemd-sysv",
    "tar",
    "util-linux",
];
/// What nothing on the node reads.
const LEFT_OUT: [&str; 6] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/bash-completion",
];
/// Users and groups that maintainer scripts would add.
const MORE_USERS: &str = "messagebus:x:100:100::/nonexistent:/usr/sbin/nologin\n";
const MORE_GROUPS: &str = "messagebus:x:100:\nsystemd-journal:x:101:\n";
/// Links that maintainer scripts would make, and busybox for what else would need packages.
const LINKS: [(&str, &str); 6] = [
    ("usr/sbin/iptables", "xtables-nft-multi"),
    ("usr/sbin/iptables-restore", "xtables-nft-multi"),
    ("usr/sbin/iptables-save", "xtables-nft-multi"),
    ("usr/sbin/ip6tables", "xtables-nft-multi"),
    ("usr/sbin/modprobe", "/usr/lib/busybox"),
    ("usr/bin/awk", "mawk"),
];
/// Room for images, logs and what pods write. The file is sparse.
const SIZE: &str = "4G";

/// The path of the disk, which is not to be written to: start QEMU with `snapshot=on`.
pub(crate) fn node() -> Result<PathBuf> {
    let kubernetes = kubernetes()?;
    let folder = cache::piece("node", |folder| {
        let debs = Suite::open("trixie")?.download_with_dependencies(&PACKAGES, folder)?;
        let mut mke2fs = mke2fs(&folder.join("root.ext4"))?;
        let input = mke2fs.stdin.take().context("mke2fs has no input")?;
        let written = Root::new(input).write(&debs.files()?, &kubernetes.join("kubelet"));
        let status = mke2fs.wait_with_output().context("cannot wait for mke2fs")?;
        let said = String::from_utf8_lossy(&status.stderr);
        ensure!(status.status.success(), "mke2fs cannot make the node's disk: {}", said.trim_end());
        written?;
        debs.remove()
    })?;
    Ok(folder.join("root.ext4"))
}

/// Starts mke2fs on a file, to read a tar archive from its input. Those before 1.47.1 read folders alone, which have no owners
/// but ours.
fn mke2fs(file: &Path) -> Result<Child> {
    let folder = cache::piece("e2fsprogs", |folder| {
        let suite = Suite::open("trixie")?;
        suite.download_with_dependencies(&["e2fsprogs", "libarchive13t64"], folder)?.unpack(folder)
    })?;
    let libraries = folder.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(&libraries).arg(folder.join("usr/sbin/mke2fs"));
    // Without what a file system of years needs: no journal, no reserve for root.
    command.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0", "-d", "-"]);
    command.arg(file).arg(SIZE).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().context("cannot start mke2fs")
}

/// The tar archive that the disk is made of.
struct Root<W: Write> {
    tar: Builder<BufWriter<W>>,
    /// Paths that are there: packages share folders.
    present: HashSet<PathBuf>,
    /// The users and groups that every Debian has.
    users: String,
    groups: String,
}

impl<W: Write> Root<W> {
    fn new(output: W) -> Self {
        let tar = Builder::new(BufWriter::with_capacity(1 << 20, output));
        Self { tar, present: HashSet::new(), users: String::new(), groups: String::new() }
    }

    fn write(mut self, debs: &[PathBuf], kubelet: &Path) -> Result<()> {
        for deb in debs {
            self.package(deb).with_context(|| format!("cannot take over the files of {}", deb.display()))?;
        }
        let users = format!("{}{MORE_USERS}", self.users);
        let groups = format!("{}{MORE_GROUPS}", self.groups);
        for (path, text) in [("etc/passwd", users), ("etc/group", groups)] {
            self.bytes(path, 0o644, text.as_bytes())?;
        }
        self.program(kubelet, "usr/bin/kubelet")?;
        self.program(&busybox()?, "usr/lib/busybox")?;
        let modules = kernel(KERNEL)?.modules_folder();
        let release = modules.file_name().context("a kernel's modules are in a folder")?;
        self.tar.append_data(&mut header(EntryType::Directory, 0o755, 0), "usr/lib/modules/", io::empty())?;
        self.tar.append_dir_all(Path::new("usr/lib/modules").join(release), &modules)?;
        for (path, target) in LINKS {
            if self.present.insert(path.into()) {
                let mut header = header(EntryType::Symlink, 0o777, 0);
                self.tar.append_link(&mut header, path, target)?;
            }
        }
        self.tar.into_inner()?.flush().context("cannot write the node's files")
    }

    /// The files of a package, without those that nothing reads.
    fn package(&mut self, deb: &Path) -> Result<()> {
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.arg("--fsys-tarfile").arg(deb).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut dpkg = dpkg.spawn().context("cannot run dpkg-deb")?;
        let mut files = Archive::new(dpkg.stdout.take().context("dpkg-deb has no output")?);
        for entry in files.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
            if path.as_os_str().is_empty() || LEFT_OUT.iter().any(|folder| path.starts_with(folder)) {
                continue;
            }
            match path.to_str() {
                Some("usr/share/base-passwd/passwd.master") => drop(entry.read_to_string(&mut self.users)?),
                Some("usr/share/base-passwd/group.master") => drop(entry.read_to_string(&mut self.groups)?),
                _ if self.present.insert(path.clone()) => {
                    let mut header = entry.header().clone();
                    match entry.link_name()? {
                        Some(target) => {
                            let target = target.strip_prefix("./").unwrap_or(&target).to_owned();
                            self.tar.append_link(&mut header, path, target)?;
                        }
                        None => self.tar.append_data(&mut header, path, entry)?,
                    }
                }
                _ => {}
            }
        }
        io::copy(&mut files.into_inner(), &mut io::sink())?;
        let status = dpkg.wait()?;
        ensure!(status.success(), "dpkg-deb failed: {status}");
        Ok(())
    }

    fn bytes(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        Ok(self.tar.append_data(&mut header(EntryType::Regular, mode, bytes.len() as u64), path, bytes)?)
    }

    fn program(&mut self, program: &Path, path: &str) -> Result<()> {
        let file = File::open(program).with_context(|| format!("cannot open {}", program.display()))?;
        let size = file.metadata()?.len();
        Ok(self.tar.append_data(&mut header(EntryType::Regular, 0o755, size), path, file)?)
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}
