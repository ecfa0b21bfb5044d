//! Probes in the kernel, and what they send.

use std::os::fd::AsRawFd;

use aya::{
    Ebpf, VerifierLogLevel,
    maps::{MapData, RingBuf},
};
use aya_log::EbpfLogger;
use bytes::Bytes;
use oomtrace_common::layout::{KernelLayout, MachineLayout, MarkVictimFormat};
use tokio::io::unix::AsyncFd;

use super::{
    Choice, KernelFacts, Symbol,
    counted::{Counted, Counts, Quiet},
    ladder::{climb, give_up},
    loader::Loader,
    missed::Missed,
    refusal_check, with_causes,
};
use crate::event::{LostFrom, ProbeStatus, Rung};

/// The compiled probes: `oomtrace-ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oomtrace-ebpf"));

/// How to load the probes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which attach points may be used.
    pub choice: Choice,
    /// Size of the ring buffer: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// How many cgroups that hit their limits, and how many processes whose allocations are refused, are counted at a time.
    pub map_entries: u32,
    /// Whether to hook the return of every charge, which costs every page fault.
    pub charge_returns: bool,
    /// Whether to read what victims were started as.
    pub command_lines: bool,
    /// The most verbose of the probes' own diagnostics to bring into `tracing`, if any.
    pub log_level: Option<aya_log::Level>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            choice: Choice::Auto,
            ring_bytes: 512 * 1024,
            map_entries: 1024,
            charge_returns: false,
            command_lines: true,
            log_level: None,
        }
    }
}

/// Why nothing can be traced.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel does not take the maps or the object.
    #[error(
        "the kernel does not load the probes: {reason}; run as root, or with CAP_BPF and CAP_PERFMON; `oomtrace doctor` says more"
    )]
    Object {
        /// What the system said.
        reason: String,
    },
    /// Not one attach point is to be had.
    #[error("this kernel grants no attach point:\n{refusals}\n`oomtrace doctor` says what is missing")]
    NothingAttaches {
        /// Symbol by symbol, what was tried and refused.
        refusals: String,
    },
    /// The ring buffer cannot be read.
    #[error("the ring buffer cannot be read: {0}")]
    Ring(String),
}

/// A layout, in the form that aya takes a global in.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Global<T>(T);

// SAFETY: all three are `repr(C)` structs of integers without padding.
unsafe impl aya::Pod for Global<KernelLayout> {}
// SAFETY: as above.
unsafe impl aya::Pod for Global<MachineLayout> {}
// SAFETY: as above.
unsafe impl aya::Pod for Global<MarkVictimFormat> {}

/// Probes in the kernel. Dropping this detaches them.
pub struct Probes {
    ring: AsyncFd<RingBuf<MapData>>,
    counted: Counted,
    logger: Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>>,
    /// What was to be hooked, and how it is.
    symbols: Vec<Symbol>,
    status: Vec<ProbeStatus>,
    missed: Missed,
    _ebpf: Ebpf,
}

impl Probes {
    /// Loads and attaches the probes.
    ///
    /// # Errors
    ///
    /// Fails where the kernel refuses to load the probes, or they can be attached nowhere.
    pub fn load(loader: Loader, facts: &KernelFacts, options: &Options) -> Result<Self, LoadError> {
        let Options { choice, ring_bytes, map_entries, charge_returns, command_lines, log_level } = *options;
        let machine = MachineLayout { command_lines: command_lines.into(), ..facts.machine };
        let object = |error: &dyn std::error::Error| LoadError::Object { reason: with_causes(error) };
        let level = log_level.map_or(0, |level| level as u8);
        let mut ebpf = loader
            .into_inner()
            // No field of the object is to be relocated: see `KERNEL`.
            .btf(None)
            // The verdict alone: the whole log is megabytes.
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries("EVENTS", ring_bytes)
            .map_max_entries("CHARGES", map_entries)
            .map_max_entries("REFUSALS", map_entries)
            .override_global("KERNEL", &Global(facts.layout), true)
            .override_global("MACHINE", &Global(machine), true)
            .override_global("MARK_VICTIM", &Global(facts.mark_victim), true)
            .override_global(aya_log::LEVEL, &level, false)
            .load(OBJECT)
            .map_err(|error| object(&error))?;

        let logger = match log_level {
            Some(_) => Some(EbpfLogger::init(&mut ebpf).map_err(|error| object(&error)).and_then(register)?),
            None => None,
        };
        let wanted = |symbol: &Symbol| match symbol {
            Symbol::ChargeReturns => charge_returns,
            // cgroup v2 has no `oom_kill_disable`.
            Symbol::UnderOom => facts.machine.memory_cgroup_v1 == 1,
            _ => true,
        };
        let symbols: Vec<_> = Symbol::ALL.into_iter().filter(wanted).collect();
        let mut status: Vec<_> = symbols.iter().map(|symbol| climb(&mut ebpf, *symbol, choice, facts)).collect();
        let mut rlimit_askings = 1;
        let hooked = symbols.iter().zip(&mut status).find(|(symbol, _)| **symbol == Symbol::MayExpandVm);
        if let Some((symbol, probe)) = hooked.filter(|(_, probe)| probe.attached.is_some()) {
            match refusal_check::rlimit_askings(&mut ebpf) {
                Ok(askings) => rlimit_askings = askings,
                Err(reason) => give_up(&mut ebpf, *symbol, probe, reason),
            }
        }
        // The allocator keeps what it got for all this.
        // SAFETY: no precondition.
        unsafe { libc::malloc_trim(0) };

        let sees_kills = |symbol: Symbol| {
            symbols.iter().zip(&status).any(|(hooked, probe)| *hooked == symbol && probe.attached.is_some())
        };
        if !sees_kills(Symbol::OomKillProcess) && !sees_kills(Symbol::MarkOomVictim) {
            return Err(LoadError::NothingAttaches { refusals: refusals(&status) });
        }
        let ring = ebpf.take_map("EVENTS").ok_or_else(|| LoadError::Ring("the map EVENTS is missing".to_owned()))?;
        let ring = RingBuf::try_from(ring).map_err(|error| LoadError::Ring(error.to_string()))?;
        let ring = register(ring)?;
        let counted = Counted::take(&mut ebpf, rlimit_askings).map_err(LoadError::Ring)?;
        let missed = Missed::of(&ebpf);
        Ok(Self { ring, counted, logger, symbols, status, missed, _ebpf: ebpf })
    }

    /// How each symbol is attached.
    #[must_use]
    pub fn status(&self) -> &[ProbeStatus] {
        &self.status
    }

    /// The rung that a symbol is attached at.
    #[must_use]
    pub fn rung(&self, symbol: Symbol) -> Option<Rung> {
        self.by_symbol().find(|(hooked, _)| *hooked == symbol).and_then(|(_, probe)| probe.attached)
    }

    /// What was to be hooked, and is not.
    pub fn unattached(&self) -> impl Iterator<Item = (Symbol, &ProbeStatus)> {
        self.by_symbol().filter(|(_, probe)| probe.attached.is_none())
    }

    fn by_symbol(&self) -> impl Iterator<Item = (Symbol, &ProbeStatus)> {
        self.symbols.iter().copied().zip(&self.status)
    }

    /// Waits until there are records, or diagnostics of the probes, which are passed on to `tracing` here.
    ///
    /// # Errors
    ///
    /// Fails where the ring buffer cannot be waited for.
    pub async fn readable(&mut self) -> std::io::Result<()> {
        let Self { ring, logger, .. } = self;
        let Some(logger) = logger else {
            ring.readable().await?.clear_ready();
            return Ok(());
        };
        tokio::select! {
            ready = ring.readable() => ready?.clear_ready(),
            ready = logger.readable_mut() => {
                let mut ready = ready?;
                ready.get_inner_mut().flush();
                ready.clear_ready();
            }
        }
        Ok(())
    }

    /// Passes on what the probes' own diagnostics have said so far.
    pub fn flush_diagnostics(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.get_mut().flush();
        }
    }

    /// The next record, if there is one.
    pub fn next_record(&mut self) -> Option<Bytes> {
        self.ring.get_mut().next().map(|record| Bytes::copy_from_slice(&record))
    }

    /// How much the probes have lost there since this was last asked.
    pub fn newly_lost(&mut self, from: LostFrom) -> u64 {
        self.counted.newly_lost(from)
    }

    /// The programs that the kernel skipped since this was last asked, and how often.
    pub fn newly_missed(&mut self) -> Vec<(String, u64)> {
        self.missed.newly()
    }

    /// How many signals were not reported, since their cgroups had used up what may be reported of them in a second.
    #[must_use]
    pub fn untold_signals(&self) -> u64 {
        self.counted.untold_signals()
    }

    /// What the probes have counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counted.counts()
    }

    /// Takes what is quiet out of what is counted, so that there is room for others.
    pub fn forget(&mut self, quiet: &Quiet) {
        self.counted.forget(quiet);
    }
}

/// Puts a ring buffer among what the runtime waits for.
fn register<T: AsRawFd>(ring: T) -> Result<AsyncFd<T>, LoadError> {
    // SAFETY: both kinds of ring own the descriptor they answer with, and keep it open as long as they live.
    unsafe { AsyncFd::register(ring) }.map_err(|error| LoadError::Ring(error.to_string()))
}

/// What was tried and refused, a line each.
fn refusals(status: &[ProbeStatus]) -> String {
    let lines = status.iter().flat_map(|probe| {
        probe.refused.iter().map(|refusal| format!("  {}: {}: {}", probe.symbol, refusal.rung, refusal.reason))
    });
    lines.collect::<Vec<_>>().join("\n")
}
