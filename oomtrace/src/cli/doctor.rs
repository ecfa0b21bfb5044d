//! `oomtrace doctor`: what this node allows, what would be used, what is missing and how to fix it.
//!
//! A check a function, by what it is about: [`kernel`] how the kernel was built and booted, [`privileges`] what this
//! process may do, [`mounts`] what it can see, [`names`] who would name pods and containers; [`rungs`] tries every rung of the ladder.

mod kernel;
mod mounts;
mod names;
mod print;
mod privileges;
mod rungs;

use std::{path::PathBuf, process::ExitCode};

use clap::ValueEnum;
use oomtrace_common::layout::{KernelLayout, Lookup};
use serde::Serialize;

use self::rungs::RungReport;
use super::kernel_release;
use crate::{event::ProbeStatus, node, probe::KernelFacts};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Where the node's cgroups are mounted: in a container, where the host's /sys/fs/cgroup is.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    #[command(flatten)]
    sources: super::names::Sources,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// What was found out about this node.
#[derive(Serialize)]
struct Report {
    /// Whether tracing is possible, on any rung.
    possible: bool,
    kernel: String,
    cgroup_version: Option<u8>,
    /// Every rung, best first, and whether it can be stood on.
    rungs: Vec<RungReport>,
    checks: Vec<Check>,
    /// What each symbol would be attached by.
    probes: Vec<ProbeStatus>,
    /// Where the kernel keeps its fields, from BTF; `null` for one that this kernel does not have.
    layout: Vec<Field>,
}

/// One prerequisite.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    /// `null` where it cannot be told.
    ok: Option<bool>,
    found: String,
    /// What to do about it.
    remedy: Option<String>,
    /// What is lost as it is.
    lost: Option<String>,
}

#[derive(Serialize)]
struct Field {
    name: &'static str,
    /// How it is looked up: `struct.member`, `enum.enumerator`, `sizeof struct`.
    from: String,
    value: Option<u32>,
}

impl Check {
    /// As it should be.
    fn passed(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, ok: Some(true), found: found.into(), remedy: None, lost: None }
    }

    /// Not as it should be.
    fn failed(
        name: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
        lost: impl Into<String>,
    ) -> Self {
        Self { name, ok: Some(false), found: found.into(), remedy: Some(remedy.into()), lost: Some(lost.into()) }
    }

    /// It cannot be told whether it is as it should be.
    fn unknown(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, ok: None, found: found.into(), remedy: None, lost: None }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = report(args)?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Format::Text => print!("{}", print::text(&report)),
    }
    Ok(if report.possible { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(args: &Args) -> anyhow::Result<Report> {
    let facts = KernelFacts::gather();
    let (rungs, probes) = rungs::try_all(&facts, &args.cgroup_root)?;
    let mut checks = privileges::checks()?;
    checks.extend(kernel::checks(&facts));
    checks.extend(mounts::checks(&args.cgroup_root));
    checks.extend(names::checks(&args.sources.options(&args.cgroup_root))?);
    Ok(Report {
        // The counts of cgroups only complete what the kernel's log tells: alone they tell nothing.
        possible: rungs.iter().any(|rung| rung.possible && rung.rung != rungs::CGROUP_EVENTS),
        kernel: kernel_release(),
        cgroup_version: node::cgroup_version(),
        rungs,
        checks,
        probes,
        layout: layout(&facts),
    })
}

fn layout(facts: &KernelFacts) -> Vec<Field> {
    facts
        .layout
        .values()
        .zip(KernelLayout::LOOKUPS)
        .map(|((name, value), (_, lookup))| Field {
            name,
            from: match lookup {
                Lookup::Member(of, path) => format!("{of}.{path}"),
                Lookup::Enumerator("", enumerator) => (*enumerator).to_owned(),
                Lookup::Enumerator(of, enumerator) => format!("{of}.{enumerator}"),
                Lookup::Size(of) => format!("sizeof {of}"),
            },
            value,
        })
        .collect()
}
