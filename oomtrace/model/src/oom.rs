//! What the OOM killer decides, and whom it marks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Cgroup, Container, Memory, Pod, Task,
    place::{Mention, Mentions, PlaceMut},
    task::without_place,
};
use crate::cgroup_path::Level;

/// The victim of a kill.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Victim {
    /// Who.
    #[serde(flatten)]
    pub task: Task,
    /// Its memory.
    #[serde(flatten)]
    pub memory: Memory,
    /// Its badness, in pages, by which the kernel chose it: `oom_badness`, `mm/oom_kill.c`.
    pub points: Option<i64>,
    /// What it was started as, its first 256 bytes, with spaces between the arguments; absent where it was not read: it is
    /// the victim's own memory, and a dying process may have let go of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
}

/// The limit that was hit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
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
    /// What made the kernel choose; `null` where its decision could not be seen.
    pub cause: Option<Cause>,
    /// Which limit was hit; `null` where the kernel's decision itself could not be seen.
    pub limit: Option<Limit>,
    /// `NONE`, `CPUSET`, `MEMORY_POLICY` or `MEMCG`: `enum oom_constraint`.
    pub constraint: Option<String>,
    /// The NUMA nodes that a memory policy allows, as the kernel lists them (`0-1,3`); absent without a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodemask: Option<String>,
    /// The trigger's cpuset cgroup: its name, not its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// The NUMA nodes that this cpuset allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mems_allowed: Option<String>,
    /// What was free on each NUMA node, where the node's memory was reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory_nodes: Vec<MemoryNode>,
    /// What filled the cgroup over its limit: its `memory.stat` at that moment; absent where the report has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_memory: Option<CgroupMemory>,
    /// Where a pod's limit was hit, how many of its containers had memory, the sandbox apart; absent where the report does not
    /// list them, as from Linux 5.3 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers_charged: Option<u32>,
    /// 2^order pages were asked for; -1 for a kill that a person asked for (SysRq-f).
    pub order: Option<i32>,
    /// The allocation's flags by name, as the kernel prints them.
    pub gfp: Option<String>,
    /// The same as the running kernel's bits.
    pub gfp_mask: Option<u32>,
    /// The kernel's words for the reason, as in its log before "Killed process".
    pub message: Option<String>,
    /// What the kernel's log has of the kill, where its own line is missing; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_by: Option<KnownBy>,
    /// Whether the kernel's log has no time of it: its `ts` is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub time_unknown: bool,
    /// Whether the victim's whole cgroup was killed with it (`memory.oom.group`); `null` where that cannot be seen.
    pub group: Option<bool>,
    /// The other processes killed with it.
    pub members: Vec<Task>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub members_omitted: u64,
    /// How many processes the kernel weighed; `null` where that was not seen.
    pub candidates_weighed: Option<u32>,
    /// Those with the most points, at most 20, most points first: why this victim. Processes that must not be killed
    /// (`oom_score_adj` -1000) are weighed, but are no candidates. `null` where they were not seen.
    pub candidates: Option<Vec<Candidate>>,
    /// How many are left out above; absent where none is. All are in recordings.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub candidates_omitted: u64,
}

/// What `oom_score_adj` keeps a process from ever being killed: `include/uapi/linux/oom.h`.
pub const OOM_SCORE_ADJ_MIN: i32 = -1000;

impl OomKill {
    /// `message` where nobody was left to kill.
    pub const NONE_KILLABLE: &str = "Out of memory and no killable processes";
}

impl Mentions for OomKill {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), Some(&self.victim.task)));
        self.victim.task.mentions(show);
        self.trigger.mentions(show);
        self.limit.mentions(show);
        self.members.mentions(show);
        // Nothing happened to the candidates.
        let candidates = self.candidates.iter_mut().flatten();
        for Task { pod, container, cgroup_id, .. } in candidates.map(|candidate| &mut candidate.task) {
            show(Mention::Bystander(PlaceMut { pod, container, cgroup_id: *cgroup_id }));
        }
    }
}

/// What a log has of a kill whose own line is missing: `Killed process …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// The line of the choice, before 5.1: `Kill process 7 (a) score 900 or sacrifice child`. A child may have died instead.
    Choice,
    /// The reaper, which took the victim's memory.
    Reaper,
    /// The line that names the victim's cgroup, before 5.0: `Task in /a killed as a result of limit of /b`, or the cgroup that is
    /// killed as a whole: `Tasks in /a are going to be killed due to memory.oom.group set`. The victim is not known.
    Limit,
}

/// A NUMA node's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryNode {
    /// Its number.
    pub id: u32,
    /// What is free in all its zones.
    pub free_bytes: u64,
    /// All that the kernel manages there.
    pub managed_bytes: Option<u64>,
}

/// What a cgroup's memory consists of: `memory.stat`, in the names of cgroup v2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CgroupMemory {
    /// `anon`: heaps and stacks; on cgroup v1 `rss`.
    pub anon_bytes: Option<u64>,
    /// `file`: page cache, with `shmem`; on cgroup v1 `cache`.
    pub file_bytes: Option<u64>,
    /// `shmem`: tmpfs, `/dev/shm`, shared anonymous mappings.
    pub shmem_bytes: Option<u64>,
    /// `inactive_file`.
    pub inactive_file_bytes: Option<u64>,
    /// `active_file`.
    pub active_file_bytes: Option<u64>,
    /// `file_dirty` and `file_writeback`: page cache that has to be written before it can be reclaimed.
    pub dirty_bytes: Option<u64>,
    /// `unevictable`: locked, or in a ramfs.
    pub unevictable_bytes: Option<u64>,
    /// `kernel`; where the kernel has no such line, the sum of those that it has.
    pub kernel_bytes: Option<u64>,
    /// `slab`: dentries, inodes and other objects of the kernel.
    pub slab_bytes: Option<u64>,
    /// `slab_unreclaimable`.
    pub slab_unreclaimable_bytes: Option<u64>,
    /// `sock`: buffers of sockets.
    pub sock_bytes: Option<u64>,
}

/// What made the OOM killer choose, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Memory could not be had, and the one with the most points was chosen.
    Ordinary,
    /// A person asked for a kill: SysRq-f, `/proc/sysrq-trigger`. No limit was hit.
    Sysrq,
    /// `vm.oom_kill_allocating_task` is set: the process that asked for memory was chosen, whatever others use.
    AllocatingTask,
    /// The cgroup's limit was set below what is in use: the trigger is in none of its cgroups, and wrote the limit.
    LimitLowered,
}

impl Cause {
    /// What the order that was asked for and the kernel's words say: `moom_callback`, `drivers/tty/sysrq.c`, asks for order -1,
    /// and `out_of_memory`, `mm/oom_kill.c`, names the sysctl.
    #[must_use]
    pub fn of(order: Option<i32>, message: Option<&str>) -> Self {
        if order == Some(-1) {
            Self::Sysrq
        } else if message.is_some_and(|message| message.contains("oom_kill_allocating_task")) {
            Self::AllocatingTask
        } else {
            Self::Ordinary
        }
    }
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
    /// Its badness in pages; `null` where that depends on the size of all memory, and the report does not have it.
    pub points: Option<i64>,
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
    #[serde(flatten, serialize_with = "without_place")]
    pub task: Task,
    /// Its memory.
    #[serde(flatten)]
    pub memory: Memory,
}

impl Mentions for OomVictim {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), Some(&self.task)));
        self.task.mentions(show);
    }
}

/// The kernel is about to panic instead of killing: `vm.panic_on_oom`. It does not where the allocating task is dying, or memory
/// turns up at the last moment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PanicOnOom {
    /// The pod whose limit was hit; `null` for the node's.
    pub pod: Option<Pod>,
    /// The container whose limit was hit; `null` for the node's.
    pub container: Option<Container>,
    /// The cgroup whose limit was hit; `null` for the node.
    pub cgroup: Option<Cgroup>,
    /// The task whose allocation could not be met.
    pub trigger: Task,
    /// Which limit was hit.
    pub limit: Option<Limit>,
    /// The sysctl: 1 panics where the node itself is out of memory, 2 where a cgroup is as well.
    pub panic_on_oom: u32,
}

impl Mentions for PanicOnOom {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), None));
        self.trigger.mentions(show);
        self.limit.mentions(show);
    }
}

/// A cgroup that is frozen instead of killed: cgroup v1's `oom_kill_disable`, in `memory.oom_control`. Its tasks wait, each at its
/// next allocation, until it has room.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UnderOom {
    /// The pod whose limit, or whose container's limit, was hit.
    pub pod: Option<Pod>,
    /// The container whose limit was hit.
    pub container: Option<Container>,
    /// The cgroup whose limit was hit.
    pub cgroup: Option<Cgroup>,
    /// Whether it has begun to wait, or waits no more.
    pub state: UnderOomState,
    /// The limit that was hit, with usage and limit when it began.
    pub limit: Option<Limit>,
    /// The task that came to wait first.
    pub first_task: Option<Task>,
    /// For how long it waited, milliseconds; `null` at the beginning.
    pub waited_ms: Option<f64>,
}

impl Mentions for UnderOom {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        show(Mention::own(&mut self.pod, &mut self.container, self.cgroup.as_ref(), None));
        self.limit.mentions(show);
        self.first_task.mentions(show);
    }
}

/// Where a cgroup under OOM is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnderOomState {
    /// Its first task waits.
    Began,
    /// None does any more: it has room again, or they were killed.
    Ended,
}
