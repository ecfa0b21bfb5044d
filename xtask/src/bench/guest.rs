//! The part of the benches that runs in the guest: this same program, copied into it.

mod cgroup;
mod kill;
mod latency;
mod memory;
mod overhead;
mod recorder;
mod storm;
mod tracer;
mod workload;

pub(crate) use self::{
    latency::{BPFTRACE, Latency},
    memory::Memory,
    overhead::{Clock, Overhead},
    recorder::Recorder,
    storm::Storm,
    workload::Workload,
};
