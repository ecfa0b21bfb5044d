//! What is read of the journal's files, beside what `journalctl -o json` prints of the same.
//!
//! Needs what `kubelet_journal.rs` needs; `OOMTRACE_JOURNALCTL` may name another `journalctl`.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use oomtrace::source::journal::{JournalFile, Place, Reader, Taken, Terms};
use serde_json::Value;

const FIELDS: &[&str] = &["MESSAGE", "SYSLOG_IDENTIFIER", "_COMM", "_PID"];
/// Those that are compared besides; the first says which entry it is, wherever it is printed.
const ALWAYS: [&str; 3] = ["__CURSOR", "__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP"];
const BOOT: &str = "2d2f3db61ac04566ac083baf40c46441";

type Entry = BTreeMap<String, Vec<u8>>;

/// What writes a journal, and what reads it.
struct Systemd {
    writer: PathBuf,
    journalctl: PathBuf,
}

impl Systemd {
    fn find() -> Option<Self> {
        let named = |name: &str| env::var_os(name).map(PathBuf::from);
        let usual =
            ["/usr/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-remote"].map(PathBuf::from);
        let writer = named("OOMTRACE_JOURNAL_REMOTE").into_iter().chain(usual).find(|path| path.exists());
        let journalctl = named("OOMTRACE_JOURNALCTL").unwrap_or_else(|| "journalctl".into());
        let runs = Command::new(&journalctl).arg("--version").stdout(Stdio::null()).status().is_ok();
        if writer.is_none() || !runs {
            eprintln!("SKIPPED: needs journalctl and systemd-journal-remote, which are not here");
        }
        Some(Self { writer: writer?, journalctl }).filter(|_| runs)
    }

    /// Adds entries to a file, by these of systemd's variables.
    fn write(&self, file: &Path, entries: &[u8], variables: &[(&str, &str)]) {
        let export = file.with_extension("export");
        fs::write(&export, entries).expect("written");
        let mut command = Command::new(&self.writer);
        command.arg("-o").arg(file).arg(&export).envs(variables.iter().copied()).stderr(Stdio::null());
        assert!(command.status().expect("it runs").success());
        fs::remove_file(export).expect("removed");
    }

    fn read(&self, folder: &Path, units: &[String]) -> Vec<Entry> {
        let mut command = Command::new(&self.journalctl);
        command
            .args(["--all", "--quiet", "--output=json", "--output-fields"])
            .arg(FIELDS.join(","))
            .arg("--directory")
            .arg(folder);
        command.args(units.iter().map(|unit| format!("--unit={unit}")));
        let printed = command.output().expect("it runs").stdout;
        let lines = printed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| of_json(serde_json::from_slice(line).expect("JSON"))).collect()
    }
}

fn of_json(entry: BTreeMap<String, Value>) -> Entry {
    let bytes = |value: Value| match value {
        Value::String(text) => text.into_bytes(),
        Value::Array(bytes) => {
            bytes.iter().map(|byte| u8::try_from(byte.as_u64().expect("a byte")).expect("a byte")).collect()
        }
        other => unreachable!("{other}"),
    };
    let kept = |name: &String| ALWAYS.contains(&name.as_str()) || FIELDS.contains(&name.as_str());
    entry.into_iter().filter(|(name, _)| kept(name)).map(|(name, value)| (name, bytes(value))).collect()
}

/// Entries in the export format.
fn of_export(mut bytes: &[u8]) -> Vec<Entry> {
    let (mut entries, mut entry) = (Vec::new(), Entry::new());
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        bytes = rest;
        if line.is_empty() {
            entries.push(std::mem::take(&mut entry));
            continue;
        }
        let (name, value) = if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            (&line[..equals], &line[equals + 1..])
        } else {
            let (size, rest) = bytes.split_at(8);
            let size = usize::try_from(u64::from_le_bytes(size.try_into().expect("eight"))).expect("small");
            bytes = &rest[size + 1..];
            (line, &rest[..size])
        };
        entry.insert(String::from_utf8(name.to_vec()).expect("a name"), value.to_vec());
    }
    entries
}

fn units() -> Vec<String> {
    ["kubelet", "containerd.service", "none"].map(str::to_owned).to_vec()
}

fn open(folder: &Path) -> Reader {
    Reader::open(Place::Folder(folder.to_owned()), Terms::of_units(&units()), FIELDS).expect("a journal")
}

fn past(reader: &mut Reader, most: usize) -> (Vec<Entry>, Taken) {
    let mut printed = Vec::new();
    let give = |entry: &[u8]| -> Result<(), Infallible> {
        printed.extend_from_slice(entry);
        Ok(())
    };
    let mut give = give;
    let Ok(taken) = reader.past(most, |_, _| true, |entry, _, _| give(entry));
    (of_export(&printed), taken)
}

fn new(reader: &mut Reader) -> (Vec<Entry>, Taken) {
    let mut printed = Vec::new();
    let Ok(taken) = reader.take(|entries| -> Result<(), Infallible> {
        printed.extend_from_slice(entries);
        Ok(())
    });
    (of_export(&printed), taken)
}

/// An entry for the writer; `number` makes its times.
fn entry(number: u64, fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut head = String::new();
    let _ = write!(
        head,
        "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={BOOT}\n_MACHINE_ID=58eb296b506d43b286e3c8c78019b52d\n",
        1_700_000_000_000_000 + number,
        1_000_000 + number
    );
    let mut entry = head.into_bytes();
    for (name, value) in fields {
        entry.extend_from_slice(name.as_bytes());
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        entry.extend_from_slice(value);
        entry.push(b'\n');
    }
    entry.push(b'\n');
    entry
}

/// Entries of all kinds: of the units and of others, short and long, text and not, and those that only look as if they were.
fn entries(from: u64, count: u64) -> Vec<u8> {
    let mut all = Vec::new();
    for number in from..from + count {
        let word = format!("{number} pod \"shop/web-{number}\" ");
        let message = match number % 7 {
            0 => word.repeat(40),
            1 => word.repeat(4000),
            2 => format!("first line\nsecond line of {number}\n"),
            _ => word,
        };
        let not_text = [0xff, 0xfe, 0, b'\n', b'x', u8::try_from(number % 256).expect("a byte")];
        let message = if number % 11 == 3 { &not_text[..] } else { message.as_bytes() };
        let pid = number.to_string();
        let of: &[(&str, &[u8])] = match number % 9 {
            0..=2 => &[("_SYSTEMD_UNIT", b"kubelet.service"), ("_COMM", b"kubelet")],
            3 => &[("_SYSTEMD_UNIT", b"containerd.service"), ("SYSLOG_IDENTIFIER", b"containerd")],
            4 => &[("UNIT", b"kubelet.service"), ("_PID", b"1"), ("_SYSTEMD_CGROUP", b"/init.scope")],
            5 => &[("UNIT", b"kubelet.service"), ("_COMM", b"forger")],
            6 => &[("OBJECT_SYSTEMD_UNIT", b"containerd.service"), ("_UID", b"0")],
            7 => &[("OBJECT_SYSTEMD_UNIT", b"containerd.service"), ("_UID", b"1000")],
            _ => &[("_SYSTEMD_UNIT", b"app.service"), ("SYSLOG_IDENTIFIER", b"kubelet")],
        };
        let mut fields: Vec<(&str, &[u8])> = vec![("MESSAGE", message)];
        fields.extend(of);
        if number % 9 != 4 {
            fields.push(("_PID", pid.as_bytes()));
        }
        all.extend(entry(number, &fields));
    }
    all
}

/// Every form that systemd 257 writes; older ones write some of them, and pass over the rest.
fn forms() -> Vec<[(&'static str, &'static str); 3]> {
    let mut forms = Vec::new();
    for compact in ["0", "1"] {
        for keyed in ["0", "1"] {
            for compress in ["0", "LZ4", "ZSTD"] {
                forms.push([
                    ("SYSTEMD_JOURNAL_COMPACT", compact),
                    ("SYSTEMD_JOURNAL_KEYED_HASH", keyed),
                    ("SYSTEMD_JOURNAL_COMPRESS", compress),
                ]);
            }
        }
    }
    forms
}

#[test]
fn every_form_of_file_is_read_as_journalctl_reads_it() {
    let Some(systemd) = Systemd::find() else { return };
    for form in forms() {
        let folder = tempfile::tempdir().expect("a folder");
        systemd.write(&folder.path().join("system.journal"), &entries(0, 1500), &form);
        systemd.write(&folder.path().join("user-1000.journal"), &entries(2000, 200), &form);
        let theirs = systemd.read(folder.path(), &units());
        let (ours, taken) = past(&mut open(folder.path()), usize::MAX >> 1);
        assert_eq!(taken, Taken::default(), "{form:?}");
        assert!(theirs.len() > 900, "{form:?}: {}", theirs.len());
        assert_eq!(ours.len(), theirs.len(), "{form:?}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{form:?}");
        }
        let (last, _) = past(&mut open(folder.path()), 100);
        assert_eq!(last, theirs[theirs.len() - 100..], "{form:?}");
    }
}

#[test]
fn what_is_written_later_is_read_once_across_rotation_and_deletion() {
    let Some(systemd) = Systemd::find() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    systemd.write(&path("system.journal"), &entries(0, 50), &[]);
    let mut reader = open(folder.path());
    let (before, _) = past(&mut reader, 5000);
    assert_eq!(before, systemd.read(folder.path(), &units()));
    assert!(new(&mut reader).0.is_empty());
    let mut seen = Vec::new();
    systemd.write(&path("system.journal"), &entries(100, 50), &[]);
    seen.extend(new(&mut reader).0);
    // Written, renamed and followed by another between two looks, and that one by another.
    systemd.write(&path("system.journal"), &entries(200, 300), &[]);
    fs::rename(path("system.journal"), path("system@1.journal")).expect("renamed");
    systemd.write(&path("system.journal"), &entries(600, 50), &[]);
    seen.extend(new(&mut reader).0);
    fs::remove_file(path("system@1.journal")).expect("removed");
    systemd.write(&path("system.journal"), &entries(700, 50), &[]);
    // journald copies what is in /run to /var.
    let copy: Vec<u8> =
        [(0, 50), (100, 50), (600, 50), (700, 60)].iter().flat_map(|(from, count)| entries(*from, *count)).collect();
    seen.extend(new(&mut reader).0);
    systemd.write(&path("copy.journal"), &copy, &[]);
    seen.extend(new(&mut reader).0);
    let times: Vec<_> = seen.iter().map(|entry| entry["__REALTIME_TIMESTAMP"].clone()).collect();
    let all =
        [(100_u64, 50), (200, 300), (600, 50), (700, 60)].into_iter().flat_map(|(from, count)| from..from + count);
    let wanted = all.filter(|number| matches!(number % 9, 0..=4 | 6));
    let wanted: Vec<_> = wanted.map(|number| (1_700_000_000_000_000 + number).to_string().into_bytes()).collect();
    assert_eq!(times, wanted);
}

#[test]
fn an_entry_that_is_counted_before_its_unit_lists_it_is_read_once_it_does() {
    let Some(systemd) = Systemd::find() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("system.journal");
    systemd.write(&path, &entries(0, 10), &[("SYSTEMD_JOURNAL_COMPACT", "0")]);
    let mut reader = open(folder.path());
    let _ = past(&mut reader, 5000);
    systemd.write(&path, &entries(18, 1), &[("SYSTEMD_JOURNAL_COMPACT", "0")]);
    let whole = fs::read(&path).expect("read");
    // A data object's text follows 64 bytes, of which the last 8 count its entries.
    let unit = b"_SYSTEMD_UNIT=kubelet.service";
    let text = whole.windows(unit.len()).position(|bytes| bytes == unit).expect("the unit's data object");
    let mut held_up = whole.clone();
    assert!(held_up[text - 8] > 1);
    held_up[text - 8] -= 1;
    fs::write(&path, held_up).expect("written");
    assert_eq!(new(&mut reader), (Vec::new(), Taken::default()));
    assert_eq!(new(&mut reader), (Vec::new(), Taken::default()));
    fs::write(&path, whole).expect("written");
    let (read, taken) = new(&mut reader);
    assert_eq!((read.len(), taken), (1, Taken::default()));
    assert_eq!(new(&mut reader), (Vec::new(), Taken::default()));
}

#[test]
fn a_file_that_is_being_made_is_waited_for_and_said_to_be_damaged_only_when_it_stays_so() {
    let Some(systemd) = Systemd::find() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("system.journal");
    systemd.write(&path, &entries(0, 10), &[]);
    let whole = fs::read(&path).expect("read");
    for made in [0, 100, 272] {
        // The header first, the place of its table last: bytes 104 to 120.
        let mut file = whole[..made].to_vec();
        if made > 120 {
            file[104..120].fill(0);
        }
        fs::write(&path, &file).expect("written");
        let mut reader = open(folder.path());
        assert_eq!(new(&mut reader), (Vec::new(), Taken::default()));
        fs::write(&path, &whole).expect("written");
        // The folder did not change: it is looked through every 2 s.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        let (read, taken) = new(&mut reader);
        assert_eq!((read.len(), taken), (7, Taken::default()), "{made}");
    }
    fs::write(&path, &whole[..100]).expect("written");
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    fs::File::open(&path).and_then(|file| file.set_modified(hour_ago)).expect("its time is set");
    let refused = Reader::open(Place::Folder(folder.path().to_owned()), Terms::of_units(&units()), FIELDS);
    assert!(refused.err().expect("refused").to_string().contains("its header is torn"));
}

#[test]
fn a_torn_file_gives_what_is_whole_and_says_what_is_not() {
    let Some(systemd) = Systemd::find() else { return };
    for form in [forms()[1], forms()[11]] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("system.journal");
        systemd.write(&path, &entries(0, 400), &form);
        let whole = fs::read(&path).expect("read");
        let (all, _) = past(&mut open(folder.path()), 5000);
        let used = whole.iter().rposition(|byte| *byte != 0).expect("something");
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).expect("small") % below
        };
        for round in 0..300 {
            let mut torn = whole.clone();
            if round % 2 == 0 {
                torn.truncate(random(used));
            } else {
                for _ in 0..=round {
                    let at = random(used);
                    torn[at] = u8::try_from(random(256)).expect("a byte");
                }
            }
            fs::write(&path, &torn).expect("written");
            let place = Place::Folder(folder.path().to_owned());
            let Ok(mut reader) = Reader::open(place, Terms::of_units(&units()), FIELDS) else { continue };
            let (read, taken) = past(&mut reader, 5000);
            assert!(read.len() <= all.len());
            if round % 2 == 0 {
                assert!(read.iter().all(|entry| all.contains(entry)), "something was made up");
                assert!(
                    read.len() == all.len() || taken.lost > 0 || !taken.trouble.is_empty(),
                    "nothing was said: {round}"
                );
            }
            let _ = new(&mut reader);
        }
    }
}

#[test]
fn what_is_not_known_is_named() {
    let Some(systemd) = Systemd::find() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("system.journal");
    systemd.write(&path, &entries(0, 10), &[]);
    let mut file = fs::read(&path).expect("read");
    file[12] |= 0x40;
    fs::write(&path, file).expect("written");
    let refused = Reader::open(Place::Folder(folder.path().to_owned()), Terms::of_units(&units()), FIELDS);
    let refused = refused.err().expect("refused").to_string();
    assert!(refused.contains("system.journal") && refused.contains("incompatible flags 0x40"), "{refused}");
    assert!(JournalFile::open(&b"not a journal"[..]).is_err());

    let folder = tempfile::tempdir().expect("a folder");
    systemd.write(&folder.path().join("system.journal"), &entries(0, 10), &[("SYSTEMD_JOURNAL_COMPRESS", "XZ")]);
    let (read, taken) = past(&mut open(folder.path()), 5000);
    if !taken.trouble.is_empty() {
        assert!(taken.trouble[0].contains("XZ"), "{taken:?}");
        assert!(read.iter().any(|entry| !entry.contains_key("MESSAGE")));
    }
}
