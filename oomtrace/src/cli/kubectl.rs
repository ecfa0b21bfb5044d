//! `kubectl oomtrace`: the same program under the name `kubectl-oomtrace`, as kubectl looks for its plugins.
//!
//! It asks the `DaemonSet`'s pod on a node by `kubectl exec`: no port is opened, and who may not exec into that pod learns nothing.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::IsTerminal as _,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use serde::Deserialize;

use crate::{build_info, sink::escape};

/// The name that kubectl looks for.
const NAME: &str = "kubectl-oomtrace";
/// The pods of the `DaemonSet`, as its manifests label them.
const LABEL: &str = "app.kubernetes.io/name=oomtrace";

/// Why did this container die, and what would have prevented it?
///
/// Asks oomtrace on the nodes of a cluster, which has to run there as its `DaemonSet`, by `kubectl exec`.
///
/// Exit status: 0 where something is known; 1 where nothing is, or a node could not be asked; 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "kubectl oomtrace", bin_name = "kubectl oomtrace", version = build_info::LONG)]
pub struct Plugin {
    #[command(subcommand)]
    asked: Asked,
    /// The kubeconfig file that kubectl uses.
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<OsString>,
    /// The context of the kubeconfig that kubectl uses.
    #[arg(long, value_name = "NAME", global = true)]
    context: Option<OsString>,
}

#[derive(Debug, Subcommand)]
enum Asked {
    /// Say what is known of a pod: its incidents, its memory, how near it is to which limit.
    ///
    /// Of a pod that is deleted, every node is asked.
    Why {
        /// The pod, and with a slash its container.
        #[arg(value_name = "POD[/CONTAINER]")]
        pod: String,
        /// The pod's namespace. Default: that of kubectl's context.
        #[arg(long, short, value_name = "NAMESPACE")]
        namespace: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Report the incidents in the logs of a node, or of all nodes.
    Incidents {
        /// The node. Default: all.
        #[arg(value_name = "NODE")]
        node: Option<String>,
        /// Options of `oomtrace timeline`: `-- --since 2h --summary`.
        #[arg(last = true, value_name = "OPTION")]
        options: Vec<String>,
    },
    /// Show a node's memory budget, what is used of it, and who would be evicted or killed first.
    Node {
        /// The node.
        #[arg(value_name = "NODE")]
        node: String,
        /// Options of `oomtrace node`: `-- --format json`.
        #[arg(last = true, value_name = "OPTION")]
        options: Vec<String>,
    },
}

/// What kubectl lists.
#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Metadata {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

impl Plugin {
    /// The plugin's command line, where the program was called by the name that kubectl looks for.
    #[must_use]
    pub fn from_command_line() -> Option<Self> {
        let called = env::args_os().next()?;
        is_plugin(&called).then(Self::parse)
    }

    /// Does what was asked.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        self.answer().unwrap_or_else(|error| {
            anstream::eprintln!("{NAME}: {}", escape(&format!("{error:#}")));
            ExitCode::FAILURE
        })
    }

    fn answer(&self) -> Result<ExitCode> {
        match &self.asked {
            Asked::Why { pod, namespace, json } => self.why(pod, namespace.as_deref(), *json),
            Asked::Incidents { node, options } => {
                let (mut failed, nodes) = (false, self.nodes(node.as_deref())?);
                for (at, pod) in nodes.iter().enumerate() {
                    if node.is_none() && nodes.len() > 1 {
                        let gap = if at > 0 { "\n" } else { "" };
                        eprintln!("{gap}node {}", escape(pod.node()));
                    }
                    failed |=
                        self.exec(pod, &[&["timeline", "--node-name", pod.node()], &*strings(options)].concat())? != 0;
                }
                Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
            }
            Asked::Node { node, options } => {
                let nodes = self.nodes(Some(node))?;
                let failed = self.exec(&nodes[0], &[&["node"], &*strings(options)].concat())? != 0;
                Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
            }
        }
    }

    fn why(&self, pod: &str, namespace: Option<&str>, json: bool) -> Result<ExitCode> {
        let (pod, container) = pod.split_once('/').map_or((pod, None), |(pod, container)| (pod, Some(container)));
        let mut get = self.kubectl(&["get", "pod", pod, "--ignore-not-found", "--output=json"]);
        get.args(namespace.map(|namespace| format!("--namespace={namespace}")));
        let found = output(&mut get)?;
        let found: Option<Object> = match found.trim() {
            "" => None,
            found => Some(serde_json::from_str(found).context("what kubectl says of the pod is not understood")?),
        };
        let namespace = match (&found, namespace) {
            (Some(found), _) => found.metadata.namespace.clone(),
            (None, Some(namespace)) => namespace.to_owned(),
            (None, None) => self.default_namespace()?,
        };
        let nodes = match &found {
            Some(found) => {
                let node = found.spec.node_name.as_deref();
                let node = node.with_context(|| format!("pod {namespace}/{pod} is on no node yet"))?;
                self.nodes(Some(node))?
            }
            None => self.nodes(None)?,
        };
        if found.is_none() {
            eprintln!("There is no pod {} now: every node is asked.", escape(&format!("{namespace}/{pod}")));
        }
        let what = [Some(namespace.as_str()), Some(pod), container].into_iter().flatten().collect::<Vec<_>>().join("/");
        let format = if json { "--format=json" } else { "--format=text" };
        let mut is_known = false;
        for node in &nodes {
            is_known |= self.exec(node, &["explain", &what, format])? == 0;
        }
        Ok(if is_known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The pods of oomtrace's that run: on a node, or on all.
    fn nodes(&self, node: Option<&str>) -> Result<Vec<Object>> {
        let listed =
            output(&mut self.kubectl(&["get", "pods", "--all-namespaces", "--selector", LABEL, "--output=json"]))?;
        let listed: List = serde_json::from_str(&listed).context("what kubectl says of pods is not understood")?;
        let running = running_on(listed, node);
        ensure!(
            !running.is_empty(),
            "no pod of oomtrace runs {} (label {LABEL}): install its DaemonSet, or look at `kubectl get pods -A -l {LABEL}`",
            node.map_or_else(|| "in this cluster".to_owned(), |node| format!("on node {node}"))
        );
        Ok(running)
    }

    fn default_namespace(&self) -> Result<String> {
        let namespace = output(&mut self.kubectl(&["config", "view", "--minify", "--output=jsonpath={..namespace}"]))?;
        Ok(if namespace.is_empty() { "default".to_owned() } else { namespace })
    }

    /// Runs oomtrace in one of its pods, and gives its exit status.
    fn exec(&self, pod: &Object, arguments: &[&str]) -> Result<i32> {
        let Metadata { namespace, name } = &pod.metadata;
        let colour =
            if std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none() { "always" } else { "never" };
        let mut exec = self.kubectl(&["exec", "--namespace", namespace, name, "--container=oomtrace", "--"]);
        exec.arg("oomtrace").args(arguments).args(["--log-level=warn", "--color", colour]).stdin(Stdio::null());
        let status = exec.status().with_context(no_kubectl)?;
        status.code().with_context(|| format!("kubectl exec into {namespace}/{name} was killed"))
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut kubectl = Command::new("kubectl");
        for (option, value) in [("--kubeconfig", &self.kubeconfig), ("--context", &self.context)] {
            if let Some(value) = value {
                kubectl.arg(option).arg(value);
            }
        }
        kubectl.args(arguments);
        kubectl
    }
}

impl Object {
    fn node(&self) -> &str {
        self.spec.node_name.as_deref().unwrap_or_default()
    }
}

/// The pods that run, one a node, in the order of their nodes' names.
fn running_on(List { mut items }: List, node: Option<&str>) -> Vec<Object> {
    items.retain(|pod| pod.status.phase == "Running" && pod.spec.node_name.is_some());
    items.retain(|pod| node.is_none_or(|node| pod.node() == node));
    items.sort_by(|a, b| a.node().cmp(b.node()));
    items.dedup_by(|a, b| a.node() == b.node());
    items
}

/// Whether the program was called as kubectl calls its plugins.
fn is_plugin(called: &OsStr) -> bool {
    std::path::Path::new(called).file_stem().is_some_and(|name| name == NAME)
}

fn strings(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().with_context(no_kubectl)?;
    ensure!(output.status.success(), "kubectl failed ({})", output.status);
    String::from_utf8(output.stdout).context("kubectl prints what is not UTF-8")
}

fn no_kubectl() -> String {
    "kubectl does not start: it has to be in PATH".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_a_plugin_by_its_name() {
        for (called, expected) in [
            ("kubectl-oomtrace", true),
            ("/home/x/.krew/bin/kubectl-oomtrace", true),
            ("oomtrace", false),
            ("/usr/bin/kubectl", false),
        ] {
            assert_eq!(is_plugin(OsStr::new(called)), expected, "{called}");
        }
        <Plugin as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn of_the_pods_those_are_asked_that_run_one_a_node() {
        let pod = |name: &str, node: Option<&str>, phase: &str| {
            serde_json::json!({"metadata": {"namespace": "oomtrace", "name": name}, "spec": {"nodeName": node},
                "status": {"phase": phase}})
        };
        let items = serde_json::json!({"items": [
            pod("b", Some("n2"), "Running"), pod("a", Some("n1"), "Running"), pod("old", Some("n1"), "Failed"),
            pod("new", None, "Pending"), pod("c", Some("n2"), "Running"),
        ]});
        let names = |node| {
            let list = serde_json::from_value(items.clone()).expect("a list");
            running_on(list, node).into_iter().map(|pod| pod.metadata.name).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["a", "b"]);
        assert_eq!(names(Some("n1")), ["a"]);
        assert!(names(Some("n3")).is_empty());
    }

    #[test]
    fn options_of_oomtrace_stand_behind_two_dashes() {
        let plugin =
            Plugin::try_parse_from(["kubectl oomtrace", "incidents", "n1", "--context", "c", "--", "--since", "2h"]);
        let plugin = plugin.expect("it is right");
        assert_eq!(plugin.context.as_deref(), Some(OsStr::new("c")));
        let Asked::Incidents { node, options } = plugin.asked else { unreachable!("it asks for incidents") };
        assert_eq!((node.as_deref(), strings(&options)), (Some("n1"), vec!["--since", "2h"]));
    }
}
