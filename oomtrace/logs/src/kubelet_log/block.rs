//! A value of several lines, as klog writes it (`writeStringValue`, `internal/serialize/keyvalues.go`): `key=<` at the end of
//! the line, each line of the value behind a tab, and ` >` on a line with the keys that follow.

use super::form::{Part, Unwrapped};
use super::reader::MAX_LINE_BYTES;

/// So many lines may follow, those of others among them: a probe's output is 10 KiB at most (`pkg/probe/exec`).
const LINES: usize = 4096;
/// How rsyslog writes a tab, unless it is configured otherwise.
const ESCAPED_TAB: &str = "#011";

/// A line that ended within such a value, and what followed it so far.
pub(super) struct Block {
    line: Unwrapped<'static>,
    left: usize,
}

/// What a line is to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A part of it.
    Inside,
    /// Its last line.
    Last,
    /// Another writer's.
    Others,
    /// The writer's next message: the rest of the block never came.
    Beyond,
}

impl Block {
    /// Begins where a line ends within a value.
    pub(super) fn begun_by(line: &Unwrapped<'_>) -> Option<Self> {
        // Where each field of an entry has a line of its own, others follow.
        let begins = line.text.ends_with("=<") && line.part != Part::Field;
        begins.then(|| Self { line: line.clone().into_owned(), left: LINES })
    }

    /// Takes the next line in, if it is of the block.
    pub(super) fn take(&mut self, line: &Unwrapped<'_>) -> Next {
        self.left -= 1;
        if self.left == 0 {
            return Next::Beyond;
        }
        let same = line.identifier.is_none() || (&line.identifier, line.pid) == (&self.line.identifier, self.line.pid);
        if !same {
            return Next::Others;
        }
        // Of a message of several lines, `journalctl` moves all but the first to the right.
        let text = line.text.trim_start_matches(' ');
        if let Some(inside) = text.strip_prefix('\t').or_else(|| text.strip_prefix(ESCAPED_TAB)) {
            self.append("\n\t", inside);
            return Next::Inside;
        }
        if !text.starts_with('>') || text.len() == line.text.len() {
            return Next::Beyond;
        }
        self.append("\n ", text);
        if text.ends_with("=<") { Next::Inside } else { Next::Last }
    }

    fn append(&mut self, before: &str, text: &str) {
        let whole = self.line.text.to_mut();
        let room = MAX_LINE_BYTES.saturating_sub(whole.len() + before.len());
        if room > 0 {
            whole.push_str(before);
            whole.push_str(&text[..text.floor_char_boundary(room)]);
        }
    }

    /// All that came.
    pub(super) fn into_line(self) -> Unwrapped<'static> {
        self.line
    }
}
