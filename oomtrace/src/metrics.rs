//! Figures for a monitoring system: what has happened, counted, as `OpenMetrics` over HTTP.
//!
//! [`Metrics`] is fed every line that oomtrace tells, and derives everything from these alone; a thread of its own
//! ([`Metrics::serve`]) answers requests, so that neither waits for the other.

mod expose;
mod families;
mod figures;
mod place;
mod process;
mod series;
mod serve;
mod verdicts;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub(crate) use self::families::{Family, Kind, Point, Unit, Value};
use self::figures::Figures;
use crate::{
    confinement::Confinement,
    event::{Event, Incident, Line, Phase},
    http,
};

/// The main loop goes round twice a second; one that has not for so long hangs.
const ALIVE_FOR: Duration = Duration::from_mins(1);

/// Figures, shared by what counts and what serves them.
#[derive(Debug)]
pub struct Metrics {
    figures: Mutex<Figures>,
    /// Whether this node is being traced.
    tracing: AtomicBool,
    began: Instant,
    /// When the main loop last went round, milliseconds since `began`.
    beat_ms: AtomicU64,
}

impl Metrics {
    /// None yet. Of what has a pod, a container or a unit, no more than `max_series` series are kept.
    #[must_use]
    pub fn new(max_series: usize) -> Arc<Self> {
        Arc::new(Self {
            figures: Mutex::new(Figures::new(max_series)),
            tracing: AtomicBool::new(false),
            began: Instant::now(),
            beat_ms: AtomicU64::new(0),
        })
    }

    /// Serves them on a thread of its own until the program ends. Gives the address, whose port the kernel chose where it was to be 0.
    ///
    /// # Errors
    ///
    /// Fails where the address is not free, or not of this machine.
    pub fn serve(self: &Arc<Self>, address: &http::Address, confinement: Confinement) -> anyhow::Result<SocketAddr> {
        let listener = http::Listener::bind(address, "--metrics-listen")?;
        let address = listener.address();
        listener.serve("metrics", confinement, serve::answers(Arc::clone(self)))?;
        Ok(address)
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        // A count that is half done is a count that is one too low.
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line.
    pub fn observe(&self, line: &Line) {
        if let Event::Status(status) = &line.event {
            self.tracing.store(status.is_tracing() && status.phase != Phase::Stopped, Ordering::Relaxed);
        }
        self.figures().observe(line, Instant::now());
    }

    /// Takes an incident that is not reported.
    pub fn judge(&self, incident: &Incident) {
        self.figures().judge(incident);
    }

    /// The main loop goes round.
    pub fn beat(&self) {
        let now = Instant::now();
        self.beat_ms.store(millis(now - self.began), Ordering::Relaxed);
        self.figures().tick(now);
    }

    /// Whether this node is being traced: something is attached.
    fn is_ready(&self) -> bool {
        self.tracing.load(Ordering::Relaxed)
    }

    /// Whether the main loop still goes round.
    fn is_alive(&self) -> bool {
        let silent_ms = millis(self.began.elapsed()).saturating_sub(self.beat_ms.load(Ordering::Relaxed));
        silent_ms < millis(ALIVE_FOR)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
