//! What oomtrace said live: its incidents, each as its last line has it, and the ends that it calls intended.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::Value;

/// An incident, by its last line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) id: String,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    /// The ids of the containers that it is about.
    pub(super) ids: BTreeSet<String>,
    pub(super) scenario: String,
    pub(super) severity: Option<String>,
    pub(super) kills: u64,
    pub(super) level: String,
    pub(super) evicted: bool,
    pub(super) shows: BTreeSet<String>,
    /// The modifiers that are `true`.
    pub(super) modifiers: BTreeSet<String>,
    pub(super) open: bool,
    pub(super) summary: String,
}

/// What was said since a moment.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) incidents: Vec<Reported>,
    /// The container ids of `container_ended` events.
    pub(super) ended: BTreeSet<String>,
    /// How many `oom_kill` events there were.
    pub(super) kills: u64,
    /// The sum of `kills_new` over all lines of incidents.
    pub(super) kills_new: u64,
    /// Events that were lost, in oomtrace's own words.
    pub(super) lost: Vec<String>,
}

impl Live {
    /// Reads what came after the first `before` lines. Incidents that began before are not of this run.
    pub(super) fn since(lines: &[Value], before: usize) -> Self {
        let (old, new) = lines.split_at(before.min(lines.len()));
        let is_incident = |line: &&Value| line["kind"] == "incident";
        let known: BTreeSet<_> = old.iter().filter(is_incident).filter_map(|line| line["id"].as_str()).collect();
        let mut incidents = BTreeMap::new();
        for line in new.iter().filter(is_incident) {
            let incident = Reported::of(line);
            if !known.contains(incident.id.as_str()) {
                incidents.insert(incident.id.clone(), incident);
            }
        }
        let of_kind = |kind: &'static str| new.iter().filter(move |line| line["kind"] == kind);
        Self {
            incidents: incidents.into_values().collect(),
            ended: of_kind("container_ended")
                .filter_map(|line| Some(line["container"]["id"].as_str()?.to_owned()))
                .collect(),
            kills: of_kind("oom_kill").count() as u64,
            kills_new: of_kind("incident").filter_map(|line| line["kills_new"].as_u64()).sum(),
            lost: of_kind("lost").map(|line| format!("{} {}", line["from"], line["count"])).collect(),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Reported {
    fn of(line: &Value) -> Self {
        let verdict = &line["verdict"];
        let containers = line["containers"].as_array().into_iter().flatten();
        let ids =
            std::iter::once(&line["container"]).chain(containers).filter_map(|container| container["id"].as_str());
        let shows = verdict["kubernetes_shows"].as_array().into_iter().flatten();
        let modifiers = ["invisible", "group_kill", "innocent", "bystander"];
        Self {
            id: text(&line["id"]),
            namespace: text(&line["pod"]["namespace"]),
            pod: text(&line["pod"]["name"]),
            container: text(&line["container"]["name"]),
            ids: ids.map(str::to_owned).collect(),
            scenario: text(&verdict["scenario"]),
            severity: line["severity"].as_str().map(str::to_owned),
            kills: line["kills"].as_u64().unwrap_or_default(),
            level: text(&line["limit_level"]),
            evicted: line["evicted"].as_bool().unwrap_or_default(),
            shows: shows.filter_map(Value::as_str).map(str::to_owned).collect(),
            modifiers: modifiers.iter().filter(|name| verdict[**name] == true).map(|name| (*name).to_owned()).collect(),
            open: line["state"] == "open",
            summary: text(&verdict["summary"]),
        }
    }

    /// In a few words.
    pub(super) fn brief(&self) -> String {
        let mut brief = format!("{} {}", self.place(), self.scenario);
        if self.kills > 0 {
            let _ = write!(brief, " ×{}", self.kills);
        }
        for modifier in &self.modifiers {
            let _ = write!(brief, " {modifier}");
        }
        brief
    }

    fn place(&self) -> String {
        match (self.pod.as_str(), self.container.as_str()) {
            ("", _) => "the node".to_owned(),
            (pod, "") => pod.to_owned(),
            (pod, container) => format!("{pod}/{container}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_line_of_an_incident_counts_and_old_incidents_do_not() {
        let incident = |id: &str, kills: u64| json!({ "kind": "incident", "id": id, "kills": kills });
        let kill = json!({ "kind": "oom_kill" });
        let lines = [incident("old", 1), incident("new", 1), kill, incident("old", 2), incident("new", 3)];
        let live = Live::since(&lines, 1);
        let incidents: Vec<_> = live.incidents.iter().map(|incident| (incident.id.as_str(), incident.kills)).collect();
        assert_eq!((incidents, live.kills), (vec![("new", 3)], 1));
    }
}
