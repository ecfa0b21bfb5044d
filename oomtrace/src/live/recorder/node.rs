//! The node's own memory on its way to the kubelet's eviction threshold, or to its end.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::approach::Limited;
use crate::node::{
    budget::Threshold,
    cgroup_files::NodeMemory,
    kubelet_process::{self, KubeletProcess},
    kubelet_settings::Settings,
    names::Host,
};

/// How long what the kubelet is set to holds.
const SETTINGS: Duration = Duration::from_mins(5);

/// Where the node's memory and its kubelet's settings are read.
#[derive(Debug)]
pub(super) struct Node {
    host: Host,
    proc: PathBuf,
    /// When the settings were read.
    read: Option<Instant>,
    /// What the kubelet keeps available, in bytes; `None` where that is not known, or nothing.
    threshold: Option<u64>,
}

impl Node {
    pub(super) fn new(host: Host) -> Self {
        let (proc, _) = kubelet_process::proc(&host);
        Self { host, proc, read: None, threshold: None }
    }

    /// What is used and cannot be had without swapping, in bytes.
    pub(super) fn usage(&self) -> Option<u64> {
        let memory = NodeMemory::read(&self.proc).ok()?;
        memory.total_bytes?.checked_sub(memory.available_bytes?)
    }

    /// What the kubelet keeps available, in bytes.
    pub(super) fn threshold(&self) -> Option<u64> {
        self.threshold
    }

    /// Reads what the kubelet is set to, if it is time.
    pub(super) fn read_settings(&mut self, now: Instant) {
        if self.read.is_some_and(|read| now.duration_since(read) < SETTINGS) {
            return;
        }
        self.read = Some(now);
        let settings = Settings::read(&self.host, KubeletProcess::find(&self.proc).as_ref(), None);
        let hard = settings.entry("evictionHard", "memory.available").value.filter(|_| settings.is_known());
        let total = NodeMemory::read(&self.proc).ok().and_then(|memory| memory.total_bytes);
        self.threshold = hard.and_then(|hard| hard.parse::<Threshold>().ok()?.bytes_of(total?));
    }
}

impl Limited for &Node {
    /// All memory less the threshold. Where there is none, the kernel kills when all is used; with swap, nobody knows when.
    fn limit(&self) -> Option<u64> {
        let memory = NodeMemory::read(&self.proc).ok()?;
        match self.threshold {
            Some(threshold) => memory.total_bytes?.checked_sub(threshold),
            None => memory.total_bytes.filter(|_| memory.swap_total_bytes == Some(0)),
        }
    }

    fn held(&self) -> Option<u64> {
        let memory = NodeMemory::read(&self.proc).ok()?;
        let slab = memory.slab_bytes.zip(memory.slab_reclaimable_bytes).and_then(|(all, some)| all.checked_sub(some));
        let others = [memory.shmem_bytes, slab, memory.kernel_stack_bytes, memory.page_tables_bytes];
        Some(memory.anon_bytes? + others.into_iter().flatten().sum::<u64>())
    }
}
