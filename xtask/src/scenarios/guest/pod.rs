//! Pods without a kubelet: cgroups as its cgroupfs driver makes them, and first processes in pid namespaces of their own.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::{fs::symlink, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

pub(super) const MIB: u64 = 1 << 20;
const ROOT: &str = "/sys/fs/cgroup";
/// How long a death may take to happen.
const PATIENCE: Duration = Duration::from_mins(2);

/// All pods together.
pub(super) fn kubepods() -> Result<PathBuf> {
    make("kubepods")
}

/// A pod's cgroup.
pub(super) fn pod(number: u32) -> Result<PathBuf> {
    make(&format!("kubepods/burstable/pod{number:08x}-23d2-4099-bf62-d501a2753c91"))
}

/// A container's cgroup.
pub(super) fn container(pod: u32, container: u32) -> Result<PathBuf> {
    make(&format!("kubepods/burstable/pod{pod:08x}-23d2-4099-bf62-d501a2753c91/{pod:032x}{container:032x}"))
}

fn make(path: &str) -> Result<PathBuf> {
    let mut folder = PathBuf::from(ROOT);
    for name in Path::new(path) {
        fs::write(folder.join("cgroup.subtree_control"), "+memory")
            .with_context(|| format!("{} has no memory controller to pass on", folder.display()))?;
        folder.push(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make the cgroup {}", folder.display()));
            }
            _ => {}
        }
    }
    Ok(folder)
}

/// Sets a limit.
pub(super) fn limit(cgroup: &Path, bytes: u64) -> Result<()> {
    let file = cgroup.join("memory.max");
    fs::write(&file, bytes.to_string()).with_context(|| format!("cannot write to {}", file.display()))
}

/// A container's first process, and the one outside that stands for the runtime's shim.
pub(super) struct Running {
    shim: Child,
    cgroup: PathBuf,
}

/// Starts a shell command as the first process of a container: what is to be the first process, it has to `exec`.
pub(super) fn start(cgroup: &Path, command: &str) -> Result<Running> {
    let shim =
        shim(cgroup, command).stdout(Stdio::null()).spawn().context("the container's first process does not start")?;
    Ok(Running { shim, cgroup: cgroup.to_owned() })
}

/// The same, with the log that a runtime keeps of a container of that name, where it keeps it.
pub(super) fn start_logged(
    cgroup: &Path,
    namespace: &str,
    name: &str,
    container: &str,
    command: &str,
) -> Result<Running> {
    let id = file_name(cgroup);
    let uid = cgroup.parent().map(file_name).unwrap_or_default();
    let uid = uid.strip_prefix("pod").unwrap_or(&uid);
    let folder = format!("/var/log/pods/{namespace}_{name}_{uid}/{container}");
    fs::create_dir_all(&folder)?;
    fs::create_dir_all("/var/log/containers")?;
    let log = format!("{folder}/0.log");
    let mut file = fs::File::create(&log)?;
    let link = format!("/var/log/containers/{name}_{namespace}_{container}-{id}.log");
    if !fs::exists(&link)? {
        symlink(&log, &link)?;
    }
    let mut shim = shim(cgroup, command)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("the container does not start")?;
    let said = shim.stderr.take().context("the container has no standard error")?;
    thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            // A log that cannot be written to lacks a line, and the verdict shows that.
            let _ = writeln!(file, "{} stderr F {line}", jiff::Timestamp::now());
        }
    });
    Ok(Running { shim, cgroup: cgroup.to_owned() })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn shim(cgroup: &Path, command: &str) -> Command {
    // The shim is outside of the container, as a real one is: only the child that becomes the first process enters.
    let enter = format!("echo 0 > '{}/cgroup.procs' && {command}", cgroup.display());
    let mut shim = Command::new("unshare");
    shim.args(["-p", "-f", "sh", "-c", &enter]).stdin(Stdio::null());
    shim
}

impl Running {
    /// Waits for the first process's end.
    pub(super) fn wait(mut self) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.shim.try_wait()? {
                return Ok(status);
            }
            ensure!(started.elapsed() < PATIENCE, "the container in {} does not end", self.cgroup.display());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the kernel has killed in the container.
    pub(super) fn wait_for_kill(&self) -> Result<()> {
        let file = self.cgroup.join("memory.events");
        wait_until(&format!("a kill in {}", self.cgroup.display()), || {
            let events = fs::read_to_string(&file)?;
            Ok(events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0")))
        })
    }

    /// Waits until the container uses so much.
    pub(super) fn wait_for_use(&self, bytes: u64) -> Result<()> {
        let file = self.cgroup.join("memory.current");
        wait_until(&format!("{} uses {bytes} bytes", self.cgroup.display()), || {
            Ok(fs::read_to_string(&file)?.trim().parse::<u64>()? >= bytes)
        })
    }

    /// Sends a signal to the container's first process, which is the first in its cgroup.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let procs = fs::read_to_string(self.cgroup.join("cgroup.procs"))?;
        let first =
            procs.lines().find_map(|line| Pid::from_raw(line.parse().ok()?)).context("the container is empty")?;
        Ok(kill_process(first, signal)?)
    }
}

/// Fails unless a signal ended the process: `unshare` exits as a shell does, with 128 and the signal.
pub(super) fn killed_by(status: ExitStatus, signal: Signal) -> Result<()> {
    let number = signal.as_raw();
    if status.signal() == Some(number) || status.code() == Some(128 + number) {
        return Ok(());
    }
    bail!("the container's first process ended with {status} instead of signal {number}")
}

fn wait_until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !done()? {
        ensure!(started.elapsed() < PATIENCE, "waited in vain until: {what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Ends everything in all pods and takes their cgroups away, so that no death sees the one before.
pub(super) fn end_all() {
    remove(&Path::new(ROOT).join("kubepods"));
}

fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    for _ in 0..100 {
        let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        if fs::remove_dir(folder).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
