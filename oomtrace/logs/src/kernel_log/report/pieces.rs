//! What several lines are made of.

use std::str::FromStr;

/// The number that `text` begins with, and the rest.
pub(super) fn number<T: FromStr>(text: &str) -> Option<(T, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// `4096kB` (also `4096KB`) in bytes.
pub(super) fn kilobytes(text: &str) -> Option<u64> {
    let number = text.strip_suffix("kB").or_else(|| text.strip_suffix("KB"))?;
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// A user id as `%d` or `%u` prints it: `(uid_t)-1` and other large ones come out negative.
pub(super) fn uid(text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| text.parse().ok().map(i32::cast_unsigned))
}

/// Whether it can be a task's name: `TASK_COMM_LEN` is 16 with its end. U+FFFD stands for at least one byte.
pub(super) fn is_comm(text: &str) -> bool {
    let bytes = |c: char| if c == char::REPLACEMENT_CHARACTER { 1 } else { c.len_utf8() };
    text.len() <= 15 || text.chars().map(bytes).sum::<usize>() <= 15
}

/// A list of numbers as `%*pbl` prints it (`0-1,3`), or `(null)`, that `text` begins with, and the rest.
pub(super) fn bitmap(text: &str) -> (&str, &str) {
    if text.starts_with("(null)") {
        return text.split_at("(null)".len());
    }
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '-' || c == ',')).unwrap_or(text.len());
    let end = text[..end].trim_end_matches(',').len();
    text.split_at(end)
}

/// Whether `cgroup` is `above` or below it.
pub(super) fn is_within(cgroup: &str, above: &str) -> bool {
    above == "/" || cgroup.strip_prefix(above).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}
