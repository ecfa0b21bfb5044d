//! What `journalctl` prints, and syslog files: a time, the host, the identifier.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Entry as Exported, Form, Head, LineError, Skipped, Wall, When, dmesg, field::Field, scan::Scan, when};

pub(super) fn read(line: &[u8]) -> Option<(Head, &[u8])> {
    let mut scan = Scan(line);
    let wall = when::journal(&mut scan)?;
    scan.tag(b" ")?;
    let mut head = Head::new(Form::Journal, When { boot_ns: None, wall: Some(wall) });
    let Some((kernel, text)) = identifier(scan.0) else {
        head.kernel = false;
        return Some((head, scan.0));
    };
    head.kernel = kernel;
    Some(stamped(head, text))
}

/// `node1 kernel: text`, or without the host (`--no-hostname`): whether it is the kernel, and the text.
pub(super) fn identifier(rest: &[u8]) -> Option<(bool, &[u8])> {
    let mut scan = Scan(rest);
    let first = scan.token();
    let named = if first.ends_with(b":") { rest } else { scan.0.strip_prefix(b" ")? };
    let named = match named.strip_prefix(b"kern.") {
        // busybox names facility and level: `node1 kern.warn kernel: text`.
        Some(level) => &level[level.iter().position(|byte| *byte == b' ')? + 1..],
        None => named,
    };
    let colon = named.iter().position(|byte| *byte == b':')?;
    let text = &named[colon + 1..];
    Some((&named[..colon] == b"kernel", text.strip_prefix(b" ").unwrap_or(text)))
}

/// `<4>Nov 23 23:20:37 node1 kernel: text` (RFC 3164), `<4>1 2026-11-23T23:20:37.158837Z node1 kernel - - - text` (RFC 5424).
pub(super) fn read_syslog(line: &[u8]) -> Option<(Head, &[u8])> {
    let mut scan = Scan(line);
    // Some files keep RFC 5424 without its priority.
    let of_kernel = match scan.tag(b"<") {
        Some(()) => {
            let priority = scan.number()?;
            scan.tag(b">")?;
            Some(priority >> 3 == 0)
        }
        None => None,
    };
    if scan.tag(b"1 ").is_none() {
        let of_kernel = of_kernel?;
        let (head, text) = read(scan.0)?;
        return Some((Head { kernel: head.kernel && of_kernel, ..head }, text));
    }
    let (timestamp, _) = when::iso(&mut scan)?;
    let mut field = || {
        scan.tag(b" ")?;
        Some(scan.token())
    };
    let (_host, name, _process, _message_id) = (field()?, field()?, field()?, field()?);
    // The kernel's messages have no structured data of their own: rsyslog writes `-`.
    let structured = field()?;
    let _ = scan.tag(b" ");
    let text = scan.0.strip_prefix("\u{feff}".as_bytes()).unwrap_or(scan.0);
    let mut head = Head::new(Form::Journal, When { boot_ns: None, wall: Some(Wall::Absolute(timestamp)) });
    head.kernel = of_kernel.unwrap_or(true) && name == b"kernel" && structured == b"-";
    Some(stamped(head, text))
}

/// The host that a line of this form names.
pub(super) fn host(line: &[u8]) -> Option<&[u8]> {
    let mut scan = Scan(line);
    if scan.tag(b"<").is_some() {
        scan.number()?;
        scan.tag(b">")?;
    }
    if scan.tag(b"1 ").is_some() {
        when::iso(&mut scan)?;
    } else {
        when::journal(&mut scan)?;
    }
    scan.tag(b" ")?;
    let first = scan.token();
    (!first.ends_with(b":") && first != b"-").then_some(first)
}

/// The kernel's own stamp before a text, where there is one.
fn stamped(mut head: Head, text: &[u8]) -> (Head, &[u8]) {
    let Some((boot_ns, caller, rest)) = dmesg::kernel_stamp(text).filter(|_| head.kernel) else { return (head, text) };
    (head.when.boot_ns, head.caller) = (Some(boot_ns), caller);
    (head, rest)
}

/// What stands before the text of an entry of the export format.
pub(super) fn head_of_entry(entry: &Exported) -> Head {
    // journald sets the transport, a process the identifier.
    let kernel = match entry.transport.as_deref() {
        Some(transport) => transport == "kernel" && entry.facility.as_deref().is_none_or(|facility| facility == "0"),
        None => entry.identifier.as_deref() == Some("kernel"),
    };
    let boot_ns = entry.monotonic.and_then(|micros| micros.checked_mul(1000));
    Head { kernel, ..Head::new(Form::Export, When { boot_ns, wall: entry.kept() }) }
}

/// The fields of an entry in `journalctl -o json` that matter (systemd.journal-fields(7)).
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: Option<Field>,
    #[serde(rename = "_TRANSPORT")]
    transport: Option<Field>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<Field>,
    #[serde(rename = "SYSLOG_FACILITY")]
    facility: Option<Field>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime: Option<Field>,
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP")]
    monotonic: Option<Field>,
    #[serde(rename = "_HOSTNAME")]
    hostname: Option<Field>,
}

/// What stands before the text of an entry, the text, and the host.
pub(super) fn read_json(line: &[u8]) -> Result<(Head, Cow<'static, str>, Option<String>), Skipped> {
    // Most lines of a whole journal are not the kernel's: do not parse those.
    let unreadable = |error| Skipped::Unreadable(error);
    let text = std::str::from_utf8(line).map_err(|_| unreadable(LineError::Json))?;
    if !text.contains("\"kernel\"") && text.ends_with('}') {
        return Err(Skipped::NotKernel);
    }
    let entry: Entry = serde_json::from_str(text).map_err(|_| unreadable(LineError::Json))?;
    // journald sets the transport, a process the identifier.
    let kernel = match &entry.transport {
        Some(transport) => transport.is("kernel") && entry.facility.as_ref().is_none_or(|facility| facility.is("0")),
        None => entry.identifier.as_ref().is_some_and(|identifier| identifier.is("kernel")),
    };
    if !kernel {
        return Err(Skipped::NotKernel);
    }
    let message = entry.message.as_ref().and_then(Field::text).ok_or(unreadable(LineError::NoMessage))?;
    let realtime = entry.realtime.as_ref().and_then(Field::micros).and_then(|micros| i64::try_from(micros).ok());
    let when = When {
        boot_ns: entry.monotonic.as_ref().and_then(Field::micros).and_then(|micros| micros.checked_mul(1000)),
        wall: realtime.and_then(|micros| Timestamp::from_microsecond(micros).ok()).map(Wall::Absolute),
    };
    let host = entry.hostname.as_ref().and_then(Field::text).map(Cow::into_owned);
    Ok((Head::new(Form::Json, when), Cow::Owned(message.into_owned()), host))
}
