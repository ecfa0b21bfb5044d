//! Where events go.

mod file;
mod html;
mod outlets;
mod output;
mod queue;
mod text;
mod thin;
mod writer;

pub use self::{
    file::Rotation,
    html::html,
    outlets::{OpenError, Outlets, Reader},
    output::Output,
    text::{escape, incident_as_text, size, text},
    thin::LONGEST,
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
}

impl Format {
    /// A line in this format, with its line end: in JSON no longer than [`LONGEST`].
    #[must_use]
    pub fn print(self, line: &Line) -> String {
        match self {
            Self::Json => thin::json(line),
            Self::Text => text(line),
        }
    }

    /// The same with all that is in it: for recordings.
    #[must_use]
    pub fn print_whole(self, line: &Line) -> String {
        match self {
            Self::Json => thin::whole(line),
            Self::Text => text(line),
        }
    }
}
