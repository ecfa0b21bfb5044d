//! Truth beside what was reported: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    kernel::Kill,
    pods::{End, Pods},
    reported::{Live, Reported},
};

/// What a scenario is about. Who, how often and what Kubernetes shows come from the kernel and the API server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// The kernel kills.
    Kills {
        /// What may be said of it.
        scenario: &'static [&'static str],
        /// Modifiers that are certain.
        modifiers: &'static [(&'static str, bool)],
    },
    /// The kubelet evicts for memory.
    Evicted {
        /// What may be said of it.
        scenario: &'static [&'static str],
    },
    /// A container gives up by itself.
    GaveUp {
        /// What may be said of it; `none` where it may go without an incident.
        scenario: &'static [&'static str],
    },
    /// Nothing is to be reported.
    Nothing,
    /// Something ended, and not for memory: an incident of another severity is allowed.
    NotMemory,
}

/// What happened in a scenario, by the kernel and the API server.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) namespace: String,
    pub(super) pods: Pods,
    pub(super) kills: Vec<Kill>,
}

/// The kills in one container, over all its lives.
#[derive(Debug, Default)]
struct Killed {
    kills: u64,
    ids: BTreeSet<String>,
    levels: BTreeSet<&'static str>,
}

/// What a comparison results in.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// In a few words.
    pub(super) truth: String,
    /// In a few words.
    pub(super) reported: String,
    /// What differs; nothing if all is well.
    pub(super) differences: Vec<String>,
}

impl Truth {
    /// Kills by pod and container; the container is empty where the API server never showed its id.
    fn killed(&self) -> BTreeMap<(String, String), Killed> {
        let mut killed: BTreeMap<_, Killed> = BTreeMap::new();
        for kill in &self.kills {
            let pod = kill.pod_uid.as_ref().and_then(|uid| self.pods.0.get(uid));
            let Some(pod) = pod else { continue };
            let id = kill.container.clone().unwrap_or_default();
            let mut containers = pod.containers.iter();
            let name = containers.find(|(_, container)| container.lives.contains_key(&id)).map(|(name, _)| name);
            // A life that nobody looked at: of the only container, if there is only one.
            let only = || pod.containers.keys().next().filter(|_| pod.containers.len() == 1);
            let name = name.or_else(only).cloned().unwrap_or_default();
            let killed = killed.entry((pod.name.clone(), name)).or_default();
            killed.kills += 1;
            killed.ids.insert(id);
            killed.levels.insert(kill.level);
        }
        killed
    }

    /// What Kubernetes shows of these lives of a container; nothing is known of one that was not looked at.
    fn shown(&self, pod: &str, container: &str, ids: &BTreeSet<String>) -> BTreeSet<String> {
        let pods = self.pods.0.values().filter(|seen| seen.name == pod);
        let containers: Vec<_> = pods.filter_map(|pod| pod.containers.get(container)).collect();
        let lives = containers.iter().flat_map(|container| &container.lives);
        let of_these = lives.filter(|(id, _)| ids.contains(*id));
        of_these.map(|(_, end)| end.as_ref().map_or_else(|| "nothing".to_owned(), End::shown)).collect()
    }

    /// How containers ended that nothing was killed in.
    fn other_ends(&self) -> impl Iterator<Item = (&str, &str, &str, &End)> {
        let killed: BTreeSet<_> = self.kills.iter().filter_map(|kill| kill.container.as_deref()).collect();
        let containers = self.pods.0.values().flat_map(|pod| {
            pod.containers.iter().flat_map(move |(name, container)| {
                container
                    .lives
                    .iter()
                    .filter_map(move |(id, end)| Some((pod.name.as_str(), name.as_str(), id.as_str(), end.as_ref()?)))
            })
        });
        containers.filter(move |(_, _, id, _)| !killed.contains(id))
    }

    fn evicted(&self) -> impl Iterator<Item = &str> {
        self.pods.0.values().filter(|pod| pod.was_evicted_for_memory()).map(|pod| pod.name.as_str())
    }

    fn brief(&self) -> String {
        let mut brief = String::new();
        for ((pod, container), killed) in self.killed() {
            let shown = self.shown(&pod, &container, &killed.ids).into_iter().collect::<Vec<_>>().join(", ");
            let levels = killed.levels.into_iter().collect::<Vec<_>>().join(", ");
            let _ = write!(brief, "{pod}/{container} killed ×{} at its {levels} limit ({shown}); ", killed.kills);
        }
        for pod in self.evicted() {
            let _ = write!(brief, "{pod} evicted; ");
        }
        let failed: BTreeSet<_> = self
            .other_ends()
            .filter(|(.., end)| end.exit_code != 0)
            .map(|(pod, container, _, end)| format!("{pod}/{container} {}", end.shown()))
            .collect();
        // Of a churn, some.
        for end in failed.iter().take(4) {
            let _ = write!(brief, "{end}; ");
        }
        if failed.len() > 4 {
            let _ = write!(brief, "{} more ends; ", failed.len() - 4);
        }
        if brief.is_empty() { "nothing".to_owned() } else { brief.trim_end_matches("; ").to_owned() }
    }
}

/// Compares a scenario's truth with what was reported of its namespace.
pub(super) fn compare(expected: Expected, truth: &Truth, live: &Live) -> Outcome {
    let incidents = live.incidents.iter().filter(|incident| incident.namespace == truth.namespace).collect();
    let mut comparison = Comparison { expected, truth, incidents, matched: BTreeSet::new(), differences: Vec::new() };
    comparison.happened();
    for ((pod, container), killed) in &truth.killed() {
        comparison.kills(pod, container, killed);
    }
    for pod in truth.evicted() {
        comparison.eviction(pod);
    }
    if let Expected::GaveUp { scenario } = expected {
        comparison.gave_up(scenario);
    }
    comparison.rest(live);
    let reported = match &comparison.incidents[..] {
        [] => "nothing".to_owned(),
        incidents if incidents.len() > 6 => format!("{} incidents", incidents.len()),
        incidents => incidents.iter().map(|incident| incident.brief()).collect::<Vec<_>>().join("; "),
    };
    Outcome { truth: truth.brief(), reported, differences: comparison.differences }
}

struct Comparison<'a> {
    expected: Expected,
    truth: &'a Truth,
    incidents: Vec<&'a Reported>,
    /// The incidents that something happened for.
    matched: BTreeSet<&'a str>,
    differences: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn differ(&mut self, place: &str, what: &str, reported: &str, truth: &str) {
        self.differences.push(format!("{place}: {what} is {reported}, not {truth}"));
    }

    /// The incidents that are so, from now on accounted for.
    fn find(&mut self, about: impl Fn(&Reported) -> bool) -> Vec<&'a Reported> {
        let found: Vec<_> = self.incidents.iter().copied().filter(|incident| about(incident)).collect();
        self.matched.extend(found.iter().map(|incident| incident.id.as_str()));
        found
    }

    /// Whether the scenario has happened at all, and no other one.
    fn happened(&mut self) {
        let killed = !self.truth.killed().is_empty();
        let difference = match self.expected {
            Expected::Kills { .. } if !killed => "the kernel killed nothing",
            Expected::Kills { .. } => return,
            _ if killed => "the kernel killed, which is not this scenario",
            Expected::Evicted { .. } if self.truth.evicted().next().is_none() => "nothing was evicted for memory",
            _ => return,
        };
        self.differences.push(difference.to_owned());
    }

    /// The one incident of the kills in a container.
    fn kills(&mut self, pod: &str, container: &str, killed: &Killed) {
        let place = format!("{pod}/{container}");
        let found = self.find(|incident| {
            incident.kills > 0 && incident.pod == pod && (container.is_empty() || incident.container == container)
        });
        let [incident] = found[..] else {
            self.differences.push(format!("{place}: {} incidents of its kills instead of one", found.len()));
            return;
        };
        if incident.kills != killed.kills {
            self.differ(&place, "kills", &incident.kills.to_string(), &killed.kills.to_string());
        }
        if !killed.levels.contains(incident.level.as_str()) {
            self.differ(&place, "limit_level", &incident.level, &list(killed.levels.iter().copied()));
        }
        if incident.ids.is_disjoint(&killed.ids) {
            self.differ(&place, "the container's id", &list_of(&incident.ids), &list_of(&killed.ids));
        }
        self.severity(&place, incident);
        let truly = self.truth.shown(pod, container, &killed.ids);
        let evicted = self.truth.evicted().any(|evicted| evicted == pod);
        let right = |what: &String| truly.contains(what) || evicted && what == "Evicted";
        if !truly.is_empty() && (incident.shows.is_empty() || !incident.shows.iter().all(right)) {
            self.differ(&place, "what Kubernetes shows", &list_of(&incident.shows), &list_of(&truly));
        }
        if let Expected::Kills { scenario, modifiers } = self.expected {
            self.scenario(&place, incident, scenario);
            for (modifier, expected) in modifiers {
                if incident.modifiers.contains(*modifier) != *expected {
                    self.differ(&place, modifier, &(!expected).to_string(), &expected.to_string());
                }
            }
        }
    }

    /// The one incident of an eviction.
    fn eviction(&mut self, pod: &str) {
        let found =
            self.find(|incident| incident.pod == pod && (incident.evicted || incident.scenario.ends_with("evicted")));
        let [incident] = found[..] else {
            self.differences.push(format!("{pod}: {} incidents of its eviction instead of one", found.len()));
            return;
        };
        if let Expected::Evicted { scenario } = self.expected {
            self.scenario(pod, incident, scenario);
        }
        if !incident.shows.contains("Evicted") {
            self.differ(pod, "what Kubernetes shows", &list_of(&incident.shows), "Evicted");
        }
        self.severity(pod, incident);
    }

    /// The one incident of each container that gave up.
    fn gave_up(&mut self, scenario: &[&str]) {
        let truth = self.truth;
        let failed: Vec<_> = truth.other_ends().filter(|(.., end)| end.exit_code != 0).collect();
        if failed.is_empty() {
            self.differences.push("no container gave up".to_owned());
        }
        for (pod, container, id, end) in failed {
            let place = format!("{pod}/{container}");
            let found = self.find(|incident| incident.ids.contains(id));
            match found[..] {
                [] if scenario.contains(&"none") => {}
                [incident] => {
                    self.scenario(&place, incident, scenario);
                    if !incident.shows.contains(&end.shown()) {
                        self.differ(&place, "what Kubernetes shows", &list_of(&incident.shows), &end.shown());
                    }
                }
                _ => self.differences.push(format!("{place}: {} incidents instead of one", found.len())),
            }
        }
    }

    fn scenario(&mut self, place: &str, incident: &Reported, scenario: &[&str]) {
        if !scenario.contains(&incident.scenario.as_str()) {
            self.differ(place, "scenario", &incident.scenario, &list(scenario.iter().copied()));
        }
    }

    fn severity(&mut self, place: &str, incident: &Reported) {
        if let Some(severity) = incident.severity.as_deref().filter(|severity| *severity != "memory") {
            self.differ(place, "severity", severity, "memory");
        }
    }

    /// Nothing else is reported, and what Kubernetes ended with a code that people ask about can be found.
    fn rest(&mut self, live: &Live) {
        let not_memory = matches!(self.expected, Expected::NotMemory);
        for incident in &self.incidents {
            // An end that is called OOMKilled for an earlier kill, which the container outlived, is worth a word.
            let misleading = incident.shows.iter().any(|shown| shown.starts_with("OOMKilled"))
                && incident.shows.is_subset(&self.truth.shown(&incident.pod, &incident.container, &incident.ids));
            let other = incident.severity.as_deref() == Some("other");
            let allowed = other && (not_memory || incident.kills == 0 && misleading);
            if !allowed && !self.matched.contains(incident.id.as_str()) {
                let difference = format!("an incident that should not be: {} ({})", incident.brief(), incident.summary);
                self.differences.push(difference);
            }
        }
        let reported: BTreeSet<_> =
            self.incidents.iter().flat_map(|incident| &incident.ids).map(String::as_str).collect();
        for (pod, container, id, end) in self.truth.other_ends().filter(|(.., end)| matches!(end.exit_code, 137 | 143))
        {
            if !live.ended.contains(id) && !reported.contains(id) {
                let difference = format!("{pod}/{container}: {} without an event container_ended", end.shown());
                self.differences.push(difference);
            }
        }
    }
}

fn list_of(items: &BTreeSet<String>) -> String {
    list(items.iter().map(String::as_str))
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KILLS: Expected = Expected::Kills { scenario: &["container_limit"], modifiers: &[("invisible", false)] };

    /// A pod whose one container was killed once: `OOMKilled 137`.
    fn killed() -> Truth {
        let mut pods = Pods::default();
        pods.look(&json!({ "items": [{
            "metadata": { "namespace": "n", "name": "p", "uid": "u" },
            "status": { "phase": "Failed", "containerStatuses": [{ "name": "app", "state": { "terminated":
                { "containerID": "containerd://c", "exitCode": 137, "reason": "OOMKilled" } } }] },
        }]}));
        let kill =
            Kill { pod_uid: Some("u".to_owned()), container: Some("c".to_owned()), level: "pod", task: "a".to_owned() };
        Truth { namespace: "n".to_owned(), pods, kills: vec![kill] }
    }

    fn incident() -> Value {
        json!({ "kind": "incident", "id": "1", "severity": "memory", "kills": 1, "limit_level": "pod",
            "pod": { "namespace": "n", "name": "p" }, "container": { "name": "app", "id": "c" },
            "verdict": { "scenario": "container_limit", "invisible": false, "kubernetes_shows": ["OOMKilled 137"] } })
    }

    fn differences(expected: Expected, truth: &Truth, lines: &[Value]) -> Vec<String> {
        compare(expected, truth, &Live::since(lines, 0)).differences
    }

    #[test]
    fn the_one_right_incident_is_right() {
        assert_eq!(differences(KILLS, &killed(), &[incident()]), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_word_about_a_kill_is_a_difference() {
        for (pointer, wrong, expected) in [
            ("/kills", json!(2), "kills is 2, not 1"),
            ("/limit_level", json!("container"), "limit_level is container, not pod"),
            ("/container/id", json!("d"), "id is d, not c"),
            ("/severity", json!("other"), "severity is other, not memory"),
            ("/verdict/scenario", json!("pod_limit"), "scenario is pod_limit, not container_limit"),
            ("/verdict/invisible", json!(true), "invisible is true, not false"),
            ("/verdict/kubernetes_shows", json!(["Error 137"]), "shows is Error 137, not OOMKilled 137"),
            ("/verdict/kubernetes_shows", json!([]), "shows is none, not OOMKilled 137"),
            ("/pod/name", json!("q"), "0 incidents of its kills instead of one"),
        ] {
            let mut wrongly = incident();
            *wrongly.pointer_mut(pointer).expect("a field") = wrong;
            let differences = differences(KILLS, &killed(), &[wrongly]);
            assert!(differences.iter().any(|difference| difference.contains(expected)), "{expected}: {differences:?}");
        }
    }

    #[test]
    fn a_missing_and_a_superfluous_incident_are_differences() {
        assert!(differences(KILLS, &killed(), &[])[0].contains("0 incidents of its kills"));
        let mut second = incident();
        second["id"] = json!("2");
        assert!(differences(KILLS, &killed(), &[incident(), second.clone()])[0].contains("2 incidents of its kills"));
        second["kills"] = json!(0);
        let differences = differences(KILLS, &killed(), &[incident(), second]);
        assert!(differences[0].starts_with("an incident that should not be: p/app"), "{differences:?}");
    }

    #[test]
    fn what_did_not_happen_is_no_success() {
        let nothing = Truth { namespace: "n".to_owned(), ..Truth::default() };
        assert_eq!(differences(KILLS, &nothing, &[]), ["the kernel killed nothing"]);
        let evicted = Expected::Evicted { scenario: &["allocatable_evicted"] };
        assert_eq!(differences(evicted, &nothing, &[]), ["nothing was evicted for memory"]);
        assert_eq!(differences(Expected::GaveUp { scenario: &["none"] }, &nothing, &[]), ["no container gave up"]);
        assert_eq!(differences(Expected::Nothing, &nothing, &[]), Vec::<String>::new());
        assert!(differences(Expected::Nothing, &killed(), &[incident()])[0].contains("not this scenario"));
    }

    #[test]
    fn what_is_not_memory_may_be_an_incident_that_says_so() {
        let nothing = Truth { namespace: "n".to_owned(), ..Truth::default() };
        let mut other = incident();
        other["kills"] = json!(0);
        assert_eq!(differences(Expected::NotMemory, &nothing, &[other.clone()]).len(), 1);
        other["severity"] = json!("other");
        assert_eq!(differences(Expected::NotMemory, &nothing, &[other.clone()]), Vec::<String>::new());
        assert_eq!(differences(Expected::Nothing, &nothing, &[other]).len(), 1);
    }

    #[test]
    fn an_end_with_137_that_nobody_was_reported_of_is_a_difference() {
        let mut truth = killed();
        truth.kills.clear();
        assert_eq!(
            differences(Expected::Nothing, &truth, &[]),
            ["p/app: OOMKilled 137 without an event container_ended"]
        );
        let ended = json!({ "kind": "container_ended", "container": { "id": "c" } });
        assert_eq!(differences(Expected::Nothing, &truth, &[ended]), Vec::<String>::new());
    }

    #[test]
    fn an_eviction_is_one_incident_that_shows_evicted() {
        let mut pods = Pods::default();
        pods.look(&json!({ "items": [{ "metadata": { "namespace": "n", "name": "p", "uid": "u" }, "status": { "phase": "Failed",
            "reason": "Evicted", "message": "The node was low on resource: memory. Container hog was using 1Ki, request is 0." } }] }));
        let truth = Truth { namespace: "n".to_owned(), pods, kills: Vec::new() };
        let expected = Expected::Evicted { scenario: &["allocatable_evicted"] };
        let mut evicted = incident();
        evicted["kills"] = json!(0);
        evicted["evicted"] = json!(true);
        evicted["verdict"] = json!({ "scenario": "allocatable_evicted", "kubernetes_shows": ["Evicted"] });
        assert_eq!(differences(expected, &truth, &[evicted.clone()]), Vec::<String>::new());
        evicted["verdict"] = json!({ "scenario": "killed", "kubernetes_shows": ["Error 137"] });
        evicted["evicted"] = json!(false);
        let differences = differences(expected, &truth, &[evicted]);
        assert_eq!(differences[0], "p: 0 incidents of its eviction instead of one");
        assert!(differences[1].starts_with("an incident that should not be"), "{differences:?}");
    }
}
