//! `cargo xtask lab run`: the scenarios of deploy/scenarios on a real node, and what oomtrace said of each beside the truth: the
//! kernel's own log and counters, and the API server.

mod churn;
mod compare;
mod kernel;
mod pods;
mod reported;
mod stage;
mod steady;
mod table;

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use self::{
    compare::{Outcome, Truth, compare},
    reported::Live,
    stage::Stage,
    table::{ALL, Node, Scenario},
};
use super::{Lab, NODE, Oomtrace, Settings, Up};
use crate::vm::Cgroup;

/// So many scenarios share the node at a time: it has two processors, and most of its time is theirs.
const JOBS: usize = 3;
/// How long something that is to happen may take on an emulated node.
const PATIENCE: Duration = Duration::from_mins(10);
/// When nothing has been reported for so long, all has been.
const QUIET: Duration = Duration::from_secs(30);
/// Why a scenario was not played.
const LATE: &str = "the tests have taken all the time that --lab-before leaves";
/// But an incident stays open for as long as an eviction may take.
const SETTLED: Duration = Duration::from_secs(150);

#[derive(Args)]
#[command(after_help = "\
Scenarios that need nothing special of the node run several at a time, the others one by one. What oomtrace printed live is then
compared with the kernel's log and counters and with what the API server shows: who, which container, how often, which scenario,
what Kubernetes shows, and nothing else.

The exit status is 0 only if every scenario happened and nothing differs. A scenario that this node's kubelet cannot bring about
is skipped, with the reason.")]
pub(crate) struct Run {
    /// The scenarios, by name; `all`; or `list`, to see them
    #[arg(required = true)]
    scenarios: Vec<String>,
    /// How many share the node at a time
    #[arg(long, default_value_t = JOBS)]
    jobs: usize,
    /// How many pods a `churn` has
    #[arg(long, value_name = "N", default_value_t = 200)]
    pods: u32,
    /// Leave the pods where they are afterwards
    #[arg(long)]
    keep: bool,
    /// What has not begun by then is skipped.
    #[arg(skip)]
    deadline: Option<Instant>,
}

impl Run {
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

pub(crate) fn run(run: &Run) -> Result<ExitCode> {
    if run.scenarios.iter().any(|name| name == "list") {
        for scenario in ALL {
            println!("{}{}", scenario.name, if scenario.of_all { "" } else { " (not of `all`)" });
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = chosen(&run.scenarios)?;
    let report = play(&Lab::running()?, &chosen, run)?;
    report.print();
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which scenarios `cargo xtask test --lab` plays.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Set {
    /// One of each kind
    Short,
    /// Every one
    All,
}

/// Starts a lab of its own, and plays a set of scenarios, those that begin before a deadline. What is not right is played once
/// more: a kill or an eviction may have come late on a busy machine.
pub(crate) fn test(set: Set, deadline: Option<Instant>) -> Result<Report> {
    let up = Up { oomtrace: Oomtrace::Daemonset, release: false, binary: None, cgroup: Cgroup::V2 };
    let lab = Lab::up(&up).or_else(|error| {
        println!("the node did not start, and is started once more: {error:#}");
        Lab::up(&up)
    })?;
    let names = match set {
        Set::Short => table::SHORT.map(str::to_owned).to_vec(),
        Set::All => vec!["all".to_owned()],
    };
    let run = Run { scenarios: names, jobs: JOBS, pods: 0, keep: false, deadline };
    let chosen = chosen(&run.scenarios)?;
    let mut report = play(&lab, &chosen, &run)?;
    report.print();
    let wrong: Vec<_> = report.wrong().collect();
    let mut again: Vec<_> = chosen.iter().copied().filter(|scenario| wrong.contains(&scenario.name)).collect();
    // Only the sums over all are wrong.
    if again.is_empty() && !wrong.is_empty() {
        again = chosen;
    }
    if !again.is_empty() && !run.is_late() {
        println!("once more:");
        wait_for_quiet_node(&lab, false)?;
        let second = play(&lab, &again, &run)?;
        second.print();
        report.replace(second);
    }
    Ok(report)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let all = names.iter().any(|name| name == "all");
    for name in names.iter().filter(|name| *name != "all") {
        if !ALL.iter().any(|scenario| scenario.name == *name) {
            bail!("there is no scenario `{name}`: `cargo xtask lab run list` shows them");
        }
    }
    Ok(ALL.iter().filter(|scenario| all && scenario.of_all || names.iter().any(|name| name == scenario.name)).collect())
}

/// What became of a scenario.
enum Played {
    Happened(Truth),
    Skipped(&'static str),
    /// It could not be brought about.
    Failed(anyhow::Error),
}

/// All that is to be said of a run.
pub(crate) struct Report {
    rows: Vec<Row>,
    /// What was not right at first, and then was.
    unsteady: Vec<String>,
}

struct Row {
    name: String,
    seconds: f32,
    outcome: Outcome,
    skipped: Option<&'static str>,
}

impl Row {
    fn failure(&self) -> Option<String> {
        let differences = &self.outcome.differences;
        (!differences.is_empty()).then(|| format!("{}: {}", self.name, differences.join("; ")))
    }
}

/// Plays scenarios, and compares once everything has been reported.
fn play(lab: &Lab, chosen: &[&'static Scenario], run: &Run) -> Result<Report> {
    let node = node(lab)?;
    let before = lab.live()?.len();
    let began = lab.sh("date +%s")?.trim().to_owned();
    let killed_before = killed_in_pods(lab)?;

    let played = Mutex::new(Vec::new());
    let keep = |scenario: &'static Scenario, result: Result<Played>, started: Instant| {
        let result = result.unwrap_or_else(Played::Failed);
        let seconds = started.elapsed().as_secs_f32();
        let said = match &result {
            Played::Happened(_) => "has happened".to_owned(),
            Played::Skipped(why) => format!("is skipped: {why}"),
            Played::Failed(error) => format!("failed: {error:#}"),
        };
        eprintln!("{} {said} ({seconds:.0} s)", scenario.name);
        played.lock().unwrap_or_else(PoisonError::into_inner).push((scenario, result, seconds));
    };
    let (alone, together): (Vec<_>, Vec<_>) = chosen.iter().copied().partition(|scenario| scenario.alone);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..run.jobs.clamp(1, together.len().max(1)) {
            scope.spawn(|| {
                while let Some(scenario) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let started = Instant::now();
                    keep(scenario, perform(lab, scenario, &node, run), started);
                }
            });
        }
    });
    let mut configured = false;
    for scenario in alone {
        let started = Instant::now();
        if run.is_late() {
            keep(scenario, Ok(Played::Skipped(LATE)), started);
            continue;
        }
        wait_for_quiet_node(lab, run.keep)?;
        let settings = scenario.settings.filter(|_| (scenario.impossible)(&node).is_none());
        if settings.is_some() || configured {
            let settings = settings.map_or_else(
                || Ok(Settings::default()),
                |settings| Ok::<_, anyhow::Error>(settings(&self::node(lab)?)),
            )?;
            configured = settings != Settings::default();
            lab.configure_kubelet(&settings)?;
        }
        keep(scenario, perform(lab, scenario, &node, run), started);
    }
    if configured {
        lab.configure_kubelet(&Settings::default())?;
    }
    eprintln!("waiting until oomtrace has reported all");
    let live = settle(lab, before)?;
    let mut played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    played.sort_by_key(|(scenario, ..)| ALL.iter().position(|other| other.name == scenario.name));
    let kills = stage::kills_since(lab, &began)?;
    let (boot, killed) = killed_in_pods(lab)?;
    let (boot_before, killed_before) = killed_before;
    // A node that was booted meanwhile began anew.
    let killed_in_pods = killed.zip(killed_before).filter(|_| boot == boot_before);
    let killed_in_pods = killed_in_pods.map(|(after, before)| after.saturating_sub(before));
    Ok(judge(played, &node, &live, &kills, killed_in_pods))
}

/// Brings about one scenario.
fn perform(lab: &Lab, scenario: &Scenario, node: &Node, run: &Run) -> Result<Played> {
    if let Some(why) = (scenario.impossible)(node) {
        return Ok(Played::Skipped(why));
    }
    if run.is_late() {
        return Ok(Played::Skipped(LATE));
    }
    let stage = Stage::new(lab, scenario.name, run.pods)?;
    let happened = (scenario.act)(&stage);
    let cleared = if run.keep { Ok(()) } else { stage.clear() };
    happened?;
    cleared?;
    stage.truth().map(Played::Happened)
}

/// The pods of earlier scenarios are gone, and the node takes new ones.
fn wait_for_quiet_node(lab: &Lab, keep: bool) -> Result<()> {
    let started = Instant::now();
    loop {
        let namespaces = lab.kubectl(&["get", "namespaces", "--output=name"])?;
        let node = lab.kubectl_json(&["get", "node", NODE])?;
        let left = !keep && namespaces.contains("namespace/scenario-");
        let tainted = node["spec"]["taints"].as_array().is_some_and(|taints| !taints.is_empty());
        if !left && !tainted {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("the node does not come to rest: namespaces {namespaces:?}, taints {}", node["spec"]["taints"]);
        }
        thread::sleep(Duration::from_secs(2));
    }
}

fn node(lab: &Lab) -> Result<Node> {
    let node = lab.kubectl_json(&["get", "node", NODE])?;
    let capacity = node["status"]["capacity"]["memory"].as_str().context("the node has no capacity")?;
    let kibibytes: u64 =
        capacity.strip_suffix("Ki").and_then(|number| number.parse().ok()).context("a capacity in Ki")?;
    let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default();
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        bail!("the kubelet's version is {version:?}");
    };
    let available = lab.sh("awk '/^MemAvailable:/ { print $2 }' /proc/meminfo")?;
    let available: u64 = available.trim().parse().with_context(|| format!("MemAvailable is {available:?}"))?;
    let cgroup_v2 = lab.sh("stat --file-system --format=%T /sys/fs/cgroup")?.trim() == "cgroup2fs";
    Ok(Node { capacity_bytes: kibibytes * 1024, available_bytes: available * 1024, version: (major, minor), cgroup_v2 })
}

/// How many processes the kernel has killed in pods since it was booted, by its own counter (cgroup v2), and which boot that was.
fn killed_in_pods(lab: &Lab) -> Result<(String, Option<u64>)> {
    let boot = lab.sh("cat /proc/sys/kernel/random/boot_id")?;
    let events = lab.sh_status("cat /sys/fs/cgroup/kubepods.slice/memory.events")?;
    Ok((boot, events.stdout.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())))
}

/// Waits until oomtrace has nothing more to say.
fn settle(lab: &Lab, before: usize) -> Result<Live> {
    let started = Instant::now();
    let mut changed = Instant::now();
    let mut last = Vec::new();
    loop {
        let live = Live::since(&lab.live()?, before);
        if live.incidents != last {
            changed = Instant::now();
            last.clone_from(&live.incidents);
        }
        let open = live.incidents.iter().any(|incident| incident.open);
        if started.elapsed() >= SETTLED || !open && changed.elapsed() >= QUIET {
            return Ok(live);
        }
        thread::sleep(Duration::from_secs(5));
    }
}

/// Compares each scenario, and what is of none.
fn judge(
    played: Vec<(&Scenario, Played, f32)>,
    node: &Node,
    live: &Live,
    kills: &[kernel::Kill],
    killed_in_pods: Option<u64>,
) -> Report {
    let mut rows = Vec::new();
    let mut namespaces = BTreeSet::new();
    let mut uids = BTreeSet::new();
    for (scenario, played, seconds) in played {
        namespaces.insert(format!("scenario-{}", scenario.name));
        let (outcome, skipped) = match played {
            Played::Happened(truth) => {
                uids.extend(truth.pods.0.keys().cloned());
                (compare((scenario.expected)(node), &truth, live), None)
            }
            Played::Skipped(why) => (Outcome::default(), Some(why)),
            Played::Failed(error) => {
                let differences = vec![format!("it could not be brought about: {error:#}")];
                (Outcome { truth: "?".to_owned(), differences, ..Outcome::default() }, None)
            }
        };
        rows.push(Row { name: scenario.name.to_owned(), seconds, outcome, skipped });
    }
    let elsewhere: Vec<_> =
        live.incidents.iter().filter(|incident| !namespaces.contains(&incident.namespace)).collect();
    let kills_elsewhere =
        kills.iter().filter(|kill| kill.pod_uid.as_ref().is_none_or(|uid| !uids.contains(uid))).count() as u64;
    let mut outcome = Outcome {
        truth: format!("{kills_elsewhere} kills"),
        reported: format!("{} kills", elsewhere.iter().map(|incident| incident.kills).sum::<u64>()),
        differences: Vec::new(),
    };
    for incident in elsewhere.iter().filter(|incident| incident.kills == 0) {
        outcome.differences.push(format!(
            "an incident that should not be: {} ({})",
            incident.brief(),
            incident.summary
        ));
    }
    if outcome.truth != outcome.reported {
        outcome.differences.push(format!("{} were reported", outcome.reported));
    }
    rows.push(Row { name: "elsewhere".to_owned(), seconds: 0.0, outcome, skipped: None });
    rows.push(Row {
        name: "counts".to_owned(),
        seconds: 0.0,
        outcome: counts(live, kills, killed_in_pods),
        skipped: None,
    });
    Report { rows, unsteady: Vec::new() }
}

/// The kills over all incidents, beside the kernel's.
fn counts(live: &Live, kills: &[kernel::Kill], killed_in_pods: Option<u64>) -> Outcome {
    let in_log = kills.len() as u64;
    let in_incidents: u64 = live.incidents.iter().map(|incident| incident.kills).sum();
    let grouped = live.incidents.iter().any(|incident| incident.modifiers.contains("group_kill"));
    let counter = killed_in_pods.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let mut differences = Vec::new();
    if in_incidents != in_log {
        differences.push(format!("the incidents' kills sum up to {in_incidents}, the kernel's log has {in_log}"));
    }
    if live.kills_new != in_log {
        differences.push(format!("kills_new of all lines sum up to {}, the kernel's log has {in_log}", live.kills_new));
    }
    if live.kills != in_log {
        differences.push(format!("{} events oom_kill, the kernel's log has {in_log}", live.kills));
    }
    // With a whole cgroup killed it counts every process.
    let in_pods = kills.iter().filter(|kill| kill.pod_uid.is_some()).count() as u64;
    if killed_in_pods.is_some_and(|count| if grouped { count < in_pods } else { count != in_pods }) {
        differences.push(format!(
            "memory.events of kubepods counts {counter} processes, the kernel's log has {in_pods} kills"
        ));
    }
    differences.extend(live.lost.iter().map(|lost| format!("lost events: {lost}")));
    Outcome {
        truth: format!("{in_log} kills in the kernel's log, {counter} processes by memory.events of kubepods"),
        reported: format!("{in_incidents} kills in {} incidents, {} events oom_kill", live.incidents.len(), live.kills),
        differences,
    }
}

impl Report {
    /// How many are right.
    pub(crate) fn passed(&self) -> u32 {
        self.rows.iter().filter(|row| row.skipped.is_none() && row.outcome.differences.is_empty()).map(|_| 1).sum()
    }

    /// How many are not.
    pub(crate) fn failed(&self) -> u32 {
        self.rows.iter().filter(|row| !row.outcome.differences.is_empty()).map(|_| 1).sum()
    }

    /// How many cannot happen on this node.
    pub(crate) fn skipped(&self) -> u32 {
        self.rows.iter().filter(|row| row.skipped.is_some()).map(|_| 1).sum()
    }

    /// What is not right, a text for each.
    pub(crate) fn failures(&self) -> impl Iterator<Item = String> {
        self.rows.iter().filter_map(Row::failure)
    }

    /// What was not right at first, a text for each.
    pub(crate) fn unsteady(&self) -> &[String] {
        &self.unsteady
    }

    /// The scenarios, and the sums over all, that are not right.
    fn wrong(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter(|row| row.failure().is_some()).map(|row| row.name.as_str())
    }

    /// Puts what was played once more in the place of what was not right.
    fn replace(&mut self, second: Self) {
        for row in second.rows {
            if let Some(first) = self.rows.iter_mut().find(|first| first.name == row.name)
                && let Some(failure) = first.failure()
            {
                if row.failure().is_none() {
                    self.unsteady.push(failure);
                }
                *first = row;
            }
        }
    }

    pub(crate) fn print(&self) {
        for Row { name, seconds, outcome, skipped } in &self.rows {
            let state = match skipped {
                Some(_) => "skipped",
                None if outcome.differences.is_empty() => "ok",
                None => "WRONG",
            };
            println!("{name:<22} {state:<7} {seconds:>5.0} s");
            if let Some(why) = skipped {
                println!("    {why}");
                continue;
            }
            println!("    truth:    {}\n    reported: {}", outcome.truth, outcome.reported);
            for difference in &outcome.differences {
                println!("    DIFFERS:  {difference}");
            }
        }
        println!("{} right, {} wrong, {} skipped", self.passed(), self.failed(), self.skipped());
    }
}
