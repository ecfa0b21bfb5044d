//! Which lines are looked at: those with a stem of a message that matters. The others, nearly all, are passed over without
//! being read.

use aho_corasick::{AhoCorasick, MatchKind};

/// Parts of messages that no form escapes. What follows each in its line decides; this only finds the line.
const STEMS: [&str; 27] = [
    "viction manager",
    "Evicting pod",
    "Failed to admit pod",
    "admission denied",
    "SyncLoop ADD",
    "SyncLoop DELETE",
    "SyncLoop (ADD",
    "SyncLoop (DELETE",
    "(PLEG): ",
    "Killing ",
    "termination failed with gracePeriod",
    "Message for Container of pod",
    "failed liveness probe",
    "failed startup probe",
    "Probe failed",
    " failed (failure)",
    "CrashLoopBackOff",
    "Event occurred",
    "sys oom event",
    "Created an OOM event",
    "Patch status for pod",
    "Created PodSandbox",
    "Added Container",
    "Shutdown manager killing",
    "Suppressed ",
    "TaskOOM event",
    // A journal's message that is not all text: bytes, in which nothing is found.
    "\"MESSAGE\":[",
];

/// Finds the lines.
pub(super) struct Stems(AhoCorasick);

impl Stems {
    pub(super) fn new() -> Result<Self, aho_corasick::BuildError> {
        AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(STEMS).map(Self)
    }

    /// Where the next stem is.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.0.find(bytes).map(|found| found.start())
    }
}
