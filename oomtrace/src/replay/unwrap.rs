//! oomtrace's own lines inside of what a log stack makes of them.
//!
//! | from | what a line of ours is there |
//! |---|---|
//! | a container runtime's file | what follows `2026-… stdout F `, or several parts with `P` before the last (CRI); `log` (Docker) |
//! | the journal | `MESSAGE`, as text or as bytes; what follows the head |
//! | Loki | `line`, or the second of a pair in `values` |
//! | other collectors | a field with the text, or the object itself, wherever it stands |

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    event::Line,
    source::envelope::cri::{self, CriLine},
};

/// How each line of ours begins: see [`Line`].
const START: &str = "{\"ts\":\"";
/// How deep in objects a line is looked for.
const DEEPEST: u8 = 12;
/// A line that a runtime cut into parts is no longer.
const MOST_BYTES: usize = 16 << 20;

/// Finds lines of ours, line by line.
#[derive(Default)]
pub(super) struct Unwrapper {
    /// The parts of a line that a runtime cut, by its stream.
    parts: BTreeMap<String, String>,
    /// Whether any was inside of something.
    pub(super) wrapped: bool,
}

impl Unwrapper {
    /// The lines of ours that a line has; `None` where it has none and is no part of one.
    pub(super) fn read(&mut self, text: &[u8]) -> Option<Vec<Line>> {
        if let Ok(line) = serde_json::from_slice(text) {
            return Some(vec![line]);
        }
        let text = String::from_utf8_lossy(text);
        let trimmed = text.trim_end_matches(['\n', '\r']);
        if let Some(CriLine { stream, ends, text_at, .. }) = cri::read(trimmed.as_bytes()) {
            return self.put_together(stream, ends, trimmed.get(text_at..)?);
        }
        let mut found = Vec::new();
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            search(value, DEEPEST, &mut found);
        } else {
            found.extend(behind_head(&text));
        }
        self.wrapped |= !found.is_empty();
        (!found.is_empty()).then_some(found)
    }

    fn put_together(&mut self, stream: &str, whole: bool, part: &str) -> Option<Vec<Line>> {
        let open = self.parts.entry(stream.to_owned()).or_default();
        if open.len() + part.len() > MOST_BYTES {
            open.clear();
            return None;
        }
        open.push_str(part);
        if !whole {
            return Some(Vec::new());
        }
        let line = behind_head(&std::mem::take(open))?;
        self.wrapped = true;
        Some(vec![line])
    }
}

/// All lines of ours in a file that is one JSON document, or several, each over many lines: what APIs answer.
pub(super) fn of_document(text: &[u8]) -> Vec<Line> {
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_slice(text).into_iter::<Value>() {
        match value {
            Ok(value) => search(value, DEEPEST, &mut found),
            Err(_) => break,
        }
    }
    found
}

/// Whether one of these lines has one of ours.
pub(super) fn has_line(start: &[u8]) -> bool {
    let mut unwrapper = Unwrapper::default();
    let mut lines = start.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let in_line = |line: &[u8]| unwrapper.read(line).is_some_and(|found| !found.is_empty());
    lines.any(in_line)
        || (start.trim_ascii_start().starts_with(b"{") && mentions(start) && !of_document(start).is_empty())
}

/// Whether the text of a line of ours may be in it, quoted or not.
fn mentions(text: &[u8]) -> bool {
    ["{\"ts\":", "{\\\"ts\\\":"].iter().any(|start| memchr::memmem::find(text, start.as_bytes()).is_some())
}

/// A line of ours behind whatever else: the head of a journal, a time, a pod's name.
fn behind_head(text: &str) -> Option<Line> {
    let text = text.get(text.find(START)?..)?;
    // What follows it is a column's end, or nothing.
    serde_json::Deserializer::from_str(text).into_iter::<Line>().next()?.ok()
}

fn search(value: Value, deepest: u8, found: &mut Vec<Line>) {
    match value {
        Value::String(text) => {
            if let Some(line) = behind_head(&text) {
                found.push(line);
            }
        }
        Value::Array(items) => {
            // The journal's messages that are not all text are numbers.
            if let Some(Value::Number(_)) = items.first() {
                let bytes: Option<Vec<u8>> =
                    items.iter().map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
                found.extend(bytes.and_then(|bytes| behind_head(&String::from_utf8_lossy(&bytes))));
            } else if deepest > 0 {
                for item in items {
                    search(item, deepest - 1, found);
                }
            }
        }
        Value::Object(fields) => {
            let is_ours = ["ts", "kind", "seq", "node"].iter().all(|field| fields.contains_key(*field));
            if is_ours && let Ok(line) = serde_json::from_value(Value::Object(fields.clone())) {
                found.push(line);
            } else if deepest > 0 {
                // A line may be in a field as text, and again as the object that a collector made of it.
                let before = found.len();
                for (_, field) in fields {
                    if found.len() > before && !field.is_array() && !field.is_object() {
                        continue;
                    }
                    search(field, deepest - 1, found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"{"ts":"2026-06-01T10:00:00.000000000Z","seq":7,"node":"n1","source":"kubelet","boot_ns":null,"kind":"system_oom","pid":7,"comm":"java"}"#;

    fn count(text: &str) -> Option<usize> {
        Unwrapper::default().read(text.as_bytes()).map(|found| found.len())
    }

    #[test]
    fn a_line_is_found_in_whatever_a_log_stack_makes_of_it() {
        let quoted = serde_json::to_string(OURS).expect("JSON");
        let bytes = serde_json::to_string(OURS.as_bytes()).expect("JSON");
        for text in [
            OURS.to_owned(),
            format!("2026-06-01T10:00:00.1Z stdout F {OURS}"),
            format!("Jun 01 10:00:00 n1 oomtrace[7]: {OURS}"),
            format!("[pod/oomtrace-x2vbc/oomtrace] {OURS}"),
            format!(r#"{{"log":{quoted},"stream":"stdout","time":"2026-06-01T10:00:00Z"}}"#),
            format!(r#"{{"MESSAGE":{quoted},"_HOSTNAME":"n1","__REALTIME_TIMESTAMP":"1"}}"#),
            format!(r#"{{"MESSAGE":{bytes},"_HOSTNAME":"n1"}}"#),
            format!(r#"{{"labels":{{"pod":"a"}},"line":{quoted},"timestamp":"2026-06-01T10:00:00Z"}}"#),
            format!(r#"{{"kubernetes":{{"host":"n1"}},"log_processed":{OURS}}}"#),
        ] {
            assert_eq!(count(&text), Some(1), "{text}");
        }
        assert_eq!(count("2026-06-01T10:00:00.1Z stdout F something else"), None);
        assert_eq!(count(r#"{"log":"something else"}"#), None);
    }

    #[test]
    fn lines_are_found_in_an_answer_of_lokis() {
        let pair = serde_json::to_string(&["1780308000000000000", OURS]).expect("JSON");
        let answer = format!(
            r#"{{"status":"success","data":{{"resultType":"streams","result":[{{"stream":{{"app":"oomtrace"}},"values":[{pair},{pair}]}}]}}}}"#
        );
        assert_eq!(of_document(answer.as_bytes()).len(), 2);
        assert!(has_line(answer.as_bytes()) && !has_line(br#"{"data":[]}"#));
    }

    #[test]
    fn a_line_that_a_runtime_cut_is_put_together() {
        let mut unwrapper = Unwrapper::default();
        let (one, two) = OURS.split_at(40);
        let head = "2026-06-01T10:00:00.1Z stdout";
        assert_eq!(unwrapper.read(format!("{head} P {one}").as_bytes()).map(|found| found.len()), Some(0));
        assert_eq!(unwrapper.read(format!("{head} F {two}").as_bytes()).map(|found| found.len()), Some(1));
        assert!(unwrapper.wrapped);
    }
}
