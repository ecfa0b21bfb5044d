//! How incidents are printed.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::{Args, choose::Choice, summary::Summary};
use crate::{
    event::{Event, Incident, Line},
    replay::Show,
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
struct Printer {
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
    fn new(asked: Option<Output>, full: bool) -> Self {
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

    /// The reader has had enough: `oomtrace timeline … | head`.
    fn is_unread(&self) -> bool {
        self.unread
    }

    fn print(&mut self, line: Line) -> Result<()> {
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

    fn print_summary(&mut self, summary: &Summary) -> Result<()> {
        let text = match self.output {
            Output::Json => summary.json(),
            Output::Text | Output::Html => summary.text(self.look),
        };
        self.write(|out| out.write_all(text.as_bytes()))
    }

    fn finish(mut self) -> Result<()> {
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

/// What is asked for of all incidents, printed as it is asked for: each, the newest alone, or their numbers.
pub(super) struct Shown {
    choice: Choice,
    printer: Printer,
    last: bool,
    newest: Option<Line>,
    summary: Option<Summary>,
    count: u64,
}

impl Shown {
    pub(super) fn new(args: &Args) -> Result<Self> {
        anyhow::ensure!(
            !(args.summary && args.format == Some(Output::Html)),
            "--summary is text or JSON: leave out --format html"
        );
        Ok(Self {
            choice: Choice::new(args)?,
            printer: Printer::new(args.format, args.full),
            last: args.choice.is_last(),
            newest: None,
            summary: args.summary.then(Summary::default),
            count: 0,
        })
    }

    fn show(&mut self, line: Line) -> Result<()> {
        match (&mut self.summary, &line.event) {
            (Some(summary), Event::Incident(incident)) => {
                summary.add(incident, &line.node);
                Ok(())
            }
            _ => self.printer.print(line),
        }
    }
}

impl Show for Shown {
    fn is_unread(&self) -> bool {
        self.printer.is_unread()
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn takes(&mut self, incident: &Incident, node: &str) -> bool {
        self.choice.takes(incident, node)
    }

    fn incident(&mut self, line: Line) -> Result<()> {
        self.count += 1;
        if self.last {
            if self.newest.as_ref().is_none_or(|newest| end(newest) <= end(&line)) {
                self.newest = Some(line);
            }
            return Ok(());
        }
        self.show(line)
    }

    fn other(&mut self, line: Line) -> Result<()> {
        if self.last || self.summary.is_some() { Ok(()) } else { self.printer.print(line) }
    }

    fn finish(mut self) -> Result<()> {
        self.choice.say(self.count);
        if let Some(newest) = self.newest.take() {
            self.show(newest)?;
        }
        if let Some(summary) = &self.summary {
            self.printer.print_summary(summary)?;
        }
        self.printer.finish()
    }
}

/// When an incident ended, or began where it has no end.
fn end(line: &Line) -> Option<&str> {
    match &line.event {
        Event::Incident(incident) => Some(incident.ended.as_deref().unwrap_or(&incident.started)),
        _ => None,
    }
}
