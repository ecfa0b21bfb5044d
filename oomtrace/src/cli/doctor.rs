//! `oomtrace doctor`: what this node allows, what would be used, what is missing and how to fix it.

use std::{fs, process::ExitCode};

use anyhow::Context as _;
use clap::ValueEnum;
use oomtrace_common::layout::{KernelLayout, Lookup};
use rustix::thread::{CapabilitySet, capabilities};
use serde::Serialize;
use tokio::runtime;

use super::kernel_release;
use crate::{
    event::ProbeStatus,
    node,
    probe::{KernelFacts, Options, Probes, tracefs},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What was found out about this node.
#[derive(Serialize)]
struct Report {
    /// Whether tracing is possible.
    possible: bool,
    kernel: String,
    cgroup_version: Option<u8>,
    checks: Vec<Check>,
    /// What each symbol would be attached by.
    probes: Vec<ProbeStatus>,
    /// Where the kernel keeps its fields, from BTF; `null` for one that this kernel does not have.
    layout: Vec<Field>,
}

/// One prerequisite.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    found: String,
    /// What to do about it, and what is lost without it.
    remedy: Option<&'static str>,
}

#[derive(Serialize)]
struct Field {
    name: &'static str,
    /// How it is looked up: `struct.member`, `enum.enumerator`, `sizeof struct`.
    from: String,
    value: Option<u32>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = report()?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Format::Text => print(&report),
    }
    Ok(if report.possible { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report() -> anyhow::Result<Report> {
    let facts = KernelFacts::gather();
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (probes, attach) = {
        // The ring buffer registers with the runtime.
        let _context = runtime.enter();
        match Probes::load(&facts, &Options::default()) {
            Ok(probes) => (probes.status().to_vec(), Check::passed("attach", "the probes load and attach".to_owned())),
            Err(error) => (
                Vec::new(),
                Check {
                    name: "attach",
                    ok: false,
                    found: error.to_string(),
                    remedy: Some("see the failed checks above; without an attach point nothing can be traced"),
                },
            ),
        }
    };
    let possible = attach.ok;
    let cgroup_version = node::cgroup_version();
    let checks = vec![
        capability_check().context("this process's capabilities cannot be read")?,
        lockdown_check(),
        match &facts.btf {
            Ok(_) => Check::passed("btf", "/sys/kernel/btf/vmlinux".to_owned()),
            Err(error) => Check {
                name: "btf",
                ok: false,
                found: error.to_string(),
                remedy: Some(
                    "use a kernel with CONFIG_DEBUG_INFO_BTF=y; without it only thread ids of victims are seen",
                ),
            },
        },
        if tracefs::format("oom", "mark_victim").is_some() {
            Check::passed("tracefs", "oom:mark_victim has a format".to_owned())
        } else {
            Check {
                name: "tracefs",
                ok: false,
                found: "no format of oom:mark_victim".to_owned(),
                remedy: Some(
                    "mount -t tracefs tracefs /sys/kernel/tracing; without it gfp flags have no names, and the last rung is missing",
                ),
            }
        },
        match cgroup_version {
            Some(version) => Check::passed("cgroup", format!("memory controller on cgroup v{version}")),
            None => Check {
                name: "cgroup",
                ok: false,
                found: "no memory controller".to_owned(),
                remedy: Some("boot without cgroup_disable=memory; without it only the node can run out of memory"),
            },
        },
        attach,
    ];
    Ok(Report { possible, kernel: kernel_release(), cgroup_version, checks, probes, layout: layout(&facts) })
}

impl Check {
    fn passed(name: &'static str, found: String) -> Self {
        Self { name, ok: true, found, remedy: None }
    }
}

/// `CAP_SYS_ADMIN`, or from 5.8 on both `CAP_BPF` and `CAP_PERFMON`.
fn capability_check() -> anyhow::Result<Check> {
    let effective = capabilities(None)?.effective;
    let wanted = [
        ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
        ("CAP_BPF", CapabilitySet::BPF),
        ("CAP_PERFMON", CapabilitySet::PERFMON),
        ("CAP_SYSLOG", CapabilitySet::SYSLOG),
        ("CAP_SYS_RESOURCE", CapabilitySet::SYS_RESOURCE),
    ];
    let held: Vec<_> =
        wanted.iter().filter(|(_, capability)| effective.contains(*capability)).map(|(name, _)| *name).collect();
    let ok =
        effective.contains(CapabilitySet::SYS_ADMIN) || effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON);
    Ok(Check {
        name: "capabilities",
        ok,
        found: if held.is_empty() { "none of those that matter".to_owned() } else { held.join(" ") },
        remedy: (!ok)
            .then_some("run as root, or grant CAP_BPF and CAP_PERFMON; without them the kernel loads no probes"),
    })
}

/// Kernel lockdown: in mode `confidentiality` BPF may not read kernel memory.
fn lockdown_check() -> Check {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = modes.split(['[', ']']).nth(1).unwrap_or("none (or securityfs is not mounted)").to_owned();
    let ok = mode != "confidentiality";
    Check {
        name: "lockdown",
        ok,
        found: mode,
        remedy: (!ok).then_some("boot with lockdown=integrity or none; in this mode probes may not read kernel memory"),
    }
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

fn print(report: &Report) {
    let verdict = if report.possible { "tracing is possible" } else { "tracing is NOT possible" };
    println!("kernel {}: {verdict}\n", report.kernel);
    for check in &report.checks {
        println!("{} {:<13} {}", if check.ok { "ok  " } else { "FAIL" }, check.name, check.found);
        if let Some(remedy) = check.remedy {
            println!("     {:<13} remedy: {remedy}", "");
        }
    }
    println!();
    for probe in &report.probes {
        let attached = probe.attached.map_or_else(|| "NOT ATTACHED".to_owned(), |rung| rung.to_string());
        println!("{:<18} {attached}", probe.symbol);
        for refusal in &probe.refused {
            println!("{:<18}   {} refused: {}", "", refusal.rung, refusal.reason);
        }
    }
    let missing: Vec<_> =
        report.layout.iter().filter(|field| field.value.is_none()).map(|field| field.from.as_str()).collect();
    let found = report.layout.len() - missing.len();
    println!("\nkernel fields      {found} of {} found in BTF", report.layout.len());
    if !missing.is_empty() {
        println!("                   not in this kernel: {}", missing.join(", "));
    }
}
