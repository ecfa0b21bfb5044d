//! klog's text form: `Lmmdd hh:mm:ss.uuuuuu threadid file:line] msg` (`formatHeader`, `internal/buffer/buffer.go`), and for
//! structured messages `"msg" key=value …` (`internal/serialize/keyvalues.go`), where a text of several lines is a block: see
//! [`block`](super::super::block).

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::{Keys, Message, Severity, Value};
use crate::envelope::{
    scan::Scan,
    when::{LocalTime, Wall},
};

/// A value of several lines, each of which stands behind a tab.
const BLOCK_START: &str = "<\n";
const BLOCK_END: &str = "\n >";

pub(super) fn read(line: &str) -> Option<Message<'_>> {
    let mut scan = Scan(line.as_bytes());
    let severity = match scan.peek()? {
        b'I' => Severity::Info,
        b'W' => Severity::Warning,
        b'E' => Severity::Error,
        b'F' => Severity::Fatal,
        _ => return None,
    };
    scan.0 = &scan.0[1..];
    let wall = Some(Wall::Local(time(&mut scan)?));
    (scan.spaces() > 0).then_some(())?;
    // Who shortens lines leaves the thread out, or the place.
    let pid = match scan.peek()? {
        b'0'..=b'9' => {
            let pid = u32::try_from(scan.number()?).ok();
            scan.tag(b" ")?;
            pid
        }
        _ => None,
    };
    let rest = &line[line.len() - scan.0.len()..];
    if rest.starts_with('"') {
        return Some(of_body(rest, severity, wall, pid));
    }
    // A file's name, a line's number: nothing else has this shape, and nothing is read from it.
    let (place, body) = rest.split_at(memchr(b']', rest.as_bytes())?);
    (!place.bytes().any(|byte| b" \"[".contains(&byte)) && place.contains(':')).then_some(())?;
    let body = if body == "]" { "" } else { body.strip_prefix("] ")? };
    Some(of_body(body, severity, wall, pid))
}

fn of_body(body: &str, severity: Severity, wall: Option<Wall>, pid: Option<u32>) -> Message<'_> {
    let body = body.trim_end_matches(['\n', '\r']);
    if let Some((text, rest)) = unquote(body)
        && (rest.is_empty() || rest.starts_with(' '))
    {
        return Message { severity, wall, pid, text, structured: true, keys: Keys::Text(rest) };
    }
    Message { severity, wall, pid, text: Cow::Borrowed(body), structured: false, keys: Keys::Text("") }
}

/// Files of the kubelet's whose messages are known by their words, too.
const PLACES: [&str; 2] = ["eviction_manager.go:", "kuberuntime_container.go:"];
/// Messages that are known without the place, at the start of a line.
const QUOTED: [&str; 2] = ["\"Eviction manager: ", "\"Killing container with a grace period"];

/// A message whose head was cut off, whole or in part, by who posted it: `... eviction_manager.go:339] "Eviction manager: …"`.
/// Where klog's head is anywhere in the line, what stands before it is not klog's to read.
pub(super) fn read_without_head(line: &str) -> Option<Message<'_>> {
    if QUOTED.iter().any(|start| line.starts_with(start)) {
        return Some(of_body(line, Severity::Info, None, None));
    }
    let at = PLACES.iter().find_map(|place| memchr::memmem::find(line.as_bytes(), place.as_bytes()))?;
    let (before, rest) = line.split_at(at);
    if line.starts_with('{') || before.len() > MOST_BEFORE || before.contains(['"', '=']) || has_head(before) {
        return None;
    }
    let (_, rest) = rest.split_once(':')?;
    let body = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let body = body.strip_prefix(']').unwrap_or(body).strip_prefix(' ')?;
    let is_known =
        ["\"Eviction manager", "eviction manager: ", "\"Killing container", "Killing container ", "\"Evicting pod"];
    is_known.iter().any(|start| body.starts_with(start)).then(|| of_body(body, Severity::Info, None, None))
}

/// A longer text before a place is no rest of a head.
const MOST_BEFORE: usize = 80;

/// Whether klog's head is in a text: a severity with a date, a time of day.
fn has_head(text: &str) -> bool {
    let bytes = text.as_bytes();
    let starts = (0..bytes.len()).filter(|at| *at == 0 || !bytes[at - 1].is_ascii_alphanumeric());
    starts.into_iter().any(|at| {
        let mut scan = Scan(&bytes[at..]);
        matches!(scan.peek(), Some(b'I' | b'W' | b'E' | b'F')) && {
            scan.0 = &scan.0[1..];
            time(&mut scan).is_some()
        }
    })
}

/// `1123 23:24:42.998045`.
fn time(scan: &mut Scan<'_>) -> Option<LocalTime> {
    let small = |value: i32| i8::try_from(value).ok();
    let (month, day) = (small(scan.digits(2)?)?, small(scan.digits(2)?)?);
    scan.tag(b" ")?;
    let hour = small(scan.digits(2)?)?;
    scan.tag(b":")?;
    let minute = small(scan.digits(2)?)?;
    scan.tag(b":")?;
    let second = small(scan.digits(2)?)?;
    let nanosecond = scan.fraction()?;
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    valid.then_some(LocalTime { year: None, month, day, hour, minute, second: second.min(59), nanosecond })
}

/// The value of a key in ` key=value key=value`; none behind what cannot be read, as in a line that was cut.
pub(super) fn key<'a>(mut rest: &'a str, wanted: &str) -> Option<Value<'a>> {
    loop {
        rest = rest.trim_start_matches(' ');
        let (key, after) = rest.split_at(memchr(b'=', rest.as_bytes())?);
        if key.is_empty() || memchr2(b' ', b'"', key.as_bytes()).is_some() {
            return None;
        }
        let value = &after[1..];
        if key != wanted {
            rest = &value[length(value)?..];
            continue;
        }
        return Some(match value.as_bytes().first() {
            Some(b'"') => Value::Text(unquote(value)?.0),
            // What follows was cut off.
            Some(b'<') if value.len() == 1 => return None,
            Some(b'<') if value.starts_with(BLOCK_START) => Value::Text(Cow::Owned(block(value)?)),
            Some(b'{' | b'[' | b'&') => Value::Raw(&value[..length(value)?]),
            _ => Value::Text(Cow::Borrowed(&value[..length(value)?])),
        });
    }
}

/// How long the value at the start of `text` is.
fn length(text: &str) -> Option<usize> {
    match text.as_bytes().first() {
        Some(b'"') => quoted(text),
        Some(b'{' | b'[' | b'&') => bracketed(text),
        Some(b'<') if text.starts_with(BLOCK_START) => {
            Some(text.find(BLOCK_END).map_or(text.len(), |end| end + BLOCK_END.len()))
        }
        _ => Some(memchr(b' ', text.as_bytes()).unwrap_or(text.len())),
    }
}

/// The lines of a value of several; of one that was cut, those that are there.
fn block(text: &str) -> Option<String> {
    let inner = text[..length(text)?].strip_prefix(BLOCK_START)?;
    let lines: Vec<_> = inner.strip_suffix(BLOCK_END).unwrap_or(inner).split('\n').collect();
    Some(lines.iter().map(|line| line.strip_prefix('\t').unwrap_or(line)).collect::<Vec<_>>().join("\n"))
}

/// How long a quoted text is, with its quotes.
fn quoted(text: &str) -> Option<usize> {
    let (bytes, mut at) = (text.as_bytes(), 1);
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// How long a bracketed value is: JSON since klog 2.100, what Go prints for `%+v` before, where texts are not quoted.
fn bracketed(text: &str) -> Option<usize> {
    let json = text.starts_with("{\"") || text.starts_with("[\"") || text.starts_with("[{");
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_text {
            in_text = byte != b'"' || escaped;
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'"' if json => in_text = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Undoes Go's `strconv.Quote` at the start of `text`: the string, and what follows it.
pub(in crate::kubelet_log) fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let inner = text.strip_prefix('"')?;
    let end = memchr2(b'"', b'\\', inner.as_bytes())?;
    if inner.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&inner[..end]), &inner[end + 1..]));
    }
    // What is escaped at all is mostly JSON, with a quote every few bytes: too near for a search that takes many at once.
    let mut plain = Vec::with_capacity(inner.len().min(4096));
    plain.extend_from_slice(&inner.as_bytes()[..end]);
    let mut rest = &inner[end..];
    loop {
        let end = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\'))?;
        plain.extend_from_slice(&rest.as_bytes()[..end]);
        rest = match rest.as_bytes()[end] {
            b'"' => return Some((Cow::Owned(text_of(plain)), &rest[end + 1..])),
            _ => unescape(&rest[end + 1..], &mut plain)?,
        };
    }
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What follows a backslash; gives what follows that.
fn unescape<'a>(text: &'a str, plain: &mut Vec<u8>) -> Option<&'a str> {
    let kind = *text.as_bytes().first()?;
    let simple = match kind {
        b'a' => Some(7),
        b'b' => Some(8),
        b't' => Some(b'\t'),
        b'n' => Some(b'\n'),
        b'v' => Some(11),
        b'f' => Some(12),
        b'r' => Some(b'\r'),
        b'\\' | b'"' | b'\'' => Some(kind),
        _ => None,
    };
    if let Some(byte) = simple {
        plain.push(byte);
        return Some(&text[1..]);
    }
    let digits = match kind {
        b'x' => 2,
        b'u' => 4,
        b'U' => 8,
        _ => return None,
    };
    let code = u32::from_str_radix(text.get(1..=digits)?, 16).ok()?;
    if kind == b'x' {
        plain.push(u8::try_from(code).ok()?);
    } else {
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(&text[1 + digits..])
}
