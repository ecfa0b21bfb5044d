//! Which pod and which container something belongs to, from all that the lines and the files say.

use std::collections::{BTreeMap, BTreeSet};

use oomtrace_model::{
    Candidate, Container, ContainerAction, ContainerId, ContainerRole, Event, Pod, PodUid, Task,
    snapshot::{ContainerRecord, PodRecord, Snapshot},
};

use super::Kept;

/// What the kubelet gives a sandbox's process, and none of a container's (`pkg/kubelet/qos/policy.go`, `PodInfraOOMAdj`): its
/// name alone anybody may have.
pub(super) const SANDBOX_SCORE: i32 = -998;

/// What the kubelet notices at once, it logs in any order.
const SANDBOX_FIRST: i64 = super::windows::SECOND / 10;

/// Who a pod is: its uid where that is known, for names come back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum PodKey {
    Uid(PodUid),
    Name(String, String),
}

/// What is known of a pod from lines.
#[derive(Default)]
struct SeenPod {
    pod: Pod,
    /// First and last time of any line about it.
    first: i64,
    last: i64,
}

/// What is known of a container from lines.
#[derive(Clone, Default)]
pub(super) struct SeenContainer {
    pub(super) pod: Option<PodUid>,
    pub(super) container: Container,
    sandbox: Option<bool>,
    pub(super) started: Option<i64>,
    pub(super) ended: Option<i64>,
    /// Its process, or that of a candidate of the OOM killer, was seen to be a sandbox's.
    pause: bool,
}

impl SeenContainer {
    /// Whether it is a pod's sandbox. A container with a name may run a program that is called "pause", too.
    fn is_sandbox(&self) -> bool {
        self.sandbox.unwrap_or(self.pause && self.container.name.is_none())
    }
}

fn of_sandbox(id: &ContainerId) -> Container {
    Container { id: Some(id.clone()), role: Some(ContainerRole::Sandbox), ..Container::default() }
}

/// All names of a node.
pub(super) struct Names<'a> {
    snapshot: &'a Snapshot,
    pods: BTreeMap<PodUid, SeenPod>,
    by_name: BTreeMap<(String, String), BTreeSet<PodUid>>,
    /// Pods that lines name without a uid.
    named: BTreeSet<(String, String)>,
    containers: BTreeMap<ContainerId, SeenContainer>,
}

impl<'a> Names<'a> {
    /// Learns from every line.
    pub(super) fn learn(lines: &[Kept], snapshot: &'a Snapshot) -> Self {
        let mut names = Self {
            snapshot,
            pods: BTreeMap::new(),
            by_name: BTreeMap::new(),
            named: BTreeSet::new(),
            containers: BTreeMap::new(),
        };
        for record in snapshot.pods.values() {
            names.learn_record(record);
        }
        for kept in lines {
            names.learn_line(kept);
        }
        names.learn_sandboxes(lines);
        names.learn_by_elimination();
        names
    }

    fn learn_record(&mut self, record: &PodRecord) {
        let Some(uid) = record.pod.uid.clone() else { return };
        self.learn_pod(&record.pod, None);
        for (name, container) in &record.containers {
            for (id, restart_count) in &container.ids {
                let seen = self.containers.entry(id.clone()).or_default();
                seen.pod = Some(uid.clone());
                seen.container = Container {
                    id: Some(id.clone()),
                    name: Some(name.clone()),
                    image: container.image.clone(),
                    restart_count: *restart_count,
                    role: container.role,
                };
                seen.sandbox = Some(false);
            }
        }
        for id in &record.sandboxes {
            let seen = self.containers.entry(id.clone()).or_default();
            seen.pod = Some(uid.clone());
            seen.container = of_sandbox(id);
            seen.sandbox = Some(true);
        }
    }

    fn learn_line(&mut self, kept: &Kept) {
        let at = Some(kept.at);
        match &kept.line.event {
            Event::OomKill(kill) => {
                self.learn_both(kill.pod.as_ref(), kill.container.as_ref(), at);
                self.learn_process(kill.container.as_ref(), &kill.victim.task);
                for Candidate { task, .. } in kill.candidates.iter().flatten() {
                    self.learn_both(task.pod.as_ref(), task.container.as_ref(), at);
                    self.learn_process(task.container.as_ref(), task);
                }
            }
            Event::ProcessExit(exit) => {
                self.learn_both(exit.pod.as_ref(), exit.container.as_ref(), at);
                self.learn_process(exit.container.as_ref(), &exit.task);
            }
            Event::Signal(signal) => {
                self.learn_both(signal.pod.as_ref(), signal.container.as_ref(), at);
                self.learn_process(signal.container.as_ref(), &signal.target);
            }
            Event::ChargeFailures(failures) => self.learn_both(failures.pod.as_ref(), failures.container.as_ref(), at),
            Event::AllocationRefused(refused) => self.learn_both(refused.pod.as_ref(), refused.container.as_ref(), at),
            Event::OomDecision(decision) => {
                let limit = decision.limit.as_ref();
                self.learn_both(
                    limit.and_then(|limit| limit.pod.as_ref()),
                    limit.and_then(|limit| limit.container.as_ref()),
                    at,
                );
            }
            Event::UnderOom(frozen) => self.learn_both(frozen.pod.as_ref(), frozen.container.as_ref(), at),
            Event::PanicOnOom(panic) => self.learn_both(panic.pod.as_ref(), panic.container.as_ref(), at),
            Event::Pressure(pressure) => self.learn_both(pressure.pod.as_ref(), pressure.container.as_ref(), at),
            Event::Eviction(eviction) => {
                for pod in eviction.pod.iter().chain(&eviction.pods) {
                    self.learn_pod(pod, at);
                }
            }
            Event::OutOfMemoryLog(log) => self.learn_both(log.pod.as_ref(), log.container.as_ref(), at),
            Event::Container(change) => {
                self.learn_both(change.pod.as_ref(), change.container.as_ref(), at);
                let Some(id) = change.container.as_ref().and_then(|container| container.id.clone()) else { return };
                let seen = self.containers.entry(id).or_default();
                seen.sandbox = seen.sandbox.or(change.sandbox);
                match change.action {
                    ContainerAction::Created | ContainerAction::Started => {
                        seen.started = Some(seen.started.map_or(kept.at, |before| before.min(kept.at)));
                    }
                    ContainerAction::Died | ContainerAction::Removed => {
                        seen.ended = Some(seen.ended.map_or(kept.at, |before| before.min(kept.at)));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn learn_both(&mut self, pod: Option<&Pod>, container: Option<&Container>, at: Option<i64>) {
        if let Some(pod) = pod {
            self.learn_pod(pod, at);
        }
        let Some((id, container)) = container.and_then(|container| Some((container.id.clone()?, container))) else {
            return;
        };
        let uid = pod.and_then(|pod| pod.uid.as_ref()).map(|uid| self.snapshot.canonical(uid).clone());
        let seen = self.containers.entry(id.clone()).or_default();
        seen.pod = seen.pod.take().or(uid);
        let known = &mut seen.container;
        known.id = Some(id);
        // The least of what differing lines say, so that their order does not matter.
        known.name = least(known.name.take(), container.name.clone());
        known.image = least(known.image.take(), container.image.clone());
        known.restart_count = known.restart_count.max(container.restart_count);
        known.role = known.role.or(container.role);
        if container.role == Some(ContainerRole::Sandbox) {
            seen.sandbox = Some(true);
        }
    }

    fn learn_process(&mut self, container: Option<&Container>, task: &Task) {
        if let Some(id) = container.and_then(|container| container.id.as_ref())
            && (task.comm.as_deref(), task.oom_score_adj) == (Some("pause"), Some(SANDBOX_SCORE))
        {
            self.containers.entry(id.clone()).or_default().pause = true;
        }
    }

    fn learn_pod(&mut self, pod: &Pod, at: Option<i64>) {
        let Some(uid) = &pod.uid else {
            if let (Some(namespace), Some(name)) = (&pod.namespace, &pod.name) {
                self.named.insert((namespace.clone(), name.clone()));
            }
            return;
        };
        let uid = self.snapshot.canonical(uid).clone();
        if let (Some(namespace), Some(name)) = (&pod.namespace, &pod.name) {
            self.by_name.entry((namespace.clone(), name.clone())).or_default().insert(uid.clone());
        }
        let seen = self.pods.entry(uid.clone()).or_insert_with(|| SeenPod {
            first: i64::MAX,
            last: i64::MIN,
            ..SeenPod::default()
        });
        seen.pod.uid = Some(uid);
        seen.pod.namespace = least(seen.pod.namespace.take(), pod.namespace.clone());
        seen.pod.name = least(seen.pod.name.take(), pod.name.clone());
        seen.pod.qos = seen.pod.qos.or(pod.qos);
        if seen.pod.owner.is_none() {
            seen.pod.owner.clone_from(&pod.owner);
        }
        if let Some(at) = at {
            seen.first = seen.first.min(at);
            seen.last = seen.last.max(at);
        }
    }

    /// A pod's sandbox is the first of it to run: where nothing says which id it is, the one that was there clearly before
    /// the others, and that nobody was killed in or gave a name.
    fn learn_sandboxes(&mut self, lines: &[Kept]) {
        let mut by_pod: BTreeMap<&PodUid, Vec<(i64, &ContainerId, &SeenContainer)>> = BTreeMap::new();
        for (id, seen) in &self.containers {
            if let (Some(uid), Some(started)) = (&seen.pod, seen.started) {
                by_pod.entry(uid).or_default().push((started, id, seen));
            }
        }
        let mut first = BTreeSet::new();
        for ids in by_pod.values_mut() {
            ids.sort_by_key(|(started, ..)| *started);
            if let [(earliest, id, seen), (next, ..), ..] = ids[..]
                && ids.iter().all(|(.., seen)| seen.sandbox != Some(true))
                && seen.sandbox.is_none()
                && seen.container.name.is_none()
                && next - earliest > SANDBOX_FIRST
            {
                first.insert(id.clone());
            }
        }
        for kept in lines {
            if let Event::OomKill(kill) = &kept.line.event
                && let Some(id) = kill.container.as_ref().and_then(|container| container.id.as_ref())
            {
                first.remove(id);
            }
        }
        for id in first {
            self.containers.entry(id).or_default().sandbox = Some(true);
        }
        for (id, seen) in &mut self.containers {
            if seen.is_sandbox() {
                seen.container = of_sandbox(id);
            }
        }
    }

    /// A container without a name, of a pod that has one container only, is that one; and of a pod of whose containers one
    /// alone is known, as where its folder of logs has one folder in it, unless two of them ran beside each other.
    fn learn_by_elimination(&mut self) {
        let mut known: BTreeMap<PodUid, BTreeSet<String>> = BTreeMap::new();
        for (uid, record) in &self.snapshot.pods {
            known.entry(uid.clone()).or_default().extend(record.containers.keys().cloned());
        }
        for seen in self.containers.values() {
            if let (Some(uid), Some(name)) = (&seen.pod, &seen.container.name) {
                known.entry(uid.clone()).or_default().insert(name.clone());
            }
        }
        let complete = |uid: &PodUid| self.snapshot.pods.get(uid).is_some_and(|record| record.complete);
        known.retain(|uid, names| names.len() == 1 && (complete(uid) || !self.ran_beside_each_other(uid)));
        for seen in self.containers.values_mut() {
            if seen.container.name.is_none()
                && !seen.is_sandbox()
                && let Some(names) = seen.pod.as_ref().and_then(|uid| known.get(uid))
            {
                seen.container.name = names.first().cloned();
            }
        }
    }

    /// Whether two containers of a pod, without its sandbox, are known to have run at one time.
    fn ran_beside_each_other(&self, uid: &PodUid) -> bool {
        let of_pod = self.containers.values().filter(|seen| seen.pod.as_ref() == Some(uid) && !seen.is_sandbox());
        let mut spans: Vec<_> =
            of_pod.filter_map(|seen| Some((seen.started?, seen.ended.unwrap_or(i64::MAX)))).collect();
        spans.sort_unstable();
        spans.windows(2).any(|pair| pair[0].1 > pair[1].0)
    }

    /// Who a pod is. A name that several pods had, one after the other, is that one's who was there at the time.
    pub(super) fn key(&self, pod: Option<&Pod>, container: Option<&ContainerId>, at: i64) -> Option<PodKey> {
        if let Some(uid) = pod.and_then(|pod| pod.uid.as_ref()) {
            return Some(PodKey::Uid(self.snapshot.canonical(uid).clone()));
        }
        if let Some(uid) = container.and_then(|id| self.containers.get(id)).and_then(|seen| seen.pod.clone()) {
            return Some(PodKey::Uid(uid));
        }
        let (namespace, name) = pod.and_then(|pod| Some((pod.namespace.clone(), pod.name.clone()?)))?;
        // `kubectl get events` does not print the namespace where it is asked for one.
        let namespace = namespace.or_else(|| self.namespace_of(&name)).unwrap_or_default();
        let uids = self.by_name.get(&(namespace.clone(), name.clone()));
        let there = uids.into_iter().flatten().filter(|uid| !self.came_after(uid, at));
        let uid = there.min_by_key(|uid| self.distance(uid, at));
        Some(uid.map_or(PodKey::Name(namespace, name), |uid| PodKey::Uid(uid.clone())))
    }

    /// The namespace of the pod of a name, where there is one alone.
    fn namespace_of(&self, name: &str) -> Option<String> {
        let described = self.snapshot.described.keys().chain(self.by_name.keys()).chain(&self.named);
        let known = described.filter(|(namespace, other)| other == name && !namespace.is_empty());
        let mut found = known.map(|(namespace, _)| namespace);
        let first = found.next()?;
        found.all(|other| other == first).then(|| first.clone())
    }

    /// Whether a pod was made only after a time, as one of a `StatefulSet` that has the name of the one before.
    fn came_after(&self, uid: &PodUid, at: i64) -> bool {
        let created = self.snapshot.pods.get(uid).and_then(|record| record.created);
        created.is_some_and(|created| created.as_nanosecond() > i128::from(at + super::windows::API_CLOCK))
    }

    /// How far a time is from a pod's own.
    fn distance(&self, uid: &PodUid, at: i64) -> u64 {
        let Some(SeenPod { first, last, .. }) = self.pods.get(uid) else { return u64::MAX };
        if first > last {
            u64::MAX - 1
        } else if at < *first {
            first.abs_diff(at)
        } else {
            // `max` as of two at the same distance 0 the one whose time is not over counts.
            at.max(*last).abs_diff(*last)
        }
    }

    /// All that is known of a pod's names.
    pub(super) fn pod(&self, key: &PodKey) -> Pod {
        match key {
            PodKey::Uid(uid) => self
                .pods
                .get(uid)
                .map_or_else(|| Pod { uid: Some(uid.clone()), ..Pod::default() }, |seen| seen.pod.clone()),
            PodKey::Name(namespace, name) => {
                // The message of an eviction may be all there is, without a name.
                let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
                Pod { namespace: known(namespace), name: known(name), ..Pod::default() }
            }
        }
    }

    /// What the files have of a pod.
    pub(super) fn record(&self, key: &PodKey) -> Option<&'a PodRecord> {
        match key {
            PodKey::Uid(uid) => self.snapshot.pods.get(uid).or_else(|| {
                let Pod { namespace: Some(namespace), name: Some(name), .. } = &self.pods.get(uid)?.pod else {
                    return None;
                };
                self.snapshot.described.get(&(namespace.clone(), name.clone()))
            }),
            PodKey::Name(namespace, name) => self.snapshot.described.get(&(namespace.clone(), name.clone())),
        }
    }

    /// What is known of a container.
    pub(super) fn container(&self, id: &ContainerId) -> Option<&SeenContainer> {
        self.containers.get(id)
    }

    /// What the files have of a container, by its pod and name.
    pub(super) fn container_record(&self, key: Option<&PodKey>, name: Option<&str>) -> Option<&'a ContainerRecord> {
        let record = match key {
            Some(key) => self.record(key)?,
            // One that files describe without a pod, as Docker does.
            None => self.snapshot.described.get(&(String::new(), String::new()))?,
        };
        record.containers.get(name?)
    }

    /// A container's name was found out.
    pub(super) fn name_container(&mut self, id: &ContainerId, name: &str) {
        if let Some(seen) = self.containers.get_mut(id)
            && seen.container.name.is_none()
        {
            seen.container.name = Some(name.to_owned());
        }
    }

    /// The reason that the files have for the end of a container.
    pub(super) fn end_reason(&self, id: &ContainerId) -> Option<&str> {
        let (_, _, container) = self.snapshot.container(id)?;
        container.ends.get(id)?.reason.as_deref()
    }

    /// Whether it is a pod's sandbox.
    pub(super) fn is_sandbox(&self, id: &ContainerId) -> bool {
        self.containers.get(id).is_some_and(SeenContainer::is_sandbox)
    }

    /// How many containers a pod had at a time, without its sandbox; `None` where nothing tells.
    ///
    /// Every pod has one sandbox: of the ids that the kubelet saw started and not ended, one is the sandbox's, whether or
    /// not that is known of it.
    pub(super) fn containers_at(&self, key: &PodKey, at: i64) -> Option<usize> {
        if let Some(record) = self.record(key).filter(|record| record.complete) {
            let lasting =
                record.containers.values().filter(|container| container.role != Some(ContainerRole::Init)).count();
            return Some(lasting.max(1));
        }
        let PodKey::Uid(uid) = key else { return None };
        let there: Vec<_> = self
            .containers
            .values()
            .filter(|seen| seen.pod.as_ref() == Some(uid))
            .filter(|seen| seen.started.is_some_and(|started| started <= at + super::windows::SECOND))
            .filter(|seen| seen.ended.is_none_or(|ended| ended >= at))
            .collect();
        let sandbox = there.iter().any(|seen| seen.is_sandbox());
        let flagged = there.iter().filter(|seen| !seen.is_sandbox()).count();
        // Where it is not known which is the sandbox, it is one of them; and where there is only one, its start was not seen.
        let containers = if sandbox { flagged } else { flagged.saturating_sub(1) };
        (containers > 0).then_some(containers)
    }

    /// The name of the container of a pod that was started first after a time.
    pub(super) fn next_name(&self, key: &PodKey, after: i64) -> Option<String> {
        let later = self.containers_of(key).filter(|seen| seen.started.is_some_and(|started| started > after));
        later.min_by_key(|seen| seen.started).and_then(|seen| seen.container.name.clone())
    }

    /// Every container of a pod that was seen, without its sandbox.
    pub(super) fn containers_of(&self, key: &PodKey) -> impl Iterator<Item = &SeenContainer> {
        let uid = match key {
            PodKey::Uid(uid) => Some(uid.clone()),
            PodKey::Name(..) => None,
        };
        self.containers.values().filter(move |seen| uid.is_some() && seen.pod == uid && !seen.is_sandbox())
    }
}

/// The lesser of two where there are two.
fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
