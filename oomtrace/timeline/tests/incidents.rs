//! The incidents of real nodes: of recordings, and of the events that `oomtrace-logs` expects in texts of real nodes. `tests/expected`
//! has a file for each, a line for each incident; what changes is seen in a diff.
//!
//! With `OOMTRACE_GOLDEN_BLESS` set what is made now becomes what is expected.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use oomtrace_model::{Event, Incident, Line};
use oomtrace_timeline::{Background, Ended, Keep, Replay, Timeline};
use serde_json::Value;

#[test]
fn the_incidents_of_every_recording_are_those_expected() {
    let data = beside("tests/data");
    let recordings: Vec<_> = ["live", "recordings"].iter().flat_map(|folder| files(&data.join(folder))).collect();
    let recordings = recordings.iter().filter(|path| path.to_string_lossy().contains(".jsonl"));
    compare("recordings", &data, recordings, |lines| {
        let mut replay = Replay::default();
        lines.iter().filter(|line| !matches!(line.event, Event::Incident(_))).for_each(|line| replay.push(line));
        replay.finish().0.into_iter().map(|(_, incident)| incident).collect()
    });
}

#[test]
fn the_incidents_of_every_text_are_those_expected() {
    let texts = beside("logs/tests/expected");
    compare("texts", &texts, files(&texts).iter(), |mut lines| {
        lines.sort_by(|a, b| a.ts.cmp(&b.ts));
        let mut timeline = Timeline::new(Keep::ALL, Background { everything: true, ..Background::default() });
        for line in lines {
            timeline.push_owned(line.ts.parse::<Timestamp>().expect("a time"), line);
        }
        timeline.settle(None).incidents.into_iter().map(|Ended { incident, .. }| incident).collect()
    });
}

/// A folder of another room.
fn beside(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(folder)
}

fn compare<'a>(
    kind: &str,
    base: &Path,
    inputs: impl Iterator<Item = &'a PathBuf>,
    incidents: impl Fn(Vec<Line>) -> Vec<Incident>,
) {
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(kind);
    let bless = env::var_os("OOMTRACE_GOLDEN_BLESS").is_some();
    if bless {
        let _ = fs::remove_dir_all(&expected);
        fs::create_dir_all(&expected).expect("a folder");
    }
    let (mut count, mut differences) = (0, String::new());
    for input in inputs {
        count += 1;
        let mut printed = String::new();
        for incident in incidents(lines(input)) {
            let mut value = serde_json::to_value(incident).expect("an incident is JSON");
            leave_out_what_is_not_known(&mut value);
            let _ = writeln!(printed, "{value}");
        }
        let within = input.strip_prefix(base).expect("one of the folder").display().to_string().replace('/', ".");
        let name = within.trim_end_matches(".zst").trim_end_matches(".jsonl");
        let file = expected.join(format!("{name}.jsonl"));
        if bless {
            fs::write(&file, &printed).expect("a file");
        } else if fs::read_to_string(&file).unwrap_or_default() != printed {
            let _ = writeln!(differences, "{name}: other incidents than in {}; now\n{printed}", file.display());
        }
    }
    assert!(count > 10, "{count} inputs");
    assert_eq!(files(&expected).len(), count, "a file is expected for each input");
    assert!(differences.is_empty(), "{differences}\nif this is as it should be: cargo xtask golden --bless");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    found.sort();
    found
}

/// The lines of a file; those that begin with # are comments.
fn lines(path: &Path) -> Vec<Line> {
    let mut text = fs::read(path).expect("a file");
    if path.extension().is_some_and(|extension| extension == "zst") {
        let packed = std::mem::take(&mut text);
        let mut decoder = ruzstd::decoding::StreamingDecoder::new(packed.as_slice()).expect("a zstd file");
        decoder.read_to_end(&mut text).expect("a whole file");
    }
    let text = String::from_utf8(text).expect("text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| serde_json::from_str(line).expect("a line of oomtrace's")).collect()
}

fn leave_out_what_is_not_known(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(leave_out_what_is_not_known);
        }
        Value::Array(list) => list.iter_mut().for_each(leave_out_what_is_not_known),
        _ => {}
    }
}
