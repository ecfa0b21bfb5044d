//! What the kernel reports of a decision of its OOM killer, put together from its lines.
//!
//! # The order of lines
//!
//! All of it is printed under `oom_lock` (`mm/oom_kill.c`), so that two reports never interleave, whatever the number of
//! processors; lines of other parts of the kernel come in between, also inside of a line that is printed in parts
//! (`pr_cont`). The kernel stores lines in this order, and `/dev/kmsg` and journald keep it:
//!
//! | printed by | lines | since |
//! |---|---|---|
//! | `___ratelimit` | `oom_kill_process: 12 callbacks suppressed`: so many reports were left out | |
//! | `dump_header` | `tail invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0` | |
//! | | the same with `nodemask=(null), ` inside, and `tail cpuset=… mems_allowed=0` | until 4.20 |
//! | `dump_stack` | `CPU: 0 UID: 0 PID: 125 Comm: tail …`: the thread's id; `UID` is in 6.12, not in 5.10. The call trace | |
//! | `mem_cgroup_print_oom_info` | `Task in /a/b killed as a result of limit of /a`, or `Memory limit reached of cgroup /a` | until 4.20 |
//! | | `memory: usage …kB, limit …kB, failcnt …`, `memory+swap: …` (cgroup v1) or `swap: …` (v2), `kmem: …` (v1) | |
//! | | `Memory cgroup stats for /a: cache:0KB rss:0KB …`, one line for each cgroup below too | until 5.2 |
//! | `mem_cgroup_print_oom_meminfo` | `Memory cgroup stats for /a:` and `memory.stat`: one record of many lines in 5.10, a record for each line in 6.12 | 5.3 |
//! | `show_mem` | `Mem-Info:` and the node's memory, in place of the above where no cgroup's limit was hit | |
//! | `dump_tasks` | `[  pid  ]   uid  tgid total_vm …` and a row for each candidate (`vm.oom_dump_tasks`) | |
//! | `dump_oom_summary` | `oom-kill:constraint=…` | 5.0 |
//! | `oom_kill_process` | `…: Kill process 7 (a) score 900 or sacrifice child` | until 5.0 |
//! | `__oom_kill_process` | `Killed process 8 (b) …`, from 5.1 with the reason in front; or, from 5.10, `OOM victim 8 (b) is already exiting. Skip killing the task` | |
//! | `mem_cgroup_print_oom_group` | `Tasks in /a/b are going to be killed due to memory.oom.group set` | 4.19 |
//! | `__oom_kill_process` | one of its lines for every member, the victim itself among them a second time: it has not died yet | |
//! | `oom_reap_task` | `oom_reaper: reaped process 8 (b), now …`, from another thread: at once, from 5.18 two seconds later | |
//!
//! Where a log was filtered or cut, and no line of a kill follows a report that chose somebody (`oom-kill:`, `Kill process`),
//! or whose candidate the reaper names, that one is reported as killed.
//!
//! Instead of a kill the report may end with `Out of memory and no killable processes...` (`out_of_memory`), or with a
//! panic (`check_panic_on_oom`).
//!
//! # What is rate limited
//!
//! From `dump_header` to `dump_oom_summary`, to 10 in 5 seconds. The lines after it are not: a `Killed process` line
//! without a report is a kill of which the log does not tell the limit ([`Decision::report`] is `None`). Nothing marks
//! where one decision ends and the next begins; [`Assembler`] says how it tells.
//!
//! The first of two group kills without reports has its members distinguished from the second's victim by the second's
//! `Tasks in` line.

mod assembler;
mod killed;
mod memory;
mod open;
mod opening;
mod pending;
mod pieces;
mod presumed;
mod summary;
mod tasks;
#[cfg(test)]
mod tests;

use oomtrace_model::{KnownBy, SwapCounter};

pub use self::{
    assembler::Assembler,
    memory::{CgroupStats, Counter, NodeMemory, Zone},
    opening::Trigger,
    tasks::Candidate,
};
use super::form::When;

/// What the log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// One decision of the OOM killer, with all it led to.
    Decision(Box<Decision>),
    /// The reaper took a victim's memory, or could not. It may be reported before the victim's decision is.
    Reaped(Reaped),
    /// Reports left out by the kernel's rate limit, before the report that follows.
    Suppressed {
        /// When the kernel said so: before the next report that it did print.
        when: When,
        /// How many.
        reports: u64,
    },
    /// A kill, or the victim of one, whose line was cut before it names anybody.
    Torn {
        /// When.
        when: When,
        /// The line.
        text: String,
    },
}

/// One decision of the OOM killer: `out_of_memory` up to its return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// When its first line was logged.
    pub when: When,
    /// A person asked for it, by the line before: SysRq-f.
    pub asked: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Who was killed for it. Often not [`Report::chosen`] of a thread group whose first thread had gone, or before 5.1
    /// a child that was sacrificed for its parent.
    pub victim: Option<Killed>,
    /// What reports the kill where its own line is missing.
    pub known_by: Option<KnownBy>,
    /// The other processes killed with it, each once.
    pub members: Vec<Killed>,
    /// Members beyond the number that is kept.
    pub members_omitted: usize,
    /// Processes that were to be killed, and were exiting already. From 5.10.
    pub exiting: Vec<Process>,
    /// The cgroup that is killed as a whole: `memory.oom.group`. It is the victim's or one above it, and not above the
    /// one over its limit.
    pub group: Option<String>,
    /// `Kill process 7 (a) score 900 or sacrifice child`: before 5.1, also without a report.
    pub elected: Option<Elected>,
    /// What led to it; `None` where the kernel's rate limit left it out.
    pub report: Option<Box<Report>>,
}

impl Decision {
    /// Whether it was on behalf of a cgroup, over its limit; if not, of the node, or not known.
    pub(super) fn is_of_cgroup(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.global == Some(false) || report.oom_cgroup.is_some())
            || self.message().is_some_and(|message| message.starts_with("Memory cgroup out of memory"))
    }

    /// The reason of the kill.
    pub(super) fn message(&self) -> Option<&str> {
        let of_victim = self.victim.as_ref().and_then(|victim| victim.message.as_deref());
        of_victim.or_else(|| self.elected.as_ref().map(|elected| elected.message.as_str()))
    }
}

/// How a decision ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// With a kill.
    Killed,
    /// The victim was exiting already, and nobody else was killed.
    AlreadyExiting,
    /// There was nobody that may be killed.
    NoneKillable,
    /// The machine went down; the panic's message.
    Panicked(String),
    /// The log does not tell: it ends here, or lines are missing.
    #[default]
    Unknown,
}

/// `Killed process`: `__oom_kill_process`. Without any size where that line is missing, or was cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// When.
    pub when: When,
    /// The reason in front, without the colon: `Memory cgroup out of memory`, `Out of memory`, `Out of memory
    /// (oom_kill_allocating_task)`. Before 5.1 it is in the line before ([`Elected::message`]).
    pub message: Option<String>,
    /// The id of one of the process's threads, as a rule of its first: what the kernel calls the pid.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Address space.
    pub total_vm_bytes: Option<u64>,
    /// Resident anonymous memory.
    pub rss_anon_bytes: Option<u64>,
    /// Resident file-backed memory.
    pub rss_file_bytes: Option<u64>,
    /// Resident shared memory.
    pub rss_shmem_bytes: Option<u64>,
    /// The real user id in the initial user namespace. From 5.4, and in Red Hat's older kernels.
    pub uid: Option<u32>,
    /// Page tables, in whole KiB. From 5.4. (5.4.0 to 5.4.7 print bytes and call them kB: 1024 times too much here.)
    pub pgtables_bytes: Option<u64>,
    /// -1000 to 1000. From 5.4.
    pub oom_score_adj: Option<i32>,
}

/// A process by pid and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// As in [`Killed::pid`].
    pub pid: u32,
    /// Its name.
    pub comm: String,
}

/// Who was chosen, before 5.1. A child may have been killed instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elected {
    /// The reason in front, as in [`Killed::message`].
    pub message: String,
    /// Who.
    pub process: Process,
    /// Its badness in thousandths of the limit, or of RAM and swap.
    pub score: u64,
}

/// What the reaper says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// When.
    pub when: When,
    /// Whose memory.
    pub process: Process,
    /// Resident anonymous memory that is left; `None` where it was unable to reap.
    pub left_anon_bytes: Option<u64>,
}

/// A report: `dump_header`. What this kernel does not print, or what was cut off, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The task whose allocation could not be met.
    pub trigger: Option<Trigger>,
    /// `NONE`, `CPUSET`, `MEMORY_POLICY` or `MEMCG`: `enum oom_constraint`. Before 5.0 only `MEMCG` can be reported.
    pub constraint: Option<String>,
    /// The NUMA nodes allowed by a policy; `(null)` for no policy.
    pub nodemask: Option<String>,
    /// The name, not the path, of the TRIGGER's cpuset cgroup.
    pub cpuset: Option<String>,
    /// The NUMA nodes that it may use.
    pub mems_allowed: Option<String>,
    /// Whether no cgroup's limit was hit: the node itself ran out.
    pub global: Option<bool>,
    /// The cgroup over its limit.
    pub oom_cgroup: Option<String>,
    /// The memory cgroup of the process that was chosen.
    pub victim_cgroup: Option<String>,
    /// Who was chosen: the first thread of the process.
    pub chosen: Option<Process>,
    /// The real user id of the same. From 5.0.
    pub chosen_uid: Option<u32>,
    /// The memory charged to `oom_cgroup`, and its limit.
    pub memory: Option<Counter>,
    /// Its swap, or memory and swap together: see `swap_counter`.
    pub swap: Option<Counter>,
    /// What `swap` counts.
    pub swap_counter: Option<SwapCounter>,
    /// Its kernel memory, on cgroup v1.
    pub kernel: Option<Counter>,
    /// `memory.stat` of `oom_cgroup`, and in older kernels of those below it.
    pub stats: Vec<CgroupStats>,
    /// The node's memory, where no cgroup's limit was hit.
    pub node: Option<Box<NodeMemory>>,
    /// The tasks that could have been killed, as far as they are kept: the largest.
    pub candidates: Vec<Candidate>,
    /// How many there were.
    pub candidates_total: usize,
    /// The log begins in the middle of it, or lost its first line.
    pub start_missing: bool,
    /// It was too long, and given up: more lines may belong to it.
    pub given_up: bool,
}
