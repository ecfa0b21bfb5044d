//! Containers that are made, killed for what they use, and removed at once.

use std::{
    fs,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    cgroup::{Cgroup, container_id, container_path, uid},
    scenarios::boot_ns,
};

/// How many live at a time.
const AT_A_TIME: u32 = 4;
/// A new one begins so long after the one before it.
const EVERY: Duration = Duration::from_millis(40);
/// How many pods they are in.
const PODS: u32 = 10;

/// Who tells the names of containers.
pub(super) trait Source: Sync {
    /// oomtrace has started: waits until it listens, where what is reported before is lost.
    fn is_heard(&self) -> Result<()> {
        Ok(())
    }
    /// The container is about to get its cgroup.
    fn made(&self, life: Life) -> Result<()>;
    /// It has it.
    fn started(&self, _life: Life) -> Result<()> {
        Ok(())
    }
    /// Its cgroup is gone.
    fn gone(&self, life: Life) -> Result<()>;
    /// All are gone.
    fn end(&self) -> Result<()> {
        Ok(())
    }
    /// Whether it tells how often a container was restarted.
    fn knows_restarts(&self) -> bool {
        true
    }
}

/// A container's.
#[derive(Clone, Copy)]
pub(super) struct Life {
    pub(super) number: u32,
}

/// A container that has its cgroup.
pub(super) struct Living {
    life: Life,
    cgroup: Cgroup,
}

/// A container that was killed and removed.
pub(super) struct Ended {
    pub(super) life: Life,
    /// When its cgroup was gone, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) gone_ns: u64,
}

/// All of them.
pub(super) struct Lived {
    pub(super) ended: Vec<Ended>,
    /// From the first one's beginning to the last one's end.
    pub(super) took: Duration,
}

impl Lived {
    /// Containers a second.
    pub(super) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.ended.len()).unwrap_or(u32::MAX)) / self.took.as_secs_f64()
    }
}

impl Life {
    pub(super) fn id(self) -> String {
        container_id(9_000 + self.number)
    }

    /// Of some in the same pod the names are the same: those are restarts.
    pub(super) fn name(self) -> String {
        format!("app-{}", self.number / PODS % 3)
    }

    pub(super) fn restarts(self) -> u32 {
        self.number / PODS / 3
    }

    fn pod(self) -> u32 {
        8_000 + self.number % PODS
    }

    /// Two pods each have the same: the uid tells them apart.
    pub(super) fn pod_name(self) -> String {
        format!("db-{}", self.number % PODS / 2)
    }

    pub(super) fn uid(self) -> String {
        uid(self.pod())
    }

    pub(super) fn make(self, source: &dyn Source) -> Result<Living> {
        source.made(self)?;
        let cgroup = Cgroup::make(&container_path(self.pod(), 9_000 + self.number))?;
        cgroup.limit(1)?;
        source.started(self)?;
        Ok(Living { life: self, cgroup })
    }
}

impl Living {
    /// Uses more than it may; then there is nothing left of it.
    pub(super) fn die(self, source: &dyn Source) -> Result<Ended> {
        let Self { life, cgroup } = self;
        let status = eat(&cgroup)?;
        ensure!(!status.success(), "it was not killed");
        // A cgroup is busy until the last of its processes has ended altogether.
        let folder = cgroup.folder();
        let started = Instant::now();
        while let Err(error) = fs::remove_dir(&folder) {
            ensure!(started.elapsed() < Duration::from_secs(5), "{} cannot be removed: {error}", folder.display());
            thread::yield_now();
        }
        let gone_ns = boot_ns();
        source.gone(life)?;
        Ok(Ended { life, gone_ns })
    }
}

/// So small a program that an emulated machine can start dozens a second.
fn eat(cgroup: &Cgroup) -> Result<ExitStatus> {
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ >$0 && exec tail /dev/zero"]).arg(cgroup.procs());
    command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("no sh")
}

/// While it lives, the kernel's reports of kills do not go to the console, a serial port that would take most of the time.
struct QuietConsole(String);

const CONSOLE: &str = "/proc/sys/kernel/printk";

impl QuietConsole {
    fn new() -> Result<Self> {
        let before = fs::read_to_string(CONSOLE)?;
        fs::write(CONSOLE, "1")?;
        Ok(Self(before))
    }
}

impl Drop for QuietConsole {
    fn drop(&mut self) {
        let _ = fs::write(CONSOLE, &self.0);
    }
}

/// As many as are wanted, a new one every [`EVERY`], some at a time.
pub(super) fn live(wanted: u32, source: &dyn Source) -> Result<Lived> {
    let _quiet = QuietConsole::new()?;
    let pods: Vec<_> = (0..PODS).map(|number| Life { number }.pod()).collect();
    let pods: Vec<_> = pods
        .into_iter()
        .map(|pod| Cgroup::make(&format!("/kubepods/burstable/pod{}", uid(pod))))
        .collect::<Result<_>>()?;
    let started = Instant::now();
    let one_after_the_other = |first: u32| {
        let numbers = (first..wanted).step_by(AT_A_TIME as usize);
        let lives = numbers.map(|number| {
            thread::sleep((started + EVERY * number).saturating_duration_since(Instant::now()));
            Life { number }.make(source)?.die(source)
        });
        lives.collect::<Result<Vec<_>>>()
    };
    let ended = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_A_TIME).map(|first| scope.spawn(move || one_after_the_other(first))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let took = started.elapsed();
    drop(pods);
    Ok(Lived { ended: ended.into_iter().flatten().collect(), took })
}
