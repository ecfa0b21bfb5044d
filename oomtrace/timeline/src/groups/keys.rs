//! Which lines belong together: those that have a key in common.

use oomtrace_model::{
    Cgroup, Container, ContainerAction, ContainerId, Event, EvictionPhase, Level, OomKill, Pod, PodUid,
    cgroup_path::CgroupIdentity, snapshot::Snapshot,
};

/// What makes lines belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Uid(PodUid),
    Name(String, String),
    Container(ContainerId),
    /// A victim's process id: one kill is reported by several.
    Process(u32),
    /// A cgroup whose limit is hit, or that is read.
    Path(String),
    /// Evictions, and what is observed of the node's memory.
    Evictions,
    /// The node is out of memory.
    Node,
    /// What names nobody.
    Nobody,
}

/// The container that an event tells the start of.
pub(super) fn starts(event: &Event) -> Option<&ContainerId> {
    match event {
        Event::Container(change) if matches!(change.action, ContainerAction::Created | ContainerAction::Started) => {
            change.container.as_ref()?.id.as_ref()
        }
        _ => None,
    }
}

/// The container that an event tells a kill in.
pub(in super::super) fn killed_in(event: &Event) -> Option<&ContainerId> {
    let container = match event {
        Event::OomKill(kill) => &kill.container,
        Event::Container(change) if change.action == ContainerAction::OomNoticed => &change.container,
        _ => return None,
    };
    container.as_ref()?.id.as_ref()
}

/// The container that an event tells the end of.
pub(in super::super) fn ended(event: &Event) -> Option<ContainerId> {
    let container = match event {
        Event::Container(change) => match change.action {
            ContainerAction::Died | ContainerAction::Removed | ContainerAction::Reported => &change.container,
            _ => return None,
        },
        Event::ProcessExit(exit) if exit.container_exit_code.is_some() => &exit.container,
        _ => return None,
    };
    container.as_ref()?.id.clone()
}

/// Whether an event shows that its node is one of Kubernetes.
pub(in super::super) fn is_of_kubernetes(event: &Event) -> bool {
    let of_limit = |level: Option<Level>| matches!(level, Some(Level::Pod | Level::Qos | Level::Kubepods));
    let pod = match event {
        Event::OomKill(kill) => {
            let limit = kill.limit.as_ref();
            let known = limit.is_some_and(|limit| limit.pod.is_some() || of_limit(limit.level));
            let kubelet = |comm: Option<&str>| comm == Some("kubelet");
            let beside = || kill.candidates.iter().flatten().any(|other| kubelet(other.task.comm.as_deref()));
            let path = kill.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref());
            let within = || path.is_some_and(|path| of_limit(Some(CgroupIdentity::parse(path).level)));
            return kill.pod.is_some() || known || kill.trigger.pod.is_some() || beside() || within();
        }
        Event::Pressure(pressure) => return pressure.pod.is_some() || of_limit(pressure.level),
        Event::Eviction(_) | Event::SystemOom(_) => return true,
        Event::ProcessExit(exit) => &exit.pod,
        Event::Signal(signal) => &signal.pod,
        Event::AllocationRefused(refused) => &refused.pod,
        Event::UnderOom(frozen) => &frozen.pod,
        Event::PanicOnOom(panic) => &panic.pod,
        Event::OomDecision(decision) => {
            return decision.limit.as_ref().is_some_and(|limit| limit.pod.is_some() || of_limit(limit.level));
        }
        Event::Container(change) => &change.pod,
        Event::ChargeFailures(failures) => &failures.pod,
        _ => return false,
    };
    pod.is_some()
}

pub(super) fn pod_keys(pod: Option<&Pod>, snapshot: &Snapshot) -> impl Iterator<Item = Key> {
    let uid = pod.and_then(|pod| pod.uid.as_ref()).map(|uid| Key::Uid(snapshot.canonical(uid).clone()));
    let name = pod.and_then(|pod| Some(Key::Name(pod.namespace.clone()?, pod.name.clone()?)));
    uid.into_iter().chain(name)
}

fn place(pod: Option<&Pod>, container: Option<&Container>, snapshot: &Snapshot) -> Vec<Key> {
    let id = container.and_then(|container| container.id.clone()).map(Key::Container);
    pod_keys(pod, snapshot).chain(id).collect()
}

fn path(cgroup: Option<&Cgroup>) -> Option<Key> {
    Some(Key::Path(cgroup?.path.clone()?))
}

/// What a line belongs to.
pub(super) fn keys(event: &Event, snapshot: &Snapshot) -> Vec<Key> {
    let of = |pod: &Option<Pod>, container: &Option<Container>| place(pod.as_ref(), container.as_ref(), snapshot);
    let mut keys = match event {
        Event::OomKill(kill) => {
            let mut keys = of(&kill.pod, &kill.container);
            keys.extend(of_kill(kill));
            keys
        }
        Event::ProcessExit(exit) => of(&exit.pod, &exit.container),
        Event::Signal(signal) => {
            let mut keys = of(&signal.pod, &signal.container);
            if keys.is_empty() {
                keys.extend(path(signal.cgroup.as_ref()).or(signal.target.pid.map(Key::Process)));
            }
            keys
        }
        Event::AllocationRefused(refused) => of(&refused.pod, &refused.container),
        Event::UnderOom(frozen) => of(&frozen.pod, &frozen.container),
        Event::PanicOnOom(panic) => of(&panic.pod, &panic.container),
        Event::OomDecision(decision) => {
            let limit = decision.limit.as_ref();
            let mut keys = limit.map_or_else(Vec::new, |limit| of(&limit.pod, &limit.container));
            keys.extend(limit.and_then(|limit| limit.cgroup.clone()).map(Key::Path));
            keys
        }
        Event::Container(change) => of(&change.pod, &change.container),
        Event::OutOfMemoryLog(log) => of(&log.pod, &log.container),
        Event::ChargeFailures(failures) => {
            let mut keys = of(&failures.pod, &failures.container);
            keys.extend(path(failures.cgroup.as_ref()));
            keys
        }
        Event::Pressure(pressure) => {
            let mut keys = of(&pressure.pod, &pressure.container);
            keys.extend(path(pressure.cgroup.as_ref()));
            if pressure.level == Some(Level::Node) {
                keys.extend([Key::Evictions, Key::Node]);
            }
            keys
        }
        Event::SystemOom(oom) => oom.pid.map(Key::Process).into_iter().chain([Key::Node]).collect(),
        Event::Eviction(step) => {
            let listed = if step.phase == EvictionPhase::Ranked { &[][..] } else { &step.pods[..] };
            let pods = step.pod.iter().chain(listed).flat_map(|pod| pod_keys(Some(pod), snapshot));
            // Who is refused competes with nobody.
            let evictions = step.phase != EvictionPhase::AdmissionRefused;
            pods.chain(evictions.then_some(Key::Evictions)).collect()
        }
        _ => Vec::new(),
    };
    if keys.is_empty() {
        keys.push(Key::Nobody);
    }
    keys
}

fn of_kill(kill: &OomKill) -> impl Iterator<Item = Key> {
    let limit = kill.limit.as_ref();
    let process = kill.victim.task.tgid.or(kill.victim.task.pid).map(Key::Process);
    let path = limit.and_then(|limit| limit.cgroup.clone()).map(Key::Path);
    let node = (limit.and_then(|limit| limit.level) == Some(Level::Node)).then_some(Key::Node);
    // What systemd notices in a unit names no container in it.
    let in_unit = kill.cgroup.as_ref().is_some_and(|cgroup| cgroup.unit.is_some());
    let nobody = (in_unit || (kill.pod.is_none() && kill.container.is_none())).then_some(Key::Nobody);
    process.into_iter().chain(path).chain(node).chain(nobody)
}

/// Whom else a line teaches a name of: pods that were ranked, and processes that could have been killed.
pub(super) fn lessons(event: &Event, snapshot: &Snapshot) -> Vec<Vec<Key>> {
    let lessons: Vec<Vec<Key>> = match event {
        Event::Eviction(step) if step.phase == EvictionPhase::Ranked => {
            step.pods.iter().map(|pod| pod_keys(Some(pod), snapshot).collect()).collect()
        }
        Event::OomKill(kill) => kill
            .candidates
            .iter()
            .flatten()
            .map(|candidate| place(candidate.task.pod.as_ref(), candidate.task.container.as_ref(), snapshot))
            .collect(),
        _ => Vec::new(),
    };
    lessons.into_iter().filter(|keys| !keys.is_empty()).collect()
}
