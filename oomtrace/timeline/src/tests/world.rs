//! A small node to make things happen on: times are seconds, pods and containers are letters.

use jiff::Timestamp;
use oomtrace_model::{
    AllocationRefused, Candidate, Container, ContainerAction, ContainerChange, ContainerEnded, Event, Eviction,
    EvictionPhase, Incident, Level, Limit, Line, Memory, OomKill, Pod, ProcessExit, RefusedBy, Sender, SenderRole,
    Signal, Source, Span, Task, Victim,
    cgroup_path::QosClass,
    signal_name,
    snapshot::{ContainerRecord, PodRecord, Snapshot},
};

use crate::{Background, Keep, Timeline};

pub(super) const MIB: u64 = 1 << 20;
const START: i64 = 1_795_476_000;

/// What happened, in the order it is reported.
#[derive(Default)]
pub(super) struct World {
    pub(super) lines: Vec<Line>,
    pub(super) known: Background,
}

pub(super) fn pod(letter: char) -> Pod {
    Pod {
        namespace: Some("default".to_owned()),
        name: Some(format!("pod-{letter}")),
        uid: format!("{}-{}-{}-{}-{}", s(letter, 8), s(letter, 4), s(letter, 4), s(letter, 4), s(letter, 12))
            .parse()
            .ok(),
        qos: Some(QosClass::Burstable),
        owner: None,
    }
}

/// Only what the kubelet's log has at its default verbosity.
pub(super) fn pod_by_name(letter: char) -> Pod {
    Pod { uid: None, qos: None, ..pod(letter) }
}

/// Only what a cgroup's path has.
pub(super) fn pod_by_uid(letter: char) -> Pod {
    Pod { namespace: None, name: None, ..pod(letter) }
}

pub(super) fn container(name: &str, letter: char) -> Container {
    Container { name: Some(name.to_owned()), ..unnamed(letter) }
}

pub(super) fn unnamed(letter: char) -> Container {
    Container { id: s(letter, 64).parse().ok(), ..Container::default() }
}

fn s(letter: char, times: usize) -> String {
    letter.to_string().repeat(times)
}

pub(super) fn task(comm: &str, pid: u32) -> Task {
    Task { pid: Some(pid), tgid: Some(pid), comm: Some(comm.to_owned()), ..Task::default() }
}

pub(super) fn candidate(comm: &str, pid: u32, mib: u64, of: Option<(Pod, Container)>) -> Candidate {
    let (pod, container) = of.unzip();
    Candidate {
        task: Task { pod, container, oom_score_adj: Some(984), ..task(comm, pid) },
        memory: Memory { rss_anon_bytes: Some(mib * MIB), ..Memory::default() },
        points: Some(1),
    }
}

pub(super) fn kill(pod: Pod, container: Container, level: Level, mib: u64) -> OomKill {
    OomKill {
        known_by: None,
        time_unknown: false,
        cause: None,
        decision: None,
        pod: Some(pod),
        container: Some(container),
        cgroup: None,
        trigger: task("app", 7),
        victim: Victim {
            task: task("app", 7),
            memory: Memory { rss_anon_bytes: Some(mib * MIB - MIB), ..Memory::default() },
            points: None,
            command_line: None,
        },
        limit: Some(Limit {
            level: Some(level),
            cgroup: Some(format!("/{level:?}")),
            cgroup_id: None,
            pod: None,
            container: None,
            nested: None,
            usage_bytes: Some(mib * MIB),
            limit_bytes: Some(mib * MIB),
            swap_usage_bytes: None,
            swap_limit_bytes: None,
            swap_counter: None,
            total_bytes: None,
        }),
        constraint: None,
        nodemask: None,
        cpuset: None,
        mems_allowed: None,
        memory_nodes: Vec::new(),
        cgroup_memory: None,
        order: None,
        gfp: None,
        gfp_mask: None,
        message: None,
        group: Some(true),
        members: Vec::new(),
        members_omitted: 0,
        candidates_weighed: None,
        candidates: None,
        candidates_omitted: 0,
        containers_charged: None,
    }
}

/// Java was refused an allocation by its own limit.
pub(super) fn refused() -> AllocationRefused {
    AllocationRefused {
        pod: Some(pod('a')),
        container: Some(container("app", '1')),
        cgroup: None,
        task: task("java", 7),
        by: RefusedBy::RlimitAs,
        count: 1,
        requested_bytes: Some(512 * MIB),
        limit_bytes: Some(256 * MIB),
        first_ts: String::new(),
        last_ts: String::new(),
        count_total: 1,
        span: Span::default(),
    }
}

pub(super) fn step(phase: EvictionPhase) -> Eviction {
    Eviction::new(phase)
}

pub(super) fn change(action: ContainerAction, pod: Pod, container: Option<Container>) -> ContainerChange {
    ContainerChange { pod: Some(pod), container, ..ContainerChange::new(action) }
}

/// A time of the tests' clock.
#[expect(clippy::cast_possible_truncation, reason = "seconds of a test")]
pub(super) fn time(second: f64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(START) * 1_000_000_000 + (second * 1e9) as i128).expect("a time")
}

impl World {
    pub(super) fn tell(&mut self, second: f64, source: Source, event: Event) -> &mut Self {
        let at = time(second);
        let seq = self.lines.len() as u64 + 1;
        self.lines.push(Line { ts: format!("{at:.9}"), seq, node: "node1".to_owned(), source, boot_ns: None, event });
        self
    }

    pub(super) fn kill(&mut self, second: f64, kill: OomKill) -> &mut Self {
        self.tell(second, Source::Kmsg, Event::OomKill(Box::new(kill)))
    }

    pub(super) fn eviction(&mut self, second: f64, step: Eviction) -> &mut Self {
        self.tell(second, Source::Kubelet, Event::Eviction(Box::new(step)))
    }

    /// As a log's lines without times are given.
    pub(super) fn at_an_unknown_time(&mut self, event: Event) -> &mut Self {
        self.tell(0.0, Source::Kubelet, event);
        if let Some(line) = self.lines.last_mut() {
            "1970-01-01T00:00:00.000001Z".clone_into(&mut line.ts);
        }
        self
    }

    pub(super) fn change(&mut self, second: f64, change: ContainerChange) -> &mut Self {
        self.tell(second, Source::Kubelet, Event::Container(Box::new(change)))
    }

    pub(super) fn started(&mut self, second: f64, pod: Pod, container: Container) -> &mut Self {
        self.change(second, change(ContainerAction::Started, pod, Some(container)))
    }

    pub(super) fn died(&mut self, second: f64, pod: Pod, container: Container, code: i32) -> &mut Self {
        let died = change(ContainerAction::Died, pod, Some(container));
        self.change(second, ContainerChange { exit_code: Some(code), ..died })
    }

    /// The kubelet is listened to.
    pub(super) fn kubelet_speaks(&mut self, second: f64) -> &mut Self {
        self.change(second, change(ContainerAction::Started, pod('9'), Some(unnamed('9'))))
    }

    /// All steps of an eviction as the kubelet logs them at its default verbosity, by name alone.
    pub(super) fn evicts(&mut self, second: f64, letter: char) -> &mut Self {
        let memory = |phase| Eviction { resource: Some("memory".to_owned()), memory: Some(true), ..step(phase) };
        let pods = |phase| Eviction { pods: vec![pod_by_name(letter)], ..step(phase) };
        self.eviction(second, memory(EvictionPhase::ThresholdMet))
            .eviction(second + 0.02, memory(EvictionPhase::MustEvict))
            .eviction(
                second + 0.05,
                Eviction { pods: vec![pod_by_name(letter), pod_by_name('e')], ..step(EvictionPhase::Ranked) },
            )
            .eviction(second + 9.0, Eviction { pod: Some(pod_by_name(letter)), ..step(EvictionPhase::Evicted) })
            .eviction(second + 9.001, pods(EvictionPhase::AwaitingCleanup))
            .eviction(second + 11.0, pods(EvictionPhase::CleanedUp))
    }

    pub(super) fn killing(&mut self, second: f64, letter: char, container: Container) -> &mut Self {
        let killing = change(ContainerAction::Killing, pod(letter), Some(container));
        self.change(second, ContainerChange { grace_period_ms: Some(2000), ..killing })
    }

    pub(super) fn signal(
        &mut self,
        second: f64,
        number: u32,
        role: SenderRole,
        comm: &str,
        to: (Pod, Container),
    ) -> &mut Self {
        let signal = Signal {
            pod: Some(to.0),
            container: Some(to.1),
            cgroup: None,
            signal: signal_name(number),
            signal_number: Some(number),
            sender: Sender { role, task: task(comm, 99), unit: None },
            target: Task { container_init: Some(true), ..task("app", 7) },
        };
        self.tell(second, Source::Kernel, Event::Signal(Box::new(signal)))
    }

    /// A container's first process ends.
    pub(super) fn exit(&mut self, second: f64, pod: Pod, container: Container, code: u8) -> &mut Self {
        let exit = ProcessExit {
            pod: Some(pod),
            container: Some(container),
            cgroup: None,
            task: Task { container_init: Some(true), ..task("app", 7) },
            exit_code: (code < 128).then_some(code),
            signal: (code >= 128).then(|| signal_name(u32::from(code) - 128)),
            signal_number: (code >= 128).then(|| u32::from(code) - 128),
            core_dumped: false,
            container_exit_code: Some(code),
            oom_victim: false,
            since_mark_ms: None,
            mark_to_reaped_ms: None,
            heap_settings: Vec::new(),
        };
        self.tell(second, Source::Kernel, Event::ProcessExit(Box::new(exit)))
    }

    /// A file says which containers a pod has, with which limits.
    pub(super) fn file_says(&mut self, letter: char, containers: &[(&str, Option<u64>)]) -> &mut Self {
        let pod = pod(letter);
        let containers = containers
            .iter()
            .map(|(name, mib)| {
                let record = ContainerRecord { limit_bytes: mib.map(|mib| mib * MIB), ..ContainerRecord::default() };
                ((*name).to_owned(), record)
            })
            .collect();
        let record = PodRecord { pod: pod.clone(), complete: true, containers, ..PodRecord::default() };
        let Snapshot { pods, .. } = &mut self.known.snapshot;
        pods.insert(pod.uid.expect("a uid"), record);
        self
    }

    pub(super) fn timeline(&self) -> Timeline {
        let mut timeline = Timeline::new(Keep::ALL, self.known.clone());
        for line in &self.lines {
            timeline.push(line);
        }
        timeline
    }

    pub(super) fn incidents(&self) -> Vec<Incident> {
        self.timeline().settle(None).incidents.into_iter().map(|ended| ended.incident).collect()
    }

    /// The ends of containers as Kubernetes intended them.
    pub(super) fn ends(&self) -> Vec<ContainerEnded> {
        self.timeline().settle(None).ends.into_iter().map(|end| end.event).collect()
    }

    /// The only one.
    pub(super) fn incident(&self) -> Incident {
        let mut incidents = self.incidents();
        assert_eq!(incidents.len(), 1, "{:#?}", incidents.iter().map(|i| &i.verdict.summary).collect::<Vec<_>>());
        incidents.remove(0)
    }
}
