//! `cargo xtask lab`: a real Kubernetes node of our own. etcd and the control plane run on this machine's loopback address; the
//! node is an emulated machine with systemd, journald, containerd and a kubelet.

pub(crate) mod agent;
mod capture;
mod control_plane;
mod kubelet;
mod machine;
mod oomtrace;
mod processes;
pub(crate) mod scenarios;

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, IsTerminal as _, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use self::{
    agent::Client,
    machine::Node,
    processes::{Ports, State},
};
pub(crate) use self::{agent::Output, kubelet::Settings, oomtrace::Oomtrace};
use crate::{
    arch::Arch,
    build, cache, image, setup, tool,
    vm::{Cgroup, interrupt},
};

/// What the node is called.
pub(crate) const NODE: &str = "node1";

/// How long each step of starting may take on a busy machine.
const API_LIMIT: Duration = Duration::from_mins(3);
const BOOT_LIMIT: Duration = Duration::from_mins(10);
const READY_LIMIT: Duration = Duration::from_mins(10);
/// How often to look.
const TICK: Duration = Duration::from_millis(500);

const EXPLANATION: &str = "\
etcd, kube-apiserver, kube-controller-manager and kube-scheduler run on this machine's loopback address, on free ports; the \
node is an emulated machine of 2 GiB with systemd, journald, containerd and a kubelet, all of it Kubernetes 1.20.2. State, \
logs and admin.kubeconfig are in target/lab. Pods find the images localhost/oomtrace, localhost/busybox:1 and \
localhost/pause:1 on the node; nothing is pulled.";

#[derive(Args)]
#[command(after_help = EXPLANATION)]
pub(crate) struct LabCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start the node and its control plane, and oomtrace on it
    Up(Up),
    /// Run scenarios on the node, and compare what oomtrace reports with what Kubernetes shows
    Run(scenarios::Run),
    /// Stop everything that `up` started
    Down,
    /// Run oomtrace on the node in another way, or one built now
    Deploy(Up),
    /// Bring logs, pods, events, cgroups and what oomtrace printed into a folder
    Capture(capture::Capture),
    /// Run kubectl against the lab
    Kubectl {
        /// Its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a command on the node as root, or a shell
    Shell {
        /// The command: its words are joined by spaces, and bash runs them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

#[derive(Args, Clone)]
pub(crate) struct Up {
    /// How oomtrace runs on the node
    #[arg(long, value_enum, default_value_t = Oomtrace::Daemonset)]
    pub(crate) oomtrace: Oomtrace,
    /// Build oomtrace optimised
    #[arg(long, conflicts_with = "binary")]
    pub(crate) release: bool,
    /// The static `oomtrace` to use, instead of one built now
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
    /// The cgroup version that systemd, the runtime and the kubelet use; v1 boots an older kernel. Without effect on a lab that
    /// is up
    #[arg(long, value_enum, default_value_t = Cgroup::V2)]
    pub(crate) cgroup: Cgroup,
}

impl Up {
    fn binary(&self) -> Result<PathBuf> {
        match &self.binary {
            Some(binary) => Ok(binary.clone()),
            None => build::oomtrace(Arch::Amd64, self.release),
        }
    }
}

pub(crate) fn run(command: &LabCommand) -> Result<ExitCode> {
    match &command.action {
        Action::Up(up) => Lab::start(up, false)?.stay(),
        Action::Run(run) => return scenarios::run(run),
        Action::Down => Lab::running()?.down()?,
        Action::Deploy(up) => {
            let lab = Lab::running()?;
            lab.replace_oomtrace(&up.binary()?)?;
            lab.deploy(up.oomtrace)?;
        }
        Action::Capture(capture) => capture.run(&Lab::running()?)?,
        Action::Kubectl { arguments } => {
            let status = Lab::running()?.kubectl_command()?.args(arguments).status().context("cannot run kubectl")?;
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX).into());
        }
        Action::Shell { command } => return Lab::running()?.shell(&command.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

/// A lab that is up.
pub(crate) struct Lab {
    /// Where its state, its logs and its kubeconfig are.
    folder: PathBuf,
    state: State,
    /// Whether it goes down when dropped.
    ours: bool,
}

impl Lab {
    /// Starts one, which goes down when the value is dropped, or our thread ends in any way.
    pub(crate) fn up(up: &Up) -> Result<Self> {
        Self::start(up, true)
    }

    /// The one that `cargo xtask lab up` started. It stays up when the value is dropped.
    pub(crate) fn running() -> Result<Self> {
        let folder = folder()?;
        let state = State::load(&folder)?.context("no lab is up: `cargo xtask lab up` starts one")?;
        Ok(Self { folder, state, ours: false })
    }

    /// Lets it run on after this program.
    fn stay(mut self) {
        self.ours = false;
    }

    /// Stops everything. The logs stay, until the next lab starts.
    pub(crate) fn down(mut self) -> Result<()> {
        self.ours = false;
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.state.end()?;
        // What only takes space; a lab that did not come up has not all of it.
        let etcd = self.folder.join("etcd");
        if etcd.exists() {
            fs::remove_dir_all(&etcd).with_context(|| format!("cannot remove {}", etcd.display()))?;
        }
        Ok(())
    }

    fn start(up: &Up, dies_with_us: bool) -> Result<Self> {
        interrupt::watch()?;
        let folder = folder()?;
        let _lock = cache::lock(&folder, "lab")?;
        if let Some(mut state) = State::load(&folder)? {
            ensure!(state.check().is_err(), "a lab is up already: `cargo xtask lab down` stops it");
            eprintln!("lab: ending what is left of an earlier one");
            state.end()?;
        }
        // Whatever takes long comes first: nothing has to be ended if it fails.
        let binary = up.binary()?;
        setup::lab()?;
        setup::kernel(machine::kernel(up.cgroup))?;
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let state = State::new(&folder, Ports::free()?, random_token()?)?;
        // From here on, every way out but the last ends it.
        let mut lab = Self { folder, state, ours: true };
        lab.boot(&binary, up.cgroup, dies_with_us)?;
        lab.deploy(up.oomtrace)?;
        Ok(lab)
    }

    fn boot(&mut self, binary: &Path, cgroup: Cgroup, dies_with_us: bool) -> Result<()> {
        let started = Instant::now();
        let seconds = || started.elapsed().as_secs_f32();
        control_plane::start_api(&mut self.state, &self.folder, dies_with_us)?;
        let (stripped, images) = (self.folder.join("oomtrace"), self.folder.join("images.tar"));
        build::strip(binary, &stripped)?;
        image::write_for_node(&stripped, &images)?;
        self.wait("the API server to answer", API_LIMIT, |lab| {
            Ok(lab.kubectl_status(&["get", "--raw", "/readyz"])?.status == 0)
        })?;
        eprintln!("lab: the API server answers after {:.0} s", seconds());
        control_plane::start_controllers(&mut self.state, &self.folder, dies_with_us)?;
        let (node, status) = control_plane::node();
        self.kubectl_input(&["create", "-f", "-"], &node.to_string())?;
        let patch = ["patch", "node", NODE, "--subresource=status", "--type=merge", "-p", &status.to_string()];
        self.kubectl(&patch)?;
        let kubelet = Settings::default().configuration(self.state.ports.kubelet);
        Node { folder: &self.folder, kubelet, images, oomtrace: stripped, cgroup }
            .start(&mut self.state, dies_with_us)?;
        let booted = Instant::now();
        self.wait("the node to boot", BOOT_LIMIT, |lab| {
            Ok(lab.client().run("true", io::empty()).is_ok_and(|output| output.status == 0))
        })?;
        eprintln!("lab: the node answers {:.0} s after its start", booted.elapsed().as_secs_f32());
        self.wait_ready(None)?;
        eprintln!(
            "lab: the node is ready {:.0} s after its start, {:.0} s in all",
            booted.elapsed().as_secs_f32(),
            seconds()
        );
        Ok(())
    }

    /// The kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        control_plane::kubeconfig(&self.folder, "admin")
    }

    /// What `kubectl` prints on its standard output; an error, with what it said, if it fails.
    pub(crate) fn kubectl<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        tool::output(self.kubectl_command()?.args(arguments))
    }

    /// The same for `kubectl … --output=json`.
    pub(crate) fn kubectl_json<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Value> {
        let json = tool::output(self.kubectl_command()?.args(arguments).arg("--output=json"))?;
        serde_json::from_str(&json).context("kubectl did not print JSON")
    }

    /// `kubectl`, however it ends.
    pub(crate) fn kubectl_status<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Output> {
        let output = self.kubectl_command()?.args(arguments).output().context("cannot run kubectl")?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let status = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
        Ok(Output { status, stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// `kubectl` that reads this, such as a manifest with `apply -f -`.
    pub(crate) fn kubectl_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> Result<String> {
        let mut file = tempfile::tempfile().context("no place for what kubectl reads")?;
        file.write_all(input.as_bytes()).and_then(|()| io::Seek::rewind(&mut file))?;
        tool::output_of(self.kubectl_command()?.args(arguments), file)
    }

    /// `kubectl` that goes on until it is killed, and prints into a file.
    pub(crate) fn kubectl_start<S: AsRef<OsStr>>(&self, arguments: &[S], output: &fs::File) -> Result<Child> {
        let output = output.try_clone().context("cannot share a file")?;
        self.kubectl_command()?
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .spawn()
            .context("cannot run kubectl")
    }

    fn kubectl_command(&self) -> Result<Command> {
        let mut command = Command::new(setup::kubectl()?);
        command.arg("--kubeconfig").arg(self.kubeconfig()).arg("--cache-dir").arg(self.folder.join("kubectl-cache"));
        Ok(command)
    }

    /// What `kubectl oomtrace …` prints: kubectl finds the plugin by its name.
    pub(crate) fn plugin(&self, arguments: &[&str]) -> Result<String> {
        let kubectl = setup::kubectl()?;
        let plugins = tempfile::tempdir().context("no place for the plugin")?;
        std::os::unix::fs::symlink(build::oomtrace(Arch::Amd64, false)?, plugins.path().join("kubectl-oomtrace"))?;
        let path = [Some(plugins.path()), kubectl.parent()].into_iter().flatten().map(Path::to_path_buf);
        let path = path.chain(env::var_os("PATH").iter().flat_map(env::split_paths).collect::<Vec<_>>());
        let mut command = Command::new(&kubectl);
        command.env("PATH", env::join_paths(path)?).env("KUBECONFIG", self.kubeconfig());
        tool::output(command.arg("oomtrace").args(arguments))
    }

    /// What a shell command on the node prints on its standard output; an error, with what it said, if it fails. As root, and no
    /// victim of the kernel's OOM killer: use `systemd-run` for what may be one.
    pub(crate) fn sh(&self, command: &str) -> Result<String> {
        let output = self.sh_status(command)?;
        output.success().with_context(|| format!("on the node, `{command}` failed"))
    }

    /// A shell command on the node, however it ends.
    pub(crate) fn sh_status(&self, command: &str) -> Result<Output> {
        self.sh_input(command, io::empty())
    }

    /// The same with something on its standard input.
    pub(crate) fn sh_input(&self, command: &str, input: impl Read + Send + 'static) -> Result<Output> {
        self.client().run(command, input)
    }

    /// Configures the kubelet anew, restarts it, and waits until the node is ready. [`Settings::default`] is how `up` has it.
    ///
    /// A kubelet of 1.20 sets the limit of all pods in the cgroup's file alone, once it exists. systemd, which has made the cgroup
    /// with another one, puts that back at the next pod. So systemd is given it here.
    pub(crate) fn configure_kubelet(&self, settings: &Settings) -> Result<()> {
        let configuration = format!("{:#}\n", settings.configuration(self.state.ports.kubelet));
        let command = format!(
            "cat > /etc/kubernetes/kubelet.yaml && date +%s && systemctl stop kubelet && \
             total=$(awk '/^MemTotal:/ {{ print $2 }}' /proc/meminfo) && \
             systemctl set-property --runtime kubepods.slice MemoryMax=$((total - {}))K && systemctl start kubelet",
            settings.reserved_kib()?
        );
        let restarted = self.sh_input(&command, io::Cursor::new(configuration))?.success()?;
        self.wait_ready(Some(restarted.trim().parse().context("`date` gave no number")?))
    }

    /// Reboots the node, and waits until it is ready. Its disk stays as it is.
    pub(crate) fn reboot(&self) -> Result<()> {
        let boot = self.sh("cat /proc/sys/kernel/random/boot_id; date +%s")?;
        let (boot, now) = boot.trim().split_once('\n').context("no boot ID")?;
        // The command's connection may end before it does.
        let _ = self.sh_status("systemctl reboot");
        self.wait("the node to boot", BOOT_LIMIT, |lab| {
            let now = lab.client().run("cat /proc/sys/kernel/random/boot_id", io::empty());
            Ok(now.is_ok_and(|now| now.status == 0 && now.stdout.trim() != boot))
        })?;
        self.wait_ready(Some(now.parse().context("`date` gave no number")?))
    }

    /// Waits until the node is ready, as its kubelet reported after this time (the node's, in seconds since 1970).
    fn wait_ready(&self, after: Option<i64>) -> Result<()> {
        let ready = self.wait("the node to be ready", READY_LIMIT, |lab| {
            let node = lab.kubectl_json(&["get", "node", NODE])?;
            Ok(is_ready(&node, after.unwrap_or_default()))
        });
        ready.map_err(|error| match self.sh("journalctl -b -u kubelet -o cat --no-pager -n 15") {
            Ok(said) => error.context(format!("the node is not ready; what its kubelet logged last:\n{said}")),
            Err(_) => error,
        })
    }

    /// Waits for something that the lab's programs bring about. It is an error if one of them has ended, if it takes too long, or
    /// if we are interrupted.
    pub(crate) fn wait(&self, what: &str, limit: Duration, mut done: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        loop {
            interrupt::check()?;
            self.state.check()?;
            let error = match done(self) {
                Ok(true) => return Ok(()),
                Ok(false) => String::new(),
                Err(error) => format!(": {error:#}"),
            };
            if started.elapsed() > limit {
                bail!("waited {} s in vain for {what}{error}; logs are in {}", limit.as_secs(), self.folder.display());
            }
            thread::sleep(TICK);
        }
    }

    fn client(&self) -> Client {
        Client { port: self.state.ports.agent, token: self.state.token.clone() }
    }

    /// A shell for a person, or a command with our streams, in a terminal if we have one.
    fn shell(&self, command: &str) -> Result<ExitCode> {
        let terminal = (io::stdin().is_terminal() && io::stdout().is_terminal()).then(terminal_size).transpose()?;
        ensure!(terminal.is_some() || !command.is_empty(), "a shell needs a terminal: give a command");
        let raw = terminal.map(|_| Raw::set()).transpose()?;
        let status = self.client().stream(command, terminal, io::stdin(), io::stdout(), io::stderr());
        drop(raw);
        Ok(ExitCode::from(status?))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = self.end()
        {
            eprintln!("lab: not everything could be ended: {error:#}");
        }
    }
}

/// One lab for each checkout.
fn folder() -> Result<PathBuf> {
    Ok(build::target_folder()?.join("lab"))
}

/// 32 hexadecimal digits that nobody can guess.
fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("no random numbers")?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Whether a node is ready, by a report of its kubelet from this second or a later one.
fn is_ready(node: &Value, after: i64) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        let reported = condition["lastHeartbeatTime"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        let reported = reported.is_some_and(|time| time.as_second() >= after);
        condition["type"] == "Ready" && condition["status"] == "True" && reported
    })
}

fn terminal_size() -> Result<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).context("the terminal has no size")?;
    Ok((size.ws_row, size.ws_col))
}

/// Our terminal passes every key to the node's, until dropped.
struct Raw(rustix::termios::Termios);

impl Raw {
    fn set() -> Result<Self> {
        use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin()).context("cannot read the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).context("cannot change the terminal's settings")?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody to tell, and the shell sets its own.
        let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_ready_only_by_a_report_from_after_its_kubelets_restart() {
        let node = |status| {
            let ready = json!({"type": "Ready", "status": status, "lastHeartbeatTime": "2026-01-01T00:00:10Z"});
            json!({"status": {"conditions": [{"type": "MemoryPressure", "status": "True"}, ready]}})
        };
        let second = 1_767_225_610;
        assert!(is_ready(&node("True"), second));
        assert!(!is_ready(&node("True"), second + 1));
        assert!(!is_ready(&node("False"), 0));
        assert!(!is_ready(&json!({}), 0));
    }
}
