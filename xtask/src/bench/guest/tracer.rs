//! A running `oomtrace`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// An `oomtrace run` that has attached; ended when dropped.
pub(super) struct Tracer {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    /// Its first line: what is attached how.
    pub(super) status: Value,
}

impl Tracer {
    pub(super) fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_telling(&[&["--all"], arguments].concat())
    }

    /// The same, where the arguments say which kinds are reported: the status has to be among them.
    pub(super) fn start_telling(arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new("oomtrace")
            .args(["run", "--format", "json", "--log-level", "error"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("oomtrace does not start")?;
        let mut stdout = BufReader::new(child.stdout.take().context("oomtrace has no standard output")?);
        let mut first = String::new();
        stdout.read_line(&mut first)?;
        let status: Value =
            serde_json::from_str(&first).with_context(|| format!("oomtrace's first line is {first:?}"))?;
        ensure!(status["phase"] == "started", "oomtrace's first line is {first}");
        Ok(Self { child, stdout: Some(stdout), status })
    }

    /// What it prints from now on. Can be taken once.
    pub(super) fn output(&mut self) -> Result<BufReader<ChildStdout>> {
        self.stdout.take().context("oomtrace's output has been taken already")
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Each hook and how it is attached, in words.
    pub(super) fn hooks(&self) -> String {
        let attached = self.status["attached"].as_object().into_iter().flatten();
        let hooks = attached.filter_map(|(symbol, rung)| Some(format!("{symbol} ({})", rung.as_str()?)));
        hooks.collect::<Vec<_>>().join(", ")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // All of it fails only where it has ended by itself.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        drop(self.stdout.take());
        let _ = self.child.wait();
    }
}
