//! What `MemoryQoS` and swap set on cgroups, beside what the kubelet's formulas make of the configuration.

use serde::Serialize;

use super::{budget::Budget, report::Readings};
use crate::node::{
    budget::{limited_swap, memory_high},
    cgroup_files::CgroupMemory,
    cgroup_path::QosClass,
    pod_specs::{ContainerSpec, PodSpec},
};

/// A cgroup on which something is set, or should be. All in bytes.
#[derive(Debug, Serialize)]
pub(super) struct Guarantee {
    pub(super) cgroup: String,
    /// `memory.min`: never reclaimed.
    pub(super) min_bytes: Option<u64>,
    /// `memory.low`: reclaimed last.
    pub(super) low_bytes: Option<u64>,
    /// `memory.high`: above it processes are slowed down.
    pub(super) high_bytes: Option<u64>,
    /// What `MemoryQoS` of 1.27 to 1.36 makes of request and limit.
    pub(super) high_computed_bytes: Option<u64>,
    /// `memory.swap.max`; `null` for none.
    pub(super) swap_limit_bytes: Option<u64>,
    /// What `LimitedSwap` makes of the request.
    pub(super) swap_computed_bytes: Option<u64>,
}

/// All cgroups on which something is set: `kubepods`, the classes, pods and containers.
pub(super) fn of(readings: &Readings<'_>, budget: &Budget) -> Vec<Guarantee> {
    let survey = readings.survey;
    let mut found: Vec<_> =
        survey.kubepods.iter().chain(&survey.qos).map(|cgroup| guarantee(cgroup, None, None)).collect();
    for pod in &survey.pods {
        found.push(guarantee(&pod.cgroup, None, None));
        let spec = readings.specs.iter().find(|spec| spec.uid.as_ref() == Some(&pod.uid));
        for (id, cgroup) in &pod.containers {
            let container = spec.and_then(|spec| spec.containers.values().find(|of| of.id.as_ref() == Some(id)));
            let known = spec.zip(container);
            let high = known.and_then(|(_, container)| high(readings, budget, container));
            let swap = known.and_then(|(pod, container)| swap(readings, pod, container));
            found.push(guarantee(cgroup, high, swap));
        }
    }
    found.retain(Guarantee::says_something);
    found
}

impl Guarantee {
    fn says_something(&self) -> bool {
        let Self {
            cgroup: _,
            min_bytes,
            low_bytes,
            high_bytes,
            high_computed_bytes,
            swap_limit_bytes,
            swap_computed_bytes,
        } = self;
        let set = [min_bytes, low_bytes, high_bytes, high_computed_bytes, swap_computed_bytes];
        set.iter().any(|bytes| bytes.is_some()) || swap_limit_bytes.is_some_and(|bytes| bytes > 0)
    }
}

fn guarantee(cgroup: &CgroupMemory, high_computed_bytes: Option<u64>, swap_computed_bytes: Option<u64>) -> Guarantee {
    let set = |bytes: Option<u64>| bytes.filter(|bytes| *bytes > 0);
    Guarantee {
        cgroup: cgroup.path.clone(),
        min_bytes: set(cgroup.min_bytes),
        low_bytes: set(cgroup.low_bytes),
        high_bytes: cgroup.high_bytes,
        high_computed_bytes,
        swap_limit_bytes: cgroup.swap_limit_bytes,
        swap_computed_bytes,
    }
}

fn high(readings: &Readings<'_>, budget: &Budget, container: &ContainerSpec) -> Option<u64> {
    let settings = readings.settings;
    let on = settings.is_on(&settings.entry("featureGates", "MemoryQoS")) && readings.survey.cgroup_version == Some(2);
    let factor = settings.text("memoryThrottlingFactor").value.filter(|_| on)?.parse().ok()?;
    let for_pods = budget.capacity.bytes?.checked_sub(budget.reserved_bytes?)?;
    let ceiling = container.limit_bytes.unwrap_or(for_pods);
    memory_high(container.request_bytes.unwrap_or(0), ceiling, factor, readings.page_bytes)
}

fn swap(readings: &Readings<'_>, pod: &PodSpec, container: &ContainerSpec) -> Option<u64> {
    let behavior = readings.settings.entry("memorySwap", "swapBehavior").value?;
    let memory = &readings.survey.memory;
    let (capacity, swap) = memory.total_bytes.zip(memory.swap_total_bytes.filter(|swap| *swap > 0))?;
    let may = pod.qos == Some(QosClass::Burstable) && !pod.critical && container.request_bytes != container.limit_bytes;
    let request = container.request_bytes.filter(|_| may && behavior == "LimitedSwap").unwrap_or(0);
    Some(limited_swap(request, capacity, swap))
}
