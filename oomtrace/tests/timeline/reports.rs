//! `oomtrace timeline` on small inputs of the kinds that people paste into reports: each folder of `tests/data/reports` has
//! its input files and an `expect.json`.
//!
//! | key of `expect.json` | what it says |
//! |---|---|
//! | `about` | what the input is |
//! | `args` | the arguments of `oomtrace timeline`; paths are relative to the folder |
//! | `incidents` | incidents that have to be reported; each has to be there, others may be, too |
//! | `count` | how many incidents there are |
//! | `none_of` | scenarios that no incident may have |
//! | `stderr` | patterns that standard error matches |
//! | `exit` | the exit status, 0 if it is not given |
//!
//! The keys of an incident are dotted paths into its JSON, those of a verdict without `verdict.`; a list of values means any
//! of them. Others are patterns, in which case is ignored: `FIELD_has` and `FIELD_lacks` for a text, `missing_has` for one
//! entry of `verdict.missing`; `started` is how the time begins; `confidence_at_most` a confidence.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::data;

const CONFIDENCES: [&str; 3] = ["low", "medium", "high"];

#[test]
fn what_people_paste_is_read_as_far_as_it_goes() {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(data("reports"))
        .expect("a folder of reports")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("expect.json").is_file())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "there are no reports");
    let faults: Vec<String> = folders.iter().flat_map(|folder| faults(folder)).collect();
    assert!(faults.is_empty(), "{} faults in {} reports:\n{}", faults.len(), folders.len(), faults.join("\n"));
}

/// What is wrong with the answer to the input in a folder.
fn faults(folder: &Path) -> Vec<String> {
    let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expect.json")).expect("expect.json"))
        .unwrap_or_else(|error| unreachable!("{name}/expect.json: {error}"));
    let output = Command::new(env!("CARGO_BIN_EXE_oomtrace"))
        .arg("timeline")
        .args(list(&expected["args"]).iter().filter_map(|argument| argument.as_str()))
        .args(["--format", "json"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("oomtrace runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let mut incidents = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if line["kind"] == "incident" {
            incidents.insert((line["node"].to_string(), line["id"].to_string()), line);
        }
    }
    let mut faults = Vec::new();
    for wanted in list(&expected["incidents"]) {
        let wrong = incidents.values().map(|incident| of_incident(incident, wanted)).min_by_key(Vec::len);
        faults.extend(wrong.unwrap_or_else(|| vec!["there is no incident".to_owned()]));
    }
    if let Some(count) = expected["count"].as_u64().filter(|count| *count != incidents.len() as u64) {
        faults.push(format!("{} incidents, not {count}", incidents.len()));
    }
    let scenarios = incidents.values().map(|incident| &incident["verdict"]["scenario"]);
    faults.extend(
        scenarios
            .filter(|scenario| list(&expected["none_of"]).contains(scenario))
            .map(|scenario| format!("{scenario}")),
    );
    let patterns = list(&expected["stderr"]).iter().filter_map(Value::as_str);
    faults.extend(
        patterns.filter(|pattern| !regex(pattern).is_match(&said)).map(|pattern| format!("stderr lacks {pattern:?}")),
    );
    let status = expected["exit"].as_i64().unwrap_or(0);
    if output.status.code().map(i64::from) != Some(status) {
        faults.push(format!("exit status {:?}, not {status}", output.status.code()));
    }
    if !faults.is_empty() {
        faults.push(format!("it said: {said}"));
    }
    faults.into_iter().map(|fault| format!("{name}: {fault}")).collect()
}

fn of_incident(incident: &Value, wanted: &Value) -> Vec<String> {
    let verdict = &incident["verdict"];
    let field = |path: &str| {
        let of_verdict = verdict.get(path).filter(|_| !path.contains('.'));
        of_verdict.unwrap_or_else(|| path.split('.').fold(incident, |value, key| &value[key])).clone()
    };
    let mut faults = Vec::new();
    for (key, expected) in wanted.as_object().expect("an object") {
        let found = match key.as_str() {
            "confidence_at_most" => {
                let rank = |value: &Value| CONFIDENCES.iter().position(|known| value == known);
                let found = field("confidence");
                (rank(&found) > rank(expected)).then_some(found)
            }
            "started" => {
                let found = field("started");
                let as_expected =
                    found.as_str().zip(expected.as_str()).is_some_and(|(at, start)| at.starts_with(start));
                (!as_expected).then_some(found)
            }
            "missing_has" => {
                let found = field("missing");
                let pattern = regex(expected.as_str().expect("a pattern"));
                let said = list(&found).iter().any(|entry| pattern.is_match(&text(entry)));
                (!said).then_some(found)
            }
            _ => {
                if let Some((path, how @ ("has" | "lacks"))) = key.rsplit_once('_') {
                    let found = text(&field(path));
                    let patterns = list(expected).iter().filter_map(Value::as_str);
                    let wrong = patterns.filter(|pattern| regex(pattern).is_match(&found) != (how == "has")).count();
                    (wrong > 0).then_some(Value::String(found))
                } else {
                    let mut found = field(key);
                    if key == "victim.pid" && &found != expected {
                        found = field("victim.tgid");
                    }
                    let any = expected.as_array().filter(|_| !found.is_array());
                    let same = any.map_or(&found == expected, |values| values.contains(&found));
                    (!same).then_some(found)
                }
            }
        };
        faults.extend(found.map(|found| format!("{key} is {found}, and has to be {expected}")));
    }
    faults
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn regex(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).case_insensitive(true).build().expect("a pattern")
}
