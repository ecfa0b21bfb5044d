//! Incidents that are open when oomtrace is killed: the next start goes on with them.
//!
//! With `--state-dir` each line that incidents are made of is appended to a file, and each time at which there was something to report
//! of them. The next start takes the same lines in again and passes over what was reported at those times, so that what it reports
//! itself follows on: the same `id`, the next `revision`, and as new what was not counted yet. Where the node was started meanwhile,
//! nothing can be added to these incidents any more, and they are closed.
//!
//! Outputs have threads of their own, so that what was reported just before the end may be here and never have come out. It is
//! reported once more, the same line with the same numbers: everything at least once.
//!
//! A record is a line: the CRC-32 of its JSON in 8 hexadecimal digits, a blank, and the JSON. What was not written whole is passed
//! over. The file is put aside where no incident is left that it could be needed for, and one that was put aside is kept, since what
//! led to an incident is older than the incident. An orderly end closes every incident, and says so in the last record.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    clock::{self, WallClock},
    confinement::Confinement,
    event::{Event, Incident, Line},
    sink::{News, Rotation, Writer},
    timeline::{EndAsIntended, Timeline},
};

/// The file, in the folder of `--state-dir`; the one that was put aside has `.1` behind its name.
const FILE: &str = "incidents.log";
/// A file that is no larger is not put aside: some 500 lines.
const SMALL: u64 = 1 << 20;
/// A file is put aside at this size even if incidents are open. One that began before the file of before has another `id` then
/// after oomtrace was killed.
const LARGE: u64 = 8 << 20;
/// By then outputs have written what they were given.
const WRITTEN_OUT: Duration = Duration::from_secs(1);
/// It is put aside when that is said, not by its size.
const ROTATION: Rotation = Rotation { bytes: 0, keep: 1 };

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    /// What the times in the records behind it are by.
    Clock { boot_id: String, wall: WallClock },
    /// A line that incidents are made of.
    Line(Box<Line>),
    /// What there was to report at this time was reported.
    Reported(Timestamp),
    /// All lines and reports before this have come out, but for so many.
    Out { but: usize },
    /// Every incident was closed.
    Closed,
}

/// [`Record::Line`] of a line that belongs to somebody else.
#[derive(Serialize)]
struct LineRecord<'a> {
    line: &'a Line,
}

/// A record as the file has it.
fn print(record: &impl Serialize) -> serde_json::Result<String> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())))
}

impl Record {
    /// `None` where it is damaged, or of another version of oomtrace that has other records.
    fn parse(line: &[u8]) -> Option<Self> {
        let (sum, json) = line.split_at_checked(8)?;
        let (sum, json) = (u32::from_str_radix(str::from_utf8(sum).ok()?, 16).ok()?, json.strip_prefix(b" ")?);
        let mut record = (crc32fast::hash(json) == sum).then(|| serde_json::from_slice(json).ok())??;
        if let Self::Line(line) = &mut record
            && let Event::OomKill(kill) | Event::OomDecision(kill) = &mut line.event
        {
            kill.complete_places();
        }
        Some(record)
    }
}

/// What oomtrace left behind when it was killed.
#[derive(Debug, Default)]
pub struct Left {
    records: Vec<Record>,
    /// How many lines and reports there are, and how many of them have come out for certain.
    reported: usize,
    out: usize,
    /// Whether it was in the boot that this is.
    in_this_boot: bool,
}

impl Left {
    /// Reads the files.
    fn read(file: &Path, boot_id: &str) -> io::Result<Self> {
        let mut bytes = Vec::new();
        for path in [put_aside(file), file.to_owned()] {
            match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => bytes.extend(read?),
            }
        }
        let (left, damaged) = Self::parse(&bytes, boot_id);
        if damaged > 0 {
            warn!("{}: {damaged} records are damaged and passed over: an incident may lack something", file.display());
        }
        Ok(left)
    }

    /// What the records say, and how many are damaged; nothing is left where the last run ended in an orderly way.
    #[must_use]
    pub fn parse(bytes: &[u8], boot_id: &str) -> (Self, usize) {
        let (mut left, mut damaged) = (Self::default(), 0);
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match Record::parse(line) {
                Some(Record::Closed) => left = Self::default(),
                Some(Record::Out { but }) => left.out = left.reported.saturating_sub(but),
                Some(record) => {
                    match &record {
                        Record::Clock { boot_id: of_record, .. } => left.in_this_boot = of_record == boot_id,
                        _ => left.reported += 1,
                    }
                    left.records.push(record);
                }
                None => damaged += 1,
            }
        }
        (left, damaged)
    }

    /// The lines that were reported.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.records.iter().filter_map(|record| match record {
            Record::Line(line) => Some(&**line),
            _ => None,
        })
    }

    /// Brings a timeline to where it was when oomtrace was killed, and the clock of it to this one. What may not have come out is given.
    /// If all that was in another boot, what is left to report of it is given, and the timeline stays as it is.
    pub fn go_on(self, timeline: &mut Timeline, wall: WallClock) -> Again {
        let mut of_then = Timeline::new(timeline.keep(), timeline.known().clone());
        let mut again = Again::default();
        let mut known: Option<WallClock> = None;
        let mut reported = 0;
        for record in self.records {
            match record {
                Record::Clock { wall, .. } => {
                    step(&mut of_then, known.replace(wall), wall);
                    continue;
                }
                Record::Line(line) => {
                    of_then.push(&line);
                    again.lines.extend((reported >= self.out).then_some(*line));
                }
                Record::Reported(at) => {
                    of_then.advance(at);
                    let (incidents, ends) = (of_then.news(), of_then.take_ends());
                    if reported >= self.out {
                        again.incidents.extend(incidents);
                        again.ends.extend(ends);
                    }
                }
                Record::Out { .. } | Record::Closed => {}
            }
            reported += 1;
        }
        if !self.in_this_boot {
            return Again { lines: Vec::new(), incidents: of_then.finish(), ends: of_then.take_ends() };
        }
        step(&mut of_then, known, wall);
        *timeline = of_then;
        again
    }
}

/// What is to be reported of before.
#[derive(Debug, Default)]
pub struct Again {
    /// Lines, as they were.
    pub lines: Vec<Line>,
    /// Incidents.
    pub incidents: Vec<Incident>,
    /// Ends of containers as Kubernetes intended them.
    pub ends: Vec<EndAsIntended>,
}

fn step(timeline: &mut Timeline, before: Option<WallClock>, now: WallClock) {
    let by = before.map_or(SignedDuration::ZERO, |before| now.set_since(before));
    if !by.is_zero() {
        timeline.step_clock(by);
    }
}

/// Keeps what the next start needs.
pub(super) struct OpenIncidents {
    path: PathBuf,
    boot_id: String,
    writer: Writer,
    /// So many bytes were written since the file was put aside.
    bytes: u64,
    incomplete: bool,
    /// How many lines and reports there were in this run; how many there were at some time; and of how many it is written that they
    /// have come out.
    reported: usize,
    at_a_time: Option<(Instant, usize)>,
    out: usize,
}

impl OpenIncidents {
    /// Reads what the last run left, and goes on behind it.
    pub(super) fn start(folder: &Path, confinement: &Confinement) -> anyhow::Result<(Self, Left)> {
        let boot_id = clock::boot_id().context("the boot's id cannot be read")?;
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let path = folder.join(FILE);
        let left = Left::read(&path, &boot_id).with_context(|| format!("{} cannot be read", path.display()))?;
        if left.in_this_boot { end_last_record(&path) } else { remove(&path).and_then(|()| remove(&put_aside(&path))) }
            .with_context(|| format!("{} cannot be written", path.display()))?;
        let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let writer = Writer::file(&path, ROTATION, confinement)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        let (reported, at_a_time, out) = (0, None, 0);
        Ok((Self { path, boot_id, writer, bytes, incomplete: false, reported, at_a_time, out }, left))
    }

    /// What the times of all that follows are by.
    pub(super) fn set_clock(&mut self, wall: WallClock) {
        let boot_id = self.boot_id.clone();
        self.append(&Record::Clock { boot_id, wall });
    }

    /// Keeps a line, if incidents are made of such.
    pub(super) fn keep(&mut self, line: &Line) {
        if Timeline::uses(&line.event) {
            self.append(&LineRecord { line });
            self.reported += 1;
        }
    }

    /// Something was reported at this time.
    pub(super) fn reported(&mut self, at: Timestamp) {
        self.append(&Record::Reported(at));
        self.reported += 1;
    }

    /// Says what has come out by now, puts the file aside if it is large, be it needed for an incident or not, and looks how writing it
    /// went.
    pub(super) fn tick(&mut self, now: Instant, needed: bool, wall: WallClock) {
        match self.at_a_time {
            Some((at, reported)) if now.duration_since(at) >= WRITTEN_OUT => {
                self.append(&Record::Out { but: self.reported - reported });
                (self.at_a_time, self.out) = (None, reported);
            }
            None if self.reported > self.out => self.at_a_time = Some((now, self.reported)),
            _ => {}
        }
        if self.bytes > if needed { LARGE } else { SMALL } {
            self.writer.rotate();
            (self.bytes, self.incomplete) = (0, false);
            self.set_clock(wall);
        }
        let News { lost, trouble } = self.writer.news(true);
        for trouble in trouble {
            warn!("{}: {trouble} (--state-dir)", self.path.display());
        }
        self.incomplete |= lost > 0;
    }

    fn append(&mut self, record: &impl Serialize) {
        // It has no map whose keys are not strings, so this cannot fail.
        let Ok(text) = print(record) else { return };
        self.bytes += text.len() as u64;
        self.writer.send(text.into());
    }

    /// Why the next start may not find everything.
    pub(super) fn degraded(&self) -> Option<String> {
        self.incomplete.then(|| {
            format!(
                "{} lacks lines that could not be written: incidents that are open when oomtrace is killed may not be \
                 reported to their end (--state-dir)",
                self.path.display()
            )
        })
    }

    /// Every incident is closed.
    pub(super) fn finish(mut self) {
        self.append(&Record::Closed);
        if let Err(error) = self.writer.finish() {
            warn!("{} cannot be written: {error} (--state-dir)", self.path.display());
        }
    }
}

/// `FILE.1`
fn put_aside(file: &Path) -> PathBuf {
    file.with_added_extension("1")
}

/// Ends a line that was not written whole, so that the next is one.
fn end_last_record(file: &Path) -> io::Result<()> {
    match fs::read(file) {
        Ok(text) if text.last().is_some_and(|last| *last != b'\n') => {
            fs::OpenOptions::new().append(true).open(file)?.write_all(b"\n")
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::timeline::{Background, Keep};

    const BOOT: &str = "b";

    /// How many times oomtrace is killed in each recording.
    const KILLS: usize = 250;

    /// A run, as far as incidents go.
    struct Run {
        timeline: Timeline,
        /// What was appended to the file.
        records: Vec<String>,
        /// What was reported, and how many records were written by then.
        reported: Vec<(usize, Incident)>,
    }

    impl Run {
        fn new() -> Self {
            let timeline = Timeline::new(Keep::LIVE, Background::default());
            Self { timeline, records: Vec::new(), reported: Vec::new() }
        }

        fn append(&mut self, record: &impl Serialize) {
            self.records.push(print(record).expect("it can be printed"));
        }

        fn take_all(&mut self, lines: &[Line]) {
            for line in lines {
                self.timeline.push(line);
                self.append(&LineRecord { line });
                self.tick(line);
            }
        }

        /// Reports what there is at a line's time.
        fn tick(&mut self, line: &Line) {
            let now = line.ts.parse().expect("a time");
            self.timeline.advance(now);
            let (news, ends) = (self.timeline.news(), self.timeline.take_ends());
            if !news.is_empty() || !ends.is_empty() {
                self.append(&Record::Reported(now));
            }
            let written = self.records.len();
            self.reported.extend(news.into_iter().map(|incident| (written, incident)));
        }

        fn end(&mut self) {
            let last = self.timeline.finish().into_iter().map(|incident| (usize::MAX, incident));
            self.reported.extend(last);
        }
    }

    /// The lines of a recording that incidents are made of.
    fn recording(name: &str) -> Vec<Line> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/live").join(name);
        let file = fs::File::open(path).expect("a recording");
        let mut decoder = ruzstd::decoding::StreamingDecoder::new(file).expect("zstd");
        let mut text = String::new();
        decoder.read_to_string(&mut text).expect("text");
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        lines.filter(|line| Timeline::uses(&line.event)).collect()
    }

    fn as_json<'a>(incidents: impl IntoIterator<Item = &'a Incident>) -> Vec<String> {
        incidents.into_iter().map(|incident| serde_json::to_string(incident).expect("JSON")).collect()
    }

    #[test]
    fn killed_at_any_byte_the_next_start_reports_just_what_was_not_reported_yet() {
        let wall = WallClock::now();
        // A generator that gives the same numbers every time.
        let mut random = 1_u64;
        for name in ["oomkill.jsonl.zst", "kill9.jsonl.zst", "n-crash.jsonl.zst", "n-churn.jsonl.zst"] {
            let lines = recording(name);
            let mut whole = Run::new();
            whole.append(&Record::Clock { boot_id: BOOT.to_owned(), wall });
            whole.take_all(&lines);
            whole.end();
            assert!(whole.reported.len() > 2, "{name}: {} lines of incidents", whole.reported.len());
            let bytes = whole.records.concat().into_bytes();
            for _ in 0..KILLS {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let cut = (random >> 33) as usize % bytes.len();
                let (left, damaged) = Left::parse(&bytes[..cut], BOOT);
                assert!(damaged <= 1, "{damaged} records are damaged");
                let (written, taken) = (left.records.len(), left.lines().count());
                let mut resumed = Run::new();
                left.go_on(&mut resumed.timeline, wall);
                if let Some(last) = taken.checked_sub(1) {
                    resumed.tick(&lines[last]);
                }
                resumed.take_all(&lines[taken..]);
                resumed.end();
                let before = whole.reported.iter().filter(|(by, _)| *by <= written);
                let reported = as_json(before.chain(&resumed.reported).map(|(_, incident)| incident));
                let expected = as_json(whole.reported.iter().map(|(_, incident)| incident));
                assert_eq!(reported, expected, "{name}, killed at byte {cut} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn what_may_not_have_come_out_is_reported_once_more() {
        let wall = WallClock::now();
        let lines = recording("oomkill.jsonl.zst");
        let (out, later) = lines.split_at(lines.len() / 2);
        let mut run = Run::new();
        run.append(&Record::Clock { boot_id: BOOT.to_owned(), wall });
        run.take_all(out);
        let (records, reported) = (run.records.len(), run.reported.len());
        run.take_all(later);
        let again = |records: &[String]| {
            let mut timeline = Timeline::new(Keep::LIVE, Background::default());
            Left::parse(records.concat().as_bytes(), BOOT).0.go_on(&mut timeline, wall)
        };
        let seqs = |lines: &[Line]| lines.iter().map(|line| line.seq).collect::<Vec<_>>();
        let all = again(&run.records);
        assert_eq!(seqs(&all.lines), seqs(&lines));
        assert_eq!(as_json(&all.incidents), as_json(run.reported.iter().map(|(_, incident)| incident)));
        for but in [0, run.records.len() - records] {
            let at = if but == 0 { records } else { run.records.len() };
            let mut records = run.records.clone();
            records.insert(at, print(&Record::Out { but }).expect("it can be printed"));
            let again = again(&records);
            assert_eq!(seqs(&again.lines), seqs(later));
            assert_eq!(
                as_json(&again.incidents),
                as_json(run.reported[reported..].iter().map(|(_, incident)| incident))
            );
        }
    }

    #[test]
    fn what_was_reported_is_out_a_second_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let start = || OpenIncidents::start(folder.path(), &Confinement::default()).expect("it can be written");
        let (wall, now) = (WallClock::now(), Instant::now());
        let (mut open, _) = start();
        let lines = recording("oomkill.jsonl.zst");
        open.set_clock(wall);
        open.keep(&lines[0]);
        open.tick(now, true, wall);
        open.keep(&lines[1]);
        open.tick(now + WRITTEN_OUT / 2, true, wall);
        open.tick(now + WRITTEN_OUT, true, wall);
        open.writer.finish().expect("written");
        drop(open);
        let (mut open, left) = start();
        assert_eq!((left.reported, left.out), (2, 1), "the second line is too new");
        open.keep(&lines[2]);
        open.tick(now, true, wall);
        open.tick(now + WRITTEN_OUT, true, wall);
        open.writer.finish().expect("written");
        drop(open);
        let (_, left) = start();
        assert_eq!((left.reported, left.out), (3, 3), "what was before is reported once more at the start");
    }

    #[test]
    fn what_was_open_in_another_boot_is_closed() {
        let wall = WallClock::now();
        let lines = recording("oomkill.jsonl.zst");
        let mut run = Run::new();
        run.append(&Record::Clock { boot_id: "another".to_owned(), wall });
        run.take_all(&lines);
        let reported = run.reported.len();
        run.end();
        let expected = as_json(run.reported[reported..].iter().map(|(_, incident)| incident));
        assert!(!expected.is_empty(), "none was open");
        let (left, _) = Left::parse(run.records.concat().as_bytes(), BOOT);
        let mut next = Run::new();
        assert_eq!(as_json(&left.go_on(&mut next.timeline, wall).incidents), expected);
        assert!(!next.timeline.has_incidents());
        // Of a run that ended in an orderly way nothing is left.
        run.append(&Record::Closed);
        let (left, _) = Left::parse(run.records.concat().as_bytes(), BOOT);
        assert_eq!(left.records.len(), 0);
    }

    #[test]
    fn a_record_that_was_not_written_whole_spoils_no_other() {
        let wall = WallClock::now();
        let folder = tempfile::tempdir().expect("a folder");
        let start = || OpenIncidents::start(folder.path(), &Confinement::default()).expect("it can be written");
        let (mut open, left) = start();
        assert_eq!(left.records.len(), 0);
        open.set_clock(wall);
        open.writer.finish().expect("written");
        drop(open);
        let path = folder.path().join(FILE);
        let torn = fs::read(&path).expect("written").iter().take(20).copied().collect::<Vec<_>>();
        fs::OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(&torn)).expect("written");
        let (mut open, left) = start();
        assert!(left.in_this_boot && left.records.len() == 1, "{left:?}");
        open.set_clock(wall);
        open.writer.finish().expect("written");
        drop(open);
        assert_eq!(start().1.records.len(), 2);
    }
}
