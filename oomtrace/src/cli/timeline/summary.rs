//! Incidents counted: by workload, namespace, node and scenario.

use std::collections::BTreeMap;

use serde::Serialize;
use textwrap::core::display_width;

use crate::{
    event::{Incident, Pod, Scenario},
    sink::{BOLD, Look, escape},
};

/// Letters and digits of the random part of a name (`k8s.io/apimachinery/pkg/util/rand`), of which a `ReplicaSet`'s hash is made,
/// too.
const RANDOM: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// What incidents are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: Option<String>,
    workload: String,
    kind: Option<String>,
    node: String,
    scenario: Scenario,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    incidents: u64,
    kills: u64,
    deaths: u64,
    last: String,
}

/// Incidents counted.
#[derive(Debug, Default)]
pub(super) struct Summary(BTreeMap<Key, Counts>);

/// A row, as JSON has it.
#[derive(Serialize)]
struct Row<'a> {
    namespace: Option<&'a str>,
    /// The controller's name, or the pod's without what was added to it.
    workload: &'a str,
    /// The controller's kind, where it is known.
    workload_kind: Option<&'a str>,
    node: &'a str,
    scenario: &'a str,
    incidents: u64,
    kills: u64,
    deaths: u64,
    /// When the last of them ended.
    last: &'a str,
}

impl Summary {
    pub(super) fn add(&mut self, incident: &Incident, node: &str) {
        let (workload, kind) = workload(incident);
        let namespace = incident.pod.as_ref().and_then(|pod| pod.namespace.clone());
        let key = Key { namespace, workload, kind, node: node.to_owned(), scenario: incident.verdict.scenario };
        let counts = self.0.entry(key).or_default();
        counts.incidents += 1;
        counts.kills += incident.kills;
        counts.deaths += incident.deaths;
        let ended = incident.ended.as_ref().unwrap_or(&incident.started);
        if *ended > counts.last {
            counts.last.clone_from(ended);
        }
    }

    /// The rows, those first of which there are most.
    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<_> = self
            .0
            .iter()
            .map(|(Key { namespace, workload, kind, node, scenario }, counts)| Row {
                namespace: namespace.as_deref(),
                workload,
                workload_kind: kind.as_deref(),
                node,
                scenario: scenario.name(),
                incidents: counts.incidents,
                kills: counts.kills,
                deaths: counts.deaths,
                last: &counts.last,
            })
            .collect();
        rows.sort_by(|a, b| b.incidents.cmp(&a.incidents).then_with(|| b.last.cmp(a.last)));
        rows
    }

    /// An object for each row, one a line.
    pub(super) fn json(&self) -> String {
        let line =
            |row: &Row<'_>| serde_json::to_string(row).map_or_else(|error| error.to_string(), |line| line + "\n");
        self.rows().iter().map(line).collect()
    }

    /// A table.
    pub(super) fn text(&self, look: Look) -> String {
        let head = ["INCIDENTS", "KILLS", "LAST", "SCENARIO", "NAMESPACE", "WORKLOAD", "NODE"];
        let mut cells = vec![head.map(ToOwned::to_owned)];
        for row in self.rows() {
            let workload = match row.workload_kind {
                Some(kind) => format!("{kind} {}", row.workload),
                None => row.workload.to_owned(),
            };
            let second = row.last.parse::<jiff::Timestamp>();
            let last = second.map_or_else(|_| row.last.to_owned(), |last| format!("{last:.0}"));
            let cell = |text: &str| look.shown(&escape(text)).into_owned();
            cells.push([
                row.incidents.to_string(),
                row.kills.to_string(),
                last,
                row.scenario.to_owned(),
                cell(row.namespace.unwrap_or("-")),
                cell(&workload),
                cell(row.node),
            ]);
        }
        let widest = |column: usize| cells.iter().map(|row| display_width(&row[column])).max().unwrap_or(0);
        let widths: Vec<_> = (0..head.len()).map(widest).collect();
        let mut text = String::new();
        for (number, row) in cells.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line += cell;
                line.extend(std::iter::repeat_n(' ', width + 2 - display_width(cell)));
            }
            let line = line.trim_end();
            text += &if number == 0 { look.paint(BOLD, line) } else { line.to_owned() };
            text.push('\n');
        }
        text
    }
}

/// The workload that an incident is of, and its kind, where that is known.
fn workload(incident: &Incident) -> (String, Option<String>) {
    let Some(pod) = &incident.pod else {
        let cgroup = incident.cgroup.as_ref();
        let outside = cgroup.and_then(|cgroup| cgroup.unit.clone().or_else(|| cgroup.path.clone()));
        return (outside.or_else(|| incident.victim_comm.clone()).unwrap_or_else(|| "unknown".to_owned()), None);
    };
    match (&pod.owner, &pod.name) {
        (Some(owner), name) => match (owner.kind.as_str(), without_hash(&owner.name)) {
            ("ReplicaSet", Some(deployment)) => (deployment.to_owned(), Some("Deployment".to_owned())),
            ("Job", _) => match without_time(&owner.name) {
                Some(job) => (job.to_owned(), Some("CronJob".to_owned())),
                None => (owner.name.clone(), Some("Job".to_owned())),
            },
            // A static pod is called by its manifest and its node.
            ("Node", _) => {
                let suffix = format!("-{}", owner.name);
                let own = name.as_deref().map(|name| name.strip_suffix(suffix.as_str()).unwrap_or(name));
                (own.unwrap_or(&owner.name).to_owned(), Some("Node".to_owned()))
            }
            (kind, _) => (owner.name.clone(), Some(kind.to_owned())),
        },
        (None, Some(name)) => (without_suffix(name).to_owned(), None),
        (None, None) => (by_uid(pod), None),
    }
}

fn by_uid(pod: &Pod) -> String {
    pod.uid.as_ref().map_or_else(|| "unknown".to_owned(), |uid| format!("pod {uid}"))
}

fn is_random(part: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&part.len()) && part.bytes().all(|byte| RANDOM.contains(&byte))
}

/// `cart-7c9f8d6b5`: the `Deployment`'s name.
fn without_hash(name: &str) -> Option<&str> {
    name.rsplit_once('-').filter(|(_, hash)| is_random(hash, 6..=10)).map(|(name, _)| name)
}

/// `backup-28934700`: the `CronJob`'s name, of a job that is called by the minute.
fn without_time(name: &str) -> Option<&str> {
    let digits = |part: &str| part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_digit());
    name.rsplit_once('-').filter(|(_, minute)| digits(minute)).map(|(name, _)| name)
}

/// A pod's name without what its controller added.
fn without_suffix(pod: &str) -> &str {
    match pod.rsplit_once('-') {
        Some((rest, random)) if is_random(random, 5..=5) => {
            without_hash(rest).or_else(|| without_time(rest)).unwrap_or(rest)
        }
        // Of a `StatefulSet`.
        Some((rest, ordinal)) if !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => pod,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Owner;

    #[test]
    fn a_workload_is_the_controller_or_the_pods_name_without_a_hash() {
        for (owner, name, expected) in [
            (Some(("ReplicaSet", "cart-7c9f8d6b5")), "cart-7c9f8d6b5-x2vbc", ("cart", Some("Deployment"))),
            (Some(("ReplicaSet", "own")), "own-x2vbc", ("own", Some("ReplicaSet"))),
            (Some(("StatefulSet", "db")), "db-0", ("db", Some("StatefulSet"))),
            (Some(("Job", "backup-28934700")), "backup-28934700-x2vbc", ("backup", Some("CronJob"))),
            (Some(("Job", "once")), "once-x2vbc", ("once", Some("Job"))),
            (Some(("Node", "n1")), "etcd-n1", ("etcd", Some("Node"))),
            (None, "cart-7c9f8d6b5-x2vbc", ("cart", None)),
            (None, "agent-x2vbc", ("agent", None)),
            (None, "db-0", ("db", None)),
            (None, "oom-burstable", ("oom-burstable", None)),
            (None, "web", ("web", None)),
        ] {
            let owner = owner.map(|(kind, name)| Owner { kind: kind.to_owned(), name: name.to_owned() });
            let pod = Some(Pod { name: Some(name.to_owned()), owner, ..Pod::default() });
            let (found, kind) = workload(&Incident { pod, ..Incident::default() });
            assert_eq!((found.as_str(), kind.as_deref()), expected, "{name}");
        }
    }

    #[test]
    fn rows_have_counts_and_the_last_time() {
        let mut summary = Summary::default();
        let pod = Pod { namespace: Some("shop".to_owned()), name: Some("db-0".to_owned()), ..Pod::default() };
        for (ended, kills) in [("2026-06-01T10:00:00Z", 2), ("2026-06-01T09:00:00Z", 1)] {
            let ended = Some(ended.to_owned());
            summary.add(&Incident { pod: Some(pod.clone()), ended, kills, ..Incident::default() }, "n1");
        }
        let row: serde_json::Value = serde_json::from_str(&summary.json()).expect("one row");
        assert_eq!((&row["incidents"], &row["kills"], &row["workload"]), (&2.into(), &3.into(), &"db".into()));
        assert_eq!((&row["last"], &row["node"]), (&"2026-06-01T10:00:00Z".into(), &"n1".into()));
        let text = summary.text(Look::plain());
        assert!(text.contains("2          3      2026-06-01T10:00:00Z  container_limit  shop       db"), "{text}");
    }
}
