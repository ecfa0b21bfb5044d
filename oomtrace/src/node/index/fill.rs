//! Names into events.

use super::{ContainerKey, ContainerRecord, Index, PodKey};
use crate::event::{
    AllocationRefused, Cgroup, ChargeFailures, Container, ContainerChange, ContainerId, ContainerRole, Event, Limit,
    LimitAhead, LimitChanged, OomKill, OomReaped, OomVictim, PanicOnOom, Pod, PodUid, Pressure, ProcessExit, Signal,
    Task, UnderOom,
};

impl Index {
    /// Fills in what is known of the pods and containers that the event speaks of, and leaves alone what it has already.
    /// Gives whether a name is still missing, so that it may be worth while to wait for it.
    pub fn fill(&self, event: &mut Event) -> bool {
        let mut unnamed = Vec::new();
        self.fill_noting(event, &mut unnamed, &mut Vec::new());
        !unnamed.is_empty()
    }

    /// The same; notes whose names are missing, and of whom the event speaks at all.
    pub fn fill_noting(&self, event: &mut Event, unnamed: &mut Vec<Unnamed>, about: &mut Vec<Unnamed>) {
        Filling { index: self, unnamed, about }.event(event);
    }

    /// A pod that has a name and perhaps no uid, or a uid and no name. By name it is found only if just one is known: a pod
    /// that was made again has the same.
    pub(super) fn pod_of_kubelet(&self, pod: &mut Pod) {
        if let Some(record) = pod.uid.as_ref().and_then(|uid| self.pods.get(&uid.packed())) {
            record.complete(pod);
            return;
        }
        let (None, Some(name), Some(namespace)) = (&pod.uid, &pod.name, &pod.namespace) else { return };
        let mut same = self.pods.iter().filter(|(_, record)| {
            record.name.as_deref() == Some(name) && record.namespace.as_deref() == Some(namespace.as_str())
        });
        if let (Some((key, record)), None) = (same.next(), same.next()) {
            pod.uid = Some(PodUid::from_packed(*key));
            record.complete(pod);
        }
    }
}

/// Who may have no name yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unnamed {
    /// A container; somebody should be asked about it.
    Container(ContainerId),
    /// A pod; a source that knows its containers knows it, too.
    Pod(PodUid),
}

/// One event being filled.
struct Filling<'a> {
    index: &'a Index,
    unnamed: &'a mut Vec<Unnamed>,
    about: &'a mut Vec<Unnamed>,
}

impl Filling<'_> {
    fn event(&mut self, event: &mut Event) {
        match event {
            Event::OomKill(kill) | Event::OomDecision(kill) => self.kill(kill),
            Event::OomVictim(victim) => {
                let OomVictim { pod, container, cgroup, task, .. } = victim.as_mut();
                self.place_of(pod, container, cgroup.as_ref(), task);
            }
            Event::OomReaped(reaped) => {
                let OomReaped { pod, container, cgroup, task, .. } = reaped.as_mut();
                self.place_of(pod, container, cgroup.as_ref(), task);
            }
            Event::PanicOnOom(panic) => {
                let PanicOnOom { pod, container, cgroup, trigger, limit, .. } = panic.as_mut();
                self.place(pod, container, cgroup.as_ref().and_then(|cgroup| cgroup.id));
                self.task(trigger);
                self.limit(limit);
            }
            Event::UnderOom(frozen) => {
                let UnderOom { pod, container, cgroup, limit, first_task, .. } = frozen.as_mut();
                self.place(pod, container, cgroup.as_ref().and_then(|cgroup| cgroup.id));
                self.limit(limit);
                self.tasks(first_task);
            }
            Event::ProcessExit(exit) => {
                let ProcessExit { pod, container, cgroup, task, .. } = exit.as_mut();
                self.place_of(pod, container, cgroup.as_ref(), task);
            }
            Event::Signal(signal) => {
                let Signal { pod, container, cgroup, sender, target, .. } = signal.as_mut();
                self.place_of(pod, container, cgroup.as_ref(), target);
                self.task(&mut sender.task);
            }
            Event::ChargeFailures(failures) => {
                let ChargeFailures { pod, container, cgroup, limit, last_task, .. } = failures.as_mut();
                self.place(pod, container, cgroup.as_ref().and_then(|cgroup| cgroup.id));
                self.limit(limit);
                self.tasks(last_task);
            }
            Event::AllocationRefused(refused) => {
                let AllocationRefused { pod, container, cgroup, task, .. } = refused.as_mut();
                self.place_of(pod, container, cgroup.as_ref(), task);
            }
            Event::LimitChanged(changed) => {
                let LimitChanged { pod, container, cgroup, set_by, .. } = changed.as_mut();
                self.place(pod, container, cgroup.as_ref().and_then(|cgroup| cgroup.id));
                self.tasks(set_by);
            }
            Event::LimitAhead(ahead) => {
                let LimitAhead { pod, container, cgroup, .. } = ahead.as_mut();
                self.place(pod, container, cgroup.as_ref().and_then(|cgroup| cgroup.id));
            }
            Event::Pressure(pressure) => {
                let Pressure { pod, container, cgroup, grown, .. } = pressure.as_mut();
                self.place(pod, container, cgroup.as_ref().and_then(|cgroup| cgroup.id));
                self.without_waiting(|filling| {
                    for other in grown {
                        filling.place(&mut other.pod, &mut None, None);
                    }
                });
            }
            Event::Container(change) => {
                let ContainerChange { pod, container, cgroup, sandbox, .. } = change.as_mut();
                self.place(pod, container, cgroup.as_ref().and_then(|cgroup| cgroup.id));
                let role = container.as_ref().and_then(|container| container.role);
                *sandbox = sandbox.or(role.map(|role| role == ContainerRole::Sandbox));
            }
            // The kubelet names its pods itself; what it leaves out may be known.
            Event::Eviction(eviction) => {
                for pod in eviction.pod.iter_mut().chain(&mut eviction.pods) {
                    self.index.pod_of_kubelet(pod);
                }
            }
            // An incident is made of events that had their names, or did not get them in time.
            Event::OutOfMemoryLog(_)
            | Event::ContainerEnded(_)
            | Event::Incident(_)
            | Event::SystemOom(_)
            | Event::Lost(_)
            | Event::Error(_)
            | Event::Status(_) => {}
        }
    }

    fn kill(&mut self, kill: &mut OomKill) {
        let OomKill { pod, container, cgroup, trigger, victim, limit, members, candidates, .. } = kill;
        self.place_of(pod, container, cgroup.as_ref(), &mut victim.task);
        self.task(trigger);
        self.limit(limit);
        self.tasks(members);
        self.without_waiting(|filling| {
            filling.tasks(candidates.iter_mut().flatten().map(|candidate| &mut candidate.task));
        });
    }

    /// Fills in names that are not worth while to wait for: they are many, and nothing happened to them. Nor do lines about them
    /// wait behind this one.
    fn without_waiting(&mut self, fill: impl FnOnce(&mut Self)) {
        let noted = (self.unnamed.len(), self.about.len());
        fill(self);
        self.unnamed.truncate(noted.0);
        self.about.truncate(noted.1);
    }

    /// Where a task is, reported beside it and in it.
    fn place_of(
        &mut self,
        pod: &mut Option<Pod>,
        container: &mut Option<Container>,
        cgroup: Option<&Cgroup>,
        task: &mut Task,
    ) {
        self.place(pod, container, cgroup.and_then(|cgroup| cgroup.id).or(task.cgroup_id));
        self.task(task);
    }

    fn limit(&mut self, limit: &mut Option<Limit>) {
        if let Some(Limit { pod, container, cgroup_id, .. }) = limit {
            self.place(pod, container, *cgroup_id);
        }
    }

    fn tasks<'a>(&mut self, tasks: impl IntoIterator<Item = &'a mut Task>) {
        for task in tasks {
            self.task(task);
        }
    }

    fn task(&mut self, Task { pod, container, cgroup_id, .. }: &mut Task) {
        self.place(pod, container, *cgroup_id);
    }

    /// A pod and container, as far as the path of their cgroup reported, and that cgroup.
    fn place(&mut self, pod: &mut Option<Pod>, container: &mut Option<Container>, cgroup_id: Option<u64>) {
        let index = self.index;
        let cgroup = cgroup_id.and_then(|id| index.cgroups.get(&id));
        let by_path: Option<PodKey> = pod.as_ref().and_then(|pod| pod.uid.as_ref()).map(PodUid::packed);
        let container_key: Option<ContainerKey> = match container {
            Some(container) => container.id.as_ref().map(ContainerId::packed),
            // Where the path could not be read, or only the cgroup's id came.
            None => cgroup.filter(|_| pod.is_none()).and_then(|cgroup| cgroup.container),
        };
        let record = container_key.as_ref().and_then(|key| index.containers.get(key));
        // A container that its runtime says is another pod's is a claim of the path's maker.
        let record = record.filter(|record| by_path.is_none() || record.pod.is_none() || record.pod == by_path);
        let pod_key = by_path.or(record.and_then(|record| record.pod)).or_else(|| cgroup.and_then(|cgroup| cgroup.pod));
        let pod_record = pod_key.as_ref().and_then(|key| index.pods.get(key));
        if let Some(key) = container_key {
            let id = || ContainerId::from_packed(&key);
            let container = container.get_or_insert_with(|| Container { id: Some(id()), ..Container::default() });
            if let Some(record) = record {
                record.complete(container, pod_record);
            }
            self.about.push(Unnamed::Container(id()));
            if record.is_none_or(ContainerRecord::lacks_a_name) {
                self.unnamed.push(Unnamed::Container(id()));
            }
        }
        if let Some(key) = pod_key {
            let pod = pod.get_or_insert_with(|| Pod { uid: Some(PodUid::from_packed(key)), ..Pod::default() });
            if let Some(record) = pod_record {
                record.complete(pod);
            }
            self.about.push(Unnamed::Pod(PodUid::from_packed(key)));
            if pod.name.is_none() {
                self.unnamed.push(Unnamed::Pod(PodUid::from_packed(key)));
            }
        }
    }
}

impl ContainerRecord {
    fn lacks_a_name(&self) -> bool {
        self.name.is_none() && self.role != Some(ContainerRole::Sandbox)
    }
}
