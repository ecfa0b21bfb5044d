//! What is hooked, and the ways to do it.

use crate::event::Rung::{self, Fentry, Kprobe, RawTracepoint, Tracepoint};

/// What is to be hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// The decision, and its end.
    OomKillProcess,
    /// Every victim.
    MarkOomVictim,
    /// Signals that end processes, and the kernel's own SIGKILLs, which tell a kill from a mark.
    SignalGenerate,
    /// Whom the kernel weighs before it decides.
    OomEvaluateTask,
    /// How many points it gives them.
    OomBadness,
    /// How processes end.
    SchedProcessExit,
    /// Cgroups as they are made.
    CgroupMkdir,
    /// Cgroups as they are removed.
    CgroupRmdir,
    /// Charges that hit a cgroup's limit.
    ChargeAttempts,
    /// Charges that lead to an OOM.
    ChargeOoms,
    /// Charges that fail, by their return: on the path of every charge.
    ChargeReturns,
    /// Memory that overcommit accounting refuses.
    EnoughMemory,
    /// Address space that a limit of the process refuses.
    MayExpandVm,
    /// Tasks that wait instead of being killed: cgroup v1's `oom_kill_disable`.
    UnderOom,
    /// The reaper, which takes the memory of victims that are slow to end.
    Reaper,
    /// Limits that are set.
    CgroupFileWrite,
}

/// Every function of the kernel that [`Symbol::ways`] hooks by fentry or fexit.
pub(super) const FUNCTIONS: [&str; 14] = [
    "oom_kill_process",
    "mark_oom_victim",
    "oom_evaluate_task",
    "oom_badness",
    "out_of_memory",
    "__memcg_memory_event",
    "try_to_free_mem_cgroup_pages",
    "mem_cgroup_out_of_memory",
    "try_charge_memcg",
    "try_charge",
    "__vm_enough_memory",
    "may_expand_vm",
    "mem_cgroup_oom_synchronize",
    "cgroup_file_write",
];

impl Symbol {
    /// All of them, in the order in which they are attached: a decision must not come before its marks can be seen.
    pub const ALL: [Self; 16] = [
        Self::CgroupMkdir,
        Self::CgroupRmdir,
        Self::CgroupFileWrite,
        Self::SignalGenerate,
        Self::SchedProcessExit,
        Self::Reaper,
        Self::EnoughMemory,
        Self::MayExpandVm,
        Self::UnderOom,
        Self::ChargeReturns,
        Self::ChargeAttempts,
        Self::ChargeOoms,
        Self::OomBadness,
        Self::OomEvaluateTask,
        Self::MarkOomVictim,
        Self::OomKillProcess,
    ];

    /// Its name in the kernel; where it can be hooked at several places, the best one's.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.ways().first().map_or("", |way| way.hooked)
    }

    /// Whether it is hooked at one place only, at whatever rung.
    pub(super) fn has_one_target(self) -> bool {
        self.ways().iter().all(|way| way.hooked == self.name())
    }

    /// The rungs that it can be hooked at, best first.
    #[must_use]
    pub fn rungs(self) -> Vec<Rung> {
        self.ways().iter().map(|way| way.rung).collect()
    }

    /// The ways to hook it, best first.
    pub(super) fn ways(self) -> &'static [Way] {
        match self {
            Self::OomKillProcess => OOM_KILL_PROCESS,
            Self::MarkOomVictim => MARK_OOM_VICTIM,
            Self::SignalGenerate => SIGNAL_GENERATE,
            Self::OomEvaluateTask => OOM_EVALUATE_TASK,
            Self::OomBadness => OOM_BADNESS,
            Self::SchedProcessExit => SCHED_PROCESS_EXIT,
            Self::CgroupMkdir => CGROUP_MKDIR,
            Self::CgroupRmdir => CGROUP_RMDIR,
            Self::ChargeAttempts => CHARGE_ATTEMPTS,
            Self::ChargeOoms => CHARGE_OOMS,
            Self::ChargeReturns => CHARGE_RETURNS,
            Self::EnoughMemory => ENOUGH_MEMORY,
            Self::MayExpandVm => MAY_EXPAND_VM,
            Self::UnderOom => UNDER_OOM,
            Self::Reaper => REAPER,
            Self::CgroupFileWrite => CGROUP_FILE_WRITE,
        }
    }

    /// What is lost where it cannot be hooked.
    #[must_use]
    pub fn without_it(self) -> &'static str {
        match self {
            Self::OomKillProcess => "kills are seen, but not which limit was hit nor what was asked for",
            Self::MarkOomVictim => "victims are not seen, only decisions",
            Self::OomBadness => {
                "the points of candidates are reckoned by the kernel's formula, and may be off by some pages"
            }
            Self::OomEvaluateTask => "kills do not say who else could have been chosen",
            Self::SchedProcessExit => "how and when victims and containers' first processes end is not seen",
            Self::CgroupMkdir => "containers that live for less than a second may have no names",
            Self::CgroupRmdir => "the end of a container may be noticed seconds later",
            Self::SignalGenerate => {
                "who sent a signal is not seen, and a decision's victim that was dying already counts as killed"
            }
            Self::ChargeAttempts => "that a cgroup hits its limit is seen only where it comes to an OOM",
            Self::ChargeOoms => "charge failures do not say how often they came to an OOM",
            Self::ChargeReturns => "charge failures do not say how many charges failed for good",
            Self::EnoughMemory => "allocations that overcommit accounting refuses are not seen",
            Self::MayExpandVm => "allocations that RLIMIT_AS or RLIMIT_DATA refuses are not seen",
            Self::UnderOom => "a container that waits instead of being killed (oom_kill_disable) is not seen",
            Self::Reaper => "how long the reaper took for a victim is not seen",
            Self::CgroupFileWrite => "limits that are changed while containers run are not seen",
        }
    }
}

/// A way to hook a symbol.
#[derive(Debug)]
pub(super) struct Way {
    /// Its rung.
    pub(super) rung: Rung,
    /// The function or tracepoint that is hooked.
    pub(super) hooked: &'static str,
    /// The programs, in the order in which they are attached, each with what it hooks.
    pub(super) programs: &'static [(&'static str, &'static str)],
}

/// For the tables below.
const fn way(rung: Rung, hooked: &'static str, programs: &'static [(&'static str, &'static str)]) -> Way {
    Way { rung, hooked, programs }
}

const OOM_KILL_PROCESS: &[Way] = {
    const OOM: &str = "oom_kill_process";
    // The end first: a decision whose end is not seen would stay open.
    &[
        way(Fentry, OOM, &[("oom_kill_process_fexit", OOM), ("oom_kill_process_fentry", OOM)]),
        way(Kprobe, OOM, &[("oom_kill_process_kretprobe", OOM), ("oom_kill_process_kprobe", OOM)]),
    ]
};
const MARK_OOM_VICTIM: &[Way] = {
    const MARK: &str = "mark_oom_victim";
    &[
        way(Fentry, MARK, &[("mark_oom_victim_fentry", MARK)]),
        way(Kprobe, MARK, &[("mark_oom_victim_kprobe", MARK)]),
        way(RawTracepoint, MARK, &[("mark_victim_raw", "mark_victim")]),
        way(Tracepoint, MARK, &[("mark_victim_tracepoint", "mark_victim")]),
    ]
};
const SIGNAL_GENERATE: &[Way] = &[way(RawTracepoint, "signal_generate", &[("signal_generate", "signal_generate")])];
const SCHED_PROCESS_EXIT: &[Way] =
    &[way(RawTracepoint, "sched_process_exit", &[("sched_process_exit", "sched_process_exit")])];
const CGROUP_MKDIR: &[Way] = &[way(RawTracepoint, "cgroup_mkdir", &[("cgroup_mkdir", "cgroup_mkdir")])];
const CGROUP_RMDIR: &[Way] = &[way(RawTracepoint, "cgroup_rmdir", &[("cgroup_rmdir", "cgroup_rmdir")])];
const OOM_EVALUATE_TASK: &[Way] = {
    const EVALUATE: &str = "oom_evaluate_task";
    const OOM: &str = "out_of_memory";
    &[
        way(Fentry, EVALUATE, &[("oom_evaluate_task_fentry", EVALUATE), ("out_of_memory_fentry", OOM)]),
        way(Kprobe, EVALUATE, &[("oom_evaluate_task_kprobe", EVALUATE), ("out_of_memory_kprobe", OOM)]),
    ]
};
const OOM_BADNESS: &[Way] = {
    const BADNESS: &str = "oom_badness";
    &[
        way(Fentry, BADNESS, &[("oom_badness_fexit", BADNESS)]),
        way(Kprobe, BADNESS, &[("oom_badness_kretprobe", BADNESS)]),
    ]
};
const CHARGE_ATTEMPTS: &[Way] = {
    const EVENT: &str = "__memcg_memory_event";
    const RECLAIM: &str = "try_to_free_mem_cgroup_pages";
    const BEGIN: &str = "mm_vmscan_memcg_reclaim_begin";
    &[
        way(Fentry, EVENT, &[("memcg_memory_event_fentry", EVENT)]),
        way(Kprobe, EVENT, &[("memcg_memory_event_kprobe", EVENT)]),
        way(Fentry, RECLAIM, &[("try_to_free_fentry", RECLAIM)]),
        way(Kprobe, RECLAIM, &[("try_to_free_kprobe", RECLAIM)]),
        way(RawTracepoint, BEGIN, &[("memcg_reclaim_begin", BEGIN)]),
    ]
};
const CHARGE_OOMS: &[Way] = {
    const OOM: &str = "mem_cgroup_out_of_memory";
    &[
        way(Fentry, OOM, &[("mem_cgroup_out_of_memory_fentry", OOM)]),
        way(Kprobe, OOM, &[("mem_cgroup_out_of_memory_kprobe", OOM)]),
    ]
};
const CHARGE_RETURNS: &[Way] = {
    // The newer one since 5.15.
    const NEW: &str = "try_charge_memcg";
    const OLD: &str = "try_charge";
    &[
        way(Fentry, NEW, &[("try_charge_fexit", NEW)]),
        way(Kprobe, NEW, &[("try_charge_kretprobe", NEW)]),
        way(Fentry, OLD, &[("try_charge_fexit", OLD)]),
        way(Kprobe, OLD, &[("try_charge_kretprobe", OLD)]),
    ]
};
const ENOUGH_MEMORY: &[Way] = {
    const ENOUGH: &str = "__vm_enough_memory";
    &[
        way(Fentry, ENOUGH, &[("vm_enough_memory_fexit", ENOUGH)]),
        way(Kprobe, ENOUGH, &[("vm_enough_memory_kretprobe", ENOUGH)]),
    ]
};
const MAY_EXPAND_VM: &[Way] = {
    const EXPAND: &str = "may_expand_vm";
    &[
        way(Fentry, EXPAND, &[("may_expand_vm_fexit", EXPAND)]),
        way(Kprobe, EXPAND, &[("may_expand_vm_kretprobe", EXPAND)]),
    ]
};
const UNDER_OOM: &[Way] = {
    const WAIT: &str = "mem_cgroup_oom_synchronize";
    // The end first: a wait whose end is not seen would not end.
    &[
        way(Fentry, WAIT, &[("oom_synchronize_fexit", WAIT), ("oom_synchronize_fentry", WAIT)]),
        way(Kprobe, WAIT, &[("oom_synchronize_kretprobe", WAIT), ("oom_synchronize_kprobe", WAIT)]),
    ]
};
const CGROUP_FILE_WRITE: &[Way] = {
    const WRITE: &str = "cgroup_file_write";
    &[
        way(Fentry, WRITE, &[("cgroup_file_write_fexit", WRITE), ("cgroup_file_write_fentry", WRITE)]),
        way(Kprobe, WRITE, &[("cgroup_file_write_kretprobe", WRITE), ("cgroup_file_write_kprobe", WRITE)]),
    ]
};
const REAPER: &[Way] = {
    const START: &str = "start_task_reaping";
    const FINISH: &str = "finish_task_reaping";
    const SKIP: &str = "skip_task_reaping";
    &[way(RawTracepoint, FINISH, &[(FINISH, FINISH), (SKIP, SKIP), (START, START)])]
};
