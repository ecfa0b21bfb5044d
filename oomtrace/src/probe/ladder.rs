//! The ladder of attach points: for each symbol the best one that this kernel has, decided by trying.

use std::time::Instant;

use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError},
};
use clap::ValueEnum;

use super::{
    KernelFacts,
    symbol::{Symbol, Way},
    with_causes,
};
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

/// Attaches `symbol` at the best rung that `choice` allows and the kernel grants.
pub(super) fn climb(ebpf: &mut Ebpf, symbol: Symbol, choice: Choice, facts: &KernelFacts) -> ProbeStatus {
    let mut status = ProbeStatus { symbol: symbol.name().to_owned(), attached: None, refused: Vec::new() };
    // What has one rung only serves with any.
    let allowed = |rung| symbol.ways().len() == 1 || choice.allows(rung);
    for way in symbol.ways().iter().filter(|way| allowed(way.rung)) {
        let started = Instant::now();
        let attached = attach(ebpf, symbol, way, facts);
        tracing::debug!(
            "{} by {}: {} after {:?}",
            way.hooked,
            way.rung,
            if attached.is_ok() { "attached" } else { "refused" },
            started.elapsed()
        );
        match attached {
            Ok(()) => {
                way.hooked.clone_into(&mut status.symbol);
                status.attached = Some(way.rung);
                break;
            }
            Err(reason) if symbol.has_one_target() => status.refused.push(Refusal { rung: way.rung, reason }),
            Err(reason) => {
                status.refused.push(Refusal { rung: way.rung, reason: format!("{}: {reason}", way.hooked) });
            }
        }
    }
    status
}

/// Attaches all the programs of a rung, or none.
fn attach(ebpf: &mut Ebpf, symbol: Symbol, way: &Way, facts: &KernelFacts) -> Result<(), String> {
    let Way { rung, programs, .. } = *way;
    if rung != Rung::Tracepoint && !facts.understands_tasks() {
        return Err(NO_BTF.to_owned());
    }
    if rung == Rung::RawTracepoint
        && symbol == Symbol::MarkOomVictim
        && !facts.types.as_ref().is_ok_and(|types| types.mark_victim_gives_task)
    {
        return Err("this kernel's tracepoint gives a thread id instead of a task".to_owned());
    }
    let functions = facts.types.as_ref().ok().map(|types| &types.functions);
    for (position, (name, target)) in programs.iter().enumerate() {
        if let Err(reason) = attach_program(program(ebpf, name)?, target, functions) {
            // It may be loaded, though it hooks nothing; the next way may take the same one.
            let _ = detach(program(ebpf, name)?);
            for (attached, _) in &programs[..position] {
                detach(program(ebpf, attached)?)?;
            }
            return Err(reason);
        }
    }
    Ok(())
}

/// Takes a symbol's probes back, for a reason that showed only once they were attached.
pub(super) fn give_up(ebpf: &mut Ebpf, symbol: Symbol, status: &mut ProbeStatus, reason: String) {
    let Some(rung) = status.attached.take() else { return };
    status.refused.push(Refusal { rung, reason });
    for (name, _) in symbol.ways().iter().filter(|way| way.rung == rung).flat_map(|way| way.programs) {
        if let Err(error) = program(ebpf, name).and_then(detach) {
            tracing::warn!("{name} stays attached: {error}");
        }
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, String> {
    ebpf.program_mut(name).ok_or_else(|| format!("the program {name} is missing from the embedded object"))
}

fn attach_program(program: &mut Program, target: &str, functions: Option<&Btf>) -> Result<(), String> {
    let functions = || functions.ok_or(NO_BTF);
    match program {
        Program::FEntry(entry) => entry.load(target, functions()?).and_then(|()| entry.attach()).map(|_| ()),
        Program::FExit(exit) => exit.load(target, functions()?).and_then(|()| exit.attach()).map(|_| ()),
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
            Some(libc::EPERM) => {
                "; needs CAP_BPF and CAP_PERFMON, or root, a kernel that has this attach point and, in a container, a seccomp profile \
                 that allows bpf (oomtrace/docs/permissions.md, \"Seccomp\")"
            }
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
    // ENOTSUPP, which is the kernel's own: the C library has no words for it.
    if text.contains("os error 524") {
        return "this kernel has no BPF trampolines to functions; on arm64 they came with 6.4".to_owned();
    }
    text
}
