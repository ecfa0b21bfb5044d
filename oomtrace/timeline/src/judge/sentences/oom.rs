//! What is said of kills by the kernel's OOM killer.

use oomtrace_model::{Cause, Container, ContainerAction, Event, KnownBy, Level, Limit, Pod, Scenario, SwapCounter};

use super::super::{
    case::Case,
    oom::{
        is_starting, qos_class,
        usage::{Swap, Users},
    },
};
use crate::{
    evidence::Kill,
    words::{container_name, known_place, size, unit_name},
};

/// What has the limit where a node of kind, k3d or minikube is out of memory.
pub(in super::super) const AROUND: &str = "the container that the node runs in";

/// What a summary is made of.
pub(in super::super) struct Summary<'a> {
    pub(in super::super) pod: Option<&'a Pod>,
    pub(in super::super) container: Option<&'a Container>,
    pub(in super::super) scenario: Scenario,
    pub(in super::super) users: Option<&'a Users>,
    /// The container's limit by its specification: `Some(None)` where it has none.
    #[expect(clippy::option_option, reason = "whether it is known, and whether there is one")]
    pub(in super::super) specified: Option<Option<u64>>,
    /// Where the container lives on, whether Kubernetes calls its later end `OOMKilled`.
    pub(in super::super) lives_on: Option<bool>,
    /// It is known not to be on a Kubernetes node.
    pub(in super::super) outside: bool,
    /// Events were lost at the time: there may have been more kills.
    pub(in super::super) at_least: bool,
}

impl Summary<'_> {
    pub(in super::super) fn text(&self, case: &Case<'_>, kill: &Kill) -> String {
        let victim = &kill.reported.victim;
        let comm = victim.task.comm.as_deref().unwrap_or("a process");
        let pid = victim.task.tgid.or(victim.task.pid).map_or_else(String::new, |pid| format!(" (pid {pid})"));
        let inside = self.inside(kill).map_or_else(String::new, |place| format!(" in {place}"));
        let hit = self.hit(kill);
        let count = case.kill_count();
        let with = match kill.reported.members.len() {
            0 => String::new(),
            1 => " and one other process with it".to_owned(),
            more => format!(" and {more} other processes with it"),
        };
        let after = if case.evicted.is_none() {
            ""
        } else if case.evicted_first() {
            "; the kubelet had begun to evict the pod before"
        } else {
            "; then the kubelet evicted the pod"
        };
        let lives = match self.lives_on {
            Some(_) if self.outside => "; the container lives on",
            Some(false) => "; the container lives on, and Kubernetes shows nothing",
            Some(true) => "; the container lived on, and Kubernetes calls its later end OOMKilled",
            None => "",
        };
        let user = match self.users {
            Some(users)
                if !users.victim_is_most && !matches!(self.scenario, Scenario::ContainerLimit | Scenario::Killed) =>
            {
                format!(
                    "; {} used most ({} against the victim's {})",
                    users.most,
                    size(users.most_bytes),
                    size(users.victim_bytes)
                )
            }
            _ => String::new(),
        };
        let asked = if kill.reported.cause == Some(Cause::AllocatingTask) {
            "; vm.oom_kill_allocating_task is set, so the process that asks for memory is killed, whatever others use"
        } else {
            ""
        };
        let anon =
            victim.memory.rss_anon_bytes.map_or_else(String::new, |anon| format!(" with {} of its own", size(anon)));
        let start =
            if is_starting(kill) { "; the container never started: its program was not running yet" } else { "" };
        // Where nothing but its end says that there was a kill, nobody knows when that was.
        let when = match outlived_until(kill) {
            Some(code) => format!(" at some time before it ended with exit code {code},"),
            None if count > 1 && self.at_least => format!(", the first of at least {count} kills,"),
            None if count > 1 => format!(", the first of {count} kills,"),
            None => String::new(),
        };
        let killed = match kill.reported.known_by {
            Some(KnownBy::Choice) => format!("chose {comm}{pid}, and killed it or a child of it"),
            Some(KnownBy::Limit) => "killed a process that the log does not name".to_owned(),
            Some(KnownBy::Reaper) | None => format!("killed {comm}{pid}"),
        };
        format!("The kernel {killed}{anon}{with}{inside}{when} because {hit}{asked}{user}{start}{lives}{after}.")
    }

    /// Where the victim was.
    fn inside(&self, kill: &Kill) -> Option<String> {
        let cgroup = kill.reported.cgroup.as_ref();
        if self.pod.is_some() || self.container.is_some() {
            // A status that was cut out has a container without any name.
            return known_place(self.pod, self.container).or_else(|| Some("a container".to_owned()));
        }
        let begins = kill.lines.iter().find_map(|(_, line)| match &line.event {
            Event::Container(change) => change.id_begins(),
            _ => None,
        });
        if let Some(begins) = begins {
            return Some(format!("a container whose id begins with {begins}"));
        }
        let unit = cgroup.and_then(|cgroup| Some(unit_name(cgroup.unit.as_deref()?, cgroup.path.as_deref())));
        let path = || Some(format!("cgroup {}", cgroup?.path.as_deref().filter(|path| *path != "/")?));
        unit.or_else(path)
    }

    /// Which limit was hit.
    fn hit(&self, kill: &Kill) -> String {
        let limit = kill.reported.limit.as_ref();
        let of = |whose: &str| {
            let (what, bytes) = limit.map_or(("memory", None), hit);
            let amount = bytes.map_or_else(String::new, |bytes| format!(" of {}", size(bytes)));
            let swap = match Swap::of(kill) {
                Swap::Full(swap) => format!(", and its swap of {} was full, too", size(swap)),
                Swap::InUse(_) | Swap::NotAllowed | Swap::Unknown => String::new(),
            };
            format!("{whose} {what} limit{amount}{swap}")
        };
        match self.scenario {
            Scenario::Killed => "a person asked for a kill (SysRq-f, /proc/sysrq-trigger); no limit was hit".to_owned(),
            _ if kill.reported.cause == Some(Cause::LimitLowered) => {
                let whose = match limit.and_then(|limit| limit.level) {
                    Some(Level::Container) => "the container's",
                    Some(Level::Pod) => "the pod's",
                    Some(Level::Qos | Level::Kubepods) => "all pods'",
                    _ => "a",
                };
                let used = limit
                    .and_then(|limit| limit.usage_bytes)
                    .map_or_else(String::new, |used| format!(" ({})", size(used)));
                let by = match kill.reported.trigger.comm.as_deref() {
                    // It writes limits for the kubelet and the runtime.
                    Some("systemd") => " through systemd".to_owned(),
                    Some(comm) => format!(" by {comm}"),
                    None => String::new(),
                };
                format!("{} was lowered{by} below what was in use{used}", of(whose))
            }
            Scenario::UnknownLimit => self.unknown(kill, limit),
            Scenario::ContainerLimit if limit.is_some_and(|limit| limit.nested.is_some()) => {
                of("it hit a limit that was set inside the container, a")
            }
            Scenario::ContainerLimit if limit.and_then(|limit| limit.level) == Some(Level::Pod) => {
                of("the container hit its limit, which is also the pod's")
            }
            Scenario::ContainerLimit => of("the container hit its"),
            Scenario::PodLimit => of("the pod's containers together hit the pod's"),
            Scenario::AllocatableOom => match limit.and_then(qos_class) {
                Some(class) => of(&format!("all {class} pods together hit their QoS class's")),
                None => of("all pods together hit the node's allocatable"),
            },
            Scenario::SystemOom => of_nodes(kill),
            Scenario::OtherLimit if kill.hit_limit_around() && limit.is_some_and(|limit| limit.nested.is_none()) => {
                let name = limit.and_then(|limit| container_name(limit.container.as_ref()?));
                of(&format!("{AROUND} ({}) hit its", name.as_deref().unwrap_or("?")))
            }
            Scenario::OtherLimit => {
                let path = limit.and_then(|limit| limit.cgroup.as_deref());
                let victims = kill.reported.cgroup.as_ref().filter(|cgroup| cgroup.path.is_some());
                let own = victims.filter(|cgroup| cgroup.path.as_deref() == path);
                match own.filter(|_| self.pod.is_none() && self.container.is_none()) {
                    Some(cgroup) if cgroup.unit.is_some() => of("that unit hit its"),
                    Some(_) => of("that cgroup hit its"),
                    None => of(&format!("cgroup {} hit its", path.unwrap_or("?"))),
                }
            }
            _ => "its pod was already being evicted".to_owned(),
        }
    }

    fn unknown(&self, kill: &Kill, limit: Option<&Limit>) -> String {
        let of_limit = kill.reported.message.as_deref().is_some_and(|message| message.starts_with("Memory cgroup"))
            || kill.reported.constraint.as_deref() == Some("MEMCG");
        let amount = limit.and_then(|limit| hit(limit).1);
        let hit = match amount {
            Some(bytes) => format!("a memory limit of {} was hit; nothing at hand says whose", size(bytes)),
            None if of_limit => "a memory limit was hit; nothing at hand says whose".to_owned(),
            None => "memory ran out; nothing at hand says whose limit was hit".to_owned(),
        };
        match self.specified {
            Some(Some(own)) => format!("{hit} (the container's own is {})", size(own)),
            Some(None) => format!("{hit}, but the container has none of its own"),
            None => hit,
        }
    }
}

/// The node, or those of its memory nodes that the allocation was bound to (`constrained_alloc`, `mm/oom_kill.c`).
fn of_nodes(kill: &Kill) -> String {
    let reported = &kill.reported;
    let bound = |nodes: Option<&str>| match nodes {
        Some(nodes) => format!("NUMA node{} {nodes}", if nodes.contains([',', '-']) { "s" } else { "" }),
        None => "some of the node's memory nodes (NUMA)".to_owned(),
    };
    let (by, nodes) = match reported.constraint.as_deref() {
        Some("CPUSET") => {
            let cpuset = reported.cpuset.as_deref().map_or_else(String::new, |cpuset| format!(" {cpuset}"));
            (format!("cpuset{cpuset}"), reported.mems_allowed.as_deref())
        }
        Some("MEMORY_POLICY") => ("a memory policy".to_owned(), reported.nodemask.as_deref()),
        _ => {
            return match Left::of(kill) {
                Some(Left { free, managed }) => format!(
                    "an allocation on the node failed, with {} of its {} of memory free",
                    size(free),
                    size(managed)
                ),
                None => "the node itself ran out of memory".to_owned(),
            };
        }
    };
    let elsewhere = free_elsewhere(kill, nodes)
        .map_or_else(String::new, |free| format!("; {} were free on other memory nodes", size(free)));
    format!("no memory was left on {}, which is all that {by} allows{elsewhere}", bound(nodes))
}

/// Memory that was left on the node when an allocation failed that was bound to no part of it.
pub(in super::super) struct Left {
    pub(in super::super) free: u64,
    pub(in super::super) managed: u64,
}

impl Left {
    /// Where it is far more than the kernel keeps free: below its watermarks, which are a few percent, all allocations fail.
    pub(in super::super) fn of(kill: &Kill) -> Option<Self> {
        const PART: u64 = 8;
        const LEAST: u64 = 128 << 20;
        let reported = &kill.reported;
        let bound = matches!(reported.constraint.as_deref(), Some("CPUSET" | "MEMORY_POLICY" | "MEMCG"));
        let asked = reported.cause == Some(Cause::Sysrq);
        if bound || asked || reported.limit.as_ref().and_then(|limit| limit.level) != Some(Level::Node) {
            return None;
        }
        let managed = reported.memory_nodes.iter().map(|node| node.managed_bytes).sum::<Option<u64>>();
        let managed = managed.or(reported.limit.as_ref()?.total_bytes)?;
        let free = reported.memory_nodes.iter().map(|node| node.free_bytes).sum();
        (free >= LEAST && free >= managed / PART).then_some(Self { free, managed })
    }
}

/// What was free on the NUMA nodes that are not in a list such as `0-1,3`.
fn free_elsewhere(kill: &Kill, allowed: Option<&str>) -> Option<u64> {
    let allowed: Vec<(u32, u32)> = allowed?
        .split(',')
        .map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            Some((from.parse().ok()?, to.parse().ok()?))
        })
        .collect::<Option<_>>()?;
    let other = |id: u32| !allowed.iter().any(|(from, to)| (*from..=*to).contains(&id));
    let free = kill.reported.memory_nodes.iter().filter(|node| other(node.id)).map(|node| node.free_bytes);
    free.reduce(|one, more| one + more)
}

/// What was limited, and to how much. cgroup v1 has a limit of memory alone, and one of memory with swap: `memory` may have
/// room left.
pub(in super::super) fn hit(limit: &Limit) -> (&'static str, Option<u64>) {
    let with_swap = limit.swap_limit_bytes.filter(|_| limit.swap_counter == Some(SwapCounter::MemoryAndSwap));
    let has_room = limit.usage_bytes.zip(limit.limit_bytes).is_some_and(|(used, most)| used < most);
    match (with_swap, limit.swap_usage_bytes) {
        (Some(most), Some(used)) if used >= most && has_room => ("memory+swap", with_swap),
        _ => ("memory", limit.limit_bytes),
    }
}

/// With what exit code a container ended, where a kill is known only because its end is called `OOMKilled`, and the end was no kill.
fn outlived_until(kill: &Kill) -> Option<i32> {
    let (_, line) = kill.lines.first()?;
    match &line.event {
        Event::Container(change) if change.action == ContainerAction::Died => {
            change.exit_code.filter(|code| *code != 137)
        }
        Event::ProcessExit(exit) => exit.container_exit_code.map(i32::from).filter(|code| *code != 137),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_with_swap_was_hit_only_where_memory_is_known_to_have_room() {
        let limit = Limit {
            usage_bytes: Some(4),
            limit_bytes: Some(8),
            swap_usage_bytes: Some(16),
            swap_limit_bytes: Some(16),
            swap_counter: Some(SwapCounter::MemoryAndSwap),
            ..Limit::default()
        };
        assert_eq!(hit(&limit), ("memory+swap", Some(16)));
        assert_eq!(hit(&Limit { usage_bytes: None, ..limit }), ("memory", Some(8)));
    }
}
