//! Every source but the probes: tasks that send events over one bounded channel.

use tokio::sync::mpsc;

use crate::event::{ProbeStatus, Told};

/// Events that may wait to be told. A source that finds the channel full either waits, where what it reads is kept for
/// it meanwhile, or counts what it drops and tells it as `lost`.
const WAITING: usize = 1024;

/// The sources that run, and what they are known to lack.
pub struct Sources {
    told: mpsc::Receiver<Told>,
    /// Kept, so that the channel stays open also without any source.
    sender: mpsc::Sender<Told>,
    status: Vec<ProbeStatus>,
    degraded: Vec<String>,
}

impl Default for Sources {
    fn default() -> Self {
        let (sender, told) = mpsc::channel(WAITING);
        Self { told, sender, status: Vec::new(), degraded: Vec::new() }
    }
}

impl Sources {
    /// What a source sends its events to.
    #[must_use]
    pub fn sender(&self) -> mpsc::Sender<Told> {
        self.sender.clone()
    }

    /// Notes that a source runs.
    pub fn runs(&mut self, status: ProbeStatus) {
        self.status.push(status);
    }

    /// Notes what a source lacks, with its reason, its remedy, and what is lost by it.
    pub fn lacks(&mut self, what: String) {
        self.degraded.push(what);
    }

    pub(super) fn status(&self) -> &[ProbeStatus] {
        &self.status
    }

    pub(super) fn degraded(&self) -> &[String] {
        &self.degraded
    }

    /// Waits for an event.
    pub(super) async fn next(&mut self) -> Told {
        match self.told.recv().await {
            Some(told) => told,
            // Never: this holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Gives what was sent already.
    pub(super) fn finish(&mut self) -> Vec<Told> {
        std::iter::from_fn(|| self.told.try_recv().ok()).collect()
    }
}
