//! What became of tests, by what the harnesses print.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    iter::Sum,
    process::Stdio,
};

use anyhow::{Context as _, Result};

use crate::{lab, setup, tool};

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
}

impl Tally {
    /// A step that failed as a whole.
    pub(super) const FAILURE: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Of checks that were fine or not.
    pub(super) fn of(checks: &[bool]) -> Self {
        checks.iter().map(|fine| if *fine { Self { passed: 1, ..Self::default() } } else { Self::FAILURE }).sum()
    }

    /// From the line that Rust's harness ends with: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub(super) fn from_line(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            let mut counts = counts.split("; ").filter_map(|count| count.split_once(' '));
            counts.find(|(_, name)| *name == what)?.0.parse().ok()
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, Self { passed, failed, skipped }| Self {
            passed: sum.passed + passed,
            failed: sum.failed + failed,
            skipped: sum.skipped + skipped,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// What became of a step's tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) tally: Tally,
    /// What each test that failed said of it, shortened.
    pub(super) failures: Vec<String>,
    /// Each test that failed and then passed, and what it had said.
    pub(super) unsteady: Vec<String>,
}

impl Ended {
    /// A step that failed as a whole.
    pub(super) fn failed(error: &anyhow::Error) -> Self {
        Self { tally: Tally::FAILURE, failures: vec![format!("error: {error:#}")], ..Self::default() }
    }
}

impl From<lab::scenarios::Report> for Ended {
    fn from(report: lab::scenarios::Report) -> Self {
        let tally = Tally { passed: report.passed(), failed: report.failed(), skipped: report.skipped() };
        Self { tally, failures: report.failures().collect(), unsteady: report.unsteady().to_vec() }
    }
}

impl From<Tally> for Ended {
    fn from(tally: Tally) -> Self {
        Self { tally, ..Self::default() }
    }
}

/// Listens to what harnesses print, one after the other.
#[derive(Default)]
pub(super) struct Listener {
    tallies: Vec<Tally>,
    failures: Vec<String>,
    unsteady: Vec<String>,
    /// Whether what failed tests said is being printed.
    telling: bool,
}

impl Listener {
    /// How much of what a test said is kept, bytes: the beginning says what failed.
    const MOST: usize = 2000;
    /// What the kernel tests print before a test that failed, and passed when it was run again.
    const UNSTEADY: &str = "passed only when run again: ";

    pub(super) fn hear(&mut self, line: &str) {
        if let Some(tally) = Tally::from_line(line) {
            self.tallies.push(tally);
            self.telling = false;
        } else if let Some(unsteady) = line.strip_prefix(Self::UNSTEADY) {
            self.unsteady.push(shortened(unsteady).to_owned());
        } else if line == "failures:" {
            // It comes twice: above what the tests said, and above their names.
            self.telling = !self.telling;
        } else if self.telling && line.starts_with("---- ") {
            self.failures.push(line.to_owned());
        } else if self.telling
            && let Some(failure) = self.failures.last_mut().filter(|said| said.len() < Self::MOST)
        {
            failure.push('\n');
            failure.push_str(shortened(line));
        }
    }

    /// What became of them all, if a harness has said how it ended.
    pub(super) fn ended(self) -> Option<Ended> {
        if self.tallies.is_empty() {
            return None;
        }
        let failures = self.failures.iter().map(|failure| failure.trim_end().to_owned()).collect();
        Some(Ended { tally: self.tallies.into_iter().sum(), failures, unsteady: self.unsteady })
    }
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(Listener::MOST)]
}

/// Runs the workspace's unit tests, showing what they print as it comes.
pub(super) fn cargo_test() -> Result<Ended> {
    let mut command = tool::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).stdin(Stdio::null()).stdout(Stdio::piped());
    match setup::journal_tools() {
        Ok((writer, journalctl)) => {
            command.env("OOMTRACE_JOURNAL_REMOTE", writer).env("OOMTRACE_JOURNALCTL", journalctl);
        }
        Err(error) => {
            println!("what writes journals is not to be had here: tests that need it test nothing: {error:#}");
        }
    }
    match setup::otlp_receivers() {
        Ok((rotel, victoria_metrics)) => {
            command.env("OOMTRACE_ROTEL", rotel).env("OOMTRACE_VICTORIA_METRICS", victoria_metrics);
        }
        Err(error) => {
            println!("what takes OTLP is not to be had here: tests that need it test nothing: {error:#}");
        }
    }
    match setup::chromium() {
        Ok(chromium) => {
            command.env("OOMTRACE_CHROMIUM", chromium);
        }
        Err(error) => {
            println!("there is no browser to be had here: tests that need it test nothing: {error:#}");
        }
    }
    let mut cargo = command.spawn().context("cannot run `cargo test`")?;
    let mut listener = Listener::default();
    if let Some(output) = cargo.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read what `cargo test` prints")?;
            println!("{line}");
            listener.hear(&line);
        }
    }
    let succeeded = cargo.wait().context("cannot wait for `cargo test`")?.success();
    let mut ended = listener.ended().unwrap_or_default();
    // It can fail without a failing test: what does not compile has no tests.
    if !succeeded && ended.tally.failed == 0 {
        ended.tally.failed = 1;
        ended.failures.push("`cargo test` failed, and no test did: see above".to_owned());
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harness_last_line_is_counted() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.02s";
        assert_eq!(Tally::from_line(line), Some(Tally { passed: 12, failed: 1, skipped: 2 }));
    }

    #[test]
    fn a_line_of_a_single_test_is_not() {
        assert_eq!(Tally::from_line("test cache::tests::a_piece ... ok"), None);
    }

    #[test]
    fn what_tests_said_that_failed_is_kept() {
        let mut listener = Listener::default();
        let printed = "test z ...\npassed only when run again: z: late\nok\ntest a ... FAILED\nfailures:\n\n---- a stdout ----\nkills: 2 is not 1\n\n---- b ----\nb\nc\n\n\nfailures:\n    a\n    b\n\n\
                       test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n\
                       test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        printed.lines().for_each(|line| listener.hear(line));
        let failures = vec!["---- a stdout ----\nkills: 2 is not 1".to_owned(), "---- b ----\nb\nc".to_owned()];
        let tally = Tally { passed: 5, failed: 2, skipped: 1 };
        assert_eq!(listener.ended(), Some(Ended { tally, failures, unsteady: vec!["z: late".to_owned()] }));
    }

    #[test]
    fn a_harness_that_has_not_ended_has_no_result() {
        let mut listener = Listener::default();
        listener.hear("test a ... ok");
        assert_eq!(listener.ended(), None);
    }

    #[test]
    fn a_check_that_is_not_fine_is_a_failed_test() {
        assert_eq!(Tally::of(&[true, false, true]), Tally { passed: 2, failed: 1, skipped: 0 });
    }

    #[test]
    fn the_line_that_ci_reads_adds_everything_up() {
        let tally = Tally { passed: 3, failed: 0, skipped: 1 };
        assert_eq!(
            [tally, tally, Tally::FAILURE].into_iter().sum::<Tally>().to_string(),
            "6 passed, 1 failed, 2 skipped"
        );
    }
}
