//! Lines as each kubelet prints them, and what they say.

mod blocks;
mod containers;
mod evictions;
mod forms;
mod hostile;
mod times;

use jiff::{Timestamp, tz::TimeZone};
use oomtrace_model::{Moment, Observation};
use serde_json::{Value, json};

use super::{Calendar, LogReader};

const UID: &str = "1ab823cb-c402-4c21-94aa-38e722342611";
const OTHER_UID: &str = "5c0a9e21-a404-4987-b625-62e3ee967a54";
const ID: &str = "789ee4152443cef6162c2f4260d6fba93e6663288ddb50a6c4a37ebac2a4ab54";
const SANDBOX: &str = "1ed82a7f29b29fd05b8145f9f466322fcf2616384c772399cc8958ea27b2dcdc";

fn reader() -> LogReader {
    let not_after: Timestamp = "2026-11-24T06:00:00Z".parse().expect("a time");
    LogReader::new(Calendar { not_after, zone: TimeZone::UTC }, Vec::new()).expect("a reader")
}

fn reported(log: &[u8]) -> Vec<Observation> {
    let (mut reader, mut reported) = (reader(), Vec::new());
    reader.push(log, &mut reported);
    reader.finish(&mut reported);
    reported
}

/// What lines say, without what is not known. Each line gets klog's head; `{UID}` and so on are filled in.
fn said(lines: &str) -> Vec<Value> {
    let log: String =
        lines.lines().flat_map(|line| ["I1123 23:24:42.998045     440 file.go:381] ", line.trim(), "\n"]).collect();
    let log = filled(&log);
    reported(log.as_bytes())
        .into_iter()
        .map(|reported| known(serde_json::to_value(reported.event).expect("JSON")))
        .collect()
}

fn filled(text: &str) -> String {
    text.replace("{UID}", UID).replace("{OTHER_UID}", OTHER_UID).replace("{ID}", ID).replace("{SANDBOX}", SANDBOX)
}

/// The one thing that a line says.
fn one(line: &str) -> Value {
    let mut said = said(line);
    assert_eq!(said.len(), 1, "{line}: {said:?}");
    said.remove(0)
}

fn known(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null() && *value != json!([]))
                .map(|(name, value)| (name, known(value)))
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(known).collect()),
        value => value,
    }
}

fn at(reported: &Observation) -> String {
    match reported.at {
        Moment::Wall(at) => at.to_string(),
        Moment::Boot(_) => unreachable!("the kubelet knows no boot time"),
    }
}
