//! What oomtrace says of itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// Events that could not be kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// Where they were lost.
    pub from: LostFrom,
    /// How many.
    pub count: u64,
    /// Which output: `stdout`, the file as it was named, or the receiver's address; `null` where they were lost before they came to any.
    #[serde(default)]
    pub output: Option<String>,
    /// Which program of the probes; absent where they were lost elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

impl Lost {
    /// Lost before they came to an output.
    #[must_use]
    pub fn new(from: LostFrom, count: u64) -> Self {
        Self { from, count, output: None, program: None }
    }

    /// Runs of a program that the kernel skipped.
    #[must_use]
    pub fn of_program(program: String, count: u64) -> Self {
        Self { program: Some(program), ..Self::new(LostFrom::Program, count) }
    }
}

/// Where events can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LostFrom {
    /// Records that found the ring buffer full, counted in the kernel.
    Ring,
    /// Runs of a program of the probes that the kernel skipped: `program` says which. It does so where another one runs already
    /// on the same processor, or where too many calls wait for their return.
    Program,
    /// Lines that the reader of standard output did not take in time.
    Stdout,
    /// Failures of cgroups' charges, and refusals of processes' allocations, that found a map of the probes full: each counted
    /// in the kernel, none reported.
    Map,
    /// Records of `/dev/kmsg` that were overwritten before they were read.
    KernelLog,
    /// Reports of kills that the kernel's own rate limit left out of its log: the kills are reported, without their limits.
    KernelReport,
    /// Lines of the kubelet's log.
    KubeletLog,
    /// Lines that the file of `--record` did not take, or not in time.
    Record,
    /// Lines that a file of `--output` did not take, or not in time: `output` says which.
    Output,
    /// Kubernetes Events (`--k8s-events`) that the API server did not take, or not in time, or that are about a pod whose name
    /// is not known.
    KubernetesEvents,
    /// Lines that a receiver of OTLP (`--otlp`) did not take, or not in time: `output` says which.
    Otlp,
    /// Incidents that the page of `--web` did not take in time: `output` has its address.
    Web,
    /// Events of a source that came faster than they could be reported.
    Source,
    /// Events that the timeline had no room for and that might have made an incident, or have been a part of one, yet.
    Timeline,
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
    /// The version of the lines' schema: [`SCHEMA_VERSION`](crate::SCHEMA_VERSION).
    #[serde(default)]
    pub schema_version: Option<String>,
    /// The kernel's release: `uname -r`.
    pub kernel: String,
    /// The version of the hierarchy that has the memory controller: 1 or 2.
    pub cgroup_version: Option<u8>,
    /// Every kernel function, tracepoint or file of interest, and how it is attached; `null` where it is not. `oomtrace
    /// doctor` says what was tried before.
    #[serde(default)]
    pub attached: BTreeMap<String, Option<Rung>>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub attached_omitted: u64,
    /// What is not as good as it could be, each with its reason and remedy.
    pub degraded: Vec<String>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub degraded_omitted: u64,
    /// What oomtrace has given up of its rights; absent where it is nothing (`--confine`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confined: Vec<Measure>,
    /// How long this node had not been traced before this start, in milliseconds; absent where that is not known (`--state-dir`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_ms: Option<u64>,
    /// How many incidents were open when the run before was killed and go on in this one, with the same `id`; absent where none does
    /// (`--state-dir`).
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub incidents_resumed: u64,
    /// Kills seen so far.
    pub kills: u64,
    /// Events lost so far.
    pub lost: u64,
    /// The same by where they were lost.
    #[serde(default)]
    pub losses: Vec<Lost>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub losses_omitted: u64,
    /// Signals that are not reported, to keep lines few where processes are killed all day: of each cgroup no more than ten a second
    /// are reported, besides those to a container's first process.
    #[serde(default)]
    pub untold_signals: u64,
}

impl Status {
    /// Whether anything is attached.
    #[must_use]
    pub fn is_tracing(&self) -> bool {
        self.attached.values().any(Option::is_some)
    }
}

/// Where oomtrace is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Everything is attached.
    Started,
    /// It goes on: a heartbeat.
    Running,
    /// Everything is drained.
    Stopped,
}

/// A way in which oomtrace confines itself, so that an attacker who takes it over gets little by it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Measure {
    /// Capabilities that are not needed any more are given up: capabilities(7).
    Capabilities,
    /// Running a program gives no more rights: `PR_SET_NO_NEW_PRIVS`, prctl(2).
    NoNewPrivs,
    /// System calls that a tracer does not need are forbidden: seccomp(2).
    Seccomp,
    /// Only folders of its own files are written to: landlock(7).
    Landlock,
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
    /// Not an attach point: the kernel's own log, `/dev/kmsg`.
    KernelLog,
    /// Not an attach point either: the counters of cgroups, `memory.events` or `memory.oom_control`.
    CgroupEvents,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::RawTracepoint => "raw tracepoint",
            Self::Tracepoint => "tracepoint",
            Self::KernelLog => "the kernel's log",
            Self::CgroupEvents => "the counters of cgroups",
        })
    }
}
