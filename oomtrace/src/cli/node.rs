//! `oomtrace node`: the node's memory budget, what is used of it, and who would go first.

mod budget;
mod guarantees;
mod order;
mod print;
mod report;
mod warnings;

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    thread,
};

use jiff::SignedDuration;
use tokio::runtime;

use self::report::{Readings, Report};
use super::{doctor::Format, names::Sources};
use crate::{
    node::{
        cgroup_path::PodUid,
        fact::Fact,
        index::{Bounds, Index},
        kubelet_answers::{self, Answers, Summary, Wanted},
        kubelet_process::KubeletProcess,
        kubelet_settings::{Settings, WhatIf},
        names::{self, Options},
        node_object::NodeObject,
        pod_specs::{self, PodSpec},
        survey::{Places, PodMemory, Survey},
    },
    sink::Look,
};

/// Options of `oomtrace node`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read and print again and again until interrupted, every `--interval`.
    #[arg(long)]
    watch: bool,
    /// How long to wait between two readings: growth, and who acts first, is computed from them. `0s`: one reading, no growth.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    interval: SignedDuration,
    /// How to print: `text`, or `json`, one object (with `--watch` one a line); sizes are in bytes.
    #[arg(long, value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    format: Format,
    /// Where the node's cgroups are mounted: in a container, where the host's /sys/fs/cgroup is. The default is that of
    /// `--host-root`, where it is there.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    /// The node's object, for its capacity and allocatable: what `kubectl get node NAME -o json` prints.
    #[arg(long, value_name = "FILE")]
    node_object: Option<PathBuf>,
    /// The pods' objects, where the kubelet cannot be asked for them: what `kubectl get pods -A -o json` prints.
    #[arg(long, value_name = "FILE")]
    pods: Option<PathBuf>,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    what_if: WhatIfArgs,
}

/// What if the kubelet had these? Each in the form of the kubelet's own flag.
#[derive(Debug, Default, clap::Args)]
#[group(id = "what_if")]
#[command(next_help_heading = "What if the kubelet were given")]
struct WhatIfArgs {
    /// Hard thresholds, in the place of all that there are: `memory.available=1Gi`, `memory.available=5%`.
    #[arg(long, value_name = "SIGNAL=AMOUNT,…", value_parser = checked_threshold)]
    eviction_hard: Option<String>,
    /// Soft thresholds.
    #[arg(long, value_name = "SIGNAL=AMOUNT,…", value_parser = checked_threshold)]
    eviction_soft: Option<String>,
    /// What is kept from pods for the kubelet and the runtime: `memory=1Gi`.
    #[arg(long, value_name = "RESOURCE=AMOUNT,…", value_parser = checked_reservation)]
    kube_reserved: Option<String>,
    /// What is kept from pods for the system: `memory=500Mi`.
    #[arg(long, value_name = "RESOURCE=AMOUNT,…", value_parser = checked_reservation)]
    system_reserved: Option<String>,
    /// What is enforced: `pods`, `kube-reserved`, `system-reserved`, `none`.
    #[arg(long, value_name = "WHAT,…")]
    enforce_node_allocatable: Option<String>,
}

/// The value of `memory` or `memory.available` in a list is what it should be.
fn checked(text: &str, name: &str, is_fine: impl Fn(&str) -> Result<(), String>) -> Result<String, String> {
    for entry in text.split(',').filter(|entry| !entry.is_empty()) {
        let (of, value) = entry.split_once(['=', '<', ':']).ok_or_else(|| format!("{entry:?} is not NAME=AMOUNT"))?;
        if of.trim() == name {
            is_fine(value.trim())?;
        }
    }
    Ok(text.to_owned())
}

fn checked_threshold(text: &str) -> Result<String, String> {
    let is_fine =
        |value: &str| value.parse().map(|_: crate::node::budget::Threshold| ()).map_err(|error| error.to_string());
    checked(text, "memory.available", is_fine)
}

fn checked_reservation(text: &str) -> Result<String, String> {
    let is_fine = |value: &str| value.parse().map(|_: crate::quantity::Quantity| ()).map_err(|error| error.to_string());
    checked(text, "memory", is_fine)
}

impl WhatIfArgs {
    fn flags(&self) -> Option<WhatIf> {
        let Self { eviction_hard, eviction_soft, kube_reserved, system_reserved, enforce_node_allocatable } = self;
        let given = [
            ("eviction-hard", eviction_hard),
            ("eviction-soft", eviction_soft),
            ("kube-reserved", kube_reserved),
            ("system-reserved", system_reserved),
            ("enforce-node-allocatable", enforce_node_allocatable),
        ];
        let flags: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        (!flags.is_empty()).then_some(WhatIf { flags })
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let look = Look::of_stdout();
    let mut node = Node::open(args)?;
    let mut earlier = None;
    let single = args.interval.is_zero();
    if !single {
        earlier = Some(Survey::take(&node.places));
        thread::sleep(args.interval.unsigned_abs());
    }
    loop {
        let (report, survey) = node.report(earlier.as_ref());
        let text = match (args.format, args.watch) {
            (Format::Json, true) => serde_json::to_string(&report)? + "\n",
            (Format::Json, false) => serde_json::to_string_pretty(&report)? + "\n",
            (Format::Text, _) => print::text(&report, look),
        };
        // A terminal shows the last reading alone.
        let clear = if args.watch && io::stdout().is_terminal() { "\u{1b}[H\u{1b}[2J" } else { "" };
        if let Err(error) = io::stdout().lock().write_all(format!("{clear}{text}").as_bytes()) {
            return if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error.into()) };
        }
        if !args.watch {
            return Ok(());
        }
        thread::sleep(args.interval.unsigned_abs().max(std::time::Duration::from_millis(100)));
        earlier = Some(survey);
        node.refresh();
    }
}

/// What is read of a node for its reports.
struct Node {
    places: Places,
    options: Options,
    settings: Settings,
    object: Option<NodeObject>,
    pods_file: Option<PathBuf>,
    specs: Vec<PodSpec>,
    summary: Option<Summary>,
    names: Index,
    what_if: Option<WhatIf>,
    page_bytes: u64,
    /// What could not be read, beside the files of memory.
    missing: Vec<String>,
}

impl Node {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let mut missing = Vec::new();
        let options = args.sources.options(&args.cgroup_root);
        let places = Places::below(options.host.clone(), &args.cgroup_root, &mut missing);
        let options = Options { cgroup_root: places.cgroup_root.clone(), ..options };
        let process = KubeletProcess::find(&places.proc);
        let configz = options.kubelet.as_ref().map(|kubelet| Answers::ask(kubelet, &[Wanted::Configz]));
        let configz = configz.and_then(|answers| {
            missing.extend(answers.trouble);
            answers.configz
        });
        let settings = Settings::read(&options.host, process.as_ref(), configz);
        let object = args.node_object.as_deref().map(|path| node_object(path, &mut missing));
        if args.node_object.is_none() {
            missing
                .push("the node's status: give --node-object, what `kubectl get node NAME -o json` prints".to_owned());
        }
        let mut node = Self {
            places,
            options,
            settings,
            object: object.flatten(),
            pods_file: args.pods.clone(),
            specs: Vec::new(),
            summary: None,
            names: Index::new(Bounds::default()),
            what_if: args.what_if.flags(),
            page_bytes: u64::try_from(rustix::param::page_size())?,
            missing,
        };
        node.refresh();
        if node.specs.is_empty() {
            node.learn_names()?;
        }
        Ok(node)
    }

    /// Asks the kubelet again.
    fn refresh(&mut self) {
        if let Some(kubelet) = &self.options.kubelet {
            let answers = Answers::ask(kubelet, &[Wanted::Pods, Wanted::Summary]);
            self.specs = answers.specs.unwrap_or_default();
            self.summary = answers.summary;
            answers.trouble.into_iter().for_each(|trouble| self.miss(trouble));
        }
        if let Some(path) = &self.pods_file {
            let read = fs::read(path).map_err(|error| error.to_string()).and_then(|json| pod_specs::parse(&json));
            match read {
                Ok(specs) => self.specs = specs,
                Err(error) => self.miss(format!("the pods' objects: {}: {error}", path.display())),
            }
        }
        if self.specs.is_empty() {
            self.miss("requests and priorities of pods: --pods, what `kubectl get pods -A -o json` prints".to_owned());
        }
    }

    fn miss(&mut self, what: String) {
        if !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }

    /// Names of pods from where `oomtrace pods` has them.
    fn learn_names(&mut self) -> anyhow::Result<()> {
        let options = Options { kubelet: None, ..self.options.clone() };
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (facts, _) = runtime.block_on(names::collect_once(&options));
        for fact in facts.into_iter().filter(|fact| !matches!(fact, Fact::Cgroup { .. })) {
            self.names.learn(fact, 0);
        }
        Ok(())
    }

    fn report(&self, earlier: Option<&Survey>) -> (Report, Survey) {
        let survey = Survey::take(&self.places);
        let names = |pod: &PodMemory| name_of(&self.names, &pod.uid);
        let readings = Readings {
            settings: &self.settings,
            object: self.object.as_ref(),
            specs: &self.specs,
            names: &names,
            summary: self.summary.as_ref(),
            now_ms: kubelet_answers::now_ms(),
            survey: &survey,
            earlier,
            page_bytes: self.page_bytes,
        };
        let mut report = Report::make(&readings);
        report.missing.extend(self.missing.iter().cloned());
        report.what_if = self
            .what_if
            .as_ref()
            .map(|what_if| budget::Budget::what_if(&self.settings, what_if, self.object.as_ref(), &survey));
        (report, survey)
    }
}

fn name_of(names: &Index, uid: &PodUid) -> Option<(String, String)> {
    let pod = names.known_pod(uid)?.pod?;
    Some((pod.namespace?, pod.name?))
}

fn node_object(path: &Path, missing: &mut Vec<String>) -> Option<NodeObject> {
    let read = fs::read(path).map_err(|error| error.to_string()).and_then(|json| NodeObject::parse(&json));
    read.map_err(|error| missing.push(format!("the node's status: {}: {error}", path.display()))).ok()
}
