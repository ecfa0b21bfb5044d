//! JSON that wraps a line, and the logs of containers.

use std::{borrow::Cow, net::IpAddr};

use serde::Deserialize;

use super::{Layer, LineError, Part, instant};
use crate::{
    envelope::{
        cri::{self, CriLine},
        entry::Entry,
        json::{self as collector, Inner},
        when::Wall,
    },
    kubelet_log::{
        klog::{Message, unquote},
        writer::{self, Writer},
    },
};

/// The fields of a line of Docker's `json-file`, or of Fluent Bit's.
#[derive(Deserialize)]
struct OfRuntime<'a> {
    #[serde(borrow)]
    log: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "_p")]
    part: Option<Cow<'a, str>>,
}

/// How journald gets a message, which is not who wrote it.
const TRANSPORTS: [&str; 4] = ["stdout", "syslog", "journal", "native"];

/// A line that opens as JSON: `None` where nothing known wraps it.
pub(super) fn json(text: &str) -> Result<Option<Layer<'_>>, LineError> {
    let of_journal = text.contains("\"MESSAGE\"") || text.contains("\"__REALTIME_TIMESTAMP\"");
    // What klog itself prints may have a key of that name, behind its message.
    let of_runtime = text.starts_with("{\"log\":")
        || (text.contains("\"log\":\"") || text.contains("\"log\": \"")) && !text.contains("\"msg\":");
    // A collector's, around whatever it read.
    if !of_runtime
        && !text.contains("\"__REALTIME_TIMESTAMP\"")
        && Message::read(text).is_none()
        && let Some(inner) = collector::read(text)
    {
        return Ok(Some(collected(inner)));
    }
    if !of_journal && !of_runtime {
        return Ok(None);
    }
    if of_journal { entry(text).map(Some) } else { of_runtime_file(text) }
}

/// A line that a collector kept.
pub(super) fn collected(inner: Inner) -> Layer<'static> {
    let identifier = inner.speakers.into_iter().find(|speaker| !TRANSPORTS.contains(&speaker.as_str()));
    let (identifier, host) = (identifier.map(Cow::Owned), inner.host.map(Cow::Owned));
    Layer { identifier, host, ..Layer::new(inner.line, inner.when.wall) }
}

/// An entry of the journal.
fn entry(text: &str) -> Result<Layer<'static>, LineError> {
    let entry = Entry::of_json(text).map_err(|_| LineError::Json)?;
    let kept = entry.kept();
    let identifier = entry.identifier.or(entry.comm);
    let message = match entry.message {
        Some(message) => String::from_utf8_lossy(&message).into_owned(),
        None if writer::of(identifier.as_deref(), &[]) == Writer::Kubelet => return Err(LineError::NoMessage),
        // Others' need not be read.
        None => String::new(),
    };
    let (identifier, host) = (identifier.map(Cow::Owned), entry.hostname.map(Cow::Owned));
    Ok(Layer { identifier, pid: entry.pid, host, ..Layer::new(message, kept) })
}

/// A line of a runtime's file.
fn of_runtime_file(text: &str) -> Result<Option<Layer<'_>>, LineError> {
    let OfRuntime { log, time, part } = serde_json::from_str(text).map_err(|_| LineError::Json)?;
    let Some(log) = log else { return Ok(Some(Layer::new("", None))) };
    // Docker ends a line with its line end; Fluent Bit has CRI's word for it, or has put lines together.
    let part = match part.as_deref() {
        Some("P") => Part::More,
        Some(_) => Part::End,
        None if log.ends_with('\n') || !text.starts_with("{\"log\":") => Part::End,
        None => Part::More,
    };
    let line = log.trim_end_matches('\n').to_owned();
    Ok(Some(Layer { part, ..Layer::new(line, time.as_deref().and_then(instant)) }))
}

/// `2026-11-23T23:20:49.380126Z stderr F text`.
pub(super) fn of_cri(line: &str) -> Option<Layer<'_>> {
    let CriLine { at, ends, text_at, .. } = cri::read(line.as_bytes())?;
    let part = if ends { Part::End } else { Part::More };
    Some(Layer { part, ..Layer::new(line.get(text_at..)?, Some(Wall::Absolute(at))) })
}

/// `2026-11-23T23:20:49.380126Z text`: what a container printed, with the runtime's time.
pub(super) fn stamped(line: &str) -> Option<Layer<'_>> {
    let (time, text) = line.split_once(' ').filter(|(_, text)| is_klog(text))?;
    Some(Layer::new(text, Some(instant(time)?)))
}

/// `10.0.0.2: text`: the node that it was fetched from.
pub(super) fn of_node(line: &str) -> Option<Layer<'_>> {
    let (node, text) = line.split_once(": ").filter(|(_, text)| is_klog(text))?;
    node.parse::<IpAddr>().ok()?;
    Some(Layer::new(text, None))
}

/// Whether a line begins as klog's do.
fn is_klog(text: &str) -> bool {
    text.starts_with("{\"ts\":")
        || (text.starts_with(['I', 'W', 'E', 'F']) && text.bytes().skip(1).take(4).all(|byte| byte.is_ascii_digit()))
}

/// `time="2026-11-23T23:20:38.926591338Z" level=info msg="…" component=kubelet`: logrus, as containerd prints it, and k0s
/// around what its components print. Its name for the component is the identifier.
pub(super) fn logrus(line: &str) -> Option<Layer<'_>> {
    let (time, rest) = line.strip_prefix("time=\"")?.split_once('"')?;
    let (_, quoted) = rest.split_once(" msg=")?;
    let (text, rest) = unquote(quoted).unwrap_or_else(|| {
        let (bare, rest) = quoted.split_at(quoted.find(' ').unwrap_or(quoted.len()));
        (Cow::Borrowed(bare), rest)
    });
    let component = rest.split_once(" component=").map(|(_, name)| name.split(' ').next().unwrap_or_default());
    // k0s leaves the `T` and the zone out: that is the node's local time, and no instant.
    Some(Layer { identifier: component.map(Cow::Borrowed), ..Layer::new(text, instant(time)) })
}
