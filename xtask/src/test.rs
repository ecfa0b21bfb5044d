//! `cargo xtask test`: every check there is, from the formatting to the kernel tests on each kernel of the matrix. CI
//! runs just this.

pub(crate) mod guests;
mod tally;

use std::{
    num::NonZeroUsize,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;

use self::tally::{Ended, Tally};
use crate::{arch::Arch, lab, manifests, setup, tool, vm::Kernels};

#[derive(Args)]
#[command(
    after_help = "The last line says `N passed, M failed, K skipped`: the tests of all steps together. A step that \
                        failed without a test's doing, such as formatting, counts as one. The exit status is 0 only \
                        if nothing failed. A kernel test that fails is run once more: what passes then counts as \
                        passed, and is listed above the summary with what it said at first. What the guests leave in /out, and their consoles, are in \
                        target/kernel-tests/KERNEL-CGROUP/."
)]
pub(crate) struct Test {
    /// The kernel for the kernel tests: 5.10, 6.1, 6.12, 7.x, for arm64 also 6.12-16k (by the size of its pages), or all
    #[arg(long, default_value = "all")]
    kernel: Kernels,
    /// The architecture for the kernel tests
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// Leave the kernel tests out
    #[arg(long)]
    skip_kernel: bool,
    /// Play scenarios on a real Kubernetes node, too [default: short]
    #[arg(long, value_name = "SET", num_args = 0..=1, require_equals = true, default_missing_value = "short",
        conflicts_with = "filter")]
    lab: Option<lab::scenarios::Set>,
    /// Begin no scenario on a Kubernetes node, nor what it takes, later than so many minutes after the start
    #[arg(long, value_name = "MINUTES", requires = "lab")]
    lab_before: Option<u64>,
    /// How many guests run at a time [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Run only the kernel tests whose names contain this
    #[arg(last = true, conflicts_with = "skip_kernel")]
    filter: Option<String>,
}

/// What became of one step.
struct Row {
    name: String,
    ended: Ended,
    seconds: f32,
}

pub(crate) fn run(test: &Test) -> ExitCode {
    let deadline = test.lab_before.map(|minutes| Instant::now() + Duration::from_mins(minutes));
    let rows = thread::scope(|scope| {
        if !test.skip_kernel {
            // Downloading goes on beside compiling. What it cannot get, the guest that needs it will report.
            scope.spawn(|| setup::guests(test.arch, &test.kernel.of(test.arch)));
        }
        let mut rows = vec![
            step("formatting", || quiet(&["fmt", "--all", "--check"])),
            step("toolchain for the probes", || setup::toolchain().map(|()| Ended::default())),
            step("clippy", || quiet(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
            step("documentation", documentation),
            step("unit tests", tally::cargo_test),
            step("manifests", || match setup::python() {
                Ok(_) => Ok(Tally::of(&manifests::judge()?).into()),
                Err(error) => {
                    println!("skipped: what reads and judges manifests is not to be had here: {error:#}");
                    Ok(Tally { skipped: 1, ..Tally::default() }.into())
                }
            }),
        ];
        if !test.skip_kernel {
            rows.extend(guests::run(test.arch, &test.kernel.of(test.arch), test.filter.as_deref(), test.jobs));
        }
        // At the end: where the cache is cold, this compiles Kubernetes, which would slow the guests down.
        if let Some(set) = test.lab {
            rows.push(step("scenarios on a Kubernetes node", || on_kubernetes(set, deadline)));
        }
        rows
    });
    report(&rows)
}

/// Plays scenarios on a Kubernetes node, as far as there is time for them.
fn on_kubernetes(set: lab::scenarios::Set, deadline: Option<Instant>) -> Result<Ended> {
    let skipped = |why: &str| {
        println!("skipped: {why}");
        Ok(Tally { skipped: 1, ..Tally::default() }.into())
    };
    let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    if is_late() {
        return skipped("the other tests took all the time that --lab-before leaves");
    }
    if let Err(error) = setup::lab() {
        return skipped(&format!("what a Kubernetes node is made of is not to be had here: {error:#}"));
    }
    if is_late() {
        return skipped(
            "compiling Kubernetes took the time that --lab-before leaves; the next run finds it in the cache",
        );
    }
    lab::scenarios::test(set, deadline).map(Ended::from)
}

/// Runs one step under a headline. It does not keep the next from running.
fn step(name: &str, run: impl FnOnce() -> Result<Ended>) -> Row {
    println!("== {name}");
    let started = Instant::now();
    let ended = run().unwrap_or_else(|error| {
        println!("error: {error:#}");
        Ended::failed(&error)
    });
    Row { name: name.to_owned(), ended, seconds: started.elapsed().as_secs_f32() }
}

/// A cargo command that has no tests to count.
fn quiet(arguments: &[&str]) -> Result<Ended> {
    tool::run(tool::cargo().args(arguments))?;
    Ok(Ended::default())
}

/// Documentation without warnings: links that lead nowhere, and whatever else `rustdoc` finds.
fn documentation() -> Result<Ended> {
    let mut cargo = tool::cargo();
    cargo.args([
        "doc",
        "--workspace",
        "--exclude",
        "oomtrace-ebpf",
        "--no-deps",
        "--document-private-items",
        "--quiet",
    ]);
    // Private items are documented with the others, so that links to them lead somewhere.
    tool::run(cargo.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"))?;
    Ok(Ended::default())
}

/// What failed, if only once, and what it said; one table of everything, and the line that CI reads.
fn report(rows: &[Row]) -> ExitCode {
    for Row { name, ended, .. } in rows {
        for failure in &ended.failures {
            println!("== failed: {name}\n{failure}");
        }
        for unsteady in &ended.unsteady {
            println!("== passed only when run again: {name}\n{unsteady}");
        }
    }
    println!("== summary\n{:<50} {:>7} {:>7} {:>7} {:>9}", "", "passed", "failed", "skipped", "seconds");
    for Row { name, ended, seconds } in rows {
        let Tally { passed, failed, skipped } = ended.tally;
        println!("{name:<50} {passed:>7} {failed:>7} {skipped:>7} {seconds:>9.1}");
    }
    let total: Tally = rows.iter().map(|row| row.ended.tally).sum();
    println!("{total}");
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
