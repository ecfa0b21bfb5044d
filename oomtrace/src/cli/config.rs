//! `oomtrace config`: which options of `oomtrace run` are in force, and where each comes from.

use std::fmt::Write as _;

use clap::ArgMatches;

use crate::config::{CONFIG, DEFAULT_FILE, Layered, Origin, toml_value};

/// Options of `oomtrace config`: those of `oomtrace run`, to see what they would result in.
#[derive(Debug, clap::Args)]
#[group(id = "shown")]
pub(super) struct Args {
    #[command(flatten)]
    run: super::run::Args,
    /// What is printed: only clap's own matches say where each value comes from.
    #[arg(skip)]
    pub(super) listing: String,
}

impl Args {
    /// The options of `run` as they are understood.
    pub(super) fn run(&self) -> &super::run::Args {
        &self.run
    }
}

/// Every option, a line each: as a configuration file.
pub(super) fn listing(layered: &Layered, matches: &ArgMatches) -> String {
    let mut out = format!(
        "# What `oomtrace run` goes by. The strongest comes first: flags, OOMTRACE_* environment variables, --config FILE\n\
         # ({DEFAULT_FILE}), defaults.\n"
    );
    let root = &layered.command;
    let globals = root.get_arguments().filter(|arg| arg.is_global_set());
    let of_run = root.find_subcommand(CONFIG).into_iter().flat_map(clap::Command::get_arguments);
    for arg in globals.chain(of_run) {
        let (id, Some(long)) = (arg.get_id().as_str(), arg.get_long()) else { continue };
        if ["help", "version", CONFIG].contains(&long) {
            continue;
        }
        // Writing to a string does not fail.
        let _ = match matches.get_raw(id) {
            Some(values) => {
                let (value, origin) = (toml_value(arg, values), layered.origin(id, matches));
                let file = if matches!(origin, Origin::File(..)) { "file " } else { "" };
                writeln!(out, "{long} = {value}  # {file}{origin}")
            }
            None => writeln!(out, "# {long} is not set  # {}", Origin::Default),
        };
    }
    out
}
