//! How soon a kill is reported: by oomtrace, by a reader of the kernel's log, and by bpftrace's oomkill, of the same kills.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::{kill::Trap, tracer::Tracer};
use crate::bench::statistics::quantile;

/// Where bpftrace and its libraries are in the guest.
pub(crate) const BPFTRACE: &str = "/opt/bpftrace";
/// How long bpftrace may take until its probe is attached, emulated.
const BPFTRACE_STARTS: Duration = Duration::from_mins(3);
/// How long the slowest may take to tell.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct Latency {
    /// How many processes are killed
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(100..))]
    kills: u32,
    /// How long to wait between two kills
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pause: u64,
}

impl Latency {
    pub(crate) fn run(&self) -> Result<()> {
        run(self)
    }

    pub(crate) fn words(&self) -> Vec<String> {
        let Self { kills, pause } = self;
        vec!["latency".to_owned(), format!("--kills={kills}"), format!("--pause={pause}")]
    }
}

/// Who reports a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Teller {
    OomtraceVictim,
    OomtraceKill,
    KernelLog,
    Bpftrace,
}

impl Teller {
    const ALL: [Self; 4] = [Self::OomtraceVictim, Self::OomtraceKill, Self::KernelLog, Self::Bpftrace];

    const fn title(self) -> &'static str {
        match self {
            Self::OomtraceVictim => "oomtrace, line oom_victim",
            Self::OomtraceKill => "oomtrace, line oom_kill",
            Self::KernelLog => "reader of /dev/kmsg",
            Self::Bpftrace => "bpftrace's oomkill.bt",
        }
    }
}

/// A line about a victim, as it arrived.
pub(super) struct Word {
    pub(super) teller: Teller,
    victim: i64,
    /// The boot-time clock when it could be read, ns.
    arrived_ns: i64,
    /// When the kernel did what the line is about, where the line says so, ns on the same clock.
    happened_ns: Option<i64>,
}

/// What is known of one kill.
#[derive(Default)]
struct Kill {
    decided_ns: Option<i64>,
    marked_ns: Option<i64>,
    arrived: HashMap<Teller, i64>,
}

fn run(options: &Latency) -> Result<()> {
    let mut tracer = Tracer::start(&[])?;
    println!("kernel   {}\nhooks    {}", rustix::system::uname().release().to_string_lossy(), tracer.hooks());
    let (sender, words) = mpsc::channel();
    let output = tracer.output()?;
    let to = sender.clone();
    thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| send(&to, &line, oomtrace_word)));
    read_kernel_log(sender.clone())?;
    let mut bpftrace = start_bpftrace(sender)?;

    let trap = Trap::set(1)?;
    let mut kills: HashMap<i64, Kill> = HashMap::new();
    for _ in 0..options.kills {
        kills.insert(trap.kill_one()?.into(), Kill::default());
        thread::sleep(Duration::from_millis(options.pause));
    }
    collect(&words, &mut kills);
    // Both fail only where it has ended by itself.
    let _ = bpftrace.kill();
    let _ = bpftrace.wait();
    ensure!(kills.values().any(|kill| kill.marked_ns.is_some()), "oomtrace reported of no kill");
    print(&kills);
    Ok(())
}

fn boot_ns() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Passes on a line that has arrived now, if it is about a victim.
fn send(to: &Sender<Word>, line: &str, read: impl FnOnce(&str) -> Option<(Teller, i64, Option<i64>)>) {
    // Before it is read, which takes time that is not its teller's.
    let arrived_ns = boot_ns();
    if let Some((teller, victim, happened_ns)) = read(line) {
        // Nobody listens any more at the end.
        let _ = to.send(Word { teller, victim, arrived_ns, happened_ns });
    }
}

fn oomtrace_word(line: &str) -> Option<(Teller, i64, Option<i64>)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let happened = line["boot_ns"].as_i64();
    match line["kind"].as_str()? {
        "oom_victim" => Some((Teller::OomtraceVictim, line["tgid"].as_i64()?, happened)),
        "oom_kill" => Some((Teller::OomtraceKill, line["victim"]["tgid"].as_i64()?, happened)),
        _ => None,
    }
}

/// The number behind a word.
fn number_after(line: &str, word: &str) -> Option<i64> {
    let (_, rest) = line.split_once(word)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

pub(super) fn read_kernel_log(to: Sender<Word>) -> Result<()> {
    let mut log = File::open("/dev/kmsg").context("/dev/kmsg cannot be read")?;
    rustix::fs::seek(&log, rustix::fs::SeekFrom::End(0)).context("/dev/kmsg has no end")?;
    thread::spawn(move || {
        // A read gives one record, of at most so many bytes (`CONSOLE_EXT_LOG_MAX`).
        let mut record = [0; 8192];
        // It fails where records were overwritten before they were read; the next read goes on behind them.
        while let Ok(len) = log.read(&mut record).or_else(|_| log.read(&mut record)) {
            let text = String::from_utf8_lossy(&record[..len]);
            send(&to, &text, |text| Some((Teller::KernelLog, number_after(text, ": Killed process ")?, None)));
        }
    });
    Ok(())
}

pub(super) fn start_bpftrace(to: Sender<Word>) -> Result<Child> {
    let libraries = format!("{BPFTRACE}/usr/lib/x86_64-linux-gnu");
    let started = Instant::now();
    let mut child = Command::new(format!("{libraries}/ld-linux-x86-64.so.2"))
        .args(["--library-path", &libraries])
        .arg(format!("{BPFTRACE}/usr/bin/bpftrace"))
        .arg(format!("{BPFTRACE}/usr/sbin/oomkill.bt"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("bpftrace does not start")?;
    let mut output = BufReader::new(child.stdout.take().context("bpftrace has no standard output")?).lines();
    // It says `Attaching 2 probes...` before, and `Tracing oom_kill_process()... Hit Ctrl-C to end.` after.
    let ready = output.by_ref().map_while(Result::ok).any(|line| line.contains("Tracing oom_kill"));
    ensure!(ready, "bpftrace's oomkill.bt ended before it traced anything");
    ensure!(started.elapsed() < BPFTRACE_STARTS, "bpftrace took {:?} to start", started.elapsed());
    println!("bpftrace was ready after {:.1} s", started.elapsed().as_secs_f32());
    thread::spawn(move || {
        for line in output.map_while(Result::ok) {
            send(&to, &line, |line| Some((Teller::Bpftrace, number_after(line, "OOM kill of PID ")?, None)));
        }
    });
    Ok(child)
}

/// Takes down who reported what when, until all have reported of all, or nobody has spoken for a while.
fn collect(words: &Receiver<Word>, kills: &mut HashMap<i64, Kill>) {
    let complete = |kills: &HashMap<i64, Kill>| kills.values().all(|kill| kill.arrived.len() == Teller::ALL.len());
    while !complete(kills) {
        let Ok(Word { teller, victim, arrived_ns, happened_ns }) = words.recv_timeout(PATIENCE) else { return };
        let Some(kill) = kills.get_mut(&victim) else { continue };
        match teller {
            Teller::OomtraceVictim => kill.marked_ns = kill.marked_ns.or(happened_ns),
            Teller::OomtraceKill => kill.decided_ns = kill.decided_ns.or(happened_ns),
            Teller::KernelLog | Teller::Bpftrace => {}
        }
        kill.arrived.entry(teller).or_insert(arrived_ns);
    }
}

fn print(kills: &HashMap<i64, Kill>) {
    for (since, from) in [
        ("the kernel's mark of the victim (mark_oom_victim)", (|kill| kill.marked_ns) as fn(&Kill) -> Option<i64>),
        ("its decision (oom_kill_process is entered; then it writes its report)", |kill| kill.decided_ns),
    ] {
        println!("\nFrom {since} to a line at its reader, milliseconds, of {} kills", kills.len());
        println!(
            "{:<28} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "reported", "lowest", "p50", "p90", "p99", "highest"
        );
        for teller in Teller::ALL {
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds, shown as milliseconds")]
            let mut late: Vec<f64> = kills
                .values()
                .filter_map(|kill| Some((kill.arrived.get(&teller)? - from(kill)?) as f64 / 1e6))
                .collect();
            late.sort_by(f64::total_cmp);
            let [low, p50, p90, p99, high] =
                [0.0, 0.5, 0.9, 0.99, 1.0].map(|share| quantile(&late, share).unwrap_or(f64::NAN));
            println!(
                "{:<28} {:>6} {low:>9.2} {p50:>9.2} {p90:>9.2} {p99:>9.2} {high:>9.2}",
                teller.title(),
                late.len()
            );
        }
    }
}
