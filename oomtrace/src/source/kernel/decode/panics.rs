//! The node is out of memory, and is about to panic instead of killing.

use oomtrace_common::record::PanicAhead;

use super::{
    super::{
        limits,
        machine::{known, reported, task},
    },
    Machine, Paths, ToEvent,
};
use crate::event::{Event, Observation, PanicOnOom};

impl ToEvent for PanicAhead {
    fn to_event(&self, paths: &Paths, machine: &Machine) -> Option<Observation> {
        let limit = known(self.limit_cgroup_id).map(|id| limits::of(id, &self.counters, None, paths, machine));
        let event = PanicOnOom {
            pod: limit.as_ref().and_then(|limit| limit.pod.clone()),
            container: limit.as_ref().and_then(|limit| limit.container.clone()),
            cgroup: known(self.limit_cgroup_id).filter(|id| *id != 0).and_then(|id| paths.cgroup(id)),
            trigger: task(&self.trigger, paths.path(self.trigger.cgroup_id)),
            limit,
            panic_on_oom: self.panic_on_oom,
        };
        Some(reported(self.header.boot_ns, Event::PanicOnOom(Box::new(event))))
    }
}
