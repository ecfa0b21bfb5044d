//! `oomtrace doctor`: what this node allows, what would be used, what is missing and how to fix it.
//!
//! A check a function, by what it is about: [`kernel`] how the kernel was built and booted, [`privileges`] what this
//! process may do, [`mounts`] what it can see, [`names`] who would name pods and containers,
//! [`kubelet_log`] where evictions would be read, [`receivers`] who would be sent something; [`rungs`] tries every attach type.
//! What attaches decides how much a check matters: [`weigh`].

mod kernel;
mod kubelet_log;
mod mounts;
mod names;
mod print;
mod privileges;
mod receivers;
mod rungs;

use std::{path::PathBuf, process::ExitCode};

use clap::ValueEnum;
use oomtrace_common::layout::{KernelLayout, Lookup};
use serde::Serialize;

use self::rungs::RungReport;
use super::kernel_release;
use crate::{
    event::ProbeStatus,
    node,
    probe::KernelFacts,
    sink::{Kinds, Look},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also what is fine: every check, attach type and symbol.
    #[arg(long, short)]
    verbose: bool,
    /// Where the node's cgroups are mounted: in a container, where the host's /sys/fs/cgroup is.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    /// The node's name in Kubernetes Events. Default: the host's name.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    #[command(flatten)]
    sources: super::names::Sources,
    #[command(flatten)]
    otlp: super::otlp::Args,
    #[command(flatten)]
    kubernetes: super::kubernetes::Args,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// What was found out about this node.
#[derive(Serialize)]
struct Report {
    /// Whether tracing is possible, on any rung.
    possible: bool,
    kernel: String,
    cgroup_version: Option<u8>,
    /// Every rung, best first, and whether it can be stood on.
    rungs: Vec<RungReport>,
    checks: Vec<Check>,
    /// What each symbol would be attached by.
    probes: Vec<ProbeStatus>,
    /// Where the kernel keeps its fields, from BTF; `null` for one that this kernel does not have.
    layout: Vec<Field>,
}

/// One prerequisite.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    /// `null` where it cannot be found out.
    ok: Option<bool>,
    severity: Severity,
    found: String,
    /// What to do about it.
    remedy: Option<String>,
    /// What is lost as it is.
    lost: Option<String>,
    #[serde(skip)]
    needed_for: NeededFor,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    /// It is as it should be, or nothing is lost by it.
    Fine,
    /// It cannot be found out.
    Unknown,
    /// Something is lost.
    Warning,
    /// Because of this no probe attaches, or nothing can be traced.
    Failure,
}

/// What a prerequisite is needed for. Where that works all the same, or where something better works, it does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NeededFor {
    /// To attach probes, in one way or another.
    Probes,
    /// To read the kernel's log, which is done where no probe attaches.
    KernelLog,
    /// For itself.
    Itself,
}

#[derive(Serialize)]
struct Field {
    name: &'static str,
    /// How it is looked up: `struct.member`, `enum.enumerator`, `sizeof struct`.
    from: String,
    value: Option<u32>,
}

impl Check {
    /// As it should be.
    fn passed(name: &'static str, found: impl Into<String>) -> Self {
        let (severity, needed_for) = (Severity::Fine, NeededFor::Itself);
        Self { name, ok: Some(true), severity, found: found.into(), remedy: None, lost: None, needed_for }
    }

    /// Not as it should be.
    fn failed(
        name: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
        lost: impl Into<String>,
    ) -> Self {
        let (remedy, lost) = (Some(remedy.into()), Some(lost.into()));
        Self { ok: Some(false), severity: Severity::Warning, remedy, lost, ..Self::passed(name, found) }
    }

    /// It cannot be found out whether it is as it should be.
    fn unknown(name: &'static str, found: impl Into<String>) -> Self {
        Self { ok: None, severity: Severity::Unknown, ..Self::passed(name, found) }
    }

    /// The same, needed for that alone.
    fn needed_for(self, needed_for: NeededFor) -> Self {
        Self { needed_for, ..self }
    }

    /// Nothing is lost by it, because of this.
    fn is_not_needed(&mut self, why: &str) {
        self.found += why;
        (self.ok, self.severity, self.remedy, self.lost) = (Some(true), Severity::Fine, None, None);
    }
}

/// Judges what is not as it should be by what works: `probes` is what attaches, `log` whether the kernel's log can be read.
fn weigh(checks: &mut [Check], probes: &[ProbeStatus], log: bool) {
    let attached = probes.iter().filter(|probe| probe.attached.is_some()).count();
    for check in checks.iter_mut().filter(|check| check.ok == Some(false)) {
        match check.needed_for {
            NeededFor::Probes if attached > 0 && attached == probes.len() => {
                check.is_not_needed(" (not needed: every probe attaches)");
            }
            NeededFor::Probes if attached == 0 => check.severity = Severity::Failure,
            NeededFor::KernelLog if attached > 0 => check.is_not_needed(" (not needed: probes attach)"),
            NeededFor::KernelLog if !log => check.severity = Severity::Failure,
            NeededFor::Probes | NeededFor::KernelLog | NeededFor::Itself => {}
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = report(args)?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Format::Text => print!("{}", print::text(&report, args.verbose, Look::of_stdout())),
    }
    Ok(if report.possible { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(args: &Args) -> anyhow::Result<Report> {
    let facts = KernelFacts::gather();
    let (rungs, probes) = rungs::try_all(&facts, &args.cgroup_root)?;
    let sources = args.sources.options(&args.cgroup_root);
    let mut checks = privileges::checks(&sources.host)?;
    checks.extend(kernel::checks(&facts));
    checks.extend(mounts::checks(&args.cgroup_root));
    checks.push(kubelet_log::check(&sources.host));
    checks.extend(names::checks(&sources)?);
    let (otlp, node) = (args.otlp.receiver(Kinds::by_default()), super::node_name(args.node_name.as_deref()));
    checks.extend(receivers::checks(otlp.as_ref(), args.kubernetes.events(), &node));
    weigh(&mut checks, &probes, rungs.iter().any(|rung| rung.rung == rungs::KERNEL_LOG && rung.possible));
    checks.extend(rungs::unattached(&probes));
    Ok(Report {
        // The counts of cgroups only complete what the kernel's log tells: alone they tell nothing.
        possible: rungs.iter().any(|rung| rung.possible && rung.rung != rungs::CGROUP_EVENTS),
        kernel: kernel_release(),
        cgroup_version: node::cgroup_version(),
        rungs,
        checks,
        probes,
        layout: layout(&facts),
    })
}

fn layout(facts: &KernelFacts) -> Vec<Field> {
    facts
        .layout
        .values()
        .zip(KernelLayout::LOOKUPS)
        .map(|((name, value), (_, lookup))| Field {
            name,
            from: match lookup {
                Lookup::Member(of, path) => format!("{of}.{path}"),
                Lookup::Enumerator("", enumerator) => (*enumerator).to_owned(),
                Lookup::Enumerator(of, enumerator) => format!("{of}.{enumerator}"),
                Lookup::Size(of) => format!("sizeof {of}"),
            },
            value,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Rung;

    fn probe(attached: Option<Rung>) -> ProbeStatus {
        ProbeStatus { symbol: "oom_kill_process".to_owned(), attached, refused: Vec::new() }
    }

    fn weighed(needed_for: NeededFor, probes: &[ProbeStatus], log: bool) -> Check {
        let mut checks = [Check::failed("CONFIG_KPROBES", "not set", "set it", "no kprobes").needed_for(needed_for)];
        weigh(&mut checks, probes, log);
        let [check] = checks;
        check
    }

    #[test]
    fn an_attach_type_that_the_kernel_lacks_is_no_failure_where_a_better_one_works() {
        let check = weighed(NeededFor::Probes, &[probe(Some(Rung::Fentry))], false);
        assert_eq!((check.ok, check.severity, check.remedy), (Some(true), Severity::Fine, None));
        let some = [probe(Some(Rung::Fentry)), probe(None)];
        assert_eq!(weighed(NeededFor::Probes, &some, true).severity, Severity::Warning);
        assert_eq!(weighed(NeededFor::Probes, &[], true).severity, Severity::Failure);
    }

    #[test]
    fn the_log_matters_only_where_no_probe_attaches() {
        assert_eq!(weighed(NeededFor::KernelLog, &[probe(Some(Rung::Kprobe))], false).severity, Severity::Fine);
        assert_eq!(weighed(NeededFor::KernelLog, &[probe(None)], true).severity, Severity::Warning);
        assert_eq!(weighed(NeededFor::KernelLog, &[], false).severity, Severity::Failure);
        assert_eq!(weighed(NeededFor::Itself, &[], false).severity, Severity::Warning);
    }
}
