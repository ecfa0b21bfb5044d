//! `oomtrace timeline`: incidents from recordings and logs, after the fact.

mod acquainted;
pub(super) mod archive;
mod asked;
mod boot;
mod choose;
mod envelope;
pub(super) mod given;
mod input;
mod intake;
mod logs;
mod place;
mod pods;
mod print;
mod recording;
mod summary;
mod taken;
mod untimed;
mod unwrap;
mod what;
mod year;
mod zone;

use std::{path::PathBuf, process::ExitCode};

use jiff::{Timestamp, tz::TimeZone};
use tracing::{error, info, warn};

use self::{
    given::Given,
    intake::Intake,
    print::{Output, Shown},
};
use super::{
    gather::{self, Gathered},
    names::Sources,
};
use crate::{
    event::{Line, OomKill},
    node::snapshot::{self, Snapshot},
    timeline::{Keep, Known, Timeline},
};

/// Options of `oomtrace timeline`.
///
/// Exit status: 0 where files could be read, whether or not there are incidents in them; 1 where one could not be opened, or
/// there is nothing in any of them that can be read; 2 wrong usage.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Logs, recordings, what kubectl printed, or what `oomtrace collect` wrote (FILE.tar.gz): each is taken for what is in
    /// it, and it is said what that is. Without this and the next five options: this node's own logs and pods.
    #[arg(value_name = "FILE")]
    files: Vec<Given>,
    /// Recordings: what `oomtrace run --record` wrote, or its JSON lines, also as a log stack gives them back: a container
    /// runtime's files, the journal, Loki. Of several nodes at will. Without other files, and without --full, the incidents
    /// are those that were reported live, with the same ids and counts; incidents whose events are not there are shown as they
    /// are; else all events are judged anew with what the other files know.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    events: Vec<Given>,
    /// The kernel's log: of `dmesg`, `dmesg -T`, `/dev/kmsg` or the journal in any of its forms.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    kernel_log: Vec<Given>,
    /// The kubelet's log: bare, as JSON, or from the journal in any of its forms.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    kubelet_log: Vec<Given>,
    /// What is known of pods: `kubectl get pods -A -o json`, the kubelet's `/pods`, `crictl ps -o json` and `crictl pods
    /// -o json`, `kubectl get events -A -o json`, `kubectl get node -o json`, each also as YAML, a copy of `/var/log/pods`,
    /// or a folder of such files. Without logs and recordings: incidents are what these say: evictions, `OOMKilled`, 137.
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    pods: Vec<Given>,
    /// The kubelet's `/metrics`: which eviction signal it was. The last reading counts.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    kubelet_metrics: Vec<Given>,
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
    /// The node that logs are from. Default: the host that the lines of the logs name, else the one that the recording or the
    /// pods name.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    #[command(flatten)]
    choice: choose::Options,
    /// Numbers instead of incidents: how many, how many kills and when the last was, by workload (the controller, or the
    /// pod's name without a hash), namespace, node and scenario.
    #[arg(long, conflicts_with = "full")]
    summary: bool,
    /// Everything: the events of each incident instead of their numbers, ends that have nothing to do with memory, and the
    /// events that came to no incident, such as pods refused admission. Lines may have any length: without, none is longer than 16
    /// KiB, and says of each list how much it leaves out (`steps_omitted`, `candidates_omitted`, …).
    #[arg(long)]
    full: bool,
    /// How to print incidents. Default: text on a terminal, else JSON lines.
    #[arg(long, value_enum)]
    format: Option<Output>,
    /// Where the node's cgroups are mounted, where this node is read.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup", help_heading = "This node")]
    cgroup_root: PathBuf,
    #[command(flatten, next_help_heading = "This node")]
    sources: Sources,
    /// An archive has said which node it is of.
    #[arg(skip)]
    of_archive: bool,
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
    input::one_stdin([
        &args.files,
        &args.events,
        &args.kernel_log,
        &args.kubelet_log,
        &args.pods,
        &args.kubelet_metrics,
    ])?;
    let mut known = Known { everything: args.full, ..Known::default() };
    let mut args = args.clone();
    let shown = Shown::new(&args)?;
    let found = if args.has_input() {
        args.files.is_empty() || taken::take(&mut args, &mut known.snapshot)?
    } else {
        this_node(&mut args, &mut known.snapshot)?
    };
    let args = &args;
    if !found && !args.has_input() {
        return Ok(ExitCode::FAILURE);
    }
    for path in &args.pods {
        pods::read(path, &mut known.snapshot)?;
    }
    for path in &args.kubelet_metrics {
        known.evictions_by_signal.extend(pods::evictions_by_signal(path)?);
    }
    let recorded = recording::read_all(&args.events)?;
    if args.replays() && known.snapshot == Snapshot::default() {
        intake::replay(recorded, shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (reported, mut recorded) = recorded.split_alone();
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
    let mut intake = Intake::new(timeline, recorded, node, zero, shown);
    intake.take_reported(reported);
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

/// Reads this node's own logs and pods; `false` where there are none.
fn this_node(args: &mut Args, snapshot: &mut Snapshot) -> anyhow::Result<bool> {
    info!("no file is given: reading this node (`oomtrace timeline FILE…` reads files)");
    let zone = args.time_zone.clone().unwrap_or(TimeZone::UTC);
    let since = args.choice.since(&zone)?;
    let Gathered { kept, missing } = gather::for_timeline(&args.sources.options(&args.cgroup_root), since);
    let found = gather::has_logs_or_pods(&kept);
    for (what, why) in &missing {
        // What is missing beside what was read may not matter.
        if found { info!("not read: {what}: {why}") } else { warn!("not read: {what}: {why}") }
    }
    if !found {
        error!(
            "nothing of this node can be read: run it as root on the node, or in a container with hostPID and the node's root \
             folder mounted (--host-root); or give files: `oomtrace timeline FILE…`"
        );
        return Ok(false);
    }
    taken::take_all(kept, args, snapshot)
}

/// The node that logs are from: the host that their lines name, by the name that a pod's node has where that is the same one.
fn node(args: &Args, recorded: &[Line], known: &Known, mut hosts: Vec<String>) -> anyhow::Result<String> {
    if let Some(name) = &args.node_name {
        return Ok(name.clone());
    }
    let mut nodes: Vec<&str> = recorded.iter().map(|line| line.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let logs = !args.kernel_log.is_empty() || !args.kubelet_log.is_empty();
    hosts.sort_unstable();
    hosts.dedup();
    match (&nodes[..], &known.snapshot.nodes[..], &hosts[..]) {
        ([one], ..) => Ok((*one).to_owned()),
        ([], nodes, [host]) => {
            // A host's name may be the first part of the node's.
            let same = |node: &&String| *node == host || node.split('.').next() == host.split('.').next();
            Ok(nodes.iter().find(same).unwrap_or(host).clone())
        }
        ([], [one], []) => Ok(one.clone()),
        ([], _, hosts) => {
            if hosts.len() > 1 {
                warn!(
                    "lines of the logs name {} hosts ({}): their incidents are reported without one (give the log of each \
                     node by itself, or --node-name)",
                    hosts.len(),
                    hosts.join(", ")
                );
            }
            Ok("unknown".to_owned())
        }
        ([_, ..], ..) if logs => {
            anyhow::bail!("the recordings are of {} nodes: say which one the logs are from (--node-name)", nodes.len())
        }
        _ => Ok("unknown".to_owned()),
    }
}

impl Args {
    /// Whether any file is given.
    fn has_input(&self) -> bool {
        let lists = [&self.files, &self.events, &self.kernel_log, &self.kubelet_log, &self.pods];
        lists.iter().any(|files| !files.is_empty()) || !self.kubelet_metrics.is_empty()
    }

    /// Whether recordings are all there is: then their incidents are those that were reported when they were recorded.
    fn replays(&self) -> bool {
        let beside = [&self.kernel_log, &self.kubelet_log, &self.pods, &self.kubelet_metrics];
        !self.events.is_empty() && beside.iter().all(|files| files.is_empty()) && !self.full
    }
}
