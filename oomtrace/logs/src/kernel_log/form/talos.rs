//! What `talosctl dmesg` prints: the node, facility and level, the time, the text (Talos, `cmd/talosctl/cmd/talos/dmesg.go` and
//! `internal/pkg/kmsg`).

use super::{Form, Head, Wall, When, scan::Scan, when};

/// `10.0.0.2: kern: warning: [2026-11-23T23:20:37.158837Z]: text`; levels are padded, and the node is left out where one was
/// asked alone.
pub(super) fn read(line: &[u8]) -> Option<(Head, &[u8])> {
    let mut scan = Scan(line);
    let first = scan.token().strip_suffix(b":")?;
    scan.spaces();
    let second = scan.token().strip_suffix(b":")?;
    let of_one = scan.0.starts_with(b" [");
    let facility = if of_one { first } else { second };
    if !of_one {
        scan.spaces();
        scan.token().strip_suffix(b":")?;
    }
    scan.tag(b" [")?;
    let (timestamp, _) = when::iso(&mut scan)?;
    scan.tag(b"]: ")?;
    let head = Head::new(Form::Talos, When { boot_ns: None, wall: Some(Wall::Absolute(timestamp)) });
    Some((Head { kernel: facility == b"kern", ..head }, scan.0))
}

/// The node that such a line names.
pub(super) fn node(line: &[u8]) -> Option<&[u8]> {
    let mut scan = Scan(line);
    let first = scan.token().strip_suffix(b":")?;
    scan.spaces();
    scan.token().strip_suffix(b":")?;
    (!scan.0.starts_with(b" [")).then_some(first)
}
