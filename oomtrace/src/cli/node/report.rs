//! What `oomtrace node` says, made from what was read. Reads nothing itself.

use serde::Serialize;

use super::{
    budget::Budget,
    guarantees::{self, Guarantee},
    order,
};
use crate::node::{
    budget,
    cgroup_path::QosClass,
    kubelet_answers::{Figures, Summary},
    kubelet_settings::Settings,
    node_object::NodeObject,
    pod_specs::PodSpec,
    race::{First, Race},
    survey::{KernelSettings, PodMemory, Survey},
};

/// All that a report is made from.
pub(super) struct Readings<'a> {
    pub(super) settings: &'a Settings,
    pub(super) object: Option<&'a NodeObject>,
    pub(super) specs: &'a [PodSpec],
    /// Names of pods by their uids, where the kubelet does not say them.
    pub(super) names: &'a dyn Fn(&PodMemory) -> Option<(String, String)>,
    pub(super) summary: Option<&'a Summary>,
    /// Milliseconds since the epoch, when the summary was read.
    pub(super) now_ms: i64,
    pub(super) survey: &'a Survey,
    /// The reading before, from which growth is computed.
    pub(super) earlier: Option<&'a Survey>,
    pub(super) page_bytes: u64,
}

/// A node's memory budget, what is used of it, and who would go first.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// 1 or 2; `null` where the memory controller is not mounted.
    cgroup_version: Option<u8>,
    pub(super) kubelet_version: Option<String>,
    pub(super) budget: Budget,
    pub(super) now: Now,
    pub(super) pods: Vec<PodRow>,
    /// Names of pods in the order in which the kubelet would evict them for memory now.
    pub(super) eviction_order: Vec<String>,
    /// The processes that the kernel would kill first if the node ran out of memory, most points first.
    pub(super) oom_order_node: order::Order,
    /// The same for all pods together at the limit of `kubepods`; `null` where it has none.
    pub(super) oom_order_kubepods: Option<order::Order>,
    pub(super) overcommit: Overcommit,
    pub(super) swap: Swap,
    pub(super) kernel: KernelSettings,
    /// What `MemoryQoS` and swap set on cgroups.
    pub(super) guarantees: Vec<Guarantee>,
    /// The budget as it would be with the options given.
    pub(super) what_if: Option<Budget>,
    /// What makes an OOM kill likely.
    pub(super) warnings: Vec<String>,
    /// What could not be read, and why.
    pub(super) missing: Vec<String>,
}

/// Use at the time of reading.
#[derive(Debug, Serialize)]
pub(super) struct Now {
    /// The kubelet's eviction signals, as it computes them from the same files.
    pub(super) signals: Vec<Signal>,
    /// `MemAvailable` of `/proc/meminfo`: what the kernel could give without swapping.
    pub(super) mem_available_bytes: Option<u64>,
    /// Seconds between the two readings that growth is computed from; `null` for a single reading.
    pub(super) seconds_between: Option<f64>,
}

/// An eviction signal.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "a signal is what Kubernetes calls its name")]
pub(super) struct Signal {
    /// `memory.available`, `allocatableMemory.available`.
    pub(super) signal: &'static str,
    pub(super) capacity_bytes: u64,
    pub(super) working_set_bytes: u64,
    /// Capacity less working set.
    pub(super) available_bytes: i64,
    /// The hard threshold, as configured.
    pub(super) threshold: Option<String>,
    pub(super) threshold_bytes: Option<u64>,
    /// What may still be used before the threshold is crossed; below zero where it is.
    pub(super) distance_bytes: Option<i64>,
    pub(super) soft_threshold_bytes: Option<u64>,
    pub(super) soft_distance_bytes: Option<i64>,
    /// What the kubelet's own `/stats/summary` says.
    pub(super) kubelet_available_bytes: Option<u64>,
    /// How old that is, in milliseconds.
    pub(super) kubelet_age_ms: Option<i64>,
    /// When threshold and limit are reached at the growth between the two readings, and who acts first.
    pub(super) race: Option<Race>,
    pub(super) from: &'static str,
}

/// A pod.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PodRow {
    pub(super) name: String,
    pub(super) qos: Option<QosClass>,
    /// Of its cgroup; `null` where it has none.
    pub(super) working_set_bytes: Option<u64>,
    pub(super) usage_bytes: Option<u64>,
    /// `null` where its specification is not known.
    pub(super) request_bytes: Option<u64>,
    /// The cgroup's limit; `null` for none.
    pub(super) limit_bytes: Option<u64>,
    pub(super) priority: Option<i32>,
    /// Never evicted.
    pub(super) critical: bool,
    /// Working set less request.
    pub(super) over_request_bytes: Option<i64>,
    /// Its place in the order of eviction, from 1; `null` for one that is never evicted.
    pub(super) eviction_place: Option<usize>,
}

/// What the kernel promises beyond its memory.
#[derive(Debug, Serialize)]
pub(super) struct Overcommit {
    pub(super) mode: Option<u64>,
    pub(super) ratio_percent: Option<u64>,
    pub(super) commit_limit_bytes: Option<u64>,
    pub(super) committed_bytes: Option<u64>,
}

/// Swap, and who may use how much of it.
#[derive(Debug, Serialize)]
pub(super) struct Swap {
    pub(super) total_bytes: Option<u64>,
    pub(super) free_bytes: Option<u64>,
    /// `failSwapOn`, `memorySwap.swapBehavior`.
    pub(super) fail_swap_on: Option<String>,
    pub(super) behavior: Option<String>,
    /// Containers without a limit of swap.
    pub(super) unlimited_containers: usize,
}

impl Report {
    pub(super) fn make(readings: &Readings<'_>) -> Self {
        let survey = readings.survey;
        let budget = Budget::make(readings.settings, readings.object, survey);
        let mut pods = pods(readings);
        let eviction_order = order::evictions(&mut pods);
        let (oom_order_node, oom_order_kubepods) = order::kills(readings, &pods);
        let mut missing = survey.trouble.clone();
        missing.extend(readings.settings.trouble.iter().cloned());
        let mut report = Self {
            cgroup_version: survey.cgroup_version,
            kubelet_version: readings.object.and_then(|object| object.kubelet_version.clone()),
            now: now(readings, &budget),
            guarantees: guarantees::of(readings, &budget),
            budget,
            pods,
            eviction_order,
            oom_order_node,
            oom_order_kubepods,
            overcommit: Overcommit {
                mode: survey.kernel.overcommit_memory,
                ratio_percent: survey.kernel.overcommit_ratio,
                commit_limit_bytes: survey.memory.commit_limit_bytes,
                committed_bytes: survey.memory.committed_bytes,
            },
            swap: swap(readings),
            kernel: survey.kernel.clone(),
            what_if: None,
            warnings: Vec::new(),
            missing,
        };
        report.warnings = super::warnings::of(&report, readings);
        report
    }
}

fn swap(readings: &Readings<'_>) -> Swap {
    let containers = readings.survey.pods.iter().flat_map(|pod| &pod.containers);
    Swap {
        total_bytes: readings.survey.memory.swap_total_bytes,
        free_bytes: readings.survey.memory.swap_free_bytes,
        fail_swap_on: readings.settings.text("failSwapOn").value,
        behavior: readings.settings.entry("memorySwap", "swapBehavior").value,
        unlimited_containers: containers.filter(|(_, container)| container.swap_unlimited).count(),
    }
}

fn now(readings: &Readings<'_>, budget: &Budget) -> Now {
    let survey = readings.survey;
    let seconds = readings.earlier.map(|earlier| survey.taken.duration_since(earlier.taken).as_secs_f64());
    let seconds_between = seconds.filter(|seconds| *seconds > 0.0);
    let growth = |of: fn(&Survey) -> Option<u64>| {
        let grown = budget::difference(of(survey)?, of(readings.earlier?)?);
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        Some(grown as f64 / seconds_between?)
    };
    let mem_available = survey.memory.available_bytes;
    let mut signals = Vec::new();
    if let (Some(capacity), Some(used)) = (survey.memory.total_bytes, root_working_set(survey)) {
        let from = match survey.cgroup_version {
            Some(1) => "MemTotal less the root cgroup's usage_in_bytes without total_inactive_file",
            _ => "MemTotal less the root cgroup's anon and file without inactive_file",
        };
        let available = budget::available(capacity, used);
        // A node-wide OOM happens when the kernel has none left, and it counts otherwise than the kubelet.
        let to_limit = mem_available.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(available);
        let said = readings.summary.and_then(|summary| summary.node.memory.as_ref());
        signals.push(Signal {
            signal: "memory.available",
            from,
            ..signal(budget, capacity, used, said, readings.now_ms)
        });
        race(&mut signals[0], growth(root_working_set), to_limit, budget);
    }
    let limit = survey.kubepods.as_ref().and_then(|kubepods| kubepods.limit_bytes);
    if let (Some(capacity), Some(used)) = (limit, kubepods_working_set(survey)) {
        let said = readings.summary.and_then(Summary::kubepods);
        let mut of_pods = Signal {
            signal: "allocatableMemory.available",
            from: "the limit of kubepods less its working set",
            soft_threshold_bytes: None,
            soft_distance_bytes: None,
            ..signal(budget, capacity, used, said, readings.now_ms)
        };
        // The threshold of memory.available, copied; only where kubepods' limit is enforced.
        if !budget.enforces_pods() {
            of_pods = Signal { threshold: None, threshold_bytes: None, distance_bytes: None, ..of_pods };
        }
        let to_limit = of_pods.available_bytes;
        race(&mut of_pods, growth(kubepods_working_set), to_limit, budget);
        signals.push(of_pods);
    }
    Now { signals, mem_available_bytes: mem_available, seconds_between }
}

fn race(signal: &mut Signal, growth: Option<f64>, to_limit: i64, budget: &Budget) {
    let known = budget.configured || signal.distance_bytes.is_some();
    signal.race = growth.map(|rate| {
        let race = Race::at(rate, signal.distance_bytes, to_limit);
        // Without its configuration, nobody knows whether the kubelet has a threshold.
        if race.first == First::Kernel && !known { Race { first: First::Unknown, ..race } } else { race }
    });
}

pub(super) fn root_working_set(survey: &Survey) -> Option<u64> {
    survey.root.as_ref()?.working_set_bytes()
}

pub(super) fn kubepods_working_set(survey: &Survey) -> Option<u64> {
    survey.kubepods.as_ref()?.working_set_bytes()
}

/// A signal with the thresholds that hold at its capacity: a share is one of that.
fn signal(budget: &Budget, capacity_bytes: u64, working_set_bytes: u64, said: Option<&Figures>, now_ms: i64) -> Signal {
    let available_bytes = budget::available(capacity_bytes, working_set_bytes);
    let to = |threshold: u64| available_bytes.saturating_sub_unsigned(threshold);
    let threshold_bytes =
        budget.hard.value.as_ref().and_then(|hard| hard.bytes_of(capacity_bytes)).or(budget.hard_presumed);
    let soft_threshold_bytes = budget.soft.value.as_ref().and_then(|soft| soft.bytes_of(capacity_bytes));
    Signal {
        signal: "",
        capacity_bytes,
        working_set_bytes,
        available_bytes,
        threshold: budget.hard.value.as_ref().map(ToString::to_string),
        threshold_bytes,
        distance_bytes: threshold_bytes.map(to),
        soft_threshold_bytes,
        soft_distance_bytes: soft_threshold_bytes.map(to),
        kubelet_available_bytes: said.and_then(|said| said.available_bytes),
        kubelet_age_ms: said.and_then(|said| said.age_ms(now_ms)),
        race: None,
        from: "",
    }
}

/// Pods that have a cgroup or are to have one, those that use most first.
fn pods(readings: &Readings<'_>) -> Vec<PodRow> {
    let row = |memory: Option<&PodMemory>, spec: Option<&PodSpec>| {
        let named = spec.map(|spec| (spec.namespace.clone(), spec.name.clone()));
        let named = named.or_else(|| memory.and_then(|memory| (readings.names)(memory)));
        let uid = memory.map(|memory| format!("pod {}", memory.uid)).unwrap_or_default();
        let used = memory.and_then(|memory| memory.cgroup.working_set_bytes());
        PodRow {
            name: named.map_or(uid, |(namespace, name)| format!("{namespace}/{name}")),
            qos: spec.and_then(|spec| spec.qos).or_else(|| memory.and_then(|memory| memory.qos)),
            working_set_bytes: used,
            usage_bytes: memory.and_then(|memory| memory.cgroup.usage_bytes),
            request_bytes: spec.map(|spec| spec.request_bytes),
            limit_bytes: memory
                .map_or_else(|| spec.and_then(|spec| spec.limit_bytes), |memory| memory.cgroup.limit_bytes),
            priority: spec.map(|spec| spec.priority),
            critical: spec.is_some_and(|spec| spec.critical),
            over_request_bytes: spec.zip(used).map(|(spec, used)| budget::difference(used, spec.request_bytes)),
            eviction_place: None,
        }
    };
    let spec_of = |memory: &PodMemory| readings.specs.iter().find(|spec| spec.uid.as_ref() == Some(&memory.uid));
    let mut rows: Vec<_> = readings.survey.pods.iter().map(|memory| row(Some(memory), spec_of(memory))).collect();
    let without = readings.specs.iter().filter(|spec| {
        !spec.ended && !readings.survey.pods.iter().any(|memory| spec.uid.as_ref() == Some(&memory.uid))
    });
    rows.extend(without.map(|spec| row(None, Some(spec))));
    rows.sort_by_key(|row| (std::cmp::Reverse(row.working_set_bytes), row.name.clone()));
    rows
}
