//! Verdicts on evictions, and which signal it was.
//!
//! At its default verbosity the kubelet's log does not say which signal crossed its threshold. In this order:
//!
//! 1. the line itself, where it has the signal;
//! 2. what the kubelet observed in the same pass (verbosity 3), where one signal alone is below its threshold. Where both
//!    are, the kubelet takes either, and the order of its lines tells which: the reader of its log knows;
//! 3. the kubelet's counter `kubelet_evictions`, where it counted one of the two alone: over all, or, live, since it was read
//!    before;
//! 4. a soft threshold of the node's memory that was met for long enough: `addAllocatableThresholds` copies hard ones alone;
//! 5. oomtrace's own readings of the node's memory;
//! 6. where it was for memory: the likelier one, with low confidence.
//!
//! Where both are below their thresholds, which of the two the kubelet blames, in its log, its message and its counter, is the
//! random order of a Go map (`thresholdsMet`, `eviction/helpers.go`): only the amounts at that moment make it sure.
//!
//! A grace period says nothing of the kind of threshold: before 1.29 the kubelet gives a pod its own grace period for a hard
//! one, too (kubernetes#115819).

use std::collections::{BTreeMap, BTreeSet};

use oomtrace_model::{
    Confidence, Event, Eviction, EvictionPhase, Incident, Level, ReportedBy, Scenario, Verdict,
    snapshot::EvictionNotice,
};

use super::{
    super::{
        evidence::Evicted,
        windows::{COUNTED, PASS, PICTURE, SECOND, SOFT},
    },
    Context,
    case::Case,
    named,
    sentences::{self, missing::Missing},
    shown,
};

/// What the node's memory is called.
const NODE: &str = "memory.available";
/// What the memory of all pods together is called.
const ALLOCATABLE: &str = "allocatableMemory.available";
/// What a pod's own limits on storage are on.
const STORAGE: &str = "ephemeral-storage";

/// The signal of an eviction, and what is known of it.
pub(super) struct Crossed {
    /// `None` where nothing names the resource.
    pub(super) signal: Option<String>,
    pub(super) from: Option<ReportedBy>,
    pub(super) confidence: Confidence,
    pub(super) missing: Vec<String>,
    pub(super) threshold_bytes: Option<u64>,
    pub(super) available_bytes: Option<u64>,
    pub(super) amounts_from: Option<ReportedBy>,
    pub(super) threshold_from: Option<ReportedBy>,
}

impl Crossed {
    pub(super) fn scenario(&self) -> Scenario {
        match self.signal.as_deref() {
            Some(NODE) => Scenario::NodePressureEvicted,
            Some(ALLOCATABLE) => Scenario::AllocatableEvicted,
            // For disk space, pids: not for memory.
            Some(_) => Scenario::Killed,
            None => Scenario::Evicted,
        }
    }
}

/// The signal of each case that has an eviction, by the case's index.
pub(super) fn signals(context: &Context<'_>, cases: &[Case<'_>]) -> BTreeMap<usize, Crossed> {
    let evicted: Vec<_> = cases.iter().enumerate().filter_map(|(index, case)| Some((index, case.evicted?))).collect();
    let mut reported: BTreeMap<usize, (String, ReportedBy)> = BTreeMap::new();
    for (index, evicted) in &evicted {
        if let Some(signal) = by_log(evicted) {
            reported.insert(*index, signal);
        }
    }
    // What the counter has more than the log has reported.
    let mut left = context.known.evictions_by_signal.clone();
    for (signal, _) in reported.values() {
        if let Some(count) = left.get_mut(signal) {
            *count = count.saturating_sub(1);
        }
    }
    let memory: Vec<_> =
        [NODE, ALLOCATABLE].into_iter().filter(|signal| left.get(*signal).is_some_and(|count| *count > 0)).collect();
    // It counted both, and as many as there are: which was for which is a guess.
    let mut undecided: Vec<_> = evicted
        .iter()
        .filter(|(index, evicted)| !reported.contains_key(index) && evicted.memory != Some(false))
        .map(|(index, evicted)| (evicted.at, *index))
        .collect();
    undecided.sort_unstable();
    let counted = |signal: &str| left.get(signal).copied().unwrap_or(0);
    let shared = memory.len() == 2 && counted(NODE) + counted(ALLOCATABLE) == undecided.len() as u64;
    // It counted others, too: then an eviction of which no line names the resource may be one of those.
    let others = left.iter().any(|(signal, count)| ![NODE, ALLOCATABLE].contains(&signal.as_str()) && *count > 0);
    let first: BTreeSet<usize> = undecided.iter().zip(0..counted(ALLOCATABLE)).map(|((_, index), _)| *index).collect();
    evicted
        .into_iter()
        .map(|(index, evicted)| {
            let reported = reported.remove(&index).or_else(|| match memory[..] {
                _ if evicted.memory == Some(false) => Some(resource(context, evicted)),
                _ if evicted.memory.is_none() && others => None,
                [only] => Some((only.to_owned(), ReportedBy::Metrics)),
                _ if shared => {
                    Some((if first.contains(&index) { ALLOCATABLE } else { NODE }.to_owned(), ReportedBy::Metrics))
                }
                _ => None,
            });
            let reported = reported.or_else(|| Some((by_count(context, evicted)?, ReportedBy::Metrics)));
            let memory = evicted.memory == Some(true);
            let reported =
                reported.or_else(|| Some((by_soft_threshold(evicted).filter(|_| memory)?, ReportedBy::SoftThreshold)));
            let reported = reported
                .or_else(|| Some((by_readings(context, evicted).filter(|_| memory)?.to_owned(), ReportedBy::Pressure)));
            let reported = reported.or_else(|| memory.then(|| likelier(context, evicted)));
            let Some((signal, from)) = reported else { return (index, unknown(context, evicted)) };
            let mut crossed = crossed(context, evicted, signal, from);
            if shared && from == ReportedBy::Metrics {
                crossed.confidence = Confidence::Low;
                crossed.missing.push(Missing::WhichEviction.text());
            }
            (index, crossed)
        })
        .collect()
}

/// What an eviction was for that was not for memory. Where no line names it and no threshold was met, it was a pod's own
/// limit on storage: every other eviction is for a threshold.
fn resource(context: &Context<'_>, evicted: &Evicted) -> (String, ReportedBy) {
    if let Some(resource) = steps(evicted).find_map(|(_, step)| step.resource.clone()) {
        return (resource, ReportedBy::Log);
    }
    match notices(context, evicted).into_iter().find_map(|notice| notice.resource.clone()) {
        Some(resource) => (resource, ReportedBy::Status),
        None => (STORAGE.to_owned(), ReportedBy::Inference),
    }
}

/// What is known of an eviction that nothing names the resource of.
fn unknown(context: &Context<'_>, evicted: &Evicted) -> Crossed {
    let mut missing = vec![Missing::Resource.text()];
    if disk_pressure(context, evicted) {
        missing.push(Missing::DiskPressure.text());
    }
    Crossed {
        signal: None,
        from: None,
        confidence: Confidence::Low,
        missing,
        threshold_bytes: None,
        available_bytes: None,
        amounts_from: None,
        threshold_from: None,
    }
}

/// Whether the kubelet said at about that time that the node is short of disk space.
fn disk_pressure(context: &Context<'_>, evicted: &Evicted) -> bool {
    context.evidence.disk_pressure.iter().any(|at| (evicted.at - SOFT..=evicted.ending + SOFT).contains(at))
}

/// Every step that belongs to an eviction.
pub(super) fn steps(evicted: &Evicted) -> impl Iterator<Item = (i64, &Eviction)> {
    evicted.pass.iter().chain(&evicted.lines).filter_map(|(at, line)| match &line.event {
        Event::Eviction(step) => Some((*at, &**step)),
        _ => None,
    })
}

fn by_log(evicted: &Evicted) -> Option<(String, ReportedBy)> {
    let said = |phases: &[EvictionPhase]| {
        steps(evicted).filter(|(_, step)| phases.contains(&step.phase)).find_map(|(_, step)| step.signal.clone())
    };
    if let Some(signal) =
        said(&[EvictionPhase::Evicting, EvictionPhase::Evicted, EvictionPhase::MustEvict, EvictionPhase::ThresholdMet])
    {
        return Some((signal, ReportedBy::Log));
    }
    let crossed: BTreeSet<&str> =
        observations(evicted).filter(|observed| observed.crossed).map(|observed| observed.signal).collect();
    let only = crossed.first().filter(|_| crossed.len() == 1)?;
    Some(((*only).to_owned(), ReportedBy::Observation))
}

/// The counter that went up just after the pod was evicted (`evictPod`, then `metrics.Evictions`, `eviction_manager.go`): of
/// memory's two one alone.
fn by_count(context: &Context<'_>, evicted: &Evicted) -> Option<String> {
    let done = steps(evicted)
        .find(|(_, step)| {
            matches!(step.phase, EvictionPhase::Evicted | EvictionPhase::Failed | EvictionPhase::AwaitingCleanup)
        })
        .map_or(evicted.ending, |(at, _)| at);
    let after = context.evidence.counted.iter().filter(|(at, _)| (done - SECOND..=done + COUNTED).contains(at));
    // Where no line names the resource, it may be any that was counted.
    let after = after.filter(|(_, step)| evicted.memory.is_none() || step.memory == Some(true));
    let signals: BTreeSet<&str> = after.filter_map(|(_, step)| step.signal.as_deref()).collect();
    signals.first().filter(|_| signals.len() == 1).map(|signal| (*signal).to_owned())
}

/// A soft threshold of the node's memory that was met before, and now for long enough.
fn by_soft_threshold(evicted: &Evicted) -> Option<String> {
    soft(evicted).filter_map(|step| step.signal.as_deref()).find(|signal| *signal == NODE).map(str::to_owned)
}

/// Where its grace period was not over by then, it was a hard one that the pod was evicted for.
fn soft(evicted: &Evicted) -> impl Iterator<Item = &Eviction> {
    let over = |at: i64, step: &Eviction| {
        let met_for = step.met_for_ms.zip(u64::try_from(evicted.at - at + 2 * SECOND).ok());
        let lasted = met_for.map(|(met_for, since)| met_for + since / 1_000_000);
        step.grace_period_ms.zip(lasted).is_none_or(|(grace, lasted)| lasted >= grace)
    };
    steps(evicted)
        .filter(move |(at, step)| step.phase == EvictionPhase::GracePeriodNotMet && over(*at, step))
        .map(|(_, step)| step)
}

struct Observed<'a> {
    signal: &'a str,
    /// Both what was available and the threshold are known.
    compared: bool,
    crossed: bool,
    threshold_bytes: Option<u64>,
    available_bytes: Option<u64>,
}

/// What was observed of memory in the pass of an eviction. Some lines have the threshold, some only what was available.
fn observations(evicted: &Evicted) -> impl Iterator<Item = Observed<'_>> {
    let threshold = steps(evicted).find_map(|(_, step)| step.threshold_bytes);
    steps(evicted).filter(|(_, step)| step.phase == EvictionPhase::Observed).filter_map(move |(_, step)| {
        let signal = step.signal.as_deref().filter(|signal| [NODE, ALLOCATABLE].contains(signal))?;
        let threshold_bytes = step.threshold_bytes.or(threshold);
        let crossed =
            threshold_bytes.zip(step.available_bytes).is_some_and(|(threshold, available)| available < threshold);
        let compared = threshold_bytes.is_some() && step.available_bytes.is_some();
        Some(Observed {
            signal,
            compared,
            crossed,
            threshold_bytes: step.threshold_bytes,
            available_bytes: step.available_bytes,
        })
    })
}

/// From readings of the node's memory just before: what was available there against the threshold.
fn by_readings(context: &Context<'_>, evicted: &Evicted) -> Option<&'static str> {
    let (threshold, _) = threshold(context, evicted, NODE)?;
    let before = evicted.at - PICTURE..=evicted.at + PASS;
    let available =
        context.evidence.pictures.iter().rev().filter(|picture| before.contains(&picture.at)).find_map(|picture| {
            match &picture.line.event {
                Event::Pressure(pressure) if pressure.level == Some(Level::Node) => pressure.available_bytes,
                _ => None,
            }
        })?;
    Some(if available < threshold { NODE } else { ALLOCATABLE })
}

/// Nothing says which. Pods can only exceed allocatable first where much of the node is reserved, or where the threshold is a
/// large part of it: else the system's own use takes `memory.available` below the threshold first. Where both are below, the
/// kubelet blames either.
fn likelier(context: &Context<'_>, evicted: &Evicted) -> (String, ReportedBy) {
    let threshold = threshold(context, evicted, NODE).map(|(threshold, _)| threshold);
    let snapshot = &context.known.snapshot;
    let started_with = context.node.thresholds.at(evicted.at).iter().find_map(|threshold| threshold.reserved_bytes);
    let by_node = || {
        let (capacity, allocatable) = snapshot.capacity_bytes.zip(snapshot.allocatable_bytes)?;
        Some(capacity.saturating_sub(allocatable).saturating_sub(threshold?))
    };
    let node = match (started_with.or_else(by_node), snapshot.capacity_bytes, threshold) {
        // Then the two have one threshold, and the node uses at least as much as its pods.
        (Some(0), ..) => true,
        (Some(reserved), Some(capacity), Some(threshold)) => reserved + threshold < capacity / 20,
        _ => false,
    };
    (if node { NODE } else { ALLOCATABLE }.to_owned(), ReportedBy::Inference)
}

fn crossed(context: &Context<'_>, evicted: &Evicted, signal: String, from: ReportedBy) -> Crossed {
    let (_, available_bytes, amounts_from) = amounts(context, evicted, &signal);
    let (threshold_bytes, threshold_from) = threshold(context, evicted, &signal).unzip();
    let amounts_from = amounts_from.or(threshold_from);
    let mut missing = Vec::new();
    let of_memory = [NODE, ALLOCATABLE].contains(&signal.as_str());
    let confidence = match from {
        ReportedBy::Inference if !of_memory => {
            missing.push(Missing::StorageLimit.text());
            Confidence::Medium
        }
        ReportedBy::Inference => {
            missing.push(Missing::Signal.text());
            Confidence::Low
        }
        _ if !of_memory => Confidence::High,
        ReportedBy::Pressure => Confidence::Medium,
        _ => match other_was_crossed(evicted, &signal) {
            Some(false) => Confidence::High,
            Some(true) => {
                missing.push(Missing::FirstSignal.text());
                Confidence::Medium
            }
            None => {
                missing.push(Missing::OtherSignal.text());
                Confidence::Medium
            }
        },
    };
    if available_bytes.is_none() && of_memory {
        missing.push(Missing::Amounts.text());
    }
    let (signal, from) = (Some(signal), Some(from));
    Crossed { signal, from, confidence, missing, threshold_bytes, available_bytes, amounts_from, threshold_from }
}

/// Whether the other of memory's two signals was below its threshold in the same pass.
fn other_was_crossed(evicted: &Evicted, signal: &str) -> Option<bool> {
    let of_other = observations(evicted).filter(|observed| observed.signal != signal && observed.compared);
    of_other.map(|observed| observed.crossed).reduce(|one, other| one || other)
}

/// Threshold and what was available: from the line about the pod, from its event or status, from what was observed.
fn amounts(context: &Context<'_>, evicted: &Evicted, signal: &str) -> (Option<u64>, Option<u64>, Option<ReportedBy>) {
    let mut of_pod = steps(evicted)
        .filter(|(_, step)| step.phase != EvictionPhase::Observed && step.phase != EvictionPhase::GracePeriodNotMet);
    let by_log = of_pod.find_map(|(_, step)| Some((step.threshold_bytes, Some(step.available_bytes?))));
    if let Some((threshold, available)) = by_log {
        return (threshold, available, Some(ReportedBy::Log));
    }
    if let Some(notice) = notices(context, evicted).into_iter().find(|notice| notice.available_bytes.is_some()) {
        return (notice.threshold_bytes, notice.available_bytes, Some(ReportedBy::Status));
    }
    let observed: Vec<_> = observations(evicted).filter(|observed| observed.signal == signal).collect();
    // The line with the threshold repeats what was observed of it.
    let best = observed.iter().find(|observed| observed.threshold_bytes.is_some()).or(observed.first());
    match best {
        Some(observed) => (observed.threshold_bytes, observed.available_bytes, Some(ReportedBy::Observation)),
        None => (None, None, None),
    }
}

/// The threshold: reported with what was available, or of a soft one by the lines that it was met for too short a time, or else
/// the hard one that the kubelet was started with.
fn threshold(context: &Context<'_>, evicted: &Evicted, signal: &str) -> Option<(u64, ReportedBy)> {
    if let (Some(threshold), _, Some(from)) = amounts(context, evicted, signal) {
        return Some((threshold, from));
    }
    if ![NODE, ALLOCATABLE].contains(&signal) {
        return None;
    }
    let observed = steps(evicted).filter(|(_, step)| step.signal.as_deref() == Some(signal));
    let capacity = observed.filter_map(|(_, step)| step.capacity_bytes).last();
    // What all pods may use is less.
    let capacity = capacity.or(context.known.snapshot.capacity_bytes.filter(|_| signal == NODE));
    let bytes = |step: &Eviction| step.threshold_bytes.or_else(|| step.threshold_of(capacity?));
    if let Some(soft) = soft(evicted).filter(|step| step.signal.as_deref() == Some(signal)).last() {
        return Some((bytes(soft)?, ReportedBy::SoftThreshold));
    }
    let hard = context.node.thresholds.at(evicted.at);
    let named = |name: &str| hard.iter().find(|threshold| threshold.signal.as_deref() == Some(name));
    // The kubelet copies the node's for what is allocatable (`addAllocatableThresholds`, `helpers.go`).
    Some((bytes(named(signal).or_else(|| named(NODE))?)?, ReportedBy::Configuration))
}

/// What events and statuses say of an eviction. Of pods without a name there may be several: the containers tell which it is.
pub(super) fn notices<'a>(context: &Context<'a>, evicted: &Evicted) -> Vec<&'a EvictionNotice> {
    let nameless = evicted.lines.iter().find_map(|(_, line)| match &line.event {
        Event::Eviction(step) if step.pod.as_ref()?.is_nameless() => Some(step),
        _ => None,
    });
    let is_it = |notice: &EvictionNotice| nameless.is_none_or(|step| step.containers == notice.containers);
    context
        .known
        .snapshot
        .evictions
        .iter()
        .filter(|notice| !notice.refused)
        .filter(|notice| context.names.key(Some(&notice.pod), None, evicted.at).as_ref() == Some(&evicted.pod))
        .filter(|notice| is_it(notice))
        .collect()
}

pub(super) fn judge(case: &Case<'_>, context: &Context<'_>, signal: Option<&Crossed>) -> Incident {
    let (Some(evicted), Some(crossed)) = (case.evicted, signal) else { return Incident::default() };
    let pod = named(context, case.pod.as_ref());
    let containers = shown::affected(case, context);
    let mut missing = crossed.missing.clone();
    if pod.as_ref().is_none_or(|pod| pod.uid.is_none()) {
        missing.push(Missing::PodUid.text());
    }
    let container = match &containers[..] {
        [only] => Some(only.container.clone()),
        _ => None,
    };
    let shown = context.names.record(&evicted.pod).and_then(|record| record.reason.as_deref());
    let evidence = evicted.pass.iter().chain(&evicted.lines).filter(|(_, line)| {
        matches!(&line.event, Event::Eviction(step) if !matches!(step.phase, EvictionPhase::NodeConditions))
    });
    let verdict = Verdict {
        scenario: crossed.scenario(),
        also: None,
        invisible: Some(false),
        group_kill: Some(false),
        innocent: None,
        bystander: None,
        summary: sentences::eviction::summary(case, context, crossed, pod.as_ref(), &containers),
        advice: sentences::eviction::advice_for(crossed),
        confidence: crossed.confidence,
        missing,
        evidence: evidence.map(|(_, line)| line.seq).take(16).collect(),
        // A pod whose containers all exited with 0 is shown as one that is done.
        kubernetes_shows: vec![if shown == Some("Completed") { "Completed" } else { "Evicted" }.to_owned()],
        kubernetes_shows_seen: matches!(shown, Some("Evicted" | "Completed")),
        signal: crossed.signal.clone(),
        signal_from: crossed.from,
        threshold_bytes: crossed.threshold_bytes,
        available_bytes: crossed.available_bytes,
        amounts_from: crossed.amounts_from,
        threshold_from: crossed.threshold_from,
        ..Verdict::default()
    };
    Incident {
        pod,
        container,
        containers,
        verdict,
        deaths: case.deaths.len() as u64,
        evicted: true,
        ..Incident::default()
    }
}
