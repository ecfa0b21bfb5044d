//! The probes as a source of events.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use super::{commands::Commands, heap::Heaps, panic_on_oom};
use crate::{
    clock,
    event::{Event, Failure, Lost, LostFrom, Moment, Observation, ProbeStatus, Source},
    node::{self, fact::Fact, hierarchy::Hierarchy, names::Host},
    probe::{KernelFacts, LoadError, Loader, Options, Probes, Symbol, tracefs::FlagNames},
    source::kernel::{Joiner, Machine, Record, SeesCharges, decode},
};

/// How long an open decision waits for its end. Between the two the kernel writes its report to the console, which takes
/// seconds where that is a serial line; only an end that was lost takes longer.
const END_OVERDUE: Duration = Duration::from_secs(15);

/// How often the kernel is asked which programs it skipped.
const MISSED_EVERY: Duration = Duration::from_mins(1);

/// Probes in the kernel, whose records are joined to events.
pub struct ProbeSource {
    probes: Probes,
    joiner: Joiner,
    last_record: Instant,
    /// `vm.panic_on_oom`, where it can be read.
    panic_on_oom: Option<u32>,
    facts: Vec<Fact>,
    hierarchy: Option<Hierarchy>,
    /// What processes were started as, where that is wanted.
    commands: Option<Commands>,
    /// What sets the size of heaps, where that is wanted.
    heaps: Option<Heaps>,
    /// When the kernel was last asked what it skipped.
    asked_for_missed: Instant,
}

impl ProbeSource {
    /// Loads and attaches the probes.
    ///
    /// # Errors
    ///
    /// Fails as [`Probes::load`](crate::probe::Probes::load) does.
    pub fn load(
        loader: Loader,
        options: &Options,
        hierarchy: Option<Hierarchy>,
        host: &Host,
    ) -> Result<Self, LoadError> {
        let probes = Probes::load(loader, &KernelFacts::gather(), options)?;
        let joiner = Joiner::new(Machine {
            page_size: rustix::param::page_size() as u64,
            cgroup_version: node::cgroup_version(),
            gfp_flags: FlagNames::of_gfp(),
            sees_signals: probes.rung(Symbol::SignalGenerate).is_some(),
            sees_marks: probes.rung(Symbol::MarkOomVictim).is_some(),
            sees_charges: SeesCharges {
                attempts: probes.rung(Symbol::ChargeAttempts).is_some(),
                failed: probes.rung(Symbol::ChargeReturns).is_some(),
                ooms: probes.rung(Symbol::ChargeOoms).is_some(),
            },
        });
        let proc = node::processes::of_node(host);
        Ok(Self {
            probes,
            joiner,
            last_record: Instant::now(),
            panic_on_oom: panic_on_oom::read(),
            facts: Vec::new(),
            heaps: options.command_lines.then(|| Heaps::new(proc.clone(), host.clone(), hierarchy.as_ref())),
            commands: proc.filter(|_| options.command_lines).map(Commands::new),
            hierarchy,
            asked_for_missed: Instant::now(),
        })
    }

    /// Waits for records, and gives what they complete. For ever, where there are no probes.
    pub(super) async fn next(probes: &mut Option<Self>) -> io::Result<Vec<Observation>> {
        let Some(source) = probes else { return std::future::pending().await };
        source.probes.readable().await?;
        source.last_record = Instant::now();
        Ok(source.drain())
    }

    /// Twice a second: gives what is overdue, and what was lost.
    pub(super) fn tick(&mut self) -> Vec<Observation> {
        let mut reported = if self.last_record.elapsed() > END_OVERDUE { self.joiner.flush() } else { Vec::new() };
        self.thaw();
        if let Some(heaps) = &mut self.heaps {
            heaps.tick(self.hierarchy.as_ref());
        }
        reported.extend(self.counts(false));
        reported.extend(self.lost());
        if self.asked_for_missed.elapsed() > MISSED_EVERY {
            self.asked_for_missed = Instant::now();
            reported.extend(self.missed());
        }
        reported
    }

    /// Ends the waits of cgroups that are not frozen any more, whose ends the probes may have missed.
    fn thaw(&mut self) {
        let Some(hierarchy) = &self.hierarchy else { return };
        let is_over = |path: &str| {
            let control = fs::read_to_string(hierarchy.folder(path)?.join("memory.oom_control"));
            Some(control.map_or_else(
                |error| error.kind() == io::ErrorKind::NotFound,
                |control| control.lines().any(|line| line == "under_oom 0"),
            ))
        };
        let over = self.joiner.frozen().filter(|(_, path)| path.and_then(is_over) == Some(true));
        for id in over.map(|(id, _)| id).collect::<Vec<_>>() {
            self.joiner.is_frozen_no_more(id, clock::boot_ns());
        }
    }

    /// Gives all that is left.
    pub(super) fn finish(&mut self) -> Vec<Observation> {
        let mut reported = self.drain();
        reported.extend(self.joiner.flush());
        reported.extend(self.counts(true));
        reported.extend(self.lost());
        reported.extend(self.missed());
        self.probes.flush_diagnostics();
        reported
    }

    /// What the records reported of cgroups since this was last asked.
    pub(super) fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }

    /// Whether cgroups are seen when they are made.
    pub(super) fn sees_cgroups(&self) -> bool {
        self.probes.rung(Symbol::CgroupMkdir).is_some()
    }

    /// Reads all that is in the ring.
    fn drain(&mut self) -> Vec<Observation> {
        let mut reported = Vec::new();
        while let Some(bytes) = self.probes.next_record() {
            match decode(&bytes) {
                Ok(Record::CgroupMade(id)) => {
                    let path = self.joiner.path(id).map(ToOwned::to_owned);
                    if let (Some(heaps), Some(path)) = (&mut self.heaps, &path) {
                        heaps.made(path);
                    }
                    self.facts.extend(path.map(|path| Fact::Cgroup { id, path }));
                }
                Ok(Record::CgroupGone(id)) => self.facts.push(Fact::CgroupGone { id }),
                Ok(record) => reported.extend(self.joiner.push(record)),
                Err(error) => reported.push(own(Event::Error(Failure { message: error.to_string() }))),
            }
        }
        if let Some(heaps) = &self.heaps {
            for reported in &mut reported {
                heaps.pass(&mut reported.event);
            }
        }
        if let Some(commands) = &mut self.commands {
            for reported in &mut reported {
                commands.pass(&mut reported.event, self.hierarchy.as_ref());
            }
        }
        reported
    }

    /// What there is to tell of what the probes have counted; at the `end` all of it.
    fn counts(&mut self, end: bool) -> Vec<Observation> {
        let (reported, quiet) = self.joiner.count(clock::boot_ns(), &self.probes.counts(), end);
        self.probes.forget(&quiet);
        reported
    }

    fn lost(&mut self) -> impl Iterator<Item = Observation> {
        [LostFrom::Ring, LostFrom::Map].into_iter().filter_map(|from| {
            let count = self.probes.newly_lost(from);
            (count > 0).then(|| own(Event::Lost(Lost::new(from, count))))
        })
    }

    fn missed(&mut self) -> impl Iterator<Item = Observation> + use<> {
        let missed = self.probes.newly_missed().into_iter();
        missed.map(|(program, count)| own(Event::Lost(Lost::of_program(program, count))))
    }

    /// How each symbol is attached.
    #[must_use]
    pub fn status(&self) -> &[ProbeStatus] {
        self.probes.status()
    }

    /// What could be better, and why it is not.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        let unattached = self.probes.unattached().map(|(symbol, status)| {
            let reasons: Vec<_> =
                status.refused.iter().map(|refusal| format!("{}: {}", refusal.rung, refusal.reason)).collect();
            let reasons = if reasons.is_empty() { "not asked for".to_owned() } else { reasons.join("; ") };
            format!("{} is not attached ({reasons}): {}", symbol.name(), symbol.without_it())
        });
        unattached.chain(self.panic_on_oom.and_then(panic_on_oom::degrades)).collect()
    }

    /// How many signals were left out.
    #[must_use]
    pub fn untold_signals(&self) -> u64 {
        self.probes.untold_signals()
    }

    /// Whether a setting of the kernel that the status tells has changed since this was last asked.
    pub(super) fn settings_changed(&mut self) -> bool {
        let before = std::mem::replace(&mut self.panic_on_oom, panic_on_oom::read());
        before != self.panic_on_oom
    }
}

/// Something that oomtrace itself tells, now.
fn own(event: Event) -> Observation {
    Observation { source: Source::Oomtrace, at: Moment::Boot(clock::boot_ns()), event }
}
