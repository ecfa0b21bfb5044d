//! `oomtrace explain`: a code, a status, a metric, a scenario, a score, pasted lines, or a pod.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;
use tracing::{info, warn};

use super::{
    doctor::Format,
    gather::{self, Gathered},
    names::Sources,
    pods,
};
use crate::{
    event::{Event, Incident, Line, Pod, Pressure},
    explain::{self, Explanation, here::Here},
    node::{hierarchy::Hierarchy, memory},
    quantity,
    replay::{self, Given, Inputs, Show},
    sink::{self, BOLD, Look, PLAIN, Page, size},
    timeline::Background,
};

/// Options of `oomtrace explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to explain: an exit code (137), a status (`OOMKilled`, `Error 137`, `Evicted`), a scenario (`container_limit`,
    /// `OOM4`), a metric (`container_memory_working_set_bytes`), a score (`oom_score_adj 984`), `flow`, a pod
    /// (NAMESPACE/POD), or `-`: lines of a log on standard input, as without anything where that is no terminal.
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
    /// Of a pod: recordings of `oomtrace run` to look for its incidents in.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    events: Vec<Given>,
    /// Of a pod: other files to look for its incidents in: logs, what kubectl printed, an archive of `oomtrace collect`.
    /// Without any files: this node's own logs and pods.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    files: Vec<Given>,
    /// The node's memory, for a score. Default: this node's.
    #[arg(long, value_name = "SIZE", value_parser = capacity)]
    capacity: Option<u64>,
    /// How to print: `text`, or `json`, one object.
    #[arg(long, value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    format: Format,
    /// Explain it by itself, without the numbers of this node.
    #[arg(long)]
    no_node: bool,
    /// The node's name, in its own logs' incidents. Default: the one that the logs have, or the host's.
    #[arg(long, value_name = "NAME", help_heading = "This node")]
    node_name: Option<String>,
    /// Where the node's cgroups are mounted: in a container, where the host's /sys/fs/cgroup is.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup", help_heading = "This node")]
    cgroup_root: PathBuf,
    #[command(flatten, next_help_heading = "This node")]
    sources: Sources,
}

/// Lines that are pasted are held in memory.
const MOST_PASTED: u64 = 64 << 20;

/// Explains what is asked for.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let what = args.what.join(" ");
    if what == "-" || what.is_empty() && !io::stdin().is_terminal() {
        return pasted(args);
    }
    anyhow::ensure!(!what.is_empty(), "say what to explain. What can be:\n{}", explain::known());
    if let Some(asked) = AskedPod::of(&what) {
        return pod(args, &asked);
    }
    let here = (!args.no_node).then(|| Here::read(&args.cgroup_root));
    let capacity = args.capacity.or_else(|| here.as_ref()?.capacity_bytes());
    let mut explanation = explain::explain(&what, capacity)?;
    if let Some(here) = here.filter(|here| here.kubepods.is_some() || what == "flow") {
        explanation.here = here.steps();
        if !explanation.scenarios.is_empty() && what != "flow" {
            let asked = |step: &explain::here::Step| {
                step.scenarios
                    .iter()
                    .any(|scenario| explanation.scenarios.iter().any(|named| named.scenario == *scenario))
            };
            explanation.here = explanation.here.iter().filter(|step| asked(step)).cloned().collect();
        } else if explanation.scenarios.is_empty() {
            explanation.here.clear();
        }
    }
    print(args.format, &explanation, |look| explanation.text(look))?;
    Ok(ExitCode::SUCCESS)
}

fn capacity(text: &str) -> Result<u64, String> {
    quantity::bytes(text).filter(|bytes| *bytes > 0).ok_or_else(|| "it has to be a size such as 16Gi".to_owned())
}

fn print<T: Serialize>(format: Format, what: &T, text: impl FnOnce(Look) -> String) -> Result<()> {
    let printed = match format {
        Format::Json => serde_json::to_string_pretty(what)? + "\n",
        Format::Text => text(Look::of_stdout()),
    };
    match io::stdout().lock().write_all(printed.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output cannot be written to"),
    }
}

/// What is found in pasted lines.
#[derive(Debug, Serialize)]
struct Pasted {
    /// The incidents that the lines make.
    incidents: Vec<Line>,
    /// Their scenarios, and other words in the lines that are known.
    explanations: Vec<Explanation>,
}

/// Explains lines on standard input.
fn pasted(args: &Args) -> Result<ExitCode> {
    let mut bytes = Vec::new();
    let most = MOST_PASTED + 1;
    io::stdin().lock().take(most).read_to_end(&mut bytes).context("standard input cannot be read")?;
    anyhow::ensure!(
        (bytes.len() as u64) < most,
        "standard input has more than {}: write it to a file, and read that with `oomtrace timeline FILE`",
        quantity::size(MOST_PASTED)
    );
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let file = Given::held("standard input".to_owned(), bytes, Timestamp::now());
    let incidents = incidents(Inputs::of(vec![file], Vec::new()), None)?;
    let mut explanations: Vec<Explanation> = Vec::new();
    let scenarios = incidents.iter().filter_map(|line| of_incident(line)).map(|incident| incident.verdict.scenario);
    // What the lines make says more than their words.
    let words = if incidents.is_empty() { explain::in_text(&text) } else { Vec::new() };
    for found in scenarios.filter_map(explain::of_scenario).chain(words) {
        if !explanations.contains(&found) {
            explanations.push(found);
        }
    }
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if explanations.is_empty()
        && let Ok(found) = explain::explain(first, args.capacity)
    {
        explanations.push(found);
    }
    anyhow::ensure!(
        !explanations.is_empty(),
        "nothing in the lines is known: neither a report of the kernel's nor a line of a kubelet's, nor a word that can be \
         explained:\n{}",
        explain::known()
    );
    let pasted = Pasted { incidents, explanations };
    print(args.format, &pasted, |look| {
        let incidents = pasted.incidents.iter().map(|line| sink::incident_as_text(line, look));
        let texts = incidents.chain(pasted.explanations.iter().map(|found| found.text(look)));
        texts.map(|text| text.trim_end().to_owned() + "\n").collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A pod that is asked about, and perhaps one of its containers.
#[derive(Debug, PartialEq, Eq)]
struct AskedPod {
    namespace: String,
    name: String,
    container: Option<String>,
}

impl AskedPod {
    fn of(what: &str) -> Option<Self> {
        let mut parts = what.split('/');
        let is_name = |part: &&str| {
            !part.is_empty()
                && part.len() <= 253
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
        };
        let namespace = parts.next().filter(is_name)?.to_owned();
        let name = parts.next().filter(is_name)?.to_owned();
        let container = parts.next().map(str::to_owned);
        parts.next().is_none().then_some(Self { namespace, name, container })
    }

    fn is(&self, pod: Option<&Pod>) -> bool {
        pod.is_some_and(|pod| {
            pod.namespace.as_ref().is_none_or(|namespace| *namespace == self.namespace)
                && pod.name.as_ref() == Some(&self.name)
        })
    }
}

/// What is known of a pod.
#[derive(Debug, Serialize)]
struct KnownPod {
    pod: String,
    /// Its cgroups now: the pod's, and its containers'.
    memory: Vec<Lens>,
    incidents: Vec<Line>,
}

/// The memory of one of its cgroups now.
#[derive(Debug, Serialize)]
struct Lens {
    /// The container's name; `null` of the pod's own cgroup.
    container: Option<String>,
    usage_bytes: Option<u64>,
    working_set_bytes: Option<u64>,
    anon_bytes: Option<u64>,
    peak_bytes: Option<u64>,
    limit_bytes: Option<u64>,
    /// What is left to the limit.
    left_bytes: Option<u64>,
    /// How often a charge met the limit, and how many processes were killed in it.
    events_max: Option<u64>,
    events_oom_kill: Option<u64>,
    oom_score_adj: Option<i32>,
}

impl Lens {
    fn of(container: Option<String>, read: &Pressure, oom_score_adj: Option<i32>) -> Self {
        let left = read.limit_bytes.zip(read.usage_bytes).map(|(limit, used)| limit.saturating_sub(used));
        Self {
            container,
            usage_bytes: read.usage_bytes,
            working_set_bytes: read.working_set_bytes,
            anon_bytes: read.anon_bytes,
            peak_bytes: read.peak_bytes,
            limit_bytes: read.limit_bytes,
            left_bytes: left,
            events_max: read.events_max,
            events_oom_kill: read.events_oom_kill,
            oom_score_adj,
        }
    }

    fn text(&self) -> String {
        let mut parts = vec![format!("uses {}", size(self.usage_bytes))];
        match (self.limit_bytes, self.left_bytes) {
            (Some(limit), Some(left)) => parts.push(format!("limit {}, {} left", size(Some(limit)), size(Some(left)))),
            _ => parts.push("no limit of its own".to_owned()),
        }
        let more =
            [(self.working_set_bytes, "working set"), (self.anon_bytes, "anonymous"), (self.peak_bytes, "highest use")];
        parts.extend(more.iter().filter_map(|(bytes, what)| Some(format!("{what} {}", size(Some((*bytes)?))))));
        if let Some(kills) = self.events_oom_kill.filter(|kills| *kills > 0) {
            parts.push(format!("{kills} killed in it"));
        }
        if let Some(score) = self.oom_score_adj {
            parts.push(format!("oom_score_adj {score}"));
        }
        parts.join("; ")
    }
}

/// Says what is known of a pod.
fn pod(args: &Args, asked: &AskedPod) -> Result<ExitCode> {
    let given = !args.events.is_empty() || !args.files.is_empty();
    let memory = if given && args.no_node { Vec::new() } else { memory_of(args, asked) };
    let mut inputs = Inputs::of(args.files.clone(), args.events.clone());
    let mut known = Background::default();
    if !given {
        inputs.node_name.clone_from(&args.node_name);
        let Gathered { kept, missing } = gather::for_timeline(&args.sources.options(&args.cgroup_root), None);
        for (what, why) in missing {
            info!("not read: {what}: {why}");
        }
        inputs.take_kept(kept, &mut known.snapshot)?;
    }
    let incidents = if inputs.any() { incidents_of(inputs, known, Some(asked))? } else { Vec::new() };
    let name = format!("{}/{}", asked.namespace, asked.name);
    if memory.is_empty() && incidents.is_empty() {
        warn!("nothing is known of pod {name}: no cgroup of it here, and no incident in what was read");
        return Ok(ExitCode::FAILURE);
    }
    let known = KnownPod { pod: name, memory, incidents };
    print(args.format, &known, |look| known.text(look))?;
    Ok(ExitCode::SUCCESS)
}

impl KnownPod {
    fn text(&self, look: Look) -> String {
        let mut page = Page::new(look);
        page.paragraph(&[(&format!("pod {}", self.pod), BOLD)], 2, PLAIN, "");
        if self.memory.is_empty() {
            page.paragraph(&[("  ", PLAIN)], 4, PLAIN, "It has no cgroup on this node now.");
        }
        for lens in &self.memory {
            let whose =
                lens.container.as_ref().map_or_else(|| "the pod".to_owned(), |name| format!("container {name}"));
            page.paragraph(&[(&format!("  {whose}: "), BOLD)], 4, PLAIN, &lens.text());
        }
        let nearest = self.memory.iter().filter_map(|lens| Some((lens.left_bytes?, lens)));
        if let Some((left, lens)) = nearest.min_by_key(|(left, _)| *left) {
            let whose =
                lens.container.as_ref().map_or_else(|| "the pod's".to_owned(), |name| format!("container {name}'s"));
            page.paragraph(&[("  Nearest limit: ", BOLD)], 4, PLAIN, &format!("{whose}, in {}", size(Some(left))));
        }
        let incidents = match self.incidents.len() {
            0 => "none in what was read".to_owned(),
            count => count.to_string(),
        };
        page.paragraph(&[("  Incidents: ", BOLD)], 4, PLAIN, &incidents);
        let mut text = page.finish();
        for line in &self.incidents {
            text.push('\n');
            text += sink::incident_as_text(line, look).trim_end();
            text.push('\n');
        }
        text
    }
}

/// The memory of a pod's cgroups on this node now.
fn memory_of(args: &Args, asked: &AskedPod) -> Vec<Lens> {
    let read = pods::collected(&args.sources, &args.cgroup_root)
        .and_then(|rows| Ok((rows, Hierarchy::find(&args.cgroup_root)?)));
    let (rows, hierarchy) = match read {
        Ok(read) => read,
        Err(error) => {
            warn!("the pod's memory is not read: {error:#}");
            return Vec::new();
        }
    };
    let mut lenses = Vec::new();
    for row in rows.iter().filter(|row| asked.is(row.pod.as_ref())) {
        let name = row.container.as_ref().and_then(|container| container.name.clone());
        // The sandbox has no name, and nothing in it.
        if row.container.is_some() && name.is_none() || asked.container.is_some() && name != asked.container {
            continue;
        }
        let path = row.cgroup.path.as_deref().unwrap_or_default();
        match memory::of_cgroup(&hierarchy, path) {
            Ok(Some(read)) => lenses.push(Lens::of(name, &read, row.oom_score_adj)),
            Ok(None) => {}
            Err(error) => warn!("{error}"),
        }
    }
    lenses
}

fn of_incident(line: &Line) -> Option<&Incident> {
    match &line.event {
        Event::Incident(incident) => Some(incident),
        _ => None,
    }
}

/// The incidents in files.
fn incidents(mut inputs: Inputs, asked: Option<&AskedPod>) -> Result<Vec<Line>> {
    let mut known = Background::default();
    if !inputs.take(&mut known.snapshot)? && !inputs.any() {
        return Ok(Vec::new());
    }
    incidents_of(inputs, known, asked)
}

fn incidents_of(mut inputs: Inputs, mut known: Background, asked: Option<&AskedPod>) -> Result<Vec<Line>> {
    inputs.take(&mut known.snapshot)?;
    let mut lines = Vec::new();
    replay::run(&inputs, known, Collected { asked, lines: &mut lines })?;
    Ok(lines)
}

/// Keeps the incidents that are asked for.
struct Collected<'a> {
    asked: Option<&'a AskedPod>,
    lines: &'a mut Vec<Line>,
}

impl Show for Collected<'_> {
    fn takes(&mut self, incident: &Incident, _node: &str) -> bool {
        self.asked.is_none_or(|asked| {
            let name = incident.container.as_ref().and_then(|container| container.name.as_ref());
            let same = asked.container.is_none() || name.is_none() || name == asked.container.as_ref();
            asked.is(incident.pod.as_ref()) && same
        })
    }

    fn incident(&mut self, line: Line) -> Result<()> {
        self.lines.push(line);
        Ok(())
    }

    fn other(&mut self, _line: Line) -> Result<()> {
        Ok(())
    }

    fn count(&self) -> u64 {
        self.lines.len() as u64
    }

    fn is_unread(&self) -> bool {
        false
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_asked_for_by_namespace_and_name() {
        let asked = AskedPod::of("shop/cart-5").expect("a pod");
        assert_eq!((asked.namespace.as_str(), asked.name.as_str(), &asked.container), ("shop", "cart-5", &None));
        assert_eq!(AskedPod::of("shop/cart-5/app").and_then(|asked| asked.container).as_deref(), Some("app"));
        for what in ["137", "OOMKilled", "/a", "a/", "a/b/c/d", "A/b", "memory.max"] {
            assert_eq!(AskedPod::of(what), None, "{what}");
        }
    }

    #[test]
    fn a_cgroup_says_how_much_is_left_to_its_limit() {
        let read = Pressure { usage_bytes: Some(200 << 20), limit_bytes: Some(256 << 20), ..Pressure::default() };
        let lens = Lens::of(Some("app".to_owned()), &read, Some(984));
        assert_eq!(lens.text(), "uses 200 MiB; limit 256 MiB, 56 MiB left; oom_score_adj 984");
        assert!(Lens::of(None, &Pressure::default(), None).text().contains("no limit of its own"));
    }
}
