//! `cargo xtask lab capture`: a node's logs and state in a folder.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::{Lab, NODE};
use crate::tool;

/// What the node collects, in a folder that it is started in.
const COLLECT: &str = include_str!("node/collect.sh");

#[derive(Args)]
pub(crate) struct Capture {
    /// The folder, which must not exist yet
    folder: PathBuf,
}

impl Capture {
    pub(super) fn run(&self, lab: &Lab) -> Result<()> {
        lab.capture(&self.folder)
    }
}

impl Lab {
    /// Brings logs and state into a new folder: what the node logged since it booted, what Kubernetes knows of it now, and what
    /// oomtrace printed.
    pub(crate) fn capture(&self, folder: &Path) -> Result<()> {
        ensure!(!folder.exists(), "{} exists already", folder.display());
        let state = folder.join("state-end");
        fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
        for (file, arguments) in [
            ("pods.json", &["get", "pods", "-A", "-o", "json"][..]),
            ("pods.txt", &["get", "pods", "-A", "-o", "wide"]),
            ("events.json", &["get", "events", "-A", "-o", "json"]),
            ("events.txt", &["get", "events", "-A"]),
            ("node.json", &["get", "node", NODE, "-o", "json"]),
        ] {
            write(&state.join(file), &self.kubectl(arguments)?)?;
        }
        let live = self.live_lines()?.into_iter().map(|line| line + "\n").collect::<String>();
        write(&folder.join("live.jsonl"), &live)?;
        let archive = folder.join(".node.tar.gz");
        let port = self.state.ports.kubelet;
        let status = self.client().stream(
            &format!("kubelet_port={port}\n{COLLECT}"),
            None,
            io::empty(),
            File::create(&archive).with_context(|| format!("cannot create {}", archive.display()))?,
            io::stderr(),
        )?;
        ensure!(status == 0, "the node could not collect its logs: exit status {status}");
        tool::output(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder))?;
        Ok(fs::remove_file(&archive)?)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
