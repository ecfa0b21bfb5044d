//! Counts tests by what the harnesses print.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    iter::Sum,
    process::Stdio,
};

use anyhow::{Context as _, Result};

use crate::tool;

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

/// Runs the workspace's unit tests, showing what they print as it comes.
pub(super) fn cargo_test() -> Result<Tally> {
    let mut command = tool::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut cargo = command.spawn().context("cannot run `cargo test`")?;
    let mut tallies = Vec::new();
    if let Some(output) = cargo.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read what `cargo test` prints")?;
            println!("{line}");
            tallies.extend(Tally::from_line(&line));
        }
    }
    let succeeded = cargo.wait().context("cannot wait for `cargo test`")?.success();
    let tally: Tally = tallies.into_iter().sum();
    // It can fail without a failing test: what does not compile has no tests.
    Ok(if succeeded || tally.failed > 0 { tally } else { Tally { failed: 1, ..tally } })
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
