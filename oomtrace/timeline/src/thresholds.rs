//! When a node's kubelet was started, and with which eviction thresholds. They hold until it is started anew, and make no
//! incident: they are kept beside the lines that do.

use std::collections::BTreeMap;

use oomtrace_model::Eviction;

/// A kubelet that restarts without end must not take memory without end.
const STARTS: usize = 64;

/// By when the kubelet started, nanoseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Thresholds(BTreeMap<i64, Vec<Eviction>>);

impl Thresholds {
    pub(super) fn add(&mut self, at: i64, threshold: &Eviction) {
        let started = self.0.entry(at).or_default();
        // One that names no signal says that there is none.
        started.retain(|known| [known, threshold].iter().all(|step| step.signal.is_some()));
        started.retain(|known| known.signal != threshold.signal);
        started.push(threshold.clone());
        if self.0.len() > STARTS {
            self.0.pop_first();
        }
    }

    /// When the kubelet was started that ran then.
    pub(super) fn started(&self, at: i64) -> Option<i64> {
        self.0.range(..=at).next_back().map(|(started, _)| *started)
    }

    /// What the kubelet had that ran then.
    pub(super) fn at(&self, at: i64) -> &[Eviction] {
        self.0.range(..=at).next_back().map_or(&[], |(_, thresholds)| thresholds)
    }
}
