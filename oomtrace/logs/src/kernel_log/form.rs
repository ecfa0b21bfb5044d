//! One line of a kernel log, in any of the forms it is kept in.
//!
//! | form | a line |
//! |---|---|
//! | `/dev/kmsg` (`Documentation/ABI/testing/dev-kmsg`) | `4,500,153158837,-,caller=T1090;text`, then ` KEY=value` lines |
//! | `dmesg`, the console | `[  153.158837] text`, `[  153.158837][ T1090] text` (`CONFIG_PRINTK_CALLER`) |
//! | `dmesg -T` | `[Mon Nov 23 23:20:37 2026] text` |
//! | `dmesg --time-format iso` | `2026-11-23T23:20:37,158837+00:00 text` |
//! | `dmesg -r`, `dmesg -x` | `<4>` or `kern  :warn  : ` before one of the above |
//! | `dmesg -H` | `[Nov23 23:20] text`, `[  +0.000123] text`: the text is read, the time is not |
//! | `journalctl` (`short`, `short-precise`), syslog | `Nov 23 23:20:37 node1 kernel: text` |
//! | `journalctl -o short-iso`, `short-iso-precise`, rsyslog | `2026-11-23T23:20:38.248961+00:00 node1 kernel: text` |
//! | `journalctl -o short-full`, `short-unix` | `Mon 2026-11-23 23:20:37 UTC node1 kernel: text`, `1795475954.137400 node1 …` |
//! | `journalctl -o short-monotonic` | `[  153.158837] node1 kernel: text` |
//! | `dmesg -d`, `journalctl -o short-delta` | ` <    0.000125>` or ` <    0.000125 >` behind the time in one of the above |
//! | `journalctl -o json`, `json-sse` | `{"MESSAGE":…}`, `data: {"MESSAGE":…}` |
//! | `journalctl -o export` | entries of many lines, which are read as such |
//! | RFC 3164, RFC 5424 | `<4>Nov 23 23:20:37 node1 kernel: text`, `<4>1 2026-11-23T23:20:37.158837Z node1 kernel - - - text` |
//! | `talosctl dmesg` | `10.0.0.2: kern: warning: [2026-11-23T23:20:37.158837Z]: text` |
//! | syslogd of busybox, `logread` | `Nov 23 23:20:37 node1 kern.warn kernel: text`, `Mon Nov 23 23:20:37 2026 kern.warn kernel: text` |
//! | collectors, in JSON | `{"jsonPayload":{"MESSAGE":"…"}}`, `{"log":"…"}`, also over several lines: a line in one of the above |
//! | CRI | `2026-11-23T23:20:37.158837Z stdout F `, and a line in one of the above |
//! | `journalctl -o cat`, or cut out by hand | `text`, `kernel: text` |
//!
//! Each line is looked at by itself, as files are mixed and cut; only what continues a line depends on the one before.
//! Ubuntu's rsyslog writes the kernel's stamp after its own (`Nov 23 23:20:37 node1 kernel: [  153.158837] text`): both
//! are read. Colours are taken off. Behind a head of one word that is not known (`grep -n`, `> `) a line is looked for.

mod behind;
mod dmesg;
mod journal;
mod kmsg;
mod talos;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use crate::envelope::when::{LocalTime, Wall, When};
use crate::{
    envelope::{
        cri,
        entry::Entry,
        json::{self, Inner, Piece, Pretty},
        learnt::{self, LineKind},
        loki, scan, syslog, when,
    },
    memory_killer,
};

/// Of a longer line, only so much is read. The kernel's own are under 1 KiB (`LOG_LINE_MAX`, `PRINTKRB_RECORD_MAX`:
/// `kernel/printk/`), escaped under 4 KiB, and journald's JSON of one under 10 KiB.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// So many collectors may have wrapped a line, one after the other.
const MOST_WRAPS: u8 = 3;

/// Lines that were pasted are not indented farther. `journalctl` indents what continues a message behind a time and a name.
const MOST_INDENT: usize = 15;

const ESCAPE: u8 = 0x1b;
/// Names of nodes that are kept.
const MOST_HOSTS: usize = 16;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The kernel said this.
    Kernel(Message<'a>),
    /// A user-space OOM killer wrote it into the kernel's log.
    Killer(Message<'a>),
    /// Nothing of the kernel's. Callers count these by their reason.
    Skipped(Skipped),
}

/// What the kernel said, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// When.
    pub when: When,
    /// The record's number since boot, in `/dev/kmsg`'s form only: a gap is a record lost.
    pub sequence: Option<u64>,
    /// Who said it, where the kernel is built to tell (`CONFIG_PRINTK_CALLER`).
    pub caller: Option<Caller>,
    /// The text without any head. It may contain line ends where the form escapes them. Bytes that are not UTF-8 are
    /// replaced by U+FFFD.
    pub text: Cow<'a, str>,
    /// Whether this is a further line of the same record: forms without escapes break a record at its line ends.
    pub continues: bool,
}

impl Message<'_> {
    fn beside(self, outer: When) -> Self {
        let When { boot_ns, wall } = self.when;
        Self { when: When { boot_ns: boot_ns.or(outer.boot_ns), wall: wall.or(outer.wall) }, ..self }
    }

    fn into_owned(self) -> Message<'static> {
        Message { text: Cow::Owned(self.text.into_owned()), ..self }
    }
}

/// Who called `printk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The task with this thread id.
    Task(u32),
    /// Not a task: an interrupt on this processor.
    Cpu(u32),
}

/// Why a line is not the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skipped {
    /// Nothing on it.
    Blank,
    /// Another identifier, facility or transport than the kernel's.
    NotKernel,
    /// ` SUBSYSTEM=acpi`: a property of the record before, in `/dev/kmsg`'s form; or a part of an object in JSON.
    Property,
    /// `-- Boot 2d2f… --`: `journalctl` speaks.
    Marker,
    /// `[57B blob data]`: the kernel's, but `journalctl` does not print what is not text. It does with `-a`.
    Blob,
    /// It cannot be read.
    Unreadable(LineError),
}

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum LineError {
    /// In a file whose lines have a time in front.
    #[error("this line has no time in front, as the lines before it have: was it cut?")]
    NoHead,
    /// Opens as JSON.
    #[error("not a journal entry in JSON: was it cut? `journalctl -o json` prints one on each line")]
    Json,
    /// The field is `null` or missing.
    #[error("the journal entry's MESSAGE is not printed: it is over 4 KiB; `journalctl --all -o json` prints it")]
    NoMessage,
}

impl Line<'_> {
    fn into_owned(self) -> Line<'static> {
        match self {
            Line::Kernel(message) => Line::Kernel(message.into_owned()),
            Line::Killer(message) => Line::Killer(message.into_owned()),
            Line::Skipped(why) => Line::Skipped(why),
        }
    }
}

/// What stands before a line's text.
#[derive(Clone, Copy)]
struct Head {
    form: Form,
    when: When,
    sequence: Option<u64>,
    caller: Option<Caller>,
    kernel: bool,
}

impl Head {
    fn new(form: Form, when: When) -> Self {
        Self { form, when, sequence: None, caller: None, kernel: true }
    }
}

/// The families of forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/dev/kmsg`.
    Kmsg,
    /// `dmesg`, the console.
    Dmesg,
    /// `journalctl` in its text forms, syslog.
    Journal,
    /// `journalctl -o json`.
    Json,
    /// `journalctl -o export`.
    Export,
    /// `talosctl dmesg`.
    Talos,
    /// Texts without anything in front: `journalctl -o cat`.
    Bare,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Kmsg => "/dev/kmsg",
            Self::Dmesg => "dmesg",
            Self::Journal => "journal or syslog",
            Self::Json => "journal in JSON",
            Self::Export => "journal in its export format",
            Self::Talos => "talosctl dmesg",
            Self::Bare => "bare messages",
        })
    }
}

/// Reads a log line by line.
#[derive(Default)]
pub struct LineReader {
    last: Option<Last>,
    /// The log began with a line without a head, so such lines are its form.
    headless: bool,
    /// How many lines were read while all were indented, as they were pasted so.
    indented: usize,
    /// See [`LineReader::disowns_first`].
    disowns_first: bool,
    pretty: Pretty,
    /// The last line that could be read was JSON, or in JSON.
    json: bool,
    /// In `short-monotonic`, whose lines look like dmesg's, the host that they all name.
    host: Option<Vec<u8>>,
    /// The hosts that the kernel's lines name.
    hosts: Vec<String>,
}

/// The line before, as far as the next may continue it.
struct Last {
    form: Form,
    when: When,
    sequence: Option<u64>,
    caller: Option<Caller>,
    kernel: bool,
    /// Where its text began: `dmesg` and `journalctl` indent further lines of a record so far.
    column: usize,
}

impl LineReader {
    /// A reader at the start of a log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The form of the last line that could be read.
    #[must_use]
    pub fn form(&self) -> Option<Form> {
        self.last.as_ref().map(|last| last.form).or_else(|| self.headless.then_some(Form::Bare))
    }

    /// The hosts that the kernel's lines name.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    fn note_host(&mut self, host: &[u8]) {
        let known = self.hosts.iter().any(|known| known.as_bytes() == host);
        // What stands in its place may be the rest of a time: `[2026-11-23 23:20:37 UTC] kernel: `.
        let is_name =
            host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(byte) || !byte.is_ascii());
        if !known && is_name && !host.is_empty() && self.hosts.len() < MOST_HOSTS {
            self.hosts.push(String::from_utf8_lossy(host).into_owned());
        }
    }

    /// Reads a line, with or without its line end.
    pub fn read<'a>(&mut self, line: &'a [u8]) -> Line<'a> {
        self.disowns_first = false;
        let line = &line[..line.len().min(MAX_LINE_BYTES)];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        // Consoles add their own.
        let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
        let line = line[..end].strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line[..end]);
        match self.pretty.push(line, self.json || self.last.is_none()) {
            Piece::Further => return Line::Skipped(Skipped::Property),
            Piece::Whole(object) => return self.json(&object, MOST_WRAPS).into_owned(),
            Piece::None => {}
        }
        if line.contains(&ESCAPE) {
            // All forms escape what the kernel said: an escape sequence is the printing program's.
            return self.read_indented(&learnt::without_colours(line)).into_owned();
        }
        self.read_indented(line)
    }

    /// Whether the last line shows that the first, which was indented as if pasted, went on with one that was cut off, and
    /// was anybody's.
    pub(super) fn disowns_first(&self) -> bool {
        self.disowns_first
    }

    /// Takes off what a log was indented by that was pasted. Only such a log begins so, or one whose first line goes on with
    /// one that was cut off: the next line tells.
    fn read_indented<'a>(&mut self, line: &'a [u8]) -> Line<'a> {
        let text = line.trim_ascii_start();
        let indent = line.len() - text.len();
        let first = self.last.is_none() && !self.headless;
        if text.is_empty() {
            return Line::Skipped(Skipped::Blank);
        }
        if first && indent > MOST_INDENT {
            return Line::Skipped(Skipped::Unreadable(LineError::NoHead));
        }
        let pasted = first && indent > 0 && journal::read(line).is_none() && behind::of_kernel(text).is_some();
        if indent > 0 && (pasted || self.indented > 0) {
            self.indented += 1;
            return self.read_plain(text, MOST_WRAPS);
        }
        let alone = std::mem::take(&mut self.indented) == 1;
        let read = self.read_plain(line, MOST_WRAPS);
        self.disowns_first = alone && !matches!(read, Line::Skipped(Skipped::Unreadable(_)));
        read
    }

    /// Reads a line that is inside of as many others as `wraps` leaves of [`MOST_WRAPS`].
    fn read_plain<'a>(&mut self, line: &'a [u8], wraps: u8) -> Line<'a> {
        match line.first() {
            None => return Line::Skipped(Skipped::Blank),
            // A month of one digit has a blank before it in some languages.
            Some(b' ') if line.get(1).is_some_and(u8::is_ascii_digit) && journal::read(line).is_some() => {}
            Some(b' ') => {
                if let Some(continued) = self.continued(line) {
                    return continued;
                }
            }
            Some(b'{' | 0x1e) => return self.json(line, wraps),
            // `journalctl -o json-sse`.
            Some(b'd') if line.starts_with(b"data: {") => return self.json(&line[6..], wraps),
            Some(b'-') if line.starts_with(b"-- ") => return Line::Skipped(Skipped::Marker),
            Some(_) => {}
        }
        if let Some(cri) = cri::read(line).filter(|cri| cri.ends && wraps > 0) {
            let read = self.read_plain(&line[cri.text_at..], wraps - 1);
            return beside(read, When { boot_ns: None, wall: Some(Wall::Absolute(cri.at)) });
        }
        if let Some(inner) = std::str::from_utf8(line).ok().and_then(loki::read) {
            return self.collected(inner, Skipped::NotKernel, wraps);
        }
        let read = kmsg::read(line)
            .or_else(|| dmesg::read(line, &mut self.host))
            .or_else(|| journal::read(line))
            .or_else(|| journal::read_syslog(line))
            .or_else(|| talos::read(line))
            .or_else(|| if self.last.is_none() { dmesg::without_bracket(line) } else { None })
            .or_else(|| if self.headless { None } else { behind::find(line) });
        let Some((head, text)) = read else { return self.without_head(line) };
        if head.form == Form::Journal && head.kernel {
            let monotonic = self.host.clone();
            self.note_host(monotonic.as_deref().or_else(|| journal::host(line)).unwrap_or_default());
        }
        if head.form == Form::Talos && head.kernel {
            self.note_host(talos::node(line).unwrap_or_default());
        }
        let column = line.len() - text.len();
        let text = match head.form {
            Form::Kmsg | Form::Dmesg => kmsg::unescape(text, head.form == Form::Dmesg),
            _ => String::from_utf8_lossy(text),
        };
        self.reported(head, text, column)
    }

    fn reported<'a>(&mut self, head: Head, text: Cow<'a, str>, column: usize) -> Line<'a> {
        let Head { form, when, sequence, caller, kernel } = head;
        self.last = Some(Last { form, when, sequence, caller, kernel, column });
        self.json = form == Form::Json;
        // Those that write into the kernel's log do so as a process, where the form says which.
        if matches!(form, Form::Kmsg | Form::Dmesg | Form::Talos) && memory_killer::may_be_kmsg(&text) {
            return Line::Killer(Message { when, sequence, caller, text, continues: false });
        }
        if !kernel {
            return Line::Skipped(Skipped::NotKernel);
        }
        if form == Form::Journal && text.starts_with('[') && text.ends_with("B blob data]") {
            return Line::Skipped(Skipped::Blob);
        }
        Line::Kernel(Message { when, sequence, caller, text, continues: false })
    }

    /// Reads an entry of the journal.
    pub(super) fn entry<'a>(&mut self, entry: &'a Entry, form: Form) -> Line<'a> {
        let message = entry.message.as_deref().unwrap_or_default();
        self.note_host(entry.hostname.as_deref().unwrap_or_default().as_bytes());
        let text = String::from_utf8_lossy(&message[..message.len().min(MAX_LINE_BYTES)]);
        self.reported(journal::head_of_entry(entry, form), text, 0)
    }

    fn json<'a>(&mut self, line: &'a [u8], wraps: u8) -> Line<'a> {
        let line = line.strip_prefix(b"\x1e").unwrap_or(line);
        let skipped = match journal::read_json(line) {
            Ok(entry) => return self.entry(&entry, Form::Json).into_owned(),
            Err(skipped) => skipped,
        };
        let text = std::str::from_utf8(line).ok();
        match text.and_then(json::read) {
            Some(inner) => self.collected(inner, skipped, wraps),
            None => Line::Skipped(skipped),
        }
    }

    /// Reads a line that a collector kept; one of others is `skipped`.
    fn collected<'a>(&mut self, inner: Inner, skipped: Skipped, wraps: u8) -> Line<'a> {
        let Inner { when, host, speakers, line } = inner;
        if wraps == 0 || speakers.iter().any(|speaker| speaker != "kernel") {
            return Line::Skipped(skipped);
        }
        self.note_host(host.as_deref().unwrap_or_default().as_bytes());
        let read = self.read_plain(line.as_bytes(), wraps - 1).into_owned();
        self.json = true;
        beside(read, when)
    }

    /// A line that begins with a blank: it goes on with the one before, or is one without a head.
    fn continued<'a>(&self, line: &'a [u8]) -> Option<Line<'a>> {
        let Last { form, when, sequence, caller, kernel, column } = *self.last.as_ref()?;
        match form {
            _ if self.headless => None,
            Form::Kmsg => Some(Line::Skipped(Skipped::Property)),
            _ if !kernel => Some(Line::Skipped(Skipped::NotKernel)),
            Form::Dmesg | Form::Journal | Form::Json | Form::Export | Form::Talos | Form::Bare => {
                let indent = line.iter().take(column).take_while(|byte| **byte == b' ').count();
                let text = String::from_utf8_lossy(&line[indent..]);
                Some(Line::Kernel(Message { when, sequence, caller, text, continues: true }))
            }
        }
    }

    fn without_head<'a>(&mut self, line: &'a [u8]) -> Line<'a> {
        if self.last.is_none() {
            self.headless = true;
        }
        if !self.headless {
            return Line::Skipped(Skipped::Unreadable(LineError::NoHead));
        }
        let text = String::from_utf8_lossy(line.strip_prefix(b"kernel: ").unwrap_or(line));
        let killers = memory_killer::may_be_kmsg(&text);
        let message = Message { when: When::default(), sequence: None, caller: None, text, continues: false };
        if killers { Line::Killer(message) } else { Line::Kernel(message) }
    }
}

/// What a line is by itself, in a form that is in the list above.
pub(super) fn known(line: &[u8]) -> LineKind {
    let skipped = |line: &[u8]| match LineReader::new().read(line) {
        Line::Kernel(_) | Line::Killer(_) => LineKind::Wanted(0),
        Line::Skipped(Skipped::NotKernel) => LineKind::Foreign,
        Line::Skipped(_) => LineKind::No,
    };
    match line.first() {
        Some(b' ') | None => return LineKind::No,
        // What begins as JSON and cannot be read was cut, and who wrote it is not known.
        Some(b'{' | 0x1e) if line.starts_with(b"{\"") || line.starts_with(b"\x1e") => {
            return if skipped(line) == LineKind::Wanted(0) { LineKind::Wanted(0) } else { LineKind::Foreign };
        }
        Some(b'd') if line.starts_with(b"data: {") => return skipped(line),
        Some(b'-') if line.starts_with(b"-- ") => return LineKind::Foreign,
        Some(_) => {}
    }
    let is_loki = || std::str::from_utf8(line).is_ok_and(|text| loki::read(text).is_some());
    if cri::read(line).is_some_and(|cri| cri.ends) || is_loki() {
        return skipped(line);
    }
    let read = kmsg::read(line)
        .or_else(|| dmesg::read(line, &mut None))
        .or_else(|| journal::read(line))
        .or_else(|| journal::read_syslog(line))
        .or_else(|| talos::read(line));
    match read {
        Some((head, text)) if head.kernel || std::str::from_utf8(text).is_ok_and(memory_killer::may_be_kmsg) => {
            LineKind::Wanted(line.len() - text.len())
        }
        Some(_) => LineKind::Foreign,
        None => LineKind::No,
    }
}

/// The line, with the time that is written beside it where it tells none.
pub(super) fn beside(line: Line<'_>, outer: When) -> Line<'_> {
    match line {
        Line::Kernel(message) => Line::Kernel(message.beside(outer)),
        Line::Killer(message) => Line::Killer(message.beside(outer)),
        Line::Skipped(why) => Line::Skipped(why),
    }
}
