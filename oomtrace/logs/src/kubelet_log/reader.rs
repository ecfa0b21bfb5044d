//! From bytes to events.

use jiff::Timestamp;
use memchr::{memchr, memrchr};
use oomtrace_model::{Event, Lost, LostFrom, Observation, bounded::Bounded};

use super::{
    block::{Block, Next},
    container,
    form::{self, LineError, Part, Unwrapped},
    join::{self, Joiner},
    klog::Message,
    names::Names,
    stems::{Stem, Stems, Worth},
    time::Calendar,
    writer::{self, Writer},
};
use crate::envelope::{
    entry::Entry,
    export::{Export, is_export},
    when::Wall,
};
use crate::memory_killer;

/// Of a longer line, only so much is read: a status dump of a large pod is tens of KiB, as JSON in JSON a few times that.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;
/// A log's form is known from so many bytes.
const FORM_TOLD_BY: usize = 9;
/// Two signals of memory are observed in a pass, each once.
const OBSERVED: usize = 8;
/// Lines without a time have one in the first half second of 1970.
const LAST_UNTIMED: i64 = 500_000;
/// Processes whose lines are distinguished.
const PROCESSES: usize = 64;

/// Why no reader can be had.
#[derive(Debug, thiserror::Error)]
#[error("the search for the kubelet's messages cannot be prepared")]
pub struct Unprepared(#[from] aho_corasick::BuildError);

/// Reads a log of the kubelet's, or one that its lines are in.
pub struct LogReader {
    calendar: Calendar,
    /// syslog identifiers that count as the kubelet's, beside those that are known.
    identifiers: Vec<String>,
    stems: Stems,
    joiner: Joiner,
    framing: Framing,
    /// Whether lines are read as they are written.
    as_written: bool,
    /// The start of a line whose end is yet to come.
    open: Vec<u8>,
    /// What is beyond the limit of the line that is open is passed over.
    overlong: bool,
    /// A line that its form broke into parts.
    parts: String,
    /// A message that klog wrote in several lines.
    block: Option<Block>,
    /// What the eviction manager observed in its pass, where that is read only if anything comes of the pass.
    observed: Option<Vec<Vec<u8>>>,
    /// By the process that a form names, the process id that its first line of klog's names.
    processes: Bounded<u32, u32>,
    counts: Counts,
    /// The time beside the line that is being read.
    beside: Option<Wall>,
    /// The first of others whose lines say what a kubelet does, and how many do.
    alike: Option<(String, u64)>,
    killers: memory_killer::KillerReader,
}

/// Where a log's messages begin and end.
#[derive(Default)]
enum Framing {
    /// Too little of it was seen.
    #[default]
    Unknown,
    /// At line ends.
    Lines,
    /// As the journal's export format says.
    Export(Box<Export>),
}

/// What became of the lines that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that have words of a message that matters.
    pub looked_at: u64,
    /// Messages of a kubelet's, or a runtime's, among them.
    pub messages: u64,
    /// Those of others: another identifier.
    pub others: u64,
    /// Those that pretend: klog's head names another process than the one that wrote them.
    pub forged: u64,
    /// Those that cannot be read: JSON that was cut.
    pub unreadable: u64,
    /// Those that no time can be given to.
    pub undated: u64,
    /// Those that have no time, and were read all the same.
    pub untimed: u64,
    /// Lines that were cut because they are too long.
    pub overlong: u64,
    /// What the last line that cannot be read lacks.
    pub last_error: Option<LineError>,
}

impl LogReader {
    /// A reader at the start of a log. `identifiers` are syslog identifiers that count as the kubelet's beside the known.
    ///
    /// # Errors
    ///
    /// Fails where the patterns that are looked for cannot be compiled.
    pub fn new(calendar: Calendar, identifiers: Vec<String>) -> Result<Self, Unprepared> {
        Ok(Self {
            calendar,
            identifiers,
            stems: Stems::new()?,
            joiner: Joiner::new(),
            framing: Framing::Unknown,
            as_written: false,
            open: Vec::new(),
            overlong: false,
            parts: String::new(),
            block: None,
            observed: None,
            processes: Bounded::new(PROCESSES),
            counts: Counts::default(),
            beside: None,
            alike: None,
            killers: memory_killer::KillerReader::default(),
        })
    }

    /// What the log reported of pods' and containers' names so far.
    #[must_use]
    pub fn names(&self) -> &Names {
        self.joiner.names()
    }

    /// What became of the lines so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Who says what a kubelet does, and is none that is known: the first one's identifier, and how many of its lines do.
    #[must_use]
    pub fn alike(&self) -> Option<(&str, u64)> {
        self.alike.as_ref().map(|(who, lines)| (who.as_str(), *lines))
    }

    /// Whether a line is a kubelet's, whatever it says.
    #[must_use]
    pub fn is_of_kubelet(&self, line: &[u8]) -> bool {
        // The journal's export format has fields on lines of their own.
        let line = line.strip_prefix(b"MESSAGE=").unwrap_or(line);
        Unwrapped::read(trimmed(line)).is_ok_and(|line| {
            writer::of(line.identifier.as_deref(), &self.identifiers) == Writer::Kubelet
                && Message::read(&line.text).is_some()
        })
    }

    /// Reports a reader of a live log how late it is: lines are not later.
    pub fn set_not_after(&mut self, now: Timestamp) {
        self.calendar.not_after = now;
    }

    /// When a line was logged, whatever it says: what a log covers.
    #[must_use]
    pub fn time_of(&self, line: &[u8]) -> Option<Timestamp> {
        let line = Unwrapped::read(&line[..line.len().min(MAX_LINE_BYTES)]).ok()?;
        match Message::read(&line.text) {
            Some(Message { wall: Some(wall), .. }) => self.calendar.resolve(wall, line.kept),
            _ => line.kept.and_then(|kept| self.calendar.kept(kept)),
        }
    }

    /// Reports a reader that it reads lines as they are written: those that nothing else dates are of now, and of the zone
    /// that makes them so. [`set_not_after`](Self::set_not_after) tells it when now is.
    pub fn read_as_written(&mut self) {
        self.as_written = true;
    }

    /// Reports a reader that nobody needs what the kubelet observed in passes that nothing came of: nearly all, at V(3).
    pub fn pass_over_idle_observations(&mut self) {
        self.observed = Some(Vec::new());
    }

    /// Reads a piece of a log, cut anywhere. Events are added to `reported`.
    pub fn push(&mut self, bytes: &[u8], reported: &mut Vec<Observation>) {
        match std::mem::take(&mut self.framing) {
            Framing::Unknown => {
                self.open.extend_from_slice(bytes);
                if self.open.len() >= FORM_TOLD_BY {
                    let start = std::mem::take(&mut self.open);
                    self.framing = if is_export(&start) { Framing::Export(Box::default()) } else { Framing::Lines };
                    self.push(&start, reported);
                }
            }
            Framing::Lines => {
                self.framing = Framing::Lines;
                self.push_lines(bytes, reported);
            }
            Framing::Export(mut export) => {
                export.push(bytes, MAX_LINE_BYTES, |entry| self.read_entry(entry, reported));
                self.framing = Framing::Export(export);
            }
        }
    }

    fn push_lines(&mut self, mut bytes: &[u8], reported: &mut Vec<Observation>) {
        if !self.open.is_empty() || self.overlong {
            let Some(end) = memchr(b'\n', bytes) else { return self.keep_open(bytes) };
            self.keep_open(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.open);
            self.overlong = false;
            self.read_line(&line, reported);
            self.open = line;
            self.open.clear();
        }
        let (lines, open) = bytes.split_at(memrchr(b'\n', bytes).map_or(0, |end| end + 1));
        self.read_lines(lines, reported);
        self.keep_open(open);
    }

    /// The log ends here, perhaps in the middle of a line; or nothing has come for a while.
    pub fn finish(&mut self, reported: &mut Vec<Observation>) {
        if let Framing::Export(mut export) = std::mem::take(&mut self.framing) {
            export.finish(|entry| self.read_entry(entry, reported));
        }
        let line = std::mem::take(&mut self.open);
        self.overlong = false;
        self.read_line(&line, reported);
        if !self.parts.is_empty() {
            // The rest of a line in parts never came.
            let start = std::mem::take(&mut self.parts);
            self.read_found(start.as_bytes(), reported);
        }
        self.flush(reported);
    }

    /// Reports what still waits for more of it: for a live log that has been silent for some seconds.
    pub fn flush(&mut self, reported: &mut Vec<Observation>) {
        self.end_block(reported);
        self.joiner.flush(reported);
    }

    fn keep_open(&mut self, bytes: &[u8]) {
        let room = MAX_LINE_BYTES.saturating_sub(self.open.len());
        if bytes.len() > room && !self.overlong {
            self.overlong = true;
            self.counts.overlong += 1;
        }
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Reads whole lines, of which most say nothing.
    fn read_lines(&mut self, lines: &[u8], reported: &mut Vec<Observation>) {
        let mut at = 0;
        while at < lines.len() {
            if !self.parts.is_empty() || self.block.is_some() {
                // The rest of a broken line need not have any of the words.
                let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |end| at + end);
                self.read_line(&lines[at..end], reported);
                at = end + 1;
                continue;
            }
            let Some((found, stem)) = self.stems.find(&lines[at..]) else { return };
            let found = at + found;
            let start = memrchr(b'\n', &lines[at..found]).map_or(at, |end| at + end + 1);
            let end = memchr(b'\n', &lines[found..]).map_or(lines.len(), |end| found + end);
            self.weigh(stem, &lines[start..end], found - start, reported);
            at = end + 1;
        }
    }

    /// Reads one line, with a time beside it that counts where the line's own form has none.
    pub fn read_line_of(&mut self, line: &[u8], wall: Option<Wall>, reported: &mut Vec<Observation>) {
        self.beside = wall;
        self.read_line(line, reported);
        self.beside = None;
    }

    /// Reads one line.
    pub fn read_line(&mut self, line: &[u8], reported: &mut Vec<Observation>) {
        if self.block.is_some() && self.is_inside(Unwrapped::read_inside(trimmed(line)), reported) {
            return;
        }
        if !self.parts.is_empty() {
            self.read_found(line, reported);
        } else if let Some((found, stem)) = self.stems.find(line) {
            self.weigh(stem, line, found, reported);
        }
    }

    /// Reads a line with a stem at `at`, or keeps it for later, or passes it over.
    fn weigh(&mut self, stem: Stem, line: &[u8], at: usize, reported: &mut Vec<Observation>) {
        let worth = self.stems.worth(stem, line, at);
        if let Some(observed) = &mut self.observed {
            match worth {
                Worth::Observation if observed.len() < OBSERVED => return observed.push(line.to_owned()),
                Worth::NewPass => observed.clear(),
                Worth::Step => {
                    for line in std::mem::take(observed) {
                        self.read_found(&line, reported);
                    }
                }
                _ => {}
            }
        }
        if worth != Worth::Nothing {
            self.read_found(line, reported);
        }
    }

    fn read_entry(&mut self, entry: &Entry, reported: &mut Vec<Observation>) {
        if self.block.is_some() && self.is_inside(Unwrapped::of_entry(entry), reported) {
            return;
        }
        let message = entry.message.as_deref().unwrap_or_default();
        let Some((at, stem)) = self.stems.find(message) else { return };
        if self.stems.worth(stem, message, at) == Worth::Nothing {
            return;
        }
        self.counts.looked_at += 1;
        match Unwrapped::of_entry(entry) {
            Ok(line) => self.read_whole(&line, reported),
            Err(error) => self.unreadable(error),
        }
    }

    fn unreadable(&mut self, error: LineError) {
        self.counts.unreadable += 1;
        self.counts.last_error = Some(error);
    }

    fn read_found(&mut self, line: &[u8], reported: &mut Vec<Observation>) {
        self.counts.looked_at += 1;
        match Unwrapped::read(trimmed(line)) {
            Ok(unwrapped) => {
                let kept = form::latest_known(unwrapped.kept, self.beside);
                self.read_unwrapped(&Unwrapped { kept, ..unwrapped }, reported);
            }
            Err(error) => self.unreadable(error),
        }
    }

    fn read_unwrapped(&mut self, line: &Unwrapped<'_>, reported: &mut Vec<Observation>) {
        if line.part == Part::More {
            let room = MAX_LINE_BYTES.saturating_sub(self.parts.len());
            let end = line.text.floor_char_boundary(room);
            self.parts.push_str(&line.text[..end]);
            return;
        }
        if line.part == Part::End && !self.parts.is_empty() {
            let mut text = std::mem::take(&mut self.parts);
            text.push_str(&line.text);
            return self.read_whole(&Unwrapped { text: text.into(), ..line.clone() }, reported);
        }
        self.read_whole(line, reported);
    }

    fn read_whole(&mut self, line: &Unwrapped<'_>, reported: &mut Vec<Observation>) {
        let who = writer::of(line.identifier.as_deref(), &self.identifiers);
        let kept = line.kept.and_then(|kept| self.calendar.kept(kept));
        match who {
            Writer::Other => return self.pass_over(line),
            Writer::Journald => {
                if let Some(count) = writer::suppressed(&line.text, &self.identifiers) {
                    let event = Event::Lost(Lost::new(LostFrom::KubeletLog, count));
                    reported.push(join::observed(kept.unwrap_or(self.calendar.not_after), event));
                }
                return;
            }
            Writer::Oomd => {
                let identifier = line.identifier.as_deref().unwrap_or_default();
                let signal = self.killers.read(writer::service(identifier), &line.text, line.pid);
                self.counts.messages += u64::from(signal.is_some());
                let Some(signal) = signal else { return };
                let at = kept.unwrap_or_else(|| self.untimed());
                return reported.push(join::observed(at, Event::Signal(Box::new(signal))));
            }
            Writer::Conmon => return self.read_conmon(line, kept, reported),
            Writer::Systemd | Writer::Runtime | Writer::Kubelet => {}
        }
        let noticed = match who {
            Writer::Systemd => container::read_systemd(&line.text),
            _ if line.identifier.is_none() => {
                container::read_runtime(&line.text).or_else(|| container::read_systemd(&line.text))
            }
            _ => container::read_runtime(&line.text),
        };
        if let Some(change) = noticed {
            self.counts.messages += 1;
            let at = kept.unwrap_or_else(|| self.untimed());
            self.joiner.push_runtime(at, change, reported);
        } else if let Some(signal) = memory_killer::read_bare(&line.text).filter(|_| line.identifier.is_none()) {
            self.counts.messages += 1;
            let at = kept.unwrap_or_else(|| self.untimed());
            reported.push(join::observed(at, Event::Signal(Box::new(signal))));
        } else if who == Writer::Kubelet {
            match Block::begun_by(line) {
                Some(block) => {
                    self.end_block(reported);
                    self.block = Some(block);
                }
                None => self.read_message(line, reported),
            }
        } else if who == Writer::Systemd {
            self.pass_over(line);
        }
    }

    /// Reads a line of CRI-O's monitor of a container.
    fn read_conmon(&mut self, line: &Unwrapped<'_>, kept: Option<Timestamp>, reported: &mut Vec<Observation>) {
        let Some(begins) = container::read_conmon(&line.text) else { return };
        self.counts.messages += 1;
        let at = kept.unwrap_or_else(|| self.untimed());
        self.joiner.push_conmon(at, begins, reported);
    }

    /// Passes over a line of somebody else's.
    fn pass_over(&mut self, line: &Unwrapped<'_>) {
        self.counts.others += 1;
        let Some(who) = line.identifier.as_deref() else { return };
        if self.alike.as_ref().is_none_or(|(first, _)| first == who)
            && Message::read(&line.text).is_some_and(|message| join::is_of_kubelet(&message))
        {
            self.alike.get_or_insert_with(|| (who.to_owned(), 0)).1 += 1;
        }
    }

    /// Whether a line is of the message that klog wrote in several lines. If it is not, and is its writer's, that one has ended.
    fn is_inside(&mut self, line: Result<Unwrapped<'_>, LineError>, reported: &mut Vec<Observation>) -> bool {
        let (Some(block), Ok(line)) = (&mut self.block, line) else { return false };
        let next = block.take(&line);
        if matches!(next, Next::Last | Next::Beyond) {
            self.end_block(reported);
        }
        matches!(next, Next::Inside | Next::Last)
    }

    /// Reads a message that klog wrote in several lines, as far as it came.
    fn end_block(&mut self, reported: &mut Vec<Observation>) {
        if let Some(block) = self.block.take() {
            self.read_message(&block.into_line(), reported);
        }
    }

    fn read_message(&mut self, line: &Unwrapped<'_>, reported: &mut Vec<Observation>) {
        let Some(message) = Message::read(&line.text) else { return };
        if self.is_forged(line.pid, message.pid) {
            self.counts.forged += 1;
            return;
        }
        self.counts.messages += 1;
        let kept = match line.kept {
            Some(Wall::Absolute(_)) => line.kept,
            _ if self.as_written => Some(Wall::Absolute(self.calendar.not_after)),
            _ => line.kept,
        };
        let at = match message.wall {
            Some(wall) => self.calendar.resolve(wall, kept),
            None => kept.and_then(|kept| self.calendar.kept(kept)).or_else(|| Some(self.untimed())),
        };
        match at {
            Some(at) => match self.killers.read_koordlet(&message.text) {
                Some(signal) => reported.push(join::observed(at, self.joiner.named(signal))),
                None => self.joiner.push(at, &message, reported),
            },
            None => self.counts.undated += 1,
        }
    }

    /// A time for a line that has none: at the start of 1970, where nobody takes it for one, and in the order of lines.
    fn untimed(&mut self) -> Timestamp {
        self.counts.untimed += 1;
        let nth = i64::try_from(self.counts.untimed).unwrap_or(i64::MAX).min(LAST_UNTIMED);
        Timestamp::from_microsecond(nth).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// klog writes its process id into each line, and journald its own knowledge of the writer. The two need not be the
    /// same (a kubelet in a container of its own), but each process has one. What a container printed into the middle of a
    /// kubelet's line (1.20 prints a probe's output as it comes) does not know it.
    fn is_forged(&mut self, of_the_form: Option<u32>, of_klog: Option<u32>) -> bool {
        let (Some(of_the_form), Some(of_klog)) = (of_the_form, of_klog) else { return false };
        if let Some(known) = self.processes.get(&of_the_form) {
            return *known != of_klog;
        }
        self.processes.insert(of_the_form, of_klog);
        false
    }
}

/// What is read of a line.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    &line[..line.len().min(MAX_LINE_BYTES)]
}
