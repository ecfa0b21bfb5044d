//! Logs of the kernel and the kubelet, as events.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use tracing::{info, warn};

use super::{Args, boot::Zero, input};
use crate::{
    clock,
    event::{Container, Event, Line, Moment, OomKill, Pod, Told},
    source::{
        kernel_log::{self, Clock, Machine, form::Form},
        kubelet_log::{Calendar, Names, Reader},
    },
    timeline::UNNUMBERED,
};

/// What was read of logs, before it is known when the node booted.
pub(super) struct Logs {
    pub(super) kernel: Vec<Told>,
    pub(super) kubelet: Vec<Told>,
    readers: Vec<Reader>,
    /// The first and the last time in the kubelet's logs.
    pub(super) kubelet_span: Option<(Timestamp, Timestamp)>,
}

impl Logs {
    pub(super) fn read(kernel: &[PathBuf], kubelet: &[PathBuf], args: &Args) -> anyhow::Result<Self> {
        let mut logs = Self { kernel: Vec::new(), kubelet: Vec::new(), readers: Vec::new(), kubelet_span: None };
        for path in kernel {
            logs.read_kernel(path, args)?;
        }
        for path in kubelet {
            logs.read_kubelet(path, args)?;
        }
        Ok(logs)
    }

    fn read_kernel(&mut self, path: &Path, args: &Args) -> anyhow::Result<()> {
        let name = path.display();
        let mut input = input::open(path)?;
        let clock = Clock {
            booted: args.boot_time,
            zone: args.time_zone.clone(),
            latest: Some(input.latest),
            ..Clock::default()
        };
        let mut events = kernel_log::Events::new(clock, Machine::default());
        let told = &mut self.kernel;
        input::lines(path, &mut input, |_, line| told.extend(events.push_line(line)))?;
        told.extend(events.finish());
        let read = events.statistics();
        let form = read.form.map_or_else(|| "no form that is known".to_owned(), |form| format!("{form:?}"));
        info!(
            "{name}: kernel log{}, {form}, {} lines of the kernel's of {}, {} decisions of the OOM killer",
            input.packing, read.kernel_lines, read.lines, read.decisions
        );
        let needs = "it needs the output of dmesg, journalctl -k or /dev/kmsg";
        if read.kernel_lines == 0 && read.lines > 0 {
            warn!("{name}: no line of the kernel's in it: {needs}");
        } else if read.form == Some(Form::Bare) && read.decisions == 0 {
            warn!("{name}: no kill, and lines without any form of a kernel log: {needs}");
        }
        Ok(())
    }

    fn read_kubelet(&mut self, path: &Path, args: &Args) -> anyhow::Result<()> {
        let name = path.display();
        let mut input = input::open(path)?;
        let calendar = Calendar { not_after: input.latest, zone: args.time_zone.clone() };
        let mut reader = Reader::new(calendar, Vec::new())?;
        let mut told = Vec::new();
        let (mut first, mut last) = (None, Tail::default());
        loop {
            let bytes = input.reader.fill_buf().with_context(|| format!("{name} cannot be read to its end"))?;
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len();
            first = first.or_else(|| bytes.split(|byte| *byte == b'\n').find_map(|line| reader.time_of(line)));
            last.keep(bytes);
            reader.push(bytes, &mut told);
            input.reader.consume(count);
        }
        reader.finish(&mut told);
        let counts = reader.counts();
        info!("{name}: kubelet log{}, {} messages that matter, {} events", input.packing, counts.messages, told.len());
        if counts.messages == 0 {
            warn!(
                "{name}: no message of the kubelet's in it that matters: it needs the kubelet's log, or the journal of its unit"
            );
        }
        for (count, what) in [
            (counts.unreadable, "cannot be read"),
            (counts.undated, "have no time"),
            (counts.forged, "pretend to be the kubelet's"),
            (counts.overlong, "are too long and were cut"),
        ] {
            if count > 0 {
                let last = counts.last_error.map_or_else(String::new, |error| format!(" ({error})"));
                warn!("{name}: {count} lines {what}{last}");
            }
        }
        if let (Some(first), Some(last)) = (first, last.time(&reader)) {
            let (earliest, latest) = self.kubelet_span.unwrap_or((first, last));
            self.kubelet_span = Some((first.min(earliest), last.max(latest)));
        }
        self.kubelet.append(&mut told);
        self.readers.push(reader);
        Ok(())
    }

    /// All of it as lines of a node, with what the kubelet's log tells of names in the kernel's kills.
    pub(super) fn into_lines(self, node: &str, zero: Zero) -> impl Iterator<Item = Line> {
        let Self { kernel, kubelet, readers, .. } = self;
        let node = node.to_owned();
        kernel
            .into_iter()
            .map(move |mut told| {
                if let Event::OomKill(kill) = &mut told.event {
                    for reader in &readers {
                        fill(kill, reader.names());
                    }
                }
                told
            })
            .chain(kubelet)
            .zip(UNNUMBERED + 1..)
            .map(move |(Told { source, at, event }, seq)| {
                let (ts, boot_ns) = match at {
                    Moment::Wall(wall) => (clock::rfc3339(wall), None),
                    Moment::Boot(boot_ns) => (clock::rfc3339(zero.wall(boot_ns)), Some(boot_ns)),
                };
                Line { ts, seq, node: node.clone(), source, boot_ns, event }
            })
    }
}

/// The end of a file that is read piece by piece.
#[derive(Default)]
struct Tail {
    before: Vec<u8>,
    latest: Vec<u8>,
}

impl Tail {
    fn keep(&mut self, bytes: &[u8]) {
        std::mem::swap(&mut self.before, &mut self.latest);
        self.latest.clear();
        self.latest.extend_from_slice(bytes);
    }

    /// When the last line that has a time was logged.
    fn time(mut self, reader: &Reader) -> Option<Timestamp> {
        self.before.append(&mut self.latest);
        self.before.rsplit(|byte| *byte == b'\n').find_map(|line| reader.time_of(line))
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
