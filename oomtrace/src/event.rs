//! The one type that everything speaks: what happened, as the JSON lines print it.
//!
//! Field names are a contract: fields are added, never renamed. Sizes are in bytes where a name ends in `_bytes`. What is
//! not known is `null`, never 0. `oomtrace schema` prints the JSON Schema of [`Line`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::node::cgroup_path::{ContainerId, Level, PodUid, QosClass};

/// One line of output: an event, with where and when it happened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// When, RFC 3339 in UTC with nanoseconds: the boot-time clock reading below, told in wall time.
    pub ts: String,
    /// Counts the lines of one run of oomtrace, from 1. A gap is a lost line.
    pub seq: u64,
    /// The node's name.
    pub node: String,
    /// Where the event comes from.
    pub source: Source,
    /// The reading of `CLOCK_BOOTTIME` that `ts` is made from, nanoseconds since the node booted.
    pub boot_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Who told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Probes in the kernel.
    Kernel,
    /// oomtrace itself.
    Oomtrace,
}

/// What happened, by its `kind`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The kernel's OOM killer killed: one decision of `oom_kill_process`.
    OomKill(Box<OomKill>),
    /// The OOM killer decided, and killed nobody: its choice was dying already, or had gone.
    OomDecision(Box<OomKill>),
    /// One process that the OOM killer marked: it may use memory reserves to die.
    OomVictim(Box<OomVictim>),
    /// A process ended: an OOM victim, or a container's first one.
    ProcessExit(Box<ProcessExit>),
    /// A signal that ends processes was delivered into a container.
    Signal(Box<Signal>),
    /// Events that could not be kept.
    Lost(Lost),
    /// A record that could not be understood.
    Error(Failure),
    /// What is attached, what is missing and why.
    Status(Box<Status>),
}

/// A pod, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pod {
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub name: Option<String>,
    /// `metadata.uid`; of a static pod the hash of its manifest.
    pub uid: PodUid,
    /// The quality-of-service class.
    pub qos: Option<QosClass>,
}

/// A container, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// The container's name in its pod.
    pub name: Option<String>,
    /// The runtime's id of it: 64 hexadecimal digits.
    pub id: ContainerId,
    /// The image it runs.
    pub image: Option<String>,
    /// How often it was restarted.
    pub restart_count: Option<u32>,
}

/// A control group of the memory controller's hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// The path from the hierarchy's root, read in the kernel at the moment of the event.
    pub path: Option<String>,
    /// The inode number of its directory.
    pub id: Option<u64>,
    /// Outside of Kubernetes, the systemd unit that it is, or is in.
    pub unit: Option<String>,
}

/// A task of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// The thread's id (`task_struct.pid`): what kernel messages call the pid.
    pub pid: Option<u32>,
    /// The process's id (`task_struct.tgid`): what `ps` calls the pid.
    pub tgid: Option<u32>,
    /// Its name, at most 15 bytes, as the process itself chose it. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub comm: Option<String>,
    /// The real user id in the initial user namespace.
    pub uid: Option<u32>,
    /// -1000 (never kill) to 1000 (kill first).
    pub oom_score_adj: Option<i32>,
    /// Whether it is the first process of a container: number 1 of a pid namespace. `null` where the process is in the
    /// node's own pid namespace, which does not tell.
    pub container_init: Option<bool>,
    /// The pod it runs in.
    pub pod: Option<Pod>,
    /// The container it runs in.
    pub container: Option<Container>,
    /// The memory cgroup that it is charged to.
    pub cgroup_id: Option<u64>,
}

/// A task's memory, from its `mm_struct`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// Address space, `total_vm`.
    pub total_vm_bytes: Option<u64>,
    /// Resident anonymous memory.
    pub rss_anon_bytes: Option<u64>,
    /// Resident file-backed memory.
    pub rss_file_bytes: Option<u64>,
    /// Resident shared memory.
    pub rss_shmem_bytes: Option<u64>,
    /// Memory swapped out.
    pub swap_bytes: Option<u64>,
    /// Page tables.
    pub pgtables_bytes: Option<u64>,
}

/// The victim of a kill.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Victim {
    /// Who.
    #[serde(flatten)]
    pub task: Task,
    /// Its memory.
    #[serde(flatten)]
    pub memory: Memory,
    /// Its badness, in pages, by which the kernel chose it: `oom_badness`, `mm/oom_kill.c`.
    pub points: Option<i64>,
}

/// The limit that was hit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// Whose limit it is.
    pub level: Option<Level>,
    /// The path of the cgroup over its limit; `null` for the node.
    pub cgroup: Option<String>,
    /// Its id; `null` for the node.
    pub cgroup_id: Option<u64>,
    /// The pod whose limit, or whose container's limit, it is.
    pub pod: Option<Pod>,
    /// The container whose limit it is.
    pub container: Option<Container>,
    /// The rest of the path where the limit was set inside the container or below the pod, and is not one of the pod's
    /// specification.
    pub nested: Option<String>,
    /// What is charged to it: `memory.current`, `memory.usage_in_bytes`.
    pub usage_bytes: Option<u64>,
    /// What may be charged: `memory.max`, `memory.limit_in_bytes`; for the node its RAM and swap. `null` also where there
    /// is no limit.
    pub limit_bytes: Option<u64>,
    /// Charged swap (cgroup v2), or memory and swap together (v1): see `swap_counter`.
    pub swap_usage_bytes: Option<u64>,
    /// The limit of the same.
    pub swap_limit_bytes: Option<u64>,
    /// What the two fields above count: `swap` on cgroup v2, `memory_and_swap` on v1.
    pub swap_counter: Option<SwapCounter>,
    /// `totalpages` of the decision: the limit with the swap that may be used, or RAM and swap: the base of all points.
    /// Not the victim's size.
    pub total_bytes: Option<u64>,
}

/// What a cgroup's second counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SwapCounter {
    /// Swap alone: cgroup v2.
    Swap,
    /// Memory and swap together: cgroup v1's `memsw`.
    MemoryAndSwap,
}

/// One decision of the OOM killer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OomKill {
    /// Numbers the decisions since oomtrace started; `null` where only marks are seen.
    pub decision: Option<u64>,
    /// The victim's pod.
    pub pod: Option<Pod>,
    /// The victim's container.
    pub container: Option<Container>,
    /// The victim's cgroup.
    pub cgroup: Option<Cgroup>,
    /// The task whose allocation could not be met. Often not the victim.
    pub trigger: Task,
    /// Who was chosen.
    pub victim: Victim,
    /// Which limit was hit; `null` where the kernel's decision itself could not be seen.
    pub limit: Option<Limit>,
    /// `NONE`, `CPUSET`, `MEMORY_POLICY` or `MEMCG`: `enum oom_constraint`.
    pub constraint: Option<String>,
    /// 2^order pages were asked for; -1 for a kill that a person asked for (SysRq-f).
    pub order: Option<i32>,
    /// The allocation's flags by name, as the kernel prints them.
    pub gfp: Option<String>,
    /// The same as the running kernel's bits.
    pub gfp_mask: Option<u32>,
    /// The kernel's words for the reason, as in its log before "Killed process".
    pub message: Option<String>,
    /// Whether the victim's whole cgroup was killed with it (`memory.oom.group`); `null` where that cannot be seen.
    pub group: Option<bool>,
    /// The other processes killed with it.
    pub members: Vec<Task>,
    /// How many processes the kernel weighed; `null` where that was not seen.
    pub candidates_weighed: Option<u32>,
    /// Those with the most points, at most 20, most points first: why this victim. Processes that must not be killed
    /// (`oom_score_adj` -1000) are weighed, but are no candidates. `null` where they were not seen.
    pub candidates: Option<Vec<Candidate>>,
}

/// A process that the kernel could have chosen.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// Who.
    #[serde(flatten)]
    pub task: Task,
    /// Its memory.
    #[serde(flatten)]
    pub memory: Memory,
    /// Its badness in pages.
    pub points: i64,
}

/// Why a process was marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was chosen, and killed.
    Killed,
    /// It was killed with the chosen one: `memory.oom.group`.
    Group,
    /// It was dying already, and was only given access to memory reserves.
    AlreadyDying,
}

/// One marked process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OomVictim {
    /// Why.
    pub why: Why,
    /// The decision it belongs to, as in `oom_kill`; `null` for a mark outside of any.
    pub decision: Option<u64>,
    /// Its pod.
    pub pod: Option<Pod>,
    /// Its container.
    pub container: Option<Container>,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// Who.
    #[serde(flatten)]
    pub task: Task,
    /// Its memory.
    #[serde(flatten)]
    pub memory: Memory,
}

/// How a process ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProcessExit {
    /// Its pod.
    pub pod: Option<Pod>,
    /// Its container.
    pub container: Option<Container>,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// Who; its `pid` is the process's.
    #[serde(flatten)]
    pub task: Task,
    /// The status it exited with, 0 to 255; `null` where a signal ended it.
    pub exit_code: Option<u8>,
    /// The number of the signal that ended it; `null` where it exited.
    pub signal: Option<u8>,
    /// Whether it left a core dump.
    pub core_dumped: bool,
    /// What the container's exit code is, where this was its first process: the status, or 128 and the signal's number
    /// (137 for SIGKILL).
    pub container_exit_code: Option<u8>,
    /// Whether the OOM killer had marked it.
    pub oom_victim: bool,
    /// From the mark to this end, milliseconds; `null` where it was not marked, or the mark was not seen.
    pub since_mark_ms: Option<f64>,
}

/// A signal into a container: SIGKILL, SIGTERM, SIGQUIT, or one of those that a fault raises, where the process does not
/// catch it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Signal {
    /// The target's pod.
    pub pod: Option<Pod>,
    /// The target's container.
    pub container: Option<Container>,
    /// The target's cgroup.
    pub cgroup: Option<Cgroup>,
    /// The signal's number.
    pub signal: u32,
    /// Its name: `SIGKILL`.
    pub name: String,
    /// Whoever sent it.
    pub sender: Sender,
    /// Whom it was sent to.
    pub target: Task,
}

/// Whoever sent a signal.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sender {
    /// What it is.
    pub role: SenderRole,
    /// Who. Of a signal that the kernel itself sent: the task that it ran as just then.
    #[serde(flatten)]
    pub task: Task,
    /// Its systemd unit, where it has one on the node.
    pub unit: Option<String>,
}

/// What the sender of a signal is. A process in a container is told by its container, never by its name, which it chooses
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SenderRole {
    /// The kernel itself: a fault, the OOM killer, the end of a pid namespace.
    Kernel,
    /// A process of the same container.
    SameContainer,
    /// A process of another container.
    OtherContainer,
    /// The kubelet, or a distribution's program with it inside.
    Kubelet,
    /// The container runtime: its daemon, its shim, its monitor.
    Runtime,
    /// A killer for memory in user space: systemd-oomd, oomd, earlyoom.
    Oomd,
    /// systemd.
    Systemd,
    /// Another process of the node: a person's shell, a script.
    Process,
}

/// Events that could not be kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// Where they were lost.
    pub from: LostFrom,
    /// How many.
    pub count: u64,
}

/// Where events can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LostFrom {
    /// Records that found the ring buffer full, counted in the kernel.
    Ring,
    /// Lines that whoever reads standard output did not take in time.
    Stdout,
}

/// Something that could not be understood.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What, and what it means.
    pub message: String,
}

/// What oomtrace is doing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Where it is in its life.
    pub phase: Phase,
    /// oomtrace's own version.
    pub version: String,
    /// The kernel's release: `uname -r`.
    pub kernel: String,
    /// The version of the hierarchy that has the memory controller: 1 or 2.
    pub cgroup_version: Option<u8>,
    /// Every kernel function or tracepoint of interest, and how it is attached.
    pub probes: Vec<ProbeStatus>,
    /// What is not as good as it could be, each with its reason and remedy.
    pub degraded: Vec<String>,
    /// Kills seen so far.
    pub kills: u64,
    /// Events lost so far.
    pub lost: u64,
}

/// Where oomtrace is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Everything is attached.
    Started,
    /// Everything is drained.
    Stopped,
}

/// How one symbol of the kernel is hooked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeStatus {
    /// The kernel function, or the tracepoint.
    pub symbol: String,
    /// The attach point in use; `null` where none could be had.
    pub attached: Option<Rung>,
    /// The better ones that were tried, and what the kernel said.
    pub refused: Vec<Refusal>,
}

/// An attach point that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// Which.
    pub rung: Rung,
    /// Why.
    pub reason: String,
}

/// The rungs of the ladder of attach points, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// BTF trampolines: fentry and fexit.
    Fentry,
    /// kprobe and kretprobe.
    Kprobe,
    /// A raw tracepoint.
    RawTracepoint,
    /// A tracepoint.
    Tracepoint,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::RawTracepoint => "raw tracepoint",
            Self::Tracepoint => "tracepoint",
        })
    }
}
