//! The command line: one file per subcommand.

mod collect;
mod completions;
mod config;
mod diagnostics;
mod doctor;
mod explain;
mod gather;
mod healthy;
mod kubectl;
mod kubelet;
mod kubernetes;
mod leak;
mod man;
mod memory;
mod metrics;
mod names;
mod node;
mod node_inputs;
mod otlp;
mod outputs;
mod pods;
mod run;
mod table;
mod timeline;
mod web;

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{
    ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum, error::ErrorKind,
    parser::ValueSource,
};
use tracing_subscriber::filter::{LevelFilter, Targets};

pub use self::kubectl::Plugin;
use crate::{build_info, event};

/// Options of every subcommand stand below none of the headings of `run`'s.
const NO_HEADING: Option<&str> = None;

/// Why did this container die, and what would have prevented it?
///
/// Traces the kernel's OOM killer on this node: which process was killed, in which pod and container, on whose behalf,
/// and which limit was hit. Without a subcommand it does what `oomtrace run` does.
///
/// Every option of `run` can also be given as an environment variable (`--ring-size` as `OOMTRACE_RING_SIZE`; several values
/// with commas between them) or in /etc/oomtrace/config.toml (`ring-size = 512`); `oomtrace config` shows what is in force.
/// Those of another subcommand are `OOMTRACE_PODS_FORMAT`, or in the table `[pods]`.
///
/// Data goes to standard output, diagnostics to standard error. On a terminal text is in colour (`--color`, `NO_COLOR`) and
/// wrapped to its width (`COLUMNS`); in a locale without UTF-8 it is ASCII.
///
/// Exit status: 0 done; 1 failed; 2 wrong usage, or a wrong configuration. `timeline` and `doctor` say in their help what they
/// mean by that.
#[derive(Debug, Parser)]
#[command(version = build_info::LONG)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Args,
    /// How much to say on standard error. From `debug` on, the probes in the kernel speak, too.
    #[arg(long, value_enum, default_value_t = LogLevel::Info, global = true, help_heading = NO_HEADING)]
    log_level: LogLevel,
    /// When text is in colour. `auto`: on a terminal, unless `NO_COLOR` is set or TERM is dumb.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto, global = true, help_heading = NO_HEADING)]
    color: ColorChoice,
    /// Read options from this TOML file. Default: /etc/oomtrace/config.toml, if it is there.
    #[arg(long, value_name = "FILE", env = "OOMTRACE_CONFIG", global = true, help_heading = NO_HEADING)]
    config: Option<PathBuf>,
    /// To be said once it can be.
    #[arg(skip)]
    warnings: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trace this node until interrupted.
    Run(run::Args),
    /// Report incidents from recordings and logs, after the fact and without privileges.
    ///
    /// With nothing but its name, on a node: from that node's journal, or /dev/kmsg and the usual files, and its pods. With
    /// files: from these, each taken for what is in it.
    ///
    /// Exit status: 0 where all files could be read, whether or not there are incidents in them; 1 where one could not, or
    /// nothing could; 2 wrong usage.
    Timeline(timeline::Args),
    /// Collect all of this node that `oomtrace timeline` could want, into one file that it reads elsewhere.
    ///
    /// The kernel's log, the kubelet's of the last day, pods, cgroups with their limits, the kubelet's configuration and
    /// versions. Values of environment variables, tokens and passwords are left out: `LEFT_OUT.txt` in the file says what, and
    /// `MISSING.txt` what could not be had, and why.
    ///
    /// Exit status: 0 where there is something of a log or of pods in it, 1 where there is not.
    Collect(collect::Args),
    /// Say what this node allows, what would be used, what is missing and how to fix it.
    ///
    /// Exit status: 0 where tracing is possible, 1 where it is not.
    Doctor(doctor::Args),
    /// Show the pods and containers that are known now, with their limits, and the source of each name.
    ///
    /// The quickest check that names work on a node. A line is a cgroup of a pod or a container: its limit and its use, the
    /// `oom_score_adj` of its first process, and the source of its name: `cri` (the container runtime), `kubelet` (its `/pods`),
    /// `oci_config` and `engine_state` (files of containerd, CRI-O, Podman and Docker) or `pod_logs` (the names of links to
    /// logs). `?` is what no source has; `oomtrace doctor` says which of them can be asked here, and what to do about the others.
    Pods(pods::Args),
    /// Show the node's memory budget, what is used of it, and who would be evicted or killed first.
    ///
    /// Capacity, reservations, thresholds, allocatable and the limits really set, each with where it was read, and, where two
    /// sources differ, both; `memory.available` and `allocatableMemory.available` as the kubelet computes them, how far each is
    /// from its threshold and, at the growth between two readings, who acts first; pods beside their requests, in the order of
    /// eviction; processes in the order of the OOM killer; and what makes an OOM kill likely here. With `--eviction-hard` and
    /// its like, also what would be. Sizes are in bytes, KiB, MiB and GiB; growth is per second.
    ///
    /// Exit status: 0 where a report was printed, whatever is in it: what could not be read stands at its end; 1 where not.
    Node(node::Args),
    /// Show one memory through every lens: a pod's, a container's, a cgroup's, a process's, the node's.
    ///
    /// `memory.current`, the working set, RSS of the cgroup and of processes (htop's RES and SHR), PSS, USS, page cache, shared
    /// memory, kernel memory and swap side by side, each with what it counts and where it is read; sums, line by line in exact
    /// bytes, that lead from one to the other and name every difference; and what the kubelet's endpoints say of the same, with
    /// the age of each reading in seconds. Without an argument: the node, with `free`, htop and `kubectl top node`.
    ///
    /// Exit status: 0 where a report was printed; 1 where there is no such pod, cgroup or process.
    Memory(memory::Args),
    /// Explain an exit code, a status, a metric, a scenario, a score, pasted lines of a log, or a pod.
    ///
    /// `oomtrace explain 137`, `OOMKilled`, `Error 137`, `Evicted`, `container_limit`, `container_memory_working_set_bytes`,
    /// `oom_score_adj 984`, `flow`; `journalctl -k | oomtrace explain -`; `oomtrace explain NAMESPACE/POD`. What it means, what
    /// it does not mean, what to look at, and which scenarios it can belong to; on a node with pods, with this node's numbers.
    ///
    /// Exit status: 0 where it was explained; 1 where nothing is known of it, or by that name.
    Explain(explain::Args),
    /// Say whether an `oomtrace run` beside it traces: for probes that run a command, as of a container without metrics.
    ///
    /// Exit status: 0 where its main loop has gone round within a minute; 1 where it hangs, starts or stops.
    Healthy(healthy::Args),
    /// Leak memory on purpose, step by step, to see what becomes of it.
    Leak(leak::Args),
    /// Show the options that `oomtrace run` would use, and where each comes from, as a configuration file.
    ///
    /// Options of `run` stand behind it to see what they would result in.
    Config(config::Args),
    /// Print what a shell needs to complete oomtrace's command line.
    Completions(completions::Args),
    /// Write the manual's pages.
    Man(man::Args),
    /// Print the JSON Schema of the lines that `--format json` prints.
    Schema,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// What passes. aya reports every relocation and map at `debug`: that is for `trace`.
    fn filter(self) -> Targets {
        let level = match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        };
        let of_aya = if self == Self::Trace { level } else { level.min(LevelFilter::WARN) };
        Targets::new().with_default(level).with_targets([("aya", of_aya), ("aya_obj", of_aya)])
    }

    /// How much the probes say: nothing, unless asked for.
    fn of_probes(self) -> Option<aya_log::Level> {
        match self {
            Self::Debug => Some(aya_log::Level::Debug),
            Self::Trace => Some(aya_log::Level::Trace),
            _ => None,
        }
    }
}

impl Cli {
    /// Reads the command line; ends the program where it is wrong, or asks for help.
    #[must_use]
    pub fn from_command_line() -> Self {
        let arguments: Vec<OsString> = env::args_os().collect();
        let layered = crate::config::layered(Self::command(), &arguments, env::vars_os()).unwrap_or_else(|error| {
            // As clap exits where it is the command line that is wrong.
            Self::command().error(ErrorKind::ValueValidation, error).exit()
        });
        let matches = layered.command.clone().get_matches_from(arguments);
        // Options of `run` may stand alone, but before another subcommand they would be taken for its.
        if let Some((subcommand, _)) = matches.subcommand() {
            let stray = matches.ids().find(|id| {
                !["log_level", "color", "config"].contains(&id.as_str())
                    && matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
            });
            if let Some(id) = stray.filter(|id| matches.try_contains_id(id.as_str()).is_ok()) {
                let option = id.as_str().replace('_', "-");
                let message = format!("--{option} has to stand behind `{subcommand}`");
                Self::command().error(ErrorKind::ArgumentConflict, message).exit();
            }
        }
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        if let (Some(Command::Config(args)), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
            args.listing = config::listing(&layered, matches);
        }
        cli.warnings = layered.warnings;
        if let Err(conflict) = cli.check() {
            Self::command().error(ErrorKind::ArgumentConflict, conflict).exit();
        }
        cli
    }

    /// What clap cannot know to be contradictory.
    fn check(&self) -> Result<(), String> {
        match &self.command {
            None => self.run.outputs().map(drop),
            Some(Command::Run(args)) => args.outputs().map(drop),
            Some(Command::Config(args)) => args.run().outputs().map(drop),
            Some(_) => Ok(()),
        }
    }

    /// Does what was asked.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let Self { command, run, log_level, color, config: _, warnings } = self;
        // What every look of text goes by: see `sink::Look`.
        match color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        diagnostics::start(log_level.filter());
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let done = match command.unwrap_or(Command::Run(run)) {
            Command::Run(args) => run::run(&args, log_level.of_probes()).map(|()| ExitCode::SUCCESS),
            Command::Timeline(args) => timeline::run(&args),
            Command::Collect(args) => collect::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Pods(args) => pods::run(&args).map(|()| ExitCode::SUCCESS),
            Command::Node(args) => node::run(&args).map(|()| ExitCode::SUCCESS),
            Command::Memory(args) => memory::run(&args).map(|()| ExitCode::SUCCESS),
            Command::Healthy(args) => healthy::run(&args).map(|()| ExitCode::SUCCESS),
            Command::Leak(args) => leak::run(&args),
            Command::Config(args) => print(&args.listing).map(|()| ExitCode::SUCCESS),
            Command::Completions(args) => completions::run(&args).map(|()| ExitCode::SUCCESS),
            Command::Man(args) => man::run(&args).map(|()| ExitCode::SUCCESS),
            Command::Schema => schema().map(|()| ExitCode::SUCCESS),
        };
        done.unwrap_or_else(|error| {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        })
    }
}

fn schema() -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(&event::schema())? + "\n"))
}

/// Prints to a reader, which may have had enough: `oomtrace schema | head`.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output cannot be written to"),
    }
}

/// The kernel's release, `uname -r`.
fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The node's name: what is asked for, else the host's.
fn node_name(asked: Option<&str>) -> String {
    asked.map_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_stands_below_a_heading_only_where_it_belongs_there() {
        let command = Cli::command();
        for (long, heading) in [
            ("output-rotate-keep", Some("Outputs")),
            ("metrics-listen", Some("Figures")),
            ("web", Some("Report")),
            ("journal", Some("The kubelet's log")),
            ("node-name", None),
            ("cri-endpoint", None),
            ("log-level", None),
            ("color", None),
            ("config", None),
        ] {
            let found = command.get_arguments().find(|arg| arg.get_long() == Some(long));
            assert_eq!(found.map(clap::Arg::get_help_heading), Some(heading), "--{long}");
        }
    }

    #[test]
    fn the_command_line_has_no_option_and_no_group_twice() {
        Cli::command().debug_assert();
    }
}
