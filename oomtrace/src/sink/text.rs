//! Events for people: a headline, and what stands behind it on indented lines.

use std::fmt::Write as _;

use crate::event::{
    Container, Event, Level, Limit, Line, LostFrom, OomKill, OomVictim, Pod, ProcessExit, SenderRole, Signal, Status,
    Task, Why,
};

/// One event as text, with a final line end.
#[must_use]
pub fn text(line: &Line) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = match &line.event {
        Event::OomKill(kill) => write_kill(&mut out, &line.ts, "OOM KILL", kill),
        Event::OomDecision(kill) => write_kill(&mut out, &line.ts, "OOM decision, nobody killed", kill),
        Event::OomVictim(victim) => write_victim(&mut out, &line.ts, victim),
        Event::ProcessExit(exit) => write_exit(&mut out, &line.ts, exit),
        Event::Signal(signal) => write_signal(&mut out, &line.ts, signal),
        Event::Lost(lost) => writeln!(
            out,
            "{}  LOST {} {}",
            line.ts,
            lost.count,
            match lost.from {
                LostFrom::Ring => "records: the ring buffer was full",
                LostFrom::Stdout => "lines: standard output was not read in time",
            }
        ),
        Event::Error(failure) => writeln!(out, "{}  ERROR {}", line.ts, escape(&failure.message)),
        Event::Status(status) => write_status(&mut out, &line.ts, status),
    };
    out
}

fn write_kill(out: &mut String, ts: &str, what: &str, kill: &OomKill) -> std::fmt::Result {
    let victim = &kill.victim;
    let unit = kill.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_deref());
    let place_or_unit = match unit {
        Some(unit) if kill.pod.is_none() && kill.container.is_none() => format!("unit {}", escape(unit)),
        _ => place(kill.pod.as_ref(), kill.container.as_ref()),
    };
    writeln!(out, "{ts}  {what}: {} in {place_or_unit}", who(&victim.task))?;
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
        if trigger.tgid == victim.task.tgid { "itself".to_owned() } else { who(trigger) },
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
    let others: Vec<_> = others.map(|other| format!("{} with {} points", who(&other.task), other.points)).collect();
    let others = if others.is_empty() { "no other could be killed".to_owned() } else { others.join(", ") };
    writeln!(out, "    weighed    {weighed} processes; {others}")
}

fn write_victim(out: &mut String, ts: &str, victim: &OomVictim) -> std::fmt::Result {
    let why = match victim.why {
        Why::Killed => "killed",
        Why::Group => "killed with its group",
        Why::AlreadyDying => "was dying already, not killed",
    };
    let place = place(victim.pod.as_ref(), victim.container.as_ref());
    writeln!(out, "{ts}  OOM victim: {} in {place}: {why}", who(&victim.task))
}

fn write_exit(out: &mut String, ts: &str, exit: &ProcessExit) -> std::fmt::Result {
    let how = match (exit.signal, exit.exit_code) {
        (Some(signal), _) => format!("by signal {signal}"),
        (None, Some(code)) => format!("with status {code}"),
        (None, None) => "in an unknown way".to_owned(),
    };
    let after = exit.since_mark_ms.map_or_else(String::new, |ms| format!(", {ms:.1} ms after its mark"));
    let container =
        exit.container_exit_code.map_or_else(String::new, |code| format!("; the container's exit code is {code}"));
    let place = place(exit.pod.as_ref(), exit.container.as_ref());
    writeln!(out, "{ts}  process end: {} in {place} {how}{after}{container}", who(&exit.task))
}

fn write_signal(out: &mut String, ts: &str, signal: &Signal) -> std::fmt::Result {
    let sender = match signal.sender.role {
        SenderRole::Kernel => "the kernel".to_owned(),
        SenderRole::SameContainer => format!("{} of the same container", who(&signal.sender.task)),
        SenderRole::OtherContainer => {
            let Task { pod, container, .. } = &signal.sender.task;
            format!("{} of {}", who(&signal.sender.task), place(pod.as_ref(), container.as_ref()))
        }
        SenderRole::Kubelet => format!("the kubelet, {}", who(&signal.sender.task)),
        SenderRole::Runtime => format!("the container runtime, {}", who(&signal.sender.task)),
        SenderRole::Oomd => format!("a killer for memory in user space, {}", who(&signal.sender.task)),
        SenderRole::Systemd => format!("systemd, {}", who(&signal.sender.task)),
        SenderRole::Process => who(&signal.sender.task),
    };
    let place = place(signal.pod.as_ref(), signal.container.as_ref());
    writeln!(out, "{ts}  {} to {} in {place}, sent by {sender}", signal.name, who(&signal.target))
}

fn write_status(out: &mut String, ts: &str, status: &Status) -> std::fmt::Result {
    let probes: Vec<_> = status
        .probes
        .iter()
        .map(|probe| match probe.attached {
            Some(rung) => format!("{} by {rung}", probe.symbol),
            None => format!("{} NOT ATTACHED", probe.symbol),
        })
        .collect();
    let phase = match status.phase {
        crate::event::Phase::Started => "started",
        crate::event::Phase::Stopped => "stopped",
    };
    writeln!(
        out,
        "{ts}  oomtrace {} {phase} on kernel {}: {}; {} kills, {} lost",
        status.version,
        escape(&status.kernel),
        probes.join(", "),
        status.kills,
        status.lost,
    )?;
    for degraded in &status.degraded {
        writeln!(out, "    degraded   {}", escape(degraded))?;
    }
    Ok(())
}

fn who(task: &Task) -> String {
    format!("{} (pid {})", escape(task.comm.as_deref().unwrap_or("?")), number(task.pid))
}

fn place(pod: Option<&Pod>, container: Option<&Container>) -> String {
    let pod = pod.map(|pod| match (&pod.namespace, &pod.name) {
        (Some(namespace), Some(name)) => format!("pod {}/{}", escape(namespace), escape(name)),
        _ => format!("pod {}", pod.uid),
    });
    let container = container.map(|container| match &container.name {
        Some(name) => format!("container {}", escape(name)),
        // As runtimes' own tools shorten it.
        None => format!("container {:.12}", container.id.to_string()),
    });
    match (pod, container) {
        (Some(pod), Some(container)) => format!("{pod}, {container}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "no container".to_owned(),
    }
}

fn describe_limit(limit: &Limit) -> String {
    let whose = match limit.level {
        Some(Level::Container) => "the container's",
        Some(Level::Pod) => "the pod's",
        Some(Level::Qos) => "the QoS class's",
        Some(Level::Kubepods) => "kubepods': all pods together",
        Some(Level::Node) => "the node's: RAM and swap",
        Some(Level::Other) => "a cgroup outside of Kubernetes",
        None => "not known whose",
    };
    let used = limit.usage_bytes.map_or_else(String::new, |used| format!(", used {}", size(Some(used))));
    format!("{whose}: {}{used}", size(limit.limit_bytes))
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

/// Bytes in the unit that people would choose.
fn size(bytes: Option<u64>) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let Some(bytes) = bytes else { return "?".to_owned() };
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let unit = (bytes.ilog2() / 10 - 1).min(4);
    let shift = 10 * (unit + 1);
    let tenths = (bytes >> (shift - 10)) * 10 / 1024;
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit as usize])
}

/// Text from outside, safe for a terminal: control characters are shown as escapes.
fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            // Bidirectional marks could make a line read as another.
            let hostile = c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let escaped = hostile.then(|| c.escape_default());
            let plain = (!hostile).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_unit_that_people_would_choose() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (20 << 20, "20.0 MiB"),
            ((20 << 20) - 1, "19.9 MiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(size(Some(bytes)), text);
        }
        assert_eq!(size(None), "?");
    }

    #[test]
    fn a_hostile_name_cannot_drive_the_terminal() {
        assert_eq!(escape("a\u{1b}[2J\nb\u{202e}c\"é"), "a\\u{1b}[2J\\nb\\u{202e}c\"é");
    }
}
