//! A kubelet's log that grows as it did on its node.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Where the log grows.
pub(super) const FILE: &str = "/tmp/kubelet.log";
/// What the pace is kept around.
const MOMENTS: [&str; 2] = ["must evict pod", "is evicted successfully"];
/// How long before its first line and after its last.
const AROUND: Duration = Duration::from_secs(5);

/// A log of klog's, with the time of day of each line.
pub(super) struct Log(Vec<(Duration, String)>);

impl Log {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(context)?;
        let mut text = String::new();
        ruzstd::decoding::StreamingDecoder::new(file)?.read_to_string(&mut text).with_context(context)?;
        // The log has to be there before it can be followed.
        File::create(FILE).with_context(|| format!("cannot create {FILE}"))?;
        let mut at = Duration::ZERO;
        Ok(Self(
            text.lines()
                .map(|line| {
                    // A line without a time belongs to the one before.
                    at = time_of_day(line).unwrap_or(at);
                    (at, format!("{line}\n"))
                })
                .collect(),
        ))
    }

    /// Writes the log: what is reported around the eviction at its own pace, the rest at once.
    pub(super) fn replay(&self) -> Result<()> {
        let Self(lines) = self;
        let mut moments =
            lines.iter().filter(|(_, line)| MOMENTS.iter().any(|moment| line.contains(moment))).map(|(at, _)| *at);
        let first = moments.next().context("the log tells of no eviction")?;
        let (from, to) = (first.saturating_sub(AROUND), moments.next_back().unwrap_or(first) + AROUND);
        let mut file = File::options().append(true).open(FILE)?;
        let started = Instant::now();
        for (at, line) in lines {
            let due = (*at).clamp(from, to).saturating_sub(from);
            thread::sleep(due.saturating_sub(started.elapsed()));
            file.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

/// `Lmmdd hh:mm:ss.uuuuuu`.
fn time_of_day(line: &str) -> Option<Duration> {
    let mut parts = line.get(6..21)?.split([':', '.']).map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds, micros) = (parts.next()??, parts.next()??, parts.next()??, parts.next()??);
    Some(Duration::from_secs((hours * 60 + minutes) * 60 + seconds) + Duration::from_micros(micros))
}
