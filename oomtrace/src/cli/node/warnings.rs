//! What makes an OOM kill likely on a node.

use super::{
    budget::share_gap,
    order::over_request,
    report::{Readings, Report},
};
use crate::{
    node::{budget::together, node_object::NodeObject, race},
    quantity::size,
    sink::escape,
};

/// Limits together of more than this many times the capacity are far over it.
const FAR_OVER: u64 = 2;
/// Use beyond requests of more than this part of what is allocatable is far beyond them.
const FAR_BELOW: u64 = 10;
/// How many pods a warning names.
const NAMED: usize = 3;

/// All of them.
pub(super) fn of(report: &Report, readings: &Readings<'_>) -> Vec<String> {
    let checks: [fn(&Report, &Readings<'_>) -> Option<String>; 14] = [
        no_threshold,
        no_reservation,
        not_started,
        not_enforced,
        shares,
        threshold_and_growth,
        limits,
        requests,
        panics,
        allocating_task,
        overcommit,
        swap,
        differences,
        old_kubelet,
    ];
    checks.into_iter().filter_map(|check| check(report, readings)).collect()
}

fn no_threshold(report: &Report, _: &Readings<'_>) -> Option<String> {
    let budget = &report.budget;
    (budget.configured && budget.hard_bytes.is_none() && budget.soft.value.is_none()).then(|| {
        let from = budget.hard.from.as_deref().unwrap_or("the configuration");
        format!(
            "No threshold of memory.available ({from}): this node never evicts for memory, only the kernel acts. Give the \
             kubelet evictionHard with memory.available, 100Mi or more."
        )
    })
}

fn no_reservation(report: &Report, _: &Readings<'_>) -> Option<String> {
    (report.budget.reserved_bytes == Some(0)).then(|| {
        let system = report.budget.node_working_set_bytes.zip(report.budget.pods_working_set_bytes);
        let used = system.and_then(|(node, pods)| node.checked_sub(pods));
        let used = used.map_or_else(String::new, |used| format!("; what is outside of pods uses {} now", size(used)));
        format!(
            "Nothing is reserved (kubeReserved, systemReserved): pods may use all of the node, and the kubelet, the runtime and \
             the system compete with them{used}."
        )
    })
}

fn not_started(report: &Report, _: &Readings<'_>) -> Option<String> {
    (!report.budget.valid).then(|| {
        "Reservations and threshold together exceed the capacity: a kubelet with this configuration does not start."
            .to_owned()
    })
}

fn not_enforced(report: &Report, _: &Readings<'_>) -> Option<String> {
    (!report.budget.enforces_pods()).then(|| {
        "enforceNodeAllocatable lacks pods: the limit of kubepods is the whole node, reservations are only counted, and there \
         is no threshold of allocatableMemory.available."
            .to_owned()
    })
}

fn shares(report: &Report, _: &Readings<'_>) -> Option<String> {
    share_gap(&report.budget).map(|gap| {
        format!(
            "The threshold is a percentage: of the capacity for allocatable, of kubepods' limit for eviction of pods. Pods are \
             evicted {} later than allocatable says.",
            size(gap)
        )
    })
}

fn threshold_and_growth(report: &Report, _: &Readings<'_>) -> Option<String> {
    let hard = report.budget.hard_bytes?;
    let fastest = race::fastest_seen(hard);
    let rates = report.now.signals.iter().filter_map(|signal| Some((signal.signal, signal.race?.bytes_per_second)));
    let (signal, rate) = rates.filter(|(_, rate)| *rate > fastest).max_by(|one, other| one.1.total_cmp(&other.1))?;
    Some(format!(
        "The threshold of {} is less than ten seconds of growth need: {signal} falls by {}/s now, and the kubelet looks every \
         10 s. The kernel acts first above {}/s.",
        size(hard),
        size(whole(rate)),
        size(whole(fastest))
    ))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below zero is nothing")]
pub(super) fn whole(rate: f64) -> u64 {
    rate.max(0.0) as u64
}

fn limits(report: &Report, _: &Readings<'_>) -> Option<String> {
    let capacity = report.budget.capacity.bytes?;
    let limits = together(report.pods.iter().filter_map(|pod| pod.limit_bytes));
    let without = report.pods.iter().filter(|pod| pod.limit_bytes.is_none()).count();
    (limits > capacity.saturating_mul(FAR_OVER)).then(|| {
        let more = if without > 0 { format!(", and {without} pods have none") } else { String::new() };
        format!(
            "Limits of pods together are {}, {} times the capacity{more}: pods that all use what they may run the node out of \
             memory.",
            size(limits),
            limits / capacity.max(1)
        )
    })
}

fn requests(report: &Report, _: &Readings<'_>) -> Option<String> {
    let allocatable = report.budget.allocatable.bytes?;
    let over = over_request(&report.pods);
    let sum = together(over.iter().map(|(_, bytes)| *bytes));
    (sum > allocatable / FAR_BELOW).then(|| {
        let named: Vec<_> =
            over.iter().take(NAMED).map(|(pod, bytes)| format!("{} by {}", escape(&pod.name), size(*bytes))).collect();
        format!(
            "Pods use {} more than they request ({}): the scheduler takes the node for emptier than it is.",
            size(sum),
            named.join(", ")
        )
    })
}

fn panics(report: &Report, _: &Readings<'_>) -> Option<String> {
    let set = report.kernel.panic_on_oom.filter(|set| *set != 0)?;
    Some(format!(
        "vm.panic_on_oom is {set}: a node-wide OOM stops the node{} instead of a process. The kubelet wants 0.",
        if set == 2 { ", and so does one of a cgroup's," } else { "" }
    ))
}

fn allocating_task(report: &Report, _: &Readings<'_>) -> Option<String> {
    report.kernel.oom_kill_allocating_task.filter(|set| *set != 0).map(|_| {
        "vm.oom_kill_allocating_task is set: in a node-wide OOM the process that asks for memory is killed, and the order \
         below does not hold."
            .to_owned()
    })
}

fn overcommit(report: &Report, _: &Readings<'_>) -> Option<String> {
    let mode = report.overcommit.mode.filter(|mode| *mode != 1)?;
    let refuses = match mode {
        0 => "the kernel refuses single requests that are absurdly large",
        _ => "the kernel refuses memory beyond CommitLimit with ENOMEM, and programs end by themselves",
    };
    Some(format!("vm.overcommit_memory is {mode}: {refuses}. The kubelet sets it to 1 at its start."))
}

fn swap(report: &Report, _: &Readings<'_>) -> Option<String> {
    let total = report.swap.total_bytes.filter(|total| *total > 0)?;
    (report.swap.unlimited_containers > 0).then(|| {
        format!(
            "The node has {} of swap, and {} containers have no limit of it (memory.swap.max is max): they slow the node down \
             before anybody acts. Eviction does not look at swap.",
            size(total),
            report.swap.unlimited_containers
        )
    })
}

fn differences(report: &Report, _: &Readings<'_>) -> Option<String> {
    let budget = &report.budget;
    let differ = |figure: &super::budget::Figure| figure.others.iter().any(|other| Some(other.value) != figure.bytes);
    let which: Vec<_> = [
        ("capacity", &budget.capacity),
        ("allocatable", &budget.allocatable),
        ("the limit of kubepods", &budget.kubepods_limit),
    ]
    .into_iter()
    .filter(|(_, figure)| differ(figure))
    .map(|(name, _)| name)
    .collect();
    (!which.is_empty()).then(|| {
        format!(
            "Sources differ about {}: the configuration may be newer than the kubelet's start, or is not the one that it \
             runs with.",
            which.join(" and ")
        )
    })
}

fn old_kubelet(report: &Report, readings: &Readings<'_>) -> Option<String> {
    // 1.20 on cgroup v2 finds no memory.current in the root cgroup.
    let said = readings.summary.and_then(|summary| summary.node.memory.as_ref()?.usage_bytes);
    let old = readings.object.and_then(NodeObject::minor_version).is_some_and(|minor| (1..22).contains(&minor));
    (readings.survey.cgroup_version == Some(2) && (said == Some(0) || old)).then(|| {
        format!(
            "This kubelet{} takes the node's use for 0 on cgroup v2, so that its memory.available is always the capacity: it can \
             evict only for allocatableMemory.available.",
            report.kubelet_version.as_deref().map_or_else(String::new, |version| format!(" ({version})"))
        )
    })
}
