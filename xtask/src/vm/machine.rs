//! One run of QEMU: starts it, carries the guest's four serial ports, watches over it, and makes sure that it ends.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{
    guest::{Accel, Sink},
    interrupt,
};
use crate::{arch::Arch, setup};

/// A kernel that has not reached its first process by then never will, even emulated on a busy machine.
const BOOT_LIMIT: Duration = Duration::from_mins(2);
/// How often to look whether somebody wants us to end.
const TICK: Duration = Duration::from_millis(100);
/// How much of the console an error shows.
const CONSOLE_LINES: usize = 30;
/// The guest's serial ports in order, as init.sh uses them.
const PORTS: [&str; 4] = ["console", "stdout", "stderr", "control"];

/// A machine to be started once.
pub(super) struct Machine {
    pub(super) arch: Arch,
    pub(super) image: PathBuf,
    pub(super) initramfs: PathBuf,
    pub(super) out_disk: Option<PathBuf>,
    /// MiB.
    pub(super) memory: u32,
    pub(super) cpus: u32,
    pub(super) accel: Accel,
    pub(super) instructions: bool,
    pub(super) timeout: Duration,
    /// A scratch folder for sockets.
    pub(super) folder: PathBuf,
}

/// What the guest reported of its command.
pub(super) struct Verdict {
    pub(super) status: u8,
    pub(super) release: String,
    pub(super) boot: Duration,
    pub(super) total: Duration,
}

/// What the threads that carry the serial ports tell the one that watches.
enum Report {
    /// A line that init wrote to its control port.
    Control(String),
    /// Our end of the command's output cannot be written to any more.
    Broken(io::Error),
}

/// How a machine ended.
enum End {
    /// It powered off, was reset, or QEMU gave up.
    Own,
    /// It has to be ended, and this is why.
    TimedOut(String),
}

/// What is known of a running guest.
#[derive(Default)]
struct Progress {
    ready: Option<(Duration, String)>,
    status: Option<u8>,
    refused: Option<String>,
}

impl Machine {
    /// Runs the machine to its end. If its command did not run to the end, the error says why, with the console's
    /// last lines.
    pub(super) fn run(self, stdout: Sink, stderr: Sink, console: Sink) -> Result<Verdict> {
        let mut listeners = Vec::new();
        for port in PORTS {
            let socket = self.folder.join(port);
            let listener = UnixListener::bind(&socket).with_context(|| {
                format!("cannot make the socket {} (set TMPDIR to a short path?)", socket.display())
            })?;
            listeners.push((socket, listener));
        }
        let complaints = self.folder.join("qemu.log");
        let started = Instant::now();
        let mut qemu = self.start(&complaints)?;

        let mut log = Vec::new();
        let mut progress = Progress::default();
        let ended = thread::scope(|scope| {
            let (sender, reports) = mpsc::channel();
            let [console_port, stdout_port, stderr_port, control_port] = [0, 1, 2, 3].map(|port| &listeners[port].1);
            let log = &mut log;
            scope.spawn(move || keep_console(console_port, console, log));
            for (port, sink) in [(stdout_port, stdout), (stderr_port, stderr)] {
                let sender = sender.clone();
                scope.spawn(move || copy(port, sink, &sender));
            }
            scope.spawn(move || control(control_port, &sender));
            let ended = watch(&mut qemu, &reports, &mut progress, started, self.timeout);
            drop(qemu);
            // A thread whose port QEMU never opened still waits for it: open and close it in its place.
            for (socket, _) in &listeners {
                drop(UnixStream::connect(socket));
            }
            // What came between the last look and the end.
            for report in reports {
                // Whether our output is still open does not matter any more.
                let _ = progress.note(report, started);
            }
            ended
        });
        let total = started.elapsed();

        let console = String::from_utf8_lossy(&log);
        let complaints = fs::read_to_string(complaints).unwrap_or_default();
        let failure = match (ended?, progress) {
            (End::TimedOut(reason), _) => reason,
            (End::Own, Progress { status: Some(status), ready: Some((boot, release)), .. }) => {
                return Ok(Verdict { status, release, boot, total });
            }
            (End::Own, Progress { refused: Some(reason), .. }) => {
                format!("the guest could not be made ready: {reason}")
            }
            (End::Own, Progress { ready, .. }) => match panic_message(&console) {
                Some(message) => format!("the guest's kernel panicked: {message}"),
                None if log.is_empty() => "QEMU ended before the kernel said anything".to_owned(),
                None if ready.is_none() => "the guest ended before it could run the command".to_owned(),
                None => "the guest ended before the command did".to_owned(),
            },
        };
        Err(anyhow!("{failure}{}{}", section("QEMU said", &complaints), section("the console's last lines", &console)))
    }

    fn start(&self, complaints: &PathBuf) -> Result<Running> {
        let mut command = setup::qemu(self.arch)?.command();
        let (machine, cpu) = match self.arch {
            Arch::Amd64 => ("q35", "max"),
            // What clouds have most. The newest there is would have pointer authentication, whose emulation is slow.
            Arch::Arm64 => ("virt", "neoverse-n1"),
        };
        let accel = match self.accel {
            // Instructions can be counted only one after the other.
            Accel::Tcg if self.instructions => format!("tcg,thread=single -cpu {cpu} -icount shift=0,sleep=off"),
            Accel::Tcg => format!("tcg,thread=multi -cpu {cpu}"),
            Accel::Kvm => "kvm -cpu host".to_owned(),
        };
        let options = format!(
            "-machine {machine} -smp {} -m {}M -no-reboot -nodefaults -display none -monitor none -accel {accel}",
            self.cpus, self.memory
        );
        command.args(options.split(' '));
        command.arg("-kernel").arg(&self.image).arg("-initrd").arg(&self.initramfs);
        // A panic reboots at once, which `-no-reboot` makes the end of QEMU. A kernel that can be preempted anywhere is, so that
        // what the probes share is put to the test; where time is measured it is as nodes are.
        let preemption = if self.instructions { "" } else { " preempt=full" };
        command.args(["-append", &format!("console=ttyS0 panic=-1{preemption}")]);
        for port in PORTS {
            let socket = self.folder.join(port);
            command.args(["-chardev", &format!("socket,id={port},path={}", socket.display())]);
            if self.arch == Arch::Amd64 {
                command.args(["-serial", &format!("chardev:{port}")]);
            }
        }
        if self.arch == Arch::Arm64 {
            // The machine has no such ports of its own; on a card they are the same to the guest.
            let ports = (1..).zip(PORTS).map(|(number, port)| format!(",chardev{number}={port}"));
            command.args(["-device", &format!("pci-serial-4x{}", ports.collect::<String>())]);
        }
        if let Some(disk) = &self.out_disk {
            command.args(["-drive", &format!("file={},format=raw,if=virtio,cache=unsafe", disk.display())]);
        }
        let log = File::create(complaints).with_context(|| format!("cannot create {}", complaints.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Running::start(&mut command)
    }
}

/// A process that does not outlive us: killed and reaped when dropped, and killed by the kernel if we are.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        // In a group of its own, it does not get the terminal's Ctrl-C, which is for us.
        command.process_group(0);
        // SAFETY: between fork and exec only a system call is made: nothing allocates or locks.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().map(Self).with_context(|| format!("cannot start QEMU ({program})"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has been reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the machine's end. An error is about us, not about the guest: we were interrupted, or our output is
/// closed.
fn watch(
    qemu: &mut Running,
    reports: &Receiver<Report>,
    progress: &mut Progress,
    started: Instant,
    timeout: Duration,
) -> Result<End> {
    loop {
        match reports.recv_timeout(TICK) {
            Ok(report) => progress.note(report, started)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK / 10),
        }
        if qemu.0.try_wait().context("cannot wait for QEMU")?.is_some() {
            return Ok(End::Own);
        }
        interrupt::check()?;
        let limit = if progress.ready.is_some() { timeout } else { timeout.min(BOOT_LIMIT) };
        if started.elapsed() > limit {
            let seconds = limit.as_secs();
            return Ok(End::TimedOut(match progress {
                Progress { ready: None, .. } => format!("the guest did not boot within {seconds} s"),
                Progress { status: None, .. } => format!("the command was still running after {seconds} s"),
                _ => format!("the command ended, but the guest had not shut down after {seconds} s"),
            }));
        }
    }
}

impl Progress {
    fn note(&mut self, report: Report, started: Instant) -> Result<()> {
        let line = match report {
            Report::Control(line) => line,
            Report::Broken(error) => return Err(error).context("cannot pass on the guest's output"),
        };
        match line.split_once(' ') {
            Some(("ready", release)) => self.ready = Some((started.elapsed(), release.to_owned())),
            Some(("exit", status)) => self.status = status.parse().ok(),
            Some(("error", reason)) => self.refused = Some(reason.to_owned()),
            _ => bail!("the guest reported {line:?}, which is none of what init.sh has to say"),
        }
        Ok(())
    }
}

/// Carries a serial port to a sink as bytes come.
fn copy(port: &UnixListener, mut sink: Sink, reports: &Sender<Report>) {
    let Ok((mut stream, _)) = port.accept() else { return };
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if let Err(error) = sink.write_all(&buffer[..length]).and_then(|()| sink.flush()) {
            let _ = reports.send(Report::Broken(error));
            return;
        }
    }
}

/// Keeps the console's text for the case that something goes wrong, and shows it to who wants to watch.
fn keep_console(port: &UnixListener, mut sink: Sink, log: &mut Vec<u8>) {
    let Ok((mut stream, _)) = port.accept() else { return };
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        log.extend(&buffer[..length]);
        // It is an aid: that nobody reads it is no reason to stop the guest.
        let _ = sink.write_all(&buffer[..length]).and_then(|()| sink.flush());
    }
}

fn control(port: &UnixListener, reports: &Sender<Report>) {
    let Ok((stream, _)) = port.accept() else { return };
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let _ = reports.send(Report::Control(line));
    }
}

/// What the kernel says when it gives up (`panic()` in kernel/panic.c).
fn panic_message(console: &str) -> Option<&str> {
    let line = console.lines().find(|line| line.contains("Kernel panic - not syncing"))?;
    Some(line[line.find("Kernel panic")?..].trim_end())
}

/// The end of a text, under a heading; nothing of an empty one.
fn section(heading: &str, text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return String::new();
    }
    let last = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
    format!("\n{heading}:\n  {}", last.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_on_the_console_is_found_with_its_message() {
        let console =
            "[    1.0] Loading\r\n[    2.1] Kernel panic - not syncing: sysrq triggered crash\r\n[    2.2] CPU: 0\r\n";
        assert_eq!(panic_message(console), Some("Kernel panic - not syncing: sysrq triggered crash"));
        assert_eq!(panic_message("[    1.0] all is well\r\n"), None);
    }

    #[test]
    fn an_error_shows_only_the_consoles_last_lines() {
        let console: Vec<_> = (1..=100).map(|line| format!("line {line}\r\n\r\n")).collect();
        let shown = section("console", &console.concat());
        assert!(shown.starts_with("\nconsole:\n  line 71\n"), "{shown}");
        assert!(shown.ends_with("\n  line 100"), "{shown}");
        assert_eq!(section("QEMU said", "\n"), "");
    }

    #[test]
    fn what_the_guest_reports_is_noted() -> Result<()> {
        let mut progress = Progress::default();
        for line in ["ready 6.1.0-50-cloud-amd64", "exit 137"] {
            progress.note(Report::Control(line.to_owned()), Instant::now())?;
        }
        assert_eq!(progress.ready.map(|(_, release)| release).as_deref(), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(progress.status, Some(137));
        Ok(())
    }
}
