//! The part of the benches that runs in the guest: this same program, copied into it.

mod cgroup;
mod kill;
mod latency;
mod memory;
mod overhead;
mod tracer;
mod workload;

use anyhow::Result;
use clap::Subcommand;

pub(crate) use self::{
    latency::{BPFTRACE, Latency},
    memory::Memory,
    overhead::{Clock, Overhead},
};

/// What the host asks the guest for.
#[derive(Subcommand)]
pub(crate) enum InGuest {
    Overhead(Overhead),
    Latency(Latency),
    Memory(Memory),
    Workload(workload::Workload),
}

pub(crate) fn run(what: &InGuest) -> Result<()> {
    match what {
        InGuest::Overhead(options) => overhead::run(options),
        InGuest::Latency(options) => latency::run(options),
        InGuest::Memory(options) => memory::run(options),
        InGuest::Workload(options) => workload::run(options),
    }
}
