//! What is said where a limit was hit and nothing was killed for it.

use oomtrace_model::{PanicOnOom, Scenario, UnderOom, UnderOomState};

use super::{
    super::super::{
        evidence::{Cause, unkillable::LeftAlone},
        words::{size, times},
    },
    capital,
};

/// What is said.
pub(in super::super) struct Said {
    pub(in super::super) heading: &'static str,
    pub(in super::super) summary: String,
    pub(in super::super) advice: &'static str,
}

/// Of tasks that wait `inside` instead of being killed.
pub(in super::super) fn frozen(inside: &str, frozen: &[&Cause<UnderOom>]) -> Said {
    let limit = frozen.first().and_then(|first| first.what.limit.as_ref());
    let amount = limit.and_then(|limit| limit.limit_bytes).map_or_else(String::new, |b| format!(" of {}", size(b)));
    let began = frozen.iter().filter(|one| one.what.state == UnderOomState::Began).count() as u64;
    let often = if began > 1 { format!(" {}", times(began)) } else { String::new() };
    let waits = frozen.last().is_some_and(|last| last.what.state == UnderOomState::Began);
    let state = if waits { "it still waits" } else { "it had room again" };
    Said {
        heading: "Frozen at a memory limit",
        summary: format!(
            "{} hit its memory limit{amount}{often} and was frozen instead of killed, as its cgroup has oom_kill_disable set; {state}.",
            capital(inside)
        ),
        advice: "Nobody ends what waits here, and Kubernetes takes it for running: write 0 to memory.oom_control of its cgroup, so that the kernel may kill and the container is started again, and give it a higher limit.",
    }
}

/// Of a limit `inside` which nobody may be killed.
pub(in super::super) fn left_alone(inside: &str, left: &[&Cause<LeftAlone>]) -> Said {
    let first = left.first().map(|first| &first.what);
    let limit = first.and_then(|first| first.limit.as_ref()).and_then(|limit| limit.limit_bytes);
    let amount = limit.map_or_else(String::new, |bytes| format!(" of {}", size(bytes)));
    let often = if left.len() > 1 { format!(" {}", times(left.len() as u64)) } else { String::new() };
    let likely = if left.iter().all(|one| one.what.inferred_since.is_some()) { "most likely " } else { "" };
    let trigger = first.and_then(|first| first.trigger.as_ref());
    let asks = trigger.and_then(|task| task.comm.as_deref()).unwrap_or("a process");
    Said {
        heading: "Nobody may be killed at a memory limit",
        summary: format!(
            "{} hit its memory limit{amount}{often}, and {likely}no process in it may be killed (oom_score_adj -1000): {asks} asks for memory again and again, or gets an error.",
            capital(inside)
        ),
        advice: "Nobody ends what is stuck here, and it counts as running: find who sets oom_score_adj to -1000 (that takes CAP_SYS_RESOURCE) and leave the score as it is, so that the kernel may kill and the program is started again, or give it a higher limit.",
    }
}

/// Of a kernel that is about to panic: a limit was hit `inside`.
pub(in super::super) fn panic(inside: &str, scenario: Scenario, panic: &PanicOnOom) -> Said {
    let why = match scenario {
        Scenario::SystemOom => "the node itself ran out of memory".to_owned(),
        Scenario::UnknownLimit => "memory ran out".to_owned(),
        _ => format!("{inside} hit a memory limit"),
    };
    let comm = panic.trigger.comm.as_deref().unwrap_or("a process");
    let (summary, advice) = match panic.panic_on_oom {
        0 => (
            format!("The kernel panicked, as no process was left that it may kill: {why} when {comm} asked for more."),
            "A panic ends every pod of the node. What was left has oom_score_adj -1000, or is the kernel's own memory: find who set it, and give the node more memory.",
        ),
        sysctl => (
            format!(
                "The kernel was about to panic instead of killing, as vm.panic_on_oom is {sysctl}: {why} when {comm} asked for more."
            ),
            "A panic ends every pod of the node. Set vm.panic_on_oom=0, as the kubelet does by itself unless its --protect-kernel-defaults keeps it from that.",
        ),
    };
    Said { heading: "Out of memory: the kernel panics", summary, advice }
}
