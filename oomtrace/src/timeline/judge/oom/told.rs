//! What is said of kills by the kernel's OOM killer, and what would help.

use super::{
    super::{case::Case, eviction},
    Eaters,
};
use crate::{
    event::{Cause, Container, ContainerAction, ContainerRole, Event, Level, Limit, Pod, Scenario, SwapCounter},
    timeline::{
        evidence::Kill,
        windows::SECOND,
        words::{container_name, place, size, times},
    },
};

/// What has the limit where a node of kind, k3d or minikube is out of memory.
const AROUND: &str = "the container that the node runs in";

/// What a summary is made of.
pub(super) struct Told<'a> {
    pub(super) pod: Option<&'a Pod>,
    pub(super) container: Option<&'a Container>,
    pub(super) scenario: Scenario,
    pub(super) eaters: Option<&'a Eaters>,
}

impl Told<'_> {
    pub(super) fn summary(&self, case: &Case<'_>, kill: &Kill, invisible: Option<bool>, shown: bool) -> String {
        let victim = &kill.told.victim;
        let comm = victim.task.comm.as_deref().unwrap_or("a process");
        let pid = victim.task.tgid.or(victim.task.pid).map_or_else(String::new, |pid| format!(" (pid {pid})"));
        let unit = kill.told.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_deref());
        let inside = match (self.pod.is_none() && self.container.is_none(), unit) {
            (true, Some(unit)) => format!("unit {unit}"),
            _ => place(self.pod, self.container),
        };
        let limit = kill.told.limit.as_ref();
        let of = |whose: &str| {
            let (what, bytes) = limit.map_or(("memory", None), hit);
            let amount = bytes.map_or_else(|| "which the log does not tell".to_owned(), size);
            format!("{whose} {what} limit of {amount}")
        };
        let lowered = kill.told.cause == Some(Cause::LimitLowered);
        let hit = match self.scenario {
            Scenario::Killed => "a person asked for a kill (SysRq-f, /proc/sysrq-trigger); no limit was hit".to_owned(),
            _ if lowered => {
                let whose = match limit.and_then(|limit| limit.level) {
                    Some(Level::Container) => "the container's",
                    Some(Level::Pod) => "the pod's",
                    Some(Level::Qos | Level::Kubepods) => "all pods'",
                    _ => "a",
                };
                let used = limit
                    .and_then(|limit| limit.usage_bytes)
                    .map_or_else(String::new, |used| format!(" ({})", size(used)));
                let by = kill.told.trigger.comm.as_deref().map_or_else(String::new, |comm| format!(" by {comm}"));
                format!("{} was lowered{by} below what was in use{used}", of(whose))
            }
            Scenario::ContainerLimit if limit.is_some_and(|limit| limit.nested.is_some()) => {
                of("it hit a limit that was set inside the container, a")
            }
            Scenario::ContainerLimit if limit.is_none() => {
                "a memory limit was hit; what is at hand does not tell whose".to_owned()
            }
            Scenario::ContainerLimit if limit.and_then(|limit| limit.level) == Some(Level::Pod) => {
                of("the container hit its limit, which is also the pod's")
            }
            Scenario::ContainerLimit => of("the container hit its"),
            Scenario::PodLimit => of("the pod's containers together hit the pod's"),
            Scenario::AllocatableOom => of("all pods together hit the node's allocatable"),
            Scenario::SystemOom if is_unplaced(kill) => {
                "all pods together, or the node itself, ran out of memory: it has no limit of its own".to_owned()
            }
            Scenario::SystemOom => "the node itself ran out of memory".to_owned(),
            Scenario::OtherLimit if kill.hit_limit_around() && limit.is_some_and(|limit| limit.nested.is_none()) => {
                let name = limit.and_then(|limit| container_name(limit.container.as_ref()?));
                of(&format!("{AROUND} ({}) hit its", name.as_deref().unwrap_or("?")))
            }
            Scenario::OtherLimit => {
                of(&format!("cgroup {} hit its", limit.and_then(|limit| limit.cgroup.as_deref()).unwrap_or("?")))
            }
            _ => "its pod was already being evicted".to_owned(),
        };
        let count = case.kill_count();
        let again = if count > 1 { format!("{}, the first time ", times(count)) } else { String::new() };
        let with = match kill.told.members.len() {
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
        let lives = match (invisible, shown) {
            (Some(true), false) => "; the container lives on, and Kubernetes shows nothing",
            (Some(true), true) => "; the container lived on, and Kubernetes calls its later end OOMKilled",
            _ => "",
        };
        let eater = match self.eaters {
            Some(eaters)
                if !eaters.victim_is_most && !matches!(self.scenario, Scenario::ContainerLimit | Scenario::Killed) =>
            {
                format!(
                    "; {} used most ({} against the victim's {})",
                    eaters.most,
                    size(eaters.most_bytes),
                    size(eaters.victim_bytes)
                )
            }
            _ => String::new(),
        };
        let asked = if kill.told.cause == Some(Cause::AllocatingTask) {
            "; vm.oom_kill_allocating_task is set, so that whoever asks for memory is killed, whatever others use"
        } else {
            ""
        };
        let anon =
            victim.memory.rss_anon_bytes.map_or_else(String::new, |anon| format!(" with {} of its own", size(anon)));
        let when = outlived_until(kill)
            .map_or_else(String::new, |code| format!("at some time before it ended with exit code {code}, "));
        format!(
            "The kernel killed {comm}{pid}{anon}{with} in {inside} {when}{again}because {hit}{asked}{eater}{lives}{after}."
        )
    }

    pub(super) fn advice(&self, case: &Case<'_>, kill: &Kill) -> String {
        let limit = kill.told.limit.as_ref().and_then(|limit| hit(limit).1);
        let memory = &kill.told.victim.memory;
        let (anon, file, shmem) = (memory.rss_anon_bytes, memory.rss_file_bytes, memory.rss_shmem_bytes);
        let amount = limit.map_or_else(|| "what it has now".to_owned(), size);
        match (kill.told.cause, self.scenario) {
            (Some(Cause::LimitLowered), scenario) if scenario != Scenario::Killed => return format!(
                "A limit is to be lowered only to more than is in use (memory.current): raise it above {amount}, or let a resize start the container anew (resizePolicy RestartContainer). The write came from {}: a person, an in-place resize or an autoscaler.",
                kill.told.trigger.comm.as_deref().unwrap_or("outside of the container")
            ),
            (Some(Cause::AllocatingTask), scenario) if scenario != Scenario::ContainerLimit => return
                "Set vm.oom_kill_allocating_task=0: then the kernel chooses whoever uses most and matters least to Kubernetes (oom_score_adj), not whoever happens to ask.".to_owned(),
            _ => {}
        }
        match self.scenario {
            Scenario::ContainerLimit | Scenario::OtherLimit => {
                let what = match (anon, shmem) {
                    (Some(anon), Some(shmem)) if shmem > anon => format!(
                        "Most of it is shared memory ({}): a tmpfs or an emptyDir in memory counts against the limit too. ",
                        size(shmem)
                    ),
                    (Some(anon), _) => {
                        format!("It held {} and asked for more. ", size(anon + shmem.unwrap_or(0) + file.unwrap_or(0)))
                    }
                    _ => String::new(),
                };
                let every = interval(case).map_or_else(String::new, |seconds| {
                    format!("It comes back to its limit within {seconds} s of each kill: either it needs more than {amount} to work at all, or it leaks. ")
                });
                let it = match self.container.and_then(|container| container.role) {
                    _ if kill.hit_limit_around() => AROUND,
                    Some(ContainerRole::Sandbox) => "the pod (where its sandbox is a virtual machine: its RuntimeClass's overhead)",
                    _ => "it",
                };
                format!(
                    "{what}{every}Give {it} a limit above {amount}, or make the program keep below it (heap size, cache size, workers)."
                )
            }
            Scenario::PodLimit => format!(
                "The pod's limit ({amount}) is less than what its containers need together: raise it, or give each container a limit of its own so that the one that eats is the one that is killed."
            ),
            Scenario::AllocatableOom => {
                let eater = self.eaters.map_or_else(String::new, |eaters| {
                    format!(" Begin with {} ({}).", eaters.most, size(eaters.most_bytes))
                });
                format!(
                    "Pods may use {amount} on this node, and grew faster than the kubelet's 10 s loop evicts. Give pods limits near their requests, so that they cannot exceed allocatable together; a higher eviction threshold makes the kubelet act earlier.{eater}"
                )
            }
            Scenario::SystemOom if is_unplaced(kill) => "Give it a limit, near to what it requests: without one it competes with all that runs on the node, and is killed when that runs out of memory, whoever used it.".to_owned(),
            Scenario::SystemOom => {
                let eater = self.eaters.map_or_else(String::new, |eaters| {
                    format!(" {} used most: {}.", eaters.most, size(eaters.most_bytes))
                });
                format!(
                    "The node had no memory left before the kubelet acted: reserve memory for the system (--system-reserved, --kube-reserved) and raise --eviction-hard memory.available, so that pods are bounded by allocatable and evicted in time.{eater}"
                )
            }
            Scenario::Killed => "Not memory: somebody used SysRq-f or wrote f to /proc/sysrq-trigger, and the kernel killed whoever had the most points. kernel.sysrq says who may.".to_owned(),
            _ => eviction::advice(),
        }
    }
}

/// What was limited, and to how much. cgroup v1 has a limit of memory alone, and one of memory with swap: `memory` may have
/// room left.
fn hit(limit: &Limit) -> (&'static str, Option<u64>) {
    let with_swap = limit.swap_limit_bytes.filter(|_| limit.swap_counter == Some(SwapCounter::MemoryAndSwap));
    let has_room = limit.usage_bytes.zip(limit.limit_bytes).is_some_and(|(used, most)| used < most);
    match (with_swap, limit.swap_usage_bytes) {
        (Some(most), Some(used)) if used >= most && has_room => ("memory+swap", with_swap),
        _ => ("memory", limit.limit_bytes),
    }
}

/// With what exit code a container ended, where only that its end is called `OOMKilled` tells of a kill, and the end was no kill.
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

/// Whether only others than the kernel tell of it, and not on whose behalf it was.
fn is_unplaced(kill: &Kill) -> bool {
    kill.told.limit.is_none() && kill.told.message.is_none()
}

/// Seconds between kills, where there are several.
fn interval(case: &Case<'_>) -> Option<i64> {
    let (first, last) = (case.kills.first()?, case.kills.last()?);
    let gaps = i64::try_from(case.kills.len()).ok()? - 1;
    (gaps > 0).then(|| (last.at - first.at) / SECOND / gaps)
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
