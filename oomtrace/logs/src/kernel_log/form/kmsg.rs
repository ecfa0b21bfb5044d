//! Records of `/dev/kmsg`: `<prio>,<seq>,<usec>,<flags>[,caller=T123][,…];<text>`.
//!
//! `msg_print_ext_header` and `msg_add_ext_text`, `kernel/printk/printk.c`, the same from 3.5 to 7.x; `caller` from 5.1.
//! Documented to grow by further fields before the `;`.

use std::borrow::Cow;

use super::{Caller, Form, Head, When, scan::Scan};

pub(super) fn read(line: &[u8]) -> Option<(Head, &[u8])> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let mut scan = Scan(line);
    let priority = scan.number()?;
    scan.tag(b",")?;
    let sequence = scan.number()?;
    scan.tag(b",")?;
    let micros = scan.number()?;
    scan.tag(b",")?;
    let end = scan.0.iter().position(|byte| *byte == b';')?;
    let fields = &scan.0[..end];
    let caller = fields.split(|byte| *byte == b',').find_map(|field| caller(field.strip_prefix(b"caller=")?));
    let when = When { boot_ns: micros.checked_mul(1000), wall: None };
    // The priority is facility * 8 + severity, and facility 0 is the kernel's own: a process that writes with it gets 1.
    let kernel = priority >> 3 == 0;
    let head = Head { sequence: Some(sequence), caller, kernel, ..Head::new(Form::Kmsg, when) };
    Some((head, &scan.0[end + 1..]))
}

/// `T123`, `C1`.
pub(super) fn caller(id: &[u8]) -> Option<Caller> {
    let (kind, number) = id.split_first()?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    match kind {
        b'T' => Some(Caller::Task(number)),
        b'C' => Some(Caller::Cpu(number)),
        _ => None,
    }
}

/// Undoes `\x0a`. The kernel writes so whatever is not printable ASCII, and the backslash. `dmesg` writes so only what is
/// not printable (util-linux, `fwrite_hex`), and no backslash: there `\x41` is text.
pub(super) fn unescape(text: &[u8], of_dmesg: bool) -> Cow<'_, str> {
    if !text.contains(&b'\\') {
        return String::from_utf8_lossy(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'\\').then(|| after.strip_prefix(b"x")?.get(..2).and_then(hexadecimal)).flatten();
        let escaped = escaped.filter(|value| !of_dmesg || !(b' '..=b'~').contains(value));
        plain.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value * 16 + u8::try_from(digit).ok()?)
    })
}
