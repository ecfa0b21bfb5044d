//! What a log file or the journal puts around a line of the kubelet's.
//!
//! | form | a line |
//! |---|---|
//! | bare | `I1123 23:20:49.380126     442 kubelet.go:2752] …`, `{"ts":…}` |
//! | `journalctl` (`short`, `short-precise`), syslog | `Nov 23 23:20:49 node1 kubelet[442]: …` |
//! | `journalctl -o short-iso`, `short-iso-precise`, rsyslog | `2026-11-23T23:20:49.380126+00:00 node1 kubelet[442]: …` |
//! | `journalctl -o short-full`, `short-unix` | `Mon 2026-11-23 23:20:49 UTC node1 …`, `1795475954.137400 node1 …` |
//! | `journalctl -o with-unit` | `Mon 2026-11-23 23:20:49 UTC node1 kubelet.service[442]: …` |
//! | RFC 5424 | `<13>1 2026-11-23T23:20:49.380126Z node1 kubelet 442 - - …` |
//! | `journalctl -o json`, `json-sse` | `{"MESSAGE":…}`, `data: {"MESSAGE":…}` |
//! | `journalctl -o verbose`, `json-pretty` | `    MESSAGE=…`, `\t"MESSAGE" : "…",` on a line of its own: who wrote it is on another |
//! | `journalctl -o export` | `MESSAGE=…` among an entry's fields, one on each line; known by the log's first line |
//! | `journalctl -o short-monotonic`, `short-delta` | `[  153.158837] node1 kubelet[442]: …`, `[  153.158837 <    0.000125 >] node1 …` |
//! | `docker logs -t`, `kubectl logs --timestamps` | `2026-11-23T23:20:49.380126Z …` |
//! | `talosctl logs kubelet` | `10.0.0.2: …` |
//! | CRI container log | `2026-11-23T23:20:49.380126Z stderr F …`; `P` for a part of a line |
//! | Docker's `json-file` | `{"log":"…\n","stream":"stderr","time":"…"}`; without `\n` for a part of a line |
//! | Loki's `logcli query` | `2026-11-23T23:20:49.380126Z {unit="kubelet.service"} …` |
//! | Fluent Bit | `{"time":"…","stream":"stderr","_p":"F","log":"…"}` |
//! | k0s, containerd: logrus | `time="2026-11-23 23:20:49" level=info msg="…" component=kubelet` |
//!
//! Forms nest: a journal may hold Docker's output, which holds klog's JSON. Each line is looked at by itself, as files are
//! mixed; only a line in parts depends on the ones before.

mod container;
mod journal;

use std::borrow::Cow;

use jiff::Timestamp;

use crate::envelope::{entry::Entry, loki, when::Wall};

/// Forms nest so deep at most.
const MAX_DEPTH: usize = 4;

/// A line without its wrapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Unwrapped<'a> {
    /// What was logged.
    pub text: Cow<'a, str>,
    /// When the log's keeper took the line: after it was written.
    pub kept: Option<Wall>,
    /// Who wrote it, as far as the form tells: syslog's identifier.
    pub identifier: Option<Cow<'a, str>>,
    /// The process that wrote it, as far as the form tells.
    pub pid: Option<u32>,
    /// The machine that it was written on, as far as the form tells.
    pub host: Option<Cow<'a, str>>,
    /// The part of a longer line.
    pub part: Part,
}

/// Whether a form broke the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It did not.
    Whole,
    /// More of the same line follows.
    More,
    /// The line ends here, in a form that may break it.
    End,
    /// A field of an entry, of which others have lines of their own.
    Field,
}

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum LineError {
    /// It opens as JSON.
    #[error("this line begins as JSON and is none: was it cut?")]
    Json,
    /// The journal's entry has no message.
    #[error("the journal entry's MESSAGE is not printed: it is over 4 KiB; `journalctl --all -o json` prints it")]
    NoMessage,
}

impl<'a> Unwrapped<'a> {
    fn bare(text: Cow<'a, str>) -> Self {
        Self { text, kept: None, identifier: None, pid: None, host: None, part: Part::Whole }
    }

    /// A line within a value of several lines: one that opens as such a value's do has no wrapping, whatever it holds.
    pub(super) fn read_inside(line: &'a [u8]) -> Result<Self, LineError> {
        if line.starts_with(b"\t") { Ok(Self::bare(String::from_utf8_lossy(line))) } else { Self::read(line) }
    }

    pub(super) fn into_owned(self) -> Unwrapped<'static> {
        let Self { text, kept, identifier, pid, host, part } = self;
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Unwrapped { text: owned(text), kept, identifier: identifier.map(owned), pid, host: host.map(owned), part }
    }

    /// Takes the wrapping off a line, whatever it is.
    ///
    /// # Errors
    ///
    /// Fails where a layer begins as one form, and is none.
    pub fn read(line: &'a [u8]) -> Result<Self, LineError> {
        let text = std::str::from_utf8(line).map_or_else(|_| String::from_utf8_lossy(line), Cow::Borrowed);
        let mut unwrapped = Self::bare(text);
        for _ in 0..MAX_DEPTH {
            let inner = match &unwrapped.text {
                Cow::Borrowed(text) => layer(text)?,
                Cow::Owned(text) => layer(text)?.map(Layer::into_owned),
            };
            let Some(Layer { text, kept, identifier, pid, host, part }) = inner else { break };
            unwrapped.text = text;
            unwrapped.kept = latest_known(kept, unwrapped.kept);
            // Who is named anew is another process.
            unwrapped.pid = if identifier.is_some() { pid } else { pid.or(unwrapped.pid) };
            unwrapped.identifier = identifier.or(unwrapped.identifier);
            unwrapped.host = host.or(unwrapped.host);
            unwrapped.part = part;
        }
        Ok(unwrapped)
    }

    /// Takes the wrapping off what an entry of the journal's export format holds, with what the journal knows of it.
    pub(super) fn of_entry(entry: &'a Entry) -> Result<Self, LineError> {
        let inner = Self::read(entry.message.as_deref().unwrap_or_default())?;
        let identifier =
            inner.identifier.or_else(|| entry.identifier.as_deref().or(entry.comm.as_deref()).map(Into::into));
        let pid = inner.pid.or(entry.pid);
        let host = inner.host.or_else(|| entry.hostname.as_deref().map(Into::into));
        Ok(Self { kept: latest_known(inner.kept, entry.kept()), identifier, pid, host, part: Part::Whole, ..inner })
    }
}

/// The inner layer is nearer to the process, but an instant is worth more than what a clock on the wall showed.
pub(super) fn latest_known(inner: Option<Wall>, outer: Option<Wall>) -> Option<Wall> {
    match (inner, outer) {
        (Some(Wall::Local(_)), Some(Wall::Absolute(_))) | (None, _) => outer,
        _ => inner,
    }
}

/// One layer of wrapping, and what is in it.
struct Layer<'a> {
    text: Cow<'a, str>,
    kept: Option<Wall>,
    identifier: Option<Cow<'a, str>>,
    pid: Option<u32>,
    host: Option<Cow<'a, str>>,
    part: Part,
}

impl<'a> Layer<'a> {
    fn new(text: impl Into<Cow<'a, str>>, kept: Option<Wall>) -> Self {
        Self { text: text.into(), kept, identifier: None, pid: None, host: None, part: Part::Whole }
    }

    /// What a field of an entry holds.
    fn field(text: impl Into<Cow<'a, str>>) -> Self {
        Self { part: Part::Field, ..Self::new(text, None) }
    }

    fn into_owned(self) -> Layer<'static> {
        let Self { text, kept, identifier, pid, host, part } = self;
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Layer { text: owned(text), kept, identifier: identifier.map(owned), pid, host: host.map(owned), part }
    }
}

fn layer(text: &str) -> Result<Option<Layer<'_>>, LineError> {
    let Some(first) = text.bytes().next() else { return Ok(None) };
    match first {
        // What a kubelet itself prints is the last layer.
        b'{' if text.starts_with("{\"ts\":") => Ok(None),
        b'{' | 0x1e => container::json(text.trim_start_matches('\u{1e}')),
        b't' if text.starts_with("time=\"") => Ok(container::logrus(text)),
        b'[' => Ok(journal::monotonic(text)),
        b'0'..=b'9' => Ok(container::of_cri(text)
            .or_else(|| container::stamped(text))
            .or_else(|| loki::read(text).map(container::collected))
            .or_else(|| journal::read(text))
            .or_else(|| container::of_node(text))),
        b'<' => Ok(journal::syslog(text)),
        b'd' if text.starts_with("data: {") => container::json(&text["data: ".len()..]),
        b' ' => {
            Ok(text.strip_prefix("    MESSAGE=").map_or_else(|| journal::read(text), |text| Some(Layer::field(text))))
        }
        b'\t' => journal::pretty(text),
        // A month, or a day of the week, in some language.
        b'A'..=b'Z' | b'a'..=b'z' | 0x80.. => Ok(journal::read(text)),
        _ => Ok(None),
    }
}

fn instant(text: &str) -> Option<Wall> {
    text.parse::<Timestamp>().ok().map(Wall::Absolute)
}
