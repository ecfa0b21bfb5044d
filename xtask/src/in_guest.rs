//! `xtask in-guest`: what this program does where it was copied into a guest.

use anyhow::Result;
use clap::Subcommand;

use crate::{bench::guest as bench, lab::agent, scenarios::guest as scenarios};

/// What the host asks the guest for.
#[derive(Subcommand)]
pub(crate) enum InGuest {
    Overhead(bench::Overhead),
    Latency(bench::Latency),
    Memory(bench::Memory),
    Recorder(bench::Recorder),
    /// A thousand kills in fifty pods
    Storm(bench::Storm),
    Workload(bench::Workload),
    Scenarios(scenarios::InGuest),
    Agent(agent::Server),
    Fault,
}

pub(crate) fn run(what: &InGuest) -> Result<()> {
    match what {
        InGuest::Overhead(options) => options.run(),
        InGuest::Latency(options) => options.run(),
        InGuest::Memory(options) => options.run(),
        InGuest::Recorder(options) => options.run(),
        InGuest::Storm(options) => options.run(),
        InGuest::Workload(options) => options.run(),
        InGuest::Scenarios(options) => scenarios::run(options),
        InGuest::Agent(server) => server.run(),
        InGuest::Fault => scenarios::fault(),
    }
}
