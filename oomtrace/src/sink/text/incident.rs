//! Incidents for people.

use crate::event::Incident;

pub(super) fn write_incident(out: &mut String, ts: &str, incident: &Incident) -> std::fmt::Result {
    use std::fmt::Write as _;
    writeln!(out, "{ts}  INCIDENT {}", super::escape(&incident.verdict.summary))
}
