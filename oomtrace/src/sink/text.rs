//! Events for people: a headline, and what stands behind it on indented lines.

mod charge;
mod ending;
mod incident;
mod node;
mod oom;
mod status;
mod words;

use std::fmt::Write as _;

pub(super) use self::incident::{headline, offset, pod_and_container, shows, since_boot};
pub use self::words::{escape, size};
use crate::event::{Event, Line};

/// One event as text, with a final line end.
#[must_use]
pub fn text(line: &Line) -> String {
    let (mut out, ts) = (String::new(), line.ts.as_str());
    // Writing to a string does not fail.
    let _ = match &line.event {
        Event::OomKill(kill) => oom::write_kill(&mut out, ts, "OOM KILL", kill),
        Event::OomDecision(kill) => oom::write_kill(&mut out, ts, "OOM decision, nobody killed", kill),
        Event::OomVictim(victim) => oom::write_victim(&mut out, ts, victim),
        Event::OomReaped(reaped) => oom::write_reaped(&mut out, ts, reaped),
        Event::PanicOnOom(panic) => oom::write_panic(&mut out, ts, panic),
        Event::UnderOom(wait) => oom::write_under_oom(&mut out, ts, wait),
        Event::ProcessExit(exit) => ending::write_exit(&mut out, ts, exit),
        Event::Signal(signal) => ending::write_signal(&mut out, ts, signal),
        Event::ChargeFailures(failures) => charge::write_failures(&mut out, ts, failures),
        Event::AllocationRefused(refused) => charge::write_refused(&mut out, ts, refused),
        Event::Pressure(pressure) => node::write_pressure(&mut out, ts, pressure),
        Event::Eviction(eviction) => node::write_eviction(&mut out, ts, eviction),
        Event::SystemOom(oom) => node::write_system_oom(&mut out, ts, oom),
        Event::Container(change) => node::write_container(&mut out, ts, change),
        Event::OutOfMemoryLog(log) => node::write_log(&mut out, ts, log),
        Event::ContainerEnded(ended) => node::write_ended(&mut out, ts, ended),
        Event::Incident(incident) => incident::write_incident(&mut out, ts, incident),
        Event::Lost(lost) => status::write_lost(&mut out, ts, lost),
        Event::Error(failure) => writeln!(out, "{ts}  ERROR {}", escape(&failure.message)),
        Event::Status(status) => status::write_status(&mut out, ts, status),
    };
    out
}

/// A line of a timeline as text, an incident as a block.
#[must_use]
pub fn incident_as_text(line: &Line, colour: bool) -> String {
    let Event::Incident(incident) = &line.event else { return text(line) };
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = incident::write_block(&mut out, &line.node, incident, colour);
    out
}
