//! A line behind a head that is not known: what `grep` and `kubectl logs --prefix` put in front, a quote's `> `, the console's
//! `** 2 printk messages dropped ** `, a time in a form of its own.
//!
//! Such a head is one word, or a time. Behind more, the line is what somebody says in a line of theirs.

use super::{Form, Head, When, dmesg, journal};

/// No such head is longer.
const FARTHEST: usize = 256;
/// A file's name and the line's number end with a colon each; `C:` does too.
const MOST_COLONS: usize = 3;

/// The line from where it is in a form that is known, and the kernel's.
pub(super) fn find(line: &[u8]) -> Option<(Head, &[u8])> {
    let (word, _) = word(line)?;
    let glued = (1..word.len()).filter(|at| b":>|".contains(&word[at - 1])).take(MOST_COLONS);
    glued.map(|at| &line[at..]).chain(after_head(line)).find_map(of_kernel)
}

/// A line with the kernel's stamp, or one in the journal that is the kernel's.
pub(super) fn of_kernel(line: &[u8]) -> Option<(Head, &[u8])> {
    stamped(line).or_else(|| journal::read(line).filter(|(head, _)| head.kernel))
}

fn stamped(line: &[u8]) -> Option<(Head, &[u8])> {
    let (boot_ns, caller, text) = dmesg::kernel_stamp(line)?;
    Some((Head { caller, ..Head::new(Form::Dmesg, When { boot_ns: Some(boot_ns), wall: None }) }, text))
}

/// What follows a head with a blank behind it.
fn after_head(line: &[u8]) -> Option<&[u8]> {
    if line.starts_with(b"** ") {
        const END: &[u8] = b" dropped ** ";
        let end = line.windows(END.len()).take(FARTHEST).position(|part| part == END)?;
        return Some(&line[end + END.len()..]);
    }
    let (head, rest) = word(line)?;
    if matches!(head.last(), Some(b':' | b'>' | b'|' | b']')) {
        return Some(rest);
    }
    match word(rest) {
        // `docker compose logs`.
        Some((b"|", rest)) => Some(rest),
        Some((clock, rest)) if is_time(head) && is_time(clock) => Some(rest),
        _ => is_time(head).then_some(rest),
    }
}

/// `2026/11/23`, `23:20:37.158`.
fn is_time(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_digit)
        && word.iter().all(|byte| byte.is_ascii_digit() || b"-/:.,+TZ".contains(byte))
}

/// The first word, and what follows its blanks. A process's name is behind a parenthesis, and is not looked into.
fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().take(FARTHEST).position(|byte| *byte == b' ')?;
    let (word, rest) = line.split_at(end);
    (!word.contains(&b'(')).then(|| (word, rest.trim_ascii_start()))
}
