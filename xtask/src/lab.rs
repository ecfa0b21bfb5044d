//! `cargo xtask lab`: a real Kubernetes node of our own. etcd and the control plane run on this machine's loopback address; the
//! node is an emulated machine with systemd, journald, containerd and a kubelet.

pub(crate) mod agent;
mod kubelet;
mod scenarios;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

pub(crate) use self::{agent::Output, kubelet::Settings};

/// What the node is called.
pub(crate) const NODE: &str = "node1";

#[derive(Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start the node and its control plane, and oomtrace on it
    Up(Up),
    /// Run scenarios on the node, and compare what oomtrace says with what Kubernetes shows
    Run(scenarios::Run),
    /// Stop everything that `up` started
    Down,
    /// Bring logs, pods, events, cgroups and what oomtrace printed into a folder
    Capture(Capture),
    /// Run kubectl against the lab
    Kubectl {
        /// Its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a command on the node, or a shell
    Shell {
        /// The command; its words are joined by spaces, and a shell runs them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

#[derive(Args, Clone)]
pub(crate) struct Up {
    /// How oomtrace runs on the node
    #[arg(long, value_enum, default_value_t = Oomtrace::Daemonset)]
    pub(crate) oomtrace: Oomtrace,
}

/// How oomtrace runs on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Oomtrace {
    /// As `kubectl apply -k deploy/kustomize/overlays/plain` has it
    Daemonset,
    /// As `helm install` has it
    Helm,
    /// As a process of the node, its unit `oomtrace.service`
    Process,
    /// Not at all
    None,
}

#[derive(Args)]
pub(crate) struct Capture {
    /// The folder, which must not exist yet
    folder: PathBuf,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match &command.action {
        Action::Up(up) => Lab::up(up)?.stay(),
        Action::Run(run) => return scenarios::run(run),
        Action::Down => Lab::running()?.down()?,
        Action::Capture(capture) => Lab::running()?.capture(&capture.folder)?,
        Action::Kubectl { arguments } => {
            let output = Lab::running()?.kubectl_status(arguments)?;
            print!("{}", output.stdout);
            eprint!("{}", output.stderr);
            return Ok(ExitCode::from(output.status));
        }
        Action::Shell { command } => return Lab::running()?.shell(&command.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

/// A lab that is up. Dropped, it goes down, unless it is told to [stay](Lab::stay).
pub(crate) struct Lab {
    /// Where its state, its logs and its kubeconfig are.
    folder: PathBuf,
}

impl Lab {
    /// Starts one. It is down again when the returned value is dropped.
    pub(crate) fn up(_up: &Up) -> Result<Self> {
        bail!("the lab is not implemented yet")
    }

    /// The one that `cargo xtask lab up` started. It stays up when the value is dropped.
    pub(crate) fn running() -> Result<Self> {
        bail!("no lab is up: `cargo xtask lab up` starts one")
    }

    /// Lets it run on after this program.
    pub(crate) fn stay(self) {}

    /// Stops everything.
    pub(crate) fn down(self) -> Result<()> {
        Ok(())
    }

    /// The kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// What `kubectl` prints on its standard output; an error, with what it said, if it fails.
    pub(crate) fn kubectl<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        self.kubectl_status(arguments)?.success()
    }

    /// The same for `kubectl … --output=json`.
    pub(crate) fn kubectl_json<S: AsRef<OsStr>>(&self, _arguments: &[S]) -> Result<Value> {
        bail!("the lab is not up")
    }

    /// `kubectl`, however it ends.
    pub(crate) fn kubectl_status<S: AsRef<OsStr>>(&self, _arguments: &[S]) -> Result<Output> {
        bail!("the lab is not up")
    }

    /// What a shell command on the node prints on its standard output; an error, with what it said, if it fails. As root.
    pub(crate) fn sh(&self, command: &str) -> Result<String> {
        self.sh_status(command)?.success()
    }

    /// A shell command on the node, however it ends.
    pub(crate) fn sh_status(&self, _command: &str) -> Result<Output> {
        bail!("the lab is not up")
    }

    /// Configures the kubelet anew, restarts it, and waits until the node is ready. [`Settings::default`] is how `up` has it.
    pub(crate) fn configure_kubelet(&self, _settings: &Settings) -> Result<()> {
        bail!("the lab is not up")
    }

    /// Every line that oomtrace has printed since the lab came up, oldest first, whatever became of its pod or process.
    pub(crate) fn live(&self) -> Result<Vec<Value>> {
        bail!("the lab is not up")
    }

    /// Replaces oomtrace on the node: another way to run it, or the same once more.
    pub(crate) fn deploy(&self, _oomtrace: Oomtrace) -> Result<()> {
        bail!("the lab is not up")
    }

    /// Brings logs and state into a new folder.
    pub(crate) fn capture(&self, _folder: &Path) -> Result<()> {
        bail!("the lab is not up")
    }

    /// A shell for a person, or a command with our streams.
    fn shell(&self, _command: &str) -> Result<ExitCode> {
        bail!("the lab is not up")
    }
}
