//! What a file is that was given as something else.

use crate::source::{
    container_log,
    envelope::learnt::{LineKind, Wanted},
    kernel_log::KernelLines,
    kubelet_log::KubeletLines,
};

/// So many bytes show what a file is.
const SAMPLE: usize = 256 << 10;
/// So many of a hundred bytes that are no text make a file binary.
const MOST_CONTROLS: usize = 10;

/// What a file is, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// There is nothing in it.
    Empty,
    /// No text.
    Binary,
    /// Lines of a kubelet's.
    KubeletLog,
    /// Lines of the kernel's.
    KernelLog,
    /// Events of oomtrace's own.
    Recording,
    /// One JSON document, or JSON lines, of something else.
    Json,
    /// Other text.
    Text,
}

impl What {
    /// By the first bytes of a file.
    pub(super) fn of(start: &[u8]) -> Self {
        let start = &start[..start.len().min(SAMPLE)];
        if start.trim_ascii().is_empty() {
            return Self::Empty;
        }
        let control = |byte: &&u8| (**byte < 0x20 && !b"\t\n\r\x1b\x1e".contains(byte)) || **byte == 0x7f;
        let replaced = String::from_utf8_lossy(start).chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
        let strange = start.iter().filter(control).count() + replaced;
        if strange * 100 > start.len() * MOST_CONTROLS {
            return Self::Binary;
        }
        let lines = || start.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let event = |line: &[u8]| {
            let object = serde_json::from_slice::<serde_json::Value>(line);
            object.is_ok_and(|object| object["kind"].is_string() && object["seq"].is_u64())
        };
        if lines().next().is_some_and(event) {
            return Self::Recording;
        }
        let kernel = KernelLines::new().ok();
        if kernel.is_some_and(|kernel| lines().any(|line| kernel.text_at(line).is_some())) {
            return Self::KernelLog;
        }
        let of_kubelet = |line: &[u8]| {
            KubeletLines.text_at(line).is_some() && !matches!(KubeletLines.known(line), LineKind::Foreign)
        };
        if lines().any(of_kubelet) {
            return Self::KubeletLog;
        }
        if lines().next().is_some_and(begins_json) { Self::Json } else { Self::Text }
    }

    /// What is wrong with it as a kernel log, and the way out.
    pub(super) fn instead_of_kernel_log(self) -> &'static str {
        match self {
            Self::Empty => "the file is empty",
            Self::Binary => "the file is binary and no log",
            Self::KubeletLog => "this is a kubelet's log: give it with --kubelet-log",
            Self::Recording => "this is a recording: give it with --events",
            Self::Json => {
                "no kill in it, and no line of the kernel's: it needs the output of dmesg, journalctl -k or /dev/kmsg (what \
                 kubectl or crictl print as JSON is given with --pods)"
            }
            Self::KernelLog | Self::Text => {
                "no kill in it, and no line in a form of a kernel log: it needs the output of dmesg, journalctl -k or /dev/kmsg"
            }
        }
    }

    /// What is wrong with it as a kubelet's log, and the way out.
    pub(super) fn instead_of_kubelet_log(self) -> &'static str {
        match self {
            Self::Empty => "the file is empty",
            Self::Binary => "the file is binary and no log",
            Self::KernelLog => "this is a kernel log: give it with --kernel-log",
            Self::Recording => "this is a recording: give it with --events",
            Self::Json => {
                "no message of the kubelet's in it that matters: it needs the kubelet's log, or the journal of its unit (what \
                 kubectl or crictl print as JSON is given with --pods)"
            }
            Self::KubeletLog | Self::Text => {
                "no message of the kubelet's in it that matters: it needs the kubelet's log, or the journal of its unit"
            }
        }
    }

    /// What is wrong with it as a recording, and the way out.
    pub(super) fn instead_of_recording(self) -> &'static str {
        match self {
            Self::Empty => "the file is empty",
            Self::Binary => "the file is binary and no recording",
            Self::KernelLog => "this is a kernel log: give it with --kernel-log",
            Self::KubeletLog => "this is a kubelet's log: give it with --kubelet-log",
            Self::Json => "this is JSON and no recording: what kubectl or crictl print is given with --pods",
            Self::Recording | Self::Text => {
                "this is no recording: it needs JSON lines of `oomtrace run --record` (a kernel log is given with \
                 --kernel-log, a kubelet's with --kubelet-log)"
            }
        }
    }

    /// What is wrong with it where anything that is read would do: `start` is how it begins.
    pub(super) fn instead_of_anything(self, start: &[u8]) -> String {
        let start = &start[..start.len().min(SAMPLE)];
        let runtime = || container_log::runtime(&String::from_utf8_lossy(start));
        let other = match self {
            Self::Text => runtime().map(|runtime| {
                format!(
                    "; what it says of memory is an error of the program's own ({runtime}), which gives up at a limit of its \
                     own: nothing in it says that the kernel or the kubelet killed anything"
                )
            }),
            _ => None,
        };
        format!("{}{}", self.without_use(), other.unwrap_or_default())
    }

    fn without_use(self) -> &'static str {
        match self {
            Self::Empty => "the file is empty",
            Self::Binary => "the file is binary and no log",
            Self::Json => {
                "this is JSON of something else: neither pods, events nor nodes of kubectl or crictl, nor lines of a log, nor \
                 what oomtrace recorded"
            }
            Self::KernelLog | Self::KubeletLog | Self::Recording | Self::Text => {
                "nothing in it is known: it needs a kernel log (dmesg, journalctl -k), a kubelet's log, pods or events of \
                 kubectl, what oomtrace recorded, or an archive of `oomtrace collect` (to say what it is: --kernel-log, \
                 --kubelet-log, --pods, --events)"
            }
        }
    }

    /// What is wrong with it as a description of pods, and the way out.
    pub(super) fn instead_of_pods(self) -> &'static str {
        match self {
            Self::Empty => "the file is empty",
            Self::Binary => "the file is binary, and neither JSON nor a folder of logs",
            Self::KernelLog => "this is a kernel log: give it with --kernel-log",
            Self::KubeletLog => "this is a kubelet's log: give it with --kubelet-log",
            Self::Recording => "this is a recording: give it with --events",
            Self::Json => "this begins as JSON, and is none to its end: was it cut?",
            Self::Text => {
                "this says nothing of pods: it needs `kubectl get pods -A -o json` (or yaml), the kubelet's /pods, or `crictl ps -o json`"
            }
        }
    }
}

/// Whether a line begins as JSON: a time in brackets before a text does not.
fn begins_json(line: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(line).into_iter::<serde::de::IgnoredAny>();
    let whole = matches!(line.first(), Some(b'{' | b'[')).then(|| values.next());
    match whole {
        Some(Some(Ok(_))) => values.next().is_none_or(|rest| rest.is_ok()),
        // It goes on in the next lines.
        Some(Some(Err(error))) => error.is_eof(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_how_it_begins() {
        let pattern: Vec<u8> = (0..=255).cycle().take(4096).collect();
        for (start, what) in [
            (&b""[..], What::Empty),
            (b" \n\n", What::Empty),
            (&pattern, What::Binary),
            (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", What::Binary),
            (
                b"node: I0601 10:00:31.000000    1200 kubelet.go:369] \"Starting kubelet main sync loop\"\n",
                What::KubeletLog,
            ),
            (b"{\"ts\":1795476961825.0369,\"caller\":\"a\",\"msg\":\"b\",\"v\":0}\n", What::KubeletLog),
            (b"[    1.5] Out of memory: Killed process 7 (a)\n", What::KernelLog),
            (b"{\"ts\":\"2026-06-01T10:00:00Z\",\"kind\":\"oom_kill\",\"node\":\"n\",\"seq\":4}\n", What::Recording),
            (b"{\n  \"kind\": \"PodList\"\n}\n", What::Json),
            ("Grüße\n".as_bytes(), What::Text),
        ] {
            assert_eq!(What::of(start), what, "{:?}", String::from_utf8_lossy(start));
        }
    }
}
