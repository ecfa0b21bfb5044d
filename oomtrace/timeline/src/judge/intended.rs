//! Ends of containers that Kubernetes brought about as intended: no incidents, but people ask "why 137?".

use oomtrace_model::{
    Container, ContainerAction, ContainerChange, ContainerEnded, ContainerId, ContainerRole, EndReason, SenderRole,
    Signal,
};

use super::{
    super::{
        evidence::{Cause, Death, Evicted, FirstExit},
        windows::{NOTICED, RELIST},
        words::{one_line, place},
    },
    Context, ending, ends, named,
};

/// An end as Kubernetes intended, and what says so.
pub(super) struct Intended<'a> {
    pub(super) death: &'a Death,
    pub(super) reason: EndReason,
    /// The kubelet's words.
    pub(super) said: Option<&'a Cause<ContainerChange>>,
    signal: Option<&'a Cause<Signal>>,
    evicted: Option<&'a Evicted>,
}

/// The same, to be emitted.
#[derive(Clone)]
pub(crate) struct End {
    /// When it ended, nanoseconds since 1970.
    pub(crate) at: i64,
    pub(crate) node: String,
    pub(crate) container: ContainerId,
    pub(crate) event: ContainerEnded,
}

impl<'a> Intended<'a> {
    /// Why Kubernetes ended a container; `None` where nothing says that it did.
    pub(super) fn of(context: &Context<'a>, death: &'a Death, signal: Option<&'a Cause<Signal>>) -> Option<Self> {
        let evicted = context.evidence.evicted.iter().find(|evicted| ends(evicted, death));
        let said = ending::reason(context, death);
        let by_kubernetes =
            signal.is_some_and(|signal| matches!(signal.what.sender.role, SenderRole::Kubelet | SenderRole::Runtime));
        let reason = match said.and_then(|said| reason_of(&said.what)) {
            _ if death.sandbox => EndReason::Sandbox,
            _ if evicted.is_some() => EndReason::Evicted,
            // A probe that fails ends nothing by itself.
            Some(EndReason::Probe) if !by_kubernetes && !context.evidence.was_reported_to_end(death) => return None,
            Some(reason) => reason,
            None if by_kubernetes || context.evidence.was_reported_to_end(death) => EndReason::Unknown,
            None => return None,
        };
        Some(Self { death, reason, said, signal, evicted })
    }

    /// An end that nothing explains.
    pub(super) fn unknown(death: &'a Death, signal: Option<&'a Cause<Signal>>) -> Self {
        Self { death, reason: EndReason::Unknown, said: None, signal, evicted: None }
    }

    /// The end of a container whose pod was evicted.
    pub(super) fn evicted(context: &Context<'a>, death: &'a Death, evicted: &'a Evicted) -> Self {
        let (signal, said) = (ending::ended_by(context, death), ending::reason(context, death));
        Self { death, reason: EndReason::Evicted, said, signal, evicted: Some(evicted) }
    }

    /// Until when the reason, or what Kubernetes shows, may yet become known.
    pub(super) fn due(&self, context: &Context<'_>) -> i64 {
        let shown = || self.death.container.as_ref().is_some_and(|id| context.evidence.shown(id).is_some());
        match self.reason {
            EndReason::Sandbox => self.death.at,
            EndReason::Unknown => self.death.at + NOTICED,
            _ if shown() => self.death.at,
            _ => self.death.at + RELIST,
        }
    }

    /// The event; `None` of a container without an id.
    pub(super) fn end(&self, context: &Context<'_>, node: &str) -> Option<End> {
        let Self { death, reason, .. } = self;
        let id = death.container.clone()?;
        let pod = named(context, death.pod.as_ref());
        let mut container = context.names.container(&id).map(|seen| seen.container.clone()).unwrap_or_default();
        container.id = Some(id.clone());
        if death.sandbox {
            container = Container { id: Some(id.clone()), role: Some(ContainerRole::Sandbox), ..Container::default() };
        }
        let message = self.message(&place(pod.as_ref(), Some(&container)));
        let event = ContainerEnded {
            sandbox: Some(death.sandbox),
            exit_code: death.exit_code,
            signal: self.signal.map(|signal| signal.what.signal.clone()),
            sender: self.signal.map(|signal| signal.what.sender.clone()),
            reason: *reason,
            message: Some(message),
            cgroup: None,
            container: Some(container),
            pod,
        };
        Some(End { at: death.at, node: node.to_owned(), container: id, event })
    }

    fn message(&self, who: &str) -> String {
        let code = self.death.exit_code.map_or_else(String::new, |code| format!(" with {code}"));
        let by = match self.signal.map(|signal| (signal.what.sender.role, &signal.what)) {
            Some((SenderRole::Kubelet, signal)) => format!(" by {} from the kubelet", signal.signal),
            Some((SenderRole::Runtime, signal)) => format!(" by {} from the container runtime", signal.signal),
            Some((SenderRole::SameContainer, signal)) => format!(" by {} from a process in it", signal.signal),
            Some((_, signal)) => format!(" by {}", signal.signal),
            None => String::new(),
        };
        let words = self.said.and_then(|said| said.what.message.as_deref()).map(one_line);
        let words = words.map_or_else(String::new, |words| format!(" ({words})"));
        let why = match self.reason {
            EndReason::Sandbox => "the runtime ends a sandbox with SIGKILL when its pod has ended".to_owned(),
            EndReason::PodDeleted => "its pod was deleted".to_owned(),
            EndReason::Probe => format!("a probe failed, and the kubelet starts it anew{words}"),
            EndReason::Evicted => match self.evicted.and_then(|evicted| evicted.memory) {
                Some(true) => "its pod was evicted for memory".to_owned(),
                Some(false) => "its pod was evicted, not for memory".to_owned(),
                None => "its pod was evicted".to_owned(),
            },
            EndReason::Preempted => format!("its pod made room for a critical one{words}"),
            EndReason::NodeShutdown => "the node is shutting down".to_owned(),
            EndReason::Restarted => format!("the kubelet starts it anew{words}"),
            EndReason::Unknown => match (self.said, self.signal, self.death.exit) {
                (Some(_), ..) => "the kubelet asked for it, and its log does not say why".to_owned(),
                (None, Some(_), _) => "the kubelet's log does not say that it asked for it".to_owned(),
                (None, None, Some(FirstExit::Status)) => "it exited with that status by itself".to_owned(),
                (None, None, _) => "nothing says who ended it, or why".to_owned(),
            },
        };
        format!("{} ended{code}{by}: {why}.", ending::capital(who))
    }
}

/// What the kubelet's words say of why it ended a container; `None` where they only say that it did.
fn reason_of(said: &ContainerChange) -> Option<EndReason> {
    match (said.action, said.reason.as_deref().unwrap_or_default()) {
        (ContainerAction::PodDeleted, _) | (_, "PodDeleted") => Some(EndReason::PodDeleted),
        (ContainerAction::ProbeFailed, _) | (_, "LivenessProbe" | "StartupProbe") => Some(EndReason::Probe),
        (_, "Evicted") => Some(EndReason::Evicted),
        (_, "NodeShutdown") => Some(EndReason::NodeShutdown),
        (_, ContainerChange::PREEMPTING) => Some(EndReason::Preempted),
        (_, "DefinitionChanged" | "Resize") => Some(EndReason::Restarted),
        _ => None,
    }
}
