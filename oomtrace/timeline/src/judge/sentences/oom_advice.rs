//! What would help against kills by the kernel's OOM killer.

use oomtrace_model::{Cause, Container, ContainerRole, Scenario};

use super::{
    super::{
        case::Case,
        oom::{
            is_starting,
            limit::interval,
            qos_class,
            usage::{Fill, Swap, Users},
        },
    },
    eviction,
    oom::{AROUND, Left, hit},
};
use crate::{
    evidence::Kill,
    words::{size, within},
};

/// What advice is made of.
pub(in super::super) struct Advice<'a> {
    pub(in super::super) container: Option<&'a Container>,
    pub(in super::super) scenario: Scenario,
    pub(in super::super) users: Option<&'a Users>,
    pub(in super::super) fill: Fill,
    /// The container's limit by its specification: `Some(None)` where it has none.
    #[expect(clippy::option_option, reason = "whether it is known, and whether there is one")]
    pub(in super::super) specified: Option<Option<u64>>,
    /// The limits of all containers of the pod together, where each has one.
    pub(in super::super) specified_sum: Option<u64>,
    /// It is known not to be on a Kubernetes node.
    pub(in super::super) outside: bool,
    /// Nothing says whether it is on one.
    pub(in super::super) anywhere: bool,
}

/// Who held so much: the victim, or what is in the cgroup together.
fn holder(kill: &Kill, bytes: u64) -> &'static str {
    let own = kill.reported.victim.memory.rss_anon_bytes;
    if own.is_none_or(|own| own == bytes) { "The victim" } else { "What runs in it together" }
}

impl Advice<'_> {
    pub(in super::super) fn text(&self, case: &Case<'_>, kill: &Kill) -> String {
        let limit = kill.reported.limit.as_ref().and_then(|limit| hit(limit).1);
        match (kill.reported.cause, self.scenario) {
            (Some(Cause::LimitLowered), scenario) if scenario != Scenario::Killed => {
                let above = limit.map_or_else(|| "what is in use".to_owned(), size);
                let resize = if self.outside {
                    ""
                } else {
                    ", or let a resize start the container anew (resizePolicy RestartContainer)"
                };
                return format!(
                    "Lower a limit only to more than is in use (memory.current): raise it above {above}{resize}. The write came from {}: a person, an in-place resize or an autoscaler.",
                    match kill.reported.trigger.comm.as_deref() {
                        Some("systemd") => "systemd, which writes limits for the kubelet and the container runtime",
                        comm => comm.unwrap_or("outside of the container"),
                    }
                );
            }
            (Some(Cause::AllocatingTask), scenario) if scenario != Scenario::ContainerLimit => {
                let least =
                    if self.outside || self.anywhere { "" } else { " and matters least to Kubernetes (oom_score_adj)" };
                return format!(
                    "Set vm.oom_kill_allocating_task=0: then the kernel chooses the process that uses most{least}, not the one that happens to ask."
                );
            }
            _ => {}
        }
        match self.scenario {
            Scenario::ContainerLimit | Scenario::OtherLimit => self.own_limit(case, kill, limit),
            Scenario::UnknownLimit => self.unknown_limit(limit),
            Scenario::PodLimit => {
                let amount = limit.map_or_else(String::new, |limit| format!(" ({})", size(limit)));
                let behind = self.left_behind(limit);
                format!(
                    "{behind}The pod's limit{amount} is less than what its containers need together: raise it, or give each container a limit of its own, so that the one that grows is the one that is killed."
                )
            }
            Scenario::AllocatableOom => {
                let user = self.users.map_or_else(String::new, |users| {
                    format!(" Begin with {} ({}).", users.most, size(users.most_bytes))
                });
                if let Some(class) = kill.reported.limit.as_ref().and_then(qos_class) {
                    let amount = limit.map_or_else(|| "no more than its limit".to_owned(), size);
                    return format!(
                        "{class} pods may use {amount} together: the kubelet's qosReserved (--qos-reserved) keeps what pods of better classes request from them. Lower it, or give these pods limits near their requests, or move some to another node.{user}"
                    );
                }
                let amount = limit.map_or_else(|| "no more than the limit of kubepods".to_owned(), size);
                format!(
                    "Pods may use {amount} on this node, and grew faster than the kubelet's 10 s loop evicts. Give pods limits near their requests, so that they cannot exceed allocatable together; a higher eviction threshold makes the kubelet act earlier.{user}"
                )
            }
            Scenario::SystemOom => self.node(kill),
            Scenario::Killed => "Not memory: somebody used SysRq-f or wrote f to /proc/sysrq-trigger, and the kernel killed the process with the most points. kernel.sysrq says who may.".to_owned(),
            _ => eviction::advice(),
        }
    }

    fn own_limit(&self, case: &Case<'_>, kill: &Kill, limit: Option<u64>) -> String {
        let of = limit.map_or_else(String::new, |limit| format!(" of the limit of {}", size(limit)));
        let above = limit.map_or_else(|| "the present one".to_owned(), size);
        let more = limit.map_or_else(|| "its limit".to_owned(), size);
        let it = match self.container.and_then(|container| container.role) {
            _ if kill.hit_limit_around() => AROUND,
            Some(ContainerRole::Sandbox) => {
                "the pod (where its sandbox is a virtual machine: its RuntimeClass's overhead)"
            }
            _ if limit.is_some() => "it",
            _ if self.scenario == Scenario::ContainerLimit => "the container",
            _ => "the cgroup",
        };
        if is_starting(kill) {
            return format!(
                "The limit is too low to start: the container runtime's own process, which becomes the container's first, needs more than {more}. Raise it until the container starts, and then to what its program needs."
            );
        }
        let every = interval(case).map_or_else(String::new, |seconds| {
            let within = within(seconds);
            format!("It reached its limit again {within} of each kill: either it needs more than {more} to work at all, or it leaks. ")
        });
        let swap = match Swap::of(kill) {
            Swap::Full(swap) => {
                format!("Its swap is full, too: with {} of it, it needs more than both together. ", size(swap))
            }
            Swap::InUse(swap) => {
                format!("Another {} of it is in swap, so it needs more than both together. ", size(swap))
            }
            Swap::NotAllowed => "The node has swap, and this cgroup may use none (memory.swap.max is 0). ".to_owned(),
            Swap::Unknown => String::new(),
        };
        let behind = self.left_behind(limit);
        let (what, instead) = self.filled(kill, &of);
        format!("{behind}{what}{every}{swap}Give {it} a limit above {above}{instead}.")
    }

    /// What fills the limit, and what else than a higher one would help.
    fn filled(&self, kill: &Kill, of: &str) -> (String, &'static str) {
        let kept = if self.outside {
            "a tmpfs or /dev/shm counts against the limit, and stays as long as it is mounted"
        } else {
            "files in a tmpfs, in /dev/shm or in an emptyDir of medium Memory count against the limit, and those of a volume stay when the container is started again"
        };
        match self.fill {
            // Without the limit, that it was filled by this is not known.
            Fill::Anon(anon) if of.is_empty() => (
                format!("{} held {} of anonymous memory (heaps, stacks). ", holder(kill, anon), size(anon)),
                ", or make the program keep below it (heap size, cache size, workers)",
            ),
            Fill::Anon(anon) => (
                format!("Anonymous memory (heaps, stacks) fills {}{of}. ", size(anon)),
                ", or make the program keep below it (heap size, cache size, workers)",
            ),
            Fill::Shmem(shmem) => (
                format!("Shared memory fills {}{of}: {kept}. ", size(shmem)),
                if self.outside {
                    ", or keep less in it, or limit its size"
                } else {
                    ", or keep less in it, or set the volume's sizeLimit"
                },
            ),
            Fill::Kernel(kernel, slab) => {
                let slab = slab.map_or_else(String::new, |slab| format!(", {} of it slab", size(slab)));
                (
                    format!(
                        "The kernel's own memory fills {}{of}{slab}: what it keeps for the processes in it, as dentries and inodes of many files, page tables, pipes and sockets. ",
                        size(kernel)
                    ),
                    ", or find what makes so many of them (/proc/slabinfo, open files, threads)",
                )
            }
            Fill::Sockets(sockets) => (
                format!("Buffers of sockets fill {}{of}. ", size(sockets)),
                ", or limit them (net.ipv4.tcp_rmem, tcp_wmem), or read connections faster",
            ),
            Fill::Cache(cache, dirty) => {
                let dirty = dirty
                    .map_or_else(String::new, |dirty| format!(" ({} of it waits to be written to disk)", size(dirty)));
                let protected = if self.outside {
                    "or protected by memory.min"
                } else {
                    "or protected by memory.min, which the MemoryQoS feature sets to the request"
                };
                (
                    format!(
                        "Page cache fills {}{of}{dirty}. The kernel gives it back before it kills, unless it cannot: it is waiting for a slow disk, locked (mlock), {protected}. ",
                        size(cache)
                    ),
                    ", or write less at once, or lift the protection",
                )
            }
            Fill::Unknown(own) => {
                let own = own.map_or_else(String::new, |own| {
                    format!("The victim itself held {}{of}: the rest are other processes, page cache, a tmpfs or the kernel's own memory. ", size(own))
                });
                let innocent = kill.reported.limit.is_some();
                (own, if innocent { ", or make what runs in it keep below it" } else { "" })
            }
        }
    }

    /// The pod's cgroup was not raised with its containers' limits, as by an in-place resize (kubernetes#138760).
    fn left_behind(&self, limit: Option<u64>) -> String {
        match (self.specified_sum, limit) {
            (Some(sum), Some(limit)) if sum > limit => format!(
                "The containers' limits add up to {}, and the pod's cgroup still has {}, as an in-place resize may leave it (kubernetes#138760): raise the pod's, not the container's. ",
                size(sum),
                size(limit)
            ),
            _ => String::new(),
        }
    }

    fn unknown_limit(&self, limit: Option<u64>) -> String {
        let first = "Find out whose limit it was first: the kernel's report, which the kernel's log has before the line of the kill, names the cgroup.";
        match (limit, self.specified) {
            (Some(limit), _) => {
                format!("{first} The one of {} is to be raised, or what uses it is to be kept below it.", size(limit))
            }
            (None, Some(Some(own))) => format!(
                "{first} If it was the container's own ({}), give it a limit above that, or make the program keep below it; if it was that of all pods or the node's, look at what else used it.",
                size(own)
            ),
            (None, Some(None)) => format!(
                "{first} The container has no limit of its own, so it competes with all that runs in its pod and on the node: give it one, near to what it requests."
            ),
            (None, None) => first.to_owned(),
        }
    }

    fn node(&self, kill: &Kill) -> String {
        let user = self
            .users
            .map_or_else(String::new, |users| format!(" {} used most: {}.", users.most, size(users.most_bytes)));
        let managers = if self.outside {
            ""
        } else {
            " In Kubernetes the Topology Manager and the memory manager of the kubelet decide where a container's memory may be."
        };
        match kill.reported.constraint.as_deref() {
            Some("CPUSET") => format!(
                "The machine may have memory left on other NUMA nodes: allow more of them (cpuset.mems), or use less on these (numactl --hardware shows what is free on each).{managers}{user}"
            ),
            Some("MEMORY_POLICY") => format!(
                "The machine may have memory left on other NUMA nodes: let the program's policy prefer nodes instead of binding to them (numactl --preferred or --interleave instead of --membind; mbind and set_mempolicy in its code).{managers}{user}"
            ),
            _ if Left::of(kill).is_some() => self.despite_free_memory(kill),
            _ if self.outside => format!(
                "The machine had no memory left: limit what grows (MemoryMax= of its unit, or its container's limit), so that it is stopped before it takes the machine's, or add memory or swap.{user}"
            ),
            _ if self.anywhere => format!(
                "The node had no memory left: limit what grows, so that it is stopped before it takes the node's, or add memory or swap. On a Kubernetes node, reserve memory for the system (--system-reserved, --kube-reserved) and raise --eviction-hard memory.available, so that pods are bounded by allocatable and evicted in time.{user}"
            ),
            _ => format!(
                "The node had no memory left before the kubelet acted: reserve memory for the system (--system-reserved, --kube-reserved) and raise --eviction-hard memory.available, so that pods are bounded by allocatable and evicted in time.{user}"
            ),
        }
    }

    /// The allocation failed although the node had memory.
    fn despite_free_memory(&self, kill: &Kill) -> String {
        let reported = &kill.reported;
        let machine = if self.outside { "machine" } else { "node" };
        match (reported.order, reported.gfp_mask) {
            (Some(order @ 1..), _) => format!(
                "More memory would not help: the kernel needed {} pages in a row (order={order}), and free memory was in smaller pieces, or in a zone that this allocation must not use. Its report lists the free pieces of each zone; raise vm.min_free_kbytes, or find what asks for so many at once.",
                1_u64.checked_shl(order.unsigned_abs()).unwrap_or(u64::MAX)
            ),
            (_, Some(0)) => "More memory would not help: gfp_mask=0x0 means that a page fault could not be served, as where a cgroup's limit on kernel memory (memory.kmem.limit_in_bytes) or another limit refuses the page. Look for such a limit of what asked, and for messages of the kernel just before.".to_owned(),
            _ => format!(
                "More memory may not help: the {machine} had enough, but not in the zone that this allocation must use. The kernel's report lists what was free in each zone (Node 0 DMA32 free:, min:), and gfp_mask says which of them it asked for."
            ),
        }
    }
}
