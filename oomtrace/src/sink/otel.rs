//! Lines as OpenTelemetry log records: OTLP's JSON, a `LogsData` object a line, as OpenTelemetry's file exporter writes them and
//! the Collector's `otlpjsonfile` receiver reads them.
//!
//! What OpenTelemetry has a name for has that name (semantic conventions 1.37), anything else the name that JSON lines have, behind
//! `oomtrace.`. Nothing is left out but what is not known.

use serde_json::{Map, Value, json};

use super::text::sentence;
use crate::{
    build_info,
    event::{Event, Importance, Line, SCHEMA_VERSION},
};

/// The release of the semantic conventions that the names are of.
pub(super) const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.37.0";
/// What other names begin with.
pub(super) const PREFIX: &str = "oomtrace";

/// What OpenTelemetry calls a field, by its path in JSON lines.
const NAMES: [(&str, &str); 16] = [
    ("pod.namespace", "k8s.namespace.name"),
    ("pod.name", "k8s.pod.name"),
    ("pod.uid", "k8s.pod.uid"),
    ("container.name", "k8s.container.name"),
    ("container.restart_count", "k8s.container.restart_count"),
    ("container.id", "container.id"),
    ("container.image", "container.image.name"),
    ("victim.tgid", "process.pid"),
    ("victim.comm", "process.executable.name"),
    ("victim.command_line", "process.command_line"),
    ("victim.uid", "process.real_user.id"),
    ("tgid", "process.pid"),
    ("comm", "process.executable.name"),
    ("uid", "process.real_user.id"),
    ("cgroup.path", "process.linux.cgroup"),
    ("exit_code", "process.exit.code"),
];

/// What OpenTelemetry calls the name of a pod's controller, by its kind.
const OWNERS: [(&str, &str); 4] = [
    ("ReplicaSet", "k8s.replicaset.name"),
    ("StatefulSet", "k8s.statefulset.name"),
    ("DaemonSet", "k8s.daemonset.name"),
    ("Job", "k8s.job.name"),
];

/// A line as a `LogsData` object, with its line end.
pub(super) fn print(line: &Line) -> String {
    // Every field is a string, a number or null, so this cannot fail.
    let mut fields = serde_json::to_value(line).unwrap_or_default();
    let [_, node, kind] = ["ts", "node", "kind"].map(|name| fields.as_object_mut().and_then(|line| line.remove(name)));
    let node = node.unwrap_or_default();
    let mut attributes = Vec::new();
    owner(&mut fields, &mut attributes);
    flatten("", fields, &mut attributes);
    let (number, severity) = severity(line.event.importance());
    let mut record = json!({
        "severityNumber": number,
        "severityText": severity,
        "eventName": format!("{PREFIX}.{}", kind.as_ref().and_then(Value::as_str).unwrap_or_default()),
        "body": {"stringValue": body(line)},
        "attributes": attributes,
    });
    // A time that is none, as of a log whose times count from the node's boot, is not known.
    if let Some(ts) = line.ts.parse::<jiff::Timestamp>().ok().filter(|ts| ts.as_nanosecond() > 0) {
        record["timeUnixNano"] = ts.as_nanosecond().to_string().into();
    }
    let logs = json!({"resourceLogs": [{
        "schemaUrl": CONVENTIONS,
        "resource": resource(node),
        "scopeLogs": [{"scope": {"name": PREFIX, "version": SCHEMA_VERSION}, "logRecords": [record]}],
    }]});
    format!("{logs}\n")
}

/// Who reports: oomtrace, of which a node has one.
pub(super) fn resource(node: Value) -> Value {
    let attributes = [
        ("service.name", Value::from(PREFIX)),
        ("service.version", build_info::VERSION.into()),
        ("service.instance.id", node.clone()),
        ("k8s.node.name", node),
    ];
    json!({"attributes": attributes.map(|(name, value)| attribute(name, value))})
}

/// The pod's controller: OpenTelemetry has a name for each kind of them.
fn owner(line: &mut Value, attributes: &mut Vec<Value>) {
    let Some(owner) = line.pointer("/pod/owner") else { return };
    let kind = owner["kind"].as_str().unwrap_or_default();
    if let Some((_, name)) = OWNERS.iter().find(|(known, _)| *known == kind) {
        attributes.push(attribute(name, owner["name"].clone()));
        if let Some(pod) = line["pod"].as_object_mut() {
            pod.remove("owner");
        }
    }
}

/// Objects become names with dots; what is not known is left out, as OpenTelemetry's values have no null.
fn flatten(path: &str, value: Value, attributes: &mut Vec<Value>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&path, value, attributes);
            }
        }
        value => {
            let known = NAMES.iter().find(|(ours, _)| *ours == path).map(|(_, theirs)| (*theirs).to_owned());
            attributes.push(attribute(&known.unwrap_or_else(|| format!("{PREFIX}.{path}")), value));
        }
    }
}

fn attribute(name: &str, value: Value) -> Value {
    json!({"key": name, "value": any_value(value)})
}

/// A value in OTLP's JSON, where a 64-bit integer is a string.
fn any_value(value: Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(boolean) => json!({"boolValue": boolean}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => json!({"intValue": integer.to_string()}),
            // More than OTLP's integers hold: an id of a cgroup may be so large.
            None if number.is_u64() => json!({"stringValue": number.to_string()}),
            None => json!({"doubleValue": number}),
        },
        Value::Array(values) => {
            let values: Vec<_> = values.into_iter().map(any_value).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Object(fields) => json!({"kvlistValue": {"values": pairs(fields)}}),
    }
}

fn pairs(fields: Map<String, Value>) -> Vec<Value> {
    fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| attribute(&name, value)).collect()
}

/// OpenTelemetry's severity: of its numbers the first of each range.
fn severity(importance: Importance) -> (u8, &'static str) {
    match importance {
        Importance::Fatal => (21, "FATAL"),
        Importance::Error => (17, "ERROR"),
        Importance::Warn => (13, "WARN"),
        Importance::Info => (9, "INFO"),
        Importance::Debug => (5, "DEBUG"),
    }
}

/// What happened in a sentence.
fn body(line: &Line) -> String {
    match &line.event {
        Event::Incident(incident) => incident.verdict.summary.clone(),
        Event::Error(failure) => failure.message.clone(),
        _ => sentence(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cgroup, Container, Incident, OomKill, Owner, Pod, Severity, Source, Task, Verdict, Victim};

    fn line(event: Event) -> Line {
        let (ts, node) = ("2026-01-02T03:04:05.000000006Z".to_owned(), "node-1".to_owned());
        Line { ts, seq: 7, node, source: Source::Kernel, boot_ns: Some(1), event }
    }

    fn printed(event: Event) -> Result<Value, serde_json::Error> {
        serde_json::from_str(&print(&line(event)))
    }

    fn record(logs: &Value) -> &Value {
        &logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    }

    fn value<'a>(attributes: &'a Value, name: &str) -> Option<&'a Value> {
        let named = attributes.as_array()?.iter().filter(|attribute| attribute["key"] == name).collect::<Vec<_>>();
        if let [attribute] = named[..] { Some(&attribute["value"]) } else { None }
    }

    fn kill() -> Event {
        let pod = Pod {
            namespace: Some("shop".to_owned()),
            name: Some("web-1".to_owned()),
            owner: Some(Owner { kind: "ReplicaSet".to_owned(), name: "web".to_owned() }),
            ..Pod::default()
        };
        let container = Container { name: Some("app".to_owned()), restart_count: Some(2), ..Container::default() };
        let task = Task { tgid: Some(42), comm: Some("java".to_owned()), ..Task::default() };
        Event::OomKill(Box::new(OomKill {
            pod: Some(pod),
            container: Some(container),
            cgroup: Some(Cgroup { id: Some(u64::MAX), ..Cgroup::default() }),
            victim: Victim { task: task.clone(), ..Victim::default() },
            members: vec![task],
            ..OomKill::default()
        }))
    }

    #[test]
    fn what_opentelemetry_has_a_name_for_has_that_name() -> Result<(), serde_json::Error> {
        let logs = printed(kill())?;
        let record = record(&logs);
        for (name, expected) in [
            ("k8s.namespace.name", json!({"stringValue": "shop"})),
            ("k8s.pod.name", json!({"stringValue": "web-1"})),
            ("k8s.replicaset.name", json!({"stringValue": "web"})),
            ("k8s.container.name", json!({"stringValue": "app"})),
            ("k8s.container.restart_count", json!({"intValue": "2"})),
            ("process.pid", json!({"intValue": "42"})),
            ("process.executable.name", json!({"stringValue": "java"})),
            ("oomtrace.cgroup.id", json!({"stringValue": "18446744073709551615"})),
            ("oomtrace.source", json!({"stringValue": "kernel"})),
        ] {
            assert_eq!(value(&record["attributes"], name), Some(&expected), "{name}");
        }
        let member = &value(&record["attributes"], "oomtrace.members").expect("members")["arrayValue"]["values"][0];
        assert_eq!(value(&member["kvlistValue"]["values"], "comm"), Some(&json!({"stringValue": "java"})));
        let resource = &logs["resourceLogs"][0]["resource"]["attributes"];
        assert_eq!(value(resource, "k8s.node.name"), Some(&json!({"stringValue": "node-1"})));
        assert_eq!(record["timeUnixNano"], "1767323045000000006");
        assert_eq!((&record["severityNumber"], &record["severityText"]), (&json!(17), &json!("ERROR")));
        assert_eq!(record["eventName"], "oomtrace.oom_kill");
        assert!(record["body"]["stringValue"].as_str().is_some_and(|body| body.starts_with("OOM kill: ")), "{record}");
        Ok(())
    }

    /// `cargo xtask manifests` reads the same file as OTLP, with OpenTelemetry's own messages.
    #[test]
    fn the_shipped_example_is_of_the_schema_and_what_it_is_as_log_records() -> Result<(), serde_json::Error> {
        let lines = include_str!("../../../deploy/queries/example.jsonl");
        let lines: Vec<Line> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        for (line, shipped) in lines.iter().zip(include_str!("../../../deploy/queries/example.jsonl").lines()) {
            assert_eq!(serde_json::to_value(line)?, serde_json::from_str::<Value>(shipped)?);
        }
        // But for what is said in words, and for this release's number.
        let attributes = |logs: &str| -> Result<Value, serde_json::Error> {
            let record = record(&serde_json::from_str(logs)?).clone();
            Ok(json!([record["timeUnixNano"], record["eventName"], record["severityNumber"], record["attributes"]]))
        };
        for (line, shipped) in lines.iter().zip(include_str!("../../../deploy/queries/example.otel.jsonl").lines()) {
            assert_eq!(attributes(&print(line))?, attributes(shipped)?, "{}", print(line));
        }
        Ok(())
    }

    #[test]
    fn an_incident_says_its_verdict_and_how_severe_it_is() -> Result<(), serde_json::Error> {
        let verdict = Verdict { summary: "The kernel killed it.".to_owned(), ..Verdict::default() };
        let incident = Incident { severity: Severity::Other, verdict, ..Incident::default() };
        let logs = printed(Event::Incident(Box::new(incident)))?;
        let record = record(&logs);
        assert_eq!(record["body"]["stringValue"], "The kernel killed it.");
        assert_eq!(record["severityText"], "WARN");
        assert_eq!(
            value(&record["attributes"], "oomtrace.verdict.scenario"),
            Some(&json!({"stringValue": "container_limit"}))
        );
        Ok(())
    }
}
