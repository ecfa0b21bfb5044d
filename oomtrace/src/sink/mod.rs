//! Where events go.

mod file;
mod html;
mod kinds;
mod otel;
mod outlets;
mod output;
mod queue;
mod text;
mod writer;

pub use self::{
    file::Rotation,
    html::html,
    kinds::Kinds,
    outlets::{OpenError, Outlets, Reader},
    output::Output,
    text::{escape, incident_as_text, size, text},
};

use clap::ValueEnum;

use crate::event::Line;

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line: see `oomtrace schema`.
    Json,
    /// For people.
    Text,
    /// OpenTelemetry log records: a `LogsData` object of OTLP's JSON a line.
    Otel,
}

impl Format {
    /// Every format.
    const ALL: [Self; 3] = [Self::Json, Self::Text, Self::Otel];

    /// A line in this format, with its line end.
    #[must_use]
    pub fn print(self, line: &Line) -> String {
        match self {
            // Every field is a string, a number or null, so this cannot fail.
            Self::Json => serde_json::to_string(line).map_or_else(|error| error.to_string(), |json| json + "\n"),
            Self::Text => text(line),
            Self::Otel => otel::print(line),
        }
    }
}
