//! How a line of the kubelet's is known, wherever it stands.

use std::{borrow::Cow, collections::BTreeSet};

use super::{
    container,
    form::{Part, Unwrapped},
    klog::Message,
    writer::{self, Writer},
};
use crate::{
    envelope::{
        learnt::{LineKind, Wanted},
        when::When,
    },
    memory_killer,
};

/// What is looked for in a kubelet's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct KubeletLines;

impl Wanted for KubeletLines {
    fn known(&self, line: &[u8]) -> LineKind {
        // What begins as JSON and cannot be read was cut, and who wrote it is not known.
        let Ok(read) = Unwrapped::read(line) else { return LineKind::Foreign };
        let of_field = read.part == Part::Field;
        if line.first().is_none_or(u8::is_ascii_whitespace) && !of_field {
            return LineKind::No;
        }
        let writer = writer::of(read.identifier.as_deref(), &[]);
        let text_at = line.len().saturating_sub(read.text.len());
        if matches!(writer, Writer::Kubelet | Writer::Runtime) {
            let is_bare = || {
                let text = &read.text;
                read.identifier.is_none() && (memory_killer::is_bare(text) || container::read_systemd(text).is_some())
            };
            let is_text = Message::read(&read.text).is_some() || is_runtimes(&read.text) || is_bare();
            match (is_text, &read) {
                (true, _) => return LineKind::Wanted(text_at),
                (false, Unwrapped { identifier: None, kept: None, .. }) => return LineKind::No,
                (false, _) => {}
            }
        }
        let noticed = match writer {
            Writer::Systemd => container::read_systemd(&read.text).is_some(),
            Writer::Conmon => container::read_conmon(&read.text).is_some(),
            _ => false,
        };
        if noticed {
            return LineKind::Wanted(text_at);
        }
        let identifier = writer::service(read.identifier.as_deref().unwrap_or_default());
        if writer == Writer::Oomd && memory_killer::says_sent(identifier, &read.text) {
            return LineKind::Wanted(text_at);
        }
        LineKind::Foreign
    }

    fn text_at(&self, line: &[u8]) -> Option<(usize, u8)> {
        let starts = (0..line.len()).filter(|at| *at == 0 || !line[at - 1].is_ascii_alphanumeric());
        starts.into_iter().find(|at| is_head(&line[*at..])).or_else(|| systemds(line)).map(|at| (at, 0))
    }

    fn is_writer(&self, word: &[u8]) -> bool {
        let word = std::str::from_utf8(word).ok();
        word.is_some_and(|word| matches!(writer::of(Some(word), &[]), Writer::Kubelet | Writer::Runtime))
    }

    fn goes_on(&self, _start: &[u8], _rest: &[u8]) -> Option<bool> {
        None
    }

    fn when(&self, line: &[u8]) -> When {
        let Ok(read) = Unwrapped::read(line) else { return When::default() };
        let wall = read.kept.or_else(|| Message::read(&read.text).and_then(|message| message.wall));
        When { boot_ns: None, wall }
    }
}

/// So many lines show what a log's hosts are.
const LINES: usize = 4096;

/// The hosts that the first lines of a kubelet's log name.
#[must_use]
pub fn hosts(start: &[u8]) -> BTreeSet<String> {
    let lines = start.split(|byte| *byte == b'\n').take(LINES);
    let of_kubelet = lines
        .filter_map(|line| Unwrapped::read(line).ok())
        .filter(|line| !matches!(writer::of(line.identifier.as_deref(), &[]), Writer::Journald | Writer::Other));
    of_kubelet.filter_map(|line| line.host.map(Cow::into_owned)).collect()
}

/// Whose a line is, of those that a node's logs are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The kernel's.
    Kernel,
    /// A kubelet's, a container runtime's, or that of another that notices or does kills.
    Kubelet,
    /// Anybody else's.
    Other,
}

/// The host that a line names, and whose the line is.
///
/// A column of names may stand before what is known: up to two words are passed over.
#[must_use]
pub fn host(line: &[u8]) -> Option<(String, Of)> {
    const PASSED_OVER: usize = 2;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut at = 0;
    for _ in 0..=PASSED_OVER {
        let rest = &line[at..];
        if let Some(read) = Unwrapped::read(rest).ok().filter(|read| read.host.as_deref().is_some_and(is_host)) {
            let of = match (read.identifier.as_deref(), writer::of(read.identifier.as_deref(), &[])) {
                (Some("kernel"), _) => Of::Kernel,
                (_, Writer::Journald | Writer::Other) => Of::Other,
                // Where nobody says who wrote it, its form does.
                (None, _) if Message::read(&read.text).is_some() || is_runtimes(&read.text) => Of::Kubelet,
                (None, _) if says_of_a_kill(&read.text) => Of::Kernel,
                (None, _) => Of::Other,
                (Some(_), _) => Of::Kubelet,
            };
            return read.host.map(|host| (host.into_owned(), of));
        }
        let end = memchr::memchr(b' ', rest)?;
        // What stands before may be a column of names, and no head of another form.
        if !std::str::from_utf8(&rest[..end]).is_ok_and(is_host) {
            return None;
        }
        at += end + 1;
    }
    None
}

/// Whether a word may be a host's name, or an address.
fn is_host(word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/');
    !word.is_empty() && word.bytes().all(is_part)
}

/// Whether a text has the words of a report of the kernel's.
fn says_of_a_kill(text: &str) -> bool {
    ["invoked oom-killer", "oom-kill:constraint=", "Killed process ", "Task in /"]
        .iter()
        .any(|words| text.contains(words))
}

fn is_runtimes(text: &str) -> bool {
    container::read_runtime(text).is_some()
}

/// Where systemd's words of a kill in a unit begin: with the unit.
fn systemds(line: &[u8]) -> Option<usize> {
    let words = memchr::memmem::find(line, b": A process of this unit has been killed by the OOM killer")?;
    let unit = memchr::memrchr(b' ', &line[..words]).map_or(0, |blank| blank + 1);
    matches!(KubeletLines.known(&line[unit..]), LineKind::Wanted(_)).then_some(unit)
}

/// Whether klog's head, or its JSON, or a runtime's line begins here.
fn is_head(rest: &[u8]) -> bool {
    match rest.first() {
        Some(b'I' | b'W' | b'E' | b'F') => {
            let shape = b"0000 00:00:00.";
            rest.get(1..=shape.len()).is_some_and(|head| {
                head.iter().zip(shape).all(|(byte, is)| if *is == b'0' { byte.is_ascii_digit() } else { byte == is })
            })
        }
        Some(b'{') => rest.starts_with(b"{\"ts\":"),
        // `[   77.749670] systemd-oomd[659]: Killed …`, as on a console.
        Some(b'[') => {
            memchr::memmem::find(rest, b"] systemd-oomd[").is_some_and(|at| at < 32)
                && matches!(KubeletLines.known(rest), LineKind::Wanted(_))
        }
        // What a runtime says of anything else is nobody's to learn a head from.
        Some(b't') => {
            let says = |words: &[u8]| memchr::memmem::find(rest, words).is_some();
            rest.starts_with(b"time=\"20") && (says(b"TaskOOM event") || says(b"component=kubelet"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_host_and_whose_it_is() {
        let of = |line: &str| host(line.as_bytes());
        let node = || "node1".to_owned();
        assert_eq!(of("Nov 23 23:20:37 node1 kubelet[440]: I1123 text"), Some((node(), Of::Kubelet)));
        assert_eq!(of("Nov 23 23:20:37 node1 kernel: text"), Some((node(), Of::Kernel)));
        assert_eq!(of("Nov 23 23:20:37 node1 sshd[4]: text\r"), Some((node(), Of::Other)));
        assert_eq!(of("text without a head"), None);
    }
}
