//! Which lines are looked at: those with a stem of a message that matters. The others, nearly all, are passed over without
//! being read.

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem::Finder;

/// A part of a message that no form escapes, and what has to stand in the line besides, if anything.
///
/// This only finds lines; what they say is decided when they are read.
///
/// The search (Teddy, of the crate `aho-corasick`) compares four bytes with eight sets of stems at once, and looks closer where
/// one fits; stems are shared out among the sets by the low halves of their first four bytes. So what is looked for begins alike
/// as far as can be: as `vict`, `fail`, `Sync`, `kill`, `oom `, `Crea`, `MESS`; an upper case letter has the low half of its
/// lower case one.
const STEMS: [&str; 41] = [
    OBSERVATION,
    "victing pod",
    "victed",
    "vict pods",
    "Failed to admit pod",
    "failed with gracePeriod",
    "failed liveness probe",
    "failed startup probe",
    "failed (failure)",
    "SyncLoop ADD",
    "SyncLoop DELETE",
    "SyncLoop (ADD",
    "SyncLoop (DELETE",
    "(PLEG): ",
    "Killing container",
    "killing pod",
    // `container init was OOM-killed (memory limit too low?)`.
    "killed (memory limit",
    // systemd's: `A process of this unit has been killed by the OOM killer.`
    "killed by the OOM",
    // systemd-oomd's: `Killed /…`, `Marked /… for killing due to …`.
    "Killed /",
    "killing due to memory",
    // earlyoom's: `sending SIGTERM to process 7 …`.
    "sending SIG",
    // To 1.2: `killing process 7 "sh" with signal 15: …`.
    "illing process ",
    // nohang's: whom it chose, where that is, what it sends.
    ", badness: ",
    "cgroup_v",
    "to the victim",
    // koordlet's: `evict pod a/b success, reason: EvictPodByNodeMemoryUsage`, `memoryEvict pick pod a/b to evict`.
    "success, reason: ",
    "emoryEvict pick pod ",
    // conmon's: `OOM received`. Of cgroup v1 it says `OOM event received` before, which is found below.
    "OOM received",
    "Message for Container of pod",
    // A journal's message that is not all text: bytes, in which nothing is found.
    "MESSAGE\":[",
    // Or that is too long for the program that printed the journal.
    "MESSAGE\":null",
    "MESSAGE\" : null",
    "Probe failed",
    "CrashLoopBackOff: ",
    "oom event",
    "OOM event",
    "Created PodSandbox",
    "Creating Container Manager object",
    STATUS,
    "Added Container",
    "Suppressed ",
];

const OBSERVATION: &str = "viction manager";
const STATUS: &str = "Patch status for pod";

/// Finds the lines.
pub(super) struct Stems {
    all: AhoCorasick,
    observations: Finder<'static>,
    memory: Finder<'static>,
    terminated: Finder<'static>,
}

impl Stems {
    pub(super) fn new() -> Result<Self, aho_corasick::BuildError> {
        Ok(Self {
            all: AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(STEMS)?,
            observations: Finder::new("observations"),
            memory: Finder::new("emory.available"),
            terminated: Finder::new("terminated"),
        })
    }

    /// Where the next stem is, and which.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<(usize, Stem)> {
        self.all.find(bytes).map(|found| (found.start(), Stem(STEMS[found.pattern().as_usize()])))
    }

    /// What a line is worth, in which a stem is the first thing found, at `at`. At V(3) and above the eviction manager tells
    /// every ten seconds what there is of each of a dozen resources, and a status is of megabytes of JSON before a container
    /// of it ends.
    pub(super) fn worth(&self, Stem(stem): Stem, line: &[u8], at: usize) -> Worth {
        let rest = line.get(at + stem.len()..).unwrap_or_default();
        match stem {
            OBSERVATION if rest.starts_with(b": synchronize housekeeping") => Worth::NewPass,
            // It ends a pass, and another begins it.
            OBSERVATION if rest.starts_with(b": no resources are starved") => Worth::Nothing,
            // For minutes after a pass that came to something.
            OBSERVATION if rest.starts_with(b": node conditions") => Worth::Other,
            OBSERVATION if self.observations.find(line).is_some() => {
                if self.memory.find(line).is_some() {
                    Worth::Observation
                } else {
                    Worth::Nothing
                }
            }
            OBSERVATION => Worth::Step,
            STATUS if self.terminated.find(rest).is_none() => Worth::Nothing,
            _ => Worth::Other,
        }
    }
}

/// A stem that was found.
#[derive(Clone, Copy)]
pub(super) struct Stem(&'static str);

/// What a line is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    Nothing,
    /// To be read where anything comes of the pass that it is of: what the eviction manager observed of memory.
    Observation,
    /// A new pass of the eviction manager's.
    NewPass,
    /// To be read: a step of the eviction manager's.
    Step,
    /// To be read.
    Other,
}
