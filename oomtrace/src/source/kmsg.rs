//! The running kernel's log, read as it is written: `/dev/kmsg`.
//!
//! A record a read; a reader that is too slow gets `EPIPE` once, and goes on with the oldest record there is
//! (`devkmsg_read`, `kernel/printk/printk.c`). The kernel's numbers of the records then tell how many are lost.

mod accounts;
mod before;
mod counters;
mod kill_counts;
mod process;
mod stamps;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{
    io::unix::AsyncFd,
    sync::{mpsc, watch},
    time::sleep_until,
};

pub use self::before::{Before, before};
use self::{accounts::Accounts, process::Processes, stamps::Stamps};
use super::kernel_log::{Clock, Events, Machine};
use crate::{
    clock,
    event::{Event, Failure, Lost, LostFrom, Moment, Observation, ProbeStatus, Refusal, Rung, Source},
    node::hierarchy::Hierarchy,
};

const DEVICE: &str = "/dev/kmsg";
/// The largest record is 8 KiB (`CONSOLE_EXT_LOG_MAX`, `PRINTK_MESSAGE_MAX`); one that does not fit could not be passed.
const RECORD: usize = 16 * 1024;
/// A decision is reported when the log has been silent for so long: the members of a group follow one another faster.
const SILENCE: Duration = Duration::from_secs(1);
/// The same in the middle of a report, which a slow console may hold up.
const LONG_SILENCE: Duration = Duration::from_secs(15);

/// Why the kernel's log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The device is not there.
    #[error("/dev/kmsg does not exist; in a container, mount the host's (a hostPath volume of /dev/kmsg)")]
    Missing,
    /// It may not be read.
    #[error(
        "/dev/kmsg may not be read ({0}); needs CAP_SYSLOG, as kernel.dmesg_restrict is set as a rule, and in a container \
         the device itself: `privileged: true`, or a device rule for it (`c 1:11 r`)"
    )]
    NotAllowed(io::Error),
    /// Anything else.
    #[error("/dev/kmsg cannot be read: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::NotAllowed(error),
            _ => Self::Failed(error),
        }
    }
}

/// Opens the device, at the oldest record that the kernel still has.
fn open() -> Result<File, OpenError> {
    Ok(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(DEVICE)?)
}

/// Whether the log can be read here.
///
/// # Errors
///
/// Fails where `/dev/kmsg` cannot be opened.
pub fn check() -> Result<(), OpenError> {
    open().map(drop)
}

/// The kernel's log, from now on, and the counts of kills beside it.
pub struct Kmsg {
    device: AsyncFd<File>,
    reader: RecordReader,
    accounts: Option<Accounts>,
    status: Vec<ProbeStatus>,
}

impl Kmsg {
    /// Opens it; with `backlog` from the oldest record that the kernel still has. `proc` is the node's. Needs a runtime.
    ///
    /// # Errors
    ///
    /// Fails where `/dev/kmsg` cannot be opened.
    pub fn open(backlog: bool, hierarchy: Option<Hierarchy>, proc: Option<PathBuf>) -> Result<Self, OpenError> {
        // SAFETY: a file keeps its descriptor as long as it lives.
        let device = unsafe { AsyncFd::register(open()?) }.map_err(io::Error::from)?;
        let machine =
            Machine { page_size: Some(rustix::param::page_size() as u64), swap_total_bytes: swap_total_bytes() };
        let mut reader = RecordReader::new(machine, backlog, hierarchy.clone(), Processes::new(proc));
        if !backlog {
            reader.pass_over(device.get_ref())?;
        }
        let mut status =
            vec![ProbeStatus { symbol: DEVICE.to_owned(), attached: Some(Rung::KernelLog), refused: Vec::new() }];
        let accounts = hierarchy.and_then(|hierarchy| {
            let symbol = if hierarchy.version() == 1 { "memory.oom_control" } else { "memory.events" }.to_owned();
            let rung = Rung::CgroupEvents;
            let (attached, refused, accounts) = match Accounts::open(hierarchy) {
                Ok(accounts) => (Some(rung), Vec::new(), Some(accounts)),
                Err(error) => (None, vec![Refusal { rung, reason: error.to_string() }], None),
            };
            status.push(ProbeStatus { symbol, attached, refused });
            accounts
        });
        Ok(Self { device, reader, accounts, status })
    }

    /// As it stands in a status.
    #[must_use]
    pub fn status(&self) -> &[ProbeStatus] {
        &self.status
    }

    /// Reads and tells until `stop` says so, or nobody listens any more; then tells what is open.
    pub async fn run(mut self, tell: mpsc::Sender<Observation>, mut stop: watch::Receiver<bool>) {
        loop {
            let mut reported = tokio::select! {
                ready = self.device.readable() => match ready {
                    Ok(mut ready) => {
                        let reported = self.reader.drain(self.device.get_ref());
                        ready.clear_ready();
                        reported
                    }
                    Err(error) => vec![failure(&error)],
                },
                () = self.reader.silence() => self.reader.flush(),
                () = Accounts::due(self.accounts.as_ref()) => Vec::new(),
                _ = stop.wait_for(|stop| *stop) => break,
            };
            self.settle(&mut reported);
            if !send(&tell, reported).await {
                return;
            }
        }
        let mut reported = self.reader.drain(self.device.get_ref());
        reported.extend(self.reader.flush());
        self.settle(&mut reported);
        send(&tell, reported).await;
    }

    fn settle(&mut self, reported: &mut Vec<Observation>) {
        if let Some(accounts) = &mut self.accounts
            && let Err(error) = accounts.settle(reported)
        {
            reported.push(own(Event::Error(Failure {
                message: format!("the counts of kills in cgroups cannot be watched on: {error}"),
            })));
            self.accounts = None;
        }
    }
}

/// Whether somebody still listens.
async fn send(tell: &mpsc::Sender<Observation>, reported: Vec<Observation>) -> bool {
    for reported in reported {
        if tell.send(reported).await.is_err() {
            return false;
        }
    }
    true
}

/// `SwapTotal`: the same as the kernel's `total_swap_pages`.
fn swap_total_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("SwapTotal:")?.trim().strip_suffix(" kB"))?;
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

/// What is known between two records.
struct RecordReader {
    events: Events,
    stamps: Stamps,
    processes: Processes,
    hierarchy: Option<Hierarchy>,
    buffer: Vec<u8>,
    /// The number of the last record.
    last: Option<u64>,
    /// Records were overwritten since.
    overrun: bool,
    /// Something may be open.
    open: bool,
    last_record: Instant,
}

impl RecordReader {
    fn new(machine: Machine, backlog: bool, hierarchy: Option<Hierarchy>, processes: Processes) -> Self {
        Self {
            events: Events::new(Clock::default(), machine),
            stamps: Stamps::new(backlog),
            processes,
            hierarchy,
            buffer: vec![0; RECORD],
            last: None,
            overrun: false,
            open: false,
            last_record: Instant::now(),
        }
    }

    /// Passes over what there is. Read and not sought, for the number of the last record: without it what is overwritten
    /// before the first read could not be counted.
    fn pass_over(&mut self, mut device: &File) -> io::Result<()> {
        loop {
            match device.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => self.last = Head::read(&self.buffer[..len]).map(|head| head.sequence).or(self.last),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads all records that there are.
    fn drain(&mut self, mut device: &File) -> Vec<Observation> {
        let mut reported = Vec::new();
        loop {
            match device.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(len) => {
                    let record = self.buffer[..len].to_vec();
                    reported.extend(self.record(&record));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => self.overrun = true,
                Err(error) => {
                    reported.push(failure(&error));
                    break;
                }
            }
        }
        self.stamps.caught_up();
        reported
    }

    fn record(&mut self, record: &[u8]) -> Vec<Observation> {
        let mut reported = Vec::new();
        if let Some(Head { sequence, stamp_ns }) = Head::read(record) {
            let expected = self.last.map_or(sequence, |last| last + 1);
            if std::mem::take(&mut self.overrun) {
                // The lines before and after the gap are not of the same report.
                reported.extend(self.flush());
                let count = sequence.saturating_sub(expected).max(1);
                reported.push(own(Event::Lost(Lost::new(LostFrom::KernelLog, count))));
            }
            self.last = Some(sequence);
            self.stamps.saw(stamp_ns, clock::boot_ns());
            self.events.clock_mut().stamp_to_boot_ns = self.stamps.to_boot_ns();
        }
        self.processes.look_at(record);
        for line in record.split(|byte| *byte == b'\n') {
            reported.extend(self.events.push_line(line));
        }
        self.open = true;
        self.last_record = Instant::now();
        self.complete(reported)
    }

    /// Tells what is open.
    fn flush(&mut self) -> Vec<Observation> {
        self.open = false;
        let reported = self.events.flush();
        self.complete(reported)
    }

    /// Waits until the log has been silent for long enough; for ever where nothing can be open.
    async fn silence(&self) {
        if !self.open {
            return std::future::pending().await;
        }
        let silence = if self.events.settled() { SILENCE } else { LONG_SILENCE };
        sleep_until((self.last_record + silence).into()).await;
    }

    /// Fills in what this node knows beside its log.
    fn complete(&self, mut reported: Vec<Observation>) -> Vec<Observation> {
        for reported in &mut reported {
            self.processes.complete(&mut reported.event);
            if let Some(hierarchy) = &self.hierarchy {
                process::fill_ids(&mut reported.event, hierarchy);
            }
        }
        reported
    }
}

/// The numbers in front of a record: `<priority>,<sequence>,<microseconds>,…;`.
struct Head {
    sequence: u64,
    stamp_ns: u64,
}

impl Head {
    fn read(record: &[u8]) -> Option<Self> {
        let end = record.iter().position(|byte| *byte == b';')?;
        let mut fields = std::str::from_utf8(&record[..end]).ok()?.split(',').skip(1);
        let sequence = fields.next()?.parse().ok()?;
        let micros: u64 = fields.next()?.parse().ok()?;
        Some(Self { sequence, stamp_ns: micros.checked_mul(1000)? })
    }
}

fn own(event: Event) -> Observation {
    Observation { source: Source::Oomtrace, at: Moment::Boot(clock::boot_ns()), event }
}

fn failure(error: &io::Error) -> Observation {
    own(Event::Error(Failure { message: format!("{DEVICE} cannot be read on: {error}") }))
}
