//! A line as Loki's `logcli query` prints it: `2026-11-23T23:20:49Z {host="node1", unit="kubelet.service"} text`. Labels that all lines
//! have in common are not printed, so there may be none.

use serde_json::{Map, Value};

use super::{
    json::{self, Inner},
    scan::Scan,
    when::{self, Wall, When},
};

/// Reads such a line; what its labels are called is what collectors call the fields of JSON.
pub(crate) fn read(line: &str) -> Option<Inner> {
    let mut scan = Scan(line.as_bytes());
    let (at, _) = when::iso(&mut scan)?;
    scan.tag(b" {")?;
    let (mut fields, text) = labels(&line[line.len() - scan.0.len()..])?;
    fields.insert("line".to_owned(), text.into());
    let inner = json::of_object(&Value::Object(fields))?;
    Some(Inner { when: When { boot_ns: None, wall: Some(Wall::Absolute(at)) }, ..inner })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut text: &str) -> Option<(Map<String, Value>, &str)> {
    let mut labels = Map::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest.strip_prefix(' ')?));
        }
        let (name, rest) = text.split_once("=\"")?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        let (value, rest) = quoted(rest)?;
        labels.insert(name.to_owned(), value.into());
        text = rest.strip_prefix(", ").unwrap_or(rest);
    }
}

/// The value before its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_where_and_by_whom_a_line_was_logged() {
        let line = "2026-11-23T23:20:49.5+01:00 {node_name=\"node-1\", note=\"a \\\"}\\\" b\", syslog_identifier=\"kernel\"} text {x}";
        let inner = read(line).expect("a line");
        assert_eq!((inner.line.as_str(), inner.host.as_deref()), ("text {x}", Some("node-1")));
        assert_eq!(inner.speakers, ["kernel"]);
        assert_eq!(inner.when.wall, Some(Wall::Absolute("2026-11-23T22:20:49.5Z".parse().expect("a time"))));
    }

    #[test]
    fn there_may_be_no_labels_and_what_is_no_such_line_is_left_alone() {
        assert_eq!(read("2026-11-23T23:20:49Z {} text").map(|inner| inner.line).as_deref(), Some("text"));
        for other in [
            "2026-11-23T23:20:49Z {\"a\":1}",
            "2026-11-23T23:20:49Z {a=\"b\"",
            "2026-11-23T23:20:49Z {a=\"b",
            "2026-11-23T23:20:49Z {a b=\"c\"} text",
            "{} text",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
