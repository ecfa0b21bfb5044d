//! What oomtrace says, compared with what a real kernel says of the same kill.
//!
//! These run as root in a virtual machine that `cargo xtask test` boots, one at a time; anywhere else there are none.

mod cgroup;
mod charges;
mod compare;
mod decisions;
mod doctor;
mod endings;
mod kernel_log;
mod kills;
mod leak;
mod losses;
mod oomtrace;
mod refusals;
mod rungs;
mod scenarios;
mod start;
mod workload;

use libtest_mimic::{Arguments, Trial};

fn main() {
    if workload::run_if_asked() {
        return;
    }
    let in_vm = std::env::var_os("OOMTRACE_VM").is_some();
    if !in_vm {
        eprintln!("the kernel tests need a machine of their own: `cargo xtask test` boots one for them");
    }
    let scenarios =
        if in_vm { [charges::ALL, scenarios::ALL, leak::ALL, rungs::ALL, start::ALL].concat() } else { Vec::new() };
    let scenarios = if in_vm { [scenarios::ALL, leak::ALL, rungs::ALL, doctor::ALL].concat() } else { Vec::new() };
    let ignored = |name| in_vm && cgroup::is_v1() && !scenarios::possible_on_v1(name);
    let scenarios = if in_vm {
        [kills::ALL, decisions::ALL, charges::ALL, refusals::ALL, endings::ALL, losses::ALL, leak::ALL].concat()
    } else {
        Vec::new()
    };
    let ignored = |name| in_vm && !scenarios::possible(name);
    let trials = scenarios
        .into_iter()
        .map(|(name, test)| Trial::test(name, move || test().map_err(Into::into)).with_ignored_flag(ignored(name)))
        .collect();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit();
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
