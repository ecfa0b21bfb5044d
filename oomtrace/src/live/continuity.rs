//! What the kernel killed while oomtrace did not run.
//!
//! With `--state-dir` a file says up to when this node was traced, in which boot, and which processes were reported as killed last.
//! The next start reads the kernel's log from there on, and reports the kills in it that nobody saw, as the log has them: whether
//! oomtrace was stopped, upgraded, or killed with the node's last memory.
//!
//! The log's stamps may be some seconds from the boot-time clock ([`MARGIN`]), so a kill near either end of that time is known by other
//! means: those that were in the log at the last start are not after the newest of them, those that were reported since are known by
//! their process ids, and those that the probes see meanwhile are waited for ([`SETTLED`]).

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::{
    clock,
    event::{Event, Failure, Moment, Observation, Source},
    node::hierarchy::Hierarchy,
    source::kmsg::{self, Before},
};

/// The file, in the folder of `--state-dir`.
const FILE: &str = "traced.json";
/// How often the file is written where nothing happens.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);
/// So far may the stamps of the kernel's log be from the boot-time clock.
const MARGIN: Duration = Duration::from_secs(30);
/// By then the probes have reported what they saw while they were attached.
const SETTLED: Duration = Duration::from_secs(2);
/// So many kills are remembered by their process ids.
const REMEMBERED: usize = 1000;

/// Up to when the node was traced.
#[derive(Debug, Serialize, Deserialize)]
struct Traced {
    /// `/proc/sys/kernel/random/boot_id`.
    boot_id: String,
    until: Until,
    /// Process ids of those whose kill was reported last.
    killed: VecDeque<u32>,
}

/// Up to where all kills are known.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Until {
    /// By `CLOCK_BOOTTIME`, in nanoseconds.
    boot_ns: u64,
    /// The kernel's stamp of the newest kill in its log when the run began, as [`Moment::Boot`] has it.
    newest_kill_ns: u64,
}

/// Kills that happened while oomtrace did not run, and how far it runs now.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    file: Option<PathBuf>,
    boot_id: String,
    newest_kill_ns: u64,
    killed: VecDeque<u32>,
    written: Option<Instant>,
    /// Whether kills were reported since the file was written.
    changed: bool,
    unwritten: Option<String>,
    /// Kills that nobody saw, as it seems, and until when it may turn out that the probes did.
    missed: Vec<Observation>,
    due: Option<Instant>,
    /// How long this node had not been traced before this start, and what the file said then.
    away: Option<(Duration, Until)>,
}

impl Continuity {
    /// Reads in `folder` how far the node was traced, and in the kernel's log what was killed since. To be called when the probes are
    /// attached.
    pub(super) fn start(folder: Option<&Path>, hierarchy: Option<&Hierarchy>, now: Instant) -> anyhow::Result<Self> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        let file = folder.join(FILE);
        let boot_id = clock::boot_id().context("the boot's id cannot be read")?;
        let mut continuity = Self { file: Some(file.clone()), boot_id, ..Self::default() };
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let before = kmsg::before(hierarchy);
        if let Ok(before) = &before {
            continuity.newest_kill_ns = before.kills.iter().map(boot_ns).max().unwrap_or_default();
        }
        match read(&file)? {
            Some(traced) if traced.boot_id == continuity.boot_id => continuity.catch_up(traced, before, now),
            Some(_) => info!("the node was started anew since oomtrace ran: the kernel's log of before is gone"),
            None => {}
        }
        continuity.keep(now);
        Ok(continuity)
    }

    fn catch_up(&mut self, traced: Traced, before: io::Result<Before>, now: Instant) {
        let Traced { until, killed, .. } = traced;
        let away = Duration::from_nanos(clock::boot_ns().saturating_sub(until.boot_ns));
        self.away = Some((away, until));
        let seconds = away.as_secs();
        match before {
            Ok(before) => {
                let margin = u64::try_from(MARGIN.as_nanos()).unwrap_or(u64::MAX);
                let after = until.boot_ns.saturating_sub(margin).max(until.newest_kill_ns);
                self.missed = before.kills;
                self.missed.retain(|kill| {
                    boot_ns(kill) > after && !process(&kill.event).is_some_and(|pid| killed.contains(&pid))
                });
                self.due = Some(now + SETTLED);
                if before.oldest_ns.is_none_or(|oldest| oldest > until.boot_ns) {
                    self.missed.insert(0, failure(format!(
                        "oomtrace did not run for {seconds} s, and the kernel's log does not go back so far: kills may have been \
                         missed; a larger log (the kernel's option log_buf_len) keeps more"
                    )));
                }
            }
            Err(error) => self.missed.push(failure(format!(
                "oomtrace did not run for {seconds} s, and the kernel's log cannot be read ({error}; needs CAP_SYSLOG): what was \
                 killed meanwhile is not known"
            ))),
        }
        self.killed = killed;
    }

    /// How long the node was not traced before this start.
    pub(super) fn away(&self) -> Option<Duration> {
        self.away.map(|(away, _)| away)
    }

    /// Takes notice of events on their way.
    pub(super) fn note<'a>(&mut self, reported: impl IntoIterator<Item = (Source, &'a Event)>) {
        if self.file.is_none() {
            return;
        }
        for (_, event) in reported.into_iter().filter(|(source, _)| *source != Source::Kubelet) {
            let Some(pid) = process(event) else { continue };
            self.missed.retain(|missed| process(&missed.event) != Some(pid));
            self.remember(pid);
        }
    }

    fn remember(&mut self, pid: u32) {
        if self.killed.len() == REMEMBERED {
            self.killed.pop_front();
        }
        self.killed.push_back(pid);
        self.changed = true;
    }

    /// Gives the kills that were missed, once that is certain, and writes how far the node is traced.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Observation> {
        if self.file.is_none() {
            return Vec::new();
        }
        let due = self.due.is_none_or(|due| due <= now);
        let missed = if due { std::mem::take(&mut self.missed) } else { Vec::new() };
        if let (true, Some(away)) = (self.due.is_some() && due, self.away()) {
            let kills = missed.iter().filter(|reported| process(&reported.event).is_some()).count();
            info!("oomtrace did not run for {} s; kills in that time, by the kernel's log: {kills}", away.as_secs());
            self.due = None;
        }
        missed.iter().filter_map(|missed| process(&missed.event)).for_each(|pid| self.remember(pid));
        if self.changed || self.written.is_none_or(|written| now.duration_since(written) >= WRITTEN_EVERY) {
            self.keep(now);
        }
        missed
    }

    /// Writes how far the node is traced, for the last time.
    pub(super) fn finish(&mut self) -> Vec<Observation> {
        self.due = None;
        let now = Instant::now();
        let missed = self.tick(now);
        self.keep(now);
        missed
    }

    /// Writes the file. Where that fails it is tried again later; an old file would have kills reported twice, and goes.
    fn keep(&mut self, now: Instant) {
        let written = self.write();
        (self.written, self.changed) = (Some(now), false);
        let unwritten = written.err().map(|error| {
            format!("kills while oomtrace does not run stay unknown: {error:#} (--state-dir); it is tried again")
        });
        if let (Some(words), None, Some(file)) = (&unwritten, &self.unwritten, &self.file) {
            warn!("{words}");
            let _ = fs::remove_file(file);
        }
        self.unwritten = unwritten;
    }

    /// Why the file cannot be written now.
    pub(super) fn degraded(&self) -> Option<String> {
        self.unwritten.clone()
    }

    fn write(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let until = match self.away {
            // What was missed before this start is still to be reported.
            Some((_, until)) if self.due.is_some() => until,
            _ => Until { boot_ns: clock::boot_ns(), newest_kill_ns: self.newest_kill_ns },
        };
        let traced = Traced { boot_id: self.boot_id.clone(), until, killed: self.killed.clone() };
        let new = file.with_extension("new");
        let text = serde_json::to_vec(&traced).context("what was traced cannot be put into words")?;
        fs::write(&new, text).with_context(|| format!("{} cannot be written", new.display()))?;
        fs::rename(&new, file).with_context(|| format!("{} cannot be replaced", file.display()))?;
        Ok(())
    }
}

/// How far the node was traced; `None` where no file says so, or where one is torn.
fn read(file: &Path) -> anyhow::Result<Option<Traced>> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
    };
    match serde_json::from_slice(&text) {
        Ok(traced) => Ok(Some(traced)),
        Err(error) => {
            warn!("{} is damaged ({error}): what was killed while oomtrace did not run is not known", file.display());
            Ok(None)
        }
    }
}

/// When it happened, by the kernel's stamp.
fn boot_ns(kill: &Observation) -> u64 {
    match kill.at {
        Moment::Boot(at) => at,
        Moment::Wall(_) => 0,
    }
}

/// The process that was killed.
fn process(event: &Event) -> Option<u32> {
    let Event::OomKill(kill) = event else { return None };
    kill.victim.task.tgid.or(kill.victim.task.pid)
}

fn failure(message: String) -> Observation {
    Observation {
        source: Source::Oomtrace,
        at: Moment::Boot(clock::boot_ns()),
        event: Event::Error(Failure { message }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::OomKill;

    fn kill(pid: u32) -> Observation {
        let mut kill = OomKill::default();
        kill.victim.task.pid = Some(pid);
        Observation { source: Source::Kmsg, at: Moment::Boot(1), event: Event::OomKill(Box::new(kill)) }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_and_tried_again_and_holds_no_kill_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gone").join(FILE);
        let now = Instant::now();
        let due = Some(now + SETTLED);
        let mut continuity =
            Continuity { file: Some(file.clone()), missed: vec![kill(7), kill(8)], due, ..Continuity::default() };
        assert!(continuity.tick(now).is_empty());
        let said = continuity.degraded().expect("it cannot be written");
        assert!(said.contains("traced.new cannot be written") && said.contains("--state-dir"), "{said}");
        // The probes saw one of them.
        continuity.note([(Source::Kernel, &kill(7).event)]);
        let missed: Vec<_> =
            continuity.tick(now + SETTLED).iter().filter_map(|missed| process(&missed.event)).collect();
        assert_eq!(missed, [8]);
        fs::create_dir(folder.path().join("gone")).expect("a folder");
        assert!(continuity.tick(now + SETTLED + WRITTEN_EVERY).is_empty());
        assert_eq!(continuity.degraded(), None);
        let traced = read(&file).expect("readable").expect("written");
        assert_eq!(traced.killed, [7, 8]);
    }
}
