//! Verdicts where a user-space OOM killer says that it sent a signal, and nothing shows the end that it led to.

use std::collections::BTreeMap;

use oomtrace_model::{Confidence, Incident, Scenario, Sender, SenderRole, Signal, Source, Verdict};

use super::{
    super::{
        evidence::{Cause, Death},
        windows::{CRASH_LOOP, NOTICED, SECOND, SIGKILL_TO_END, SIGTERM_TO_END},
        words::{place, times},
    },
    Context,
    case::{Case, Ending, Subject},
    ending::capital,
    named,
};

/// It evicts a pod by the API, or stops all its containers, and does not say which.
const KOORDLET: &str = "koordlet";

/// What is said of a killer.
pub(super) struct Words {
    pub(super) name: String,
    pub(super) why: &'static str,
    pub(super) advice: &'static str,
}

impl Words {
    pub(super) fn of(sender: &Sender) -> Self {
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

/// Whether a cgroup is of the host's own services or users, and not of pods.
fn is_of_host(path: &str) -> bool {
    ["/user.slice", "/system.slice", "/init.scope", "/machine.slice"].iter().any(|start| path.starts_with(start))
        && !path.contains("kubepods")
        && !path.contains("kubelet")
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

/// Makes cases of them.
pub(super) fn add<'a>(context: &Context<'a>, cases: &mut Vec<Case<'a>>) {
    let mut open: BTreeMap<Subject, Vec<&'a Cause<Signal>>> = BTreeMap::new();
    let close = |subject: Subject, sent: Vec<&'a Cause<Signal>>| {
        let pod = sent.first().and_then(|first| first.pod.clone());
        // The end may follow, and makes an incident of its own then.
        let not_before = sent.first().map(|first| first.at + NOTICED);
        Case { not_before, ..Case::of_stop(subject, pod, Ending::Sent(sent)) }
    };
    for signal in context.evidence.signals.iter().filter(|signal| is_word(signal)) {
        if context.evidence.deaths.iter().any(|death| led_to(signal, death)) {
            continue;
        }
        let subject = match (&signal.pod, &signal.container) {
            (Some(pod), None) => Subject::Pod(pod.clone()),
            (None, None) => Subject::Cgroup(whom(&signal.what)),
            (pod, container) => Subject::of(pod.as_ref(), container.as_ref(), context.names),
        };
        let chain = open.entry(subject.clone()).or_default();
        if chain.last().is_some_and(|last| signal.at - last.at > CRASH_LOOP) {
            cases.push(close(subject, std::mem::take(chain)));
        }
        // Two logs may have it.
        if chain.last().is_none_or(|last| signal.at - last.at > SECOND || last.line.source == signal.line.source) {
            chain.push(signal);
        }
    }
    cases.extend(open.into_iter().map(|(subject, sent)| close(subject, sent)));
}

/// Whether it is a killer's own word: where the kernel was watched, the end is seen, too.
fn is_word(signal: &Cause<Signal>) -> bool {
    signal.what.sender.role == SenderRole::Oomd && signal.line.source != Source::Kernel
}

/// Whether an end that was seen may be of this signal.
pub(super) fn led_to(signal: &Cause<Signal>, death: &Death) -> bool {
    if evicts(&signal.what) {
        return of_whole_pod(signal, death)
            && matches!(death.exit_code, Some(137 | 143))
            && (signal.at - SECOND..=signal.at + SIGTERM_TO_END).contains(&death.at);
    }
    let (takes, code) = match signal.what.signal.as_str() {
        "SIGKILL" => (SIGKILL_TO_END + NOTICED, 137),
        _ => (SIGTERM_TO_END, 143),
    };
    let same = signal.container.is_some() && signal.container == death.container;
    (same || of_whole_pod(signal, death))
        && matches!(death.exit_code, Some(ended) if ended == code || ended == 137)
        && (signal.at - SECOND..=signal.at + takes).contains(&death.at)
}

/// Whether it is an eviction of a pod by something other than the kubelet: SIGTERM first, SIGKILL after the grace period.
pub(super) fn evicts(signal: &Signal) -> bool {
    signal.sender.role == SenderRole::Oomd && signal.sender.task.comm.as_deref() == Some(KOORDLET)
}

/// Whether all processes of the pod were sent it that a container ended of.
pub(super) fn of_whole_pod(signal: &Cause<Signal>, death: &Death) -> bool {
    signal.container.is_none()
        && signal.pod.is_some()
        && signal.pod == death.pod
        && signal.what.sender.role == SenderRole::Oomd
}

/// A cgroup, or a process.
fn whom(signal: &Signal) -> String {
    let path = signal.cgroup.as_ref().and_then(|cgroup| cgroup.path.clone());
    let comm = || signal.target.comm.clone().unwrap_or_default();
    path.unwrap_or_else(|| signal.target.pid.map_or_else(comm, |pid| format!("{} (pid {pid})", comm())))
}

pub(super) fn judge(case: &Case<'_>, context: &Context<'_>, sent: &[&Cause<Signal>]) -> Incident {
    let Some(first) = sent.first() else { return Incident::default() };
    let Words { name, why, advice } = Words::of(&first.what.sender);
    let (pod, container) = (named(context, case.pod.as_ref()), case.container(context));
    let in_pod = pod.is_some() || container.is_some();
    let of_process = first.what.cgroup.is_none() && !in_pod;
    // A cgroup that is neither a pod's nor above pods is of the host's own services and users.
    let of_host =
        !in_pod && first.what.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()).is_some_and(is_of_host);
    let advice = if of_host { advice_on_host(&first.what.sender) } else { advice };
    let who = match (in_pod, of_process) {
        (true, _) => place(pod.as_ref(), container.as_ref()),
        (false, true) => format!("process {}", whom(&first.what)),
        (false, false) => whom(&first.what),
    };
    let often = if sent.len() > 1 { format!(" {}", times(sent.len() as u64)) } else { String::new() };
    let who = if first.what.cgroup.is_some() {
        format!("All processes of {who} were")
    } else {
        format!("{} was", capital(&who))
    };
    let summary = if evicts(&first.what) {
        let pod = capital(&place(pod.as_ref(), None));
        format!("{pod} was evicted{often} by {name} {why}; not by the kubelet, nor by the kernel's OOM killer.")
    } else {
        format!("{who} sent {}{often} by {name} {why}; not by the kernel's OOM killer.", first.what.signal)
    };
    let verdict = Verdict {
        scenario: Scenario::Killed,
        confidence: Confidence::Medium,
        invisible: Some(false),
        summary,
        advice: advice.to_owned(),
        evidence: sent.iter().take(8).map(|signal| signal.line.seq).collect(),
        kubernetes_shows: if evicts(&first.what) {
            vec!["Error 137".to_owned(), "Error 143".to_owned()]
        } else if of_host {
            Vec::new()
        } else if of_process {
            let code = 128 + first.what.signal_number.unwrap_or(9);
            vec![format!("Error {code}, if it was a container's first process")]
        } else {
            vec![if in_pod { "Error 137" } else { "nothing" }.to_owned()]
        },
        missing: vec![
            if evicts(&first.what) {
                "how its containers ended: koordlet's log says only that it evicted the pod"
            } else {
                "how it ended: the killer's log says only that it sent the signal"
            }
            .to_owned(),
        ],
        ..Verdict::default()
    };
    Incident { containers: super::shown::affected(case, context), pod, container, verdict, ..Incident::default() }
}
