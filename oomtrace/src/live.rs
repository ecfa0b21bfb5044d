//! Tracing this node: sources on one side, one line of stages on the other.
//!
//! ```text
//! probes ────────┐
//! other sources ─┼─▶ what memory looks like ─▶ names ─▶ numbers ─▶ incidents ─▶ outputs
//! oomtrace ──────┘            └──────────────────── Pipeline ────────────────────┘
//! ```
//!
//! All of it runs on one thread, and nothing in it waits but the loop in [`run`]. The probes are a source that is drained
//! here ([`ProbeSource`]); every other source is a task of its own that sends over a bounded channel ([`Sources`]).

mod alive;
mod commands;
mod continuity;
mod hangup;
mod heap;
mod last_words;
mod names;
pub mod open_incidents;
mod panic_on_oom;
mod pipeline;
mod pressure;
mod probes;
mod recorder;
mod resident;
mod rung;
mod sources;
mod waiting;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, interval_at, sleep},
};
use tracing::{info, warn};

use self::{
    alive::Alive,
    continuity::Continuity,
    hangup::Hangup,
    names::Learning,
    open_incidents::{Left, OpenIncidents},
    resident::Resident,
};
pub use self::{
    alive::last_round,
    last_words::LastWords,
    names::Options as NameOptions,
    pipeline::Pipeline,
    pressure::Pressure,
    probes::ProbeSource,
    recorder::Recorder,
    sources::Sources,
    waiting::{Names, Waiting},
};
use crate::{
    confinement::{Confined, Confinement, Needs, folders_of},
    event::{Event, Observation, Phase, ProbeStatus, SCHEMA_VERSION, Status},
    http,
    metrics::Metrics,
    node::{self, hierarchy::Hierarchy},
    probe::{Choice, Loader},
    self_protection,
    sink::{
        self, BesideOtlp, KubernetesAccess, KubernetesEvents, Look, Otlp, Outlets, Output, Rotation, StdoutReader, Web,
    },
    source::{
        kubelet::{Kubelet, Log},
        kubelet_metrics,
    },
};

/// How often losses are counted, and what is overdue is reported.
const TICK: Duration = Duration::from_millis(500);

/// What to trace, and where to tell it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line of its own")]
pub struct Options {
    /// What is printed where.
    pub outputs: Vec<Output>,
    /// When files of outputs are put aside.
    pub rotation: Rotation,
    /// The node's name in every line.
    pub node: String,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// Stop after this many kills.
    pub count: Option<u64>,
    /// Which rung to stand on.
    pub choice: Choice,
    /// Size of the ring buffer.
    pub ring_bytes: u32,
    /// How many cgroups and processes the probes count at a time.
    pub map_entries: u32,
    /// Whether to hook the return of every charge.
    pub charge_returns: bool,
    /// Whether to read what victims, and containers' processes, were started as.
    pub command_lines: bool,
    /// How much the probes say on standard error.
    pub probes_log: Option<aya_log::Level>,
    /// Where to keep every line, as JSON, beside the outputs.
    pub record: Option<PathBuf>,
    /// Where the node's cgroups are mounted.
    pub cgroup_root: PathBuf,
    /// What the flight recorder may take, in bytes; it is off where this is 0.
    pub history_bytes: usize,
    /// Whether to tell also what the kernel's log holds from before, where it is read.
    pub kernel_log_backlog: bool,
    /// Where it is kept how far this node was traced, if it is.
    pub state_dir: Option<PathBuf>,
    /// What is written while the main loop goes round, if it is.
    pub alive_file: Option<PathBuf>,
    /// How often a status is reported; never where it is zero.
    pub heartbeat: Duration,
    /// Whether incidents are reported among the events.
    pub incidents: bool,
    /// Where figures are asked for, if they are.
    pub metrics_listen: Option<http::Address>,
    /// Where the report is served, if it is.
    pub web: Option<Web>,
    /// Where lines and figures are sent by OTLP, if they are.
    pub otlp: Option<Otlp>,
    /// How the API server is asked for Kubernetes Events of incidents, if there are to be any.
    pub kubernetes_events: Option<KubernetesAccess>,
    /// How many series of figures are kept.
    pub metrics_max_series: usize,
    /// How pods and containers get their names.
    pub names: NameOptions,
    /// What is given up once everything is attached.
    pub confinement: Confinement,
    /// Where the kubelet's log is, if it is to be read.
    pub kubelet_log: Option<Log>,
    /// Whether it was asked for, so that its lack is said at once.
    pub kubelet_log_asked_for: bool,
    /// Where the kubelet's counters are, if they are to be read.
    pub kubelet_metrics: Option<kubelet_metrics::Counters>,
}

impl Options {
    /// The folders and files that the main thread, and those that it starts, write to from time to time; outputs have threads of
    /// their own.
    fn written(&self, watches_v1: bool) -> Vec<PathBuf> {
        let mut written: Vec<_> = self.state_dir.iter().cloned().collect();
        written.extend(self.alive_file.iter().flat_map(|file| folders_of(file)));
        written.extend(watches_v1.then(|| self.cgroup_root.clone()));
        // Where programs print what nobody reads.
        written.push(PathBuf::from("/dev/null"));
        written
    }
}

/// Traces until interrupted, or until what `options` say.
///
/// # Errors
///
/// Fails where nothing can be traced, or an output cannot be opened.
pub fn run(options: &Options) -> anyhow::Result<()> {
    self_protection::protect_from_oom_killer();
    self_protection::raise_open_files();
    // As long as this is the only thread.
    let loader = Loader::new();
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async { Box::pin(Live::start(options, loader)?.run(options)).await })
}

/// Counts figures, where somebody gets them, and serves them, from before the probes are loaded: that takes seconds, in which it
/// is alive but not ready.
fn start_metrics(options: &Options) -> anyhow::Result<Option<Arc<Metrics>>> {
    let are_sent = options.otlp.as_ref().is_some_and(|otlp| otlp.figures_every.is_some());
    let metrics = Metrics::new(options.metrics_max_series);
    let Some(address) = &options.metrics_listen else { return Ok(are_sent.then_some(metrics)) };
    let address = metrics.serve(address, options.confinement.clone())?;
    info!("figures are at http://{address}/metrics");
    Ok(Some(metrics))
}

/// Opens every output.
fn open_outlets(
    options: &Options,
    metrics: Option<&Arc<Metrics>>,
    sources: &mut Sources,
) -> anyhow::Result<(Outlets, StdoutReader)> {
    let Options { outputs, rotation, record, confinement, .. } = options;
    let (mut outlets, reader) = Outlets::open(outputs, *rotation, record.as_deref(), confinement)?;
    if let Some(otlp) = &options.otlp {
        let beside = BesideOtlp {
            node: options.node.clone(),
            figures: metrics.cloned(),
            logs_missing: sources.degradation(),
            figures_missing: sources.degradation(),
        };
        outlets.send(otlp, beside, confinement).context("--otlp")?;
    }
    if let Some(web) = &options.web {
        let url = outlets.show(web, confinement)?;
        info!("incidents are at {url}");
    }
    Ok((outlets, reader))
}

/// Goes on from the run before: with what was killed since, and with the incidents that were open. To be called when the probes are
/// attached.
fn go_on(
    options: &Options,
    hierarchy: Option<&Hierarchy>,
    sources: &mut Sources,
) -> (Continuity, Option<(OpenIncidents, Left)>) {
    let mut continuity =
        Continuity::start(options.state_dir.as_deref(), hierarchy, Instant::now()).unwrap_or_else(|error| {
            sources.degrade(format!("kills while oomtrace does not run stay unknown: {error:#} (--state-dir)"));
            Continuity::default()
        });
    let open_incidents = options.state_dir.as_deref().map(|folder| OpenIncidents::start(folder, &options.confinement));
    let open_incidents = open_incidents.transpose().unwrap_or_else(|error| {
        sources.degrade(format!("incidents that are open when oomtrace is killed stay so: {error:#} (--state-dir)"));
        None
    });
    if let Some((_, left)) = &open_incidents {
        continuity.note(left.lines().map(|line| (line.source, &line.event)));
    }
    (continuity, open_incidents)
}

/// Reads the kubelet's log from now on, or as soon as it is there. Gives whether that may take running a program.
fn start_kubelet_log(options: &Options, sources: &mut Sources) -> bool {
    let Some(log) = &options.kubelet_log else { return false };
    match Kubelet::open(log) {
        Ok(kubelet) => {
            let runs_programs = kubelet.runs_journalctl();
            kubelet.lacking().into_iter().for_each(|what| sources.degrade(what));
            sources.start(|tell, stop| kubelet.run(tell, stop));
            runs_programs
        }
        Err(error) => {
            let what = format!("no evictions, probes and other words of the kubelet: {error}; it is tried again");
            if options.kubelet_log_asked_for {
                warn!("{what}");
            }
            let (log, degradation) = (log.clone(), sources.degradation());
            degradation.say(what);
            let may_run_programs = log.may_need_journalctl();
            sources.start(|tell, stop| Kubelet::run_when_there(log, degradation, tell, stop));
            may_run_programs
        }
    }
}

struct Live {
    probes: Option<ProbeSource>,
    sources: Sources,
    pipeline: Pipeline,
    learning: Learning,
    reader: StdoutReader,
    /// Whether it is worth going on when nobody reads standard output any more.
    outlives_reader: bool,
    hangup: Hangup,
    metrics: Option<Arc<Metrics>>,
    resident: Resident,
    continuity: Continuity,
    incidents_resumed: u64,
    alive: Alive,
    confined: Confined,
}

impl Live {
    fn start(options: &Options, loader: Loader) -> anyhow::Result<Self> {
        let metrics = start_metrics(options)?;
        let alive = Alive::start(options.alive_file.as_deref());
        let mut sources = Sources::default();
        let (outlets, reader) = open_outlets(options, metrics.as_ref(), &mut sources)?;
        let outlives_reader = metrics.is_some()
            || options.web.is_some()
            || options.otlp.is_some()
            || options.kubernetes_events.is_some()
            || options.outputs.iter().any(|output| output.file.is_some());
        let hangup = Hangup::handle(outlets.has_files()).context("SIGHUP cannot be awaited")?;
        let hierarchy = match Hierarchy::find(&options.cgroup_root) {
            Ok(hierarchy) => Some(hierarchy),
            Err(error) => {
                sources.degrade(format!("memory of cgroups is not read ({error}): no pressure but the node's"));
                None
            }
        };
        if let Some(too_little) = self_protection::too_little_memory() {
            sources.degrade(too_little);
        }
        let probes = rung::climb(options, loader, hierarchy.as_ref(), &mut sources)?;
        let (continuity, open_incidents) = go_on(options, hierarchy.as_ref(), &mut sources);
        let runs_programs = start_kubelet_log(options, &mut sources);
        if let Some(counters) = options.kubelet_metrics.clone() {
            let degradation = sources.degradation();
            sources.start(|tell, stop| counters.watch(degradation, tell, stop));
        }
        let recorder = hierarchy.as_ref().filter(|_| options.history_bytes > 0).map(|hierarchy| {
            let (host, keep) = (options.names.sources.host.clone(), options.names.bounds.keep);
            Recorder::new(hierarchy.clone(), host, options.history_bytes, keep)
        });
        // Of cgroup v1, counts of kills are watched by writing to a file of each cgroup.
        let watches_v1 = probes.is_none() && hierarchy.as_ref().is_some_and(|hierarchy| hierarchy.version() == 1);
        let pressure = Pressure::new(hierarchy, recorder);
        let mut names = options.names.clone();
        names.sources.kubelet_degradation = sources.degradation();
        names.sources.sees_cgroups = probes.as_ref().is_some_and(ProbeSource::sees_cgroups);
        // All is open that needs rights; the threads that are yet to come inherit what is left.
        let confined = options.confinement.confine_process(&Needs {
            writes: options.written(watches_v1),
            asks_maps: probes.is_some(),
            runs_programs,
        });
        let learning = Learning::start(&names).context("names of pods and containers cannot be asked for")?;
        let waiting = Waiting::new(Box::new(learning.known()), names.wait);
        let last_words = LastWords::new(Some(names.sources.host.clone()));
        let mut pipeline = Pipeline::new(options.node.clone(), pressure, waiting, outlets);
        pipeline.read_logs(last_words);
        if let Some(away) = continuity.away() {
            pipeline.resume_after(away);
        }
        if options.incidents {
            pipeline.watch_incidents();
        }
        if let Some(access) = &options.kubernetes_events {
            let events = KubernetesEvents::start(access.clone(), options.node.clone(), sources.degradation());
            pipeline.make_kubernetes_events(events.context("--k8s-events: there can be no thread for it")?);
        }
        if let Some(metrics) = &metrics {
            pipeline.count_in(Arc::clone(metrics));
        }
        let incidents_resumed = open_incidents.map_or(0, |(open, left)| pipeline.keep_incidents(open, left) as u64);
        Ok(Self {
            probes,
            sources,
            pipeline,
            learning,
            reader,
            outlives_reader,
            hangup,
            metrics,
            resident: Resident::started(),
            continuity,
            incidents_resumed,
            alive,
            confined,
        })
    }

    async fn run(mut self, options: &Options) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
        let time_up = sleep(options.duration.unwrap_or(Duration::MAX));
        tokio::pin!(time_up);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let every = if options.heartbeat.is_zero() { Duration::MAX } else { options.heartbeat };
        // So far away that it does not come: what tokio itself takes for never (`Instant::far_future`).
        let first = Instant::now() + every.min(Duration::from_hours(24 * 365 * 30));
        let mut heartbeat = interval_at(first.into(), every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);

        self.announce(options);
        self.sources.degradations_changed();
        self.status(Phase::Started);
        self.pipeline.report_again();
        while options.count.is_none_or(|count| self.pipeline.kills() < count) {
            tokio::select! {
                reported = ProbeSource::next(&mut self.probes) => {
                    let reported = reported.context("the ring buffer cannot be waited for")?;
                    self.resident.event();
                    self.learn();
                    self.push_all(reported);
                }
                reported = self.sources.next() => {
                    self.resident.event();
                    self.push_all(vec![reported]);
                }
                reported = self.learning.next() => {
                    self.pipeline.push_all(reported);
                    self.pipeline.names_learnt();
                }
                () = self.pipeline.due() => self.pipeline.advance(),
                _ = tick.tick() => self.tick(),
                _ = heartbeat.tick() => self.status(Phase::Running),
                () = self.reader.gone() => {
                    if !self.outlives_reader {
                        break;
                    }
                    warn!("nobody reads standard output any more; the other outputs go on");
                }
                () = self.hangup.next() => self.pipeline.reopen_files(),
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                () = &mut time_up => break,
            }
        }
        self.finish().await
    }

    fn push_all(&mut self, reported: Vec<Observation>) {
        self.continuity.note(reported.iter().map(|reported| (reported.source, &reported.event)));
        self.pipeline.push_all(reported);
    }

    /// Takes in what the probes saw of cgroups.
    fn learn(&mut self) {
        if let Some(probes) = &mut self.probes {
            let facts = probes.take_facts();
            self.pipeline.cgroups_changed(&facts);
            self.learning.learn(facts);
        }
    }

    fn tick(&mut self) {
        self.resident.tick();
        self.learning.tick();
        self.pipeline.record_memory();
        self.alive.beat(Instant::now());
        if let Some(metrics) = &self.metrics {
            metrics.beat();
        }
        if let Some(probes) = &mut self.probes {
            let reported = probes.tick();
            self.push_all(reported);
        }
        let missed = self.continuity.tick(Instant::now());
        self.pipeline.push_all(missed);
        self.pipeline.tell_incidents();
        self.pipeline.tell_outlets(false);
        let settings_changed = self.probes.as_mut().is_some_and(ProbeSource::settings_changed);
        if self.sources.degradations_changed() || settings_changed {
            self.status(Phase::Running);
        }
    }

    async fn finish(mut self) -> anyhow::Result<()> {
        self.alive.finish();
        if let Some(probes) = &mut self.probes {
            let reported = probes.finish();
            self.push_all(reported);
        }
        let reported = self.sources.finish().await;
        self.push_all(reported);
        let missed = self.continuity.finish();
        self.pipeline.push_all(missed);
        self.pipeline.release();
        self.pipeline.close_incidents();
        self.pipeline.tell_outlets(true);
        self.status(Phase::Stopped);
        match self.pipeline.finish() {
            // The reader has had enough, which is no failure: `oomtrace run | head -1`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.context("standard output cannot be written to"),
        }
    }

    fn status(&mut self, phase: Phase) {
        let status = self.status_now(phase);
        self.pipeline.say_status(status);
    }

    fn status_now(&self, phase: Phase) -> Status {
        let attached = self.attached().map(|probe| (probe.symbol.clone(), probe.attached)).collect();
        Status {
            phase,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version: Some(SCHEMA_VERSION.to_owned()),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cgroup_version: node::cgroup_version(),
            attached,
            degraded: self.degraded(),
            attached_omitted: 0,
            degraded_omitted: 0,
            losses_omitted: 0,
            confined: self.confined.measures.clone(),
            away_ms: self.continuity.away().and_then(|away| u64::try_from(away.as_millis()).ok()),
            incidents_resumed: self.incidents_resumed,
            kills: self.pipeline.kills(),
            lost: self.pipeline.lost().iter().map(|lost| lost.count).sum(),
            losses: self.pipeline.lost().to_vec(),
            untold_signals: self.probes.as_ref().map_or(0, ProbeSource::untold_signals),
        }
    }

    /// What is to be attached, and how it is.
    fn attached(&self) -> impl Iterator<Item = &ProbeStatus> {
        self.probes.iter().flat_map(ProbeSource::status).chain(self.sources.status())
    }

    /// What could be better, and why it is not.
    fn degraded(&self) -> Vec<String> {
        let mut degraded = self.probes.as_ref().map(ProbeSource::degraded).unwrap_or_default();
        degraded.extend(self.sources.degraded());
        degraded.extend(self.pipeline.degraded());
        degraded.extend(self.continuity.degraded());
        degraded.extend(self.alive.degraded());
        degraded.extend(self.confined.lacking.iter().cloned());
        degraded
    }

    /// Says on standard error what is traced, where the status on standard output does not reach the person who started it:
    /// nothing is printed there, or it goes into a pipe or a file while standard error is a terminal.
    fn announce(&self, options: &Options) {
        let status = Event::Status(Box::new(self.status_now(Phase::Started)));
        let prints_status =
            |output: &Output| output.file.is_none() && output.only.as_ref().is_none_or(|only| only.contain(&status));
        let is_seen = io::stdout().is_terminal() || !io::stderr().is_terminal();
        let is_printed = options.outputs.iter().any(prints_status) && is_seen;
        if let (Event::Status(status), true) = (&status, tracing::enabled!(tracing::Level::INFO) && !is_printed) {
            eprint!("{}", sink::start_up(&options.node, status, Look::of_stderr()));
        }
    }
}
