//! A line of a container runtime's file, in the form that CRI prescribes (`pkg/kubelet/kuberuntime/logs`):
//! `2026-11-23T23:20:49.380126Z stderr F text`.

use jiff::Timestamp;

use super::{scan::Scan, when};

/// Such a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CriLine<'a> {
    /// When the runtime read it.
    pub at: Timestamp,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// Whether the line ends here: a long one is cut into parts.
    pub ends: bool,
    /// Where in the line its text begins.
    pub text_at: usize,
}

/// Reads a line of such a file.
#[must_use]
pub fn read(line: &[u8]) -> Option<CriLine<'_>> {
    let mut scan = Scan(line);
    let (at, _) = when::iso(&mut scan)?;
    scan.tag(b" ")?;
    let stream = match scan.token() {
        b"stdout" => "stdout",
        b"stderr" => "stderr",
        _ => return None,
    };
    scan.tag(b" ")?;
    let ends = match scan.token().split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let _ = scan.tag(b" ");
    Some(CriLine { at, stream, ends, text_at: line.len() - scan.0.len() })
}
