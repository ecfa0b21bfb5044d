//! `oomtrace memory`: the same memory through every lens, and why the figures differ.

mod print;
mod report;
mod target;

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use tokio::runtime;

use self::{
    report::{Reader, Report},
    target::Target,
};
use super::{doctor::Format, names::Sources};
use crate::{
    node::{
        fact::Fact,
        index::{Bounds, Index},
        kubelet_answers::{Answers, Wanted},
        names::{self, Options},
        node_object::NodeObject,
        pod_specs,
        survey::Places,
    },
    sink::Look,
};

/// Options of `oomtrace memory`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose memory: a pod or a container as `NAMESPACE/POD` or `NAMESPACE/POD/CONTAINER`, a cgroup by its path from the
    /// hierarchy's root (`/system.slice/ssh.service`), a process by its id, or `node`.
    #[arg(value_name = "NAMESPACE/POD[/CONTAINER]|CGROUP|PID|node", default_value = "node", hide_default_value = true)]
    what: Target,
    /// How to print: `text`, or `json`, one object; sizes are in bytes, ages in milliseconds.
    #[arg(long, value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    format: Format,
    /// Where the node's cgroups are mounted: in a container, where the host's /sys/fs/cgroup is. The default is that of
    /// `--host-root`, where it is there.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    /// The node's object, for what is allocatable: what `kubectl get node NAME -o json` prints.
    #[arg(long, value_name = "FILE")]
    node_object: Option<PathBuf>,
    /// The pods' objects, where the kubelet cannot be asked for them: what `kubectl get pods -A -o json` prints.
    #[arg(long, value_name = "FILE")]
    pods: Option<PathBuf>,
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let report = read(args)?;
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Text => print::text(&report, Look::of_stdout()),
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

fn read(args: &Args) -> anyhow::Result<Report> {
    let mut missing = Vec::new();
    let options = args.sources.options(&args.cgroup_root);
    let places = Places::below(options.host.clone(), &args.cgroup_root, &mut missing);
    let options = Options { cgroup_root: places.cgroup_root.clone(), ..options };
    let wanted = [Wanted::Pods, Wanted::Summary, Wanted::Metrics];
    let mut answers = options.kubelet.as_ref().map(|kubelet| Answers::ask(kubelet, &wanted)).unwrap_or_default();
    missing.append(&mut answers.trouble);
    if let Some(path) = &args.pods {
        let read = fs::read(path).map_err(|error| error.to_string()).and_then(|json| pod_specs::parse(&json));
        match read {
            Ok(specs) => answers.specs = Some(specs),
            Err(error) => missing.push(format!("the pods' objects: {}: {error}", path.display())),
        }
    }
    let object = args.node_object.as_deref().and_then(|path| {
        let read = fs::read(path).map_err(|error| error.to_string()).and_then(|json| NodeObject::parse(&json));
        read.map_err(|error| missing.push(format!("the node's status: {}: {error}", path.display()))).ok()
    });
    let names = names(&options)?;
    let reader = Reader { places, answers, object, names, missing };
    match &args.what {
        Target::Node => Ok(reader.node()),
        Target::Cgroup(path) => reader.cgroup(path),
        Target::Process(pid) => reader.process(*pid),
        Target::Pod { namespace, pod, container } => reader.pod(namespace, pod, container.as_deref()),
    }
}

/// Names from where `oomtrace pods` has them, but for the kubelet, who was asked.
fn names(options: &Options) -> anyhow::Result<Index> {
    let options = Options { kubelet: None, ..options.clone() };
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (facts, _) = runtime.block_on(names::collect_once(&options));
    let mut names = Index::new(Bounds::default());
    for fact in facts.into_iter().filter(|fact| !matches!(fact, Fact::Cgroup { .. })) {
        names.learn(fact, 0);
    }
    Ok(names)
}
