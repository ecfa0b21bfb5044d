//! `cargo xtask scenarios`: every memory death of the table, made to happen, and what oomtrace makes of it.
//!
//! The kernel's deaths are real: `oomtrace leak` in cgroups shaped as a kubelet's, on a real kernel. No kubelet runs in the
//! guest: evictions are read from logs that one wrote on a real node.

pub(crate) mod guest;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    arch::Arch,
    build,
    setup::{self, Kernel},
    vm::{Guest, Kernels, With},
};

/// Where the recordings are in the guest.
const RECORDINGS: &str = "/recordings";

#[derive(Args)]
#[command(after_help = "The exit status is 0 only if every verdict is the expected one.")]
pub(crate) struct Scenarios {
    /// The kernel to run them on: 5.10, 6.1, 6.12, 7.x, or all
    #[arg(long, default_value = "6.12")]
    kernel: Kernels,
    /// Only those whose names contain this
    filter: Option<String>,
    /// Show every event and incident
    #[arg(long, short)]
    verbose: bool,
}

pub(crate) fn run(scenarios: &Scenarios) -> Result<ExitCode> {
    let oomtrace = build::oomtrace(Arch::Amd64, false)?;
    let mut failed = Vec::new();
    for kernel in scenarios.kernel.of(Arch::Amd64) {
        if !scenarios.passes_on(kernel, oomtrace.clone())? {
            failed.push(kernel.label());
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("error: not every verdict is as expected on {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

impl Scenarios {
    fn passes_on(&self, kernel: Kernel, oomtrace: PathBuf) -> Result<bool> {
        println!("== kernel {kernel}");
        let this = env::current_exe().context("where this program is, is not known")?;
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("oomtrace").join("tests/data");
        let mut command = vec!["scenes".to_owned(), "in-guest".to_owned(), "scenarios".to_owned()];
        command.extend(self.verbose.then(|| "--verbose".to_owned()));
        command.extend(self.filter.clone());
        // Without it, the guest leaves out what it is for.
        let with = match setup::nodejs() {
            Ok(_) => Some(With::Nodejs),
            Err(error) => {
                println!("Node.js is not to be had here: {error:#}");
                None
            }
        };
        let guest = Guest {
            with,
            programs: vec![(oomtrace, "oomtrace"), (this, "scenes")],
            files: ["evict-1.20-systemd", "evict-1.36-systemd"]
                .map(|capture| (data.join(capture), Path::new(RECORDINGS).join(capture)))
                .into(),
            // Small, so that a node that runs out of memory does so soon; Node.js takes its files' size.
            memory: if with.is_some() { 896 } else { 640 },
            timeout: Duration::from_mins(20),
            ..Guest::new(kernel, command)
        };
        Ok(guest.run()?.status == 0)
    }
}
