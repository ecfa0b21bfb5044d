//! `oomtrace memory`: the same memory through every lens, and why the figures differ.

mod print;
mod report;
mod target;

use std::io::{self, Write as _};

use self::{
    report::{MemoryReader, Report},
    target::Target,
};
use super::{
    doctor::Format,
    node_inputs::{self, NodeInputs},
};
use crate::{
    node::kubelet_answers::{Answers, Wanted},
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
    #[command(flatten)]
    inputs: NodeInputs,
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
    let (options, places) = args.inputs.places(&mut missing);
    let wanted = [Wanted::Pods, Wanted::Summary, Wanted::Metrics];
    let mut answers = options.kubelet.as_ref().map(|kubelet| Answers::ask(kubelet, &wanted)).unwrap_or_default();
    missing.append(&mut answers.trouble);
    match args.inputs.pods.as_deref().map(node_inputs::pod_specs) {
        Some(Ok(specs)) => answers.specs = Some(specs),
        Some(Err(error)) => missing.push(error),
        None => {}
    }
    let object = args.inputs.object(&mut missing);
    let names = node_inputs::names(&options)?;
    let reader = MemoryReader { places, answers, object, names, missing };
    match &args.what {
        Target::Node => Ok(reader.node()),
        Target::Cgroup(path) => reader.cgroup(path),
        Target::Process(pid) => reader.process(*pid),
        Target::Pod { namespace, pod, container } => reader.pod(namespace, pod, container.as_deref()),
    }
}
