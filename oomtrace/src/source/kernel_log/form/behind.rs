//! A line behind a head that is not known: what `grep` and `kubectl logs --prefix` put in front, a quote's `> `, the console's
//! `** 2 printk messages dropped ** `.

use super::{Form, Head, When, dmesg, journal};

/// No such head is longer.
const FARTHEST: usize = 256;

/// The line from where it is in a form that is known, and the kernel's. A process's name is behind a parenthesis, and is not
/// looked into.
pub(super) fn find(line: &[u8]) -> Option<(Head, &[u8])> {
    let end = line.iter().position(|byte| *byte == b'(').unwrap_or(line.len()).min(FARTHEST);
    let starts = (1..end).filter(|at| b" \t:>|".contains(&line[at - 1]));
    starts
        .map(|at| &line[at..])
        .find_map(|rest| stamped(rest).or_else(|| journal::read(rest).filter(|(head, _)| head.kernel)))
}

fn stamped(line: &[u8]) -> Option<(Head, &[u8])> {
    let (boot_ns, caller, text) = dmesg::kernel_stamp(line)?;
    Some((Head { caller, ..Head::new(Form::Dmesg, When { boot_ns: Some(boot_ns), wall: None }) }, text))
}
