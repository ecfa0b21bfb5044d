//! The ladder of attach points: for each symbol the best one that this kernel has, decided by trying.

use std::time::Instant;

use aya::{
    Btf, Ebpf,
    programs::{FEntry, FExit, KProbe, ProgramError, RawTracePoint, TracePoint},
};
use clap::ValueEnum;

use super::{KernelFacts, with_causes};
use crate::event::{ProbeStatus, Refusal, Rung};

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
}

impl Choice {
    fn allows(self, rung: Rung) -> bool {
        match self {
            Self::Auto => true,
            Self::Fentry => rung == Rung::Fentry,
            Self::Kprobe => rung == Rung::Kprobe,
            Self::Tracepoint => matches!(rung, Rung::RawTracepoint | Rung::Tracepoint),
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
    /// The kernel's own SIGKILLs, which tell a kill from a mark.
    SignalGenerate,
}

impl Symbol {
    /// All of them, in the order in which they are attached: a decision must not come before its marks can be seen.
    pub const ALL: [Self; 3] = [Self::SignalGenerate, Self::MarkOomVictim, Self::OomKillProcess];

    /// Its name in the kernel.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OomKillProcess => "oom_kill_process",
            Self::MarkOomVictim => "mark_oom_victim",
            Self::SignalGenerate => "signal_generate",
        }
    }

    /// The ways to hook it, best first.
    #[must_use]
    pub fn rungs(self) -> &'static [Rung] {
        match self {
            Self::OomKillProcess => &[Rung::Fentry, Rung::Kprobe],
            Self::MarkOomVictim => &[Rung::Fentry, Rung::Kprobe, Rung::RawTracepoint, Rung::Tracepoint],
            Self::SignalGenerate => &[Rung::RawTracepoint],
        }
    }

    /// What is lost where it cannot be hooked.
    #[must_use]
    pub fn without_it(self) -> &'static str {
        match self {
            Self::OomKillProcess => "kills are seen, but not which limit was hit nor what was asked for",
            Self::MarkOomVictim => "victims are not seen, only decisions",
            Self::SignalGenerate => "a decision's victim that was already dying counts as killed",
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
    // The signal tracepoint serves every rung.
    let allowed = |rung| symbol == Symbol::SignalGenerate || choice.allows(rung);
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

fn attach(ebpf: &mut Ebpf, symbol: Symbol, rung: Rung, facts: &KernelFacts, btf: Option<&Btf>) -> Result<(), String> {
    if rung != Rung::Tracepoint && !facts.understands_tasks() {
        return Err("this kernel has no type information (BTF), so its structs cannot be read".to_owned());
    }
    let name = symbol.name();
    match (symbol, rung) {
        (Symbol::OomKillProcess, Rung::Fentry) => {
            let btf = btf.ok_or("this kernel has no type information (BTF)")?;
            // The end first: a decision whose end is not seen would stay open.
            let end: &mut FExit = program(ebpf, "oom_kill_process_fexit")?;
            end.load(name, btf).and_then(|()| end.attach()).map_err(describe)?;
            let entry: &mut FEntry = program(ebpf, "oom_kill_process_fentry")?;
            let attached = entry.load(name, btf).and_then(|()| entry.attach()).map_err(describe);
            if attached.is_err() {
                unload::<FExit>(ebpf, "oom_kill_process_fexit", FExit::unload)?;
            }
            attached.map(|_| ())
        }
        (Symbol::OomKillProcess, Rung::Kprobe) => {
            let end: &mut KProbe = program(ebpf, "oom_kill_process_kretprobe")?;
            end.load().and_then(|()| end.attach(name, 0)).map_err(describe)?;
            let entry: &mut KProbe = program(ebpf, "oom_kill_process_kprobe")?;
            let attached = entry.load().and_then(|()| entry.attach(name, 0)).map_err(describe);
            if attached.is_err() {
                unload::<KProbe>(ebpf, "oom_kill_process_kretprobe", KProbe::unload)?;
            }
            attached.map(|_| ())
        }
        (_, Rung::Fentry) => {
            let btf = btf.ok_or("this kernel has no type information (BTF)")?;
            let entry: &mut FEntry = program(ebpf, "mark_oom_victim_fentry")?;
            entry.load(name, btf).and_then(|()| entry.attach()).map(|_| ()).map_err(describe)
        }
        (_, Rung::Kprobe) => {
            let entry: &mut KProbe = program(ebpf, "mark_oom_victim_kprobe")?;
            entry.load().and_then(|()| entry.attach(name, 0)).map(|_| ()).map_err(describe)
        }
        (Symbol::SignalGenerate, _) => {
            let raw: &mut RawTracePoint = program(ebpf, "signal_generate")?;
            raw.load().and_then(|()| raw.attach("signal_generate")).map(|_| ()).map_err(describe)
        }
        (_, Rung::RawTracepoint) => {
            if !facts.btf.as_ref().is_ok_and(|btf| btf.tracepoint_gives_task("mark_victim")) {
                return Err("this kernel's tracepoint gives a thread id instead of a task".to_owned());
            }
            let raw: &mut RawTracePoint = program(ebpf, "mark_victim_raw")?;
            raw.load().and_then(|()| raw.attach("mark_victim")).map(|_| ()).map_err(describe)
        }
        (_, Rung::Tracepoint) => {
            let tracepoint: &mut TracePoint = program(ebpf, "mark_victim_tracepoint")?;
            tracepoint.load().and_then(|()| tracepoint.attach("oom", "mark_victim")).map(|_| ()).map_err(describe)
        }
    }
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, String>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| format!("the program {name} is missing from the embedded object"))?
        .try_into()
        .map_err(describe)
}

fn unload<T>(ebpf: &mut Ebpf, name: &str, unload: fn(&mut T) -> Result<(), ProgramError>) -> Result<(), String>
where
    for<'a> &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    unload(program(ebpf, name)?).map_err(describe)
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
        return format!("loading is refused: {io_error}{hint}");
    }
    let text = with_causes(&error);
    if text.contains("event_source/devices/kprobe") {
        return "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)".to_owned();
    }
    text
}
