//! Events for people: a line each, wrapped to the screen that it is read on; an incident in a block.

mod charge;
mod ending;
mod incident;
mod look;
mod node;
mod oom;
mod page;
mod status;
mod words;

pub(crate) use self::page::{BOLD, DIM, GREEN, PLAIN, Page, RED, YELLOW};
use self::words::{place, who};
pub(super) use self::{
    incident::{headline, offset, pod_and_container, shape, shows, since_boot},
    status::count,
    words::is_hostile,
};
pub use self::{
    look::Look,
    words::{escape, size},
};
use crate::event::{Event, LimitChanged, LimitKind, Line, Mark, Status};

/// One event as text, with a final line end.
#[must_use]
pub fn text(line: &Line, look: Look) -> String {
    let (mut page, ts) = (Page::new(look), line.ts.as_str());
    match &line.event {
        Event::OomKill(kill) => oom::write_kill(&mut page, ts, "OOM kill", kill),
        Event::OomDecision(kill) => oom::write_kill(&mut page, ts, "OOM decision, nobody killed", kill),
        Event::OomVictim(victim) => oom::write_victim(&mut page, ts, victim),
        Event::OomReaped(reaped) => oom::write_reaped(&mut page, ts, reaped),
        Event::LimitAhead(ahead) => oom::write_limit_ahead(&mut page, ts, ahead),
        Event::LimitChanged(changed) => write_limit_changed(&mut page, ts, changed),
        Event::PanicOnOom(panic) => oom::write_panic(&mut page, ts, panic),
        Event::UnderOom(wait) => oom::write_under_oom(&mut page, ts, wait),
        Event::ProcessExit(exit) => ending::write_exit(&mut page, ts, exit),
        Event::Signal(signal) => ending::write_signal(&mut page, ts, signal),
        Event::ChargeFailures(failures) => charge::write_failures(&mut page, ts, failures),
        Event::AllocationRefused(refused) => charge::write_refused(&mut page, ts, refused),
        Event::Pressure(pressure) => node::write_pressure(&mut page, ts, pressure),
        Event::Eviction(eviction) => node::write_eviction(&mut page, ts, eviction),
        Event::SystemOom(oom) => node::write_system_oom(&mut page, ts, oom),
        Event::Container(change) => node::write_container(&mut page, ts, change),
        Event::OutOfMemoryLog(log) => node::write_log(&mut page, ts, log),
        Event::ContainerEnded(ended) => node::write_ended(&mut page, ts, ended),
        Event::Incident(incident) => incident::write_incident(&mut page, ts, &line.node, incident),
        Event::Lost(lost) => status::write_lost(&mut page, ts, lost),
        Event::Error(failure) => page.notice(ts, RED, &format!("ERROR {}", escape(&failure.message))),
        Event::Status(status) => status::write_status(&mut page, ts, &line.node, status),
    }
    page.finish()
}

fn write_limit_changed(page: &mut Page, ts: &str, changed: &LimitChanged) {
    let limit = match changed.limit_kind {
        Some(LimitKind::High) => "memory.high",
        Some(LimitKind::SwapMax) => "memory.swap.max",
        Some(LimitKind::MemoryAndSwapMax) => "the limit of memory and swap",
        Some(LimitKind::Max) | None => "the memory limit",
    };
    let amount = |bytes: Option<u64>| bytes.map_or_else(|| "none".to_owned(), |bytes| size(Some(bytes)));
    let (from, to) = (amount(changed.from_bytes), amount(changed.to_bytes));
    let by = changed.set_by.as_ref().map_or_else(String::new, |by| format!(" by {}", who(by)));
    let place = place(changed.pod.as_ref(), changed.container.as_ref());
    page.event(ts, Mark::Other, &format!("limit changed: {limit} of {place} from {from} to {to}{by}"));
}

/// The first line of an event as text, without its time and its sign.
pub(super) fn sentence(line: &Line) -> String {
    let text = text(line, Look::plain());
    let first = text.lines().next().unwrap_or_default();
    let words = first.split_once("Z  ").and_then(|(_, marked)| marked.split_once(' '));
    words.map_or(first, |(_, words)| words).to_owned()
}

/// A line of a timeline as text, an incident with all that is known of it.
#[must_use]
pub fn incident_as_text(line: &Line, look: Look) -> String {
    let Event::Incident(incident) = &line.event else { return text(line, look) };
    let mut page = Page::new(look);
    incident::write_block(&mut page, &line.node, incident);
    page.finish()
}

/// What is said at the start, where no output has the status.
#[must_use]
pub fn start_up(node: &str, status: &Status, look: Look) -> String {
    let mut page = Page::new(look);
    status::write_start(&mut page, node, status);
    page.finish()
}
