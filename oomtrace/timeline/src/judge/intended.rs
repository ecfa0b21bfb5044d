//! Ends of containers that Kubernetes brought about as intended: no incidents, but people ask "why 137?".

use oomtrace_model::{
    Container, ContainerAction, ContainerChange, ContainerEnded, ContainerId, ContainerRole, EndReason, SenderRole,
    Signal,
};

use super::{
    super::{
        evidence::{Cause, Death, Evicted},
        windows::{NOTICED, RELIST},
        words::place,
    },
    Context, ending, ends, named, sentences,
};

/// An end as Kubernetes intended, and what says so.
pub(super) struct Intended<'a> {
    pub(super) death: &'a Death,
    pub(super) reason: EndReason,
    /// The kubelet's words.
    pub(super) said: Option<&'a Cause<ContainerChange>>,
    pub(super) signal: Option<&'a Cause<Signal>>,
    pub(super) evicted: Option<&'a Evicted>,
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
        let message = sentences::intended::message(self, &place(pod.as_ref(), Some(&container)));
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
