//! Verdicts where a user-space OOM killer says that it sent a signal, and nothing shows the end that it led to.

use std::collections::BTreeMap;

use oomtrace_model::{Confidence, Incident, Scenario, SenderRole, Signal, Source, Verdict};

use super::{
    super::{
        evidence::{Cause, Death},
        windows::{CRASH_LOOP, NOTICED, SECOND, SIGKILL_TO_END, SIGTERM_TO_END},
    },
    Context,
    case::{Case, Ending, Subject},
    named,
    sentences::{self, missing::Missing},
};

/// It evicts a pod by the API, or stops all its containers, and does not say which.
pub(super) const KOORDLET: &str = "koordlet";

/// Whether a cgroup is of the host's own services or users, and not of pods.
fn is_of_host(path: &str) -> bool {
    ["/user.slice", "/system.slice", "/init.scope", "/machine.slice"].iter().any(|start| path.starts_with(start))
        && !path.contains("kubepods")
        && !path.contains("kubelet")
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
            (None, None) => Subject::Cgroup(sentences::killer::whom(&signal.what)),
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

pub(super) fn judge(case: &Case<'_>, context: &Context<'_>, sent: &[&Cause<Signal>]) -> Incident {
    let Some(first) = sent.first() else { return Incident::default() };
    let (pod, container) = (named(context, case.pod.as_ref()), case.container(context));
    let in_pod = pod.is_some() || container.is_some();
    let of_process = first.what.cgroup.is_none() && !in_pod;
    // A cgroup that is neither a pod's nor above pods is of the host's own services and users.
    let of_host =
        !in_pod && first.what.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()).is_some_and(is_of_host);
    let (summary, advice) = sentences::killer::of(sent, pod.as_ref(), container.as_ref(), of_host);
    let verdict = Verdict {
        scenario: Scenario::Killed,
        confidence: Confidence::Medium,
        invisible: Some(false),
        summary,
        advice,
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
        missing: vec![if evicts(&first.what) { Missing::EndOfEvicted } else { Missing::EndOfSignalled }.text()],
        ..Verdict::default()
    };
    Incident { containers: super::shown::affected(case, context), pod, container, verdict, ..Incident::default() }
}
