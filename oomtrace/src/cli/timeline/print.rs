//! How incidents are printed.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{
    event::Line,
    sink::{self, Format, Look},
};

/// How incidents are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people: a block for each.
    Text,
    /// One JSON object a line: see `oomtrace schema`.
    Json,
    /// A page that needs nothing else, with a picture of each.
    Html,
}

/// Prints on standard output: each line when it is there, but a page when all are.
pub(super) struct Printer {
    output: Output,
    look: Look,
    out: BufWriter<Stdout>,
    page: Vec<Line>,
    /// Lines of JSON may have any length.
    whole: bool,
    unread: bool,
}

impl Printer {
    /// Text on a terminal, else JSON, unless asked for something else; `full` with details of incidents that are not of memory, and
    /// with lines of JSON longer than [`sink::LONGEST`].
    pub(super) fn new(asked: Option<Output>, full: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            output: asked.unwrap_or(if terminal { Output::Text } else { Output::Json }),
            look: Look::of_stdout().with_details(full),
            out: BufWriter::new(io::stdout()),
            page: Vec::new(),
            whole: full,
            unread: false,
        }
    }

    /// Whoever read has had enough: `oomtrace timeline … | head`.
    pub(super) fn is_unread(&self) -> bool {
        self.unread
    }

    pub(super) fn print(&mut self, line: Line) -> Result<()> {
        let text = match self.output {
            Output::Json if self.whole => Format::Json.print_whole(&line, self.look),
            Output::Json => Format::Json.print(&line, self.look),
            Output::Text => sink::incident_as_text(&line, self.look),
            Output::Html => {
                self.page.push(line);
                return Ok(());
            }
        };
        self.write(|out| out.write_all(text.as_bytes()))
    }

    pub(super) fn finish(mut self) -> Result<()> {
        let page = (self.output == Output::Html).then(|| sink::html(&self.page));
        self.write(|out| out.write_all(page.unwrap_or_default().as_bytes()).and_then(|()| out.flush()))
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) -> Result<()> {
        if self.unread {
            return Ok(());
        }
        match write(&mut self.out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.unread = true;
                Ok(())
            }
            result => result.context("standard output cannot be written to"),
        }
    }
}
