//! The events in texts of real nodes: public reports, and the captures of kernels' logs beside them. `tests/expected` has a file for
//! each, a line for each event, and what was counted; what changes is seen in a diff. The same events are what `oomtrace-timeline`
//! makes its incidents of in its own test.
//!
//! With `OOMTRACE_GOLDEN_BLESS` set what is read now becomes what is expected.

use std::{
    env,
    fmt::{Debug, Write as _},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};
use oomtrace_logs::{
    container_log,
    envelope::learnt::{Peeled, Peeler, Plan},
    kernel_log::{Clock, Events, KernelLines, Machine, is_export},
    kubectl,
    kubelet_log::{Calendar, KubeletLines, LogReader},
};
use oomtrace_model::{Line, Moment, Observation, rfc3339, snapshot::Snapshot};
use serde_json::Value;

/// Times without a year are of the year before.
const LATEST: &str = "2026-06-01T00:00:00Z";

/// Folders of the captures.
const FOLDERS: [&str; 6] =
    ["reports", "kernel-log", "live", "evict-1.20-systemd", "evict-1.36-systemd", "oomkill-1.36-systemd"];

#[test]
fn the_events_of_every_text_are_those_expected() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = room.with_file_name("tests").join("data");
    let mut texts: Vec<PathBuf> = FOLDERS.iter().flat_map(|folder| files(&data.join(folder))).collect();
    // Those are no logs, but what was made of them.
    texts.retain(|path| !path.to_string_lossy().contains(".jsonl"));
    assert!(texts.len() > 100, "{} texts", texts.len());
    let (expected, bless) = (room.join("tests/expected"), env::var_os("OOMTRACE_GOLDEN_BLESS").is_some());
    if bless {
        let _ = fs::remove_dir_all(&expected);
        fs::create_dir_all(&expected).expect("a folder");
    }
    let mut differences = String::new();
    for text in &texts {
        let name = text.strip_prefix(&data).expect("a text of ours").display().to_string().replace('/', ".");
        let read = read(&unpacked(text));
        let file = expected.join(format!("{name}.jsonl"));
        if bless {
            fs::write(&file, &read).expect("a file");
        } else if fs::read_to_string(&file).unwrap_or_default() != read {
            let _ = writeln!(differences, "{name}: other events than in {}; now\n{read}", file.display());
        }
    }
    assert_eq!(files(&expected).len(), texts.len(), "a file is expected for each text");
    assert!(differences.is_empty(), "{differences}\nif this is as it should be: cargo xtask golden --bless");
}

/// The files of a folder and of those below it, by their names; what a report is expected to say is not a text.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    found.sort();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    found.retain(|path| path.file_name().is_some_and(|name| name != "expect.json"));
    found.into_iter().flat_map(below).collect()
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).expect("a file");
    if path.extension().is_some_and(|extension| extension == "zst") {
        let packed = std::mem::take(&mut bytes);
        let mut decoder = ruzstd::decoding::StreamingDecoder::new(packed.as_slice()).expect("a zstd file");
        decoder.read_to_end(&mut bytes).expect("a whole file");
    }
    bytes
}

/// All that the readers make of a text, whatever it is.
fn read(text: &[u8]) -> String {
    let mut printed = String::new();
    of_kernel(text, &mut printed);
    of_kubelet(text, &mut printed);
    of_kubectl(text, &mut printed);
    if let Some(words) = container_log::last_words(text) {
        count(&mut printed, "last words", &words);
    }
    printed
}

fn of_kernel(text: &[u8], printed: &mut String) {
    let wanted = || KernelLines::new().expect("patterns");
    let clock = Clock { latest: LATEST.parse().ok(), ..Clock::default() };
    let (mut events, mut found) = (Events::new(clock, Machine::default()), Vec::new());
    let plan = Plan::learn(text, &wanted());
    if is_export(text) {
        found.extend(events.push_export(text));
    } else if plan.is_plain() {
        lines(text).for_each(|line| found.extend(events.push_line(line)));
    } else {
        let mut peeler = Peeler::new(plan.clone(), wanted());
        let mut whole = |line: Peeled<'_>| found.extend(events.push_line_of(&line.line, line.wall));
        lines(text).for_each(|line| peeler.push(line, &mut whole));
        peeler.finish(&mut whole);
    }
    found.extend(events.finish());
    for event in found {
        print(event, printed);
    }
    count(printed, "kernel", &(plan.in_words(), events.hosts(), events.statistics()));
}

fn of_kubelet(text: &[u8], printed: &mut String) {
    let calendar = Calendar { not_after: LATEST.parse().expect("a time"), zone: TimeZone::UTC };
    let mut reader = LogReader::new(calendar, Vec::new()).expect("patterns");
    let (plan, mut found) = (Plan::learn(text, &KubeletLines), Vec::new());
    if plan.is_plain() {
        reader.push(text, &mut found);
    } else {
        let mut peeler = Peeler::new(plan.clone(), KubeletLines);
        let mut whole = |line: Peeled<'_>| reader.read_line_of(&line.line, line.wall, &mut found);
        lines(text).for_each(|line| peeler.push(line, &mut whole));
        peeler.finish(&mut whole);
    }
    reader.finish(&mut found);
    for event in found {
        print(event, printed);
    }
    count(printed, "kubelet", &(plan.in_words(), reader.counts()));
}

fn of_kubectl(text: &[u8], printed: &mut String) {
    let mut snapshot = Snapshot::default();
    let Ok(found) = kubectl::read(text, &mut snapshot) else { return };
    let happened = kubectl::lines::lines(&snapshot);
    for line in &happened.lines {
        print_line(line, printed);
    }
    count(printed, "kubectl", &(found, happened.untimed, happened.lost, happened.unreadable));
    if !found.is_empty() {
        count(printed, "known", &snapshot);
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n')
}

/// An event as the line that it becomes. A time since a boot counts from the day before.
fn print(Observation { source, at, event }: Observation, into: &mut String) {
    let latest: Timestamp = LATEST.parse().expect("a time");
    let (ts, boot_ns) = match at {
        Moment::Wall(at) => (at, None),
        Moment::Boot(ns) => {
            (latest - jiff::SignedDuration::from_hours(24) + std::time::Duration::from_nanos(ns), Some(ns))
        }
    };
    print_line(&Line { ts: rfc3339(ts), seq: 0, node: "node".to_owned(), source, boot_ns, event }, into);
}

fn print_line(line: &Line, into: &mut String) {
    let mut value = serde_json::to_value(line).expect("a line is JSON");
    leave_out_what_is_not_known(&mut value);
    let _ = writeln!(into, "{value}");
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

fn count(into: &mut String, of: &str, what: &dyn Debug) {
    let _ = writeln!(into, "# {of}: {what:?}");
}
