//! What `dmesg` and the console print: a time in brackets. `journalctl -o short-monotonic` looks the same, and goes on
//! with host and identifier.

use super::{Caller, Form, Head, Wall, When, kmsg::caller, scan::Scan, syslog::Named, when};

/// `host` is learnt from a line of `short-monotonic` and then tells its other lines from dmesg's.
pub(super) fn read<'a>(line: &'a [u8], host: &mut Option<Vec<u8>>) -> Option<(Head, &'a [u8])> {
    let mut scan = Scan(line);
    let kernel = level(&mut scan)?;
    let leveled = scan.0.len() < line.len();
    let when = if scan.peek() == Some(b'[') {
        stamp(&mut scan)?
    } else {
        let (timestamp, comma) = when::iso(&mut scan)?;
        // Without a comma it is a journal's or syslog's, and a host follows.
        if !comma {
            return None;
        }
        When { boot_ns: None, wall: Some(Wall::Absolute(timestamp)) }
    };
    let caller = after_stamp(&mut scan);
    if let (Some(_), None, false) = (when.boot_ns, caller, leveled)
        && let Some((kernel, text)) = monotonic(scan.0, host)
    {
        return Some((Head { kernel, ..Head::new(Form::Journal, when) }, text));
    }
    Some((Head { caller, kernel, ..Head::new(Form::Dmesg, when) }, scan.0))
}

/// `<4>` of `dmesg -r`, or `kern  :warn  : ` of `dmesg -x`; whether it is the kernel's facility.
fn level(scan: &mut Scan<'_>) -> Option<bool> {
    if scan.tag(b"<").is_some() {
        let priority = scan.number()?;
        scan.tag(b">")?;
        return Some(priority >> 3 == 0);
    }
    if !scan.peek()?.is_ascii_lowercase() {
        return Some(true);
    }
    // Both words are padded to six columns (util-linux, `sys-utils/dmesg.c`).
    let (decoded, rest) = scan.0.split_at_checked(15).filter(|(head, _)| head[6] == b':' && head.ends_with(b": "))?;
    scan.0 = rest;
    Some(decoded.starts_with(b"kern "))
}

/// `[  153.158837]`, `[Mon Nov 23 23:20:37 2026]`, and those of `dmesg -H`, which tell no usable time.
fn stamp(scan: &mut Scan<'_>) -> Option<When> {
    let start = *scan;
    if let Some(boot_ns) = when::since_boot(scan) {
        return Some(When { boot_ns: Some(boot_ns), wall: None });
    }
    *scan = start;
    scan.tag(b"[")?;
    let inside = *scan;
    if let Some(time) = when::ctime(scan) {
        scan.delta()?;
        scan.tag(b"]")?;
        return Some(When { boot_ns: None, wall: Some(Wall::Local(time)) });
    }
    *scan = inside;
    human(scan)?;
    Some(When::default())
}

/// `Nov23 23:20]` or `  +0.000123]`, and `<    0.000123>]` of `dmesg --time-format delta`.
fn human(scan: &mut Scan<'_>) -> Option<()> {
    let end = scan.0.iter().take(16).position(|byte| *byte == b']')?;
    let inside = scan.0[..end].trim_ascii_start();
    let number = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let delta = inside.strip_prefix(b"+").is_some_and(number)
        || inside
            .strip_prefix(b"<")
            .and_then(|inside| inside.strip_suffix(b">"))
            .is_some_and(|d| number(d.trim_ascii()));
    let minute = inside.len() == 11 && inside[0].is_ascii_uppercase() && inside[5] == b' ' && inside[8] == b':';
    scan.0 = &scan.0[end + 1..];
    (delta || minute).then_some(())
}

/// One space, and the caller, with the space on either side (`print_caller`, `kernel/printk/printk.c`; util-linux 2.40).
fn after_stamp(scan: &mut Scan<'_>) -> Option<Caller> {
    let caller = || {
        let mut scan = Scan(scan.0.trim_ascii_start());
        scan.tag(b"[")?;
        scan.spaces();
        let end = scan.0.iter().take(12).position(|byte| *byte == b']')?;
        Some((caller(&scan.0[..end])?, &scan.0[end + 1..]))
    };
    let caller = caller();
    if let Some((_, rest)) = caller {
        scan.0 = rest;
    }
    let _ = scan.tag(b" ");
    caller.map(|(caller, _)| caller)
}

fn monotonic<'a>(rest: &'a [u8], host: &mut Option<Vec<u8>>) -> Option<(bool, &'a [u8])> {
    let mut scan = Scan(rest);
    let first = scan.token();
    let named = || Named::read(rest).map(|named| (named.writer == b"kernel", named.text));
    match host {
        Some(host) if host.as_slice() == first => named(),
        None if !first.is_empty() && scan.0.starts_with(b" kernel: ") => {
            *host = Some(first.to_owned());
            named()
        }
        _ => None,
    }
}

/// The first line of what was copied from behind its bracket: `153.158837] text`.
pub(super) fn without_bracket(line: &[u8]) -> Option<(Head, &[u8])> {
    let end = line.iter().take(20).position(|byte| *byte == b']')?;
    let (seconds, micros) = line[..end].split_at(line[..end].iter().position(|byte| *byte == b'.')?);
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = line[end + 1..].strip_prefix(b" ")?;
    if !digits(seconds) || micros.len() != 7 || !digits(&micros[1..]) {
        return None;
    }
    let stamp = [b"[", &line[..=end]].concat();
    let boot_ns = when::since_boot(&mut Scan(&stamp))?;
    Some((Head::new(Form::Dmesg, When { boot_ns: Some(boot_ns), wall: None }), text))
}

/// The kernel's own stamp at the start of a text in a syslog file, and what follows it.
pub(super) fn kernel_stamp(text: &[u8]) -> Option<(u64, Option<Caller>, &[u8])> {
    let mut scan = Scan(text);
    let boot_ns = when::since_boot(&mut scan)?;
    let caller = after_stamp(&mut scan);
    Some((boot_ns, caller, scan.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bracket_that_a_line_begins_with_may_be_missing() {
        let read = |line: &'static str| without_bracket(line.as_bytes()).map(|(head, text)| (head.when.boot_ns, text));
        assert_eq!(read("153.158837] java invoked"), Some((Some(153_158_837_000), &b"java invoked"[..])));
        for other in ["153.15883] a", "153.1588377] a", "15x.158837] a", ".158837] a", "153.15883x] a", "153.158837]a"]
        {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
