//! The journal's export format (`journalctl -o export`, systemd's "Journal Export Formats"): entries of fields, with an
//! empty line between. A field is `NAME=value` on a line, or, where the value is not all text, `NAME` on a line, its size
//! as eight bytes, little-endian, the value, and a line end.

use super::entry::Entry;

/// How every log in this format begins.
const FIRST_FIELD: &[u8] = b"__CURSOR=";

/// Whether a log is in this format, by how it begins.
#[must_use]
pub fn is_export(start: &[u8]) -> bool {
    start.starts_with(FIRST_FIELD)
}

/// Reads entries out of bytes cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Export {
    entry: Entry,
    state: State,
    /// What is there of the line, or of the value's size.
    open: Vec<u8>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Line,
    /// The size of a value follows.
    Size(Option<Field>),
    /// So much of a value, and its line end, follow.
    Value(Option<Field>, u64),
}

/// The fields that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Message,
    Identifier,
    Comm,
    Pid,
    Realtime,
    Monotonic,
    Transport,
    Facility,
    Hostname,
}

impl Entry {
    fn set(&mut self, field: Field, value: &[u8]) {
        let text = || String::from_utf8_lossy(value);
        match field {
            Field::Message => self.message = Some(value.to_vec()),
            Field::Identifier => self.identifier = Some(text().into_owned()),
            Field::Comm => self.comm = Some(text().into_owned()),
            Field::Pid => self.pid = text().parse().ok(),
            Field::Realtime => self.micros = text().parse().ok(),
            Field::Monotonic => self.monotonic = text().parse().ok(),
            Field::Transport => self.transport = Some(text().into_owned()),
            Field::Facility => self.facility = Some(text().into_owned()),
            Field::Hostname => self.hostname = Some(text().into_owned()),
        }
    }
}

impl Export {
    /// Reads bytes; gives each entry that is whole to `whole`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], limit: usize, mut whole: impl FnMut(&Entry)) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Line => self.line(bytes, limit, &mut whole),
                State::Size(field) => self.size(field, bytes),
                State::Value(field, left) => self.value(field, left, bytes, limit),
            };
        }
    }

    /// The log ends: the last entry has no empty line after it.
    pub(crate) fn finish(&mut self, whole: impl FnOnce(&Entry)) {
        let entry = std::mem::take(self).entry;
        if entry.message.is_some() {
            whole(&entry);
        }
    }

    fn line<'a>(&mut self, bytes: &'a [u8], limit: usize, whole: &mut impl FnMut(&Entry)) -> &'a [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        self.open.extend_from_slice(&piece[..piece.len().min(limit.saturating_sub(self.open.len()))]);
        let Some(end) = end else { return &[] };
        let line = std::mem::take(&mut self.open);
        if line.is_empty() {
            whole(&std::mem::take(&mut self.entry));
        } else if let Some(equals) = memchr::memchr(b'=', &line) {
            if let Some(field) = Field::named(&line[..equals]) {
                self.entry.set(field, &line[equals + 1..]);
            }
        } else {
            self.state = State::Size(Field::named(&line));
        }
        &bytes[end + 1..]
    }

    fn size<'a>(&mut self, field: Option<Field>, bytes: &'a [u8]) -> &'a [u8] {
        let (piece, rest) = bytes.split_at(bytes.len().min(8 - self.open.len()));
        self.open.extend_from_slice(piece);
        if let Ok(size) = <[u8; 8]>::try_from(self.open.as_slice()) {
            self.open.clear();
            self.state = State::Value(field, u64::from_le_bytes(size).saturating_add(1));
        }
        rest
    }

    fn value<'a>(&mut self, field: Option<Field>, left: u64, bytes: &'a [u8], limit: usize) -> &'a [u8] {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (piece, rest) = bytes.split_at(here);
        if field.is_some() {
            self.open.extend_from_slice(&piece[..piece.len().min(limit.saturating_sub(self.open.len()))]);
        }
        let left = left - here as u64;
        self.state = State::Value(field, left);
        if left == 0 {
            let value = std::mem::take(&mut self.open);
            if let Some(field) = field {
                self.entry.set(field, value.strip_suffix(b"\n").unwrap_or(&value));
            }
            self.state = State::Line;
        }
        rest
    }
}

impl Field {
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"MESSAGE" => Some(Self::Message),
            b"SYSLOG_IDENTIFIER" => Some(Self::Identifier),
            b"_COMM" => Some(Self::Comm),
            b"_PID" => Some(Self::Pid),
            b"__REALTIME_TIMESTAMP" => Some(Self::Realtime),
            b"_SOURCE_MONOTONIC_TIMESTAMP" => Some(Self::Monotonic),
            b"_TRANSPORT" => Some(Self::Transport),
            b"SYSLOG_FACILITY" => Some(Self::Facility),
            b"_HOSTNAME" => Some(Self::Hostname),
            _ => None,
        }
    }
}
