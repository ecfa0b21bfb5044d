//! What tracing costs: the same work with and without oomtrace, by turns.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use aya::programs::{ProgramInfo, loaded_programs};
use clap::{Args, ValueEnum};

use super::{
    cgroup,
    kill::Trap,
    tracer::Tracer,
    workload::{Kind, rate},
};
use crate::bench::statistics::Spread;

/// An option of `oomtrace run` that not every version has, and that costs more than the default.
const CHARGE_RETURNS: &str = "--charge-returns";
/// How many kills the probes' own time is measured over.
const KILLS: u32 = 50;

#[derive(Args)]
pub(crate) struct Overhead {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: u32,
    /// How long each measurement lasts, by that clock [default: 150 of instructions, 700 of time]
    #[arg(long, value_name = "MS")]
    lasting: Option<u64>,
    /// What the guest's clock counts
    #[arg(long, value_enum, default_value_t)]
    pub(crate) clock: Clock,
}

impl Overhead {
    pub(crate) fn run(&self) -> Result<()> {
        run(self)
    }

    pub(crate) fn words(&self) -> Vec<String> {
        let Self { rounds, lasting, clock } = self;
        let lasting = lasting.unwrap_or(clock.lasting());
        vec!["overhead".to_owned(), format!("--rounds={rounds}"), format!("--lasting={lasting}")]
    }
}

/// What the clock of an emulated machine goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clock {
    /// A nanosecond an instruction, on one processor: repeats to the third digit, however busy the host is, and knows
    /// nothing of caches
    #[default]
    Instructions,
    /// The host's time, on two processors
    Time,
}

impl Clock {
    /// How long a measurement has to last to be steady.
    const fn lasting(self) -> u64 {
        match self {
            Self::Instructions => 150,
            Self::Time => 700,
        }
    }
}

/// A way to run oomtrace, and how much longer each workload took with it than without, round by round.
struct Setting {
    title: &'static str,
    arguments: &'static [&'static str],
    ratios: [Vec<f64>; Kind::ALL.len()],
}

fn run(options: &Overhead) -> Result<()> {
    let lasting = Duration::from_millis(options.lasting.unwrap_or(options.clock.lasting()));
    let measure = || Kind::ALL.iter().map(|kind| rate(*kind, lasting)).collect::<Result<Vec<f64>>>();
    let mut settings = settings()?;
    let mut without: [Vec<f64>; Kind::ALL.len()] = Default::default();

    // A machine that has just booted is not at rest yet.
    measure()?;
    let mut before = measure()?;
    for round in 1..=options.rounds {
        let mut with = Vec::new();
        for setting in &settings {
            let _tracer = Tracer::start(setting.arguments)?;
            with.push(measure()?);
        }
        let after = measure()?;
        for kind in 0..Kind::ALL.len() {
            // What is drifting, drifts alike before and after.
            let reference = f64::midpoint(before[kind], after[kind]);
            without[kind].push(reference);
            for (setting, rates) in settings.iter_mut().zip(&with) {
                setting.ratios[kind].push(reference / rates[kind]);
            }
        }
        before = after;
        eprintln!("round {round} of {} is done", options.rounds);
    }
    let hooks = Tracer::start(&[])?.hooks();
    println!("kernel   {}\nhooks    {hooks}\n", rustix::system::uname().release().to_string_lossy());
    print_ratios(&settings, &without, options.rounds);
    for setting in &settings {
        print_programs(setting, lasting)?;
    }
    Ok(())
}

fn settings() -> Result<Vec<Setting>> {
    let help = Command::new("oomtrace").args(["run", "--help"]).output().context("oomtrace does not start")?;
    let mut settings = vec![Setting { title: "default set", arguments: &[], ratios: Default::default() }];
    if String::from_utf8_lossy(&help.stdout).contains(CHARGE_RETURNS) {
        settings.push(Setting { title: CHARGE_RETURNS, arguments: &[CHARGE_RETURNS], ratios: Default::default() });
    } else {
        println!("note     this oomtrace has no {CHARGE_RETURNS}: it is not measured");
    }
    Ok(settings)
}

fn print_ratios(settings: &[Setting], without: &[Vec<f64>; Kind::ALL.len()], rounds: u32) {
    println!(
        "Time for the same work with oomtrace, as a multiple of the time without: median (lowest to highest) of {rounds} rounds"
    );
    print!("{:<38} {:>14}", "", "without, /s");
    for setting in settings {
        print!(" {:>26}", setting.title);
    }
    println!();
    for (index, kind) in Kind::ALL.iter().enumerate() {
        print!("{:<38} {:>14.0}", kind.title(), Spread::of(&without[index]).median);
        for setting in settings {
            let Spread { lowest, median, highest } = Spread::of(&setting.ratios[index]);
            print!(" {:>26}", format!("{median:.3} ({lowest:.3} to {highest:.3})"));
        }
        println!();
    }
}

/// Runs every workload and some kills under oomtrace, and tells what its programs took.
fn print_programs(setting: &Setting, lasting: Duration) -> Result<()> {
    let not_ours: Vec<u32> = programs()?.iter().map(ProgramInfo::id).collect();
    let mut tracer = Tracer::start(setting.arguments)?;
    // Taken from its pipe and dropped: it must not have to wait for us.
    let mut output = tracer.output()?;
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    // Keeping the statistics takes time itself, so only now.
    cgroup::write(Path::new("/proc/sys/kernel/bpf_stats_enabled"), "1")?;
    for kind in Kind::ALL {
        rate(kind, lasting)?;
    }
    let trap = Trap::set(1)?;
    for _ in 0..KILLS {
        trap.kill_one()?;
    }
    cgroup::write(Path::new("/proc/sys/kernel/bpf_stats_enabled"), "0")?;

    println!("\nPrograms in the kernel, {}: all workloads once, {KILLS} kills", setting.title);
    println!(
        "{:<18} {:>10} {:>10} {:>14} {:>14} {:>10}",
        "", "runs", "ns a run", "instructions", "verified", "JIT bytes"
    );
    let mut ours = programs()?;
    ours.retain(|program| !not_ours.contains(&program.id()));
    for program in ours {
        let runs = program.run_count();
        let unknown = || "?".to_owned();
        println!(
            "{:<18} {runs:>10} {:>10} {:>14} {:>14} {:>10}",
            program.name_as_str().unwrap_or("?"),
            program.run_time().as_nanos().checked_div(u128::from(runs)).map_or_else(unknown, |ns| ns.to_string()),
            // An instruction has 8 bytes.
            program.size_translated().map_or_else(unknown, |bytes| (bytes / 8).to_string()),
            program.verified_instruction_count().map_or_else(unknown, |count| count.to_string()),
            program.size_jitted(),
        );
    }
    Ok(())
}

fn programs() -> Result<Vec<ProgramInfo>> {
    loaded_programs().collect::<Result<_, _>>().context("the kernel does not list its BPF programs")
}
