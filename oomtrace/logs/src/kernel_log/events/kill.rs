//! One decision as an event.

use oomtrace_model::{
    Cause, Cgroup, Level, Limit, Memory, OomKill, OomVictim, PanicOnOom, Task, Victim, Why, cgroup_path::CgroupIdentity,
};

use super::{Table, cgroup};
use crate::kernel_log::{
    form::When,
    report::{self, Decision, Killed, Outcome, Process, Report},
};

/// A cgroup's path, and what it says.
#[derive(Clone)]
struct Place {
    path: String,
    identity: CgroupIdentity,
}

impl Place {
    fn new(path: &str) -> Self {
        Self { path: path.to_owned(), identity: CgroupIdentity::parse(path) }
    }

    fn is_below(&self, above: &Self) -> bool {
        self.path.strip_prefix(&above.path).is_some_and(|below| below.starts_with('/'))
    }

    /// A task that is in it, or in one below it.
    fn task(&self, task: Task) -> Task {
        Task { pod: self.identity.pod(), container: self.identity.container(), ..task }
    }

    fn cgroup(&self) -> Cgroup {
        Cgroup { path: Some(self.path.clone()), id: None, unit: self.identity.unit.clone() }
    }
}

/// The decision with all that its report says. The report's `task_memcg` is the victim's cgroup; of the other tasks of
/// the table only that they are somewhere below the cgroup over its limit is known.
pub(super) fn tell(decision: &Decision, number: u64, table: &Table<'_>) -> OomKill {
    let report = decision.report.as_deref();
    let places = Places::of(decision);
    let victim = Victim {
        task: places.of_victim(victim_task(decision, table)),
        memory: victim_memory(decision, table),
        points: victim_row(decision, table).and_then(|row| table.points(row)),
        command_line: None,
    };
    let trigger = report.and_then(|report| report.trigger.as_ref());
    let group = decision.group.is_some() || !decision.members.is_empty();
    OomKill {
        decision: Some(number),
        pod: victim.task.pod.clone(),
        container: victim.task.container.clone(),
        cgroup: places.victim.as_ref().map(Place::cgroup),
        trigger: trigger.map_or_else(Task::default, |trigger| {
            let task = Task {
                pid: trigger.pid,
                comm: Some(trigger.comm.clone()),
                uid: trigger.uid,
                oom_score_adj: trigger.oom_score_adj,
                ..Task::default()
            };
            // The first thread of a process is in the table by its own id; of others the process is not known.
            match trigger.pid.and_then(|pid| table.row(pid)) {
                Some(row) => places.of_row(row, decision, Task { tgid: Some(row.tgid), ..task }),
                None => task,
            }
        }),
        cause: cause(decision),
        limit: limit(decision, table, places.limit.as_ref()),
        constraint: report
            .and_then(|report| report.constraint.clone())
            .or_else(|| decision.is_of_cgroup().then(|| "MEMCG".to_owned())),
        nodemask: report.and_then(|report| report.nodemask.clone()).filter(|mask| mask != "(null)"),
        cpuset: report.and_then(|report| report.cpuset.clone()),
        mems_allowed: report.and_then(|report| report.mems_allowed.clone()),
        memory_nodes: report.map(cgroup::memory_nodes).unwrap_or_default(),
        cgroup_memory: report.and_then(cgroup::memory),
        containers_charged: report.zip(places.limit.as_ref()).and_then(|(report, limit)| {
            (limit.identity.level == Level::Pod).then(|| cgroup::containers(report, &limit.path)).flatten()
        }),
        order: trigger.map(|trigger| trigger.order),
        gfp: trigger.and_then(|trigger| trigger.gfp.clone()),
        gfp_mask: trigger.map(|trigger| trigger.gfp_mask),
        message: match &decision.outcome {
            Outcome::Panicked(message) => Some(message.clone()),
            Outcome::NoneKillable => Some(OomKill::NONE_KILLABLE.to_owned()),
            _ => decision.message().map(ToOwned::to_owned),
        },
        known_by: decision.known_by,
        time_unknown: false,
        group: (decision.outcome == Outcome::Killed).then_some(group),
        members: decision.members.iter().map(|member| places.of_member(killed_task(member, table))).collect(),
        members_omitted: 0,
        candidates_weighed: table.rows_total,
        candidates: table.candidates(|row| places.of_row(row, decision, row_task(row))),
        candidates_omitted: 0,
        victim,
    }
}

/// Who was marked, and when where that is another moment than the decision's.
pub(super) fn marked<'a>(
    decision: &'a Decision,
    kill: &'a OomKill,
    table: &'a Table<'_>,
) -> impl Iterator<Item = (Option<When>, OomVictim)> + 'a {
    let places = Places::of(decision);
    let mark = |why, task: Task, memory, cgroup| OomVictim {
        why,
        decision: kill.decision,
        pod: task.pod.clone(),
        container: task.container.clone(),
        cgroup,
        memory,
        task,
    };
    let victim = decision.victim.iter().map(move |victim| {
        let Victim { task, memory, .. } = kill.victim.clone();
        (Some(victim.when), mark(Why::Killed, task, memory, kill.cgroup.clone()))
    });
    let members = decision.members.iter().zip(&kill.members).map(move |(member, task)| {
        (Some(member.when), mark(Why::Group, task.clone(), killed_memory(member, table), None))
    });
    let exiting = decision.exiting.iter().map(move |process| {
        let task = places.of_member(process_task(process, table));
        (None, mark(Why::AlreadyDying, task, row_memory(process.pid, table), None))
    });
    victim.chain(members).chain(exiting)
}

/// What a decision says of places.
struct Places {
    /// The cgroup over its limit.
    limit: Option<Place>,
    /// The victim's cgroup.
    victim: Option<Place>,
    /// The cgroup that is killed as a whole: the victim's, or above it.
    group: Option<Place>,
}

impl Places {
    fn of(decision: &Decision) -> Self {
        let report = decision.report.as_deref();
        let of_report = |path: fn(&Report) -> Option<&String>| report.and_then(path).map(|path| Place::new(path));
        let victim = of_report(|report| report.victim_cgroup.as_ref());
        let group = decision.group.as_deref().map(Place::new);
        // The group is the victim's cgroup or above it: where it is below, the victim's path was cut.
        let cut = victim.as_ref().zip(group.as_ref()).is_some_and(|(victim, group)| group.is_below(victim));
        Self {
            limit: of_report(|report| report.oom_cgroup.as_ref()),
            victim: if cut { group.clone() } else { victim },
            group,
        }
    }

    /// The innermost place that the victim is known to be in.
    fn of_victim(&self, task: Task) -> Task {
        match self.victim.as_ref().or(self.group.as_ref()).or(self.limit.as_ref()) {
            Some(place) => place.task(task),
            None => task,
        }
    }

    /// The same of another process of a group.
    fn of_member(&self, task: Task) -> Task {
        match self.group.as_ref().or(self.limit.as_ref()) {
            Some(place) => place.task(task),
            None => task,
        }
    }

    /// The same of a task of the table.
    fn of_row(&self, row: &report::Candidate, decision: &Decision, task: Task) -> Task {
        if victim_pid(decision) == Some(row.pid) {
            return self.of_victim(task);
        }
        match &self.limit {
            Some(place) => place.task(task),
            None => task,
        }
    }
}

/// The limit that was hit: a cgroup's, or the node's. Without a report the kill's own line tells which of the two.
fn limit(decision: &Decision, table: &Table<'_>, place: Option<&Place>) -> Option<Limit> {
    let of_node =
        |total_bytes| Limit { level: Some(Level::Node), limit_bytes: total_bytes, total_bytes, ..Limit::default() };
    let Some((report, global)) = decision.report.as_deref().and_then(|report| Some((report, report.global?))) else {
        return decision.message().is_some_and(|message| message.starts_with("Out of memory")).then(|| of_node(None));
    };
    if global {
        return Some(of_node(table.total_bytes.filter(|_| report.constraint.as_deref() == Some("NONE"))));
    }
    Some(Limit {
        level: place.map(|place| place.identity.level),
        cgroup: place.map(|place| place.path.clone()),
        cgroup_id: None,
        pod: place.and_then(|place| place.identity.pod()),
        container: place.and_then(|place| place.identity.container()),
        nested: place.and_then(|place| place.identity.nested.clone()),
        usage_bytes: report.memory.map(|memory| memory.usage_bytes),
        limit_bytes: report.memory.and_then(|memory| memory.limit_bytes),
        swap_usage_bytes: report.swap.map(|swap| swap.usage_bytes),
        swap_limit_bytes: report.swap.and_then(|swap| swap.limit_bytes),
        swap_counter: report.swap_counter,
        total_bytes: table.total_bytes,
    })
}

fn cause(decision: &Decision) -> Option<Cause> {
    if decision.asked {
        return Some(Cause::Sysrq);
    }
    let trigger = decision.report.as_ref()?.trigger.as_ref()?;
    Some(Cause::of(Some(trigger.order), decision.message()))
}

/// The sysctl where the kernel panicked for it (`check_panic_on_oom`, `mm/oom_kill.c`), and 0 where the node had nobody left to
/// kill, after which `out_of_memory` panics unless a person asked; `None` where it went on.
pub(super) fn panic_on_oom(decision: &Decision) -> Option<u32> {
    match &decision.outcome {
        Outcome::Panicked(message) if message.ends_with("compulsory panic_on_oom is enabled") => Some(2),
        Outcome::Panicked(message) => Some(message.ends_with("panic_on_oom is enabled").into()),
        Outcome::NoneKillable => {
            let of_node = decision.report.as_ref().is_some_and(|report| report.global == Some(true));
            (of_node && cause(decision) != Some(Cause::Sysrq)).then_some(0)
        }
        _ => None,
    }
}

/// The decision that became a panic.
pub(super) fn panic(kill: &OomKill, panic_on_oom: u32) -> PanicOnOom {
    let of_node = || Limit { level: Some(Level::Node), ..Limit::default() };
    let limit = kill.limit.clone().unwrap_or_else(of_node);
    PanicOnOom {
        pod: limit.pod.clone(),
        container: limit.container.clone(),
        cgroup: limit.cgroup.as_deref().map(|path| Place::new(path).cgroup()),
        trigger: kill.trigger.clone(),
        limit: Some(limit),
        panic_on_oom,
    }
}

/// The process that was killed, or else the one that was to be.
fn chosen(decision: &Decision) -> Option<&Process> {
    let of_report = decision.report.as_ref().and_then(|report| report.chosen.as_ref());
    decision.exiting.first().or(of_report).or_else(|| decision.elected.as_ref().map(|elected| &elected.process))
}

fn victim_pid(decision: &Decision) -> Option<u32> {
    let killed = decision.victim.as_ref().map(|victim| victim.pid);
    killed.or_else(|| chosen(decision).map(|process| process.pid))
}

fn victim_row<'a>(decision: &Decision, table: &Table<'a>) -> Option<&'a report::Candidate> {
    table.row(victim_pid(decision)?)
}

fn victim_task(decision: &Decision, table: &Table<'_>) -> Task {
    if let Some(victim) = &decision.victim {
        return killed_task(victim, table);
    }
    let Some(process) = chosen(decision) else { return Task::default() };
    let task = process_task(process, table);
    let uid = decision.report.as_ref().and_then(|report| report.chosen_uid);
    Task { uid: task.uid.or(uid), ..task }
}

fn victim_memory(decision: &Decision, table: &Table<'_>) -> Memory {
    match &decision.victim {
        Some(victim) => killed_memory(victim, table),
        None => victim_pid(decision).map_or_else(Memory::default, |pid| row_memory(pid, table)),
    }
}

fn row_task(row: &report::Candidate) -> Task {
    Task {
        pid: Some(row.pid),
        tgid: Some(row.tgid),
        comm: Some(row.comm.clone()),
        uid: row.uid,
        oom_score_adj: Some(row.oom_score_adj),
        ..Task::default()
    }
}

fn process_task(process: &Process, table: &Table<'_>) -> Task {
    let known = table.row(process.pid).map_or_else(Task::default, row_task);
    Task { pid: Some(process.pid), comm: Some(process.comm.clone()), ..known }
}

/// The line of the kill, with the rest from the table: what older kernels do not print, and the process's id.
fn killed_task(killed: &Killed, table: &Table<'_>) -> Task {
    let known = table.row(killed.pid).map_or_else(Task::default, row_task);
    Task {
        pid: Some(killed.pid),
        comm: Some(killed.comm.clone()),
        uid: killed.uid.or(known.uid),
        oom_score_adj: killed.oom_score_adj.or(known.oom_score_adj),
        ..known
    }
}

fn killed_memory(killed: &Killed, table: &Table<'_>) -> Memory {
    let known = row_memory(killed.pid, table);
    Memory {
        total_vm_bytes: killed.total_vm_bytes.or(known.total_vm_bytes),
        rss_bytes: known.rss_bytes.filter(|_| killed.rss_anon_bytes.is_none()),
        rss_anon_bytes: killed.rss_anon_bytes.or(known.rss_anon_bytes),
        rss_file_bytes: killed.rss_file_bytes.or(known.rss_file_bytes),
        rss_shmem_bytes: killed.rss_shmem_bytes.or(known.rss_shmem_bytes),
        swap_bytes: known.swap_bytes,
        pgtables_bytes: killed.pgtables_bytes.or(known.pgtables_bytes),
    }
}

fn row_memory(pid: u32, table: &Table<'_>) -> Memory {
    table.row(pid).map_or_else(Memory::default, |row| table.memory(row))
}
