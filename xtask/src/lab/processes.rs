//! The programs of a lab, which run on after the command that started them, and the file that the next command finds them by.

use std::{
    fs::{self, File},
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::{Value, json};

/// How long a killed program may take to disappear: one with gigabytes of memory needs a moment.
const END_LIMIT: Duration = Duration::from_secs(20);

/// What a lab listens on, each a port of this machine's loopback address. The kubelet has the same number on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) etcd: u16,
    pub(super) etcd_peer: u16,
    pub(super) api: u16,
    pub(super) kubelet: u16,
    pub(super) agent: u16,
}

impl Ports {
    /// Ports that nobody listens on now.
    pub(super) fn free() -> Result<Self> {
        // All are held until all are known, or the same might be given twice.
        let listeners = [(); 5].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let mut ports = [0; 5];
        for (port, listener) in ports.iter_mut().zip(&listeners) {
            let listener = listener.as_ref().map_err(|error| anyhow::anyhow!("no free port: {error}"))?;
            *port = listener.local_addr()?.port();
        }
        let [etcd, etcd_peer, api, kubelet, agent] = ports;
        Ok(Self { etcd, etcd_peer, api, kubelet, agent })
    }
}

/// A program that runs, distinguished from a later one with the same process ID by when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    name: String,
    pid: i32,
    /// In clock ticks since boot.
    started: u64,
}

impl Process {
    fn runs(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

/// What is known of a lab, in the file `state.json` of its folder.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    pub(super) ports: Ports,
    /// What the node's server wants to see.
    pub(super) token: String,
    processes: Vec<Process>,
}

impl State {
    /// Of a lab to be started, in a folder that has been cleared.
    pub(super) fn new(folder: &Path, ports: Ports, token: String) -> Result<Self> {
        let state = Self { folder: folder.to_owned(), ports, token, processes: Vec::new() };
        state.save()?;
        Ok(state)
    }

    /// Of the lab in this folder, if one was started there and not ended.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("state.json");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let parse = || {
            let state: Value = serde_json::from_str(&text).ok()?;
            let port = |name: &str| u16::try_from(state["ports"][name].as_u64()?).ok();
            let ports = Ports {
                etcd: port("etcd")?,
                etcd_peer: port("etcd_peer")?,
                api: port("api")?,
                kubelet: port("kubelet")?,
                agent: port("agent")?,
            };
            let processes = state["processes"].as_array()?.iter().map(|process| {
                let pid = i32::try_from(process["pid"].as_i64()?).ok()?;
                Some(Process { name: process["name"].as_str()?.to_owned(), pid, started: process["started"].as_u64()? })
            });
            let processes = processes.collect::<Option<_>>()?;
            let token = state["token"].as_str()?.to_owned();
            Some(Self { folder: folder.to_owned(), ports, token, processes })
        };
        let state = parse().with_context(|| format!("{} is not what `lab up` wrote: remove it", path.display()))?;
        Ok(Some(state))
    }

    fn save(&self) -> Result<()> {
        let Ports { etcd, etcd_peer, api, kubelet, agent } = self.ports;
        let processes = self
            .processes
            .iter()
            .map(|Process { name, pid, started }| json!({"name": name, "pid": pid, "started": started}));
        let state = json!({
            "ports": {"etcd": etcd, "etcd_peer": etcd_peer, "api": api, "kubelet": kubelet, "agent": agent},
            "token": self.token,
            "processes": processes.collect::<Vec<_>>(),
        });
        let path = self.folder.join("state.json");
        fs::write(&path, format!("{state:#}\n")).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Starts a program, its output going to `NAME.log`. If we own the lab, it ends with our thread, however that ends.
    pub(super) fn start(&mut self, name: &str, command: &mut Command, ours: bool) -> Result<()> {
        let path = self.log(name);
        let log = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // In a group of its own, it does not get the terminal's Ctrl-C, which is for us.
        command.process_group(0);
        if ours {
            // SAFETY: between fork and exec only a system call is made: nothing allocates or locks.
            unsafe {
                command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
            }
        }
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = i32::try_from(child.id()).context("a process ID is a positive number")?;
        let started = start_time(pid).with_context(|| format!("{name} is gone as soon as it started"))?;
        self.processes.push(Process { name: name.to_owned(), pid, started });
        self.save()
    }

    /// Where a program's output is.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// An error if one of the programs has ended, with what it said last.
    pub(super) fn check(&self) -> Result<()> {
        for process in &self.processes {
            if !process.runs() {
                let log = self.log(&process.name);
                let text = fs::read(&log).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<_> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
                bail!("{} has ended; the end of {}:\n  {last}", process.name, log.display());
            }
        }
        Ok(())
    }

    /// Ends every program, and waits until it is gone.
    pub(super) fn end(&mut self) -> Result<()> {
        // The node first: it writes to what the others serve.
        for process in self.processes.iter().rev() {
            if let Some(pid) = Pid::from_raw(process.pid).filter(|_| process.runs()) {
                // It may have ended in between.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let started = Instant::now();
        for process in &self.processes {
            while process.runs() {
                ensure!(started.elapsed() < END_LIMIT, "{}, process {}, cannot be killed", process.name, process.pid);
                thread::sleep(Duration::from_millis(20));
            }
        }
        self.processes.clear();
        let path = self.folder.join("state.json");
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// When a process started, from `/proc/PID/stat` (see `proc_pid_stat(5)`); nothing if there is none, or only its exit status.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, spaces and parentheses included.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // The third field is the state, the 22nd the time.
    fields.nth(18).filter(|_| !matches!(state, "Z" | "X"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(folder: &Path) -> Result<State> {
        State::new(folder, Ports::free()?, "token".to_owned())
    }

    #[test]
    fn what_one_command_started_another_finds_and_ends() -> Result<()> {
        let folder = tempfile::tempdir()?;
        lab(folder.path())?.start("sleeper", Command::new("sleep").arg("1000"), false)?;
        let mut found = State::load(folder.path())?.context("the lab is not found")?;
        found.check()?;
        let pid = found.processes[0].pid;
        found.end()?;
        assert_eq!(start_time(pid), None);
        assert!(State::load(folder.path())?.is_none());
        Ok(())
    }

    #[test]
    fn a_program_that_ended_by_itself_is_an_error_with_what_it_said() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut lab = lab(folder.path())?;
        lab.start("talker", Command::new("sh").args(["-c", "echo no such flag; sleep 0.2"]), false)?;
        while lab.processes[0].runs() {
            thread::sleep(Duration::from_millis(10));
        }
        let error = lab.check().expect_err("it has ended").to_string();
        assert!(error.starts_with("talker has ended") && error.ends_with("no such flag"), "{error}");
        Ok(())
    }

    #[test]
    fn a_later_process_with_the_same_number_is_left_alone() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut lab = lab(folder.path())?;
        let mut child = Command::new("sleep").arg("1000").spawn()?;
        let pid = i32::try_from(child.id())?;
        let started = start_time(pid).context("it runs")? - 1;
        lab.processes.push(Process { name: "gone".to_owned(), pid, started });
        lab.end()?;
        assert!(child.try_wait()?.is_none(), "a stranger was killed");
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}
