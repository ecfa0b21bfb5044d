//! The probes: loading them, choosing their attach points, and reading what they send.

pub mod btf;
mod commit;
mod counted;
mod ladder;
mod loaded;
mod loader;
mod missed;
mod refusal_check;
mod symbol;
pub mod tracefs;

pub use counted::{Counts, Quiet};
pub use ladder::Choice;
pub use loaded::{LoadError, Options, Probes};
pub use loader::Loader;
pub use refusal_check::is_trial;
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
    /// What the probes need of its types besides their layout, or why there are none.
    pub types: Result<Types, btf::BtfError>,
    /// Where it keeps its fields.
    pub layout: KernelLayout,
    /// What the machine is like.
    pub machine: MachineLayout,
    /// The form of the tracepoint `oom:mark_victim`.
    pub mark_victim: MarkVictimFormat,
}

/// What the probes need of the kernel's types besides their layout.
pub struct Types {
    /// The functions that programs attach to.
    functions: aya::Btf,
    /// Whether the tracepoint `oom:mark_victim` gives a task: before 6.8 it gives a thread id.
    mark_victim_gives_task: bool,
}

impl Types {
    fn of(btf: &Btf) -> Result<Self, btf::BtfError> {
        Ok(Self {
            functions: btf.functions(&symbol::FUNCTIONS)?,
            mark_victim_gives_task: btf.tracepoint_gives_task("mark_victim"),
        })
    }
}

impl KernelFacts {
    /// Looks everything up on this machine.
    ///
    /// The kernel's types themselves (4 to 6 MB) are not kept. What the verifier takes is charged to the loading process on
    /// recent kernels (seen on 7.3: 10 MB), and these together are the most that oomtrace ever takes.
    #[must_use]
    pub fn gather() -> Self {
        let btf = Btf::of_running_kernel();
        let layout = btf.as_ref().map_or(KernelLayout::UNKNOWN, Btf::layout);
        let types = btf.and_then(|btf| Types::of(&btf));
        // The allocator keeps what it got for all this.
        // SAFETY: no precondition.
        unsafe { libc::malloc_trim(0) };
        let format = tracefs::format("oom", "mark_victim").unwrap_or_default();
        let mark_victim = MarkVictimFormat::resolve(|field| tracefs::field_offset(&format, field));
        Self { types, layout, machine: machine(&Symbols::read()), mark_victim }
    }

    /// Whether a function of the kernel can be hooked with its arguments understood.
    #[must_use]
    pub fn understands_tasks(&self) -> bool {
        self.layout.task_pid != oomtrace_common::layout::ABSENT_OFFSET
    }
}

/// What this machine is like.
fn machine(symbols: &Symbols) -> MachineLayout {
    let cpus = fs::read_to_string("/sys/devices/system/cpu/possible")
        .ok()
        .and_then(|list| list.trim().rsplit([',', '-']).next()?.parse::<u64>().ok());
    let (per_cpu_offsets, cpus) = match (symbols.per_cpu_offset, cpus) {
        (Some(address), Some(last)) => (address, last + 1),
        _ => (0, 0),
    };
    MachineLayout {
        per_cpu_offsets,
        cpus,
        page_size: rustix::param::page_size() as u64,
        memory_cgroup_v1: u64::from(node::cgroup_version() == Some(1)),
        panic_on_oom: symbols.panic_on_oom.unwrap_or(0),
        command_lines: 0,
    }
}

/// What `/proc/kallsyms` says. Addresses may be hidden (`kernel.kptr_restrict`, `CAP_SYSLOG`), names are not.
#[derive(Default)]
struct Symbols {
    /// Address of `__per_cpu_offset`.
    per_cpu_offset: Option<u64>,
    /// Address of `sysctl_panic_on_oom`.
    panic_on_oom: Option<u64>,
}

impl Symbols {
    fn read() -> Self {
        let mut found = Self::default();
        let Ok(file) = fs::File::open("/proc/kallsyms") else { return found };
        let mut symbols = BufReader::new(file);
        let mut line = String::new();
        while symbols.read_line(&mut line).is_ok_and(|len| len > 0) {
            found.take(&line);
            line.clear();
        }
        found
    }

    fn take(&mut self, line: &str) {
        let mut fields = line.split_ascii_whitespace();
        let (Some(address), _, Some(symbol)) = (fields.next(), fields.next(), fields.next()) else { return };
        // Hidden addresses are 0.
        let address = || u64::from_str_radix(address, 16).ok().filter(|address| *address != 0);
        match symbol {
            "__per_cpu_offset" => self.per_cpu_offset = address(),
            "sysctl_panic_on_oom" => self.panic_on_oom = address(),
            _ => {}
        }
    }
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
