//! What `journalctl` prints as text, and syslog files: a time, the host, the identifier.

use std::borrow::Cow;

use super::{Layer, LineError};
use crate::source::log_form::{scan::Scan, when};

pub(super) fn read(line: &str) -> Option<Layer<'_>> {
    let mut scan = Scan(line.as_bytes());
    let kept = when::journal(&mut scan)?;
    scan.tag(b" ")?;
    let rest = line.get(line.len() - scan.0.len()..)?;
    let (identifier, pid, text) = identified(rest)?;
    Some(Layer { identifier: Some(Cow::Borrowed(identifier)), pid, ..Layer::new(text, Some(kept)) })
}

/// `[  153.158837] node1 kubelet[442]: text`: since boot, which klog's own time makes up for.
pub(super) fn monotonic(line: &str) -> Option<Layer<'_>> {
    let mut scan = Scan(line.as_bytes());
    scan.tag(b"[")?;
    scan.spaces();
    scan.number()?;
    scan.fraction()?;
    scan.delta()?;
    scan.tag(b"] ")?;
    let (identifier, pid, text) = identified(line.get(line.len() - scan.0.len()..)?)?;
    Some(Layer { identifier: Some(Cow::Borrowed(identifier)), pid, ..Layer::new(text, None) })
}

/// `\t"MESSAGE" : "text",`.
pub(super) fn pretty(line: &str) -> Result<Option<Layer<'_>>, LineError> {
    let Some(value) = line.strip_prefix("\t\"MESSAGE\" : ") else { return Ok(None) };
    let text: Option<String> =
        serde_json::from_str(value.strip_suffix(',').unwrap_or(value)).map_err(|_| LineError::Json)?;
    text.map(|text| Some(Layer::field(text))).ok_or(LineError::NoMessage)
}

/// `node1 kubelet[442]: text`, or without the host (`--no-hostname`): who, its process, the text.
fn identified(rest: &str) -> Option<(&str, Option<u32>, &str)> {
    let (first, after) = rest.split_once(' ')?;
    let named = if first.ends_with(':') { rest } else { after };
    let (who, text) = named.split_once(": ").or_else(|| Some((named.strip_suffix(':')?, "")))?;
    if who.contains(['"', ' ']) {
        return None;
    }
    match who.strip_suffix(']').and_then(|who| who.rsplit_once('[')) {
        Some((who, pid)) => Some((who, pid.parse().ok(), text)),
        None => Some((who, None, text)),
    }
}

/// `<13>1 2026-11-23T23:20:49.380126Z node1 kubelet 442 - - text` (RFC 5424), and `<13>Nov 23 23:20:49 …` (RFC 3164).
pub(super) fn rfc5424(line: &str) -> Option<Layer<'_>> {
    let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
    priority.parse::<u16>().ok()?;
    let Some(rest) = rest.strip_prefix("1 ") else { return read(rest) };
    let mut fields = rest.splitn(6, ' ');
    let kept = super::instant(fields.next()?);
    let _host = fields.next()?;
    let (identifier, pid, _message_id) = (fields.next()?, fields.next()?, fields.next()?);
    let structured_and_text = fields.next()?;
    let text = match structured_and_text.strip_prefix("- ") {
        Some(text) => text,
        None => structured_and_text.split_once("] ")?.1,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Some(Layer { identifier: Some(Cow::Borrowed(identifier)), pid: pid.parse().ok(), ..Layer::new(text, kept) })
}
