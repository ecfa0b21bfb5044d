//! What syslog and `journalctl` put before a text: the host, and who wrote it.

use jiff::Timestamp;

use super::{scan::Scan, when};

/// What stands behind the time: `node1 kubelet[442]: text`, or without the host (`journalctl --no-hostname`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    pub(crate) host: Option<&'a [u8]>,
    /// Who wrote it, with its process id in brackets where that is given.
    pub(crate) writer: &'a [u8],
    pub(crate) text: &'a [u8],
}

impl<'a> Named<'a> {
    /// Reads what stands behind a time and a blank.
    pub(crate) fn read(rest: &'a [u8]) -> Option<Self> {
        let mut scan = Scan(rest);
        let first = scan.token();
        let (host, named) =
            if first.ends_with(b":") { (None, rest) } else { (Some(first), scan.0.strip_prefix(b" ")?) };
        let named = match named.strip_prefix(b"kern.") {
            // busybox names facility and level: `node1 kern.warn kernel: text`.
            Some(level) => &level[level.iter().position(|byte| *byte == b' ')? + 1..],
            None => named,
        };
        // Some syslog daemons leave the blank behind the kernel's name out.
        let of_kernel = named.starts_with(b"kernel:");
        let ends = |at: &usize| of_kernel || named.get(at + 1).is_none_or(|next| *next == b' ');
        let colon = memchr::memchr_iter(b':', named).find(ends)?;
        let text = &named[colon + 1..];
        Some(Self { host, writer: &named[..colon], text: text.strip_prefix(b" ").unwrap_or(text) })
    }

    /// The writer's name and process id: `kubelet[442]`.
    pub(crate) fn name_and_pid(&self) -> (&'a [u8], Option<u32>) {
        let bracketed = || {
            let inside = self.writer.strip_suffix(b"]")?;
            let bracket = inside.iter().rposition(|byte| *byte == b'[')?;
            Some((&inside[..bracket], &inside[bracket + 1..]))
        };
        bracketed().map_or((self.writer, None), |(name, pid)| (name, number(pid)))
    }
}

/// The head and text of RFC 5424: `1 2026-11-23T23:20:49.380126Z node1 kubelet 442 - - text`, without its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rfc5424<'a> {
    pub(crate) at: Timestamp,
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) name: &'a [u8],
    pub(crate) pid: Option<u32>,
    /// It has structured data.
    pub(crate) structured: bool,
    pub(crate) text: &'a [u8],
}

impl<'a> Rfc5424<'a> {
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        let mut scan = Scan(line);
        scan.tag(b"1 ")?;
        let (at, _) = when::iso(&mut scan)?;
        let mut field = || {
            scan.tag(b" ")?;
            Some(scan.token())
        };
        let (host, name, pid, _message_id) = (field()?, field()?, field()?, field()?);
        scan.tag(b" ")?;
        let structured = scan.peek() == Some(b'[');
        if structured {
            let end = memchr::memmem::find(scan.0, b"] ").map_or(scan.0.len(), |end| end + 1);
            scan.0 = &scan.0[end..];
        } else {
            scan.token();
        }
        let _ = scan.tag(b" ");
        let text = scan.0.strip_prefix("\u{feff}".as_bytes()).unwrap_or(scan.0);
        Some(Self { at, host: (host != b"-").then_some(host), name, pid: number(pid), structured, text })
    }
}

/// `<4>`: facility and level.
pub(crate) fn priority(scan: &mut Scan<'_>) -> Option<u64> {
    scan.tag(b"<")?;
    let priority = scan.number()?;
    scan.tag(b">")?;
    Some(priority)
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
