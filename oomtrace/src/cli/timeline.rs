//! `oomtrace timeline`: incidents from recordings and logs, after the fact.

mod boot;
mod envelope;
mod input;
mod intake;
mod logs;
mod place;
mod pods;
mod print;
mod recording;
mod untimed;
mod what;
mod year;
mod zone;

use std::{path::PathBuf, process::ExitCode};

use clap::ArgGroup;
use jiff::{Timestamp, tz::TimeZone};
use tracing::warn;

use self::{
    intake::Intake,
    print::{Output, Printer},
};
use crate::{
    event::{Incident, Line, OomKill, Scenario},
    node::snapshot,
    timeline::{Keep, Known, Timeline},
};

/// Options of `oomtrace timeline`.
///
/// Exit status: 0 where files could be read, whether or not there are incidents in them; 1 where one could not be opened, or
/// there is nothing in any log that can be read; 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("inputs").args(["events", "kernel_log", "kubelet_log", "pods"]).required(true).multiple(true)))]
pub(super) struct Args {
    /// Recordings: what `oomtrace run --record` wrote, or its JSON lines. Of several nodes at will. Without other files, and without
    /// --full, the incidents are those that were reported live, with the same ids and counts; else all events are judged anew
    /// with what the other files know.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    events: Vec<PathBuf>,
    /// The kernel's log: of `dmesg`, `dmesg -T`, `/dev/kmsg` or the journal in any of its forms.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    kernel_log: Vec<PathBuf>,
    /// The kubelet's log: bare, as JSON, or from the journal in any of its forms.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    kubelet_log: Vec<PathBuf>,
    /// What is known of pods: `kubectl get pods -A -o json`, the kubelet's `/pods`, `crictl ps -o json` and `crictl pods
    /// -o json`, `kubectl get events -A -o json`, `kubectl get node -o json`, each also as YAML, a copy of `/var/log/pods`,
    /// or a folder of such files. Without logs and recordings: incidents are what these say.
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    pods: Vec<PathBuf>,
    /// The kubelet's `/metrics`: which eviction signal it was. The last reading counts.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    kubelet_metrics: Vec<PathBuf>,
    /// When the node booted, for a kernel log that counts from there. Default: worked out from the other files.
    #[arg(long, value_name = "TIME")]
    boot_time: Option<Timestamp>,
    /// The node's zone, for logs that write local time, as its distance from UTC: +02:00. Default: the one that another log
    /// tells, else UTC.
    #[arg(long, value_name = "+HH:MM", value_parser = zone, allow_hyphen_values = true)]
    time_zone: Option<TimeZone>,
    /// The year of times that are written without one, as klog's and syslog's are. Default: the one that a date in any of the
    /// logs has, else the last one before the log was written.
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i16).range(1970..=9999))]
    year: Option<i16>,
    /// The node that logs are from. Default: the one that the recording, the pods or the lines of the logs name.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Incidents that ended after this time.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Incidents that began before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Incidents of this pod.
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pod: Option<String>,
    /// Incidents of this container.
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// Incidents of this scenario.
    #[arg(long, value_enum)]
    scenario: Option<Scenario>,
    /// Everything: the events of each incident instead of their numbers, ends that have nothing to do with memory, and the
    /// events that came to no incident, such as pods refused admission. Lines may have any length: without, none is longer than 16
    /// KiB, and says of each list how much it leaves out (`steps_omitted`, `candidates_omitted`, …).
    #[arg(long)]
    full: bool,
    /// How to print incidents. Default: text on a terminal, else JSON lines.
    #[arg(long, value_enum)]
    format: Option<Output>,
}

/// `+02:00`
fn zone(text: &str) -> Result<TimeZone, String> {
    let offset = || {
        let (sign, rest) = match text.as_bytes().first()? {
            b'+' => (1, &text[1..]),
            b'-' => (-1, &text[1..]),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let (hours, minutes) = (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?);
        let in_range = (0..=14).contains(&hours) && (0..60).contains(&minutes);
        in_range.then(|| jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()).flatten()
    };
    offset().map(TimeZone::fixed).ok_or_else(|| "it has to be a distance from UTC such as +02:00 or -05:30".to_owned())
}

/// Reads all files, and prints the incidents in them.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    input::one_stdin([&args.events, &args.kernel_log, &args.kubelet_log, &args.pods, &args.kubelet_metrics])?;
    let mut known = Known { everything: args.full, ..Known::default() };
    for path in &args.pods {
        pods::read(path, &mut known.snapshot)?;
    }
    for path in &args.kubelet_metrics {
        known.evictions_by_signal.extend(pods::evictions_by_signal(path)?);
    }
    let mut recorded = recording::read_all(&args.events)?;
    if args.replays() {
        intake::replay(args, &recorded)?;
        return Ok(ExitCode::SUCCESS);
    }
    let logs = !args.kernel_log.is_empty() || !args.kubelet_log.is_empty();
    if !logs && args.events.is_empty() {
        recorded = pods::lines(&known.snapshot);
        known.statuses_alone = true;
    }
    let latest = year::latest(args, &known)?;
    let zone = match &args.time_zone {
        Some(zone) => zone.clone(),
        None => zone::of_logs(args, latest)?.unwrap_or(TimeZone::UTC),
    };
    let logs::KernelLogs { told: kernel, untimed, readable, mut hosts } = logs::KernelLogs::read(args, &zone, latest)?;
    let mut kubelet = logs::KubeletLogs::open(args, &zone, latest)?;
    hosts.extend(kubelet.hosts());
    let node = node(args, &recorded, &known, hosts)?;
    recorded.extend(snapshot::lines::last_words(&known.snapshot, &node));
    let zero = match boot::zero(args.boot_time, &recorded, &kernel, &known) {
        Some(zero) => zero,
        None => boot::zero_by_kubelet(&kernel, kubelet.read_all()?),
    };

    let timeline = Timeline::new(Keep::ALL, known);
    let mut intake = Intake::new(args, timeline, recorded, node, zero, Printer::new(args.format, args.full));
    intake.take(kernel);
    intake.take_untimed(untimed);
    loop {
        let goes_on = kubelet.read_piece()?;
        intake.take(kubelet.told.drain(..));
        if !goes_on || intake.is_unread() {
            break;
        }
        if let Some(read) = kubelet.read_up_to().filter(|_| intake.is_full()) {
            intake.advance(read, kubelet.spoke(), &|kill: &mut OomKill| kubelet.name(kill))?;
        }
    }
    intake.finish(kubelet.spoke(), &|kill: &mut OomKill| kubelet.name(kill))?;
    let nothing_read = logs && !readable && !kubelet.is_readable() && args.events.is_empty();
    Ok(if nothing_read { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The node that logs are from.
fn node(args: &Args, recorded: &[Line], known: &Known, mut hosts: Vec<String>) -> anyhow::Result<String> {
    if let Some(name) = &args.node_name {
        return Ok(name.clone());
    }
    let mut nodes: Vec<&str> = recorded.iter().map(|line| line.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let logs = !args.kernel_log.is_empty() || !args.kubelet_log.is_empty();
    match (&nodes[..], &known.snapshot.nodes[..]) {
        ([one], _) => Ok((*one).to_owned()),
        ([], [one]) => Ok(one.clone()),
        ([], nodes) => {
            hosts.sort_unstable();
            hosts.dedup();
            let [host] = &hosts[..] else {
                if hosts.len() > 1 {
                    warn!(
                        "lines of the logs name {} hosts ({}): their incidents are reported without one (give the log of each \
                         node by itself, or --node-name)",
                        hosts.len(),
                        hosts.join(", ")
                    );
                }
                return Ok("unknown".to_owned());
            };
            // A host's name may be the first part of the node's.
            let same = |node: &&String| *node == host || node.split('.').next() == host.split('.').next();
            Ok(nodes.iter().find(same).unwrap_or(host).clone())
        }
        ([_, ..], _) if logs => {
            anyhow::bail!("the recordings are of {} nodes: say which one the logs are from (--node-name)", nodes.len())
        }
        _ => Ok("unknown".to_owned()),
    }
}

impl Args {
    /// Whether recordings are all there is: then their incidents are those that were reported when they were recorded.
    fn replays(&self) -> bool {
        let beside = [&self.kernel_log, &self.kubelet_log, &self.pods, &self.kubelet_metrics];
        !self.events.is_empty() && beside.iter().all(|files| files.is_empty()) && !self.full
    }

    /// Whether an incident was asked for.
    fn chooses(&self, incident: &Incident) -> bool {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let ended = incident.ended.as_deref().or(Some(&incident.started)).and_then(time);
        let after = self.since.is_none_or(|since| ended.is_none_or(|ended| ended >= since));
        let before = self.until.is_none_or(|until| time(&incident.started).is_none_or(|started| started <= until));
        let of_pod = self.pod.as_deref().is_none_or(|asked| {
            incident.pod.as_ref().is_some_and(|pod| match asked.split_once('/') {
                Some((namespace, name)) => {
                    pod.namespace.as_deref() == Some(namespace) && pod.name.as_deref() == Some(name)
                }
                None => pod.name.as_deref() == Some(asked),
            })
        });
        let of_container = self.container.as_deref().is_none_or(|asked| {
            let names = incident.container.iter().chain(incident.containers.iter().map(|entry| &entry.container));
            names.filter_map(|container| container.name.as_deref()).any(|name| name == asked)
        });
        let scenario = incident.verdict.scenario;
        let of_scenario = self.scenario.is_none_or(|asked| asked == scenario || incident.verdict.also == Some(asked));
        after && before && of_pod && of_container && of_scenario
    }
}
