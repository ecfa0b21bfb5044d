//! This node's pods: what the kubelet says of them, what other sources name them, and what their logs say last of memory.

use std::fs;

use serde_json::{Value, json};

use super::{Gathering, secrets};
use crate::{
    node::{
        cgroup_path::PodUid,
        fact::{ContainerFact, Fact, PodFact},
        names,
    },
    replay::archive,
    source::container_log,
};

/// Where pods' logs are.
const LOGS: &str = "/var/log/pods";
/// So many logs are looked at: 500 pods of some containers, and starts of them.
const MOST_LOGS: usize = 5000;

impl Gathering<'_> {
    /// The kubelet's `/pods` and `/metrics`; the names that every other source has.
    pub(super) async fn pods(&mut self) {
        if let Some(kubelet) = &self.options.kubelet {
            let (pods, metrics) = (kubelet.get("/pods"), kubelet.get("/metrics"));
            match pods.map(|text| serde_json::from_slice::<Value>(&text)) {
                Ok(Ok(mut pods)) => {
                    self.left_out.extend(secrets::leave_out_of_pods(&mut pods));
                    self.keep(archive::PODS, pods.to_string());
                }
                Ok(Err(_)) => self.miss("the kubelet's /pods", "its answer is no JSON"),
                Err(error) => self.miss(
                    "the kubelet's /pods",
                    format!("{error} (with a token that may get nodes/proxy: --kubelet-url https://NODE:10250)"),
                ),
            }
            match metrics {
                Ok(metrics) => self.keep(archive::METRICS, metrics),
                Err(error) => self.miss("the kubelet's /metrics", error),
            }
        }
        let options = names::Options { kubelet: None, ..self.options.clone() };
        let (facts, trouble) = names::collect_once(&options).await;
        for trouble in trouble {
            self.miss("names of pods", trouble);
        }
        let named = named(&facts);
        if named.is_empty() {
            self.miss("names of pods", "neither the runtime nor the node's files name any");
        } else {
            self.keep(archive::NAMES, Value::Array(named).to_string());
        }
        self.last_words();
    }

    /// Of each container's log the line that says that memory ran out: the rest may be anybody's data.
    fn last_words(&mut self) {
        let root = self.options.host.path(LOGS);
        let folders = |folder: &std::path::Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let files = folders(&root).into_iter().flat_map(|pod| folders(&pod)).flat_map(|container| folders(&container));
        let mut found = Vec::new();
        for file in files.filter(|file| file.extension().is_some_and(|end| end == "log")).take(MOST_LOGS) {
            let words = container_log::tail(&file).ok().and_then(|tail| container_log::last_words(&tail));
            if let (Some(words), Ok(below)) = (words, file.strip_prefix(&root)) {
                let line = format!("{} stderr F {}\n", words.at, words.text);
                found.push((format!("var/log/pods/{}", below.display()), line));
            }
        }
        self.left_out
            .push("logs of containers, but for a line near their end that says that memory ran out".to_owned());
        for (path, line) in found {
            self.keep(&path, line);
        }
    }
}

/// Pods and containers as `crictl` prints them.
fn named(facts: &[Fact]) -> Vec<Value> {
    let pod = |uid: &PodUid| {
        facts.iter().find_map(|fact| match fact {
            Fact::Pod(pod) if pod.uid == *uid && pod.name.is_some() => Some(pod),
            _ => None,
        })
    };
    facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Container(container) => {
                let of = pod(container.pod.as_ref()?)?;
                container.name.as_ref()?;
                Some(of_container(container, of))
            }
            _ => None,
        })
        .collect()
}

fn of_container(container: &ContainerFact, pod: &PodFact) -> Value {
    let ContainerFact { id, name, image, restart_count, limit_bytes, .. } = container;
    json!({
        "id": id.to_string(),
        "image": { "image": image },
        "labels": {
            "io.kubernetes.pod.uid": pod.uid.to_string(),
            "io.kubernetes.pod.namespace": pod.namespace,
            "io.kubernetes.pod.name": pod.name,
            "io.kubernetes.container.name": name,
        },
        "annotations": { "io.kubernetes.container.restartCount": restart_count.map(|count| count.to_string()) },
        "resources": { "linux": { "memory_limit_in_bytes": limit_bytes } },
    })
}
