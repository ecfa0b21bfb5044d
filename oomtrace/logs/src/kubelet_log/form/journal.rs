//! What `journalctl` prints as text, and syslog files: a time, the host, the identifier.

use std::borrow::Cow;

use super::{Layer, LineError};
use crate::envelope::{scan::Scan, when};

pub(super) fn read(line: &str) -> Option<Layer<'_>> {
    let mut scan = Scan(line.as_bytes());
    let kept = when::journal(&mut scan)?;
    scan.tag(b" ")?;
    let rest = line.get(line.len() - scan.0.len()..)?;
    let Identified { host, who, pid, text } = identified(rest)?;
    Some(Layer { identifier: Some(who.into()), pid, host: host.map(Into::into), ..Layer::new(text, Some(kept)) })
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
    let Identified { host, who, pid, text } = identified(line.get(line.len() - scan.0.len()..)?)?;
    Some(Layer { identifier: Some(who.into()), pid, host: host.map(Into::into), ..Layer::new(text, None) })
}

/// `\t"MESSAGE" : "text",`.
pub(super) fn pretty(line: &str) -> Result<Option<Layer<'_>>, LineError> {
    let Some(value) = line.strip_prefix("\t\"MESSAGE\" : ") else { return Ok(None) };
    let text: Option<String> =
        serde_json::from_str(value.strip_suffix(',').unwrap_or(value)).map_err(|_| LineError::Json)?;
    text.map(|text| Some(Layer::field(text))).ok_or(LineError::NoMessage)
}

struct Identified<'a> {
    host: Option<&'a str>,
    who: &'a str,
    pid: Option<u32>,
    text: &'a str,
}

/// `node1 kubelet[442]: text`, or without the host (`--no-hostname`): who, its process, the text.
fn identified(rest: &str) -> Option<Identified<'_>> {
    let (first, after) = rest.split_once(' ')?;
    let (host, named) = if first.ends_with(':') { (None, rest) } else { (Some(first), after) };
    let (who, text) = named.split_once(": ").or_else(|| Some((named.strip_suffix(':')?, "")))?;
    if who.contains(['"', ' ']) {
        return None;
    }
    Some(match who.strip_suffix(']').and_then(|who| who.rsplit_once('[')) {
        Some((who, pid)) => Identified { host, who, pid: pid.parse().ok(), text },
        None => Identified { host, who, pid: None, text },
    })
}

/// `<13>1 2026-11-23T23:20:49.380126Z node1 kubelet 442 - - text` (RFC 5424), and `<13>Nov 23 23:20:49 …` (RFC 3164).
pub(super) fn rfc5424(line: &str) -> Option<Layer<'_>> {
    let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
    priority.parse::<u16>().ok()?;
    let Some(rest) = rest.strip_prefix("1 ") else { return read(rest) };
    let mut fields = rest.splitn(6, ' ');
    let kept = super::instant(fields.next()?);
    let host = Some(fields.next()?).filter(|host| *host != "-");
    let (identifier, pid, _message_id) = (fields.next()?, fields.next()?, fields.next()?);
    let structured_and_text = fields.next()?;
    let text = match structured_and_text.strip_prefix("- ") {
        Some(text) => text,
        None => structured_and_text.split_once("] ")?.1,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (identifier, host) = (Some(Cow::Borrowed(identifier)), host.map(Into::into));
    Some(Layer { identifier, pid: pid.parse().ok(), host, ..Layer::new(text, kept) })
}
