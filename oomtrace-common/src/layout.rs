//! Where the running kernel keeps what the probes read: set by the daemon as read-only globals of the probes.
//!
//! Kernel structs differ from version to version and from build to build. No offset is written down: each is looked up
//! in the running kernel's BTF by the names below, and one that is not there is [`ABSENT_OFFSET`]. The verifier sees
//! the globals as constants, so reading an absent field costs nothing.

/// The value of an offset, a size or an enumerator that the running kernel does not have.
pub const ABSENT_OFFSET: u32 = u32::MAX;

/// How a [`Mark`](crate::record::Mark) came to be seen: the values of its `rung`.
pub mod rung {
    /// The function itself was hooked, by fentry or kprobe.
    pub const FUNCTION: u32 = 1;
    /// The raw tracepoint `mark_victim`, which hands over the task.
    pub const RAW_TRACEPOINT: u32 = 2;
    /// The tracepoint `oom:mark_victim`: a thread id, and sizes where the kernel's form of it has them.
    pub const TRACEPOINT: u32 = 3;
}

/// How a value of a layout is found in BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The byte offset of a member, through nested structs: `mem_cgroup`, `memory.usage`. Where a member was renamed,
    /// the names are separated by `|`, newest first.
    Member(&'static str, &'static str),
    /// The value of an enumerator.
    Enumerator(&'static str, &'static str),
    /// The size of a struct in bytes.
    Size(&'static str),
}

/// Declares [`KernelLayout`], and how each of its fields is found.
macro_rules! kernel_layout {
    ($($(#[$doc:meta])* $field:ident: $lookup:ident($($name:literal),+),)*) => {
        /// Offsets and sizes in bytes, and values of enumerators, in the running kernel.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct KernelLayout {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl KernelLayout {
            /// A kernel of which nothing is known.
            pub const UNKNOWN: Self = Self { $($field: ABSENT_OFFSET,)* };

            /// Every field's name and how it is found, in the order of [`Self::resolve`].
            pub const LOOKUPS: &[(&str, Lookup)] = &[$((stringify!($field), Lookup::$lookup($($name),+)),)*];

            /// Fills each field with what `find` gives for it.
            pub fn resolve(mut find: impl FnMut(Lookup) -> Option<u32>) -> Self {
                Self { $($field: find(Lookup::$lookup($($name),+)).unwrap_or(ABSENT_OFFSET),)* }
            }

            /// Every field's name and value, in the order of [`Self::LOOKUPS`].
            pub fn values(&self) -> impl Iterator<Item = (&'static str, Option<u32>)> {
                [$((stringify!($field), (self.$field != ABSENT_OFFSET).then_some(self.$field)),)*].into_iter()
            }
        }
    };
}

kernel_layout! {
    /// `int pid`: the thread's id.
    task_pid: Member("task_struct", "pid"),
    /// `int tgid`: the process's id.
    task_tgid: Member("task_struct", "tgid"),
    /// `char comm[16]`.
    task_comm: Member("task_struct", "comm"),
    /// `struct mm_struct *mm`: NULL once the task has let go of its memory.
    task_mm: Member("task_struct", "mm"),
    /// `const struct cred *real_cred`.
    task_real_cred: Member("task_struct", "real_cred"),
    /// `struct signal_struct *signal`: shared by the threads of a process.
    task_signal: Member("task_struct", "signal"),
    /// `struct task_struct *group_leader`.
    task_group_leader: Member("task_struct", "group_leader"),
    /// `struct css_set *cgroups`.
    task_cgroups: Member("task_struct", "cgroups"),
    /// `struct sighand_struct *sighand`.
    task_sighand: Member("task_struct", "sighand"),
    /// `struct list_head thread_node`: among the threads of its process.
    task_thread_node: Member("task_struct", "thread_node"),
    /// `struct pid *thread_pid`.
    task_thread_pid: Member("task_struct", "thread_pid"),
    /// `u64 start_boottime`.
    task_start_boottime: Member("task_struct", "start_boottime|real_start_time"),
    /// `int exit_code`.
    task_exit_code: Member("task_struct", "exit_code"),
    /// `kuid_t uid`.
    cred_uid: Member("cred", "uid"),
    /// `short oom_score_adj`.
    signal_oom_score_adj: Member("signal_struct", "oom_score_adj"),
    /// `struct mm_struct *oom_mm`: set by `mark_oom_victim`.
    signal_oom_mm: Member("signal_struct", "oom_mm"),
    /// `struct list_head thread_head`: the threads of a process.
    signal_thread_head: Member("signal_struct", "thread_head"),
    /// `atomic_t live`: threads that have not ended.
    signal_live: Member("signal_struct", "live"),
    /// `unsigned int flags`: `SIGNAL_*`.
    signal_flags: Member("signal_struct", "flags"),
    /// `int group_exit_code`.
    signal_group_exit_code: Member("signal_struct", "group_exit_code"),
    /// `struct k_sigaction action[]`: what the process does on each signal.
    sighand_action: Member("sighand_struct", "action"),
    /// The stride of `sighand_struct.action`.
    k_sigaction_size: Size("k_sigaction"),
    /// `__sighandler_t sa_handler`.
    k_sigaction_handler: Member("k_sigaction", "sa.sa_handler"),
    /// `int si_code`.
    siginfo_code: Member("kernel_siginfo", "si_code"),
    /// `unsigned int level` of a pid.
    pid_level: Member("pid", "level"),
    /// `struct upid numbers[]` of a pid: its number in each namespace, outermost first.
    pid_numbers: Member("pid", "numbers"),
    /// `int nr`.
    upid_nr: Member("upid", "nr"),
    /// `struct pid_namespace *ns`.
    upid_ns: Member("upid", "ns"),
    /// `struct task_struct *child_reaper`: the namespace's first process.
    pid_namespace_child_reaper: Member("pid_namespace", "child_reaper"),
    /// The stride of `pid.numbers`.
    upid_size: Size("upid"),

    /// `unsigned long total_vm`.
    mm_total_vm: Member("mm_struct", "total_vm"),
    /// `atomic_long_t pgtables_bytes`.
    mm_pgtables_bytes: Member("mm_struct", "pgtables_bytes"),
    /// `unsigned long arg_start`: where the command line begins.
    mm_arg_start: Member("mm_struct", "arg_start"),
    /// `unsigned long arg_end`: and where it ends.
    mm_arg_end: Member("mm_struct", "arg_end"),
    /// The resident-set counters as an array of atomics: up to 6.1.
    mm_rss_atomics: Member("mm_struct", "rss_stat.count"),
    /// The resident-set counters as an array of `percpu_counter`: from 6.2.
    mm_rss_stat: Member("mm_struct", "rss_stat"),
    /// `s64 count`: the part of a counter that all CPUs have agreed on.
    percpu_counter_count: Member("percpu_counter", "count"),
    /// `s32 __percpu *counters`: what each CPU has yet to add.
    percpu_counter_counters: Member("percpu_counter", "counters"),
    /// The stride of the newer `mm_struct.rss_stat`.
    percpu_counter_size: Size("percpu_counter"),
    /// Index of file-backed pages in `rss_stat`.
    mm_filepages: Enumerator("", "MM_FILEPAGES"),
    /// Index of anonymous pages in `rss_stat`.
    mm_anonpages: Enumerator("", "MM_ANONPAGES"),
    /// Index of swap entries in `rss_stat`.
    mm_swapents: Enumerator("", "MM_SWAPENTS"),
    /// Index of shared-memory pages in `rss_stat`.
    mm_shmempages: Enumerator("", "MM_SHMEMPAGES"),

    /// `struct cgroup_subsys_state *subsys[]`: a task's cgroup for each controller.
    css_set_subsys: Member("css_set", "subsys"),
    /// Index of the memory controller in `css_set.subsys`.
    memory_cgrp_id: Enumerator("cgroup_subsys_id", "memory_cgrp_id"),
    /// `struct cgroup *cgroup`.
    css_cgroup: Member("cgroup_subsys_state", "cgroup"),
    /// `struct cgroup_subsys_state *subsys[]`: a cgroup's part of each controller that is enabled in it.
    cgroup_subsys: Member("cgroup", "subsys"),
    /// `struct kernfs_node *kn`: the cgroup's directory.
    cgroup_kn: Member("cgroup", "kn"),
    /// `u64 id`: the directory's inode number, the cgroup's id.
    kernfs_id: Member("kernfs_node", "id"),
    /// `void *priv`: a directory's cgroup.
    kernfs_priv: Member("kernfs_node", "priv"),
    /// `struct kernfs_node *kn`: the file that is open.
    kernfs_open_file_kn: Member("kernfs_open_file", "kn"),
    /// `const char *name`.
    kernfs_name: Member("kernfs_node", "name"),
    /// `struct kernfs_node *parent`, since 6.15 `__parent`.
    kernfs_parent: Member("kernfs_node", "__parent|parent"),

    /// `struct mem_cgroup *memcg`: NULL where the whole node is out of memory.
    oom_control_memcg: Member("oom_control", "memcg"),
    /// `gfp_t gfp_mask`.
    oom_control_gfp_mask: Member("oom_control", "gfp_mask"),
    /// `int order`.
    oom_control_order: Member("oom_control", "order"),
    /// `unsigned long totalpages`.
    oom_control_totalpages: Member("oom_control", "totalpages"),
    /// `struct task_struct *chosen`.
    oom_control_chosen: Member("oom_control", "chosen"),
    /// `long chosen_points`.
    oom_control_chosen_points: Member("oom_control", "chosen_points"),
    /// `enum oom_constraint constraint`.
    oom_control_constraint: Member("oom_control", "constraint"),
    /// `struct cgroup_subsys_state css`.
    memcg_css: Member("mem_cgroup", "css"),
    /// `atomic_long_t usage` of `mem_cgroup.memory`.
    memcg_memory_usage: Member("mem_cgroup", "memory.usage"),
    /// `unsigned long max` of `mem_cgroup.memory`.
    memcg_memory_max: Member("mem_cgroup", "memory.max"),
    /// `unsigned long high` of the same.
    memcg_memory_high: Member("mem_cgroup", "memory.high"),
    /// `atomic_long_t usage` of `mem_cgroup.swap` (v2), which shares its place with `memsw` (v1).
    memcg_swap_usage: Member("mem_cgroup", "swap.usage"),
    /// `unsigned long max` of the same.
    memcg_swap_max: Member("mem_cgroup", "swap.max"),
    /// `struct cgroup_subsys_state *parent`: the same controller's next cgroup towards the root.
    css_parent: Member("cgroup_subsys_state", "parent"),
    /// `bool oom_group`: `memory.oom.group`.
    memcg_oom_group: Member("mem_cgroup", "oom_group"),
    /// `bool oom_kill_disable`, an `int` up to 6.0: cgroup v1's.
    memcg_oom_kill_disable: Member("mem_cgroup", "oom_kill_disable"),
    /// `struct mem_cgroup *memcg_in_oom`: whose limit the task waits at, on cgroup v1.
    task_memcg_in_oom: Member("task_struct", "memcg_in_oom"),
    /// The event of a charge that hit a limit: `enum memcg_memory_event`.
    memcg_max_event: Enumerator("memcg_memory_event", "MEMCG_MAX"),
    /// `struct rlimit rlim[]`: the limits of a process.
    signal_rlim: Member("signal_struct", "rlim"),
}

/// What the machine is like, beside its kernel's structs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineLayout {
    /// Address of `__per_cpu_offset`, from `/proc/kallsyms`: behind it lie the per-CPU parts of a `percpu_counter`.
    pub per_cpu_offsets: u64,
    /// How many CPUs there can be: from `/sys/devices/system/cpu/possible`. 0 where one of the two is not known; the sizes
    /// of a victim are then as near as the kernel's own `percpu_counter.count`.
    pub cpus: u64,
    /// Bytes in a page.
    pub page_size: u64,
    /// 1 where the memory controller is on cgroup v1, whose second counter is a limit on memory too.
    pub memory_cgroup_v1: u64,
    /// Address of `sysctl_panic_on_oom` (`mm/oom_kill.c`), from `/proc/kallsyms`; 0 where it is not known.
    pub panic_on_oom: u64,
    /// 1 where the command lines of victims are to be read.
    pub command_lines: u64,
}

/// Declares [`MarkVictimFormat`], and the kernel's name of each of its fields.
macro_rules! tracepoint_format {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Byte offsets in the record of the tracepoint `oom:mark_victim`, from its format file in tracefs.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct MarkVictimFormat {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl MarkVictimFormat {
            /// A tracepoint of which nothing is known.
            pub const UNKNOWN: Self = Self { $($field: ABSENT_OFFSET,)* };

            /// Fills each field with what `find` gives for its name.
            pub fn resolve(mut find: impl FnMut(&str) -> Option<u32>) -> Self {
                Self { $($field: find(stringify!($field)).unwrap_or(ABSENT_OFFSET),)* }
            }
        }
    };
}

tracepoint_format! {
    /// `int pid`: the id of the marked THREAD.
    pid,
    /// `__data_loc char[] comm`.
    comm,
    /// `unsigned long total_vm`, in KiB.
    total_vm,
    /// `unsigned long anon_rss`, in KiB.
    anon_rss,
    /// `unsigned long file_rss`, in KiB.
    file_rss,
    /// `unsigned long shmem_rss`, in KiB.
    shmem_rss,
    /// `uid_t uid`.
    uid,
    /// `unsigned long pgtables`, in KiB.
    pgtables,
    /// `short oom_score_adj`.
    oom_score_adj,
}
