//! Lines inside of what collectors and container runtimes make of them: JSON with a field for the line, and one for the time.

use jiff::Timestamp;
use serde_json::Value;

use super::{MAX_LINE_BYTES, Scan, Wall, when};

/// The fields that hold the line, the surest first: journald and Stackdriver's agents; `CloudWatch`, Elastic, Fluent Bit;
/// Stackdriver's text; Docker; Loki.
const LINE: [&str; 6] = ["MESSAGE", "message", "textPayload", "log", "line", "msg"];
/// The fields that tell when it was logged.
const TIME: [&str; 4] = ["timestamp", "@timestamp", "time", "ts"];
/// The fields that tell who logged it.
const SPEAKER: [&str; 4] = ["_TRANSPORT", "SYSLOG_IDENTIFIER", "ident", "transport"];
/// How deep in objects the fields are looked for.
const DEEPEST: u8 = 4;

/// A line, and the time that is written beside it.
pub(super) struct Inner<T> {
    pub(super) wall: Option<Wall>,
    pub(super) line: T,
}

/// `2026-11-23T23:20:37.158837000Z stdout F text`: what a container wrote (CRI), as a pod that follows the kernel's log.
pub(super) fn cri(line: &[u8]) -> Option<Inner<&[u8]>> {
    let mut scan = Scan(line);
    let (timestamp, _) = when::iso(&mut scan)?;
    scan.tag(b" stdout ").or_else(|| scan.tag(b" stderr "))?;
    scan.tag(b"F ")?;
    Some(Inner { wall: Some(Wall::Absolute(timestamp)), line: scan.0 })
}

/// `{"jsonPayload":{"MESSAGE":"text"},"timestamp":"…"}`, `{"log":"text\n","time":"…"}`. What `journalctl` prints, whole, is
/// no such: who logged it is known better there.
pub(super) fn json(text: &str) -> Option<Inner<String>> {
    if text.contains("\"__REALTIME_TIMESTAMP\"") {
        return None;
    }
    let mut found = Found::default();
    found.search(&serde_json::from_str(text).ok()?, DEEPEST);
    let (_, line) = found.line.filter(|_| !found.foreign)?;
    Some(Inner { wall: found.time.map(Wall::Absolute), line: line.trim_end().to_owned() })
}

#[derive(Default)]
struct Found {
    /// The line, and the place of its field's name among [`LINE`].
    line: Option<(usize, String)>,
    time: Option<Timestamp>,
    /// Another than the kernel logged it.
    foreign: bool,
}

impl Found {
    fn search(&mut self, value: &Value, deepest: u8) {
        let Value::Object(fields) = value else { return };
        for (name, value) in fields {
            let name = name.as_str();
            match value {
                Value::Object(_) if deepest > 0 => self.search(value, deepest - 1),
                Value::String(text) => {
                    let surer = |place: &usize| self.line.as_ref().is_none_or(|(known, _)| place < known);
                    if let Some(place) = LINE.iter().position(|known| *known == name).filter(surer) {
                        self.line = Some((place, text.clone()));
                    }
                    self.foreign |= SPEAKER.contains(&name) && text != "kernel";
                }
                _ => {}
            }
            if TIME.contains(&name) {
                self.time = self.time.or_else(|| time(value));
            }
        }
    }
}

/// RFC 3339, or seconds, milliseconds, microseconds or nanoseconds since 1970 by how many there are.
fn time(value: &Value) -> Option<Timestamp> {
    let number = match value {
        Value::String(text) => text.parse().map_or_else(|_| Err(text.parse().ok()), Ok),
        _ => Ok(value.as_i64()?),
    };
    match number {
        Err(timestamp) => timestamp,
        Ok(number @ ..100_000_000_000) => Timestamp::from_second(number).ok(),
        Ok(number @ ..100_000_000_000_000) => Timestamp::from_millisecond(number).ok(),
        Ok(number @ ..100_000_000_000_000_000) => Timestamp::from_microsecond(number).ok(),
        Ok(number) => Timestamp::from_nanosecond(number.into()).ok(),
    }
}

/// An object over several lines, each field on its own: `journalctl -o json-pretty`, and what command lines of clouds print.
#[derive(Default)]
pub(super) struct Pretty {
    /// What is there of it, and how far it is indented.
    open: Option<(Vec<u8>, usize)>,
}

/// What a line is to such an object.
pub(super) enum Piece {
    /// Nothing.
    None,
    /// A further one.
    Further,
    /// The last one: this is the object.
    Whole(Vec<u8>),
}

impl Pretty {
    /// Takes a line. Where an object may not begin, as the log has another form, one is what an app logged.
    pub(super) fn push(&mut self, line: &[u8], may_begin: bool) -> Piece {
        if self.open.is_none() && !may_begin {
            return Piece::None;
        }
        let (indent, text) = (line.len() - line.trim_ascii_start().len(), line.trim_ascii());
        if text == b"{" {
            // Of objects in a list, the innermost counts.
            self.open = Some((text.to_vec(), indent));
            return Piece::Further;
        }
        let Some((open, own)) = &mut self.open else {
            return if matches!(text, b"[" | b"]" | b"}" | b"],") { Piece::Further } else { Piece::None };
        };
        if indent == *own && matches!(text, b"}" | b"},") {
            open.push(b'}');
            return Piece::Whole(std::mem::take(&mut self.open).map_or_else(Vec::new, |(open, _)| open));
        }
        if !is_part(text) || open.len() > MAX_LINE_BYTES {
            self.open = None;
            return Piece::None;
        }
        open.extend_from_slice(text);
        Piece::Further
    }
}

/// Whether a line can be one of an object: a field, or a number in a list. Bytes are printed so where not all are text, one on
/// a line.
fn is_part(text: &[u8]) -> bool {
    let number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE,[]{}".contains(byte);
    matches!(text.first(), Some(b'"' | b'}' | b']')) || (!text.is_empty() && text.iter().all(number))
}
