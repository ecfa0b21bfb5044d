//! Verdicts on ends that neither the OOM killer nor an eviction explains: crashes, refusals, kills by processes.
//!
//! An end is an incident only where it was not what Kubernetes intended, or where Kubernetes shows something else than what
//! happened: a fault's exit code, a refused allocation, a signal from somebody other than Kubernetes, `OOMKilled` or 137 without
//! an OOM kill, a probe that failed while memory was short. A container that exits by itself with 1 is none; of one that Kubernetes
//! ended, see [`intended`](super::intended).

mod heap;

use std::collections::BTreeMap;

use oomtrace_model::{
    AllocationRefused, Confidence, ContainerAction, ContainerChange, EndReason, Incident, OutOfMemoryLog, Pod,
    RefusedBy, Scenario, SenderRole, Signal, Verdict, signal_name,
};

use self::heap::{Heap, use_of};
use super::{
    super::{
        evidence::{Cause, Death, FirstExit},
        nanoseconds,
        windows::{
            CRASH_LOOP, KILL_REASON_TO_END, NOTICED, PROBE_TO_KILL, REFUSED_TO_END, SECOND, SIGKILL_TO_END,
            SIGTERM_TO_END,
        },
        words::{one_line, place, pod_name, size, times},
    },
    Context,
    case::{Case, Ending, Subject},
    intended::Intended,
    killer::{self, Words},
    named, picture, shown,
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
        let at = |ts: &str| nanoseconds(ts).unwrap_or(refused.at);
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
fn is_called_oom(context: &Context<'_>, death: &Death) -> bool {
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
    let (pod, container) = (named(context, case.pod.as_ref()), case.container(context));
    // It is a container that ended, whatever is known of it.
    let inside = Some(place(pod.as_ref(), container.as_ref())).filter(|place| place != "the node");
    let inside = inside.unwrap_or_else(|| "a container".to_owned());
    let code = case.deaths.last().and_then(|death| death.exit_code);
    let deaths = case.deaths.len() as u64;
    let again = if deaths > 1 { format!(" {}", times(deaths)) } else { String::new() };
    let (scenario, summary, advice, confidence, evidence) = match ending {
        Ending::Crashed => (
            Scenario::Crashed,
            format!(
                "{} crashed{again} by {}{}.{}",
                capital(&inside),
                code.and_then(|code| u32::try_from(code - 128).ok()).map_or_else(|| "a signal".to_owned(), signal_name),
                in_words(code),
                use_of(case, context)
            ),
            format!("{}{}", crash_advice(code), Heap::of(case, context).of_crash()),
            Confidence::Medium,
            None,
        ),
        Ending::Refused(refused) => {
            let asked = refused.what.requested_bytes.map_or_else(String::new, |bytes| format!(" of {}", size(bytes)));
            let limit = refused.what.limit_bytes.map_or_else(String::new, |bytes| format!(" ({})", size(bytes)));
            let (what, advice) = refused_by(refused.what.by);
            (
                Scenario::RuntimeRefused,
                format!(
                    "{} gave up{again}{} after the kernel refused {} an allocation{asked} for {what}{limit}; no limit of a cgroup was hit.",
                    capital(&inside),
                    code.map_or_else(String::new, |code| format!(" with exit code {code}")),
                    refused.what.task.comm.as_deref().unwrap_or("it"),
                ),
                advice.to_owned(),
                Confidence::High,
                Some(refused.line.seq),
            )
        }
        Ending::GaveUp(log) => {
            let said = log.what.message.as_deref().map_or_else(String::new, |said| format!(": \"{}\"", one_line(said)));
            let used = use_of(case, context);
            let whose = log.what.runtime.as_deref().map_or_else(String::new, |runtime| format!(" ({runtime})"));
            (
                Scenario::RuntimeRefused,
                format!(
                    "{} gave up{again}{} after its log said that memory ran out{whose}{said}; no OOM kill was seen.{used}",
                    capital(&inside),
                    code.map_or_else(String::new, |code| format!(" with exit code {code}")),
                ),
                heap::advice(case, context, log.what.runtime.as_deref()),
                Confidence::Medium,
                Some(log.line.seq),
            )
        }
        Ending::Killed(by) => {
            let (mut summary, mut advice, seq) =
                killed(by, &capital(&inside), pod_name(pod.as_ref()).as_deref(), code, &again);
            if let Some(death) = case.deaths.iter().find(|death| is_called_oom(context, death)) {
                summary.push_str(&called_oom(context, death));
                advice.push_str(ADVICE_CALLED_OOM);
            }
            (Scenario::Killed, summary, advice, confidence(by), Some(seq))
        }
        // Those are judged elsewhere: nothing ended.
        Ending::Frozen(_) | Ending::Panic(_) | Ending::Sent(_) => return Incident::default(),
    };
    let (kubernetes_shows, kubernetes_shows_seen) = shown::of_end(case, context);
    let verdict = Verdict {
        scenario,
        missing: missing(ending).into_iter().map(ToOwned::to_owned).collect(),
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
fn missing(ending: &Ending<'_>) -> Option<&'static str> {
    match ending {
        Ending::Killed(By::Event(..)) => Some(
            "whether this end was for the probe: its events have no time that tells (the kubelet's log, --kubelet-log)",
        ),
        Ending::Killed(By::Unseen(_)) => {
            Some("who killed it: the node's kernel log and its kubelet's (--kernel-log, --kubelet-log) say more")
        }
        Ending::Crashed => Some(
            "whether the program ran out of memory of its own: its log's last lines (a copy of /var/log/pods with --pods)",
        ),
        _ => None,
    }
}

/// Beside what is said of the end itself.
const ADVICE_CALLED_OOM: &str = " But a process in the container was OOM-killed before, unnoticed: look into that one, in the kernel's log. An alert on OOMKilled should look at the exit code, too.";

/// Why an end is called `OOMKilled` that is none: a process in the container was killed for memory before, and the container
/// lived on.
fn called_oom(context: &Context<'_>, death: &Death) -> String {
    let what = context.evidence.killed_before(death).map_or_else(
        || "a process in it was OOM-killed at some time".to_owned(),
        |(comm, ts)| format!("{comm} was OOM-killed in it at {ts}"),
    );
    format!(" Kubernetes calls it OOMKilled because {what} before, which the container outlived.")
}

fn killed(by: &By<'_>, who: &str, pod: Option<&str>, code: Option<i32>, again: &str) -> (String, String, u64) {
    // What ended may be one of Docker's.
    let look = if pod.is_some() {
        "Look at the pod's events: a failed probe, or a program that did not end in time when it was asked to, ends so."
    } else {
        "Look at who stopped it: a failed probe or health check, or a stop that it did not answer in time, ends so; the kernel's log has the OOM killer's kills."
    };
    let pod = pod.unwrap_or("its pod");
    let code = in_words(code);
    match by {
        By::Sender(signal, reason) => {
            let sender = &signal.what.sender;
            let comm = sender.task.comm.as_deref().unwrap_or("?");
            let pid = sender.task.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            let (whom, why, advice) = match sender.role {
                SenderRole::Oomd => {
                    let Words { name, why, advice } = Words::of(sender);
                    (name, why.to_owned(), advice)
                }
                SenderRole::Kubelet | SenderRole::Runtime => (
                    if sender.role == SenderRole::Kubelet {
                        format!("the kubelet ({comm}{pid})")
                    } else {
                        format!("the container runtime ({comm}{pid})")
                    },
                    because(*reason, pod),
                    "Not memory: Kubernetes asked for it.",
                ),
                SenderRole::SameContainer => (
                    format!("{comm}{pid} in the same container"),
                    "from inside".to_owned(),
                    "Look at the program's own supervisor or entry point.",
                ),
                SenderRole::OtherContainer => (
                    format!("{comm}{pid} in {}", place(sender.task.pod.as_ref(), sender.task.container.as_ref())),
                    "from another container".to_owned(),
                    "Only a container that shares the pid namespace, or has the node's, can do that: look at what it is for.",
                ),
                SenderRole::Person => (
                    format!("{comm}{pid} in a login session on the node"),
                    "outside of Kubernetes".to_owned(),
                    "A person did it, from a shell or with what was started there: the node's login records and shell histories say who.",
                ),
                SenderRole::Systemd => (
                    format!("systemd ({comm}{pid}) on the node"),
                    "outside of Kubernetes".to_owned(),
                    "A unit that holds the container's processes was stopped or restarted, or its limits on time: the node's journal says which.",
                ),
                SenderRole::Process | SenderRole::Kernel => (
                    format!("{comm}{pid} on the node{}", sender.unit.as_deref().map_or_else(String::new, |unit| format!(" ({unit})"))),
                    "outside of Kubernetes".to_owned(),
                    "Something on the node did it: a script, a service, an agent.",
                ),
            };
            let with = if killer::evicts(&signal.what) { String::new() } else { format!(" with {}", signal.what.signal) };
            (
                format!("{who} was ended{again}{with} by {whom} {why}; not by the OOM killer{code}."),
                advice.to_owned(),
                signal.line.seq,
            )
        }
        By::Probe(probe) => (
            format!(
                "{who} was ended{again} by the kubelet because a probe failed{} while it was short of memory; not by the OOM killer{code}.",
                probe.what.message.as_deref().or(probe.what.reason.as_deref()).map_or_else(String::new, |text| format!(" ({})", one_line(text))),
            ),
            "A program that reclaims memory or collects garbage near its limit answers late: raise its limit or make it use less, then look at the probe's timeoutSeconds and failureThreshold.".to_owned(),
            probe.line.seq,
        ),
        By::Nobody(death) => (
            format!("{who} exited{again} with status 137 by itself: no signal ended its first process, and there was no OOM kill in it."),
            "Not memory. A shell exits with 137 where a command that it ran was killed, and some programs use that status on purpose: the program's log says.".to_owned(),
            death.lines.first().map_or(0, |(_, line)| line.seq),
        ),
        By::Event(death, probe) => (
            format!("{who} ended{again} with exit code 137, which is SIGKILL: its events say that the kubelet ends it because its {probe} probe fails, and SIGKILL follows where it does not end in time."),
            format!("Look at why the {probe} probe fails (timeoutSeconds, failureThreshold, a program that is slow or stuck), and at why the program does not end on SIGTERM. Nothing here says that memory ran out."),
            death.lines.first().map_or(0, |(_, line)| line.seq),
        ),
        By::Unseen(death) => (
            format!("{who} ended{again} with exit code 137, which is SIGKILL; its status does not say who killed it, or why."),
            format!("{look} Nothing here says that memory ran out, and nothing says that it did not."),
            death.lines.first().map_or(0, |(_, line)| line.seq),
        ),
        By::Kubelet(change) => (
            format!("{who} was ended{again} by the kubelet {}; not by the OOM killer{code}.", because(Some(change), pod)),
            advice_of(&change.what).to_owned(),
            change.line.seq,
        ),
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

pub(super) fn because(reason: Option<&Cause<ContainerChange>>, pod: &str) -> String {
    match reason.map(|reason| (reason.what.action, &reason.what)) {
        Some((ContainerAction::PodDeleted, _)) => format!("because pod {pod} was deleted"),
        Some((ContainerAction::ProbeFailed, _)) => "because a probe failed".to_owned(),
        Some((_, change)) if change.reason.as_deref() == Some(ContainerChange::PREEMPTING) => format!(
            "because pod {pod} was preempted{}",
            change.message.as_deref().map_or_else(String::new, |why| format!(" ({why})"))
        ),
        Some((_, change)) if change.reason.as_deref() == Some("PodDeleted") => format!("because pod {pod} was deleted"),
        Some((_, change)) => match change.message.as_deref().or(change.reason.as_deref()) {
            Some(text) => format!("as the kubelet asked ({text})"),
            None => "as the kubelet asked".to_owned(),
        },
        None => "for a reason that is not known".to_owned(),
    }
}

/// Where the kubelet ended a container for a reason of its own.
fn advice_of(change: &ContainerChange) -> &'static str {
    let preempted = change.reason.as_deref() == Some(ContainerChange::PREEMPTING);
    if preempted && change.message.as_deref().is_some_and(|why| why.contains("memory")) {
        "Requests of memory, not its use: the node's pods requested nearly all that is allocatable. Leave room for critical pods, or lower requests that are larger than what is used."
    } else {
        "Not memory."
    }
}

/// An exit code, where it is known.
fn in_words(code: Option<i32>) -> String {
    code.map_or_else(String::new, |code| format!(" (exit code {code})"))
}

fn crash_advice(code: Option<i32>) -> String {
    match code.unwrap_or_default() {
        134 => "No OOM kill was seen. A program that aborts itself may have run out of its own heap below the container's limit (Node.js, .NET, JVM, C++ bad_alloc): its log's last lines say so, and a copy of /var/log/pods (--pods) lets oomtrace read them.",
        135 => "No OOM kill was seen. SIGBUS often is a file mapped into memory that was cut, or a full /dev/shm or tmpfs.",
        _ => "No OOM kill was seen. Look at the program's log and core dump; a runtime that is refused memory may crash, too.",
    }
    .to_owned()
}

fn refused_by(by: RefusedBy) -> (&'static str, &'static str) {
    match by {
        RefusedBy::Overcommit => (
            "the node's overcommit limit",
            "The node allows no more promises of memory (vm.overcommit_memory=2, or a single request larger than RAM and swap): the kubelet sets vm.overcommit_memory=1; look at who changed it, or at why the program asks for so much at once.",
        ),
        RefusedBy::RlimitAs => (
            "its limit on address space",
            "Raise or lift RLIMIT_AS (ulimit -v) of the process: runtimes reserve far more address space than they use.",
        ),
        RefusedBy::RlimitData => ("its limit on data", "Raise or lift RLIMIT_DATA (ulimit -d) of the process."),
        RefusedBy::Rlimit => {
            ("a limit of its own", "Raise or lift RLIMIT_AS or RLIMIT_DATA (ulimit -v, ulimit -d) of the process.")
        }
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}
