//! What oomtrace says of itself.

use std::fmt::Write as _;

use super::words::escape;
use crate::event::{Lost, LostFrom, Phase, Status};

pub(super) fn write_status(out: &mut String, ts: &str, status: &Status) -> std::fmt::Result {
    let probes: Vec<_> = status
        .probes
        .iter()
        .map(|probe| match probe.attached {
            Some(rung) => format!("{} by {rung}", probe.symbol),
            None => format!("{} NOT ATTACHED", probe.symbol),
        })
        .collect();
    let phase = match status.phase {
        Phase::Started => "started",
        Phase::Running => "running",
        Phase::Stopped => "stopped",
    };
    writeln!(
        out,
        "{ts}  oomtrace {} {phase} on kernel {}: {}; {} kills, {} lost",
        status.version,
        escape(&status.kernel),
        probes.join(", "),
        status.kills,
        status.lost,
    )?;
    for degraded in &status.degraded {
        writeln!(out, "    degraded   {}", escape(degraded))?;
    }
    Ok(())
}

pub(super) fn write_lost(out: &mut String, ts: &str, lost: &Lost) -> std::fmt::Result {
    let what = match lost.from {
        LostFrom::Ring => "records: the ring buffer was full",
        LostFrom::Stdout => "lines: standard output was not read in time",
        LostFrom::Map => "failed charges or refused allocations: too many cgroups or processes at a time",
        LostFrom::KernelLog => "records of the kernel's log: it was overwritten before it was read",
        LostFrom::KernelReport => "reports of kills: the kernel's rate limit left them out of its log",
        LostFrom::KubeletLog => "lines of the kubelet's log",
        LostFrom::Record => "lines: the file of --record did not take them, or not in time",
        LostFrom::Output => "lines: a file of --output did not take them, or not in time",
        LostFrom::Source => "events: a source was faster than they could be told",
        LostFrom::Timeline => "events: more came at once than incidents are made of",
    };
    let output = lost.output.as_deref().map(|output| format!(" ({})", escape(output))).unwrap_or_default();
    writeln!(out, "{ts}  LOST {} {what}{output}", lost.count)
}
