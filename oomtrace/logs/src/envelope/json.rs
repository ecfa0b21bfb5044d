//! Lines inside of what collectors and container runtimes make of them: JSON with a field for the line, and one for the time.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::when::{self, Wall, When};

/// The fields that hold the line, the surest first: journald and Stackdriver's agents; `CloudWatch`, Elastic, Fluent Bit;
/// Stackdriver's text; Splunk; Docker; Loki; Azure; util-linux.
const LINE: [&str; 11] = [
    "MESSAGE",
    "message",
    "textPayload",
    "_raw",
    "log",
    "line",
    "LogEntry",
    "SyslogMessage",
    "RawData",
    "LogMessage",
    "msg",
];
/// The fields that tell when it was logged.
const TIME: [&str; 7] = ["timestamp", "@timestamp", "time", "ts", "_time", "TimeGenerated", "TimeStamp"];
/// The fields that tell on which machine, alone or in an object of that name.
const HOST: [&str; 10] = [
    "_HOSTNAME",
    "hostname",
    "host",
    "node_name",
    "nodename",
    "node",
    "Computer",
    "HostName",
    "host.name",
    "kubernetes.host",
];
/// The fields that tell who logged it, the surest first.
const SPEAKER: [&str; 10] = [
    "_TRANSPORT",
    "SYSLOG_IDENTIFIER",
    "syslog.identifier",
    "ident",
    "syslog_identifier",
    "transport",
    "_COMM",
    "_SYSTEMD_UNIT",
    "systemd.unit",
    "unit",
];
/// How deep in objects the fields are looked for.
const DEEPEST: u8 = 6;
/// A number so small, with a fraction, counts seconds since boot.
const LONGEST_UPTIME: f64 = 1e9;

/// A line, and what is written beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inner {
    /// When.
    pub(crate) when: When,
    /// On which machine.
    pub(crate) host: Option<String>,
    /// Who logged it, by whatever name.
    pub(crate) speakers: Vec<String>,
    /// The line.
    pub(crate) line: String,
}

/// `{"jsonPayload":{"MESSAGE":"text"},"timestamp":"…"}`, `{"log":"text\n","time":"…"}`. What `journalctl` prints, whole, is
/// no such: who logged it is known better there.
pub(crate) fn read(text: &str) -> Option<Inner> {
    if text.contains("\"__REALTIME_TIMESTAMP\"") {
        return None;
    }
    of_object(&serde_json::from_str(text).ok()?)
}

/// The line in an object.
pub(crate) fn of_object(object: &Value) -> Option<Inner> {
    let mut found = Found::default();
    found.search("", object, DEEPEST);
    let Found { line, wall, boot_ns, host, mut speakers } = found;
    let (_, line) = line?;
    speakers.sort_unstable();
    let speakers = speakers.into_iter().map(|(_, name)| name).collect();
    let when = When { boot_ns: boot_ns.filter(|_| wall.is_none()), wall };
    Some(Inner { when, host: host.map(|(_, name)| name), speakers, line: line.trim_end().to_owned() })
}

#[derive(Default)]
struct Found {
    /// The line, and the place of its field's name among [`LINE`]; the same of the others.
    line: Option<(usize, String)>,
    wall: Option<Wall>,
    boot_ns: Option<u64>,
    host: Option<(usize, String)>,
    speakers: Vec<(usize, String)>,
}

impl Found {
    fn search(&mut self, parent: &str, value: &Value, deepest: u8) {
        let Value::Object(fields) = value else { return };
        for (name, value) in fields {
            let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            let place = |names: &[&str]| names.iter().position(|known| *known == name || *known == path);
            match value {
                Value::Object(_) if deepest > 0 => self.search(name, value, deepest - 1),
                Value::String(text) => {
                    keep(&mut self.line, place(&LINE), text);
                    keep(&mut self.host, place(&HOST), text);
                    self.speakers.extend(place(&SPEAKER).map(|place| (place, text.clone())));
                }
                _ => {}
            }
            if TIME.contains(&name.as_str()) {
                self.time(value);
            }
        }
    }

    fn time(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.wall = self.wall.or_else(|| when::in_field(text)),
            // `dmesg --json`: seconds since boot.
            Value::Number(number) if number.is_f64() => {
                let seconds = number.as_f64().filter(|seconds| (0.0..LONGEST_UPTIME).contains(seconds));
                // The kernel's stamps are of microseconds.
                self.boot_ns = self.boot_ns.or_else(|| micros(seconds?)?.checked_mul(1000));
            }
            Value::Number(number) => self.wall = self.wall.or_else(|| since_1970(number.as_i64()?).map(Wall::Absolute)),
            _ => {}
        }
    }
}

/// Keeps the text of the surest field.
fn keep(known: &mut Option<(usize, String)>, place: Option<usize>, text: &str) {
    if let Some(place) = place.filter(|place| known.as_ref().is_none_or(|(known, _)| place < known)) {
        *known = Some((place, text.to_owned()));
    }
}

fn micros(seconds: f64) -> Option<u64> {
    format!("{:.0}", seconds * 1e6).parse().ok()
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970 by how many there are.
fn since_1970(number: i64) -> Option<Timestamp> {
    const MILLISECONDS: i64 = 100_000_000_000;
    const MICROSECONDS: i64 = 1000 * MILLISECONDS;
    const NANOSECONDS: i64 = 1000 * MICROSECONDS;
    if number < MILLISECONDS {
        Timestamp::from_second(number).ok()
    } else if number < MICROSECONDS {
        Timestamp::from_millisecond(number).ok()
    } else if number < NANOSECONDS {
        Timestamp::from_microsecond(number).ok()
    } else {
        Timestamp::from_nanosecond(number.into()).ok()
    }
}

/// The objects, each on a line of its own, of a file that is JSON as a whole: a list of objects with a line in each, wherever
/// it is, or Loki's pairs of a time and a line. `None` where it is no such.
#[must_use]
pub fn objects(text: &[u8]) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    collect(&serde_json::from_slice(text).ok()?, &Map::new(), &mut lines, DEEPEST);
    (!lines.is_empty()).then_some(lines)
}

/// Whether there is a list of objects or of lists in it.
pub(crate) fn has_list(value: &Value) -> bool {
    match value {
        Value::Array(items) => matches!(items.first(), Some(Value::Object(_) | Value::Array(_))),
        Value::Object(fields) => fields.values().any(has_list),
        _ => false,
    }
}

/// `labels` are those of Loki's stream that the value is in.
fn collect(value: &Value, labels: &Map<String, Value>, lines: &mut Vec<String>, deepest: u8) {
    match value {
        Value::Array(items) => match &items[..] {
            // The journal's messages of bytes are numbers.
            [Value::Number(_), ..] => {}
            // There may be metadata behind them.
            [Value::String(time), Value::String(line), ..] if when::in_field(time).is_some() => {
                let mut object = labels.clone();
                object.extend([("ts".to_owned(), time.as_str().into()), ("line".to_owned(), line.as_str().into())]);
                lines.push(Value::Object(object).to_string());
            }
            _ => items.iter().filter(|_| deepest > 0).for_each(|item| collect(item, labels, lines, deepest - 1)),
        },
        Value::Object(fields) => {
            let labels = fields.get("stream").and_then(Value::as_object).unwrap_or(labels);
            if of_object(value).is_some() || fields.contains_key("__REALTIME_TIMESTAMP") {
                lines.push(value.to_string());
            } else {
                let values = fields.values().filter(|_| deepest > 0);
                values.for_each(|value| collect(value, labels, lines, deepest - 1));
            }
        }
        _ => {}
    }
}

/// An object of more bytes is none of a log's.
const MOST_BYTES: usize = 64 * 1024;

/// An object over several lines, each field on its own: `journalctl -o json-pretty`, and what command lines of clouds print.
#[derive(Default)]
pub(crate) struct Pretty {
    /// What is there of it, and how far it is indented.
    open: Option<(Vec<u8>, usize)>,
}

/// What a line is to such an object.
pub(crate) enum Piece {
    /// Nothing.
    None,
    /// A further one.
    Further,
    /// The last one: this is the object.
    Whole(Vec<u8>),
}

impl Pretty {
    /// Takes a line. Where an object may not begin, as the log has another form, one is what an app logged.
    pub(crate) fn push(&mut self, line: &[u8], may_begin: bool) -> Piece {
        if self.open.is_none() && !may_begin {
            return Piece::None;
        }
        let (indent, text) = (line.len() - line.trim_ascii_start().len(), line.trim_ascii());
        if text == b"{" {
            // Of objects in a list, the innermost counts.
            self.open = Some((text.to_vec(), indent));
            return Piece::Further;
        }
        let Some((open, own)) = &mut self.open else {
            return if matches!(text, b"[" | b"]" | b"}" | b"],") { Piece::Further } else { Piece::None };
        };
        if indent == *own && matches!(text, b"}" | b"},") {
            open.push(b'}');
            return Piece::Whole(std::mem::take(&mut self.open).map_or_else(Vec::new, |(open, _)| open));
        }
        if !is_part(text) || open.len() > MOST_BYTES {
            self.open = None;
            return Piece::None;
        }
        open.extend_from_slice(text);
        Piece::Further
    }
}

/// Whether a line can be one of an object: a field, or a number in a list. Bytes are printed so where not all are text, one on
/// a line.
fn is_part(text: &[u8]) -> bool {
    let number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE,[]{}".contains(byte);
    matches!(text.first(), Some(b'"' | b'}' | b']')) || (!text.is_empty() && text.iter().all(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> When {
        When { boot_ns: None, wall: Some(Wall::Absolute(text.parse().expect("a time"))) }
    }

    #[test]
    fn a_line_is_found_with_its_time_host_and_writer_wherever_they_are() {
        let object = json!({
            "jsonPayload": {"MESSAGE": "text \n", "msg": "less sure", "SYSLOG_IDENTIFIER": "kernel"},
            "resource": {"labels": {"node_name": "n1"}},
            "timestamp": "2026-11-23T23:20:37Z",
            "_COMM": "x",
        });
        let inner = read(&object.to_string()).expect("a line");
        assert_eq!((inner.line.as_str(), inner.host.as_deref()), ("text", Some("n1")));
        assert_eq!(
            (inner.speakers, inner.when),
            (vec!["kernel".to_owned(), "x".to_owned()], at("2026-11-23T23:20:37Z"))
        );
        let nested = read(r#"{"message":"x","host":{"name":"n2"}}"#).expect("a line");
        assert_eq!(nested.host.as_deref(), Some("n2"));
        assert_eq!(read(r#"{"MESSAGE":"x","__REALTIME_TIMESTAMP":"1"}"#), None, "journalctl's own");
        assert_eq!((read(r#"{"other":"x"}"#), read("{")), (None, None));
    }

    #[test]
    fn numbers_are_times_by_how_many_there_are() {
        for (number, expected) in [
            (1_795_476_037_i64, "2026-11-23T23:20:37Z"),
            (1_795_476_037_158, "2026-11-23T23:20:37.158Z"),
            (1_795_476_037_158_837, "2026-11-23T23:20:37.158837Z"),
            (1_795_476_037_158_837_000, "2026-11-23T23:20:37.158837Z"),
        ] {
            let inner = read(&json!({"log": "x", "time": number}).to_string()).expect("a line");
            assert_eq!(inner.when, at(expected), "{number}");
        }
        let since_boot = |seconds: f64| read(&json!({"msg": "x", "time": seconds}).to_string()).expect("a line").when;
        assert_eq!(since_boot(153.158_837), When { boot_ns: Some(153_158_837_000), wall: None });
        assert_eq!((since_boot(-1.5), since_boot(2e9)), (When::default(), When::default()));
    }

    #[test]
    fn a_list_of_lines_is_an_object_a_line() {
        let lines = objects(br#"[{"message":"a"},{"result":[{"message":"b"}]},{"other":1}]"#).expect("lines");
        assert_eq!(lines, [r#"{"message":"a"}"#, r#"{"message":"b"}"#]);
        let loki = br#"{"data":{"result":[{"stream":{"node":"n1"},"values":[["1795476037158837000","c",{}]]}]}}"#;
        let line = r#"{"line":"c","node":"n1","ts":"1795476037158837000"}"#;
        assert_eq!(objects(loki), Some(vec![line.to_owned()]));
        let journals = br#"[{"__REALTIME_TIMESTAMP":"1","MESSAGE":[104,105]}]"#;
        assert_eq!(objects(journals).map(|lines| lines.len()), Some(1));
        for none in [&b"[1,2]"[..], b"{}", b"[[\"x\",\"y\"]]", b"no JSON"] {
            assert_eq!(objects(none), None);
        }
        let list = |text: &str| has_list(&serde_json::from_str(text).expect("JSON"));
        assert!(list(r#"{"a":{"b":[{}]}}"#) && list("[[]]") && !list("[1]") && !list("{}") && !list("1"));
    }

    #[test]
    fn an_object_over_several_lines_is_put_together() {
        let push = |pretty: &mut Pretty, line: &str| match pretty.push(line.as_bytes(), true) {
            Piece::None => "none".to_owned(),
            Piece::Further => "further".to_owned(),
            Piece::Whole(object) => String::from_utf8_lossy(&object).into_owned(),
        };
        let mut pretty = Pretty::default();
        let said = ["[", "  {", r#"    "a": ["#, "      1,", "      2", "    ],", r#"    "b": 1"#, "  },", "]", "x"]
            .map(|line| push(&mut pretty, line));
        let whole = r#"{"a": [1,2],"b": 1}"#;
        let further = "further";
        assert_eq!(said, [further, further, further, further, further, further, further, whole, further, "none"]);
        assert_eq!(["{", "text", "}"].map(|line| push(&mut pretty, line)), ["further", "none", "further"]);
        assert!(matches!(Pretty::default().push(b"{", false), Piece::None), "what an app logged");
        let long = format!("\"{}\"", "x".repeat(MOST_BYTES));
        assert_eq!(["{", &long, "1", "1"].map(|line| push(&mut pretty, line))[3], "none", "too long");
    }
}
