//! The budget in a report: each figure with where it was read, and what other sources say.

use serde::Serialize;

use super::report::{kubepods_working_set, root_working_set};
use crate::node::{
    budget::{self, Reservations, Threshold},
    kubelet_settings::{Found, Other, Settings, WhatIf},
    node_object::NodeObject,
    survey::Survey,
};
use crate::quantity;

/// A figure, where it was read, and what every other source says, also where that is the same.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    /// `null` where it is not known, or there is none.
    pub(super) bytes: Option<u64>,
    pub(super) from: String,
    pub(super) others: Vec<Other<u64>>,
}

/// A node's memory budget.
#[derive(Debug, Serialize)]
pub(super) struct Budget {
    pub(super) capacity: Figure,
    pub(super) kube_reserved: Found<u64>,
    pub(super) system_reserved: Found<u64>,
    /// `evictionHard`'s `memory.available`.
    pub(super) hard: Found<Threshold>,
    /// The hard threshold where no configuration could be read: the limit of `kubepods` less allocatable.
    pub(super) hard_presumed: Option<u64>,
    /// Of the capacity.
    pub(super) hard_bytes: Option<u64>,
    /// `evictionSoft`'s `memory.available`.
    pub(super) soft: Found<Threshold>,
    pub(super) soft_grace_period: Found<String>,
    pub(super) minimum_reclaim: Found<u64>,
    pub(super) hugepages: Figure,
    /// What the scheduler may give to pods.
    pub(super) allocatable: Figure,
    /// The limit of all pods together; where it is hit, the kernel kills.
    pub(super) kubepods_limit: Figure,
    /// The limits of the `QoS` classes; by default there are none.
    pub(super) qos_limits: Vec<(String, Option<u64>)>,
    /// What both reservations keep from pods; presumed from the limit of `kubepods` where no configuration could be read.
    pub(super) reserved_bytes: Option<u64>,
    /// Whether the kubelet starts with these.
    pub(super) valid: bool,
    /// Whether the configuration could be read, from any source.
    pub(super) configured: bool,
    pub(super) settings: Vec<Setting>,
    /// The working set of the whole node, and that of all pods.
    pub(super) node_working_set_bytes: Option<u64>,
    pub(super) pods_working_set_bytes: Option<u64>,
}

/// A setting that is no figure.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    #[serde(flatten)]
    pub(super) found: Found<String>,
}

impl Budget {
    pub(super) fn make(settings: &Settings, object: Option<&NodeObject>, survey: &Survey) -> Self {
        let capacity_bytes = survey.memory.total_bytes.or_else(|| object?.capacity_bytes);
        let kube_reserved = bytes(settings, "kubeReserved", "memory");
        let system_reserved = bytes(settings, "systemReserved", "memory");
        let hard: Found<Threshold> = threshold(settings, "evictionHard");
        let hugepages_bytes = survey.memory.hugetlb_bytes.or_else(|| Some(object?.hugepages_bytes));
        let enforce = settings.text("enforceNodeAllocatable");
        let reservations = Reservations {
            capacity_bytes: capacity_bytes.unwrap_or(0),
            kube_reserved_bytes: kube_reserved.value.unwrap_or(0),
            system_reserved_bytes: system_reserved.value.unwrap_or(0),
            hard: hard.value.clone(),
            hugepages_bytes: hugepages_bytes.unwrap_or(0),
            ignore_eviction: settings.is_on(&settings.text("experimentalAllocatableIgnoreEviction")),
            enforce_pods: enforces(&enforce) && settings.text("cgroupsPerQOS").value.as_deref() != Some("false"),
        };
        let computed = (settings.is_known() && capacity_bytes.is_some()).then(|| reservations.budget());
        let limit = survey.kubepods.as_ref().and_then(|kubepods| kubepods.limit_bytes);
        let of_object = object.and_then(|object| object.allocatable_bytes);
        let presumed = |bytes: Option<u64>| bytes.filter(|_| !settings.is_known());
        let hard_presumed = presumed(limit.zip(of_object).and_then(|(limit, allocatable)| {
            limit.checked_sub(allocatable)?.checked_sub(hugepages_bytes.unwrap_or(0))
        }));
        let hard_presumed = hard_presumed.filter(|bytes| *bytes > 0);
        let reserved_presumed = presumed(capacity_bytes.zip(limit).and_then(|(all, limit)| all.checked_sub(limit)));
        Self {
            capacity: figure([
                (survey.memory.total_bytes, "MemTotal of /proc/meminfo"),
                (object.and_then(|object| object.capacity_bytes), "the node's status"),
            ]),
            hard_bytes: computed.map(|budget| budget.hard_bytes).filter(|bytes| *bytes > 0).or(hard_presumed),
            hard_presumed,
            soft: threshold(settings, "evictionSoft"),
            soft_grace_period: settings.entry("evictionSoftGracePeriod", SIGNAL),
            minimum_reclaim: bytes(settings, "evictionMinimumReclaim", SIGNAL),
            hugepages: figure([
                (survey.memory.hugetlb_bytes, "Hugetlb of /proc/meminfo"),
                (object.map(|object| object.hugepages_bytes), "the node's status"),
            ]),
            allocatable: figure([
                (of_object, "the node's status"),
                (
                    computed.map(|budget| budget.allocatable_bytes),
                    "capacity less reservations, threshold and huge pages",
                ),
            ]),
            kubepods_limit: figure([
                (limit, survey.kubepods.as_ref().map_or("", |kubepods| &kubepods.path)),
                (computed.map(|budget| budget.kubepods_limit_bytes), "capacity less reservations"),
            ]),
            qos_limits: survey.qos.iter().map(|qos| (qos.path.clone(), qos.limit_bytes)).collect(),
            reserved_bytes: computed.map(|budget| budget.reserved_bytes).or(reserved_presumed),
            valid: computed.is_none_or(|budget| budget.valid),
            configured: settings.is_known(),
            settings: others(settings),
            node_working_set_bytes: root_working_set(survey),
            pods_working_set_bytes: kubepods_working_set(survey),
            kube_reserved,
            system_reserved,
            hard,
        }
    }

    /// The budget as it would be with these options; the cgroups and the node's status as they are do not count.
    pub(super) fn what_if(settings: &Settings, what_if: &WhatIf, object: Option<&NodeObject>, survey: &Survey) -> Self {
        let bare = Survey { kubepods: None, root: None, qos: Vec::new(), ..empty(survey) };
        let object = object.map(|object| NodeObject { allocatable_bytes: None, ..object.clone() });
        Self {
            node_working_set_bytes: root_working_set(survey),
            pods_working_set_bytes: kubepods_working_set(survey),
            ..Self::make(&settings.what_if(what_if), object.as_ref(), &bare)
        }
    }

    /// Whether the limit of `kubepods` is less than the capacity by what is reserved, and the threshold holds for pods.
    pub(super) fn enforces_pods(&self) -> bool {
        let enforce = self.settings.iter().find(|setting| setting.name == "enforceNodeAllocatable");
        !self.configured || enforce.is_none_or(|enforce| enforces(&enforce.found))
    }
}

const SIGNAL: &str = "memory.available";

fn empty(survey: &Survey) -> Survey {
    Survey {
        taken: survey.taken,
        memory: survey.memory.clone(),
        cgroup_version: survey.cgroup_version,
        root: None,
        kubepods: None,
        qos: Vec::new(),
        pods: Vec::new(),
        processes: Vec::new(),
        kernel: survey.kernel.clone(),
        trouble: Vec::new(),
    }
}

fn enforces(enforce: &Found<String>) -> bool {
    enforce.value.as_deref().is_none_or(|list| list.split(',').any(|entry| entry == "pods"))
}

fn bytes(settings: &Settings, key: &str, entry: &str) -> Found<u64> {
    settings.entry(key, entry).and_then(|text| quantity::bytes(&text))
}

fn threshold(settings: &Settings, key: &str) -> Found<Threshold> {
    settings.entry(key, SIGNAL).and_then(|text| text.parse().ok())
}

/// A figure of several sources, the first that has it first.
fn figure<const N: usize>(readings: [(Option<u64>, &str); N]) -> Figure {
    let mut known =
        readings.into_iter().filter_map(|(value, from)| Some(Other { value: value?, from: from.to_owned() }));
    let first = known.next();
    Figure {
        bytes: first.as_ref().map(|first| first.value),
        from: first.map(|first| first.from).unwrap_or_default(),
        others: known.collect(),
    }
}

/// Settings beside the figures.
fn others(settings: &Settings) -> Vec<Setting> {
    let text = |name| Setting { name, found: settings.text(name) };
    let entry = |name, key, entry| Setting { name, found: settings.entry(key, entry) };
    let all = vec![
        text("enforceNodeAllocatable"),
        text("kubeReservedCgroup"),
        text("systemReservedCgroup"),
        text("cgroupRoot"),
        text("cgroupsPerQOS"),
        text("failSwapOn"),
        entry("memorySwap.swapBehavior", "memorySwap", "swapBehavior"),
        entry("featureGates.MemoryQoS", "featureGates", "MemoryQoS"),
        entry("featureGates.NodeSwap", "featureGates", "NodeSwap"),
        text("memoryThrottlingFactor"),
        text("memoryReservationPolicy"),
        text("memoryManagerPolicy"),
        entry("qosReserved.memory", "qosReserved", "memory"),
        text("singleProcessOOMKill"),
        text("evictionPressureTransitionPeriod"),
    ];
    all.into_iter().filter(|setting| setting.found.value.is_some() || !setting.found.others.is_empty()).collect()
}

/// Whether thresholds in percent make eviction of pods begin elsewhere than allocatable says, and by how many bytes.
pub(super) fn share_gap(budget: &Budget) -> Option<u64> {
    let hard = budget.hard.value.as_ref().filter(|hard| hard.is_share())?;
    let (of_node, of_pods) = (hard.bytes_of(budget.capacity.bytes?)?, hard.bytes_of(budget.kubepods_limit.bytes?)?);
    u64::try_from(budget::difference(of_node, of_pods)).ok().filter(|gap| *gap > 0)
}
