//! What oomtrace says of itself.

use super::{
    page::{BOLD, GREEN, PLAIN, Page, RED, YELLOW},
    words::escape,
};
use crate::event::{Lost, LostFrom, Mark, Phase, Status};

pub(super) fn write_status(page: &mut Page, ts: &str, node: &str, status: &Status) {
    let phase = match status.phase {
        Phase::Started => return write_start(page, node, status),
        Phase::Running => "running",
        Phase::Stopped => "stopped",
    };
    let lost = if status.lost == 0 { "nothing".to_owned() } else { count(status.lost, "event") };
    let degraded = match status.degraded.len() {
        0 => String::new(),
        many => format!(", {many} degraded"),
    };
    let kills = count(status.kills, "kill");
    page.event(ts, Mark::Other, &format!("oomtrace {phase}: {kills} so far, {lost} lost{degraded}"));
}

/// Three lines: what is traced, what is degraded and what would help, how to stop.
pub(super) fn write_start(page: &mut Page, node: &str, status: &Status) {
    let mut ways: Vec<_> = status.attached.values().copied().flatten().collect();
    ways.sort_unstable();
    ways.dedup();
    let ways: Vec<_> = ways.iter().map(ToString::to_string).collect();
    let cgroups = status.cgroup_version.map_or_else(String::new, |version| format!(", cgroup v{version}"));
    let text = format!(
        "OOM kills and evictions on node {} by {} (oomtrace {}, kernel {}{cgroups})",
        escape(node),
        ways.join(", "),
        status.version,
        escape(&status.kernel),
    );
    page.paragraph(&[("Tracing", GREEN), (" ", PLAIN)], 2, PLAIN, &text);
    match &status.degraded[..] {
        [] => page.paragraph(&[("Degraded:", BOLD), (" ", PLAIN)], 2, PLAIN, "nothing"),
        [one] => page.paragraph(&[("Degraded:", YELLOW), (" ", PLAIN)], 2, PLAIN, &one_line(one)),
        many => {
            let many: Vec<_> =
                many.iter().enumerate().map(|(at, one)| format!("({}) {}", at + 1, one_line(one))).collect();
            let text = format!("{}. `oomtrace doctor` says more", many.join("; "));
            page.paragraph(&[("Degraded:", YELLOW), (" ", PLAIN)], 2, PLAIN, &text);
        }
    }
    page.paragraph(&[("Stop", BOLD), (" ", PLAIN)], 2, PLAIN, "with Ctrl-C, or SIGTERM");
}

fn one_line(text: &str) -> String {
    escape(&text.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}

/// `1 kill`, `2 kills`
pub(in crate::sink) fn count(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn write_lost(page: &mut Page, ts: &str, lost: &Lost) {
    let what = match lost.from {
        LostFrom::Ring => "records: the ring buffer was full",
        LostFrom::Program => "runs of a probe: the kernel skipped them",
        LostFrom::Stdout => "lines: standard output was not read in time",
        LostFrom::Map => "failed charges or refused allocations: too many cgroups or processes at a time",
        LostFrom::KernelLog => "records of the kernel's log: it was overwritten before it was read",
        LostFrom::KernelReport => "reports of kills: the kernel's rate limit left them out of its log",
        LostFrom::KubeletLog => "lines of the kubelet's log",
        LostFrom::Record => "lines: the file of --record did not take them, or not in time",
        LostFrom::Output => "lines: a file of --output did not take them, or not in time",
        LostFrom::KubernetesEvents => "Kubernetes Events: the API server did not take them, or a pod has no name",
        LostFrom::Otlp => "lines: the receiver of --otlp did not take them, or not in time",
        LostFrom::Web => "lines: the page of --web did not take them in time",
        LostFrom::Source => "events: a source was faster than they could be reported",
        LostFrom::Timeline => "events: more came at once than incidents are made of",
    };
    let output = lost
        .output
        .as_deref()
        .or(lost.program.as_deref())
        .map(|output| format!(" ({})", escape(output)))
        .unwrap_or_default();
    page.notice(ts, RED, &format!("LOST {} {what}{output}", lost.count));
}
