//! What is said of user-space OOM killers.

use oomtrace_model::{Container, Pod, Sender, Signal};

use super::{
    super::{
        super::{
            evidence::Cause,
            words::{place, times},
        },
        killer::{KOORDLET, evicts},
    },
    capital,
};

/// What happened, and what helps, where nothing shows the end that it led to; `of_host` where a cgroup of the host's own is meant.
pub(in super::super) fn of(
    sent: &[&Cause<Signal>],
    pod: Option<&Pod>,
    container: Option<&Container>,
    of_host: bool,
) -> (String, String) {
    let Some(first) = sent.first() else { return Default::default() };
    let Words { name, why, advice } = Words::of(&first.what.sender);
    let advice = if of_host { advice_on_host(&first.what.sender) } else { advice };
    let who = match (pod.is_some() || container.is_some(), &first.what.cgroup) {
        (true, _) => place(pod, container),
        (false, None) => format!("process {}", whom(&first.what)),
        (false, Some(_)) => whom(&first.what),
    };
    let often = if sent.len() > 1 { format!(" {}", times(sent.len() as u64)) } else { String::new() };
    let summary = if evicts(&first.what) {
        let pod = capital(&place(pod, None));
        format!("{pod} was evicted{often} by {name} {why}; not by the kubelet, nor by the kernel's OOM killer.")
    } else {
        let who = if first.what.cgroup.is_some() {
            format!("All processes of {who} were")
        } else {
            format!("{} was", capital(&who))
        };
        format!("{who} sent {}{often} by {name} {why}; not by the kernel's OOM killer.", first.what.signal)
    };
    (summary, advice.to_owned())
}

/// What is said of a killer.
pub(in super::super) struct Words {
    pub(in super::super) name: String,
    pub(in super::super) why: &'static str,
    pub(in super::super) advice: &'static str,
}

impl Words {
    pub(in super::super) fn of(sender: &Sender) -> Self {
        let comm = sender.task.comm.as_deref().unwrap_or("?");
        let pid = sender.task.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
        let (name, why, advice) = match comm {
            "machined" => (
                "Talos' OOM controller".to_owned(),
                "because the node's memory pressure was above what its OOMConfig allows",
                "Kubernetes does not know of it, and shows an Error with exit code 137. Look at what used the node's memory, or waited for its disks; the controller takes BestEffort pods first, so requests protect; triggerExpression and cgroupRankingExpression of Talos' OOMConfig say when it acts and on whom.",
            ),
            "earlyoom" => (
                format!("earlyoom{pid}"),
                "because the node's available memory and free swap were below what it allows",
                "Kubernetes does not know of it: look at what used the node's memory, at earlyoom's thresholds (-m, -s) and at whom it prefers and avoids (--prefer, --avoid).",
            ),
            "nohang" => (
                format!("nohang{pid}"),
                "because the node's available memory and free swap were below what it allows, or memory pressure above",
                "Kubernetes does not know of it: look at what used the node's memory, at nohang's thresholds (soft_threshold_min_mem, hard_threshold_min_mem, the same of swap, zram and PSI) and at whom it prefers (the @BADNESS_ADJ rules).",
            ),
            KOORDLET => (
                "koordlet, Koordinator's agent on the node".to_owned(),
                "because the node's memory use was above its memoryEvictThresholdPercent",
                "The kubelet has no part in it, and the pod's events have the reason evictPodSuccess. It takes pods of Koordinator's class BE only, those of the lowest priority and of the most use first: look at what used the node's memory, at resourceThresholdStrategy in slo-controller-config (memoryEvictThresholdPercent, memoryEvictLowerPercent), and give a pod that must stay another class.",
            ),
            "systemd-oomd" => (
                format!("systemd-oomd{pid}"),
                "because memory pressure or swap use was above what it allows",
                "Kubernetes does not know of it: look at systemd-oomd's settings (ManagedOOMMemoryPressure and ManagedOOMSwap of the slices), and exempt kubepods or raise its limit.",
            ),
            _ => (
                format!("{comm}{pid}"),
                "because memory pressure or swap use was above what it allows",
                "Kubernetes does not know of it: look at that service's own settings, and exempt pods or raise its limit.",
            ),
        };
        let kind = if comm == KOORDLET { "" } else { ", a user-space OOM killer" };
        Self { name: format!("{name}{kind},"), why, advice }
    }
}

/// What helps where no pod has to do with it.
fn advice_on_host(sender: &Sender) -> &'static str {
    match sender.task.comm.as_deref() {
        Some("systemd-oomd") => {
            "Look at what used the memory there, and at systemd-oomd's settings of that unit and the slices above it: ManagedOOMMemoryPressure=, ManagedOOMMemoryPressureLimit=, ManagedOOMSwap=; ManagedOOMPreference=avoid spares a unit."
        }
        _ => "Look at what used the memory there, and at the killer's own settings.",
    }
}

/// A cgroup, or a process.
pub(in super::super) fn whom(signal: &Signal) -> String {
    let path = signal.cgroup.as_ref().and_then(|cgroup| cgroup.path.clone());
    let comm = || signal.target.comm.clone().unwrap_or_default();
    path.unwrap_or_else(|| signal.target.pid.map_or_else(comm, |pid| format!("{} (pid {pid})", comm())))
}
