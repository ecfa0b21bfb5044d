//! The ladder of attach points: for each symbol the best one that this kernel has, decided by trying.

use std::time::Instant;

use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError},
};
use clap::ValueEnum;

use super::{KernelFacts, with_causes};
use crate::event::{ProbeStatus, Refusal, Rung};

const NO_BTF: &str = "this kernel has no type information (BTF), so its structs cannot be read";

/// Which rungs may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The best that this kernel has, for each symbol.
    #[default]
    Auto,
    /// fentry and fexit only.
    Fentry,
    /// kprobe and kretprobe only.
    Kprobe,
    /// Tracepoints only: marks and kills, without the decision's limit.
    Tracepoint,
    /// No probe at all: the kernel's log, `/dev/kmsg`.
    Kmsg,
}

impl Choice {
    fn allows(self, rung: Rung) -> bool {
        match self {
            Self::Auto => true,
            Self::Fentry => rung == Rung::Fentry,
            Self::Kprobe => rung == Rung::Kprobe,
            Self::Tracepoint => matches!(rung, Rung::RawTracepoint | Rung::Tracepoint),
            Self::Kmsg => false,
        }
    }
}

/// What is to be hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// The decision, and its end.
    OomKillProcess,
    /// Every victim.
    MarkOomVictim,
    /// Signals that end processes, and the kernel's own SIGKILLs, which tell a kill from a mark.
    SignalGenerate,
    /// Whom the kernel weighs before it decides.
    OomEvaluateTask,
    /// How many points it gives them.
    OomBadness,
    /// How processes end.
    SchedProcessExit,
}

impl Symbol {
    /// All of them, in the order in which they are attached: a decision must not come before its marks can be seen.
    pub const ALL: [Self; 6] = [
        Self::SignalGenerate,
        Self::SchedProcessExit,
        Self::OomBadness,
        Self::OomEvaluateTask,
        Self::MarkOomVictim,
        Self::OomKillProcess,
    ];

    /// Its name in the kernel.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OomKillProcess => "oom_kill_process",
            Self::MarkOomVictim => "mark_oom_victim",
            Self::SignalGenerate => "signal_generate",
            Self::OomEvaluateTask => "oom_evaluate_task",
            Self::OomBadness => "oom_badness",
            Self::SchedProcessExit => "sched_process_exit",
        }
    }

    /// The ways to hook it, best first.
    #[must_use]
    pub fn rungs(self) -> &'static [Rung] {
        match self {
            Self::OomKillProcess | Self::OomEvaluateTask | Self::OomBadness => &[Rung::Fentry, Rung::Kprobe],
            Self::MarkOomVictim => &[Rung::Fentry, Rung::Kprobe, Rung::RawTracepoint, Rung::Tracepoint],
            Self::SignalGenerate | Self::SchedProcessExit => &[Rung::RawTracepoint],
        }
    }

    /// What is lost where it cannot be hooked.
    #[must_use]
    pub fn without_it(self) -> &'static str {
        match self {
            Self::OomKillProcess => "kills are seen, but not which limit was hit nor what was asked for",
            Self::MarkOomVictim => "victims are not seen, only decisions",
            Self::OomBadness => {
                "the points of candidates are reckoned by the kernel's formula, and may be off by some pages"
            }
            Self::OomEvaluateTask => "kills do not say who else could have been chosen",
            Self::SchedProcessExit => "how and when victims and containers' first processes end is not seen",
            Self::SignalGenerate => {
                "who sent a signal is not seen, and a decision's victim that was dying already counts as killed"
            }
        }
    }
}

/// Attaches `symbol` at the best rung that `choice` allows and the kernel grants.
pub(super) fn climb(
    ebpf: &mut Ebpf,
    symbol: Symbol,
    choice: Choice,
    facts: &KernelFacts,
    btf: Option<&Btf>,
) -> ProbeStatus {
    let mut status = ProbeStatus { symbol: symbol.name().to_owned(), attached: None, refused: Vec::new() };
    // What has one rung only serves with any.
    let allowed = |rung| symbol.rungs().len() == 1 || choice.allows(rung);
    for rung in symbol.rungs().iter().copied().filter(|rung| allowed(*rung)) {
        let started = Instant::now();
        let attached = attach(ebpf, symbol, rung, facts, btf);
        tracing::debug!(
            "{} by {rung}: {} after {:?}",
            symbol.name(),
            if attached.is_ok() { "attached" } else { "refused" },
            started.elapsed()
        );
        match attached {
            Ok(()) => {
                status.attached = Some(rung);
                break;
            }
            Err(reason) => status.refused.push(Refusal { rung, reason }),
        }
    }
    status
}

/// Every function of the kernel that [`hooks`] names.
pub(super) const FUNCTIONS: [&str; 5] =
    ["oom_kill_process", "mark_oom_victim", "oom_evaluate_task", "oom_badness", "out_of_memory"];

/// The programs that hook a symbol at a rung, in the order in which they are attached, each with what it hooks.
fn hooks(symbol: Symbol, rung: Rung) -> &'static [(&'static str, &'static str)] {
    match (symbol, rung) {
        // The end first: a decision whose end is not seen would stay open.
        (Symbol::OomKillProcess, Rung::Fentry) => {
            &[("oom_kill_process_fexit", "oom_kill_process"), ("oom_kill_process_fentry", "oom_kill_process")]
        }
        (Symbol::OomKillProcess, _) => {
            &[("oom_kill_process_kretprobe", "oom_kill_process"), ("oom_kill_process_kprobe", "oom_kill_process")]
        }
        (Symbol::OomEvaluateTask, Rung::Fentry) => {
            &[("oom_evaluate_task_fentry", "oom_evaluate_task"), ("out_of_memory_fentry", "out_of_memory")]
        }
        (Symbol::OomEvaluateTask, _) => {
            &[("oom_evaluate_task_kprobe", "oom_evaluate_task"), ("out_of_memory_kprobe", "out_of_memory")]
        }
        (Symbol::OomBadness, Rung::Fentry) => &[("oom_badness_fexit", "oom_badness")],
        (Symbol::OomBadness, _) => &[("oom_badness_kretprobe", "oom_badness")],
        (Symbol::MarkOomVictim, Rung::Fentry) => &[("mark_oom_victim_fentry", "mark_oom_victim")],
        (Symbol::MarkOomVictim, Rung::Kprobe) => &[("mark_oom_victim_kprobe", "mark_oom_victim")],
        (Symbol::MarkOomVictim, Rung::RawTracepoint) => &[("mark_victim_raw", "mark_victim")],
        (Symbol::MarkOomVictim, _) => &[("mark_victim_tracepoint", "mark_victim")],
        (Symbol::SignalGenerate, _) => &[("signal_generate", "signal_generate")],
        (Symbol::SchedProcessExit, _) => &[("sched_process_exit", "sched_process_exit")],
    }
}

/// Attaches all the programs of a rung, or none.
fn attach(ebpf: &mut Ebpf, symbol: Symbol, rung: Rung, facts: &KernelFacts, btf: Option<&Btf>) -> Result<(), String> {
    if rung != Rung::Tracepoint && !facts.understands_tasks() {
        return Err(NO_BTF.to_owned());
    }
    if rung == Rung::RawTracepoint
        && symbol == Symbol::MarkOomVictim
        && !facts.btf.as_ref().is_ok_and(|btf| btf.tracepoint_gives_task("mark_victim"))
    {
        return Err("this kernel's tracepoint gives a thread id instead of a task".to_owned());
    }
    let hooks = hooks(symbol, rung);
    for (position, (name, target)) in hooks.iter().enumerate() {
        if let Err(reason) = attach_program(program(ebpf, name)?, target, btf) {
            for (attached, _) in &hooks[..position] {
                detach(program(ebpf, attached)?)?;
            }
            return Err(reason);
        }
    }
    Ok(())
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, String> {
    ebpf.program_mut(name).ok_or_else(|| format!("the program {name} is missing from the embedded object"))
}

fn attach_program(program: &mut Program, target: &str, btf: Option<&Btf>) -> Result<(), String> {
    let btf = || btf.ok_or(NO_BTF);
    match program {
        Program::FEntry(entry) => entry.load(target, btf()?).and_then(|()| entry.attach()).map(|_| ()),
        Program::FExit(exit) => exit.load(target, btf()?).and_then(|()| exit.attach()).map(|_| ()),
        Program::KProbe(probe) => probe.load().and_then(|()| probe.attach(target, 0)).map(|_| ()),
        Program::RawTracePoint(raw) => raw.load().and_then(|()| raw.attach(target)).map(|_| ()),
        Program::TracePoint(tracepoint) => {
            tracepoint.load().and_then(|()| tracepoint.attach("oom", target)).map(|_| ())
        }
        other => return Err(format!("a program of type {:?} cannot be attached here", other.prog_type())),
    }
    .map_err(describe)
}

/// Takes a program back, so that what it hooks is hooked on one rung only.
fn detach(program: &mut Program) -> Result<(), String> {
    match program {
        Program::FEntry(entry) => entry.unload(),
        Program::FExit(exit) => exit.unload(),
        Program::KProbe(probe) => probe.unload(),
        _ => Ok(()),
    }
    .map_err(describe)
}

/// A refusal in one line: what was refused, and the system's words. The verifier's log goes to the diagnostics.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn describe(error: ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = &error {
        tracing::debug!(%verifier_log, "the kernel refused a program");
        let hint = match io_error.raw_os_error() {
            Some(libc::EPERM) => "; needs CAP_BPF and CAP_PERFMON, or root, and a kernel that has this attach point",
            _ => "",
        };
        // The verifier's verdict stands right before its statistics.
        let log = verifier_log.to_string();
        let verdict = log.split("\nverification time").next().and_then(|log| log.lines().last()).unwrap_or_default();
        let verdict = if verdict.is_empty() { String::new() } else { format!(": {verdict}") };
        return format!("loading is refused: {io_error}{verdict}{hint}");
    }
    let text = with_causes(&error);
    if text.contains("event_source/devices/kprobe") {
        return "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)".to_owned();
    }
    text
}
