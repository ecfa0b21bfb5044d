//! What is said of an incident's events.

use oomtrace_model::{
    Container, ContainerAction, ContainerChange, Event, Eviction, EvictionPhase, Line, Mark, PressureScope, SenderRole,
    Source, UnderOomState,
};

use super::super::{
    super::evidence::unkillable::Unkillable,
    super::words::{listed, one_line, pod_name, size, times},
    Context,
    killer::evicts,
    steps::has_ceased,
};

/// A step in words; `several` as in the step's case has kills in more than one container, or ends beside them.
pub(in super::super) fn of(line: &Line, several: bool, context: &Context<'_>) -> Option<(Mark, String)> {
    let of = |container: Option<&Container>| {
        let id = container.and_then(|container| container.id.as_ref());
        let reported = container.and_then(|container| container.name.clone());
        let name = reported
            .or_else(|| id.and_then(|id| context.names.container(id)).and_then(|seen| seen.container.name.clone()));
        name.or_else(|| id.map(|id| format!("{:.12}", id.as_str())))
            .map_or_else(|| "the container".to_owned(), |name| format!("container {name}"))
    };
    Some(match &line.event {
        Event::OomKill(kill) => {
            let comm = kill.victim.task.comm.as_deref().unwrap_or("?");
            let pid =
                kill.victim.task.tgid.or(kill.victim.task.pid).map_or_else(String::new, |pid| format!(" ({pid})"));
            let with =
                if kill.members.is_empty() { String::new() } else { format!(" and {} more", kill.members.len()) };
            let place = if several { format!(" in {}", of(kill.container.as_ref())) } else { String::new() };
            let used = kill.limit.as_ref().and_then(|limit| Some((limit.usage_bytes?, limit.limit_bytes?)));
            let used = used.map_or_else(String::new, |(used, limit)| format!(", {} of {}", size(used), size(limit)));
            (Mark::Kill, format!("OOM kill: {comm}{pid}{with}{place}{used}"))
        }
        Event::ProcessExit(exit) => {
            let how = match (&exit.signal, exit.exit_code) {
                (Some(signal), _) => format!("by {signal}"),
                (None, Some(code)) => format!("with status {code}"),
                (None, None) => String::new(),
            };
            let comm = exit.task.comm.as_deref().unwrap_or("?");
            let ends = exit
                .container_exit_code
                .map_or_else(String::new, |code| format!(": {} ends with {code}", of(exit.container.as_ref())));
            (Mark::Exit, format!("{comm} ends {how}{ends}"))
        }
        Event::Signal(signal) => {
            let sender = signal.sender.task.comm.as_deref().unwrap_or("?");
            if evicts(signal) {
                return Some((Mark::Eviction, format!("{sender} evicts the pod")));
            }
            let target = match signal.target.comm.as_deref() {
                // Some kill all of a cgroup.
                None if signal.sender.role == SenderRole::Oomd => "all its processes",
                comm => comm.unwrap_or("?"),
            };
            (Mark::Signal, format!("{} from {sender} to {target}", signal.signal))
        }
        Event::ChargeFailures(failures) if has_ceased(failures) => return None,
        Event::ChargeFailures(failures) => {
            let often = failures
                .attempts
                .or(failures.failed)
                .filter(|often| *often > 0)
                .map_or_else(String::new, |often| format!(" {}", times(often)));
            (Mark::Failure, format!("the limit was hit{often}"))
        }
        Event::AllocationRefused(refused) => {
            let asked = refused.requested_bytes.map_or_else(String::new, |bytes| format!(" of {}", size(bytes)));
            (
                Mark::Failure,
                format!("the kernel refused {} an allocation{asked}", refused.task.comm.as_deref().unwrap_or("?")),
            )
        }
        Event::OutOfMemoryLog(log) => {
            (Mark::Failure, format!("its log says: {}", one_line(log.message.as_deref().unwrap_or("?"))))
        }
        Event::Pressure(pressure) => {
            let limit = pressure.limit_bytes.map_or_else(String::new, |limit| format!(" of {}", size(limit)));
            let words = match pressure.scope {
                Some(PressureScope::Exit) => {
                    format!("at most {}{limit} was used at a time", size(pressure.peak_bytes?))
                }
                _ => format!("memory {}{limit}", size(pressure.usage_bytes?)),
            };
            (Mark::Other, words)
        }
        Event::Eviction(step) => eviction(step)?,
        Event::UnderOom(frozen) => {
            let words = match frozen.state {
                UnderOomState::Began => "the limit was hit, and who asks for more waits".to_owned(),
                UnderOomState::Ended => format!(
                    "nobody waits any more{}",
                    frozen.waited_ms.map_or_else(String::new, |ms| format!(", after {:.1} s", ms / 1000.0))
                ),
            };
            (Mark::Failure, words)
        }
        Event::OomDecision(_) => {
            Unkillable::of(&line.event)?;
            (Mark::Failure, "the limit was hit, and nobody may be killed".to_owned())
        }
        Event::PanicOnOom(panic) => {
            let why = match panic.panic_on_oom {
                0 => "nobody is left to kill".to_owned(),
                set => format!("vm.panic_on_oom is {set}"),
            };
            (Mark::Kill, format!("the kernel is about to panic: {why}"))
        }
        Event::SystemOom(oom) if oom.of_any_limit => (Mark::Other, "the kubelet notes an OOM kill".to_owned()),
        Event::SystemOom(_) => (Mark::Other, "the kubelet notes that the node was out of memory".to_owned()),
        Event::Container(change) => changed(change, line.source, &of(change.container.as_ref()))?,
        _ => return None,
    })
}

/// What became of a container.
fn changed(change: &ContainerChange, source: Source, who: &str) -> Option<(Mark, String)> {
    let code = change.exit_code.map_or_else(String::new, |code| format!(" with exit code {code}"));
    let said = change.message.as_deref().or(change.reason.as_deref());
    let words = said.map_or_else(String::new, |text| format!(": {}", one_line(text)));
    Some(match change.action {
        ContainerAction::Died => {
            let witness = if source == Source::Cri { "the container runtime" } else { "the kubelet" };
            (Mark::Exit, format!("{witness} sees {who} ended{code}"))
        }
        ContainerAction::Killing => {
            let grace = change.grace_period_ms.map_or_else(String::new, |ms| format!(", {} s of grace", ms / 1000));
            (Mark::Signal, format!("the kubelet ends {who}{grace}{words}"))
        }
        ContainerAction::KillFailed => (Mark::Other, format!("the kubelet cannot end {who}{words}")),
        ContainerAction::ProbeFailed => (Mark::Other, format!("a probe of {who} failed{words}")),
        ContainerAction::BackOff => (Mark::Other, format!("the kubelet waits before it starts {who} again")),
        ContainerAction::PodDeleted => (Mark::Other, "the pod is being deleted".to_owned()),
        ContainerAction::Reported => {
            let reason = change.reason.as_deref().unwrap_or("nothing");
            (Mark::Other, format!("Kubernetes shows {who} as {reason}{code}"))
        }
        ContainerAction::OomNoticed => {
            let begins = change.id_begins().map(|begins| format!("a container whose id begins with {begins}"));
            let unit = || Some(format!("unit {}", change.cgroup.as_ref()?.unit.as_deref()?));
            let inside = begins.or_else(unit);
            (Mark::Other, format!("the OOM kill in {} was noticed", inside.as_deref().unwrap_or(who)))
        }
        ContainerAction::Created | ContainerAction::Started | ContainerAction::Removed => return None,
    })
}

fn eviction(step: &Eviction) -> Option<(Mark, String)> {
    let amounts = match (step.available_bytes, step.threshold_bytes) {
        (Some(available), Some(threshold)) => format!(": {} available, threshold {}", size(available), size(threshold)),
        (Some(available), None) => format!(": {} available", size(available)),
        _ => String::new(),
    };
    let what = step.signal.as_deref().or(step.resource.as_deref()).unwrap_or("memory");
    Some((
        Mark::Eviction,
        match step.phase {
            EvictionPhase::Observed => format!("the kubelet observed {what}{amounts}"),
            EvictionPhase::ThresholdMet => format!("threshold of {what} met{amounts}"),
            EvictionPhase::GracePeriodNotMet => {
                format!("soft threshold of {what} met, not for long enough yet{amounts}")
            }
            EvictionPhase::MustEvict => "pods must be evicted".to_owned(),
            EvictionPhase::Ranked => {
                let most = step.pods.iter().take(4).filter_map(|pod| pod_name(Some(pod))).collect::<Vec<_>>();
                let more = step.pods.len().saturating_sub(most.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("ranked: {}{more}", if more.is_empty() { listed(&most) } else { most.join(", ") })
            }
            EvictionPhase::Evicting => format!("the kubelet evicts the pod{amounts}"),
            EvictionPhase::Evicted => "the pod is evicted".to_owned(),
            EvictionPhase::Failed => "the kubelet waited in vain for the pod to end".to_owned(),
            EvictionPhase::CleanedUp => "the pod is cleaned up".to_owned(),
            EvictionPhase::CleanupTimedOut => "the pod was not cleaned up in time".to_owned(),
            _ => return None,
        },
    ))
}
