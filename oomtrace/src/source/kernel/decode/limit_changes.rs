//! Limits that were set, of the cgroups that Kubernetes makes.

use oomtrace_common::record::{self, limit};

use super::{
    super::machine::{reported, task},
    Machine, Paths, ToEvent,
};
use crate::{
    event::{Event, Level, LimitChanged, LimitKind, Observation},
    node::cgroup_path::CgroupIdentity,
};

impl ToEvent for record::LimitChanged {
    /// Nothing where the cgroup is not one of a pod, or of more of them.
    fn to_event(&self, paths: &Paths, machine: &Machine) -> Option<Observation> {
        let identity = CgroupIdentity::parse(paths.path(self.cgroup_id)?);
        if !matches!(identity.level, Level::Container | Level::Pod | Level::Qos | Level::Kubepods) {
            return None;
        }
        let event = LimitChanged {
            pod: identity.pod(),
            container: identity.container(),
            cgroup: paths.cgroup(self.cgroup_id),
            level: Some(identity.level),
            limit_kind: Some(match (self.which, machine.cgroup_version) {
                (limit::HIGH, _) => LimitKind::High,
                (limit::SWAP_MAX, Some(1)) => LimitKind::MemoryAndSwapMax,
                (limit::SWAP_MAX, _) => LimitKind::SwapMax,
                _ => LimitKind::Max,
            }),
            from_bytes: machine.limit_bytes(self.from_pages),
            to_bytes: machine.limit_bytes(self.to_pages),
            set_by: Some(task(&self.task, paths.path(self.task.cgroup_id))),
        };
        Some(reported(self.header.boot_ns, Event::LimitChanged(Box::new(event))))
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;
    use crate::source::kernel::{CgroupPath, machine::tests::machine};

    #[test]
    fn a_pods_limit_that_is_set_is_reported_and_that_of_a_service_is_not() {
        let mut paths = Paths::default();
        let pod = "/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef";
        for (id, path) in [(1, pod), (2, "/system.slice/cron.service")] {
            paths.remember(CgroupPath { id, path: path.to_owned() });
        }
        let changed = |cgroup_id| {
            let unlimited = i64::MAX.cast_unsigned() / 4096;
            let record = record::LimitChanged {
                cgroup_id,
                which: limit::HIGH,
                from_pages: unlimited,
                to_pages: 256,
                ..record::LimitChanged::zeroed()
            };
            record.to_event(&paths, &machine())
        };
        let Some(Observation { event: Event::LimitChanged(of_pod), .. }) = changed(1) else {
            unreachable!("it is emitted")
        };
        assert_eq!(
            (of_pod.limit_kind, of_pod.from_bytes, of_pod.to_bytes),
            (Some(LimitKind::High), None, Some(1 << 20))
        );
        assert_eq!(of_pod.level, Some(Level::Pod));
        assert!(changed(2).is_none() && changed(3).is_none());
    }
}
