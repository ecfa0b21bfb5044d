//! Kills and decisions of the OOM killer.

use std::time::Duration;

use super::{
    page::Page,
    words::{describe_limit, escape, number, place, size, who},
};
use crate::{
    event::{
        Candidate, Cause, Level, LimitAhead, Mark, OomKill, OomReaped, OomVictim, PanicOnOom, Task, UnderOom,
        UnderOomState, Why,
    },
    timeline::words::span,
};

pub(super) fn write_kill(page: &mut Page, ts: &str, what: &str, kill: &OomKill) {
    let victim = &kill.victim;
    let unit = kill.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_deref());
    let place = match unit {
        Some(unit) if kill.pod.is_none() && kill.container.is_none() => format!("unit {}", escape(unit)),
        _ => place(kill.pod.as_ref(), kill.container.as_ref()),
    };
    let limit = kill.limit.as_ref().map_or_else(String::new, |limit| format!("; {}", describe_limit(limit)));
    let cause = match kill.cause {
        Some(Cause::Sysrq) => "; a person asked for it: SysRq-f",
        Some(Cause::AllocatingTask) => {
            "; vm.oom_kill_allocating_task is set: the process that asks for memory is killed"
        }
        Some(Cause::LimitLowered) => "; the limit was set below what is in use",
        Some(Cause::Ordinary) | None => "",
    };
    page.event(ts, Mark::Kill, &format!("{what}: {} in {place}{limit}{cause}", who(&victim.task)));
    if page.look().has_details() {
        write_details(page, kill);
    }
}

fn write_details(page: &mut Page, kill: &OomKill) {
    let victim = &kill.victim;
    let memory = &victim.memory;
    let text = format!(
        "anon {}, file {}, shmem {}, swap {}, page tables {}; oom_score_adj {}, points {}",
        size(memory.rss_anon_bytes),
        size(memory.rss_file_bytes),
        size(memory.rss_shmem_bytes),
        size(memory.swap_bytes),
        size(memory.pgtables_bytes),
        number(victim.task.oom_score_adj),
        number(victim.points),
    );
    page.detail("victim", &text);
    if let Some(command_line) = &victim.command_line {
        page.detail("command", &escape(command_line));
    }
    let first = match victim.task.container_init {
        Some(true) => "the container's first process: the container ends",
        Some(false) => "not the container's first process: the container may live on, and Kubernetes show nothing",
        None => "not known whether it is a container's first process",
    };
    page.detail("role", first);
    let trigger = &kill.trigger;
    let asked = kill.order.map_or_else(String::new, |order| {
        format!(", asking for 2^{order} pages ({})", escape(kill.gfp.as_deref().unwrap_or("?")))
    });
    let text = format!(
        "{} in {}{asked}",
        if is_same(trigger, &victim.task) { "itself".to_owned() } else { who(trigger) },
        place(trigger.pod.as_ref(), trigger.container.as_ref()),
    );
    page.detail("trigger", &text);
    if let Some(path) = kill.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()) {
        page.detail("cgroup", &escape(path));
    }
    write_candidates(page, kill);
    for member in &kill.members {
        page.detail("with it", &who(member));
    }
}

/// Who else could have been chosen: the three with the most points.
fn write_candidates(page: &mut Page, kill: &OomKill) {
    let (Some(weighed), Some(candidates)) = (kill.candidates_weighed, &kill.candidates) else { return };
    let victim = kill.victim.task.tgid;
    let others = candidates.iter().filter(|candidate| candidate.task.tgid != victim).take(3);
    let points = |other: &Candidate| other.points.map_or_else(String::new, |points| format!(" with {points} points"));
    let others: Vec<_> = others.map(|other| format!("{}{}", who(&other.task), points(other))).collect();
    let others = if others.is_empty() { "no other could be killed".to_owned() } else { others.join(", ") };
    page.detail("weighed", &format!("{weighed} processes; {others}"));
}

pub(super) fn write_victim(page: &mut Page, ts: &str, victim: &OomVictim) {
    let why = match victim.why {
        Why::Killed => "killed",
        Why::Group => "killed with its group",
        Why::AlreadyDying => "was dying already, not killed",
    };
    let place = place(victim.pod.as_ref(), victim.container.as_ref());
    page.event(ts, Mark::Other, &format!("OOM victim: {} in {place}: {why}", who(&victim.task)));
}

/// Where only one of the two ids is known of each, as in the kernel's log, threads are distinguished and not processes.
fn is_same(one: &Task, other: &Task) -> bool {
    (one.tgid.is_some() && one.tgid == other.tgid) || (one.pid.is_some() && one.pid == other.pid)
}

pub(super) fn write_reaped(page: &mut Page, ts: &str, reaped: &OomReaped) {
    let how = match reaped.left_anon_bytes {
        Some(left) => format!("its memory was taken by the reaper, {} anonymous left", size(Some(left))),
        None => "the reaper was unable to take its memory".to_owned(),
    };
    let after = reaped.since_kill_ms.map_or_else(String::new, |ms| format!(", {ms:.1} ms after the kill"));
    let place = place(reaped.pod.as_ref(), reaped.container.as_ref());
    page.event(ts, Mark::Other, &format!("OOM reaper: {} in {place}: {how}{after}", who(&reaped.task)));
}

pub(super) fn write_limit_ahead(page: &mut Page, ts: &str, ahead: &LimitAhead) {
    let place = place(ahead.pod.as_ref(), ahead.container.as_ref());
    let used = size(ahead.usage_bytes);
    let limit = match (ahead.level, ahead.eviction_threshold_bytes) {
        (Some(Level::Node), Some(threshold)) => {
            format!(
                "the {} above which the kubelet evicts (less than {} available)",
                size(ahead.limit_bytes),
                size(Some(threshold))
            )
        }
        (Some(Level::Node), None) => format!("all {} of memory", size(ahead.limit_bytes)),
        _ => size(ahead.limit_bytes),
    };
    let text = match ahead.seconds_left.filter(|_| !ahead.withdrawn) {
        Some(seconds) => format!(
            "limit ahead: {place} uses {used} of {limit}, and reaches it in {} at {} an hour",
            span(Duration::from_secs(seconds)),
            size(ahead.growth_bytes_per_hour)
        ),
        None => format!("limit ahead: withdrawn, as {place} stopped growing, at {used} of {limit}"),
    };
    page.event(ts, Mark::Failure, &text);
}

pub(super) fn write_panic(page: &mut Page, ts: &str, panic: &PanicOnOom) {
    let limit = panic.limit.as_ref().map_or_else(|| "not known whose".to_owned(), describe_limit);
    let (setting, trigger) = (panic.panic_on_oom, who(&panic.trigger));
    let text = format!("PANIC AHEAD: vm.panic_on_oom is {setting}; {trigger} needs memory; the limit: {limit}");
    page.event(ts, Mark::Kill, &text);
}

pub(super) fn write_under_oom(page: &mut Page, ts: &str, wait: &UnderOom) {
    let place = place(wait.pod.as_ref(), wait.container.as_ref());
    let how = match wait.state {
        UnderOomState::Began => "is frozen at its limit instead of killed (oom_kill_disable)".to_owned(),
        UnderOomState::Ended => format!("goes on after {:.1} ms", wait.waited_ms.unwrap_or(0.0)),
    };
    let limit = wait.limit.as_ref().map_or_else(String::new, |limit| format!("; {}", describe_limit(limit)));
    page.event(ts, Mark::Failure, &format!("under OOM: {place} {how}{limit}"));
}
