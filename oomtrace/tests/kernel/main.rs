//! What oomtrace says, compared with what a real kernel says of the same kill.
//!
//! These run as root in a virtual machine that `cargo xtask test` boots, one at a time; anywhere else there are none.

mod cgroup;
mod charges;
mod clocks;
mod compare;
mod confined;
mod decisions;
mod doctor;
mod endings;
mod engines;
mod kernel_log;
mod kills;
mod kubelet_words;
mod leak;
mod lenses;
mod long_lines;
mod losses;
mod names;
mod oomtrace;
mod outputs;
mod prometheus;
mod refusals;
mod replay;
mod restart;
mod rsyslog;
mod rungs;
mod runtime;
mod scenarios;
mod soak;
mod start;
mod unit;
mod workload;

use std::{panic, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if workload::run_if_asked() {
        return ExitCode::SUCCESS;
    }
    let in_vm = std::env::var_os("OOMTRACE_VM").is_some();
    if in_vm && let Some(ended) = soak::run_if_asked() {
        return ended;
    }
    if !in_vm {
        eprintln!("the kernel tests need a machine of their own: `cargo xtask test` boots one for them");
    }
    // A guest with something that only some tests need has those, and no others.
    let with = std::env::var("OOMTRACE_VM_WITH").unwrap_or_default();
    let timed = std::env::var("OOMTRACE_VM_CLOCK").is_ok_and(|clock| clock == "instructions");
    let scenarios = match (in_vm, with.as_str()) {
        (true, "") if timed => names::TIMED.to_vec(),
        (true, "containerd") => runtime::ALL.to_vec(),
        (true, "docker") => engines::DOCKER.to_vec(),
        (true, "podman") => engines::PODMAN.to_vec(),
        (true, "readers") => [prometheus::ALL, rsyslog::ALL, unit::ALL].concat(),
        (true, _) => [
            kills::ALL,
            decisions::ALL,
            charges::ALL,
            refusals::ALL,
            endings::ALL,
            losses::ALL,
            outputs::ALL,
            names::ALL,
            leak::ALL,
            lenses::ALL,
            replay::ALL,
            rungs::ALL,
            start::ALL,
            restart::ALL,
            doctor::ALL,
            clocks::ALL,
            confined::ALL,
        ]
        .concat(),
        (false, _) => Vec::new(),
    };
    let ignored = |name| in_vm && !scenarios::possible(name);
    let trials = scenarios
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || twice(name, test).map_err(Into::into)).with_ignored_flag(ignored(name))
        })
        .collect();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs a test, and once more where it failed: on an emulated machine whose processors have more to do, now and then something
/// that takes milliseconds takes seconds. `cargo xtask test` finds the line that this prints, and reports it at its end.
fn twice(name: &str, test: fn() -> Outcome) -> Result<(), String> {
    let run = || panic::catch_unwind(test).unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked: see above")));
    let Err(first) = run() else { return Ok(()) };
    run().map_err(|second| format!("{second:#}\n\nand before, when it ran first: {first:#}"))?;
    println!("\npassed only when run again: {name}: {}", format!("{first:#}").replace('\n', " "));
    Ok(())
}

/// The size of a page: counters that lag do so by a number of pages.
pub(crate) fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// A test's result: an error's text is what failed.
pub(crate) type Outcome = anyhow::Result<()>;

/// Fails with both sides and what they are.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr, $($what:tt)+) => {
        match (&$left, &$right) {
            (left, right) => anyhow::ensure!(left == right, "{}: {left:?} is not {right:?}", format_args!($($what)+)),
        }
    };
}
