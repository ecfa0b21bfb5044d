//! What the kubelet says of memory: `/stats/summary`, `/metrics/resource`, `/metrics/cadvisor`. Its figures are samples of
//! cAdvisor's, each with a time of its own: 10 to 20 s old, of what is idle up to 30 s.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    cgroup_path::PodUid,
    kubelet_settings::Layer,
    names::KubeletAccess,
    names::kubelet::KubeletError,
    pod_specs::{self, PodSpec},
};
use crate::source::kubelet_metrics::Sample;

/// Figures of one thing at one time, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Figures {
    /// When they were taken.
    pub time: Option<String>,
    /// `usageBytes`: use, with all page cache.
    #[serde(rename(deserialize = "usageBytes"))]
    pub usage_bytes: Option<u64>,
    /// `workingSetBytes`: use without inactive memory of files.
    #[serde(rename(deserialize = "workingSetBytes"))]
    pub working_set_bytes: Option<u64>,
    /// `rssBytes`: anonymous memory.
    #[serde(rename(deserialize = "rssBytes"))]
    pub rss_bytes: Option<u64>,
    /// `availableBytes`: the limit less the working set; of the node, its capacity less it.
    #[serde(rename(deserialize = "availableBytes"))]
    pub available_bytes: Option<u64>,
}

impl Figures {
    /// How old they are, in milliseconds.
    #[must_use]
    pub fn age_ms(&self, now_ms: i64) -> Option<i64> {
        let taken: Timestamp = self.time.as_deref()?.parse().ok()?;
        Some(now_ms.saturating_sub(taken.as_millisecond()))
    }
}

/// Milliseconds since the epoch.
#[must_use]
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// An answer of `/stats/summary`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The node.
    pub node: NodeStats,
    /// Its pods.
    pub pods: Vec<PodStats>,
}

/// The node in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeStats {
    /// Of the node as a whole.
    pub memory: Option<Figures>,
    /// Of `kubepods` (`pods`), the kubelet, the runtime.
    pub system_containers: Vec<ContainerStats>,
}

/// A pod in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStats {
    /// Which.
    pub pod_ref: PodRef,
    /// Of its cgroup.
    pub memory: Option<Figures>,
    /// Of its containers, without the sandbox.
    pub containers: Vec<ContainerStats>,
}

/// Which pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodRef {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid, of a static pod its mirror's.
    pub uid: String,
}

/// A container in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerStats {
    /// Its name.
    pub name: String,
    /// Its figures.
    pub memory: Option<Figures>,
}

impl Summary {
    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// Fails where it is something else.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| format!("/stats/summary: {error}"))
    }

    /// All pods together: `kubepods`.
    #[must_use]
    pub fn kubepods(&self) -> Option<&Figures> {
        self.node.system_containers.iter().find(|container| container.name == "pods")?.memory.as_ref()
    }

    /// A pod.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str, uid: Option<&PodUid>) -> Option<&PodStats> {
        let uid = uid.map(ToString::to_string);
        self.pods.iter().find(|pod| {
            uid.as_ref() == Some(&pod.pod_ref.uid) || (pod.pod_ref.namespace == namespace && pod.pod_ref.name == name)
        })
    }
}

/// A sample of a metric, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metric {
    /// Its name: `container_memory_working_set_bytes`.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// How old it is, in milliseconds; `null` where its line does not say.
    pub age_ms: Option<i64>,
    #[serde(skip)]
    namespace: String,
    #[serde(skip)]
    pod: String,
    #[serde(skip)]
    container: String,
    /// cAdvisor's label `id`: a cgroup.
    #[serde(skip)]
    cgroup: String,
}

impl Metric {
    /// Whether it is of this container; of a pod as a whole, `container` is empty.
    #[must_use]
    pub fn is_of(&self, namespace: &str, pod: &str, container: &str) -> bool {
        self.namespace == namespace && self.pod == pod && self.container == container
    }

    /// Whether it is of this cgroup.
    #[must_use]
    pub fn is_of_cgroup(&self, path: &str) -> bool {
        self.cgroup == path
    }

    /// Whether it is of the node as a whole.
    #[must_use]
    pub fn is_of_node(&self) -> bool {
        self.pod.is_empty() && (self.cgroup == "/" || (self.cgroup.is_empty() && self.name.starts_with("node_")))
    }
}

/// The metrics of memory in an answer of `/metrics/resource` or `/metrics/cadvisor`.
#[must_use]
pub fn metrics(answer: &[u8], now_ms: i64) -> Vec<Metric> {
    const NAMES: [&str; 8] = [
        "container_memory_working_set_bytes",
        "pod_memory_working_set_bytes",
        "node_memory_working_set_bytes",
        "container_memory_usage_bytes",
        "container_memory_rss",
        "container_memory_cache",
        "container_memory_mapped_file",
        "container_memory_swap",
    ];
    let text = String::from_utf8_lossy(answer);
    let samples = text.lines().filter_map(Sample::read).filter(|sample| NAMES.contains(&sample.name));
    let metric = |sample: Sample<'_>| {
        let label = |name| sample.label(name).unwrap_or_default();
        Some(Metric {
            name: sample.name.to_owned(),
            bytes: sample.count()?,
            age_ms: sample.stamp_ms.map(|stamp| now_ms.saturating_sub(stamp)),
            namespace: label("namespace"),
            pod: label("pod"),
            container: label("container"),
            cgroup: label("id"),
        })
    };
    samples.filter_map(metric).collect()
}

/// What to ask the kubelet for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `/configz`: its configuration.
    Configz,
    /// `/pods`: its pods' specifications.
    Pods,
    /// `/stats/summary`.
    Summary,
    /// `/metrics/resource` and `/metrics/cadvisor`.
    Metrics,
}

/// All that the kubelet answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Its configuration.
    pub configz: Option<Layer>,
    /// Its pods' specifications; `None` where it did not say them.
    pub specs: Option<Vec<PodSpec>>,
    /// Its summary.
    pub summary: Option<Summary>,
    /// Its metrics of memory, with the path that has them.
    pub metrics: Vec<(&'static str, Vec<Metric>)>,
    /// When it answered, in milliseconds since the epoch.
    pub now_ms: i64,
    /// What it did not answer, and why.
    pub trouble: Vec<String>,
}

/// What has more than the read-only port has.
const ON_10250: &str = "only its port 10250 has it: --kubelet-url https://NODE:10250, with --kubelet-token";

impl Answers {
    /// Asks for all that is wanted. A kubelet that does not answer at all is asked once.
    #[must_use]
    pub fn ask(access: &KubeletAccess, wanted: &[Wanted]) -> Self {
        let mut answers = Self { now_ms: now_ms(), ..Self::default() };
        for wanted in wanted {
            for path in wanted.paths() {
                match access.get(path) {
                    Ok(answer) => answers.take(*wanted, path, access, &answer),
                    Err(KubeletError::Ask { error, .. }) if !matches!(*error, ureq::Error::StatusCode(_)) => {
                        answers.trouble.push(format!(
                            "the kubelet does not answer at {}: {error}; --kubelet-url says where it does (its read-only port \
                             10255 is mostly closed: https://NODE:10250, with --kubelet-token)",
                            access.url
                        ));
                        return answers;
                    }
                    Err(error) => {
                        let remedy = if *wanted == Wanted::Configz { format!("; {ON_10250}") } else { String::new() };
                        answers.trouble.push(format!("the kubelet's {path}: {error}{remedy}"));
                    }
                }
            }
        }
        answers
    }

    fn take(&mut self, wanted: Wanted, path: &'static str, access: &KubeletAccess, answer: &[u8]) {
        let taken = match wanted {
            Wanted::Configz => {
                let from = format!("{}/configz", access.url.trim_end_matches('/'));
                Layer::of_configz(&from, answer).map(|layer| self.configz = Some(layer))
            }
            Wanted::Pods => pod_specs::parse(answer).map(|specs| self.specs = Some(specs)),
            Wanted::Summary => Summary::parse(answer).map(|summary| self.summary = Some(summary)),
            Wanted::Metrics => {
                self.metrics.push((path, metrics(answer, self.now_ms)));
                Ok(())
            }
        };
        self.trouble.extend(taken.err().map(|error| format!("the kubelet's {path}: {error}")));
    }
}

impl Wanted {
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Configz => &["/configz"],
            Self::Pods => &["/pods"],
            Self::Summary => &["/stats/summary"],
            Self::Metrics => &["/metrics/resource", "/metrics/cadvisor"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_node_its_pods_together_and_each() {
        let json = br#"{"node":{"memory":{"time":"2026-11-23T23:28:29Z","availableBytes":1336561664,
            "usageBytes":844140544,"workingSetBytes":732459008,"rssBytes":513662976,"psi":{}},
            "systemContainers":[{"name":"kubelet"},{"name":"pods","memory":{"workingSetBytes":422170624}}]},
            "pods":[{"podRef":{"name":"a","namespace":"n","uid":"u"},"containers":[{"name":"c","memory":{"usageBytes":1}}]}]}"#;
        let summary = Summary::parse(json).expect("a summary");
        let node = summary.node.memory.as_ref().expect("the node");
        assert_eq!((node.available_bytes, node.working_set_bytes), (Some(1_336_561_664), Some(732_459_008)));
        assert_eq!(node.age_ms(1_795_476_519_000), Some(10_000));
        assert_eq!(summary.kubepods().and_then(|pods| pods.working_set_bytes), Some(422_170_624));
        let pod = summary.pod("n", "a", None).expect("a pod");
        assert_eq!((pod.memory.as_ref(), pod.containers[0].name.as_str()), (None, "c"));
        assert!(Summary::parse(b"404 page not found").is_err());
    }

    #[test]
    fn a_metric_is_of_a_container_a_pod_or_the_node_and_has_an_age() {
        let text = "# TYPE x gauge\n\
            container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 8.192e+03 1000\n\
            pod_memory_working_set_bytes{namespace=\"n\",pod=\"p\"} 9000 2000\n\
            node_memory_working_set_bytes 10000 3000\n\
            container_memory_rss{container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\"} 5 4000\n\
            container_cpu_usage_seconds_total{} 1 1\n";
        let metrics = metrics(text.as_bytes(), 11_000);
        assert_eq!(metrics.len(), 4);
        assert!(metrics[0].is_of("n", "p", "c") && metrics[1].is_of("n", "p", ""));
        assert_eq!((metrics[0].bytes, metrics[0].age_ms), (8192, Some(10_000)));
        assert!(metrics[2].is_of_node() && metrics[3].is_of_node() && metrics[3].is_of_cgroup("/"));
    }
}
