//! Names into events.

use super::{ContainerKey, ContainerRecord, Index, PodKey};
use crate::event::{
    AllocationRefused, ChargeFailures, Container, ContainerChange, ContainerId, ContainerRole, Event, Limit, OomKill,
    OomReaped, OomVictim, PanicOnOom, Pod, PodUid, Pressure, ProcessExit, Signal, Task, UnderOom,
};

impl Index {
    /// Fills in what is known of the pods and containers that the event speaks of, and leaves alone what it has already.
    /// Gives whether a name is still missing, so that it may be worth while to wait for it.
    pub fn fill(&self, event: &mut Event) -> bool {
        match event {
            Event::OomKill(kill) | Event::OomDecision(kill) => self.kill(kill),
            Event::OomVictim(victim) => {
                let OomVictim { pod, container, cgroup, task, .. } = victim.as_mut();
                let cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.id).or(task.cgroup_id);
                self.place(pod, container, cgroup) | self.task(task)
            }
            Event::ProcessExit(exit) => {
                let ProcessExit { pod, container, cgroup, task, .. } = exit.as_mut();
                let cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.id).or(task.cgroup_id);
                self.place(pod, container, cgroup) | self.task(task)
            }
            Event::Signal(signal) => {
                let Signal { pod, container, cgroup, sender, target, .. } = signal.as_mut();
                let cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.id).or(target.cgroup_id);
                self.place(pod, container, cgroup) | self.task(target) | self.task(&mut sender.task)
            }
            Event::ChargeFailures(failures) => {
                let ChargeFailures { pod, container, cgroup, limit, last_task, .. } = failures.as_mut();
                let cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.id);
                self.place(pod, container, cgroup) | self.limit(limit) | self.tasks(last_task.as_mut())
            }
            Event::AllocationRefused(refused) => {
                let AllocationRefused { pod, container, cgroup, task, .. } = refused.as_mut();
                let cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.id).or(task.cgroup_id);
                self.place(pod, container, cgroup) | self.task(task)
            }
            Event::Pressure(pressure) => {
                let Pressure { pod, container, cgroup, .. } = pressure.as_mut();
                self.place(pod, container, cgroup.as_ref().and_then(|cgroup| cgroup.id))
            }
            Event::Container(change) => {
                let ContainerChange { pod, container, cgroup, sandbox, .. } = change.as_mut();
                let missing = self.place(pod, container, cgroup.as_ref().and_then(|cgroup| cgroup.id));
                let role = container.as_ref().and_then(|container| container.role);
                *sandbox = sandbox.or(role.map(|role| role == ContainerRole::Sandbox));
                missing
            }
            // The kubelet names its pods itself; what it leaves out may be known.
            Event::Eviction(eviction) => {
                for pod in eviction.pod.iter_mut().chain(&mut eviction.pods) {
                    self.pod_of_kubelet(pod);
                }
                false
            }
            Event::OomReaped(reaped) => {
                let OomReaped { pod, container, cgroup, task, .. } = reaped.as_mut();
                let cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.id).or(task.cgroup_id);
                self.place(pod, container, cgroup) | self.task(task)
            }
            Event::PanicOnOom(panic) => {
                let PanicOnOom { pod, container, cgroup, trigger, limit, .. } = panic.as_mut();
                let cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.id);
                self.place(pod, container, cgroup) | self.limit(limit) | self.task(trigger)
            }
            Event::UnderOom(under) => {
                let UnderOom { pod, container, cgroup, limit, first_task, .. } = under.as_mut();
                let cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.id);
                self.place(pod, container, cgroup) | self.limit(limit) | self.tasks(first_task.as_mut())
            }
            // An incident is made of events that had their names, or did not get them in time.
            Event::Incident(_) | Event::SystemOom(_) | Event::Lost(_) | Event::Error(_) | Event::Status(_) => false,
        }
    }

    fn kill(&self, kill: &mut OomKill) -> bool {
        let OomKill { pod, container, cgroup, trigger, victim, limit, members, candidates, .. } = kill;
        let cgroup = cgroup.as_ref().and_then(|cgroup| cgroup.id).or(victim.task.cgroup_id);
        let mut missing = self.place(pod, container, cgroup);
        missing |= self.task(trigger) | self.task(&mut victim.task) | self.limit(limit);
        missing |= self.tasks(members);
        // Not worth while to wait for: they are many, and nothing happened to them.
        self.tasks(candidates.iter_mut().flatten().map(|candidate| &mut candidate.task));
        missing
    }

    fn limit(&self, limit: &mut Option<Limit>) -> bool {
        let Some(Limit { pod, container, cgroup_id, .. }) = limit else { return false };
        self.place(pod, container, *cgroup_id)
    }

    fn tasks<'a>(&self, tasks: impl IntoIterator<Item = &'a mut Task>) -> bool {
        let mut missing = false;
        for task in tasks {
            missing |= self.task(task);
        }
        missing
    }

    fn task(&self, task: &mut Task) -> bool {
        let Task { pod, container, cgroup_id, .. } = task;
        self.place(pod, container, *cgroup_id)
    }

    /// A pod and container, as far as the path of their cgroup told, and that cgroup.
    fn place(&self, pod: &mut Option<Pod>, container: &mut Option<Container>, cgroup_id: Option<u64>) -> bool {
        let cgroup = cgroup_id.and_then(|id| self.cgroups.get(&id));
        let by_path: Option<PodKey> = pod.as_ref().and_then(|pod| pod.uid.as_ref()).map(PodUid::packed);
        let container_key: Option<ContainerKey> = match container {
            Some(container) => container.id.as_ref().map(ContainerId::packed),
            // Where the path could not be read, or only the cgroup's id came.
            None => cgroup.filter(|_| pod.is_none()).and_then(|cgroup| cgroup.container),
        };
        let record = container_key.as_ref().and_then(|key| self.containers.get(key));
        // A container that its runtime says is another pod's is a claim of whoever made the path.
        let record = record.filter(|record| by_path.is_none() || record.pod.is_none() || record.pod == by_path);
        let pod_key = by_path.or(record.and_then(|record| record.pod)).or_else(|| cgroup.and_then(|cgroup| cgroup.pod));
        let pod_record = pod_key.as_ref().and_then(|key| self.pods.get(key));
        if let Some(key) = container_key {
            let container = container
                .get_or_insert_with(|| Container { id: Some(ContainerId::from_packed(&key)), ..Container::default() });
            if let Some(record) = record {
                record.complete(container, pod_record);
            }
        }
        if let Some(key) = pod_key {
            let pod = pod.get_or_insert_with(|| Pod { uid: Some(PodUid::from_packed(key)), ..Pod::default() });
            if let Some(record) = pod_record {
                record.complete(pod);
            }
        }
        let pod_missing = pod.as_ref().is_some_and(|pod| pod.uid.is_some() && pod.name.is_none());
        let container_missing = container_key.is_some() && record.is_none_or(ContainerRecord::lacks_a_name);
        pod_missing || container_missing
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

impl ContainerRecord {
    fn lacks_a_name(&self) -> bool {
        self.name.is_none() && self.role != Some(ContainerRole::Sandbox)
    }
}
