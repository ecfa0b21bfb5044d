//! Incidents after the fact: the same stages as [`live`](crate::live), fed from files. What the files are is found out
//! ([`Inputs::take`]); then when their times are ([`boot`], [`mod@zone`], [`year`]); their lines are named, put in order, numbered and
//! handed to the timeline ([`intake`]); and the incidents go to a [`Show`].

mod acquainted;
pub(crate) mod archive;
mod boot;
mod envelope;
mod given;
mod hosts;
mod input;
mod intake;
mod logs;
mod place;
mod pods;
mod recording;
mod taken;
mod untimed;
mod unwrap;
mod what;
mod year;
mod zone;

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{Timestamp, tz::TimeZone};
use tracing::{info, warn};

use self::intake::Intake;
pub use self::{
    archive::Kept,
    given::{Given, Held},
};
use crate::{
    event::{ContainerAction, ContainerId, Event, Incident, Line, Observation, OomKill, PodUid},
    node::snapshot::{self, Snapshot},
    timeline::{Background, Keep, Timeline},
};

/// The files that are given, and what is said of them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Inputs {
    /// Logs, recordings, what kubectl printed, or what `oomtrace collect` wrote (FILE.tar.gz): each is taken for what is in
    /// it, and it is said what that is. Without this and the next five options: this node's own logs and pods.
    #[arg(value_name = "FILE")]
    pub files: Vec<Given>,
    /// Recordings: what `oomtrace run --record` wrote, or its JSON lines, also as a log stack gives them back: a container
    /// runtime's files, the journal, Loki. Of several nodes at will. Without other files, and without --full, the incidents
    /// are those that were reported live, with the same ids and counts; incidents whose events are not there are shown as they
    /// are; else all events are judged anew with what the other files know.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub events: Vec<Given>,
    /// The kernel's log: of `dmesg`, `dmesg -T`, `/dev/kmsg` or the journal in any of its forms.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub kernel_log: Vec<Given>,
    /// The kubelet's log: bare, as JSON, or from the journal in any of its forms.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub kubelet_log: Vec<Given>,
    /// What is known of pods: `kubectl get pods -A -o json`, the kubelet's `/pods`, `crictl ps -o json` and `crictl pods
    /// -o json`, `kubectl get events -A -o json`, `kubectl get node -o json`, each also as YAML, `kubectl get events`,
    /// `kubectl get pods`, `kubectl describe pod` and `kubectl describe node` as they are printed for people, `docker inspect` and
    /// `docker events`, parts of these, a copy of `/var/log/pods`, or a folder of such files. Without logs and recordings: incidents
    /// are what these say: evictions, `OOMKilled`, 137.
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    pub pods: Vec<Given>,
    /// Logs and statuses were pasted into one text: neither need be whole.
    #[arg(skip)]
    pub pasted: bool,
    /// The kubelet's `/metrics`: which eviction signal it was. The last reading counts.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub kubelet_metrics: Vec<Given>,
    /// When the node booted, for a kernel log that counts from there. Default: worked out from the other files.
    #[arg(long, value_name = "TIME")]
    pub boot_time: Option<Timestamp>,
    /// The node's zone, for logs that write local time, as its distance from UTC: +02:00. Default: the one that another log
    /// tells, else UTC.
    #[arg(long, value_name = "+HH:MM", value_parser = zone, allow_hyphen_values = true)]
    pub time_zone: Option<TimeZone>,
    /// The year of times that are written without one, as klog's and syslog's are. Default: the one that a date in any of the
    /// logs has, else the last one before the log was written.
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i16).range(1970..=9999))]
    pub year: Option<i16>,
    /// When kubectl printed tables and descriptions in which times are ages (`5m22s`). Default: what has an age has no time.
    #[arg(long, value_name = "TIME")]
    pub printed_at: Option<Timestamp>,
    /// The node that logs are from. Default: the host that the lines of the logs name, else the one that the recording or the
    /// pods name.
    // By another id than `run`'s: what this node is called is not what logs from elsewhere are of.
    #[arg(id = "node_of_logs", long = "node-name", value_name = "NAME")]
    pub node_name: Option<String>,
    /// An archive has said which node it is of.
    #[arg(skip)]
    of_archive: bool,
}

/// Takes incidents to show them.
pub trait Show {
    /// Whether an incident is asked for.
    fn takes(&mut self, incident: &Incident, node: &str) -> bool;

    /// Shows an incident that is asked for.
    ///
    /// # Errors
    ///
    /// Fails where it cannot be shown.
    fn incident(&mut self, line: Line) -> Result<()>;

    /// Shows an event that is in no incident.
    ///
    /// # Errors
    ///
    /// Fails where it cannot be shown.
    fn other(&mut self, line: Line) -> Result<()>;

    /// How many incidents were asked for.
    fn count(&self) -> u64;

    /// Whether nobody reads what is shown any more.
    fn is_unread(&self) -> bool;

    /// Shows what is left.
    ///
    /// # Errors
    ///
    /// Fails where it cannot be shown.
    fn finish(self) -> Result<()>;
}

impl Inputs {
    /// Files whose kinds are to be found out, and recordings.
    #[must_use]
    pub fn of(files: Vec<Given>, events: Vec<Given>) -> Self {
        Self { files, events, ..Self::default() }
    }

    /// Whether any file is given.
    #[must_use]
    pub fn any(&self) -> bool {
        let lists = [&self.files, &self.events, &self.kernel_log, &self.kubelet_log, &self.pods];
        lists.iter().any(|files| !files.is_empty()) || !self.kubelet_metrics.is_empty()
    }

    /// Fails where standard input is given more than once.
    ///
    /// # Errors
    ///
    /// Fails where it is.
    pub fn check(&self) -> Result<()> {
        input::one_stdin([
            &self.files,
            &self.events,
            &self.kernel_log,
            &self.kubelet_log,
            &self.pods,
            &self.kubelet_metrics,
        ])
    }

    /// Finds out what each file without an option is; `false` where none of them is of use.
    ///
    /// # Errors
    ///
    /// Fails where one of them cannot be read.
    pub fn take(&mut self, snapshot: &mut Snapshot) -> Result<bool> {
        Ok(self.files.is_empty() || taken::take(self, snapshot)?)
    }

    /// Finds out what each of several files is that were kept together; `false` where none of them is of use.
    ///
    /// # Errors
    ///
    /// Fails where one of them cannot be read.
    pub fn take_kept(&mut self, kept: Vec<Kept>, snapshot: &mut Snapshot) -> Result<bool> {
        taken::take_all(kept, self, snapshot)
    }

    /// Whether recordings are all there is: then their incidents are those that were reported when they were recorded.
    fn are_recordings(&self) -> bool {
        let beside = [&self.kernel_log, &self.kubelet_log, &self.pods, &self.kubelet_metrics];
        !self.events.is_empty() && beside.iter().all(|files| files.is_empty())
    }

    fn have_logs(&self) -> bool {
        !self.kernel_log.is_empty() || !self.kubelet_log.is_empty()
    }
}

/// Shows the incidents in all files; `false` where no log can be read. `known` is what is known beside them.
///
/// # Errors
///
/// Fails where a file cannot be read, or nothing can be shown.
pub fn run(inputs: &Inputs, mut known: Background, shown: impl Show) -> Result<bool> {
    known.snapshot.printed = inputs.printed_at.or(known.snapshot.printed);
    for path in &inputs.pods {
        pods::read(path, &mut known.snapshot)?;
    }
    for path in &inputs.kubelet_metrics {
        known.evictions_by_signal.extend(pods::evictions_by_signal(path)?);
    }
    let several = inputs.node_name.is_none() && inputs.have_logs() && hosts::of_samples(inputs)?.are_several();
    if several && inputs.events.is_empty() {
        return run_each(&hosts::split(inputs)?, &known, shown);
    }
    run_one(inputs, known, shown)
}

/// The same, of one node's logs.
fn run_one(inputs: &Inputs, mut known: Background, shown: impl Show) -> Result<bool> {
    let recorded = recording::read_all(&inputs.events)?;
    if inputs.are_recordings() && !known.everything && known.snapshot == Snapshot::default() {
        intake::replay(recorded, shown)?;
        return Ok(true);
    }
    let (reported, mut recorded) = recorded.split_alone();
    let logs = inputs.have_logs();
    if !logs && inputs.events.is_empty() {
        recorded = pods::lines(&known.snapshot);
        known.statuses_alone = true;
    }
    let latest = year::latest(inputs, &known)?;
    let zone = match &inputs.time_zone {
        Some(zone) => zone.clone(),
        None => zone::of_logs(inputs, latest)?.unwrap_or(TimeZone::UTC),
    };
    let logs::KernelLogs { reported: kernel, untimed, readable, mut hosts } =
        logs::KernelLogs::read(inputs, &zone, latest)?;
    for (uid, id) in kernel.iter().chain(&untimed).filter_map(place_of_kill) {
        known.snapshot.identify(uid, id);
    }
    let mut kubelet = logs::KubeletLogs::open(inputs, &zone, latest)?;
    // Where the lines that were pasted beside statuses say nothing of an end, the statuses are all there is.
    let killed = kernel.iter().chain(&untimed).any(says_of_a_kill);
    if inputs.pasted && !killed && !kubelet.read_all()?.iter().any(says_of_an_end) {
        recorded.extend(pods::lines(&known.snapshot));
        known.statuses_alone = true;
    } else if inputs.pasted {
        let reported = kernel.iter().chain(&untimed).chain(kubelet.read_all()?).map(|observed| &observed.event);
        recorded.extend(pods::beside(&known.snapshot, &reported.collect::<Vec<_>>()));
    }
    hosts.extend(kubelet.hosts());
    let node = node(inputs, &recorded, &known, hosts)?;
    recorded.extend(snapshot::lines::last_words(&known.snapshot, &node));
    let zero = match boot::zero(inputs.boot_time, &recorded, &kernel, &known) {
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
        intake.take(kubelet.reported.drain(..));
        if !goes_on || intake.is_unread() {
            break;
        }
        if let Some(read) = kubelet.read_up_to().filter(|_| intake.is_full()) {
            intake.advance(read, kubelet.spoke(), &|kill: &mut OomKill| kubelet.name(kill))?;
        }
    }
    intake.finish(kubelet.spoke(), &|kill: &mut OomKill| kubelet.name(kill))?;
    Ok(!logs || readable || kubelet.is_readable() || !inputs.events.is_empty())
}

/// Whether it is of a kill. A report that was cut is not: nobody knows whom it killed.
fn says_of_a_kill(observed: &Observation) -> bool {
    matches!(observed.event, Event::OomKill(_) | Event::PanicOnOom(_) | Event::Signal(_))
}

/// The pod and the container of a kill, by the cgroup that the kernel names.
fn place_of_kill(observed: &Observation) -> Option<(&PodUid, &ContainerId)> {
    let Event::OomKill(kill) = &observed.event else { return None };
    Some((kill.pod.as_ref()?.uid.as_ref()?, kill.container.as_ref()?.id.as_ref()?))
}

/// Whether it is of a container or a pod that ended, or has to.
fn says_of_an_end(observed: &Observation) -> bool {
    match &observed.event {
        Event::Eviction(_) | Event::Signal(_) | Event::SystemOom(_) => true,
        Event::Container(change) => !matches!(change.action, ContainerAction::Created | ContainerAction::Started),
        _ => false,
    }
}

/// The same for each host's logs.
fn run_each(hosts: &BTreeMap<String, Inputs>, known: &Background, mut shown: impl Show) -> Result<bool> {
    if !known.evictions_by_signal.is_empty() {
        warn!("the kubelet's metrics are one node's, and the logs of several: they are left out");
    }
    let mut any = false;
    for (host, logs) in hosts {
        let node = match host.as_str() {
            hosts::NO_HOST => host.clone(),
            host => node_of_host(&known.snapshot.nodes, host),
        };
        // Pods were read, and are everybody's.
        let mut known = Background { evictions_by_signal: BTreeMap::new(), ..known.clone() };
        keep_of_node(&mut known.snapshot, &node);
        let logs = Inputs { node_name: Some(node), pods: Vec::new(), kubelet_metrics: Vec::new(), ..logs.clone() };
        info!("logs of {host}");
        any |= run_one(&logs, known, Part { shown: &mut shown, count: 0 })?;
        if shown.is_unread() {
            break;
        }
    }
    info!("{} incidents of {} hosts", shown.count(), hosts.len());
    shown.finish()?;
    Ok(any)
}

/// Leaves out what is known to be of another node.
fn keep_of_node(snapshot: &mut Snapshot, node: &str) {
    let here = |other: &Option<String>| other.as_deref().is_none_or(|other| other == node);
    snapshot.pods.retain(|_, record| here(&record.node));
    snapshot.evictions.retain(|notice| here(&notice.node));
    snapshot.system_ooms.retain(|notice| here(&notice.node));
    snapshot.kernel_lines.retain(|notice| here(&notice.node));
}

/// The name of a host's node: its own may be the first part of it.
fn node_of_host(nodes: &[String], host: &str) -> String {
    let same = |node: &&String| *node == host || node.split('.').next() == host.split('.').next();
    nodes.iter().find(same).map_or(host, String::as_str).to_owned()
}

/// Shows the incidents of one of several hosts.
struct Part<'a, S> {
    shown: &'a mut S,
    count: u64,
}

impl<S: Show> Show for Part<'_, S> {
    fn takes(&mut self, incident: &Incident, node: &str) -> bool {
        self.shown.takes(incident, node)
    }

    fn incident(&mut self, line: Line) -> Result<()> {
        self.count += 1;
        self.shown.incident(line)
    }

    fn other(&mut self, line: Line) -> Result<()> {
        self.shown.other(line)
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn is_unread(&self) -> bool {
        self.shown.is_unread()
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

/// The node that logs are from: the host that their lines name, by the name that a pod's node has where that is the same one.
fn node(inputs: &Inputs, recorded: &[Line], known: &Background, mut hosts: Vec<String>) -> Result<String> {
    if let Some(name) = &inputs.node_name {
        return Ok(name.clone());
    }
    let mut nodes: Vec<&str> = recorded.iter().map(|line| line.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    hosts.sort_unstable();
    hosts.dedup();
    match (&nodes[..], &known.snapshot.nodes[..], &hosts[..]) {
        ([one], ..) => Ok((*one).to_owned()),
        ([], nodes, [host]) => Ok(node_of_host(nodes, host)),
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
        ([_, ..], ..) if inputs.have_logs() => {
            anyhow::bail!("the recordings are of {} nodes: say which one the logs are from (--node-name)", nodes.len())
        }
        _ => Ok("unknown".to_owned()),
    }
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
