//! JSON that wraps a line, and the logs of containers.

use std::{borrow::Cow, net::IpAddr};

use jiff::Timestamp;
use serde::Deserialize;

use super::{Layer, LineError, Part, instant};
use crate::{
    envelope::{field::Field, json as collected, when::Wall},
    kubelet_log::{
        klog::{Message, unquote},
        writer::{self, Writer},
    },
};

/// The fields of a journal entry (systemd.journal-fields(7)) and of a line of Docker's `json-file` that matter.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(rename = "MESSAGE")]
    message: Option<Field>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<Field>,
    #[serde(rename = "_COMM")]
    comm: Option<Field>,
    #[serde(rename = "_PID")]
    pid: Option<Field>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime: Option<Field>,
    #[serde(rename = "_HOSTNAME")]
    hostname: Option<Field>,
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
        && let Some(inner) = collected::read(text)
    {
        let identifier = inner.speakers.into_iter().find(|speaker| !TRANSPORTS.contains(&speaker.as_str()));
        let (identifier, host) = (identifier.map(Cow::Owned), inner.host.map(Cow::Owned));
        return Ok(Some(Layer { identifier, host, ..Layer::new(inner.line, inner.when.wall) }));
    }
    if !of_journal && !of_runtime {
        return Ok(None);
    }
    let entry: Entry<'_> = serde_json::from_str(text).map_err(|_| LineError::Json)?;
    if let Some(log) = entry.log.filter(|_| !of_journal) {
        let kept = entry.time.as_deref().and_then(instant);
        // Docker ends a line with its line end; Fluent Bit has CRI's word for it, or has put lines together.
        let part = match entry.part.as_deref() {
            Some("P") => Part::More,
            Some(_) => Part::End,
            None if log.ends_with('\n') || !text.starts_with("{\"log\":") => Part::End,
            None => Part::More,
        };
        let line = log.trim_end_matches('\n').to_owned();
        return Ok(Some(Layer { part, ..Layer::new(line, kept) }));
    }
    let micros = entry.realtime.as_ref().and_then(Field::micros).and_then(|micros| i64::try_from(micros).ok());
    let kept = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()).map(Wall::Absolute);
    let name = entry.identifier.as_ref().or(entry.comm.as_ref()).and_then(Field::text);
    let identifier = name.map(|name| Cow::Owned(name.into_owned()));
    let pid = entry.pid.as_ref().and_then(Field::micros).and_then(|pid| u32::try_from(pid).ok());
    let message = match entry.message.as_ref().and_then(Field::text) {
        Some(message) => message.into_owned(),
        None if writer::of(identifier.as_deref(), &[]) == Writer::Kubelet => return Err(LineError::NoMessage),
        // Others' need not be read.
        None => String::new(),
    };
    let host = entry.hostname.as_ref().and_then(Field::text).map(|host| Cow::Owned(host.into_owned()));
    Ok(Some(Layer { identifier, pid, host, ..Layer::new(message, kept) }))
}

/// `2026-11-23T23:20:49.380126Z stderr F text`: the runtime's form of containers' logs (`pkg/kubelet/kuberuntime/logs`).
pub(super) fn cri(line: &str) -> Option<Layer<'_>> {
    let (time, rest) = line.split_once(' ')?;
    let rest = rest.strip_prefix("stderr ").or_else(|| rest.strip_prefix("stdout "))?;
    let (tags, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let part = match tags.split(':').next()? {
        "F" => Part::End,
        "P" => Part::More,
        _ => return None,
    };
    Some(Layer { part, ..Layer::new(text, Some(instant(time)?)) })
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
