//! A line whose content is compared again and again: what tells it apart is computed once.

use std::{ops::Deref, sync::OnceLock};

use oomtrace_model::Line;

use super::digest;

/// A line that is kept.
#[derive(Debug)]
pub(super) struct Digested {
    line: Line,
    of_event: OnceLock<u64>,
}

impl Digested {
    /// Tells the contents of events apart, whenever they happened.
    pub(super) fn of_event(&self) -> u64 {
        *self.of_event.get_or_init(|| digest(&self.line.event))
    }
}

impl From<Line> for Digested {
    fn from(line: Line) -> Self {
        Self { line, of_event: OnceLock::new() }
    }
}

impl Deref for Digested {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.line
    }
}
