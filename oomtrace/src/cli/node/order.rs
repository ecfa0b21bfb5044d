//! Who goes first, of the pods and processes of a report.

use std::cmp::Reverse;

use serde::Serialize;

use super::report::{PodRow, Readings};
use crate::node::{
    cgroup_path::CgroupIdentity,
    processes::Process,
    ranking::{PodUse, oom_order},
};

/// How many processes are shown.
const MOST: usize = 10;

/// Candidates of the OOM killer, most points first.
#[derive(Debug, Serialize)]
pub(super) struct Order {
    /// What an `oom_score_adj` of 1000 adds, in pages: the limit of the cgroup, or RAM and swap of the node.
    pub(super) total_pages: u64,
    pub(super) candidates: Vec<Candidate>,
}

/// A process, and the numbers that decide.
#[derive(Debug, Serialize)]
pub(super) struct Candidate {
    pub(super) pid: u32,
    pub(super) comm: String,
    /// Its pod; `null` for a process of the node.
    pub(super) pod: Option<String>,
    pub(super) oom_score_adj: i32,
    pub(super) resident_bytes: u64,
    pub(super) swap_bytes: u64,
    pub(super) page_tables_bytes: u64,
    /// In pages.
    pub(super) points: i64,
    /// Whether its whole container is killed with it.
    pub(super) group: bool,
}

/// Gives pods their places, and their names in that order.
pub(super) fn evictions(pods: &mut [PodRow]) -> Vec<String> {
    let used = |pod: &PodRow| PodUse {
        working_set_bytes: pod.working_set_bytes,
        request_bytes: pod.request_bytes.unwrap_or(0),
        priority: pod.priority.unwrap_or(0),
    };
    let mut order: Vec<usize> = (0..pods.len()).collect();
    order.sort_by(|one, other| used(&pods[*one]).evicted_before(&used(&pods[*other])));
    order.retain(|place| !pods[*place].critical);
    for (place, pod) in order.iter().enumerate() {
        pods[*pod].eviction_place = Some(place + 1);
    }
    order.into_iter().map(|pod| pods[pod].name.clone()).collect()
}

/// The order node-wide, and that among all pods.
pub(super) fn kills(readings: &Readings<'_>, pods: &[PodRow]) -> (Order, Option<Order>) {
    let survey = readings.survey;
    let node = order(readings, pods, survey.node_pages(readings.page_bytes), |process| process.pid != 1);
    let kubepods = survey.kubepods.as_ref().and_then(|kubepods| {
        let limit = kubepods.limit_bytes? / readings.page_bytes.max(1);
        let below = format!("{}/", kubepods.path);
        let inside = |process: &Process| process.cgroup.as_ref().is_some_and(|path| path.starts_with(&below));
        Some(order(readings, pods, limit, inside))
    });
    (node, kubepods)
}

fn order(readings: &Readings<'_>, pods: &[PodRow], total_pages: u64, may: impl Fn(&Process) -> bool) -> Order {
    let survey = readings.survey;
    let processes: Vec<_> = survey.processes.iter().filter(|process| may(process)).collect();
    let points: Vec<_> = processes
        .iter()
        .map(|process| process.weighed(readings.page_bytes).points(total_pages, readings.page_bytes))
        .collect();
    let candidates = oom_order(&points).into_iter().take(MOST).filter_map(|place| {
        let process = processes[place];
        let path = process.cgroup.as_deref().unwrap_or_default();
        let pod = survey.pods.iter().find(|pod| path.starts_with(&format!("{}/", pod.cgroup.path)));
        let container =
            pod.and_then(|pod| pod.containers.iter().find(|(_, container)| path.starts_with(&container.path)));
        Some(Candidate {
            pid: process.pid,
            comm: process.comm.clone(),
            pod: pod.and_then(|pod| name(readings, pods, pod)).or_else(|| {
                let identity = CgroupIdentity::parse(path);
                identity.pod_uid.map(|uid| format!("pod {uid}"))
            }),
            oom_score_adj: process.oom_score_adj,
            resident_bytes: process.resident_bytes(),
            swap_bytes: process.swap_bytes,
            page_tables_bytes: process.page_tables_bytes,
            points: points[place]?,
            group: container.is_some_and(|(_, container)| container.oom_group),
        })
    });
    Order { total_pages, candidates: candidates.collect() }
}

fn name(readings: &Readings<'_>, _pods: &[PodRow], pod: &crate::node::survey::PodMemory) -> Option<String> {
    let spec = readings.specs.iter().find(|spec| spec.uid.as_ref() == Some(&pod.uid));
    let named = spec.map(|spec| (spec.namespace.clone(), spec.name.clone())).or_else(|| (readings.names)(pod));
    named.map(|(namespace, name)| format!("{namespace}/{name}"))
}

/// Pods over their request, by how much, most first.
pub(super) fn over_request(pods: &[PodRow]) -> Vec<(&PodRow, u64)> {
    let over = |pod: &PodRow| pod.over_request_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let mut found: Vec<_> =
        pods.iter().filter_map(|pod| Some((pod, over(pod)?))).filter(|(_, bytes)| *bytes > 0).collect();
    found.sort_by_key(|(_, bytes)| Reverse(*bytes));
    found
}
