//! What `journalctl` prints as text, and syslog files: a time, the host, the identifier.

use std::borrow::Cow;

use super::{Layer, LineError};
use crate::envelope::{
    scan::Scan,
    syslog::{self, Named, Rfc5424},
    when::{self, Wall},
};

pub(super) fn read(line: &str) -> Option<Layer<'_>> {
    let mut scan = Scan(line.as_bytes());
    let kept = when::journal(&mut scan)?;
    scan.tag(b" ")?;
    named(scan.0, Some(kept))
}

/// `[  153.158837] node1 kubelet[442]: text`: since boot, which klog's own time makes up for.
pub(super) fn monotonic(line: &str) -> Option<Layer<'_>> {
    let mut scan = Scan(line.as_bytes());
    when::since_boot(&mut scan)?;
    scan.tag(b" ")?;
    named(scan.0, None)
}

fn named(rest: &[u8], kept: Option<Wall>) -> Option<Layer<'_>> {
    let named = Named::read(rest)?;
    let (name, pid) = named.name_and_pid();
    if named.writer.iter().any(|byte| matches!(byte, b'"' | b' ')) {
        return None;
    }
    let (identifier, host) = (Some(text(name)?), named.host.and_then(text));
    Some(Layer { identifier, pid, host, ..Layer::new(text(named.text)?, kept) })
}

/// `\t"MESSAGE" : "text",`.
pub(super) fn pretty(line: &str) -> Result<Option<Layer<'_>>, LineError> {
    let Some(value) = line.strip_prefix("\t\"MESSAGE\" : ") else { return Ok(None) };
    let text: Option<String> =
        serde_json::from_str(value.strip_suffix(',').unwrap_or(value)).map_err(|_| LineError::Json)?;
    text.map(|text| Some(Layer::field(text))).ok_or(LineError::NoMessage)
}

/// `<13>1 2026-11-23T23:20:49.380126Z node1 kubelet 442 - - text` (RFC 5424), and `<13>Nov 23 23:20:49 …` (RFC 3164).
pub(super) fn syslog(line: &str) -> Option<Layer<'_>> {
    let mut scan = Scan(line.as_bytes());
    syslog::priority(&mut scan)?;
    let Some(Rfc5424 { at, host, name, pid, text: logged, .. }) = Rfc5424::read(scan.0) else {
        return read(line.get(line.len() - scan.0.len()..)?);
    };
    let (identifier, host) = (Some(text(name)?), host.and_then(text));
    Some(Layer { identifier, pid, host, ..Layer::new(text(logged)?, Some(Wall::Absolute(at))) })
}

/// A part of a line that is text.
fn text(part: &[u8]) -> Option<Cow<'_, str>> {
    std::str::from_utf8(part).ok().map(Cow::Borrowed)
}
