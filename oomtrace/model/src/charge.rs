//! Memory that was asked for and could not be had, without anybody being killed for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Cgroup, Container, Event, Limit, Pod, Task,
    place::{Mention, Mentions},
    task::without_place,
};

/// Charges to a cgroup that hit a limit, in a window: counted in the kernel, never an event per failure.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChargeFailures {
    /// The pod whose limit, or whose container's limit, was hit.
    pub pod: Option<Pod>,
    /// The container whose limit was hit.
    pub container: Option<Container>,
    /// The cgroup whose limit was hit.
    pub cgroup: Option<Cgroup>,
    /// Whether this cgroup has just begun to fail, goes on, or has ceased.
    pub state: ChargeState,
    /// The limit that was hit, with usage and limit at the last failure.
    pub limit: Option<Limit>,
    /// Attempts that hit the limit and went into reclaim, in this window; `null` where they cannot be seen.
    pub attempts: Option<u64>,
    /// Charges that failed for good (`-ENOMEM`), in this window; `null` where they are not watched
    /// (`--charge-returns`).
    pub failed: Option<u64>,
    /// Calls of the cgroup's OOM handling (`mem_cgroup_out_of_memory`), in this window; `null` where they cannot be seen.
    pub ooms: Option<u64>,
    /// `attempts` since the cgroup began to fail.
    pub attempts_total: Option<u64>,
    /// `failed` since the cgroup began to fail.
    pub failed_total: Option<u64>,
    /// Calls of the cgroup's OOM handling since it began to fail.
    pub ooms_total: Option<u64>,
    /// When the cgroup began to fail, RFC 3339.
    pub first_ts: String,
    /// The last failure so far, RFC 3339.
    pub last_ts: String,
    /// The task that hit the limit last: where there were several within a second, the first of them.
    pub last_task: Option<Task>,
    /// What `first_ts` and `last_ts` are made from.
    #[serde(skip)]
    pub span: Span,
}

impl Mentions for ChargeFailures {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), None));
        self.limit.mentions(show);
        self.last_task.mentions(show);
    }
}

/// From a first to a last time, both nanoseconds of `CLOCK_BOOTTIME`. Their wall time is reported when the event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first_ns: u64,
    /// The last.
    pub last_ns: u64,
}

impl Event {
    /// Fills in the wall times of a span, which are known only where the event is numbered.
    pub fn tell_span(&mut self, wall: impl Fn(u64) -> String) {
        let (span, first_ts, last_ts) = match self {
            Self::ChargeFailures(failures) => (failures.span, &mut failures.first_ts, &mut failures.last_ts),
            Self::AllocationRefused(refused) => (refused.span, &mut refused.first_ts, &mut refused.last_ts),
            _ => return,
        };
        *first_ts = wall(span.first_ns);
        *last_ts = wall(span.last_ns);
    }
}

/// Where a cgroup is in a time of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChargeState {
    /// It has just hit its limit.
    Began,
    /// It still does.
    GoesOn,
    /// It does no more.
    Ceased,
}

/// Allocations of a process that the kernel refused: no OOM follows, only an error that the process has to cope with.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AllocationRefused {
    /// The process's pod.
    pub pod: Option<Pod>,
    /// The process's container.
    pub container: Option<Container>,
    /// The process's cgroup.
    pub cgroup: Option<Cgroup>,
    /// The process.
    #[serde(flatten, serialize_with = "without_place")]
    pub task: Task,
    /// What refused.
    pub by: RefusedBy,
    /// How many were refused since the last line of this process and cause, which was at least a second ago.
    pub count: u64,
    /// How many were refused since the first.
    pub count_total: u64,
    /// What was asked for: of several within a second, by the first of them.
    pub requested_bytes: Option<u64>,
    /// The limit that stood against it: the rlimit, or `CommitLimit`; with heuristic overcommit RAM and swap together.
    pub limit_bytes: Option<u64>,
    /// The first refusal, RFC 3339.
    pub first_ts: String,
    /// The last so far, RFC 3339.
    pub last_ts: String,
    /// What `first_ts` and `last_ts` are made from.
    #[serde(skip)]
    pub span: Span,
}

impl Mentions for AllocationRefused {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), Some(&self.task)));
        self.task.mentions(show);
    }
}

/// What refuses an allocation before there is an OOM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusedBy {
    /// The node's overcommit accounting: `vm.overcommit_memory`, `__vm_enough_memory`.
    Overcommit,
    /// The process's limit on address space, `RLIMIT_AS`.
    RlimitAs,
    /// The process's limit on data, `RLIMIT_DATA`.
    RlimitData,
    /// A limit of the process on address space or data, where the kernel does not tell which.
    Rlimit,
}
