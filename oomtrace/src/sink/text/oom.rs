//! Kills and decisions of the OOM killer.

use std::fmt::Write as _;

use super::words::{describe_limit, escape, number, place, size, who};
use crate::event::{Candidate, Cause, OomKill, OomReaped, OomVictim, PanicOnOom, Task, UnderOom, UnderOomState, Why};

pub(super) fn write_kill(out: &mut String, ts: &str, what: &str, kill: &OomKill) -> std::fmt::Result {
    let victim = &kill.victim;
    let unit = kill.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_deref());
    let place_or_unit = match unit {
        Some(unit) if kill.pod.is_none() && kill.container.is_none() => format!("unit {}", escape(unit)),
        _ => place(kill.pod.as_ref(), kill.container.as_ref()),
    };
    writeln!(out, "{ts}  {what}: {} in {place_or_unit}", who(&victim.task))?;
    match kill.cause {
        Some(Cause::Sysrq) => writeln!(out, "    cause      a person asked for it: SysRq-f")?,
        Some(Cause::AllocatingTask) => {
            writeln!(out, "    cause      vm.oom_kill_allocating_task: whoever asks for memory is killed")?;
        }
        Some(Cause::LimitLowered) => writeln!(out, "    cause      the limit was set below what is in use")?,
        Some(Cause::Ordinary) | None => {}
    }
    if let Some(limit) = &kill.limit {
        writeln!(out, "    limit      {}", describe_limit(limit))?;
    }
    let memory = &victim.memory;
    writeln!(
        out,
        "    victim     anon {}, file {}, shmem {}, swap {}, page tables {}; oom_score_adj {}, points {}",
        size(memory.rss_anon_bytes),
        size(memory.rss_file_bytes),
        size(memory.rss_shmem_bytes),
        size(memory.swap_bytes),
        size(memory.pgtables_bytes),
        number(victim.task.oom_score_adj),
        number(victim.points),
    )?;
    let first = match victim.task.container_init {
        Some(true) => "the container's first process: the container ends",
        Some(false) => "not the container's first process: the container may live on, and Kubernetes show nothing",
        None => "not known whether it is a container's first process",
    };
    writeln!(out, "    role       {first}")?;
    let trigger = &kill.trigger;
    let asked = kill.order.map_or_else(String::new, |order| {
        format!(", asking for 2^{order} pages ({})", escape(kill.gfp.as_deref().unwrap_or("?")))
    });
    writeln!(
        out,
        "    trigger    {} in {}{asked}",
        if is_same(trigger, &victim.task) { "itself".to_owned() } else { who(trigger) },
        place(trigger.pod.as_ref(), trigger.container.as_ref()),
    )?;
    if let Some(path) = kill.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()) {
        writeln!(out, "    cgroup     {}", escape(path))?;
    }
    write_candidates(out, kill)?;
    for member in &kill.members {
        writeln!(out, "    with it    {}", who(member))?;
    }
    Ok(())
}

/// Who else could have been chosen: the three with the most points.
fn write_candidates(out: &mut String, kill: &OomKill) -> std::fmt::Result {
    let (Some(weighed), Some(candidates)) = (kill.candidates_weighed, &kill.candidates) else { return Ok(()) };
    let victim = kill.victim.task.tgid;
    let others = candidates.iter().filter(|candidate| candidate.task.tgid != victim).take(3);
    let points = |other: &Candidate| other.points.map_or_else(String::new, |points| format!(" with {points} points"));
    let others: Vec<_> = others.map(|other| format!("{}{}", who(&other.task), points(other))).collect();
    let others = if others.is_empty() { "no other could be killed".to_owned() } else { others.join(", ") };
    writeln!(out, "    weighed    {weighed} processes; {others}")
}

pub(super) fn write_victim(out: &mut String, ts: &str, victim: &OomVictim) -> std::fmt::Result {
    let why = match victim.why {
        Why::Killed => "killed",
        Why::Group => "killed with its group",
        Why::AlreadyDying => "was dying already, not killed",
    };
    let place = place(victim.pod.as_ref(), victim.container.as_ref());
    writeln!(out, "{ts}  OOM victim: {} in {place}: {why}", who(&victim.task))
}

/// Where only one of the two ids is known of each, as in the kernel's log, threads are told apart and not processes.
fn is_same(one: &Task, other: &Task) -> bool {
    (one.tgid.is_some() && one.tgid == other.tgid) || (one.pid.is_some() && one.pid == other.pid)
}

pub(super) fn write_reaped(out: &mut String, ts: &str, reaped: &OomReaped) -> std::fmt::Result {
    let how = match reaped.left_anon_bytes {
        Some(left) => format!("its memory was taken by the reaper, {} anonymous left", size(Some(left))),
        None => "the reaper was unable to take its memory".to_owned(),
    };
    let after = reaped.since_kill_ms.map_or_else(String::new, |ms| format!(", {ms:.1} ms after the kill"));
    let place = place(reaped.pod.as_ref(), reaped.container.as_ref());
    writeln!(out, "{ts}  OOM reaper: {} in {place}: {how}{after}", who(&reaped.task))
}

pub(super) fn write_panic(out: &mut String, ts: &str, panic: &PanicOnOom) -> std::fmt::Result {
    let limit = panic.limit.as_ref().map_or_else(|| "not known whose".to_owned(), describe_limit);
    writeln!(
        out,
        "{ts}  PANIC AHEAD: vm.panic_on_oom is {}; {} needs memory",
        panic.panic_on_oom,
        who(&panic.trigger)
    )?;
    writeln!(out, "    limit      {limit}")
}

pub(super) fn write_under_oom(out: &mut String, ts: &str, wait: &UnderOom) -> std::fmt::Result {
    let place = place(wait.pod.as_ref(), wait.container.as_ref());
    let how = match wait.state {
        UnderOomState::Began => "is frozen at its limit instead of killed (oom_kill_disable)".to_owned(),
        UnderOomState::Ended => format!("goes on after {:.1} ms", wait.waited_ms.unwrap_or(0.0)),
    };
    let limit = wait.limit.as_ref().map_or_else(String::new, |limit| format!("; {}", describe_limit(limit)));
    writeln!(out, "{ts}  under OOM: {place} {how}{limit}")
}
