//! Logs of the kernel and the kubelet, as events.

use std::io::{BufRead as _, Read as _};

use anyhow::{Context as _, Result};
use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};
use tracing::{info, warn};

use super::{Inputs, envelope::Log, given::Given, input, what::What};
use crate::{
    event::{Container, Moment, Observation, OomKill, Pod},
    source::{
        envelope::learnt::{Peeled, Peeler},
        kernel_log::{self, Clock, KernelLines, Machine, Statistics, form::Form},
        kubelet_log::{self, Calendar, KubeletLines, LogReader, Names},
    },
};

/// A log is read in pieces of this size.
const PIECE_BYTES: usize = 1 << 18;

/// What stands around a kubelet's lines shows in so many bytes.
const KUBELET_SAMPLE: u64 = 1 << 20;

/// All that the kernel's logs tell: they are small, or most of what is in them is passed over.
#[derive(Default)]
pub(super) struct KernelLogs {
    pub(super) reported: Vec<Observation>,
    /// What lines tell that have no time. In its place stands when the file was written last.
    pub(super) untimed: Vec<Observation>,
    /// Whether there is anything of the kernel's in any of them.
    pub(super) readable: bool,
    /// The hosts that their lines name.
    pub(super) hosts: Vec<String>,
}

impl KernelLogs {
    pub(super) fn read(inputs: &Inputs, zone: &TimeZone, latest: Option<Timestamp>) -> Result<Self> {
        Self::read_and_say(inputs, zone, latest, say)
    }

    /// The same, to be read once more.
    pub(super) fn read_silently(inputs: &Inputs, zone: &TimeZone, latest: Option<Timestamp>) -> Result<Self> {
        Self::read_and_say(inputs, zone, latest, |_| {})
    }

    fn read_and_say(
        inputs: &Inputs,
        zone: &TimeZone,
        latest: Option<Timestamp>,
        say: impl Fn(&KernelLog),
    ) -> Result<Self> {
        let mut logs = Self::default();
        for path in &inputs.kernel_log {
            say(&logs.read_log(path, inputs, zone, latest)?);
        }
        Ok(logs)
    }

    fn read_log(
        &mut self,
        path: &Given,
        inputs: &Inputs,
        zone: &TimeZone,
        latest: Option<Timestamp>,
    ) -> Result<KernelLog> {
        let name = path;
        let wanted = KernelLines::new()?;
        let mut log = Log::open(path, &wanted, None)?;
        let latest = latest.or(Some(log.input.latest));
        let clock = Clock { booted: inputs.boot_time, zone: zone.clone(), latest, ..Clock::default() };
        let mut events = kernel_log::Events::new(clock, Machine::default());
        let mut untimed = 0;
        let mut take = |reported: Vec<Observation>, read: &Statistics| {
            let into = if read.untimed > untimed { &mut self.untimed } else { &mut self.reported };
            untimed = read.untimed;
            into.extend(reported);
        };
        let mut peeler = log.peeler(wanted);
        let input = &mut log.input;
        if kernel_log::is_export(input.reader.fill_buf().with_context(|| format!("{name} cannot be read"))?) {
            input::pieces(path, input, |piece| take(events.push_export(piece), events.statistics()))?;
        } else if log.plan.is_plain() {
            input::lines(path, input, |_, line| take(events.push_line(line), events.statistics()))?;
        } else {
            let mut each = |line: Peeled<'_>| {
                take(events.push_line_of(&line.line, line.wall), events.statistics());
            };
            input::lines(path, input, |_, line| peeler.push(line, &mut each))?;
            peeler.finish(&mut each);
        }
        take(events.finish(), events.statistics());
        self.hosts.extend(events.hosts().iter().cloned());
        let read = events.statistics();
        self.readable |= !is_bare(read) || read.decisions + read.sent > 0;
        let strangers = log.plan.strangers + peeler.strangers + events.statistics().strangers;
        Ok(KernelLog {
            path: path.clone(),
            packing: format!("{}{}", log.input.packing, log.undone),
            read: events.statistics().clone(),
            strangers,
            what: What::of(&log.start),
        })
    }
}

/// A kernel log that was read.
struct KernelLog {
    path: Given,
    /// What it is packed with, and what was learnt of it, in words.
    packing: String,
    read: Statistics,
    /// Lines that look like the kernel's and could not be read.
    strangers: u64,
    what: What,
}

/// Whether no line is in any form of a kernel log.
fn is_bare(read: &Statistics) -> bool {
    read.kernel_lines == 0 || read.form.is_none_or(|form| form == Form::Bare)
}

fn say(log: &KernelLog) {
    const NO_KILL: &str = "there were no killable processes, or the victim was exiting already";
    let KernelLog { path, packing, read, strangers, what } = log;
    let name = path;
    let form = read.form.map_or_else(|| "no form that is known".to_owned(), |form| form.to_string());
    info!(
        "{name}: kernel log{packing}, {form}, {} of the kernel's of {}, {} of the OOM killer{}",
        counted(read.kernel_lines, "line"),
        read.lines,
        counted(read.decisions, "decision"),
        if read.sent > 0 {
            format!(", {} of a user-space OOM killer", counted(read.sent, "signal"))
        } else {
            String::new()
        }
    );
    if is_bare(read) && read.decisions + read.sent == 0 {
        warn!("{name}: {}", what.instead_of_kernel_log());
    }
    match strangers {
        0 => {}
        1 => warn!("{name}: 1 line looks like the kernel's and could not be read"),
        more => warn!(
            "{name}: {more} lines look like the kernel's and could not be read: what stands before them is not the same on all"
        ),
    }
    // What ended without a kill is no kill without a time.
    match read.untimed.min(read.decisions.saturating_sub(read.without_end + read.without_kill)) {
        0 => {}
        1 => warn!("{name}: 1 kill has no time: its line looks like the kernel's, and its time could not be read"),
        more => warn!(
            "{name}: {more} kills have no time: their lines look like the kernel's, and their time could not be read"
        ),
    }
    match read.torn {
        0 => {}
        1 => warn!("{name}: 1 line of a kill was cut before it says who was killed, and is left out"),
        more => warn!("{name}: {more} lines of kills were cut before they say who was killed, and are left out"),
    }
    let limit = |which: &str| {
        let cgroup = read.without_end_of.as_ref().map(|cgroup| cgroup.replace(char::is_control, "?"));
        cgroup.map_or_else(String::new, |cgroup| format!("; {which} about the limit of cgroup {cgroup}"))
    };
    match read.without_end {
        0 => {}
        1 => warn!(
            "{name}: 1 report of the OOM killer ends before it says who was killed: the log was cut, or filtered{}",
            limit("it is")
        ),
        more => warn!(
            "{name}: {more} reports of the OOM killer end before they say who was killed: the log was cut, or filtered{}",
            limit("the last is")
        ),
    }
    match read.without_kill {
        0 => {}
        1 => warn!("{name}: 1 report of the OOM killer ends without a kill: {NO_KILL}"),
        more => warn!("{name}: {more} reports of the OOM killer end without a kill: {NO_KILL}"),
    }
}

/// `1 line`, `2 lines`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The kubelet's logs, read side by side: parts of one, or the same in several forms.
pub(super) struct KubeletLogs {
    logs: Vec<KubeletLog>,
    /// What they reported, and nobody took yet.
    pub(super) reported: Vec<Observation>,
}

impl KubeletLogs {
    pub(super) fn open(inputs: &Inputs, zone: &TimeZone, latest: Option<Timestamp>) -> Result<Self> {
        let logs = inputs.kubelet_log.iter().map(|path| KubeletLog::open(path, zone, latest)).collect::<Result<_>>()?;
        Ok(Self { logs, reported: Vec::new() })
    }

    /// The same, to be read once more.
    pub(super) fn open_silently(inputs: &Inputs, zone: &TimeZone, latest: Option<Timestamp>) -> Result<Self> {
        let mut logs = Self::open(inputs, zone, latest)?;
        logs.logs.iter_mut().for_each(|log| log.silent = true);
        Ok(logs)
    }

    /// Reads on in the log that is the furthest behind. `false` where there is nothing left.
    pub(super) fn read_piece(&mut self) -> Result<bool> {
        let going_on = self.logs.iter_mut().filter(|log| !log.ended);
        let Some(log) = going_on.min_by_key(|log| log.latest) else { return Ok(false) };
        log.read_piece(&mut self.reported)?;
        Ok(true)
    }

    /// Reads all of them.
    pub(super) fn read_all(&mut self) -> Result<&[Observation]> {
        while self.read_piece()? {}
        Ok(&self.reported)
    }

    /// What was logged before was read, but for lines that are out of order.
    pub(super) fn read_up_to(&self) -> Option<Timestamp> {
        let going_on = self.logs.iter().filter(|log| !log.ended);
        going_on.map(|log| log.latest).min().flatten()
    }

    /// The first and the last time of all that was read.
    pub(super) fn spoke(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.logs.iter().filter_map(|log| log.first).min()?;
        let last = self.logs.iter().filter_map(|log| log.latest).max()?;
        Some((first, last))
    }

    /// Whether there is anything of a kubelet's in any of them.
    pub(super) fn is_readable(&self) -> bool {
        self.logs.iter().any(|log| log.of_kubelet || log.reader.counts().messages > 0)
    }

    /// The hosts that their first lines name.
    pub(super) fn hosts(&self) -> impl Iterator<Item = String> {
        self.logs.iter().flat_map(|log| kubelet_log::hosts(&log.log.start))
    }

    /// Gives a kill the names that the logs have for its ids.
    pub(super) fn name(&self, kill: &mut OomKill) {
        for log in &self.logs {
            fill(kill, log.reader.names());
        }
    }
}

/// Whether a kubelet's log writes local times, so that it tells other instants in another zone.
pub(super) fn is_local(path: &Given) -> Result<bool> {
    let first = |zone: &TimeZone| -> Result<Option<Timestamp>> {
        let mut log = KubeletLog { silent: true, ..KubeletLog::open(path, zone, None)? };
        log.read_piece(&mut Vec::new())?;
        Ok(log.first)
    };
    Ok(first(&TimeZone::UTC)? != first(&TimeZone::fixed(Offset::constant(1)))?)
}

struct KubeletLog {
    path: Given,
    log: Log,
    reader: LogReader,
    /// Undoes what was learnt of the log, where it cannot be read as it is; and the start of a line whose end is yet to come.
    peeler: Option<(Peeler<KubeletLines>, Vec<u8>)>,
    /// The piece that was read last, and the one before: the end of a line may be in either.
    piece: Vec<u8>,
    piece_before: Vec<u8>,
    /// The time of its first line.
    first: Option<Timestamp>,
    /// A line of a kubelet's is in its first piece or its last one.
    of_kubelet: bool,
    /// The latest time that was seen.
    latest: Option<Timestamp>,
    events: u64,
    ended: bool,
    /// What it was is not said: it is read again.
    silent: bool,
}

impl KubeletLog {
    fn open(path: &Given, zone: &TimeZone, latest: Option<Timestamp>) -> Result<Self> {
        let log = Log::open(path, &KubeletLines, Some(KUBELET_SAMPLE))?;
        let peeler = (!log.plan.is_plain()).then(|| (log.peeler(KubeletLines), Vec::new()));
        let calendar = Calendar { not_after: latest.unwrap_or(log.input.latest), zone: zone.clone() };
        let mut reader = LogReader::new(calendar, Vec::new())?;
        reader.pass_over_idle_observations();
        Ok(Self {
            path: path.clone(),
            reader,
            log,
            peeler,
            piece: Vec::new(),
            piece_before: Vec::new(),
            first: None,
            of_kubelet: false,
            latest: None,
            events: 0,
            ended: false,
            silent: false,
        })
    }

    fn read_piece(&mut self, into: &mut Vec<Observation>) -> Result<()> {
        std::mem::swap(&mut self.piece, &mut self.piece_before);
        self.piece.resize(PIECE_BYTES, 0);
        let count = loop {
            match self.log.input.reader.read(&mut self.piece) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => {
                    break read.with_context(|| format!("{} cannot be read to its end", self.path))?;
                }
            }
        };
        self.piece.truncate(count);
        let before = into.len();
        if self.peeler.is_some() {
            self.peel(count == 0, into);
        }
        if count == 0 {
            self.reader.finish(into);
            self.ended = true;
            self.latest = self.latest.max(self.last_time());
            if self.reader.counts().messages == 0 && !self.of_kubelet {
                self.of_kubelet = self.has_line_of_kubelet(&self.piece_before);
            }
        } else {
            if self.piece_before.is_empty() {
                self.of_kubelet = self.has_line_of_kubelet(&self.piece);
            }
            if self.first.is_none() {
                self.first = self.first_time();
            }
            if self.peeler.is_none() {
                self.reader.push(&self.piece, into);
            }
        }
        let reported = &into[before..];
        self.events += reported.len() as u64;
        let times = reported.iter().filter_map(|reported| match reported.at {
            Moment::Wall(wall) => Some(wall),
            Moment::Boot(_) => None,
        });
        self.latest = self.latest.max(times.max());
        if self.ended && !self.silent {
            self.say();
        }
        Ok(())
    }

    /// Reads the lines of the piece, without what was learnt to stand around them; these become the piece.
    fn peel(&mut self, ended: bool, into: &mut Vec<Observation>) {
        let Some((peeler, open)) = &mut self.peeler else { return };
        let reader = &mut self.reader;
        let mut text = Vec::with_capacity(self.piece.len());
        let mut whole = |line: Peeled<'_>| {
            reader.read_line_of(&line.line, line.wall, into);
            text.extend_from_slice(&line.line);
            text.push(b'\n');
        };
        open.extend_from_slice(&self.piece);
        let end = memchr::memrchr(b'\n', open).map_or(0, |end| end + 1);
        let end = if ended { open.len() } else { end };
        open[..end].split(|byte| *byte == b'\n').for_each(|line| peeler.push(line, &mut whole));
        open.drain(..end);
        if ended {
            peeler.finish(&mut whole);
        }
        self.piece = text;
    }

    fn has_line_of_kubelet(&self, piece: &[u8]) -> bool {
        piece.split(|byte| *byte == b'\n').any(|line| self.reader.is_of_kubelet(line))
    }

    /// When the first line of the piece that has a time was logged.
    fn first_time(&self) -> Option<Timestamp> {
        self.piece.split(|byte| *byte == b'\n').find_map(|line| self.reader.time_of(line))
    }

    /// When the last line that has a time was logged.
    fn last_time(&self) -> Option<Timestamp> {
        let end = [&self.piece_before[..], &self.piece[..]].concat();
        end.rsplit(|byte| *byte == b'\n').find_map(|line| self.reader.time_of(line))
    }

    fn say(&self) {
        let (name, counts) = (&self.path, self.reader.counts());
        info!(
            "{name}: kubelet log{}{}, {} of note, {}",
            self.log.input.packing,
            self.log.undone,
            counted(counts.messages, "message"),
            counted(self.events, "event")
        );
        if counts.messages == 0 && self.of_kubelet {
            info!("{name}: a log of the kubelet's, in which nothing that matters happened");
        } else if let Some((who, lines)) = self.reader.alike().filter(|_| counts.messages == 0) {
            warn!(
                "{name}: {lines} lines of {who}'s say what a kubelet does, and were passed over, as {who} is not known to run one: \
                 if it does, give them without the name (`journalctl -t {who} -o cat`)"
            );
        } else if counts.messages == 0 {
            warn!("{name}: {}", What::of(&self.log.start).instead_of_kubelet_log());
        }
        for (count, what) in [
            (counts.unreadable, "cannot be read"),
            (counts.undated, "have a time that is none"),
            (counts.untimed, "have no time: when that was is not known"),
            (counts.forged, "pretend to be the kubelet's"),
            (counts.overlong, "are too long and were cut"),
            (
                self.log.plan.strangers,
                "look like the kubelet's and could not be read: what stands before them is not the same on all",
            ),
        ] {
            if count > 0 {
                let last = counts.last_error.map_or_else(String::new, |error| format!(" ({error})"));
                warn!("{name}: {count} lines {what}{last}");
            }
        }
    }
}

/// Names that the kubelet's log has for a kill's ids.
fn fill(kill: &mut OomKill, names: &Names) {
    let place = |pod: &mut Option<Pod>, container: &mut Option<Container>| {
        if let Some(known) = pod.as_ref().and_then(|pod| names.pod(pod.uid.as_ref()?)) {
            let qos = pod.as_ref().and_then(|pod| pod.qos);
            *pod = Some(Pod { qos, ..known });
        }
        if let Some(known) = container.as_ref().and_then(|container| names.container(container.id.as_ref()?)) {
            *container = Some(known);
        }
    };
    place(&mut kill.pod, &mut kill.container);
    if let Some(limit) = &mut kill.limit {
        place(&mut limit.pod, &mut limit.container);
    }
}
