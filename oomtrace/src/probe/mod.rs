//! The probes: loading them, choosing their attach points, and reading what they send.

pub mod btf;
mod counted;
mod ladder;
mod loaded;
mod loader;
mod symbol;
pub mod tracefs;

pub use counted::{Counts, Quiet};
pub use ladder::Choice;
pub use loaded::{LoadError, Options, Probes};
pub use symbol::Symbol;

use std::{
    fs,
    io::{BufRead as _, BufReader},
};

use oomtrace_common::layout::{KernelLayout, MachineLayout, MarkVictimFormat};

use btf::Btf;

use crate::node;

/// What the running kernel says about itself, as far as the probes care.
pub struct KernelFacts {
    /// Its types, or why there are none.
    pub btf: Result<Btf, btf::BtfError>,
    /// Where it keeps its fields.
    pub layout: KernelLayout,
    /// What the machine is like.
    pub machine: MachineLayout,
    /// The form of the tracepoint `oom:mark_victim`.
    pub mark_victim: MarkVictimFormat,
}

impl KernelFacts {
    /// Looks everything up on this machine.
    #[must_use]
    pub fn gather() -> Self {
        let btf = Btf::of_running_kernel();
        let layout = btf.as_ref().map_or(KernelLayout::UNKNOWN, Btf::layout);
        let format = tracefs::format("oom", "mark_victim").unwrap_or_default();
        let mark_victim = MarkVictimFormat::resolve(|field| tracefs::field_offset(&format, field));
        Self { btf, layout, machine: machine(), mark_victim }
    }

    /// Whether a function of the kernel can be hooked with its arguments understood.
    #[must_use]
    pub fn understands_tasks(&self) -> bool {
        self.layout.task_pid != oomtrace_common::layout::ABSENT_OFFSET
    }
}

/// What this machine is like. `/proc/kallsyms` may hide addresses (`kernel.kptr_restrict`, `CAP_SYSLOG`).
fn machine() -> MachineLayout {
    let cpus = fs::read_to_string("/sys/devices/system/cpu/possible")
        .ok()
        .and_then(|list| list.trim().rsplit([',', '-']).next()?.parse::<u64>().ok());
    let (per_cpu_offsets, cpus) = match (symbol_address("__per_cpu_offset"), cpus) {
        (Some(address), Some(last)) => (address, last + 1),
        _ => (0, 0),
    };
    let memory_cgroup_v1 = u64::from(node::cgroup_version() == Some(1));
    MachineLayout { per_cpu_offsets, cpus, page_size: rustix::param::page_size() as u64, memory_cgroup_v1 }
}

/// The address of a symbol of the kernel, where it may be known.
fn symbol_address(name: &str) -> Option<u64> {
    let mut symbols = BufReader::new(fs::File::open("/proc/kallsyms").ok()?);
    let mut line = String::new();
    while symbols.read_line(&mut line).ok()? > 0 {
        let mut fields = line.split_ascii_whitespace();
        if let (Some(address), _, Some(symbol)) = (fields.next(), fields.next(), fields.next())
            && symbol == name
        {
            return u64::from_str_radix(address, 16).ok().filter(|address| *address != 0);
        }
        line.clear();
    }
    None
}

/// An error with its causes, each said once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}
