//! `cargo xtask bench`: what tracing costs, how soon a kill is reported, how much memory it takes, what names cost, how fast a log is
//! read. Each figure is taken in one run, as a rule in an emulated machine, beside what it is compared with.

mod fleet;
pub(crate) mod guest;
mod names;
mod parse;
mod statistics;

use std::{env, ffi::OsString, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use crate::{
    arch::Arch,
    build,
    setup::{self, Kernel},
    vm::Guest,
};

#[derive(Args)]
#[command(
    after_help = "The machines are emulated, and so slower than any node: ratios and orders of magnitude carry over to a \
                  node, absolute times do not. The exit status is 0 if everything could be measured, whatever came out."
)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
    /// The kernel to measure on
    #[arg(long, default_value = "6.12", global = true)]
    kernel: Kernel,
    /// The `oomtrace` to measure in the machine, instead of a release built now
    #[arg(long, value_name = "FILE", global = true)]
    oomtrace: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// What tracing costs those who are not killed: page faults, reclaim, fork and exec, ends of processes
    Overhead(guest::Overhead),
    /// How soon a kill is reported, beside a reader of /dev/kmsg and bpftrace's oomkill
    Latency(guest::Latency),
    /// What a thousand kills in fifty pods cost, and what of them is reported, beside bpftrace's oomkill
    Storm(guest::Storm),
    /// How much memory oomtrace takes: at its start, idle, and after many kills
    Memory(guest::Memory),
    /// What the flight recorder costs on a node of 50, 250 and 1,000 containers, beside a reader that keeps nothing
    Recorder(guest::Recorder),
    /// How fast a large log of a kubelet is read, beside grep
    Parse(parse::Parse),
    /// How long a log store takes to answer the questions of deploy/queries over a fleet's incidents
    Fleet(fleet::Fleet),
    /// What the names of ten thousand containers cost: a lookup, the walk of cgroups at start, memory
    Names(names::Names),
}

pub(crate) fn run(bench: &Bench) -> Result<ExitCode> {
    println!("host     {}", host());
    let (words, instructions) = match &bench.what {
        What::Names(options) => return options.run(bench.kernel),
        What::Fleet(options) => return options.run(),
        What::Overhead(options) => (options.words(), options.clock == guest::Clock::Instructions),
        What::Latency(options) => (options.words(), false),
        What::Storm(options) => (options.words(), false),
        What::Memory(options) => (options.words(), false),
        What::Recorder(options) => (options.words(), false),
        What::Parse(options) => return options.run(),
    };
    let oomtrace = bench.oomtrace.clone().map_or_else(|| build::oomtrace(Arch::Amd64, true), Ok)?;
    let this = env::current_exe().context("where this program is, is not known")?;
    let command = ["bench", "in-guest"].map(OsString::from).into_iter().chain(words.into_iter().map(OsString::from));
    let mut guest = Guest {
        programs: vec![(oomtrace, "oomtrace"), (this, "bench")],
        // A RAM disk to read pages from.
        modules: vec!["brd"],
        timeout: Duration::from_hours(1),
        instructions,
        // Processors that take turns would count each other's instructions.
        cpus: if instructions { 1 } else { 2 },
        ..Guest::new(bench.kernel, command)
    };
    if matches!(bench.what, What::Latency(_) | What::Storm(_)) {
        guest.files.push((setup::bpftrace()?, guest::BPFTRACE.into()));
        guest.memory = 2560;
    }
    println!(
        "guest    {} processor(s), {} MiB, emulated by QEMU (TCG){}",
        guest.cpus,
        guest.memory,
        if instructions { ", its clock counting instructions instead of time" } else { "" }
    );
    let outcome = guest.run()?;
    Ok(ExitCode::from(outcome.status))
}

/// This machine, as far as it matters for a figure.
fn host() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |(_, model)| model);
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    format!("{processors} processors ({model}), load average {load} at the start")
}
