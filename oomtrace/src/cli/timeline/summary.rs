//! Incidents counted: by workload, namespace, node and scenario.

use std::collections::BTreeMap;

use serde::Serialize;
use textwrap::core::display_width;

use crate::{
    event::{Incident, Scenario, Workload},
    sink::{BOLD, Look, escape},
};

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
        let Workload { name: workload, kind } = incident.workload();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Pod;

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
