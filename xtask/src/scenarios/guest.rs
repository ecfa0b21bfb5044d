//! The part that runs in the guest: makes each death happen under a running oomtrace, and asks it for its verdict.

mod deaths;
mod pod;
mod replay;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    ptr, thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use self::deaths::{ALL, Death, Expected};

/// By then a death is reported.
const SETTLED: Duration = Duration::from_millis(1500);
const RECORD: &str = "/tmp/recording.jsonl";
/// What a kubelet's counter says after it evicted two pods for the node's sake. No recording at hand has it: the same load as in
/// the recorded ones crosses the one threshold or the other, whichever the kubelet's loop sees first.
const NODE_PRESSURE: &str = "/tmp/node-pressure.txt";
const NODE_PRESSURE_METRICS: &str = "\
# TYPE kubelet_evictions counter
kubelet_evictions{eviction_signal=\"memory.available\"} 2
";

#[derive(Args)]
pub(crate) struct InGuest {
    filter: Option<String>,
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn run(options: &InGuest) -> Result<()> {
    // The kernel's own report must not have to wait for a serial line.
    fs::write("/proc/sys/kernel/printk", "1 4 1 7")?;
    fs::write(NODE_PRESSURE, NODE_PRESSURE_METRICS)?;
    let mut wrong = 0;
    println!("{:<50} {:<20} verdict", "death", "expected");
    for (name, death, expected) in ALL {
        if options.filter.as_ref().is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        if let Death::MadeWith(program, _) = death
            && !Path::new(program).exists()
        {
            println!("{name:<50} {:<20} skipped: there is no {program}", expected.scenario);
            continue;
        }
        let verdict = incidents(death, options.verbose).and_then(|incidents| judge(&incidents, expected));
        let (got, right) = match verdict {
            Ok(got) => (got, true),
            Err(error) => (format!("WRONG: {error:#}"), false),
        };
        wrong += u32::from(!right);
        println!("{name:<50} {:<20} {got}", expected.scenario);
    }
    ensure!(wrong == 0, "{wrong} verdicts are wrong");
    Ok(())
}

/// Makes one death happen, and gives the incidents that oomtrace makes of it.
fn incidents(death: &Death, verbose: bool) -> Result<Vec<Value>> {
    let arguments = match death {
        Death::Made(make) | Death::MadeWith(_, make) => {
            record(&[], *make)?;
            vec!["--events".to_owned(), RECORD.to_owned()]
        }
        Death::Replayed(capture) => {
            let log = replay::Log::read(&Path::new(super::RECORDINGS).join(capture).join("kubelet.log.zst"))?;
            record(&["--kubelet-log", replay::FILE], || log.replay())?;
            vec!["--events".to_owned(), RECORD.to_owned()]
        }
        Death::Recorded(arguments) => {
            let recordings = super::RECORDINGS;
            arguments.iter().map(|argument| argument.replace("RECORDINGS", recordings)).collect()
        }
    };
    if verbose && !matches!(death, Death::Recorded(_)) {
        eprint!("{}", fs::read_to_string(RECORD)?);
    }
    let output = Command::new("oomtrace")
        .args(["timeline", "--format", "json", "--log-level", "warn"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "`oomtrace timeline` ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    if verbose {
        eprint!("{text}");
    }
    let lines = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")));
    lines.filter(|line: &Result<Value>| line.as_ref().map_or(true, |line| line["kind"] == "incident")).collect()
}

/// Runs oomtrace while something happens, and keeps its events in a file.
fn record(arguments: &[&str], make: impl FnOnce() -> Result<()>) -> Result<()> {
    if Path::new(RECORD).exists() {
        fs::remove_file(RECORD)?;
    }
    let mut oomtrace = Command::new("oomtrace")
        .args(["run", "--format", "json", "--all", "--log-level", "error", "--record", RECORD])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("oomtrace does not start")?;
    let mut output = BufReader::new(oomtrace.stdout.take().context("oomtrace has no standard output")?);
    let mut first = String::new();
    output.read_line(&mut first)?;
    ensure!(first.contains(r#""phase":"started""#), "oomtrace's first line is {first:?}");
    thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));

    let outcome = make();
    thread::sleep(SETTLED);
    let pid = i32::try_from(oomtrace.id()).ok().and_then(Pid::from_raw).context("oomtrace has no pid")?;
    kill_process(pid, Signal::TERM).context("oomtrace did not survive")?;
    let status = oomtrace.wait()?;
    pod::end_all();
    outcome?;
    ensure!(status.success(), "oomtrace ended with {status}");
    Ok(())
}

/// Whether there is the one incident that is expected, in words.
fn judge(incidents: &[Value], expected: &Expected) -> Result<String> {
    let verdicts: Vec<&Value> = incidents.iter().map(|incident| &incident["verdict"]).collect();
    let names: Vec<&str> = verdicts.iter().filter_map(|verdict| verdict["scenario"].as_str()).collect();
    ensure!(
        names.len() == expected.incidents,
        "{} incidents instead of {}: {names:?}",
        names.len(),
        expected.incidents
    );
    for verdict in &verdicts {
        ensure!(verdict["scenario"] == expected.scenario, "{names:?}: {}", verdict["summary"]);
        for (modifier, expected) in expected.modifiers {
            let got = &verdict[*modifier];
            ensure!(got.as_bool() == Some(*expected), "`{modifier}` is {got}: {}", verdict["summary"]);
        }
    }
    let modifiers =
        expected.modifiers.iter().map(|(name, value)| if *value { (*name).to_owned() } else { format!("not {name}") });
    Ok(format!("{:<20} {}", names.join(", "), modifiers.collect::<Vec<_>>().join(", ")))
}

/// A process that faults, as a program with a bug does.
pub(crate) fn fault() -> Result<()> {
    // SAFETY: not safe at all, and meant not to be: reading the first page is a fault.
    unsafe { ptr::without_provenance::<u8>(8).read_volatile() };
    bail!("the first page can be read")
}
