//! Work that a kernel does all day, in a process of its own.

use std::{
    env, fs,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    ptr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::cgroup;

/// What a workload repeats. Each reports how often a second it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// First touch of an anonymous page, and its return
    PageFault,
    /// Reading a page of a file, for which another page of it has to go
    Reclaim,
    /// A program started and waited for
    Exec,
    /// A process forked, ended and waited for
    Exit,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::PageFault, Self::Reclaim, Self::Exec, Self::Exit];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::PageFault => "page faults far from the limit",
            Self::Reclaim => "pages read at the limit, reclaiming",
            Self::Exec => "fork, exec, exit",
            Self::Exit => "fork, exit",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::PageFault => "page-fault",
            Self::Reclaim => "reclaim",
            Self::Exec => "exec",
            Self::Exit => "exit",
        }
    }

    /// The limit of the container that it runs in, bytes.
    const fn limit_bytes(self) -> u64 {
        match self {
            // Less than half of the disk that is read over and over.
            Self::Reclaim => 6 << 20,
            _ => 256 << 20,
        }
    }
}

#[derive(Args)]
pub(crate) struct Workload {
    #[arg(long, value_enum)]
    kind: Kind,
    /// Milliseconds
    #[arg(long)]
    lasting: u64,
    /// The cgroup to be in
    #[arg(long)]
    cgroup: PathBuf,
}

impl Workload {
    pub(crate) fn run(&self) -> Result<()> {
        run(self)
    }
}

/// Runs a workload in a container and gives how often a second it did its work.
pub(super) fn rate(kind: Kind, lasting: Duration) -> Result<f64> {
    let number = 100 + kind as u32;
    let folder = cgroup::container(number, kind.limit_bytes())?;
    let hits = cgroup::event(&folder, "max ")?;
    let output = Command::new(env::current_exe()?)
        .args([
            "in-guest",
            "workload",
            "--kind",
            kind.name(),
            "--lasting",
            &lasting.as_millis().to_string(),
            "--cgroup",
        ])
        .arg(&folder)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the workload `{}` ended with {}", kind.title(), output.status);
    let at_limit = cgroup::event(&folder, "max ")? > hits;
    ensure!(
        at_limit == (kind == Kind::Reclaim),
        "the workload `{}` was{} at its limit",
        kind.title(),
        if at_limit { "" } else { " not" }
    );
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.trim().parse().with_context(|| format!("the workload `{}` said {printed:?}", kind.title()))
}

/// The workload's own process: prints its rate.
fn run(workload: &Workload) -> Result<()> {
    let Workload { kind, lasting, cgroup } = workload;
    cgroup::write(&cgroup.join("cgroup.procs"), "0")?;
    let lasting = Duration::from_millis(*lasting);
    let (done, took) = match kind {
        Kind::PageFault => page_faults(lasting),
        Kind::Reclaim => reclaim(lasting),
        Kind::Exec => repeat(lasting, exec),
        Kind::Exit => repeat(lasting, exit),
    }?;
    #[expect(clippy::cast_precision_loss, reason = "a rate has no use for more than 52 bits")]
    let rate = done as f64 / took.as_secs_f64();
    println!("{rate}");
    Ok(())
}

/// How often `work` could be done in that time, and how long it really took.
fn repeat(lasting: Duration, mut work: impl FnMut() -> Result<u64>) -> Result<(u64, Duration)> {
    // The first time is not like the others: caches are cold.
    work()?;
    let started = Instant::now();
    let mut done = 0;
    while started.elapsed() < lasting {
        done += work()?;
    }
    Ok((done, started.elapsed()))
}

fn page_faults(lasting: Duration) -> Result<(u64, Duration)> {
    const LEN: usize = 8 << 20;
    let page = rustix::param::page_size();
    // SAFETY: at no given address, so nothing that is mapped already is replaced.
    let memory = unsafe {
        rustix::mm::mmap_anonymous(ptr::null_mut(), LEN, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }?;
    // Huge pages would be one fault instead of 512. A kernel without them does not know the advice.
    // SAFETY: the range is the mapping.
    let _ = unsafe { rustix::mm::madvise(memory, LEN, Advice::LinuxNoHugepage) };
    repeat(lasting, || {
        for offset in (0..LEN).step_by(page) {
            // SAFETY: inside the mapping, which is writable.
            unsafe { memory.cast::<u8>().add(offset).write_volatile(1) };
        }
        // SAFETY: nothing refers into the mapping.
        unsafe { rustix::mm::madvise(memory, LEN, Advice::LinuxDontNeed) }?;
        Ok((LEN / page) as u64)
    })
}

/// Reads a RAM disk through the page cache: no device is waited for, and every page read has to displace another.
fn reclaim(lasting: Duration) -> Result<(u64, Duration)> {
    const DISK: &str = "/dev/ram0";
    let disk = File::open(DISK).with_context(|| format!("no {DISK} to read (module brd)"))?;
    let mut chunk = vec![0; 128 << 10];
    let pages = (chunk.len() / rustix::param::page_size()) as u64;
    let len = fs::read_to_string(Path::new("/sys/block/ram0/size"))?.trim().parse::<u64>()? * 512;
    ensure!(len >= 2 * Kind::Reclaim.limit_bytes(), "{DISK} has only {len} bytes");
    let mut at = 0;
    repeat(lasting, || {
        disk.read_exact_at(&mut chunk, at)?;
        at = (at + chunk.len() as u64) % (len - len % chunk.len() as u64);
        Ok(pages)
    })
}

fn exec() -> Result<u64> {
    let status = Command::new("/bin/busybox").arg("true").stdin(Stdio::null()).status()?;
    ensure!(status.success(), "busybox's `true` is not");
    Ok(1)
}

fn exit() -> Result<u64> {
    // SAFETY: this process has one thread, and the child ends at once.
    unsafe {
        match libc::fork() {
            -1 => bail!("a process cannot be forked: {}", io::Error::last_os_error()),
            0 => libc::_exit(0),
            pid => ensure!(libc::waitpid(pid, ptr::null_mut(), 0) == pid, "a child cannot be waited for"),
        }
    }
    Ok(1)
}
