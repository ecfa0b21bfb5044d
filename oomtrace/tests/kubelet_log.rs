//! What the kubelet's logs of real nodes say, in each of the forms that they were kept in.

use std::{fs::File, io::Read as _, path::Path};

use jiff::{Timestamp, tz::TimeZone};
use oomtrace::{
    event::{Moment, Told},
    source::kubelet_log::{Calendar, Reader},
};

const CAPTURES: [&str; 3] = ["evict-1.20-systemd", "evict-1.36-systemd", "oomkill-1.36-systemd"];
const FORMS: [&str; 4] =
    ["kubelet.log", "kubelet.journal-short.log", "kubelet.journal-iso.log", "kubelet.journal.json"];

fn log(capture: &str, form: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(capture).join(format!("{form}.zst"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(file).expect("zstd").read_to_end(&mut bytes).expect("zstd");
    bytes
}

fn reader() -> Reader {
    let not_after: Timestamp = "2026-11-24T06:00:00Z".parse().expect("a time");
    Reader::new(Calendar { not_after, zone: TimeZone::UTC }, Vec::new()).expect("a reader")
}

fn read(bytes: &[u8]) -> Vec<Told> {
    let (mut reader, mut told) = (reader(), Vec::new());
    reader.push(bytes, &mut told);
    reader.finish(&mut told);
    assert_eq!((reader.counts().unreadable, reader.counts().undated, reader.counts().forged), (0, 0, 0));
    told
}

fn printed(told: &[Told]) -> String {
    let mut out = String::new();
    for told in told {
        let Moment::Wall(at) = told.at else { panic!("the kubelet tells wall time") };
        out += &format!("{at} {}\n", serde_json::to_string(&told.event).expect("JSON"));
    }
    out
}

#[test]
fn each_form_of_the_same_log_tells_the_same_events() {
    for capture in CAPTURES {
        let expected = printed(&read(&log(capture, FORMS[0])));
        for form in &FORMS[1..] {
            let found = printed(&read(&log(capture, form)));
            assert!(found == expected, "{capture} {form}");
        }
    }
}
