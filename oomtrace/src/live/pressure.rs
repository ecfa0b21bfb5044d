//! What memory looks like, emitted with the events that it may explain: read right when they have passed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{last_words::gave_up, recorder::Recorder};
use crate::{
    clock,
    event::{
        Cgroup, ChargeState, Event, Failure, Level, Limit, Moment, Observation, Pressure as Memory, PressureScope,
        Source,
    },
    node::{
        cgroup_path::CgroupIdentity,
        fact::Fact,
        hierarchy::Hierarchy,
        memory::{self, MemoryError},
    },
};

/// A cgroup is read at most so often for the same kind of event: a kill right after its first charge failure is read for, too.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Reads memory for the events that pass.
pub struct Pressure {
    hierarchy: Option<Hierarchy>,
    recorder: Option<Recorder>,
    /// When each cgroup was read last, by what for and its path; the node's is empty. Those of more than a second ago are
    /// forgotten.
    read: HashMap<(PressureScope, String), Instant>,
    /// A failure is reported once: the next would be the same.
    failed: bool,
}

impl Pressure {
    /// Reads cgroups of `hierarchy`, or the node alone. What memory was before, `recorder` has.
    #[must_use]
    pub fn new(hierarchy: Option<Hierarchy>, recorder: Option<Recorder>) -> Self {
        Self { hierarchy, recorder, read: HashMap::new(), failed: false }
    }

    /// Takes in which cgroups were made and removed.
    pub(super) fn cgroups_changed(&mut self, facts: &[Fact]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.learn(facts);
        }
    }

    /// Reads what memory is now, if it is time. Gives the limits that will be reached.
    pub(super) fn record(&mut self, now: Instant) -> Vec<Observation> {
        let ahead = self.recorder.as_mut().map(|recorder| recorder.tick(now)).unwrap_or_default();
        let at = Moment::Boot(clock::boot_ns());
        let event = |ahead| Observation { source: Source::Oomtrace, at, event: Event::LimitAhead(Box::new(ahead)) };
        ahead.into_iter().map(event).collect()
    }

    /// What could be better.
    pub(super) fn degraded(&self) -> Option<String> {
        self.recorder.as_ref()?.degraded()
    }

    /// Whose memory is to be read for an event that passes; for most nobody's.
    pub(super) fn asked(event: &Event) -> Option<Asked> {
        asked(event).map(|(scope, paths)| Asked { scope, paths })
    }

    /// What memory looks like, once the event is on its way.
    pub(super) fn read(&mut self, Asked { scope, paths }: Asked, now: Instant) -> Vec<Observation> {
        self.read.retain(|_, at| now.duration_since(*at) < AT_MOST_EVERY);
        let mut read = Vec::new();
        for path in paths {
            let key = (scope, path);
            if !self.read.contains_key(&key) {
                let memory = self.memory(&key.1);
                let memory = memory.map(|memory| memory.map(|memory| self.with_history(memory, scope, &key.1, now)));
                self.read.insert(key, now);
                read.extend(self.tell(memory));
            }
        }
        read
    }

    fn memory(&self, path: &str) -> Result<Option<Memory>, MemoryError> {
        match &self.hierarchy {
            _ if path.is_empty() => memory::of_node(self.hierarchy.as_ref()).map(Some),
            Some(hierarchy) => memory::of_cgroup(hierarchy, path),
            None => Ok(None),
        }
    }

    /// What was read, with what is recorded of before.
    fn with_history(&self, memory: Memory, scope: PressureScope, path: &str, now: Instant) -> Memory {
        let recorder = self.recorder.as_ref().filter(|_| scope != PressureScope::ChargeFailure);
        let earlier = recorder.map_or_else(Vec::new, |recorder| recorder.before(path, now));
        let of_many = matches!(memory.level, Some(Level::Node | Level::Kubepods | Level::Qos));
        let grown = recorder.filter(|_| of_many).map_or_else(Vec::new, |recorder| recorder.grown(path, now));
        Memory { scope: Some(scope), earlier, grown, ..memory }
    }

    fn tell(&mut self, memory: Result<Option<Memory>, MemoryError>) -> Option<Observation> {
        let event = match memory {
            Ok(None) => return None,
            Ok(Some(memory)) => Event::Pressure(Box::new(memory)),
            Err(_) if self.failed => return None,
            Err(error) => {
                self.failed = true;
                Event::Error(Failure { message: format!("memory cannot be read: {error}; reported once") })
            }
        };
        Some(Observation { source: Source::Oomtrace, at: Moment::Boot(clock::boot_ns()), event })
    }
}

/// Whose memory an event asks for.
pub(super) struct Asked {
    scope: PressureScope,
    paths: Vec<String>,
}

/// Whose memory an event asks for, the innermost first and the node, which has no path, last.
fn asked(event: &Event) -> Option<(PressureScope, Vec<String>)> {
    let (scope, cgroup, limit) = match event {
        Event::OomKill(kill) => (PressureScope::Kill, &kill.cgroup, &kill.limit),
        Event::ChargeFailures(failures) if failures.state == ChargeState::Began => {
            (PressureScope::ChargeFailure, &failures.cgroup, &failures.limit)
        }
        // Above it nothing has to do with that.
        Event::ProcessExit(exit) => {
            gave_up(exit)?;
            return Some((PressureScope::Exit, vec![exit.cgroup.as_ref()?.path.clone()?]));
        }
        _ => return None,
    };
    let of_victim = cgroup.as_ref().and_then(|Cgroup { path, .. }| path.as_deref());
    let of_limit = limit.as_ref().and_then(|Limit { cgroup, .. }| cgroup.as_deref());
    let mut paths: Vec<String> = Vec::new();
    for path in of_victim.iter().chain(&of_limit).flat_map(|path| upwards(path)) {
        if !paths.iter().any(|known| known == path) {
            paths.push(path.to_owned());
        }
    }
    paths.push(String::new());
    Some((scope, paths))
}

/// The cgroup itself, and of those above it what Kubernetes knows: its container, its pod, its `QoS` class, all pods.
fn upwards(path: &str) -> Vec<&str> {
    let above = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
    let known = |above: &&str| {
        let CgroupIdentity { level, nested, .. } = CgroupIdentity::parse(above);
        matches!(level, Level::Container | Level::Pod | Level::Qos | Level::Kubepods) && nested.is_none()
    };
    let mut paths: Vec<_> = above.filter(known).collect();
    paths.push(path);
    paths.reverse();
    paths.retain(|path| *path != "/");
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::OomKill;

    const CONTAINER: &str = "/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/\
                             aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn kill(cgroup: &str, limit: Option<&str>) -> Observation {
        let path = Some(cgroup.to_owned());
        let kill = OomKill {
            cgroup: Some(Cgroup { path, ..Cgroup::default() }),
            limit: limit.map(|limit| Limit { cgroup: Some(limit.to_owned()), ..Limit::default() }),
            ..OomKill::default()
        };
        Observation { source: Source::Kernel, at: Moment::Boot(0), event: Event::OomKill(Box::new(kill)) }
    }

    #[test]
    fn a_kill_asks_for_its_container_pod_class_all_pods_and_the_node() {
        let nested = format!("{CONTAINER}/init.scope");
        let (scope, paths) = asked(&kill(&nested, Some("/kubepods")).event).expect("a kill asks");
        assert_eq!(scope, PressureScope::Kill);
        let pod = CONTAINER.rsplit_once('/').map_or("", |(pod, _)| pod);
        assert_eq!(paths, [&nested, CONTAINER, pod, "/kubepods/burstable", "/kubepods", ""]);
    }

    #[test]
    fn slices_of_systemd_count_and_those_above_the_kubelets_do_not() {
        let pod = "/a.slice/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod01234567_89ab_cdef_0123_456789abcdef.slice";
        let asked = asked(&kill(pod, None).event).map(|(_, paths)| paths);
        let expected = [pod, "/a.slice/kubepods.slice/kubepods-besteffort.slice", "/a.slice/kubepods.slice", ""];
        assert_eq!(asked.as_deref(), Some(expected.map(str::to_owned).as_slice()));
    }

    #[test]
    fn whatever_happens_the_node_is_read_once_a_second() {
        let mut pressure = Pressure::new(None, None);
        let start = Instant::now();
        let mut reads = |ms| {
            let asked = Pressure::asked(&kill("/x", None).event).expect("a kill asks");
            pressure.read(asked, start + Duration::from_millis(ms)).len()
        };
        assert_eq!([reads(0), reads(1), reads(999), reads(1000), reads(1001)], [1, 0, 0, 1, 0]);
    }

    #[test]
    fn a_status_asks_for_nothing() {
        let lost = crate::event::Lost::new(crate::event::LostFrom::Ring, 1);
        assert!(asked(&Event::Lost(lost)).is_none());
    }
}
