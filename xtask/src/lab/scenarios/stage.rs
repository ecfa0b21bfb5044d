//! Where a scenario plays: a namespace of its own, which is watched until it has happened.

use std::{
    io::{BufReader, Seek as _},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    compare::Truth,
    kernel::{self, Kill},
    pods::Pods,
};
use crate::lab::{Lab, NODE};

/// How often the API server is asked.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often the node is, which has better things to do.
const KILLS_EVERY: Duration = Duration::from_secs(5);

/// A scenario's namespace, and what was seen in it.
pub(super) struct Stage<'a> {
    lab: &'a Lab,
    name: String,
    namespace: String,
    /// When it began, by the node's clock, in seconds since the epoch.
    began: String,
    pods: Mutex<Pods>,
    /// How many pods a churn is to have.
    pub(super) churn: u32,
}

/// Where the manifest of a scenario is.
pub(super) fn manifest(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/scenarios")).join(name).with_extension("yaml")
}

impl<'a> Stage<'a> {
    /// Makes the namespace.
    pub(super) fn new(lab: &'a Lab, name: &str, churn: u32) -> Result<Self> {
        let namespace = format!("scenario-{name}");
        let began = lab.sh("date +%s")?.trim().to_owned();
        lab.kubectl(&["create", "namespace", &namespace])?;
        let stage = Self { lab, name: name.to_owned(), namespace, began, pods: Mutex::default(), churn };
        // Pods are refused until the controller manager has made it.
        stage.until("the namespace has its service account", Duration::from_mins(1), LOOK_EVERY, || {
            Ok(stage.lab.kubectl_status(&stage.arguments(&["get", "serviceaccount", "default"]))?.status == 0)
        })?;
        Ok(stage)
    }

    fn arguments<'b>(&'b self, arguments: &[&'b str]) -> Vec<&'b str> {
        let mut all = vec!["--namespace", &self.namespace];
        all.extend(arguments);
        all
    }

    /// `kubectl` in the namespace.
    pub(super) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.lab.kubectl(&self.arguments(arguments)).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// `kubectl oomtrace why`, of a pod in the namespace.
    pub(super) fn why(&self, pod: &str) -> Result<String> {
        self.lab.plugin(&["why", pod, "--namespace", &self.namespace])
    }

    /// The Events that `kubectl describe` has of oomtrace, of a pod in the namespace or of the node, once there is one with this
    /// reason; `None` where oomtrace writes none.
    pub(super) fn events_of(&self, what: &[&str], reason: &str) -> Result<Option<String>> {
        const PATIENCE: Duration = Duration::from_mins(2);
        let roles = ["get", "clusterroles", "--selector=app.kubernetes.io/name=oomtrace", "--output=name"];
        if self.lab.kubectl(&roles)?.is_empty() {
            return Ok(None);
        }
        let mut events = String::new();
        let mut arguments = vec!["describe"];
        arguments.extend(what);
        self.until(&format!("there is an Event {reason} of {what:?}"), PATIENCE, LOOK_EVERY, || {
            let described = self.kubectl(&arguments)?;
            let of_oomtrace = described.lines().filter(|line| line.contains("oomtrace.dev/oomtrace"));
            events = of_oomtrace.collect::<Vec<_>>().join("\n");
            Ok(events.contains(reason))
        })?;
        Ok(Some(events))
    }

    /// A shell command on the node, as root.
    pub(super) fn on_node(&self, command: &str) -> Result<String> {
        self.lab.sh(command)
    }

    /// Kills oomtrace itself.
    pub(super) fn kill_oomtrace(&self) -> Result<()> {
        self.lab.kill_oomtrace()
    }

    /// Waits until oomtrace traces again.
    pub(super) fn wait_for_oomtrace(&self) -> Result<()> {
        self.lab.wait_for_oomtrace()
    }

    /// Applies the scenario's manifest, or what a selector chooses of it.
    pub(super) fn apply(&self, selector: Option<&str>) -> Result<()> {
        let manifest = manifest(&self.name);
        let manifest = manifest.to_str().context("the project's path is not Unicode")?;
        let mut arguments = vec!["apply", "--filename", manifest];
        arguments.extend(selector.iter().flat_map(|selector| ["--selector", selector]));
        self.kubectl(&arguments).map(drop)
    }

    /// Creates what a list has.
    pub(super) fn create(&self, list: &Value) -> Result<()> {
        self.lab.kubectl_input(&self.arguments(&["create", "--filename=-"]), &list.to_string()).map(drop)
    }

    /// Shuts the node down and starts it again.
    pub(super) fn reboot(&self) -> Result<()> {
        self.lab.reboot()
    }

    /// Starts a command in a pod's container, and waits for its end.
    pub(super) fn exec(&self, pod: &str, command: &[&str]) -> Result<u8> {
        let mut arguments = vec!["exec", pod, "--"];
        arguments.extend(command);
        Ok(self.lab.kubectl_status(&self.arguments(&arguments))?.status)
    }

    /// Drains the node of the pods that a selector chooses.
    pub(super) fn drain(&self, selector: &str) -> Result<()> {
        let selector = format!("--pod-selector={selector}");
        self.kubectl(&["drain", NODE, "--ignore-daemonsets", "--timeout=120s", &selector]).map(drop)
    }

    /// Lets the node take pods again.
    pub(super) fn uncordon(&self) -> Result<()> {
        self.lab.kubectl(&["uncordon", NODE]).map(drop)
    }

    /// Asks the API server for the pods.
    pub(super) fn look(&self) -> Result<Pods> {
        let list = self.lab.kubectl_json(&self.arguments(&["get", "pods"]))?;
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.look(&list);
        Ok(pods.clone())
    }

    /// Waits until the pods are so.
    pub(super) fn wait(&self, what: &str, patience: Duration, mut done: impl FnMut(&Pods) -> bool) -> Result<()> {
        self.until(what, patience, LOOK_EVERY, || Ok(done(&self.look()?)))
    }

    fn until(
        &self,
        what: &str,
        patience: Duration,
        every: Duration,
        mut done: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let started = Instant::now();
        loop {
            // The API server may be short of breath while the node is.
            let error = match done() {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) => Some(error),
            };
            if started.elapsed() > patience {
                let Some(error) = error else {
                    bail!("waited {} s in vain in {} until {what}", patience.as_secs(), self.namespace)
                };
                return Err(error.context(format!("waited in vain until {what}")));
            }
            thread::sleep(every);
        }
    }

    /// Waits until all pods have ended.
    pub(super) fn wait_for_ends(&self) -> Result<()> {
        self.wait("all pods have ended", super::PATIENCE, Pods::have_ended)
    }

    /// Waits until so many containers run.
    pub(super) fn wait_for_running(&self, containers: usize) -> Result<()> {
        self.wait(&format!("{containers} containers run"), super::PATIENCE, |pods| pods.running() >= containers)
    }

    /// Waits until the kernel has killed so often in the namespace.
    pub(super) fn wait_for_kills(&self, kills: usize) -> Result<()> {
        self.until(&format!("the kernel has killed {kills} times"), super::PATIENCE, KILLS_EVERY, || {
            self.look()?;
            Ok(self.kills()?.len() >= kills)
        })
    }

    /// The kernel's kills in the namespace.
    fn kills(&self) -> Result<Vec<Kill>> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let kills = kills_since(self.lab, &self.began)?.into_iter();
        Ok(kills.filter(|kill| kill.pod_uid.as_ref().is_some_and(|uid| pods.0.contains_key(uid))).collect())
    }

    /// What happened.
    pub(super) fn truth(&self) -> Result<Truth> {
        let pods = self.look()?;
        Ok(Truth { namespace: self.namespace.clone(), pods, kills: self.kills()? })
    }

    /// Deletes everything, and waits until the pods are gone: how they ended then is shown, too, for a moment.
    pub(super) fn clear(&self) -> Result<()> {
        let mut shown = tempfile::tempfile().context("no place for what the API server shows")?;
        let mut watch =
            self.lab.kubectl_start(&self.arguments(&["get", "pods", "--watch", "--output=json"]), &shown)?;
        let cleared = self.delete();
        watch.kill().and_then(|()| watch.wait()).context("cannot end kubectl")?;
        cleared?;
        shown.rewind().context("cannot read what kubectl has printed")?;
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one may be torn.
        for pod in serde_json::Deserializer::from_reader(BufReader::new(shown)).into_iter().map_while(Result::ok) {
            pods.remember(&pod);
        }
        Ok(())
    }

    fn delete(&self) -> Result<()> {
        let manifest = manifest(&self.name);
        if let Some(manifest) = manifest.to_str().filter(|_| manifest.exists()) {
            // What is not of the namespace, such as a priority class, would stay.
            self.kubectl(&["delete", "--ignore-not-found", "--wait=false", "--filename", manifest])?;
        }
        self.lab.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"])?;
        self.wait("the pods are gone", super::PATIENCE, |pods| pods.existing().count() == 0)
    }
}

/// The kernel's kills since a moment of the node's clock.
pub(super) fn kills_since(lab: &Lab, began: &str) -> Result<Vec<Kill>> {
    let log = lab.sh(&format!(
        "journalctl _TRANSPORT=kernel --output=cat --no-pager --since=@{began} | grep -F oom-kill: || true"
    ))?;
    Ok(kernel::kills(&log))
}
