//! `oomtrace timeline`: incidents from recordings and logs, after the fact.

mod asked;
mod choose;
mod print;
mod summary;

use std::{path::PathBuf, process::ExitCode};

use jiff::tz::TimeZone;
use tracing::{error, info, warn};

use self::print::{Output, Shown};
use super::{
    gather::{self, Gathered},
    names::Sources,
};
use crate::{
    node::snapshot::Snapshot,
    replay::{self, Inputs},
    timeline::Background,
};

/// Options of `oomtrace timeline`.
///
/// Exit status: 0 where files could be read, whether or not there are incidents in them; 1 where one could not be opened, or
/// there is nothing in any of them that can be read; 2 wrong usage.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    choice: choose::Options,
    /// Numbers instead of incidents: how many, how many kills and when the last was, by workload (the controller, or the
    /// pod's name without a hash), namespace, node and scenario.
    #[arg(long, conflicts_with = "full")]
    summary: bool,
    /// Everything: the events of each incident instead of their numbers, ends that have nothing to do with memory, and the
    /// events that came to no incident, such as pods refused admission. Lines may have any length: without, none is longer than 16
    /// KiB, and says of each list how much it leaves out (`steps_omitted`, `candidates_omitted`, …).
    #[arg(long)]
    full: bool,
    /// How to print incidents. Default: text on a terminal, else JSON lines.
    #[arg(long, value_enum)]
    format: Option<Output>,
    /// Where the node's cgroups are mounted, where this node is read.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup", help_heading = "This node")]
    cgroup_root: PathBuf,
    #[command(flatten, next_help_heading = "This node")]
    sources: Sources,
}

/// Reads all files, and prints the incidents in them.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.inputs.check()?;
    let mut known = Background { everything: args.full, ..Background::default() };
    let mut inputs = args.inputs.clone();
    let shown = Shown::new(args)?;
    let found = if inputs.any() {
        inputs.take(&mut known.snapshot)?
    } else {
        this_node(args, &mut inputs, &mut known.snapshot)?
    };
    if !found && !inputs.any() {
        return Ok(ExitCode::FAILURE);
    }
    let read = replay::run(&inputs, known, shown)?;
    Ok(if read { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads this node's own logs and pods; `false` where there are none.
fn this_node(args: &Args, inputs: &mut Inputs, snapshot: &mut Snapshot) -> anyhow::Result<bool> {
    info!("no file is given: reading this node (`oomtrace timeline FILE…` reads files)");
    let zone = inputs.time_zone.clone().unwrap_or(TimeZone::UTC);
    let since = args.choice.since(&zone)?;
    let Gathered { kept, missing } = gather::for_timeline(&args.sources.options(&args.cgroup_root), since);
    let found = gather::has_logs_or_pods(&kept);
    for (what, why) in &missing {
        // What is missing beside what was read may not matter.
        if found { info!("not read: {what}: {why}") } else { warn!("not read: {what}: {why}") }
    }
    if !found {
        error!(
            "nothing of this node can be read: run it as root on the node, or in a container with hostPID and the node's root \
             folder mounted (--host-root); or give files: `oomtrace timeline FILE…`"
        );
        return Ok(false);
    }
    inputs.take_kept(kept, snapshot)
}
