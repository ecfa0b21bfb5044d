//! Diagnostics on standard error: for a person a wrapped line with a level in front, else one with a time.

use std::{
    fmt,
    io::{self, IsTerminal as _},
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer, layer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::sink::{BOLD, DIM, Look, PLAIN, Page, RED, YELLOW};

/// Starts them.
pub(super) fn start(filter: Targets) {
    let registry = tracing_subscriber::registry().with(filter);
    // Either fails only where a subscriber is set already, which then serves.
    let _ = if io::stderr().is_terminal() {
        let for_people = ForPeople(Look::of_stderr());
        registry.with(layer().with_writer(io::stderr).with_ansi(false).event_format(for_people)).try_init()
    } else {
        registry.with(layer().with_writer(io::stderr).with_ansi(false).with_target(false)).try_init()
    };
}

/// `warning: ...`, as wide as the terminal.
struct ForPeople(Look);

impl<S, N> FormatEvent<S, N> for ForPeople
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        let (level, style) = match *event.metadata().level() {
            Level::ERROR => ("error:", RED.bold()),
            Level::WARN => ("warning:", YELLOW.bold()),
            Level::INFO => ("info:", BOLD),
            Level::DEBUG => ("debug:", DIM),
            Level::TRACE => ("trace:", DIM),
        };
        let mut page = Page::new(self.0);
        // A message of several lines keeps them.
        for (number, line) in text.lines().enumerate() {
            let first = [(level, style), (" ", PLAIN)];
            let head: &[_] = if number == 0 { &first } else { &[("  ", PLAIN)] };
            page.paragraph(head, 2, PLAIN, line);
        }
        out.write_str(&page.finish())
    }
}
