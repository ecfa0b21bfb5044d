//! A guest: which kernel to boot, with what files, to run which command. [`Guest::run`] is the whole life of one.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{self, File},
    io::{self, Write},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use super::{
    initramfs::Initramfs,
    interrupt,
    machine::{Machine, Verdict},
    packages,
};
use crate::{
    arch::Arch,
    build,
    setup::{self, Kernel, KernelFiles},
};

const INIT: &str = include_str!("init.sh");
/// Room for what a guest leaves in /out. The file is sparse: only what is written takes space.
const OUT_DISK_BYTES: u64 = 8 << 30;

/// The cgroup hierarchy a guest has mounted at /sys/fs/cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cgroup {
    /// A folder for each controller
    V1,
    /// The unified hierarchy, every controller enabled for the root's children
    V2,
}

impl fmt::Display for Cgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// Emulation: slower, and works everywhere
    Tcg,
    /// This machine's own virtualisation. Never chosen by itself: nested, it can hang
    Kvm,
}

/// What a guest has beside a kernel and busybox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum With {
    /// containerd, running, with runc and ctr, and a journald to be started: cgroup v2, cgroupfs driver, no images, and no
    /// network but the guest's own
    Containerd,
    /// Docker, running, with a containerd of its own and runc: cgroup v2, cgroupfs driver, no images, no network
    Docker,
    /// Podman, crun and conmon: cgroup v2, cgroupfs driver, no images, no network
    Podman,
    /// Node.js
    Nodejs,
    /// What reads what oomtrace prints, and what runs it: Prometheus, promtool, rsyslogd and jq, none of them running, systemd with
    /// its journal, and what is in deploy for them, at /deploy
    Readers,
}

impl With {
    /// The name, as the guest's command and people see it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Nodejs => "nodejs",
            Self::Readers => "readers",
        }
    }
}

/// Where a stream of the guest goes, as it comes.
pub(crate) type Sink = Box<dyn Write + Send>;

/// A machine to be booted, once.
pub(crate) struct Guest {
    pub(crate) arch: Arch,
    pub(crate) kernel: Kernel,
    pub(crate) cgroup: Cgroup,
    /// MiB.
    pub(crate) memory: u32,
    pub(crate) cpus: u32,
    pub(crate) accel: Accel,
    /// Whether the guest's clock counts the instructions it executes, instead of time.
    pub(crate) instructions: bool,
    /// Static programs to put on the PATH: where from, and what they are called in the guest.
    pub(crate) programs: Vec<(PathBuf, &'static str)>,
    /// Files and folders to put in: where from (host), and where to (guest).
    pub(crate) files: Vec<(PathBuf, PathBuf)>,
    /// What else is there.
    pub(crate) with: Option<With>,
    /// Kernel modules to load, by name.
    pub(crate) modules: Vec<&'static str>,
    /// The folder that appears at /share.
    pub(crate) share: Option<PathBuf>,
    /// The folder that gets what the guest leaves in /out.
    pub(crate) out: Option<PathBuf>,
    /// What to run.
    pub(crate) command: Vec<OsString>,
    /// Variables for the command, beside those every guest has.
    pub(crate) environment: Vec<(String, OsString)>,
    /// How long it may take from the start to the machine's end.
    pub(crate) timeout: Duration,
    /// Gets the command's standard output.
    pub(crate) stdout: Sink,
    /// Gets the command's standard error.
    pub(crate) stderr: Sink,
    /// Gets the kernel's console.
    pub(crate) console: Sink,
}

/// How a guest's command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// As a shell has it: 128 and the signal's number where a signal ended the command.
    pub(crate) status: u8,
    /// What `uname -r` says in the guest.
    pub(crate) release: String,
    /// From the start to the command's.
    pub(crate) boot: Duration,
    /// From the start to the machine's end.
    pub(crate) total: Duration,
}

impl Guest {
    /// A guest with the defaults of `cargo xtask vm`, its output going where ours does.
    pub(crate) fn new(kernel: Kernel, command: impl IntoIterator<Item: Into<OsString>>) -> Self {
        Self {
            arch: Arch::Amd64,
            kernel,
            cgroup: Cgroup::V2,
            memory: 1024,
            cpus: 2,
            accel: Accel::Tcg,
            instructions: false,
            programs: Vec::new(),
            files: Vec::new(),
            with: None,
            modules: Vec::new(),
            share: None,
            out: None,
            command: command.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            timeout: Duration::from_mins(5),
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            console: Box::new(io::sink()),
        }
    }

    /// Boots, runs the command, and shuts down. An error means that the command did not run to its end.
    pub(crate) fn run(self) -> Result<Outcome> {
        interrupt::watch()?;
        interrupt::check()?;
        ensure!(
            self.arch == Arch::Amd64 || self.with.is_none() && self.accel == Accel::Tcg,
            "a machine for {} is emulated, and has nothing but busybox",
            self.arch
        );
        let kernel = setup::kernel_for(self.arch, self.kernel)?;
        ensure!(
            self.cgroup == Cgroup::V2 || kernel.has_memory_v1()?,
            "kernel {} has no memory controller for cgroup v1 (built without CONFIG_MEMCG_V1): use v2, or an older kernel",
            kernel.release
        );
        let scratch =
            tempfile::Builder::new().prefix("oomtrace-vm-").tempdir().context("no place for the guest's files")?;
        let out_disk = self.out.is_some().then(|| scratch.path().join("out.tar"));
        if let Some(disk) = &out_disk {
            File::create(disk)
                .and_then(|file| file.set_len(OUT_DISK_BYTES))
                .context("cannot make the disk for /out")?;
        }
        let initramfs = scratch.path().join("initramfs");
        self.write_initramfs(&kernel, &initramfs)?;

        let machine = Machine {
            arch: self.arch,
            image: kernel.image,
            initramfs,
            out_disk: out_disk.clone(),
            memory: self.memory,
            cpus: self.cpus,
            accel: self.accel,
            instructions: self.instructions,
            timeout: self.timeout,
            folder: scratch.path().to_path_buf(),
        };
        let Verdict { status, release, boot, total } = machine.run(self.stdout, self.stderr, self.console)?;
        if let (Some(disk), Some(out)) = (&out_disk, &self.out) {
            unpack_out(disk, out).with_context(|| format!("cannot bring the guest's /out into {}", out.display()))?;
        }
        Ok(Outcome { status, release, boot, total })
    }

    fn write_initramfs(&self, kernel: &KernelFiles, path: &Path) -> Result<()> {
        let mut initramfs = Initramfs::create(path)?;
        initramfs.file(Path::new("/init"), 0o755, INIT.as_bytes())?;
        initramfs.file(Path::new("/vm/settings"), 0o644, &self.settings())?;
        initramfs.file(Path::new("/vm/command"), 0o644, &shell_line("exec", &self.command))?;
        initramfs.copy(&setup::busybox_for(self.arch)?, Path::new("/bin/busybox"))?;
        let mut modules = self.modules.clone();
        match self.with {
            Some(With::Containerd) => {
                packages::write_containerd(&mut initramfs)?;
                packages::write_journald(&mut initramfs)?;
                modules.push("overlay");
            }
            Some(With::Docker) => {
                packages::write_docker(&mut initramfs)?;
                modules.push("overlay");
            }
            Some(With::Podman) => {
                packages::write_podman(&mut initramfs)?;
                modules.push("overlay");
            }
            Some(With::Nodejs) => packages::write_nodejs(&mut initramfs)?,
            Some(With::Readers) => packages::write_readers(&mut initramfs)?,
            None => {}
        }
        if self.out.is_some() {
            modules.extend(["virtio_pci", "virtio_blk"]);
        }
        for (position, module) in kernel.modules(&modules)?.iter().enumerate() {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            initramfs.copy(module, Path::new(&format!("/vm/modules/{position:02}-{name}")))?;
        }
        for (host, name) in &self.programs {
            let stripped = path.with_file_name(name);
            build::strip(host, &stripped)?;
            initramfs.copy(&stripped, &Path::new("/bin").join(name))?;
        }
        for (host, guest) in &self.files {
            initramfs.copy(host, guest)?;
        }
        if let Some(share) = &self.share {
            let folder = share.canonicalize().with_context(|| format!("cannot share {}", share.display()))?;
            ensure!(folder.is_dir(), "cannot share {}: not a folder", share.display());
            initramfs.copy(&folder, Path::new("/share"))?;
        }
        initramfs.finish()
    }

    /// What init reads first.
    fn settings(&self) -> Vec<u8> {
        let mut settings = Vec::new();
        let disk = if self.out.is_some() { "/dev/vda" } else { "" };
        settings.extend(format!("OOMTRACE_VM_OUT={disk}\n").bytes());
        let own = [
            ("OOMTRACE_VM", "1"),
            ("OOMTRACE_VM_ARCH", self.arch.debian()),
            ("OOMTRACE_VM_KERNEL", self.kernel.label()),
            ("OOMTRACE_VM_CGROUP", &self.cgroup.to_string()),
            ("OOMTRACE_VM_CLOCK", if self.instructions { "instructions" } else { "time" }),
            ("OOMTRACE_VM_WITH", self.with.map_or("", With::name)),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), OsString::from(value)));
        for (name, value) in own.iter().chain(&self.environment) {
            let mut assignment = OsString::from(format!("{name}="));
            assignment.push(value);
            settings.extend(shell_line("export", &[assignment]));
        }
        settings
    }
}

/// A line of shell that keeps each argument as it is, whatever bytes are in it.
fn shell_line(command: &str, arguments: &[impl AsRef<OsStr>]) -> Vec<u8> {
    let mut line = command.as_bytes().to_vec();
    for argument in arguments {
        line.extend(b" '");
        for byte in argument.as_ref().as_bytes() {
            match byte {
                b'\'' => line.extend(br"'\''"),
                byte => line.push(*byte),
            }
        }
        line.push(b'\'');
    }
    line.push(b'\n');
    line
}

fn unpack_out(disk: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(out)?;
    let mut archive = tar::Archive::new(File::open(disk)?);
    Ok(archive.unpack(out)?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_every_argument_unchanged() -> Result<()> {
        let arguments = ["plain", "two words", "", "it's", "\"$HOME\" `id` \\", "line\nline", "*", "-n"];
        let line = shell_line("printf '%s\\0'", &arguments);
        let printed = Command::new("sh").arg("-c").arg(OsStr::from_bytes(&line)).output()?.stdout;
        assert_eq!(String::from_utf8(printed)?, arguments.map(|argument| format!("{argument}\0")).concat());
        Ok(())
    }
}
