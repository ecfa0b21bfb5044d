//! What `journalctl` prints, and syslog files: a time, the host, the identifier.

use super::{
    Entry, Form, Head, LineError, Skipped, Wall, When, dmesg,
    scan::Scan,
    syslog::{self, Named, Rfc5424},
    when,
};

pub(super) fn read(line: &[u8]) -> Option<(Head, &[u8])> {
    let mut scan = Scan(line);
    let wall = when::journal(&mut scan)?;
    scan.tag(b" ")?;
    let mut head = Head::new(Form::Journal, When { boot_ns: None, wall: Some(wall) });
    let named = Named::read(scan.0);
    head.kernel = named.is_some_and(|named| named.writer == b"kernel");
    Some(stamped(head, named.map_or(scan.0, |named| named.text)))
}

/// `<4>Nov 23 23:20:37 node1 kernel: text` (RFC 3164), `<4>1 2026-11-23T23:20:37.158837Z node1 kernel - - - text` (RFC 5424).
pub(super) fn read_syslog(line: &[u8]) -> Option<(Head, &[u8])> {
    let mut scan = Scan(line);
    let priority = syslog::priority(&mut scan);
    let of_kernel = priority.map(|priority| priority >> 3 == 0);
    if let Some(Rfc5424 { at, name, structured, text, .. }) = Rfc5424::read(scan.0) {
        let mut head = Head::new(Form::Journal, When { boot_ns: None, wall: Some(Wall::Absolute(at)) });
        // The kernel's messages have no structured data of their own. Some files keep this form without its priority.
        head.kernel = of_kernel.unwrap_or(true) && name == b"kernel" && !structured;
        return Some(stamped(head, text));
    }
    let of_kernel = of_kernel?;
    let (head, text) = read(scan.0)?;
    Some((Head { kernel: head.kernel && of_kernel, ..head }, text))
}

/// The host that a line of this form names.
pub(super) fn host(line: &[u8]) -> Option<&[u8]> {
    let mut scan = Scan(line);
    let _ = syslog::priority(&mut scan);
    if let Some(Rfc5424 { host, .. }) = Rfc5424::read(scan.0) {
        return host;
    }
    when::journal(&mut scan)?;
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

/// What stands before the text of an entry.
pub(super) fn head_of_entry(entry: &Entry, form: Form) -> Head {
    let when = When { boot_ns: entry.boot_ns(), wall: entry.kept() };
    Head { kernel: entry.is_of_kernel(), ..Head::new(form, when) }
}

/// An entry in JSON that is the kernel's, and has a message.
pub(super) fn read_json(line: &[u8]) -> Result<Entry, Skipped> {
    // Most lines of a whole journal are not the kernel's: do not parse those.
    let unreadable = |error| Skipped::Unreadable(error);
    let text = std::str::from_utf8(line).map_err(|_| unreadable(LineError::Json))?;
    if !text.contains("\"kernel\"") && text.ends_with('}') {
        return Err(Skipped::NotKernel);
    }
    let entry = Entry::of_json(text).map_err(|_| unreadable(LineError::Json))?;
    match entry.message {
        _ if !entry.is_of_kernel() => Err(Skipped::NotKernel),
        None => Err(unreadable(LineError::NoMessage)),
        Some(_) => Ok(entry),
    }
}
