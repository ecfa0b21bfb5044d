//! Incidents for people: who, what and why, then a small timeline with times from the kill or the eviction.

use std::fmt::Write as _;

use super::words::{escape, place};
use crate::event::{Confidence, Incident, IncidentState, Mark, Scenario};

/// How a terminal is told to write.
struct Paint {
    on: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn mark(&self, mark: Mark, text: &str) -> String {
        match mark {
            Mark::Kill => self.with("31", text),
            Mark::Eviction => self.with("33", text),
            Mark::Failure => self.with("35", text),
            Mark::Signal => self.with("36", text),
            Mark::Exit | Mark::Other => text.to_owned(),
        }
    }
}

/// Among events: two lines, the rest is in the events around it.
pub(super) fn write_incident(out: &mut String, ts: &str, incident: &Incident) -> std::fmt::Result {
    if incident.withdrawn {
        return match &incident.replaced_by {
            Some(other) => writeln!(out, "{ts}  INCIDENT {} is part of {other}", incident.id),
            None => writeln!(out, "{ts}  INCIDENT {} turned out to be none", incident.id),
        };
    }
    let state = match incident.state {
        IncidentState::Open if incident.revision > 1 => "goes on",
        IncidentState::Open => "opened",
        IncidentState::Closed => "closed",
    };
    let verdict = &incident.verdict;
    writeln!(out, "{ts}  INCIDENT {} {state}: {}", incident.id, headline(verdict.scenario))?;
    writeln!(out, "    {}", escape(&verdict.summary))?;
    if !verdict.advice.is_empty() {
        writeln!(out, "    advice     {}", escape(&verdict.advice))?;
    }
    writeln!(out, "    Kubernetes shows {}", shows(incident))
}

/// By itself: a block.
pub(super) fn write_block(out: &mut String, node: &str, incident: &Incident, colour: bool) -> std::fmt::Result {
    let (paint, verdict) = (Paint { on: colour }, &incident.verdict);
    let whose = pod_and_container(incident);
    let head = format!("{}  {whose}", paint.bold(headline(verdict.scenario)));
    let started = if incident.boot_time_only { since_boot(&incident.started) } else { incident.started.clone() };
    writeln!(
        out,
        "{head}\n  {}",
        paint.dim(&format!("{started}  node {}  {}  {}", escape(node), verdict.scenario.name(), incident.id))
    )?;
    writeln!(out, "  {}", escape(&verdict.summary))?;
    if !verdict.advice.is_empty() {
        writeln!(out, "  {} {}", paint.bold("What would help:"), escape(&verdict.advice))?;
    }
    writeln!(out, "  {} {}", paint.bold("Kubernetes shows:"), shows(incident))?;
    let sure = match verdict.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    };
    let missing = if verdict.missing.is_empty() {
        String::new()
    } else {
        format!("; missing: {}", escape(&verdict.missing.join("; ")))
    };
    writeln!(out, "  {} {sure}{missing}", paint.bold("Confidence:"))?;
    let width = incident.steps.iter().map(|step| offset(step.since_ms).len()).max().unwrap_or(0);
    for step in &incident.steps {
        let sign = match step.mark {
            Mark::Kill => "✗",
            Mark::Eviction => "▼",
            Mark::Failure => "!",
            Mark::Signal => "→",
            Mark::Exit => "■",
            Mark::Other => "·",
        };
        writeln!(
            out,
            "  {} {} {}",
            paint.dim(&format!("{:>width$} │", offset(step.since_ms))),
            paint.mark(step.mark, sign),
            paint.mark(step.mark, &escape(&step.what)),
        )?;
    }
    writeln!(out)
}

/// The scenario for people.
pub(in crate::sink) fn headline(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::ContainerLimit => "OOM kill: over the container's own limit",
        Scenario::PodLimit => "OOM kill: over the pod's limit",
        Scenario::AllocatableEvicted => "Evicted: pods used too much of what is allocatable",
        Scenario::NodePressureEvicted => "Evicted: the node was short of memory",
        Scenario::AllocatableOom => "OOM kill: all pods together over what is allocatable",
        Scenario::RuntimeRefused => "Gave up: an allocation was refused",
        Scenario::SystemOom => "OOM kill: the node ran out of memory",
        Scenario::UnknownLimit => "OOM kill: whose limit is not known",
        Scenario::Evicted => "Evicted: for which resource is not known",
        Scenario::OtherLimit => "OOM kill: a limit outside of Kubernetes",
        Scenario::Killed => "Killed by a process, not for memory by the kernel",
        Scenario::Crashed => "Crashed",
    }
}

/// Who an incident is about.
pub(in crate::sink) fn pod_and_container(incident: &Incident) -> String {
    match (&incident.pod, &incident.container) {
        (None, None) => {
            let unit = incident.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_deref());
            unit.map_or_else(|| "the node".to_owned(), |unit| format!("unit {}", escape(unit)))
        }
        (pod, container) => place(pod.as_ref(), container.as_ref()),
    }
}

/// What Kubernetes shows, and whether that was seen.
pub(in crate::sink) fn shows(incident: &Incident) -> String {
    let verdict = &incident.verdict;
    let expected = if verdict.kubernetes_shows_seen { "" } else { " (to be expected)" };
    format!("{}{expected}", escape(&verdict.kubernetes_shows.join(", ")))
}

/// `+12.345 s`, `-1 min 30 s`: as far from the kill as people say it.
pub(in crate::sink) fn offset(ms: f64) -> String {
    let sign = if ms < 0.0 { '-' } else { '+' };
    let ms = ms.abs();
    if ms < 60_000.0 {
        format!("{sign}{:.3} s", ms / 1000.0)
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and milliseconds of years fit"
        )]
        let seconds = (ms / 1000.0).round() as u64;
        if seconds < 3600 {
            format!("{sign}{} min {:02} s", seconds / 60, seconds % 60)
        } else {
            format!("{sign}{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
        }
    }
}

/// A time that counts from boot.
pub(in crate::sink) fn since_boot(ts: &str) -> String {
    let since = ts.parse::<jiff::Timestamp>().map(|at| at.as_duration().as_secs_f64());
    since.map_or_else(|_| ts.to_owned(), |seconds| format!("{seconds:.3} s after boot"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Source, Step, Verdict};

    #[test]
    fn distances_are_told_as_people_do() {
        for (ms, text) in [
            (0.0, "+0.000 s"),
            (-1500.0, "-1.500 s"),
            (59_999.0, "+59.999 s"),
            (90_000.0, "+1 min 30 s"),
            (7_260_000.0, "+2 h 01 min"),
        ] {
            assert_eq!(offset(ms), text);
        }
    }

    #[test]
    fn a_block_without_colour_has_no_control_character_but_line_ends() {
        let step = Step {
            ts: String::new(),
            since_ms: 0.0,
            source: Source::Kmsg,
            seq: 1,
            mark: Mark::Kill,
            what: "OOM kill: \u{1b}[31mx".to_owned(),
        };
        let verdict = Verdict {
            summary: "killed \u{7}".to_owned(),
            kubernetes_shows: vec!["nothing".to_owned()],
            ..Verdict::default()
        };
        let incident =
            Incident { started: "2026-11-23T23:20:37Z".to_owned(), steps: vec![step], verdict, ..Incident::default() };
        let mut plain = String::new();
        write_block(&mut plain, "node\u{1b}1", &incident, false).expect("text");
        assert!(plain.chars().all(|c| c == '\n' || !c.is_control()), "{plain}");
        let mut coloured = String::new();
        write_block(&mut coloured, "node1", &incident, true).expect("text");
        assert!(coloured.contains("\u{1b}[31m") && !coloured.contains("\u{1b}[31mx"), "{coloured}");
    }
}
