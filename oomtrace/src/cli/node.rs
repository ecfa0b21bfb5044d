//! `oomtrace node`: the node's memory budget, what is used of it, and who would go first.

mod budget;
mod guarantees;
mod order;
mod print;
mod report;
mod warnings;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    thread,
};

use jiff::SignedDuration;

use self::report::{Readings, Report};
use super::{
    doctor::Format,
    node_inputs::{self, NodeInputs},
};
use crate::{
    node::{
        cgroup_path::PodUid,
        index::{Bounds, Index},
        kubelet_answers::{self, Answers, Summary, Wanted},
        kubelet_process::KubeletProcess,
        kubelet_settings::{Settings, WhatIf},
        names::Options,
        node_object::NodeObject,
        pod_specs::PodSpec,
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
    #[command(flatten)]
    inputs: NodeInputs,
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
        let (options, places) = args.inputs.places(&mut missing);
        let process = KubeletProcess::find(&places.proc);
        let configz = options.kubelet.as_ref().map(|kubelet| Answers::ask(kubelet, &[Wanted::Configz]));
        let configz = configz.and_then(|answers| {
            missing.extend(answers.trouble);
            answers.configz
        });
        let settings = Settings::read(&options.host, process.as_ref(), configz);
        let object = args.inputs.object(&mut missing);
        if args.inputs.node_object.is_none() {
            missing
                .push("the node's status: give --node-object, what `kubectl get node NAME -o json` prints".to_owned());
        }
        let mut node = Self {
            places,
            options,
            settings,
            object,
            pods_file: args.inputs.pods.clone(),
            specs: Vec::new(),
            summary: None,
            names: Index::new(Bounds::default()),
            what_if: args.what_if.flags(),
            page_bytes: u64::try_from(rustix::param::page_size())?,
            missing,
        };
        node.refresh();
        if node.specs.is_empty() {
            node.names = node_inputs::names(&node.options)?;
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
        match self.pods_file.as_deref().map(node_inputs::pod_specs) {
            Some(Ok(specs)) => self.specs = specs,
            Some(Err(error)) => self.miss(error),
            None => {}
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
