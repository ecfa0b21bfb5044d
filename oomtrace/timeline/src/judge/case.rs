//! What belongs together, before it is judged.

use oomtrace_model::{
    AllocationRefused, Container, ContainerId, Incident, Level, OutOfMemoryLog, PanicOnOom, Scenario, SenderRole,
    Severity, Signal, UnderOom,
};

use super::{
    super::{
        evidence::{Cause, Death, Evicted, Kill, unkillable::LeftAlone},
        names::{Names, PodKey},
    },
    Context,
    ending::By,
    eviction, killer, oom, stopped,
};

/// Who a chain of deaths is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A container of a pod, by its name: its id changes with each start.
    Named(PodKey, String),
    /// A container of a pod whose name is not known: what hits the same limit with the same process is taken for the same.
    Alike(PodKey, Option<u64>, Option<String>),
    /// A container without a pod.
    Container(ContainerId),
    /// A pod.
    Pod(PodKey),
    /// A cgroup that is no container's, or a process of the node.
    Cgroup(String),
}

/// Whose limit was hit: a chain has one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Own,
    Pods,
    Node,
    Other,
    Unknown,
    /// None: a person asked.
    Nobodys,
}

/// Why something ended that neither a kill nor an eviction explains.
pub(super) enum Ending<'a> {
    Crashed,
    Refused(&'a Cause<AllocationRefused>),
    /// Its own log says that it ran out of memory.
    GaveUp(&'a Cause<OutOfMemoryLog>),
    Killed(By<'a>),
    /// A user-space OOM killer says that it sent signals; the end was not seen.
    Sent(Vec<&'a Cause<Signal>>),
    /// Nothing ended: it waits, frozen, each time for room under its limit.
    Frozen(Vec<&'a Cause<UnderOom>>),
    /// Nothing ended: nobody may be killed.
    LeftAlone(Vec<&'a Cause<LeftAlone>>),
    /// Nothing ended alone: the kernel was about to panic.
    Panic(&'a Cause<PanicOnOom>),
}

/// An incident in the making.
pub(super) struct Case<'a> {
    pub(super) subject: Subject,
    pub(super) pod: Option<PodKey>,
    pub(super) kills: Vec<&'a Kill>,
    pub(super) evicted: Option<&'a Evicted>,
    pub(super) deaths: Vec<&'a Death>,
    pub(super) ending: Option<Ending<'a>>,
    /// It is not reported before: what would explain it may follow until then.
    pub(super) not_before: Option<i64>,
}

impl Subject {
    pub(super) fn of_kill(kill: &Kill, names: &Names<'_>) -> Self {
        let reported = kill.reported.container.as_ref().and_then(|container| container.name.clone());
        let name = reported.or_else(|| {
            kill.container.as_ref().and_then(|id| names.container(id)).and_then(|seen| seen.container.name.clone())
        });
        match (&kill.pod, name, &kill.container) {
            (Some(pod), Some(name), _) => Self::Named(pod.clone(), name),
            (Some(pod), None, _) => Self::Alike(
                pod.clone(),
                kill.reported.limit.as_ref().and_then(|limit| limit.limit_bytes),
                kill.reported.victim.task.comm.clone(),
            ),
            (None, _, Some(id)) => Self::Container(id.clone()),
            (None, _, None) => {
                let path = kill.reported.cgroup.as_ref().and_then(|cgroup| cgroup.path.clone());
                Self::Cgroup(path.or_else(|| kill.reported.victim.task.comm.clone()).unwrap_or_default())
            }
        }
    }

    /// Whose end it is: by its name, where its id is not known.
    pub(super) fn of_death(death: &Death, names: &Names<'_>) -> Self {
        match (&death.pod, &death.name, &death.container) {
            (Some(pod), Some(name), None) => Self::Named(pod.clone(), name.clone()),
            // Of a pod that nothing names, or of none.
            (None, Some(name), None) => Self::Named(PodKey::Name(String::new(), String::new()), name.clone()),
            (pod, _, container) => Self::of(pod.as_ref(), container.as_ref(), names),
        }
    }

    /// A container that nothing was killed in.
    pub(super) fn of(pod: Option<&PodKey>, container: Option<&ContainerId>, names: &Names<'_>) -> Self {
        let seen = container.and_then(|id| names.container(id));
        match (pod, seen.and_then(|seen| seen.container.name.clone()), container) {
            (Some(pod), Some(name), _) => Self::Named(pod.clone(), name),
            (Some(pod), None, _) => Self::Alike(pod.clone(), None, None),
            (None, _, Some(id)) => Self::Container(id.clone()),
            (None, _, None) => Self::Cgroup(String::new()),
        }
    }
}

impl Class {
    pub(super) fn of_kill(kill: &Kill) -> Self {
        if kill.reported.cause == Some(oomtrace_model::Cause::Sysrq) {
            return Self::Nobodys;
        }
        match kill.reported.limit.as_ref().and_then(|limit| limit.level) {
            Some(Level::Container) if kill.hit_limit_around() => Self::Other,
            Some(Level::Container | Level::Pod) => Self::Own,
            Some(Level::Qos | Level::Kubepods) => Self::Pods,
            Some(Level::Node) => Self::Node,
            Some(Level::Other) => Self::Other,
            None => Self::Unknown,
        }
    }
}

impl<'a> Case<'a> {
    pub(super) fn of_kill(subject: Subject, kill: &'a Kill) -> Self {
        Self {
            subject,
            pod: kill.pod.clone(),
            kills: vec![kill],
            evicted: None,
            deaths: Vec::new(),
            ending: None,
            not_before: None,
        }
    }

    pub(super) fn of_eviction(evicted: &'a Evicted) -> Self {
        Self {
            subject: Subject::Pod(evicted.pod.clone()),
            pod: Some(evicted.pod.clone()),
            kills: Vec::new(),
            evicted: Some(evicted),
            deaths: Vec::new(),
            ending: None,
            not_before: None,
        }
    }

    pub(super) fn of_ending(subject: Subject, death: &'a Death, ending: Ending<'a>) -> Self {
        Self { deaths: vec![death], ..Self::of_stop(subject, death.pod.clone(), ending) }
    }

    pub(super) fn of_stop(subject: Subject, pod: Option<PodKey>, ending: Ending<'a>) -> Self {
        Self {
            subject,
            pod,
            kills: Vec::new(),
            evicted: None,
            deaths: Vec::new(),
            ending: Some(ending),
            not_before: None,
        }
    }

    pub(super) fn last_kill(&self) -> i64 {
        self.kills.iter().rev().take(2).map(|kill| kill.until).max().unwrap_or(i64::MIN)
    }

    /// How many kills there were, those whose lines were let go of included.
    pub(super) fn kill_count(&self) -> u64 {
        self.kills.iter().map(|kill| 1 + kill.more).sum()
    }

    /// When its first kill, its eviction or its first end was.
    pub(super) fn began(&self) -> i64 {
        let kill = self.kills.first().map(|kill| kill.at);
        let evicted = self.evicted.map(|evicted| evicted.at);
        let death = self.deaths.first().filter(|_| kill.is_none() && evicted.is_none()).map(|death| death.at);
        let stopped = match &self.ending {
            Some(Ending::Frozen(frozen)) => frozen.first().map(|frozen| frozen.at),
            Some(Ending::LeftAlone(left)) => left.first().map(|left| left.at),
            Some(Ending::Panic(panic)) => Some(panic.at),
            Some(Ending::Sent(sent)) => sent.first().map(|sent| sent.at),
            _ => None,
        };
        [kill, evicted, death, stopped].into_iter().flatten().min().unwrap_or(0)
    }

    /// Who it is about, for its id: of a pod always the pod, for a kill may join an eviction that was reported already.
    pub(super) fn identity(&self) -> String {
        match (&self.pod, &self.subject) {
            (Some(pod), _) => format!("{pod:?}"),
            (None, subject) => format!("{subject:?}"),
        }
    }

    /// Whether the kubelet had begun to end the pod before the kernel killed.
    pub(super) fn evicted_first(&self) -> bool {
        match (self.evicted, self.kills.first()) {
            (Some(evicted), Some(kill)) => evicted.ending <= kill.at,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Whether it is about memory: a user-space OOM killer acts for it, too.
    pub(super) fn severity(&self, scenario: Scenario) -> Severity {
        match &self.ending {
            Some(Ending::Killed(By::Sender(signal, _))) if signal.what.sender.role == SenderRole::Oomd => {
                Severity::Memory
            }
            Some(Ending::Sent(_)) => Severity::Memory,
            _ => scenario.severity(),
        }
    }

    /// The container that it is about: of several kills in one that was started again, as it was at the first.
    pub(super) fn container(&self, context: &Context<'_>) -> Option<Container> {
        let id = self.kills.iter().find_map(|kill| kill.container.clone()).or_else(|| {
            // An eviction is about the pod.
            self.evicted.is_none().then(|| self.deaths.iter().rev().find_map(|death| death.container.clone())).flatten()
        });
        let id = id.or_else(|| match &self.ending {
            Some(Ending::Frozen(frozen)) => frozen.first()?.container.clone(),
            Some(Ending::LeftAlone(left)) => left.first()?.container.clone(),
            Some(Ending::Panic(panic)) => panic.container.clone(),
            Some(Ending::Sent(sent)) => sent.first()?.container.clone(),
            _ => None,
        });
        let seen = id.as_ref().and_then(|id| context.names.container(id)).map(|seen| seen.container.clone());
        let reported = self.kills.iter().find_map(|kill| kill.reported.container.clone());
        let named = || matches!(self.subject, Subject::Named(..)).then(Container::default);
        let mut container = seen.or(reported).or_else(named)?;
        container.id = id.or(container.id);
        if let Subject::Named(_, name) = &self.subject {
            container.name = Some(name.clone());
        }
        let record = context.names.container_record(self.pod.as_ref(), container.name.as_deref());
        container.image = container.image.or_else(|| record.and_then(|record| record.image.clone()));
        container.role = container.role.or_else(|| record?.role);
        // Of which of its lives, where that is not known: the last.
        let last = || record.filter(|_| container.id.is_none()).and_then(|record| record.restart_count);
        container.restart_count = container.restart_count.or_else(last);
        Some(container)
    }

    /// The incident that it makes.
    pub(super) fn judge(&self, context: &Context<'_>, signal: Option<&eviction::Crossed>) -> Incident {
        if self.kills.is_empty() {
            match &self.ending {
                Some(Ending::Frozen(frozen)) => stopped::frozen(self, context, frozen),
                Some(Ending::LeftAlone(left)) => stopped::left_alone(self, context, left),
                Some(Ending::Panic(panic)) => stopped::panic(self, context, panic),
                Some(Ending::Sent(sent)) => killer::judge(self, context, sent),
                Some(ending) => super::ending::judge(self, context, ending),
                None => eviction::judge(self, context, signal),
            }
        } else {
            oom::judge(self, context, signal)
        }
    }
}
