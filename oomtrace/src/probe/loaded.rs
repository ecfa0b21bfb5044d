//! Probes in the kernel, and what they send.

use std::os::fd::AsRawFd;

use aya::{
    Ebpf, EbpfLoader, Endianness, VerifierLogLevel,
    maps::{MapData, PerCpuArray, RingBuf},
};
use aya_log::EbpfLogger;
use bytes::Bytes;
use oomtrace_common::layout::{KernelLayout, MachineLayout, MarkVictimFormat};
use tokio::io::unix::AsyncFd;

use super::{
    Choice, KernelFacts, Symbol,
    ladder::{FUNCTIONS, climb},
    with_causes,
};
use crate::event::{ProbeStatus, Rung};

/// The compiled probes: `oomtrace-ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oomtrace-ebpf"));

/// How to load the probes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which attach points may be used.
    pub choice: Choice,
    /// Size of the ring buffer: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// The most verbose of the probes' own diagnostics to bring into `tracing`, if any.
    pub log_level: Option<aya_log::Level>,
}

impl Default for Options {
    fn default() -> Self {
        Self { choice: Choice::Auto, ring_bytes: 512 * 1024, log_level: None }
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
    lost: PerCpuArray<MapData, u64>,
    lost_so_far: u64,
    logger: Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>>,
    status: Vec<ProbeStatus>,
    _ebpf: Ebpf,
}

impl Probes {
    /// Loads and attaches the probes.
    pub fn load(facts: &KernelFacts, options: &Options) -> Result<Self, LoadError> {
        let Options { choice, ring_bytes, log_level } = *options;
        let object = |error: &dyn std::error::Error| LoadError::Object { reason: with_causes(error) };
        let functions = facts.btf.as_ref().ok().map(|btf| btf.of_functions(&FUNCTIONS));
        let functions = functions.and_then(|bytes| aya::Btf::parse(&bytes, Endianness::default()).ok());
        let level = log_level.map_or(0, |level| level as u8);
        let mut ebpf = EbpfLoader::new()
            // No field of the object is to be relocated: see `KERNEL`.
            .btf(None)
            // The verdict alone: the whole log is megabytes.
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries("EVENTS", ring_bytes)
            .override_global("KERNEL", &Global(facts.layout), true)
            .override_global("MACHINE", &Global(facts.machine), true)
            .override_global("MARK_VICTIM", &Global(facts.mark_victim), true)
            .override_global(aya_log::LEVEL, &level, false)
            .load(OBJECT)
            .map_err(|error| object(&error))?;

        let logger = match log_level {
            Some(_) => Some(EbpfLogger::init(&mut ebpf).map_err(|error| object(&error)).and_then(register)?),
            None => None,
        };
        let status: Vec<_> =
            Symbol::ALL.iter().map(|symbol| climb(&mut ebpf, *symbol, choice, facts, functions.as_ref())).collect();
        drop(functions);
        // The kernel's types, which aya has read all the same, were millions of small allocations, and the allocator
        // keeps what it got.
        // SAFETY: no precondition.
        unsafe { libc::malloc_trim(0) };

        let sees_kills =
            |symbol: Symbol| status.iter().any(|probe| probe.symbol == symbol.name() && probe.attached.is_some());
        if !sees_kills(Symbol::OomKillProcess) && !sees_kills(Symbol::MarkOomVictim) {
            return Err(LoadError::NothingAttaches { refusals: refusals(&status) });
        }
        let ring = ebpf.take_map("EVENTS").ok_or_else(|| LoadError::Ring("the map EVENTS is missing".to_owned()))?;
        let ring = RingBuf::try_from(ring).map_err(|error| LoadError::Ring(error.to_string()))?;
        let ring = register(ring)?;
        let lost = ebpf.take_map("LOST").ok_or_else(|| LoadError::Ring("the map LOST is missing".to_owned()))?;
        let lost = PerCpuArray::try_from(lost).map_err(|error| LoadError::Ring(error.to_string()))?;
        Ok(Self { ring, lost, lost_so_far: 0, logger, status, _ebpf: ebpf })
    }

    /// How each symbol is attached.
    #[must_use]
    pub fn status(&self) -> &[ProbeStatus] {
        &self.status
    }

    /// The rung that a symbol is attached at.
    #[must_use]
    pub fn rung(&self, symbol: Symbol) -> Option<Rung> {
        self.status.iter().find(|probe| probe.symbol == symbol.name()).and_then(|probe| probe.attached)
    }

    /// Waits until there are records, or diagnostics of the probes, which are passed on to `tracing` here.
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

    /// How many records found the ring full since this was last asked.
    pub fn newly_lost(&mut self) -> u64 {
        let total = self.lost.get(&0, 0).map_or(self.lost_so_far, |cpus| cpus.iter().sum());
        let newly = total.saturating_sub(self.lost_so_far);
        self.lost_so_far = total;
        newly
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
