//! What can be explained, and the texts: all of them are here.

use super::Scenario;

/// One thing that can be explained.
pub(super) struct Topic {
    /// What it is called; the first is its title.
    pub(super) names: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) means: &'static str,
    pub(super) means_not: &'static str,
    pub(super) look_at: &'static [&'static str],
    /// The scenarios that it can belong to.
    pub(super) scenarios: &'static [Scenario],
}

/// What a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ExitCode,
    Status,
    Scenario,
    Metric,
    File,
    Other,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::ExitCode, Self::Status, Self::Scenario, Self::Metric, Self::File, Self::Other];

    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::ExitCode => "exit code of a container",
            Self::Status => "status or event of Kubernetes",
            Self::Scenario => "scenario of an incident",
            Self::Metric => "metric",
            Self::File => "file of the kernel",
            Self::Other => "term",
        }
    }
}

use Scenario::{
    AllocatableEvicted, AllocatableOom, ContainerLimit, Crashed, Evicted, Killed, NodePressureEvicted, OtherLimit,
    PodLimit, RuntimeRefused, SystemOom, UnknownLimit,
};

const TIMELINE: &str = "`oomtrace timeline` on the node: who killed it, and whose limit was hit";
const POD: &str = "`kubectl describe pod`: Last State, its reason, exit code and time; the events below it";
const KERNEL_LOG: &str =
    "the kernel's log (`journalctl -k`, `dmesg -T`) at that time: `oom-kill:` and `Killed process`";
const KUBELET_LOG: &str = "the kubelet's log at that time: `eviction manager`, `Killing container`, probes that failed";
const OWN_LOG: &str = "the last lines of the container's own log (`kubectl logs --previous`)";

/// All of them.
pub(super) const TOPICS: &[Topic] = &[
    Topic {
        names: &["137", "Error 137", "exit code 137", "SIGKILL"],
        kind: Kind::ExitCode,
        means: "128 + 9: the container's first process was ended by SIGKILL. A program can also exit with 137 by itself: a shell does where a command that it ran was killed.",
        means_not: "It does not say that memory ran out. The kernel's OOM killer sends SIGKILL, and so do the kubelet and the runtime when the grace period is over, a user-space OOM killer, systemd, and a person.",
        look_at: &[
            "the reason beside it: `OOMKilled` is memory, `Error` says nothing",
            POD,
            TIMELINE,
            KERNEL_LOG,
            KUBELET_LOG,
        ],
        scenarios: &[
            ContainerLimit,
            PodLimit,
            AllocatableOom,
            SystemOom,
            OtherLimit,
            UnknownLimit,
            NodePressureEvicted,
            AllocatableEvicted,
            Evicted,
            Killed,
        ],
    },
    Topic {
        names: &["139", "Error 139", "exit code 139", "SIGSEGV"],
        kind: Kind::ExitCode,
        means: "128 + 11: a segmentation fault. The program touched memory that it does not have: a bug, or a failed allocation whose result it used.",
        means_not: "It is no OOM kill, and the container's limit was not what ended it. The two can go together: a program that is refused memory may crash so.",
        look_at: &[
            OWN_LOG,
            "the core dump, where the node keeps them (`coredumpctl`)",
            "the kernel's log: `segfault at …` names the library",
        ],
        scenarios: &[Crashed, RuntimeRefused],
    },
    Topic {
        names: &["143", "Error 143", "exit code 143", "SIGTERM"],
        kind: Kind::ExitCode,
        means: "128 + 15: it was asked to end with SIGTERM, and did. That is how Kubernetes ends a container: a deletion, a rollout, a failed probe, an eviction.",
        means_not: "The kernel's OOM killer never sends SIGTERM. An eviction for memory does, where it gives the pod time.",
        look_at: &[
            "whether the pod was deleted, evicted or restarted at that time",
            KUBELET_LOG,
            "user-space OOM killers (earlyoom, nohang), which send SIGTERM first",
        ],
        scenarios: &[NodePressureEvicted, AllocatableEvicted, Evicted, Killed],
    },
    Topic {
        names: &["134", "Error 134", "exit code 134", "SIGABRT"],
        kind: Kind::ExitCode,
        means: "128 + 6: the program aborted itself. Node.js, .NET, the JVM (with -XX:+CrashOnOutOfMemoryError) and C++ do so where their own heap is full.",
        means_not: "It is no OOM kill: the limit of the container was not reached, or not first. The kernel has nothing to say of it.",
        look_at: &[OWN_LOG, "the limit of its heap: -Xmx, --max-old-space-size, DOTNET_GCHeapHardLimit", TIMELINE],
        scenarios: &[RuntimeRefused, Crashed],
    },
    Topic {
        names: &["135", "Error 135", "exit code 135", "SIGBUS"],
        kind: Kind::ExitCode,
        means: "128 + 7: memory that is mapped is not there. Mostly a file that was cut while it was mapped, or a full /dev/shm or tmpfs.",
        means_not: "It is no OOM kill.",
        look_at: &["the size of /dev/shm and of emptyDir volumes in memory (`df` in the container)", OWN_LOG],
        scenarios: &[Crashed],
    },
    Topic {
        names: &["OOMKilled"],
        kind: Kind::Status,
        means: "The runtime saw that the kernel's OOM killer killed in the container's cgroup, and then the container ended.",
        means_not: "It does not say whose limit was hit: the container's, the pod's, that of all pods, or the node's. It is not set where the first process lives on while a child is killed, and it may be set of a container that ended later for another reason.",
        look_at: &[
            TIMELINE,
            KERNEL_LOG,
            "the container's limit and its use before (`container_memory_working_set_bytes`)",
        ],
        scenarios: &[ContainerLimit, PodLimit, AllocatableOom, SystemOom, OtherLimit, UnknownLimit],
    },
    Topic {
        names: &["Error", "status Error"],
        kind: Kind::Status,
        means: "The container ended with a code that is not 0, and the runtime did not see an OOM kill in it.",
        means_not: "It does not rule out an OOM kill: the runtime may have missed it. The code beside it says more: 137, 139, 143.",
        look_at: &[POD, OWN_LOG, TIMELINE],
        scenarios: &[Crashed, RuntimeRefused, Killed, UnknownLimit],
    },
    Topic {
        names: &["Evicted"],
        kind: Kind::Status,
        means: "The kubelet ended the pod because the node was short of a resource: memory, disk, inodes or process ids; or the pod used more storage than it may.",
        means_not: "Not every eviction is for memory, and none is an OOM kill: the kubelet decides, once in 10 s, by the node's working set. `available` in the message is from before that decision.",
        look_at: &[
            "the message: `The node was low on resource: …`, its threshold and what was available",
            KUBELET_LOG,
            "the node's thresholds (`--eviction-hard`) and what is reserved",
            "whether it was an eviction by the API instead (drain, descheduler), which deletes the pod: its status does not say Evicted",
        ],
        scenarios: &[NodePressureEvicted, AllocatableEvicted, Evicted],
    },
    Topic {
        names: &["CrashLoopBackOff"],
        kind: Kind::Status,
        means: "The container ended several times, and the kubelet waits before it starts it again: 10 s, doubled up to 5 min.",
        means_not: "It does not say why it ended. Last State does.",
        look_at: &[POD, OWN_LOG, TIMELINE],
        scenarios: &[ContainerLimit, RuntimeRefused, Crashed, Killed],
    },
    Topic {
        names: &["SystemOOM"],
        kind: Kind::Status,
        means: "An event of the kubelet's on the node: the kernel killed because the node itself had no memory left. It names the process, not the pod.",
        means_not: "No pod's limit was hit, and no pod's status says more than OOMKilled.",
        look_at: &[
            KERNEL_LOG,
            "what uses memory outside of kubepods: daemons, the kernel's slab",
            "what is reserved for the system (systemReserved, kubeReserved) and the eviction threshold",
        ],
        scenarios: &[SystemOom],
    },
    Topic {
        names: &["OOMKilling"],
        kind: Kind::Status,
        means: "An event of node-problem-detector's: it quotes a line of the kernel's log of a kill.",
        means_not: "One line of a report does not say whose limit was hit.",
        look_at: &[KERNEL_LOG, TIMELINE],
        scenarios: &[ContainerLimit, PodLimit, AllocatableOom, SystemOom, OtherLimit, UnknownLimit],
    },
    Topic {
        names: &["MemoryPressure"],
        kind: Kind::Status,
        means: "A condition of the node: `memory.available` is below a threshold of the kubelet's, or was within the last 5 min. No BestEffort pods are placed there.",
        means_not: "It does not say that a pod was evicted, nor that the kernel killed.",
        look_at: &["`kubectl describe node`: Conditions", KUBELET_LOG],
        scenarios: &[NodePressureEvicted, AllocatableEvicted],
    },
    Topic {
        names: &["container_limit", "OOM1"],
        kind: Kind::Scenario,
        means: "The container used all of its own memory limit, nothing in its cgroup could be reclaimed, and the kernel killed in it.",
        means_not: "The node may have had plenty of free memory. Page cache alone does not do it: the kernel drops it first.",
        look_at: &[
            "what fills the limit: heap, tmpfs, kernel memory (the verdict says it)",
            "growth over hours (a leak: a higher limit buys time) or a peak (a higher limit helps)",
        ],
        scenarios: &[ContainerLimit],
    },
    Topic {
        names: &["pod_limit"],
        kind: Kind::Scenario,
        means: "The containers of the pod together used the pod's limit, which none of them has alone: pod-level resources, a memory volume, or a limit that a resize left behind.",
        means_not: "The container that was killed need not be the one that grew.",
        look_at: &[
            "the use of each container of the pod, and its memory volumes",
            "`resources` of the pod's own specification",
        ],
        scenarios: &[PodLimit],
    },
    Topic {
        names: &["allocatable_evicted", "OOM2"],
        kind: Kind::Scenario,
        means: "All pods together used more than what is allocatable, slowly enough for the kubelet's 10 s loop: it evicted (`allocatableMemory.available`).",
        means_not: "No limit of a container was hit. Which pod is evicted follows from use over request and priority, not from who grew last.",
        look_at: &[
            "use beside requests of all pods of the node",
            "`kubeReserved`, `systemReserved` and the hard threshold",
        ],
        scenarios: &[AllocatableEvicted],
    },
    Topic {
        names: &["node_pressure_evicted", "OOM3"],
        kind: Kind::Scenario,
        means: "The node's `memory.available` (capacity less working set) fell below the kubelet's threshold, and it evicted a pod.",
        means_not: "It need not be the pods: daemons outside of kubepods count, too. It is not what `free` shows as available.",
        look_at: &[
            "`--eviction-hard`, `--eviction-soft`",
            "memory outside of kubepods",
            "use beside requests of all pods of the node",
        ],
        scenarios: &[NodePressureEvicted],
    },
    Topic {
        names: &["allocatable_oom", "OOM4"],
        kind: Kind::Scenario,
        means: "All pods together reached the limit of kubepods (capacity less what is reserved) faster than the kubelet evicts, and the kernel killed among them.",
        means_not: "The victim's own limit was not reached: it is a bystander, chosen by its score.",
        look_at: &[
            "limits far above requests",
            "the distance between the eviction threshold and the limit of kubepods",
        ],
        scenarios: &[AllocatableOom],
    },
    Topic {
        names: &["runtime_refused", "OOM5"],
        kind: Kind::Scenario,
        means: "The program gave up below the container's limit: its runtime's heap was full, or the kernel refused an allocation (overcommit, ulimit).",
        means_not: "It is no OOM kill, and Kubernetes shows an Error with the program's own code. The kernel's log says nothing.",
        look_at: &[
            OWN_LOG,
            "the limit of its heap: -Xmx and -XX:MaxRAMPercentage, --max-old-space-size, DOTNET_GCHeapHardLimit, memory_limit",
            "`ulimit -v`, vm.overcommit_memory",
        ],
        scenarios: &[RuntimeRefused],
    },
    Topic {
        names: &["system_oom"],
        kind: Kind::Scenario,
        means: "The node had no free page left, or none on the memory nodes that the process may use, before anybody acted: the kernel killed the process with the highest score.",
        means_not: "No limit was hit. The victim is the process with the most points (its memory and its oom_score_adj), which need not be the one that asked.",
        look_at: &[
            "memory outside of kubepods; kernel memory (slab), which the kubelet's figure does not contain on cgroup v2",
            "whether the kubelet has a memory threshold at all (k3s, RKE2, kind and minikube have none by default)",
        ],
        scenarios: &[SystemOom],
    },
    Topic {
        names: &["unknown_limit"],
        kind: Kind::Scenario,
        means: "The OOM killer killed, and what was read does not say whose limit was hit.",
        means_not: "It is not known to be the container's.",
        look_at: &[KERNEL_LOG, "the whole report, from `invoked oom-killer` on"],
        scenarios: &[UnknownLimit],
    },
    Topic {
        names: &["evicted"],
        kind: Kind::Scenario,
        means: "The kubelet evicted, and what was read does not say for which resource.",
        means_not: "It is not known to be memory.",
        look_at: &[POD, KUBELET_LOG],
        scenarios: &[Evicted],
    },
    Topic {
        names: &["other_limit"],
        kind: Kind::Scenario,
        means: "A limit was hit that Kubernetes did not set: of a systemd unit, of a group that a program made, of the container that a node of kind or minikube runs in.",
        means_not: "No limit of a pod's specification helps.",
        look_at: &["the cgroup that the verdict names, and who set its memory.max (`systemctl show -p MemoryMax`)"],
        scenarios: &[OtherLimit],
    },
    Topic {
        names: &["killed"],
        kind: Kind::Scenario,
        means: "A process sent the signal: a user-space OOM killer, systemd, a person, or the kubelet where Kubernetes shows something misleading.",
        means_not: "It was not the kernel's OOM killer.",
        look_at: &["the sender that the verdict names"],
        scenarios: &[Killed],
    },
    Topic {
        names: &["crashed"],
        kind: Kind::Scenario,
        means: "A fault or an abort ended the program (134, 135, 139), and nothing shows that memory was refused.",
        means_not: "It does not rule out that its own heap was full: its log says.",
        look_at: &[OWN_LOG, "the core dump"],
        scenarios: &[Crashed],
    },
    Topic {
        names: &["container_memory_working_set_bytes", "working set", "kubectl top pod"],
        kind: Kind::Metric,
        means: "memory.current less inactive_file, as cAdvisor reckons it: what the kubelet evicts by and `kubectl top` shows.",
        means_not: "It is not what the limit is compared with: that is memory.current, with all page cache. It is a sample, up to 15 s old: a peak between two of them is not in it. Summed over a pod's containers it leaves out what is charged to the pod alone.",
        look_at: &["container_memory_rss for what cannot be reclaimed", "memory.peak for the highest use"],
        scenarios: &[],
    },
    Topic {
        names: &["container_memory_usage_bytes", "memory.current", "memory.usage_in_bytes"],
        kind: Kind::Metric,
        means: "memory.current of the cgroup: anonymous memory, page cache, tmpfs, kernel memory and sockets. The limit is compared with this.",
        means_not: "Near the limit it need not be a danger: page cache fills what is free, and is dropped when it is needed.",
        look_at: &["container_memory_working_set_bytes, container_memory_rss", "memory.stat for its parts"],
        scenarios: &[],
    },
    Topic {
        names: &["container_memory_rss"],
        kind: Kind::Metric,
        means: "`anon` of memory.stat: heaps and stacks, which only swap or the program itself can give back.",
        means_not: "It is not the sum of the processes' RSS, which counts mapped files and shared pages, and has no tmpfs and no kernel memory.",
        look_at: &["container_memory_usage_bytes for the rest"],
        scenarios: &[],
    },
    Topic {
        names: &["container_memory_cache"],
        kind: Kind::Metric,
        means: "`file` of memory.stat: page cache, and tmpfs and shared memory with it.",
        means_not: "Not all of it can be dropped: tmpfs and shared memory (`shmem`) stay until they are deleted.",
        look_at: &["`shmem` in memory.stat"],
        scenarios: &[],
    },
    Topic {
        names: &["container_memory_max_usage_bytes", "memory.peak", "memory.max_usage_in_bytes"],
        kind: Kind::Metric,
        means: "The highest memory.current since the container was started (kernels from 5.19 on; 0 before, on cgroup v2).",
        means_not: "It contains page cache: at the limit it is normal where files are read.",
        look_at: &["container_memory_working_set_bytes over time"],
        scenarios: &[],
    },
    Topic {
        names: &["container_memory_failcnt", "memory.failcnt"],
        kind: Kind::Metric,
        means: "How often a charge met the limit, on cgroup v1.",
        means_not: "On cgroup v2 it is always 0: look at `max` in memory.events. A failed charge is no kill: the kernel reclaims first.",
        look_at: &["memory.events"],
        scenarios: &[],
    },
    Topic {
        names: &["container_memory_failures_total"],
        kind: Kind::Metric,
        means: "Page faults (pgfault, pgmajfault): memory that was touched for the first time, or read back.",
        means_not: "They are no failed allocations.",
        look_at: &["pgmajfault that rises: the working set does not fit"],
        scenarios: &[],
    },
    Topic {
        names: &["container_oom_events_total"],
        kind: Kind::Metric,
        means: "OOM kills in the kernel's log that cAdvisor took for this container's, by the victim.",
        means_not: "It is not there any more when the container is gone, and it misses what the kernel's rate limit leaves out of the log.",
        look_at: &["oom_kill in memory.events", TIMELINE],
        scenarios: &[ContainerLimit, PodLimit, AllocatableOom, SystemOom, OtherLimit],
    },
    Topic {
        names: &["container_spec_memory_limit_bytes", "memory.max", "memory.limit_in_bytes"],
        kind: Kind::Metric,
        means: "The container's limit as its cgroup has it; 0 in the metric where there is none.",
        means_not: "The pod, the QoS class and kubepods have limits, too: the lowest that is reached counts.",
        look_at: &["memory.max of the cgroups above"],
        scenarios: &[],
    },
    Topic {
        names: &["kube_pod_container_status_last_terminated_reason", "kube_pod_container_status_terminated_reason"],
        kind: Kind::Metric,
        means: "The reason in the container's status, of kube-state-metrics: 1 for the last one, as OOMKilled.",
        means_not: "It counts nothing: two kills in a row look like one, and a kill of a child is not in it.",
        look_at: &["container_oom_events_total, oomtrace's own metrics"],
        scenarios: &[ContainerLimit, PodLimit, AllocatableOom, SystemOom, UnknownLimit],
    },
    Topic {
        names: &["kubelet_evictions"],
        kind: Kind::Metric,
        means: "Evictions since the kubelet was started, by signal (`eviction_signal`).",
        means_not: "Where memory.available and allocatableMemory.available were both crossed, which of them is blamed is a matter of chance.",
        look_at: &[KUBELET_LOG],
        scenarios: &[NodePressureEvicted, AllocatableEvicted],
    },
    Topic {
        names: &["node_memory_MemAvailable_bytes", "MemAvailable"],
        kind: Kind::Metric,
        means: "The kernel's estimate of what can be allocated without swapping: free pages, and most page cache and reclaimable slab.",
        means_not: "It is not the kubelet's memory.available, which is the capacity less the node's working set.",
        look_at: &["memory.available in the kubelet's /stats/summary (`node.memory.availableBytes`)"],
        scenarios: &[NodePressureEvicted, SystemOom],
    },
    Topic {
        names: &["node_vmstat_oom_kill"],
        kind: Kind::Metric,
        means: "Processes that the kernel's OOM killer killed on the node since boot, whatever limit was hit.",
        means_not: "It does not say in which container. Those of a group kill count one by one.",
        look_at: &[TIMELINE],
        scenarios: &[ContainerLimit, PodLimit, AllocatableOom, SystemOom, OtherLimit],
    },
    Topic {
        names: &["memory.available"],
        kind: Kind::Metric,
        means: "The kubelet's eviction signal of the node: capacity less the node's working set. Below the threshold (100Mi by default) it evicts.",
        means_not: "It is neither MemAvailable nor MemFree. On cgroup v2 the node's usage is without the kernel's own memory, which so looks available.",
        look_at: &["`--eviction-hard`; `kubectl get --raw /api/v1/nodes/NODE/proxy/stats/summary`"],
        scenarios: &[NodePressureEvicted],
    },
    Topic {
        names: &["allocatableMemory.available"],
        kind: Kind::Metric,
        means: "The kubelet's eviction signal of all pods: the limit of kubepods less its working set.",
        means_not: "No pod's limit. Its threshold is that of memory.available.",
        look_at: &["`kubeReserved`, `systemReserved`"],
        scenarios: &[AllocatableEvicted, AllocatableOom],
    },
    Topic {
        names: &["memory.events"],
        kind: Kind::File,
        means: "Counts of a cgroup and those below it: `max` charges that met the limit, `oom` where reclaim did not help, `oom_kill` processes killed.",
        means_not: "`max` alone is no fault: page cache at the limit makes it rise.",
        look_at: &["memory.events.local for the cgroup alone"],
        scenarios: &[],
    },
    Topic {
        names: &["memory.oom.group"],
        kind: Kind::File,
        means: "1: a kill in the cgroup takes all its processes. Kubernetes sets it on containers from 1.28 on, on cgroup v2, unless `singleProcessOOMKill` is set.",
        means_not: "It changes neither the limit nor who is chosen.",
        look_at: &["`group_kill` of the verdict"],
        scenarios: &[],
    },
    Topic {
        names: &["invisible"],
        kind: Kind::Other,
        means: "A process of the container was OOM-killed, and its first process lives on: Kubernetes reports nothing.",
        means_not: "Nothing is well: a worker is gone.",
        look_at: &["oom_kill in memory.events of the container", TIMELINE],
        scenarios: &[ContainerLimit, PodLimit, AllocatableOom, SystemOom],
    },
    Topic {
        names: &["flow"],
        kind: Kind::Other,
        means: "A process asks for memory. 1. The kernel may refuse the request at once (overcommit, ulimit), or the runtime at the limit of its heap. 2. When the memory is touched, it is charged to the container, its pod, the QoS class and kubepods; where one has a limit and nothing can be reclaimed, the kernel kills in that one. 3. Every 10 s the kubelet compares the node's and all pods' working sets with its thresholds, and evicts. 4. Where no page is free on the node before that, the kernel kills by score.",
        means_not: "These know nothing of each other: the kernel does not ask the kubelet, and the kubelet does not see the kernel's choice.",
        look_at: &["`oomtrace explain SCENARIO` for each"],
        scenarios: &[
            RuntimeRefused,
            ContainerLimit,
            PodLimit,
            AllocatableOom,
            AllocatableEvicted,
            NodePressureEvicted,
            SystemOom,
        ],
    },
];

/// The topic of a name. `evicted` in small letters is the scenario, `Evicted` the status.
pub(super) fn find(what: &str) -> Option<&'static Topic> {
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let exact = TOPICS.iter().find(|topic| topic.names.contains(&what.as_str()));
    exact.or_else(|| TOPICS.iter().find(|topic| topic.names.iter().any(|name| name.eq_ignore_ascii_case(&what))))
}

/// The topics whose names occur in a text, as words.
pub(super) fn in_text(text: &str) -> impl Iterator<Item = &'static Topic> {
    let words: Vec<&str> = text
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')))
        .map(|word| word.trim_matches('.'))
        .collect();
    let named = move |topic: &&Topic| {
        topic.names.iter().any(|name| name.len() > MOST_SHORT && words.contains(name)) && topic.kind != Kind::Scenario
    };
    TOPICS.iter().filter(named)
}

/// A shorter name occurs in any text.
const MOST_SHORT: usize = 5;
