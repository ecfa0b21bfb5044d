//! The names of signals: JSON lines have these, a number stands beside them.

use serde::{Deserialize, Deserializer};

/// Those of Linux on x86-64 and arm64, but for the real-time ones: `signal(7)`. The first is number 1.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// A signal's name: `SIGKILL` of 9; `signal 34` where it has none.
#[must_use]
pub fn signal_name(number: u32) -> String {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let name = index.and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("signal {number}"), |name| (*name).to_owned())
}

/// A signal as lines have it; before schema version 2 `signal` was the number.
#[derive(Deserialize)]
#[serde(untagged)]
enum NameOrNumber {
    Name(String),
    Number(u32),
}

impl From<NameOrNumber> for String {
    fn from(signal: NameOrNumber) -> Self {
        match signal {
            NameOrNumber::Name(name) => name,
            NameOrNumber::Number(number) => signal_name(number),
        }
    }
}

pub(super) fn name_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    NameOrNumber::deserialize(deserializer).map(Into::into)
}

pub(super) fn optional_name_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<NameOrNumber>::deserialize(deserializer).map(|signal| signal.map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_the_name_that_the_system_has_for_its_number() {
        for (number, name) in [
            (libc::SIGHUP, "SIGHUP"),
            (libc::SIGKILL, "SIGKILL"),
            (libc::SIGSEGV, "SIGSEGV"),
            (libc::SIGTERM, "SIGTERM"),
            (libc::SIGSYS, "SIGSYS"),
        ] {
            assert_eq!(signal_name(number.cast_unsigned()), name);
        }
        assert_eq!([0, 34].map(signal_name), ["signal 0", "signal 34"]);
    }
}
