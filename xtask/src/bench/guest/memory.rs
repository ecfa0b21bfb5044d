//! How much memory oomtrace takes.

use std::{
    fs,
    io::BufRead as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::{kill::Trap, tracer::Tracer};

/// How much resident memory an idle oomtrace should stay below.
const GOAL_KIB: u64 = 10 << 10;
/// By then a kill is reported.
const SETTLED: Duration = Duration::from_secs(2);
/// The numbers of kills after which to look, in ten thousandths of all.
const LOOKS: [u32; 8] = [100, 500, 1000, 2500, 5000, 7500, 9000, 10_000];

#[derive(Args)]
pub(crate) struct Memory {
    /// How many processes are killed
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
}

impl Memory {
    pub(crate) fn run(&self) -> Result<()> {
        run(self)
    }

    pub(crate) fn words(&self) -> Vec<String> {
        vec!["memory".to_owned(), format!("--kills={}", self.kills)]
    }
}

/// Of `/proc/PID/status`, KiB.
struct Resident {
    now: u64,
    anonymous: u64,
    peak: u64,
}

impl Resident {
    fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has oomtrace ended?"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kib = line.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
            kib.with_context(|| format!("{path} has no {name}"))
        };
        Ok(Self { now: field("VmRSS")?, anonymous: field("RssAnon")?, peak: field("VmHWM")? })
    }

    fn print(&self, when: &str, reported: u64) {
        let Self { now, anonymous, peak } = self;
        println!("{when:<24} {now:>10} {anonymous:>12} {peak:>10} {reported:>10}");
    }
}

fn run(options: &Memory) -> Result<()> {
    let mut tracer = Tracer::start(&[])?;
    println!("kernel   {}\nhooks    {}\n", rustix::system::uname().release().to_string_lossy(), tracer.hooks());
    let output = tracer.output()?;
    let reported = Arc::new(AtomicU64::new(0));
    let lost = Arc::new(AtomicU64::new(0));
    let (kills_reported, losses_reported) = (Arc::clone(&reported), Arc::clone(&lost));
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            kills_reported.fetch_add(u64::from(line.contains(r#""kind":"oom_kill""#)), Ordering::Relaxed);
            losses_reported.fetch_add(u64::from(line.contains(r#""kind":"lost""#)), Ordering::Relaxed);
        }
    });

    println!("{:<24} {:>10} {:>12} {:>10} {:>10}", "", "resident", "anonymous", "peak", "kills");
    println!("{:<24} {:>10} {:>12} {:>10} {:>10}", "", "KiB", "KiB", "KiB", "reported");
    Resident::of(tracer.pid())?.print("attached", 0);
    thread::sleep(SETTLED);
    let idle = Resident::of(tracer.pid())?;
    idle.print("idle", 0);

    let trap = Trap::set(1)?;
    let started = Instant::now();
    let mut done = 0;
    let mut at_tenth = None;
    for look in LOOKS {
        let until = u32::try_from(u64::from(options.kills) * u64::from(look) / 10_000)?;
        while done < until {
            trap.kill_one()?;
            done += 1;
        }
        let resident = Resident::of(tracer.pid())?;
        resident.print(&format!("after {done} kills"), reported.load(Ordering::Relaxed));
        if look == 1000 {
            at_tenth = Some(resident);
        }
    }
    let rate = f64::from(done) / started.elapsed().as_secs_f64();
    thread::sleep(SETTLED);
    let end = Resident::of(tracer.pid())?;
    let reported = reported.load(Ordering::Relaxed);
    end.print("at rest again", reported);
    ensure!(reported > 0, "oomtrace reported of no kill");

    println!(
        "\n{done} kills at {rate:.0} a second, {reported} reported, {} lines of loss",
        lost.load(Ordering::Relaxed)
    );
    let verdict = |kib| if kib < GOAL_KIB { "reached" } else { "MISSED" };
    println!("goal     idle below {GOAL_KIB} KiB: {}; at the end: {}", verdict(idle.now), verdict(end.now));
    if let Some(at_tenth) = at_tenth {
        println!(
            "growth   {} KiB from the first tenth of the kills to the end",
            end.now.cast_signed() - at_tenth.now.cast_signed()
        );
    }
    Ok(())
}
