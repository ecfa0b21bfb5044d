//! How fast a kubelet's log is read: real logs, one after the other with their times shifted until they are as large as
//! asked, read by `oomtrace timeline` beside `grep -c` for one of the messages.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read as _, Write as _},
    mem::MaybeUninit,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use jiff::{SignedDuration, civil::DateTime};

use super::statistics::Spread;
use crate::{arch::Arch, build};

/// The share of grep's speed that is to be had.
const GOAL: f64 = 0.5;
/// The message that grep looks for: a kubelet's at any verbosity, 1.20 to 1.36.
const MESSAGE: &str = "must evict pod";
/// Each log is over within this time, so that the next copy may begin.
const APART: SignedDuration = SignedDuration::from_hours(2);
/// klog writes no year.
const YEAR: i16 = 2026;

#[derive(Args)]
pub(crate) struct Parse {
    /// How large the log is
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    size: u64,
    /// How often each program reads it, in turns
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// What a program took.
struct Cost {
    /// Time of a processor, its own and the kernel's for it.
    cpu: Duration,
    /// The most memory it had resident, bytes.
    peak_bytes: u64,
}

impl Parse {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let oomtrace = build::oomtrace(Arch::Amd64, true)?;
        let folder = build::target_folder()?.join("bench");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let (whole, quarter) = (folder.join("kubelet.log"), folder.join("kubelet-quarter.log"));
        let logs = logs()?;
        let (size, quarter_size) = (write(&whole, &logs, self.size << 20)?, write(&quarter, &logs, self.size << 18)?);
        println!("log      {} MiB: {} real logs, repeated with shifted times", size >> 20, logs.len());

        let timeline =
            |log: &Path| cost(Command::new(&oomtrace).args(["timeline", "--format=json", "--kubelet-log"]).arg(log));
        let grep = |log: &Path| cost(Command::new("grep").args(["-c", MESSAGE]).arg(log));
        // The file is in the page cache for all of them.
        grep(&whole)?;
        let (mut ours, mut greps, mut ratios, mut peak_bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..self.rounds {
            let (read, searched) = (timeline(&whole)?, grep(&whole)?);
            ratios.push(searched.cpu.as_secs_f64() / read.cpu.as_secs_f64());
            ours.push(speed(size, read.cpu));
            greps.push(speed(size, searched.cpu));
            peak_bytes = peak_bytes.max(read.peak_bytes);
        }
        let quarter_peak_bytes = timeline(&quarter)?.peak_bytes;
        for file in [&whole, &quarter] {
            fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        println!("speed    in MiB for each second of one processor: median (lowest to highest)");
        print_spread("  oomtrace timeline", &ours, 0);
        print_spread(&format!("  grep -c '{MESSAGE}'"), &greps, 0);
        print_spread(&format!("ratio    (goal: at least {GOAL})"), &ratios, 2);
        println!(
            "memory   {} MiB resident at most, {} MiB for a quarter of the log ({} MiB)",
            peak_bytes >> 20,
            quarter_peak_bytes >> 20,
            quarter_size >> 20
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn print_spread(what: &str, values: &[f64], decimals: usize) {
    let Spread { lowest, median, highest } = Spread::of(values);
    println!("{what:34} {median:.decimals$} ({lowest:.decimals$} to {highest:.decimals$})");
}

/// MiB a second.
#[expect(clippy::cast_precision_loss, reason = "a speed for people")]
fn speed(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / took.as_secs_f64()
}

/// The kubelets' logs that the tests read, too.
fn logs() -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("oomtrace").join("tests/data");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path().join("kubelet.log.zst"))).collect::<Result<_>>()?;
    files.retain(|file| file.exists());
    files.sort();
    ensure!(!files.is_empty(), "there is no kubelet.log.zst below {}", folder.display());
    files.iter().map(|file| log(file).with_context(|| format!("cannot read {}", file.display()))).collect()
}

fn log(file: &Path) -> Result<String> {
    let mut text = String::new();
    ruzstd::decoding::StreamingDecoder::new(File::open(file)?)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Writes at least so many bytes of logs, the last of them with its own times: klog's times have no year, and so must not be
/// later than the file. Gives how many bytes they are.
fn write(file: &Path, logs: &[String], at_least: u64) -> Result<u64> {
    let mut out = BufWriter::new(File::create(file).with_context(|| format!("cannot create {}", file.display()))?);
    let round: usize = logs.iter().map(String::len).sum();
    let copies = at_least.div_ceil(round as u64) * logs.len() as u64;
    let mut written = 0;
    for (log, before) in logs.iter().cycle().zip((0..i32::try_from(copies)?).rev()) {
        for line in log.lines() {
            let line = shifted(line, APART * -before);
            out.write_all(line.as_bytes())?;
            out.write_all(b"\n")?;
            written += line.len() as u64 + 1;
        }
    }
    out.flush().with_context(|| format!("cannot write {}", file.display()))?;
    Ok(written)
}

/// A line of klog's at another time; any other line as it is.
fn shifted(line: &str, shift: SignedDuration) -> String {
    let moved = line.get(1..14).and_then(|time| {
        let time = DateTime::strptime("%Y%m%d %H:%M:%S", format!("{YEAR}{time}")).ok()?;
        time.checked_add(shift).ok()
    });
    match moved {
        Some(time) => format!("{}{}{}", &line[..1], time.strftime("%m%d %H:%M:%S"), &line[14..]),
        None => line.to_owned(),
    }
}

/// Runs a program to its end, and drops its output: `grep` that writes to `/dev/null` stops at the first match.
#[expect(clippy::cast_sign_loss, reason = "the kernel gives no negative times and sizes")]
fn cost(command: &mut Command) -> Result<Cost> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let mut output = child.stdout.take().context("no standard output")?;
    io::copy(&mut output, &mut io::sink())?;
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::uninit());
    // SAFETY: both are written by the call, which is for a child of this process that nobody else waits for.
    let waited = unsafe { libc::wait4(i32::try_from(child.id())?, &raw mut status, 0, usage.as_mut_ptr()) };
    if waited == -1 {
        bail!("{} cannot be waited for", command.get_program().display());
    }
    // SAFETY: written, since the call succeeded.
    let usage = unsafe { usage.assume_init() };
    ensure!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "{} ended with status {status:#x}",
        command.get_program().display()
    );
    let time =
        |time: libc::timeval| Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64);
    Ok(Cost { cpu: time(usage.ru_utime) + time(usage.ru_stime), peak_bytes: usage.ru_maxrss as u64 * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_moved_in_time_and_nothing_else_of_it() {
        let line = "I1231 23:59:58.123456    1234 eviction_manager.go:1] \"Evicted\" at=\"1231 00:00:00\"";
        let moved = shifted(line, SignedDuration::from_secs(3));
        assert_eq!(moved, line.replacen("1231 23:59:58", "0101 00:00:01", 1));
        assert_eq!(shifted("goroutine 1 [running]:", APART), "goroutine 1 [running]:");
        assert_eq!(shifted("", APART), "");
    }
}
