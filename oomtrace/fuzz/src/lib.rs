//! What is done with any bytes, one function for each thing that oomtrace reads from outside. A panic is a finding, and so is
//! a broken promise, a hang, or memory without bounds.
//!
//! The functions know nothing of a fuzzer: the ordinary tests call them, too (`oomtrace/tests/fuzz.rs`).

use bytes::Bytes;
use jiff::{Timestamp, tz::TimeZone};
use oomtrace::{
    clock::WallClock,
    event::{Line, Moment, Observation},
    live::open_incidents::Left,
    node::{
        cgroup_path::CgroupIdentity, kubelet_answers, kubelet_settings::Layer, names, node_object::NodeObject,
        pod_specs,
    },
    probe::tracefs::FlagNames,
    quantity::Quantity,
    sink::{Format, Look},
    source::{
        journal::{self, Terms},
        kernel::{self, Joiner, decode},
        kernel_log::{self, Clock, Events},
        kubelet_log::{Calendar, LogReader},
    },
    timeline::{Background, Keep, Timeline},
};

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// Each of them, by the name of its seeds' folder.
pub const ALL: [(&str, Target); 10] = [
    ("kernel_log", kernel_log),
    ("kubelet_log", kubelet_log),
    ("event_line", event_line),
    ("cgroup_path", cgroup_path),
    ("records", records),
    ("quantity", quantity),
    ("journal_file", journal_file),
    ("kubelet_answers", kubelet_answers),
    ("runtime_files", runtime_files),
    ("state_file", state_file),
];

/// A kernel log in any form.
pub fn kernel_log(data: &[u8]) {
    let mut events = Events::new(Clock::default(), kernel_log::Machine::default());
    let mut reported: Vec<Observation> =
        data.split(|byte| *byte == b'\n').flat_map(|line| events.push_line(line)).collect();
    reported.extend(events.finish());
    print(reported);
}

/// A kubelet's log in any form, in pieces as a pipe hands them out.
pub fn kubelet_log(data: &[u8]) {
    let calendar = Calendar { not_after: Timestamp::UNIX_EPOCH, zone: TimeZone::UTC };
    let Ok(mut reader) = LogReader::new(calendar, Vec::new()) else { return };
    let mut reported = Vec::new();
    for piece in data.chunks(4096) {
        reader.push(piece, &mut reported);
    }
    reader.finish(&mut reported);
    print(reported);
}

/// A recording: lines that oomtrace printed, or that somebody wrote who can write a file.
pub fn event_line(data: &[u8]) {
    let mut timeline =
        Timeline::new(Keep { evidence: 64, context: 64 }, Background { everything: true, ..Background::default() });
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(line) = serde_json::from_slice::<Line>(line) {
            print_line(&line);
            timeline.push(&line);
        }
    }
    timeline.finish();
    for ended in timeline.settle(None).incidents {
        let _ = serde_json::to_string(&ended.incident);
    }
}

/// A cgroup's path.
pub fn cgroup_path(data: &[u8]) {
    let path = String::from_utf8_lossy(data);
    let _ = CgroupIdentity::parse(&path);
    if let Some((node, path)) = path.split_once('\n') {
        let _ = CgroupIdentity::parse_within(node, path);
    }
}

/// Records of the ring buffer: each the length of the next in a byte, in units of 8, and then its bytes.
pub fn records(mut data: &[u8]) {
    let mut joiner = Joiner::new(kernel::Machine {
        page_size: 4096,
        cgroup_version: Some(2),
        gfp_flags: FlagNames::default(),
        sees_signals: true,
        sees_marks: true,
        sees_charges: kernel::SeesCharges { attempts: true, failed: true, ooms: true },
    });
    let mut reported = Vec::new();
    while let [units, rest @ ..] = data {
        let (record, rest) = rest.split_at((usize::from(*units) * 8).min(rest.len()));
        if let Ok(record) = decode(&Bytes::copy_from_slice(record)) {
            reported.extend(joiner.push(record));
        }
        data = rest;
    }
    reported.extend(joiner.flush());
    print(reported);
}

/// A file of the journal: what is read of it can be read as a log.
pub fn journal_file(data: &[u8]) {
    let terms = Terms::of_units(&["kubelet".to_owned()]);
    if let Ok((printed, _)) = journal::print(data, terms, &["MESSAGE", "SYSLOG_IDENTIFIER", "_COMM", "_PID"]) {
        assert!(printed.is_empty() || printed.starts_with(b"__CURSOR="), "entries begin with something else");
        kubelet_log(&printed);
    }
}

/// A quantity of a pod's manifest or a kubelet's message.
pub fn quantity(data: &[u8]) {
    let _ = String::from_utf8_lossy(data).parse::<Quantity>().map(Quantity::to_u64);
}

/// Whatever the kubelet and the API server answer.
pub fn kubelet_answers(data: &[u8]) {
    let _ = names::kubelet::parse(data);
    let _ = pod_specs::parse(data);
    let _ = NodeObject::parse(data);
    let _ = Layer::of_configz("kubelet", data);
    let _ = kubelet_answers::Summary::parse(data);
    let _ = kubelet_answers::metrics(data, 0);
}

/// The files in which runtimes keep what they know of containers.
pub fn runtime_files(data: &[u8]) {
    let _ = names::engine::docker(data);
    let _ = names::storage::parse(data);
    if let Ok(id) = "c".repeat(64).parse() {
        let _ = names::oci::parse(id, data);
    }
}

/// What the next start goes on from: in its own boot, and in another.
pub fn state_file(data: &[u8]) {
    for boot in ["b", "another"] {
        let mut timeline = Timeline::new(Keep { evidence: 64, context: 64 }, Background::default());
        let (left, _) = Left::parse(data, boot);
        let again = left.go_on(&mut timeline, WallClock::now());
        for incident in again.incidents.into_iter().chain(timeline.finish()) {
            let _ = serde_json::to_string(&incident);
        }
    }
}

/// Every event can be printed.
fn print(reported: Vec<Observation>) {
    for Observation { source, at, event } in reported {
        let (ts, boot_ns) = match at {
            Moment::Boot(boot_ns) => (Timestamp::UNIX_EPOCH, Some(boot_ns)),
            Moment::Wall(wall) => (wall, None),
        };
        let line = Line { ts: ts.to_string(), seq: 1, node: "node".to_owned(), source, boot_ns, event };
        print_line(&line);
    }
}

/// A line is read back as it was, and cannot speak to a terminal.
fn print_line(line: &Line) {
    let json = Format::Json.print(line, Look::plain());
    let read: Line = serde_json::from_str(&json).expect("what was printed can be read");
    assert_eq!(Format::Json.print(&read, Look::plain()), json, "it is read as something else");
    for look in [Look::plain(), Look::plain().with_details(true).with_width(40).in_ascii()] {
        let text = Format::Text.print(line, look);
        let control = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "a control character is printed: {text:?}");
    }
}
