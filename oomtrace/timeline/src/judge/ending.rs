//! Verdicts on ends that neither the OOM killer nor an eviction explains: crashes, refusals, kills by processes.
//!
//! An end is an incident only where it was not what Kubernetes intended, or where Kubernetes shows something else than what
//! happened: a fault's exit code, a refused allocation, a signal from somebody other than Kubernetes, `OOMKilled` or 137 without
//! an OOM kill, a probe that failed while memory was short. A container that exits by itself with 1 is none; of one that Kubernetes
//! ended, see [`intended`](super::intended).

use std::collections::BTreeMap;

use oomtrace_model::{
    AllocationRefused, Confidence, ContainerAction, ContainerChange, EndReason, Incident, OutOfMemoryLog, Pod,
    Scenario, SenderRole, Signal, Verdict,
};

use super::{
    super::{
        evidence::{Cause, Death, FirstExit},
        in_line,
        windows::{
            CRASH_LOOP, KILL_REASON_TO_END, NOTICED, PROBE_TO_KILL, REFUSED_TO_END, SECOND, SIGKILL_TO_END,
            SIGTERM_TO_END,
        },
    },
    Context,
    case::{Case, Ending, Subject},
    intended::Intended,
    killer, named, picture,
    sentences::{self, missing::Missing},
    shown,
};

/// Who ended a container.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// The sender of a signal; and the kubelet's reason, where its log was read too.
    Sender(&'a Cause<Signal>, Option<&'a Cause<ContainerChange>>),
    /// The kubelet, for a probe that failed while memory was short.
    Probe(&'a Cause<ContainerChange>),
    /// The kubelet, for another reason, or none that it tells.
    Kubelet(&'a Cause<ContainerChange>),
    /// Nobody that was seen: it ended with 137 all the same.
    Nobody(&'a Death),
    /// It ended with 137, and its status is all that is known of it.
    Unseen(&'a Death),
    /// The same, and an event of its pod says which probe the kubelet ends it for.
    Event(&'a Death, &'a str),
}

/// What the end of a container is, where neither a kill nor an eviction for memory explains it.
enum Why<'a> {
    Incident(Ending<'a>),
    /// The same, once nothing that would explain it can follow any more.
    IncidentAfter(i64, Ending<'a>),
    Intended(Intended<'a>),
    /// An end like any other.
    Nothing,
}

/// Makes cases of the ends that are incidents. The others are what Kubernetes intended.
pub(super) fn add<'a>(context: &Context<'a>, deaths: Vec<&'a Death>, cases: &mut Vec<Case<'a>>) -> Vec<Intended<'a>> {
    let mut open: BTreeMap<(Subject, u8), usize> = BTreeMap::new();
    let mut intended = Vec::new();
    for death in deaths {
        let (ending, not_before) = match why(context, death) {
            Why::Incident(ending) => (ending, None),
            Why::IncidentAfter(at, ending) => (ending, Some(at)),
            Why::Intended(end) => {
                intended.push(end);
                continue;
            }
            Why::Nothing => continue,
        };
        let kind = match ending {
            Ending::Crashed => 0,
            Ending::Refused(_) | Ending::GaveUp(_) => 1,
            _ => 2,
        };
        let key = (Subject::of_death(death, context.names), kind);
        let chain = open
            .get(&key)
            .copied()
            .filter(|index| cases[*index].deaths.last().is_some_and(|last| death.at - last.at <= CRASH_LOOP));
        if let Some(case) = chain.and_then(|index| cases.get_mut(index)) {
            case.deaths.push(death);
        } else {
            open.insert(key.clone(), cases.len());
            cases.push(Case { not_before, ..Case::of_ending(key.0, death, ending) });
        }
    }
    intended
}

fn why<'a>(context: &Context<'a>, death: &'a Death) -> Why<'a> {
    if death.is_old(context.names) {
        return Why::Nothing;
    }
    // Kubelets before 1.22 do not tell it.
    let code = death.exit_code;
    if let Some(refused) = refused(context, death).filter(|_| code.is_some_and(|code| !matches!(code, 0 | 137 | 143))) {
        return Why::Incident(Ending::Refused(refused));
    }
    if let Some(log) = last_words(context, death).filter(|_| code.is_some_and(|code| !matches!(code, 0 | 137 | 143))) {
        return Why::Incident(Ending::GaveUp(log));
    }
    if matches!(code, Some(132 | 134 | 135 | 136 | 139 | 159)) {
        return Why::Incident(Ending::Crashed);
    }
    let signal = ended_by(context, death);
    if let Some(signal) = signal.filter(|signal| is_from_elsewhere(&signal.what, code)) {
        return Why::Incident(Ending::Killed(By::Sender(signal, reason(context, death))));
    }
    let Some(intended) = Intended::of(context, death, signal) else { return alone(context, death) };
    if intended.reason == EndReason::Probe
        && code != Some(0)
        && let Some(probe) = intended.said
        && picture::was_short(context, death, probe.at)
    {
        return Why::Incident(Ending::Killed(By::Probe(probe)));
    }
    let killed = matches!(code, Some(137 | 143));
    if !death.sandbox && is_called_oom(context, death) && !is_unseen(context, death, &intended) {
        match (signal.filter(|_| killed), intended.said) {
            (Some(signal), said) => return Why::Incident(Ending::Killed(By::Sender(signal, said))),
            (None, Some(said)) if context.evidence.was_reported_to_end(death) => {
                return Why::Incident(Ending::Killed(By::Kubelet(said)));
            }
            _ => {}
        }
    }
    let asked_about = killed || intended.reason == EndReason::Sandbox || intended.reason == EndReason::Probe;
    if asked_about { Why::Intended(intended) } else { Why::Nothing }
}

/// An end that nothing explains. With 137 people take it for an OOM kill: it is an incident where its first process exited with
/// that status itself, unless its pod may have been deleted unheard. Where a signal ended it that was not seen, that may have
/// been anybody's.
fn alone<'a>(context: &Context<'a>, death: &'a Death) -> Why<'a> {
    match death.exit_code {
        Some(137) if death.oom_victim => Why::Nothing,
        Some(137) if context.known.statuses_alone => {
            let by = by_events(context, death).map_or(By::Unseen(death), |probe| By::Event(death, probe));
            Why::Incident(Ending::Killed(by))
        }
        Some(137)
            if death.exit == Some(FirstExit::Status) && context.evidence.kubelet_heard_all(death, context.names) =>
        {
            Why::IncidentAfter(death.at + NOTICED, Ending::Killed(By::Nobody(death)))
        }
        Some(137 | 143) => Why::Intended(Intended::unknown(death, None)),
        _ => Why::Nothing,
    }
}

/// The probe that events of the pod name, where nothing but statuses and events are known.
fn by_events<'a>(context: &Context<'a>, death: &Death) -> Option<&'a str> {
    let of_pod = |pod: &Pod| {
        let unnamed = pod.name.as_deref().is_none_or(str::is_empty);
        unnamed || context.names.key(Some(pod), None, death.at) == death.pod
    };
    let name = death.name.as_deref();
    let mut kills = context.known.snapshot.probe_kills.iter();
    let kill = kills.find(|kill| of_pod(&kill.pod) && name.is_none_or(|name| name == kill.container))?;
    Some(&kill.probe)
}

/// The refused allocation that it gave up after.
fn refused<'a>(context: &Context<'a>, death: &Death) -> Option<&'a Cause<AllocationRefused>> {
    let of_this =
        |refused: &&Cause<AllocationRefused>| refused.container.is_some() && refused.container == death.container;
    // Several refusals are reported together, the last of them perhaps when the program has ended.
    context.evidence.refusals.iter().filter(of_this).rev().find(|refused| {
        let at = |ts: &str| in_line(&refused.line, refused.at, ts).unwrap_or(refused.at);
        let (first, last) = (at(&refused.what.first_ts), at(&refused.what.last_ts));
        first <= death.at + SECOND && last >= death.at - REFUSED_TO_END
    })
}

/// The signal that ended it: of those that fit its exit code the last, else the last of all that may have led to its end.
pub(super) fn ended_by<'a>(context: &Context<'a>, death: &Death) -> Option<&'a Cause<Signal>> {
    let led_to_it = |signal: &&Cause<Signal>| {
        let takes = match signal.what.signal.as_str() {
            "SIGKILL" => SIGKILL_TO_END,
            "SIGTERM" => SIGTERM_TO_END,
            _ => return false,
        };
        let same = signal.container.is_some() && signal.container == death.container;
        (same || killer::of_whole_pod(signal, death))
            && signal.what.target.container_init != Some(false)
            && signal.what.sender.role != SenderRole::Kernel
            && (death.at - takes..=death.at + SECOND).contains(&signal.at)
    };
    let fits = |signal: &Cause<Signal>| is_code_of(&signal.what, death.exit_code);
    context.evidence.signals.iter().filter(led_to_it).max_by_key(|signal| (fits(signal), signal.at))
}

fn is_code_of(signal: &Signal, code: Option<i32>) -> bool {
    let of_eviction = killer::evicts(signal) && code == Some(137);
    of_eviction || matches!((signal.signal.as_str(), code), ("SIGKILL", Some(137)) | ("SIGTERM", Some(143)))
}

/// Whether a signal that ended a container came from somebody other than Kubernetes. A program may send SIGTERM to itself, as
/// a preStop hook does.
fn is_from_elsewhere(signal: &Signal, code: Option<i32>) -> bool {
    is_code_of(signal, code)
        && match signal.sender.role {
            SenderRole::Kubelet | SenderRole::Runtime | SenderRole::Kernel => false,
            SenderRole::SameContainer => signal.signal == "SIGKILL",
            _ => true,
        }
}

/// The last that its own log says of memory, right before a container's end.
fn last_words<'a>(context: &Context<'a>, death: &Death) -> Option<&'a Cause<OutOfMemoryLog>> {
    let seen = death.container.as_ref().and_then(|id| context.names.container(id));
    let name = seen.and_then(|seen| seen.container.name.as_deref());
    let near = death.at - REFUSED_TO_END..=death.at + NOTICED;
    context.evidence.logs.iter().rev().find(|log| {
        let of_name = log.what.container.as_ref().and_then(|container| container.name.as_deref());
        let same_name = || name.is_none() || of_name.is_none() || name == of_name;
        let same = match (&log.container, &death.container) {
            (Some(log), Some(death)) => log == death,
            _ => log.pod.is_some() && log.pod == death.pod && same_name(),
        };
        // The log's time is the runtime's; the end may be noticed later, and never much earlier.
        let before = log.at <= death.at + SECOND;
        same && before && near.contains(&log.at)
    })
}

/// Whether Kubernetes calls an end `OOMKilled`.
pub(super) fn is_called_oom(context: &Context<'_>, death: &Death) -> bool {
    death.container.as_ref().is_some_and(|id| context.evidence.is_shown_as_oom(id, context.names))
}

/// Whether the pod was gone before Kubernetes could show how a container of it ended, as far as is known.
fn is_unseen(context: &Context<'_>, death: &Death, intended: &Intended<'_>) -> bool {
    let runtimes_word =
        || death.container.as_ref().is_some_and(|id| context.evidence.only_runtime_says(id, context.names));
    intended.reason == EndReason::PodDeleted && runtimes_word()
}

/// Whether a container ended because its pod was deleted, and Kubernetes did not show how.
pub(super) fn is_unseen_end(context: &Context<'_>, death: &Death) -> bool {
    Intended::of(context, death, ended_by(context, death)).is_some_and(|intended| is_unseen(context, death, &intended))
}

/// What the kubelet says of its ending this container: the best of it, and of that the last.
pub(super) fn reason<'a>(context: &Context<'a>, death: &Death) -> Option<&'a Cause<ContainerChange>> {
    let before = death.at - KILL_REASON_TO_END..=death.at + SECOND;
    let name = death.container.as_ref().and_then(|id| context.names.container(id)?.container.name.as_deref());
    let reported_at = context
        .evidence
        .killings(death)
        .filter(|reported| before.contains(&reported.at))
        .map(|reported| reported.at)
        .max();
    let said = context.evidence.changes_of(death.pod.as_ref()?).filter(|change| {
        let of_name = change.what.container.as_ref().and_then(|container| container.name.as_deref());
        let of_this = match &change.container {
            Some(_) => change.container == death.container,
            None => name.zip(of_name).is_none_or(|(name, of_name)| name == of_name),
        };
        of_this && before.contains(&change.at)
    });
    let weighed = said.filter_map(|change| Some((weight(change, reported_at)?, change)));
    weighed.max_by_key(|(weight, change)| (*weight, change.at)).map(|(_, change)| change)
}

/// How much the kubelet's words say of why a container ended that it ended at a time; `None` where they say nothing.
fn weight(change: &Cause<ContainerChange>, reported_at: Option<i64>) -> Option<u8> {
    let reason = change.what.reason.as_deref();
    match change.what.action {
        ContainerAction::PodDeleted => Some(3),
        // A reason of its own, as that the container's definition changed; a failed probe's line has the probe's words.
        ContainerAction::Killing => {
            Some(if reason.is_some_and(|reason| !reason.ends_with("Probe") && reason != "Unknown") { 3 } else { 1 })
        }
        // A pod that is not ready gets no requests, and nothing else. And a probe has to fail several times.
        ContainerAction::ProbeFailed if reason != Some("Readiness") => {
            reported_at.is_none_or(|reported| reported - change.at <= PROBE_TO_KILL).then_some(2)
        }
        _ => None,
    }
}

pub(super) fn judge(case: &Case<'_>, context: &Context<'_>, ending: &Ending<'_>) -> Incident {
    let (scenario, confidence, evidence) = match ending {
        Ending::Crashed => (Scenario::Crashed, Confidence::Medium, None),
        Ending::Refused(refused) => (Scenario::RuntimeRefused, Confidence::High, Some(refused.line.seq)),
        Ending::GaveUp(log) => (Scenario::RuntimeRefused, Confidence::Medium, Some(log.line.seq)),
        Ending::Killed(by) => (Scenario::Killed, confidence(by), Some(evidence_of(by))),
        // Those are judged elsewhere: nothing ended.
        Ending::Frozen(_) | Ending::LeftAlone(_) | Ending::Panic(_) | Ending::Sent(_) => return Incident::default(),
    };
    let (pod, container) = (named(context, case.pod.as_ref()), case.container(context));
    let (summary, advice) = sentences::ending::of(case, context, ending, pod.as_ref(), container.as_ref());
    let (kubernetes_shows, kubernetes_shows_seen) = shown::of_end(case, context);
    let verdict = Verdict {
        scenario,
        missing: missing(ending).map(Missing::text).into_iter().collect(),
        invisible: Some(false),
        group_kill: (!matches!(ending, Ending::Killed(By::Unseen(_) | By::Event(..)))).then_some(false),
        summary,
        advice,
        confidence,
        evidence: evidence
            .into_iter()
            .chain(case.deaths.iter().take(8).filter_map(|death| death.lines.first()).map(|(_, line)| line.seq))
            .collect(),
        kubernetes_shows,
        kubernetes_shows_seen,
        ..Verdict::default()
    };
    Incident {
        containers: shown::affected(case, context),
        pod,
        container,
        verdict,
        deaths: case.deaths.len() as u64,
        ..Incident::default()
    }
}

/// What would say more of an end.
fn missing(ending: &Ending<'_>) -> Option<Missing> {
    match ending {
        Ending::Killed(By::Event(..)) => Some(Missing::ForProbe),
        Ending::Killed(By::Unseen(_)) => Some(Missing::Killer),
        Ending::Crashed => Some(Missing::LastWords),
        _ => None,
    }
}

/// The line that says who ended it.
fn evidence_of(by: &By<'_>) -> u64 {
    let of_death = |death: &Death| death.lines.first().map_or(0, |(_, line)| line.seq);
    match by {
        By::Sender(signal, _) => signal.line.seq,
        By::Probe(change) | By::Kubelet(change) => change.line.seq,
        By::Nobody(death) | By::Unseen(death) | By::Event(death, _) => of_death(death),
    }
}

/// How sure it is who ended it.
fn confidence(by: &By<'_>) -> Confidence {
    match by {
        // That the probe failed because of it is inferred.
        By::Probe(_) | By::Event(..) => Confidence::Medium,
        By::Unseen(_) => Confidence::Low,
        _ => Confidence::High,
    }
}
