//! What this node says of itself, gathered into files in memory: for `oomtrace timeline` to read, and `oomtrace collect` to keep.
//!
//! Each piece is there or is missing for a reason; nothing hangs: what is asked has to answer in time.

mod logs;
mod node;
mod pods;
mod secrets;

use std::fmt::Display;

use jiff::Timestamp;
use tokio::runtime;

use crate::{
    node::names::Options,
    replay::{Given, Kept, archive},
};

/// What was gathered, and what could not be.
pub(super) struct Gathered {
    /// The files.
    pub(super) kept: Vec<Kept>,
    /// What is missing, and why.
    pub(super) missing: Vec<(String, String)>,
}

/// Gathers file by file.
struct Gathering<'a> {
    options: &'a Options,
    now: Timestamp,
    /// From when on logs are read.
    since: Option<Timestamp>,
    kept: Vec<Kept>,
    missing: Vec<(String, String)>,
    /// What was left out of what was kept.
    left_out: Vec<String>,
}

/// What the timeline reads: logs since a time, else those of the last day, and pods.
pub(super) fn for_timeline(options: &Options, since: Option<Timestamp>) -> Gathered {
    gather(options, since, false)
}

/// All that could be wanted, of logs the last day.
pub(super) fn everything(options: &Options) -> Gathered {
    gather(options, None, true)
}

/// Whether there is something of a log or of pods.
pub(super) fn has_logs_or_pods(kept: &[Kept]) -> bool {
    let wanted = [archive::KERNEL, archive::KMSG, archive::KUBELET, archive::PODS, archive::NAMES];
    let is_wanted = |path: &str| wanted.contains(&path) || path.starts_with("var/log/");
    kept.iter().any(|kept| is_wanted(&kept.path))
}

fn gather(options: &Options, since: Option<Timestamp>, everything: bool) -> Gathered {
    let now = Timestamp::now();
    let (kept, missing, left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut gathering = Gathering { options, now, since, kept, missing, left_out };
    match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime.block_on(async {
            gathering.node();
            gathering.logs().await;
            gathering.pods().await;
            if everything {
                gathering.cgroups();
                gathering.kubelet();
                gathering.versions().await;
            }
        }),
        Err(error) => gathering.miss("all", error),
    }
    if everything {
        gathering.say();
    }
    let Gathering { kept, missing, .. } = gathering;
    Gathered { kept, missing }
}

impl Gathering<'_> {
    fn keep(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        let file = Given::held(format!("this node: {path}"), bytes.into(), self.now);
        self.kept.push(Kept { path: path.to_owned(), file });
    }

    fn miss(&mut self, what: &str, why: impl Display) {
        self.missing.push((what.to_owned(), format!("{why}")));
    }

    /// Says in files what is missing, and what was left out.
    fn say(&mut self) {
        let missing: Vec<_> = self.missing.iter().map(|(what, why)| format!("{what}: {why}")).collect();
        let missing = if missing.is_empty() { "nothing".to_owned() } else { missing.join("\n") };
        self.left_out.sort_unstable();
        self.left_out.dedup();
        let left_out = self.left_out.join("\n");
        self.keep(archive::MISSING, format!("What could not be had on this node, and why:\n\n{missing}\n"));
        self.keep(archive::LEFT_OUT, format!("What was left out, as it may be secret:\n\n{left_out}\n"));
    }
}
