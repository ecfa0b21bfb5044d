//! Where events go.

mod file;
mod html;
mod k8s_events;
mod kinds;
mod otel;
mod otlp;
mod outlets;
mod output;
mod queue;
mod retry;
mod text;
mod thin;
mod web;
mod writer;

pub(crate) use self::text::{BOLD, DIM, GREEN, PLAIN, Page, RED, YELLOW};
pub use self::{
    file::Rotation,
    html::html,
    k8s_events::{Access as KubernetesAccess, KubernetesEvents},
    kinds::Kinds,
    otlp::{Access as OtlpAccess, Beside as BesideOtlp, Endpoint, Header, Otlp, Protocol},
    outlets::{OpenError, Outlets, StdoutReader},
    output::Output,
    text::{Look, escape, incident_as_text, size, start_up, text},
    thin::LONGEST,
    web::Web,
};
pub(crate) use self::{queue::News, writer::Writer};

use clap::ValueEnum;

use crate::event::Line;

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line: see `oomtrace schema`.
    #[value(alias = "jsonl")]
    Json,
    /// For people.
    Text,
    /// OpenTelemetry log records: a `LogsData` object of OTLP's JSON a line.
    Otel,
}

impl Format {
    /// A line in this format, with its line end; `look` is of text alone. Where it is no text for people, it is no longer than
    /// [`LONGEST`].
    #[must_use]
    pub fn print(self, line: &Line, look: Look) -> String {
        match self {
            Self::Text => text(line, look),
            Self::Json | Self::Otel => thin::fitting(line, |line| self.print_whole(line, look)),
        }
    }

    /// The same with all that is in the line: for recordings.
    #[must_use]
    pub fn print_whole(self, line: &Line, look: Look) -> String {
        match self {
            // Every field is a string, a number or null, so this cannot fail.
            Self::Json => serde_json::to_string(line).map_or_else(|error| error.to_string(), |json| json + "\n"),
            Self::Text => text(line, look),
            Self::Otel => otel::print(line),
        }
    }
}
