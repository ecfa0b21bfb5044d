//! Lines as long as oomtrace ever prints.

use std::{fmt::Write as _, fs, process::Command};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::oomtrace::validated;

/// A node's kernel log with seven decisions of the OOM killer.
const KERNEL_LOG: &str = include_str!("../data/kernel-log/oomkill.kmsg");
/// Prints them.
pub(crate) const COMMAND: [&str; 7] =
    ["oomtrace", "timeline", "--kernel-log", "/tmp/again-and-again.kmsg", "--format", "json", "--full"];

/// What the timeline reports of a node whose containers died again and again: its longest line has more than 100 KiB.
pub(crate) fn long_lines() -> Result<Vec<Value>> {
    const TIMES: u64 = 8;
    let mut log = String::new();
    for time in 0..TIMES {
        for line in KERNEL_LOG.lines() {
            let mut fields = line.splitn(4, ',');
            let stamp =
                (fields.next(), fields.next(), fields.next().and_then(|at| at.parse::<u64>().ok()), fields.next());
            // What follows an entry are its properties.
            let (Some(priority), Some(number), Some(at), Some(rest)) = stamp else { continue };
            writeln!(log, "{priority},{number},{},{rest}", at + time * 200_000_000)?;
        }
    }
    fs::write(COMMAND[3], log)?;
    let output = Command::new(COMMAND[0]).args(&COMMAND[1..]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> = String::from_utf8(output.stdout)?.lines().map(validated).collect::<Result<_>>()?;
    let longest = lines.iter().map(|line| line.to_string().len()).max().unwrap_or(0);
    ensure!(longest > 100 << 10, "the longest of {} lines has but {longest} bytes", lines.len());
    Ok(lines)
}
