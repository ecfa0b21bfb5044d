use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use strum::VariantArray as _;

use super::*;

/// Which types a schema gives each path of a line. `[]` stands for the elements of an array, `{}` for the values of an object
/// whose names are not fixed.
struct Types<'a> {
    definitions: &'a Value,
    of: BTreeMap<String, BTreeSet<String>>,
}

impl Types<'_> {
    fn of_schema(schema: &Value) -> BTreeMap<String, BTreeSet<String>> {
        let mut types = Types { definitions: &schema["$defs"], of: BTreeMap::new() };
        types.walk("", schema, &mut Vec::new());
        types.of
    }

    fn walk(&mut self, path: &str, schema: &Value, within: &mut Vec<String>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
            // A line may hold lines (`events_full`), whose paths are those of lines again.
            if !within.iter().any(|outer| outer == name) {
                within.push(name.to_owned());
                self.walk(path, &self.definitions[name].clone(), within);
                within.pop();
            }
        }
        for alternative in ["anyOf", "oneOf", "allOf"].iter().filter_map(|of| schema[*of].as_array()).flatten() {
            self.walk(path, alternative, within);
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        for name in types.into_iter().filter(|name| *name != "null") {
            self.of.entry(path.to_owned()).or_default().insert(name.to_owned());
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            self.walk(&format!("{path}.{name}"), field, within);
        }
        if schema["items"].is_object() {
            self.walk(&format!("{path}[]"), &schema["items"], within);
        }
        if schema["additionalProperties"].is_object() {
            self.walk(&format!("{path}.{{}}"), &schema["additionalProperties"], within);
        }
    }
}

#[test]
fn a_field_has_one_type_whatever_the_kind() {
    let types = Types::of_schema(schema().as_value());
    let several: Vec<_> = types.iter().filter(|(_, types)| types.len() > 1).collect();
    assert!(several.is_empty(), "{several:#?}");
    for (path, expected) in [
        (".signal", "string"),
        (".signal_number", "integer"),
        (".verdict.signal", "string"),
        (".memory", "boolean"),
        (".history[].usage_bytes", "integer"),
        (".events[]", "integer"),
        (".attached.{}", "string"),
        (".steps[].since_ms", "number"),
        (".victim.rss_anon_bytes", "integer"),
    ] {
        let found: Vec<_> = types.get(path).into_iter().flatten().collect();
        assert_eq!(found, [expected], "{path}");
    }
}

#[test]
fn a_field_of_two_types_is_found_wherever_it_is() {
    let schema = serde_json::json!({
        "$defs": {"Step": {"type": "object", "properties": {"signal": {"type": ["integer", "null"]}}}},
        "oneOf": [
            {"properties": {"memory": {"type": ["boolean", "null"]}, "step": {"anyOf": [{"$ref": "#/$defs/Step"}]}}},
            {"properties": {"memory": {"type": "array", "items": {"type": "object"}}}},
            {"properties": {"step": {"type": "object", "properties": {"signal": {"type": "string"}}}}},
        ],
    });
    let types = Types::of_schema(&schema);
    let several: Vec<_> = types.iter().filter(|(_, types)| types.len() > 1).map(|(path, _)| path.as_str()).collect();
    assert_eq!(several, [".memory", ".step.signal"]);
}

#[test]
fn a_kind_has_the_name_that_lines_have() -> Result<(), serde_json::Error> {
    let schema = schema().to_value();
    let kinds = schema["oneOf"].as_array().into_iter().flatten();
    let kinds: Vec<_> = kinds.map(|kind| kind["properties"]["kind"]["const"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, Kind::VARIANTS.iter().map(|kind| kind.name()).collect::<Vec<_>>());
    let event: Event = serde_json::from_str(r#"{"kind":"error","message":"no"}"#)?;
    assert_eq!(event.kind(), Kind::Error);
    Ok(())
}

#[test]
fn lines_of_schema_version_1_are_read() -> anyhow::Result<()> {
    let head = r#"{"ts":"2026-01-01T00:00:00Z","seq":1,"node":"n","source":"kernel","boot_ns":1"#;
    let signal = format!(
        r#"{head},"kind":"signal","pod":null,"container":null,"cgroup":null,"signal":9,"name":"SIGKILL",
        "sender":{{"role":"kernel"}},"target":{{}}}}"#
    );
    let Event::Signal(signal) = serde_json::from_str::<Line>(&signal)?.event else { anyhow::bail!("no signal") };
    assert_eq!((signal.signal.as_str(), signal.signal_number), ("SIGKILL", None));
    let exit = format!(r#"{head},"kind":"process_exit","signal":11,"core_dumped":false,"oom_victim":false}}"#);
    let Event::ProcessExit(exit) = serde_json::from_str::<Line>(&exit)?.event else { anyhow::bail!("no end") };
    assert_eq!(exit.signal.as_deref(), Some("SIGSEGV"));
    let status = format!(
        r#"{head},"kind":"status","phase":"running","version":"0.1.0","kernel":"6.12.0","cgroup_version":2,
        "probes":[{{"symbol":"oom_kill_process","attached":"fentry","refused":[]}}],"degraded":[],"kills":3,"lost":0}}"#
    );
    let Event::Status(status) = serde_json::from_str::<Line>(&status)?.event else { anyhow::bail!("no status") };
    assert_eq!((status.kills, status.schema_version.as_deref()), (3, None));
    Ok(())
}
