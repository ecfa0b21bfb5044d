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
        words::{listed, one_line, pod_name, size},
    },
    Context,
    case::Case,
    named, shown,
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
                crossed.missing.push(
                    "which of these evictions was for which signal: the kubelet's counter has the sums".to_owned(),
                );
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
    let mut missing = vec![
        "for which resource, and which signal: the kubelet's log from before (\"attempting to reclaim\"), or the pod's status or event (--pods)"
            .to_owned(),
    ];
    if disk_pressure(context, evicted) {
        missing.push("whether it was for disk space, as the node had disk pressure at about that time".to_owned());
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
fn steps(evicted: &Evicted) -> impl Iterator<Item = (i64, &Eviction)> {
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
            missing.push("which limit on storage it was: the pod's status or event (--pods)".to_owned());
            Confidence::Medium
        }
        ReportedBy::Inference => {
            missing.push(
                "which signal crossed its threshold: the kubelet's metrics (--kubelet-metrics), or its log at verbosity 3"
                    .to_owned(),
            );
            Confidence::Low
        }
        _ if !of_memory => Confidence::High,
        ReportedBy::Pressure => Confidence::Medium,
        _ => match other_was_crossed(evicted, &signal) {
            Some(false) => Confidence::High,
            Some(true) => {
                missing.push(
                    "which came first: both signals of memory were below their thresholds, and which of them the kubelet blames is chance"
                        .to_owned(),
                );
                Confidence::Medium
            }
            None => {
                missing.push(
                    "whether the other signal of memory was below its threshold, too, for then the kubelet blames either: its log at verbosity 3"
                        .to_owned(),
                );
                Confidence::Medium
            }
        },
    };
    if available_bytes.is_none() && of_memory {
        missing.push(
            "how much was available: the pod's status or event (--pods), or the kubelet's log at verbosity 3"
                .to_owned(),
        );
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

/// What events and statuses say of an eviction.
pub(super) fn notices<'a>(context: &Context<'a>, evicted: &Evicted) -> Vec<&'a EvictionNotice> {
    context
        .known
        .snapshot
        .evictions
        .iter()
        .filter(|notice| !notice.refused)
        .filter(|notice| context.names.key(Some(&notice.pod), None, evicted.at).as_ref() == Some(&evicted.pod))
        .collect()
}

pub(super) fn judge(case: &Case<'_>, context: &Context<'_>, signal: Option<&Crossed>) -> Incident {
    let (Some(evicted), Some(crossed)) = (case.evicted, signal) else { return Incident::default() };
    let pod = named(context, case.pod.as_ref());
    let containers = shown::affected(case, context);
    let mut missing = crossed.missing.clone();
    if pod.as_ref().is_none_or(|pod| pod.uid.is_none()) {
        missing.push("the pod's uid: --pods, or the kubelet's log at verbosity 2".to_owned());
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
        summary: summary(case, context, crossed, pod.as_ref(), &containers),
        advice: advice_for(crossed),
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

fn summary(
    case: &Case<'_>,
    context: &Context<'_>,
    crossed: &Crossed,
    pod: Option<&oomtrace_model::Pod>,
    containers: &[oomtrace_model::AffectedContainer],
) -> String {
    let name = pod_name(pod).map_or_else(|| "a pod".to_owned(), |name| format!("pod {name}"));
    let amounts = match (crossed.available_bytes, crossed.threshold_bytes) {
        (Some(available), Some(threshold)) => {
            format!(" ({} available, threshold {})", size(available), size(threshold))
        }
        (Some(available), None) => format!(" ({} available)", size(available)),
        (None, Some(threshold)) => format!(" (threshold {})", size(threshold)),
        (None, None) => counts(case, context).map_or_else(String::new, |(available, threshold)| {
            format!(" ({available} available, threshold {threshold})")
        }),
    };
    let why = match crossed.scenario() {
        Scenario::AllocatableEvicted => format!("all pods together used too much of what is allocatable{amounts}"),
        Scenario::NodePressureEvicted => {
            format!("the node's available memory fell below the eviction threshold{amounts}")
        }
        Scenario::Evicted => "of a shortage that nothing at hand names".to_owned(),
        _ => match own_limit(case, context) {
            Some(words) => {
                format!("it exceeded a limit of its own on storage ({words}); the node was not low on memory")
            }
            None if crossed.from == Some(ReportedBy::Inference) => {
                "it exceeded a limit of its own on storage: no threshold of the node was met".to_owned()
            }
            None => format!("the node was short of {}{amounts}, not of memory", resource_in_words(crossed)),
        },
    };
    let why = if crossed.from == Some(ReportedBy::Inference) { format!("most likely {why}") } else { why };
    let each: Vec<String> = containers
        .iter()
        .filter_map(|container| {
            let name = container.container.name.clone()?;
            Some(match (container.usage_bytes, container.request_bytes) {
                (Some(used), Some(0)) => format!("{name} used {} and requests nothing", size(used)),
                (Some(used), Some(request)) => format!("{name} used {} of a request of {}", size(used), size(request)),
                (Some(used), None) => format!("{name} used {}", size(used)),
                // The name alone is the incident's.
                (None, _) => return None,
            })
        })
        .collect();
    let containers = if each.is_empty() { String::new() } else { format!(": {}", listed(&each)) };
    let rank = rank(case, context).map_or_else(String::new, |(place, of)| {
        if of > 1 { format!(", number {place} of {of} in its ranking,") } else { String::new() }
    });
    format!("The kubelet evicted {name}{rank} because {why}{containers}.")
}

/// What the node was short of; the kubelet names inodes and process ids by what it frees of them.
fn resource_in_words(crossed: &Crossed) -> String {
    let resource = crossed.signal.as_deref().unwrap_or("disk space");
    match resource {
        "pids" => "process ids".to_owned(),
        "nodefs" => "disk space on its root filesystem (nodefs)".to_owned(),
        "imagefs" => "disk space for images (imagefs)".to_owned(),
        "nodefsInodes" => "inodes on its root filesystem (nodefsInodes)".to_owned(),
        "imagefsInodes" => "inodes for images (imagefsInodes)".to_owned(),
        resource => resource.to_owned(),
    }
}

/// What was available of inodes or process ids, and the threshold, as the pod's message has them.
fn counts(case: &Case<'_>, context: &Context<'_>) -> Option<(String, String)> {
    let evicted = case.evicted?;
    let of_lines = steps(evicted).filter_map(|(_, step)| step.message.as_deref());
    let of_files = notices(context, evicted).into_iter().map(|notice| notice.message.as_str());
    of_lines.chain(of_files).find_map(|message| {
        let (_, rest) = message.split_once("Threshold quantity: ")?;
        let (threshold, rest) = rest.split_once(", available: ")?;
        let available = rest.split(". ").next()?.trim_end_matches('.');
        Some((one_line(available), one_line(threshold)))
    })
}

/// A pod's own limit that it was evicted for, in the kubelet's words (`localStorageEviction`, `eviction_manager.go`).
fn own_limit(case: &Case<'_>, context: &Context<'_>) -> Option<String> {
    let evicted = case.evicted?;
    let of_lines = steps(evicted).filter_map(|(_, step)| step.message.clone());
    let of_files = notices(context, evicted).into_iter().map(|notice| notice.message.clone());
    let mut words = of_lines.chain(of_files).filter(|message| !message.starts_with("The node was low on resource"));
    words.next().map(|words| one_line(words.trim().trim_end_matches('.')))
}

/// The pod's place among those that were ranked.
fn rank(case: &Case<'_>, context: &Context<'_>) -> Option<(usize, usize)> {
    let evicted = case.evicted?;
    let (at, ranked) = steps(evicted).filter(|(_, step)| step.phase == EvictionPhase::Ranked).last()?;
    let place = ranked
        .pods
        .iter()
        .position(|pod| context.names.key(Some(pod), None, at + SECOND).as_ref() == Some(&evicted.pod))?;
    Some((place + 1, ranked.pods.len()))
}

fn advice_for(crossed: &Crossed) -> String {
    let threshold = crossed.threshold_bytes.map_or_else(String::new, |bytes| format!(" of {}", size(bytes)));
    match crossed.scenario() {
        Scenario::Killed if crossed.signal.as_deref() == Some("pids") => {
            return "Not memory: look at which pods have many processes or threads, and limit them (podPidsLimit of the kubelet)."
                .to_owned();
        }
        Scenario::Killed
            if crossed.signal.as_deref().is_some_and(|signal| signal.to_lowercase().contains("inodes")) =>
        {
            return "Not memory, nor disk space: look for many small files in the pod's writable layer, its emptyDir volumes and on the node."
                .to_owned();
        }
        Scenario::Killed => {
            return "Not memory: look at what the pod writes to its writable layer, its logs and its emptyDir volumes, and at the limits on them (ephemeral-storage, sizeLimit)."
                .to_owned();
        }
        Scenario::Evicted => {
            return "Find out for which resource first: the pod's status and event say it (kubectl describe pod), and so does the kubelet's log just before."
                .to_owned();
        }
        _ => {}
    }
    let what = if crossed.from == Some(ReportedBy::Inference) {
        format!(
            "The node's available memory, or what is left of all that pods may use, came below the eviction threshold{threshold}. "
        )
    } else if crossed.scenario() == Scenario::AllocatableEvicted {
        format!("Pods together came closer than the threshold{threshold} to all that they may use on this node. ")
    } else {
        format!("The node, its system services included, came below the threshold{threshold} of available memory. ")
    };
    format!("{what}{}", advice())
}

/// What keeps a pod from being chosen.
pub(super) fn advice() -> String {
    "The kubelet takes pods first that use more than they request: request what the pod really uses (then the scheduler does not overfill the node), limit the pods that grow, or give the pod a higher priority.".to_owned()
}
