//! Every rung of the ladder, tried.

use std::path::Path;

use serde::Serialize;
use tokio::runtime;

use super::Check;
use crate::{
    event::{ProbeStatus, Rung},
    node::hierarchy::Hierarchy,
    probe::{Choice, KernelFacts, Loader, Options, Probes, Symbol},
    source::kmsg,
};

/// The rung that only comes along with `kmsg`.
pub(super) const CGROUP_EVENTS: &str = "cgroup-events";
/// The kernel's log.
pub(super) const KERNEL_LOG: &str = "kmsg";

/// One rung.
#[derive(Serialize)]
pub(super) struct RungReport {
    /// As `--probe` takes it; `cgroup-events` comes along with `kmsg`.
    pub(super) rung: &'static str,
    /// Whether kills would be reported on it.
    pub(super) possible: bool,
    /// Whether `--probe auto` would use it, for one symbol at least.
    pub(super) used: bool,
    /// Why not; or what does not attach on it.
    pub(super) reason: Option<String>,
}

/// Tries each rung by itself, and all together as `--probe auto` does: gives also what that attaches.
pub(super) fn try_all(facts: &KernelFacts, cgroup_root: &Path) -> anyhow::Result<(Vec<RungReport>, Vec<ProbeStatus>)> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    // The ring buffer registers with the runtime.
    let _context = runtime.enter();
    let load = |choice| {
        let options = Options { choice, ..Options::default() };
        Probes::load(Loader::new(), facts, &options)
            .map(|probes| probes.status().to_vec())
            .map_err(|error| error.to_string())
    };
    let auto = load(Choice::Auto).unwrap_or_default();
    let uses = |rungs: &[Rung]| auto.iter().any(|probe| probe.attached.is_some_and(|rung| rungs.contains(&rung)));

    let mut rungs: Vec<_> = [
        ("fentry", Choice::Fentry, &[Rung::Fentry][..]),
        ("kprobe", Choice::Kprobe, &[Rung::Kprobe]),
        ("tracepoint", Choice::Tracepoint, &[Rung::RawTracepoint, Rung::Tracepoint]),
    ]
    .into_iter()
    .map(|(rung, choice, kinds)| {
        let loaded = load(choice);
        let reason = match &loaded {
            Ok(status) => not_attached(status, kinds),
            Err(error) => Some(error.clone()),
        };
        RungReport { rung, possible: loaded.is_ok(), used: uses(kinds), reason }
    })
    .collect();

    let log = kmsg::check();
    let possible = log.is_ok();
    let reason = log.err().map(|error| error.to_string());
    rungs.push(RungReport { rung: KERNEL_LOG, possible, used: auto.is_empty() && possible, reason });
    let counters = Hierarchy::find(cgroup_root);
    let possible = counters.is_ok();
    let reason = counters.err().map(|error| error.to_string());
    rungs.push(RungReport { rung: CGROUP_EVENTS, possible, used: auto.is_empty() && possible, reason });
    Ok((rungs, auto))
}

/// What attaches in no way, though others do: a warning each.
pub(super) fn unattached(probes: &[ProbeStatus]) -> impl Iterator<Item = Check> {
    let unattached = Symbol::ALL.into_iter().filter_map(|symbol| {
        let probe = probes.iter().find(|probe| probe.symbol == symbol.name() && probe.attached.is_none())?;
        let reasons: Vec<_> =
            probe.refused.iter().map(|refusal| format!("{}: {}", refusal.rung, refusal.reason)).collect();
        Some((symbol, if reasons.is_empty() { "not attached".to_owned() } else { reasons.join("; ") }))
    });
    unattached.map(|(symbol, reasons)| {
        let remedy = "what is said above, if anything; else another kernel";
        Check::failed(symbol.name(), reasons, remedy, symbol.without_it())
    })
}

/// What has this rung, and does not attach on it.
fn not_attached(status: &[ProbeStatus], kinds: &[Rung]) -> Option<String> {
    let lines: Vec<_> = Symbol::ALL
        .iter()
        .filter(|symbol| symbol.rungs().iter().any(|rung| kinds.contains(rung)))
        .filter_map(|symbol| status.iter().find(|probe| probe.symbol == symbol.name() && probe.attached.is_none()))
        .map(|probe| {
            let reasons: Vec<_> = probe.refused.iter().map(|refusal| refusal.reason.as_str()).collect();
            format!("without {}: {}", probe.symbol, reasons.join("; "))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
