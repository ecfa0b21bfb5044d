//! A thousand kills in fifty pods: what of them is reported, and what that costs, beside bpftrace's oomkill and a reader of the
//! kernel's log that see the same kills.

use std::{
    collections::HashMap,
    fs,
    io::BufRead as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::Value;

use super::{
    kill::Trap,
    latency::{Teller, read_kernel_log, start_bpftrace},
    tracer::Tracer,
};

/// A kill is reported by then.
const SETTLED: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct Storm {
    /// How many processes are killed
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(100..))]
    kills: u32,
    /// In how many pods
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pods: u32,
}

impl Storm {
    pub(crate) fn words(&self) -> Vec<String> {
        let Self { kills, pods } = self;
        vec!["storm".to_owned(), format!("--kills={kills}"), format!("--pods={pods}")]
    }

    pub(crate) fn run(&self) -> Result<()> {
        println!("kernel   {}", rustix::system::uname().release().to_string_lossy());
        let traps = (1..=self.pods).map(Trap::set).collect::<Result<Vec<_>>>()?;
        println!(
            "\n{:<36} {:>9} {:>6} {:>6} {:>14} {:>10} {:>9}",
            "", "reported", "wrong", "lost", "CPU ms a kill", "x bpftrace", "peak KiB"
        );
        for (title, arguments) in [
            ("oomtrace, every event", &["--all"][..]),
            ("oomtrace, events without incidents", &["--all", "--no-incidents"]),
            ("oomtrace, incidents alone", &["--only", "incident,status,lost"]),
        ] {
            self.round(title, arguments, &traps)?;
        }
        Ok(())
    }

    fn round(&self, title: &str, arguments: &[&str], traps: &[Trap]) -> Result<()> {
        let mut tracer = Tracer::start_telling(arguments)?;
        let output = tracer.output()?;
        let (sender, words) = mpsc::channel();
        read_kernel_log(sender.clone())?;
        let mut bpftrace = start_bpftrace(sender)?;
        let before = [tracer.pid(), bpftrace.id()].map(cpu_ms);
        let reading = thread::spawn(move || output.lines().map_while(Result::ok).collect::<Vec<_>>());

        let started = Instant::now();
        let mut killed: HashMap<i64, u32> = HashMap::new();
        for number in 0..self.kills {
            let pod = number % self.pods;
            killed.insert(traps[pod as usize].kill_one()?.into(), pod + 1);
        }
        let took = started.elapsed();
        thread::sleep(SETTLED);
        let after = [tracer.pid(), bpftrace.id()].map(cpu_ms);
        let peak = peak_kib(tracer.pid())?;
        let by_bpftrace_peak = peak_kib(bpftrace.id())?;
        drop(tracer);
        // Both fail only where it has ended by itself.
        let _ = bpftrace.kill();
        let _ = bpftrace.wait();
        let lines = reading.join().map_err(|_| anyhow::anyhow!("the reader of oomtrace panicked"))?;
        let found = Outcome::of(&lines, &killed)?;

        let mut others: HashMap<Teller, u64> = HashMap::new();
        for word in words.try_iter() {
            *others.entry(word.teller).or_default() += 1;
        }
        let a_kill = |at: usize| Some((after[at]? - before[at]?) / f64::from(self.kills));
        let (own, of_bpftrace) = (a_kill(0).unwrap_or(f64::NAN), a_kill(1).unwrap_or(f64::NAN));
        println!(
            "{title:<36} {:>9} {:>6} {:>6} {own:>14.2} {:>10.1} {peak:>9}",
            found.reported,
            found.wrong,
            found.lost,
            own / of_bpftrace
        );
        let by = |teller| others.get(&teller).copied().unwrap_or(0);
        println!(
            "{:<36} {:>9} {:>6} {:>6} {of_bpftrace:>14.2} {:>10.1} {by_bpftrace_peak:>9}",
            "  bpftrace's oomkill.bt beside it",
            by(Teller::Bpftrace),
            "",
            "",
            1.0
        );
        println!("{:<36} {:>9}", "  reader of /dev/kmsg beside it", by(Teller::KernelLog));
        println!("  {} kills in {:.1} s", self.kills, took.as_secs_f64());
        ensure!(found.reported > 0, "oomtrace reported no kill");
        Ok(())
    }
}

/// What oomtrace said.
#[derive(Default)]
struct Outcome {
    reported: u64,
    wrong: u64,
    lost: u64,
}

impl Outcome {
    /// Kills are reported as events, or counted in the last revision of their incidents.
    fn of(lines: &[String], killed: &HashMap<i64, u32>) -> Result<Self> {
        let (mut found, mut incidents) = (Self::default(), HashMap::new());
        let mut in_events = 0;
        for line in lines {
            let line: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            match line["kind"].as_str() {
                Some("oom_kill") => {
                    in_events += 1;
                    let pod = line["victim"]["tgid"].as_i64().and_then(|tgid| killed.get(&tgid));
                    let expected = pod.map(|pod| format!("{pod:064x}"));
                    found.wrong += u64::from(line["container"]["id"].as_str() != expected.as_deref());
                }
                Some("incident") => {
                    let id = line["id"].as_str().unwrap_or_default().to_owned();
                    incidents.insert(id, line["kills"].as_u64().unwrap_or(0));
                }
                Some("lost") => found.lost += line["count"].as_u64().unwrap_or(0),
                _ => {}
            }
        }
        found.reported = if in_events > 0 { in_events } else { incidents.values().sum() };
        Ok(found)
    }
}

/// What a process has used of processors, milliseconds.
fn cpu_ms(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may contain anything: the 14th and 15th of all fields, in ticks of 10 ms.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Some(ticks.iter().sum::<f64>() * 10.0)
}

fn peak_kib(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    peak.with_context(|| format!("{path} has no VmHWM"))
}
