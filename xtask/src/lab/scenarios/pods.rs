//! What the API server shows of pods, gathered while a scenario runs: it forgets all but the last two lives of a container, and a
//! deleted pod.

use std::collections::BTreeMap;

use serde_json::Value;

/// The pods that were seen, by uid.
#[derive(Clone, Debug, Default)]
pub(super) struct Pods(pub(super) BTreeMap<String, Pod>);

/// One pod, as it was last seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) phase: String,
    /// Such as `Evicted`.
    pub(super) reason: String,
    pub(super) message: String,
    /// Whether it was there at the last look.
    pub(super) exists: bool,
    pub(super) containers: BTreeMap<String, Container>,
}

/// A container of a pod, over all its lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Container {
    pub(super) restarts: u64,
    pub(super) running: bool,
    /// How each life ended, by container id; `None` while it has not.
    pub(super) lives: BTreeMap<String, Option<End>>,
}

/// The end of a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) exit_code: i64,
    pub(super) reason: String,
}

impl End {
    /// As oomtrace says what Kubernetes shows: `OOMKilled 137`.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.reason, self.exit_code)
    }
}

impl Pods {
    /// Takes in a `PodList`.
    pub(super) fn look(&mut self, list: &Value) {
        for pod in self.0.values_mut() {
            pod.exists = false;
        }
        for pod in list["items"].as_array().into_iter().flatten() {
            let Some(uid) = pod["metadata"]["uid"].as_str() else { continue };
            self.0.entry(uid.to_owned()).or_default().look(pod);
        }
    }

    /// Takes in a pod as it was shown before it was gone.
    pub(super) fn remember(&mut self, pod: &Value) {
        if let Some(remembered) = pod["metadata"]["uid"].as_str().and_then(|uid| self.0.get_mut(uid)) {
            let exists = remembered.exists;
            remembered.look(pod);
            remembered.exists = exists;
        }
    }

    /// Those that were there at the last look.
    pub(super) fn existing(&self) -> impl Iterator<Item = &Pod> {
        self.0.values().filter(|pod| pod.exists)
    }

    /// How many containers run.
    pub(super) fn running(&self) -> usize {
        self.existing().flat_map(|pod| pod.containers.values()).filter(|container| container.running).count()
    }

    /// Whether every pod has ended, and there is one.
    pub(super) fn have_ended(&self) -> bool {
        let mut pods = self.existing().peekable();
        pods.peek().is_some() && pods.all(Pod::has_ended)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Pod {
    fn look(&mut self, pod: &Value) {
        let status = &pod["status"];
        self.namespace = text(&pod["metadata"]["namespace"]);
        self.name = text(&pod["metadata"]["name"]);
        self.phase = text(&status["phase"]);
        self.reason = text(&status["reason"]);
        self.message = text(&status["message"]);
        self.exists = true;
        let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
        for container in lists.iter().filter_map(|list| status[*list].as_array()).flatten() {
            self.containers.entry(text(&container["name"])).or_default().look(container);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether the kubelet evicted it for memory, by its own words.
    pub(super) fn was_evicted_for_memory(&self) -> bool {
        self.reason == "Evicted" && self.message.contains("low on resource: memory")
    }
}

impl Container {
    fn look(&mut self, status: &Value) {
        self.restarts = status["restartCount"].as_u64().unwrap_or_default();
        self.running = status["state"]["running"].is_object();
        if let Some(id) = id(&status["containerID"]) {
            self.lives.entry(id).or_default();
        }
        for ended in [&status["lastState"]["terminated"], &status["state"]["terminated"]] {
            let Some(id) = id(&ended["containerID"]) else { continue };
            let end = End { exit_code: ended["exitCode"].as_i64().unwrap_or_default(), reason: text(&ended["reason"]) };
            // What an evicted pod's containers are called at last says nothing of how they ended.
            if end.reason != "ContainerStatusUnknown" {
                self.lives.insert(id, Some(end));
            }
        }
    }
}

/// The id alone, without the runtime's name before it.
fn id(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let id = text.split_once("://").map_or(text, |(_, id)| id);
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(phase: &str, statuses: &Value) -> Value {
        json!({ "items": [{
            "metadata": { "namespace": "n", "name": "p", "uid": "u" },
            "status": { "phase": phase, "containerStatuses": statuses },
        }]})
    }

    #[test]
    fn every_life_of_a_container_is_kept_with_its_end() {
        let mut pods = Pods::default();
        let life = |id: &str, exit: i64| json!({ "containerID": format!("containerd://{id}"), "exitCode": exit, "reason": "OOMKilled" });
        let status = json!([{ "name": "app", "restartCount": 1, "containerID": "containerd://b", "state": { "running": {} },
            "lastState": { "terminated": life("a", 137) } }]);
        pods.look(&pod("Running", &status));
        let status = json!([{ "name": "app", "restartCount": 2, "containerID": "containerd://c", "state": { "terminated": life("c", 1) },
            "lastState": { "terminated": life("b", 137) } }]);
        pods.look(&pod("Running", &status));
        let container = &pods.0["u"].containers["app"];
        assert_eq!((container.restarts, container.running), (2, false));
        let ends: Vec<_> =
            container.lives.iter().map(|(id, end)| (id.as_str(), end.as_ref().map(End::shown))).collect();
        let shown = |text: &str| Some(text.to_owned());
        assert_eq!(ends, [("a", shown("OOMKilled 137")), ("b", shown("OOMKilled 137")), ("c", shown("OOMKilled 1"))]);
    }

    #[test]
    fn a_deleted_pod_is_remembered_and_does_not_count_as_existing() {
        let mut pods = Pods::default();
        assert!(!pods.have_ended(), "there is none");
        pods.look(&pod("Failed", &json!([])));
        assert!(pods.have_ended());
        pods.look(&json!({ "items": [] }));
        assert_eq!((pods.0.len(), pods.existing().count()), (1, 0));
        let ended = json!({ "containerID": "containerd://a", "exitCode": 0, "reason": "OOMKilled" });
        let status = json!([{ "name": "app", "state": { "terminated": ended } }]);
        pods.remember(&pod("Failed", &status)["items"][0]);
        assert_eq!((pods.0["u"].containers["app"].lives.len(), pods.existing().count()), (1, 0));
    }
}
