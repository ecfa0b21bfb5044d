//! This node's logs: its journal, else `/dev/kmsg` and the usual files.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::SignedDuration;
use rustix::fs::{Mode, OFlags};

use super::Gathering;
use crate::{
    replay::archive,
    source::{
        journal::Place,
        kubelet::{self, NotPrinted},
    },
};

/// How long `journalctl` may take. A journal of gigabytes on a slow disk takes a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// So many of the last lines are read: of a kernel, and of a kubelet that says much.
const KERNEL_LINES: usize = 200_000;
const KUBELET_LINES: usize = 300_000;
/// A log has no more bytes.
const MOST_BYTES: usize = 256 << 20;
/// Of files so much of the end is read.
const TAIL_BYTES: u64 = 32 << 20;
/// A record of `/dev/kmsg` is no longer (`CONSOLE_EXT_LOG_MAX`, `kernel/printk/printk.c`).
const RECORD_BYTES: usize = 16 << 10;
/// Logs are read from the last day on.
const PAST: SignedDuration = SignedDuration::from_hours(24);
/// Where the journal's files are.
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// Where syslog keeps the kernel's lines, and other services'.
const KERNEL_FILES: [&str; 3] = ["/var/log/kern.log", "/var/log/messages", "/var/log/syslog"];
/// Where a kubelet's log is kept, or syslog keeps it.
const KUBELET_FILES: [&str; 6] = [
    "/var/log/kubelet.log",
    "/var/log/k3s.log",
    "/var/log/k3s-agent.log",
    "/var/lib/rancher/rke2/agent/logs/kubelet.log",
    "/var/log/messages",
    "/var/log/syslog",
];

impl Gathering<'_> {
    /// The kernel's log, and the kubelet's.
    pub(super) async fn logs(&mut self) {
        let journal = self.journal();
        let since = self.since.or_else(|| self.now.checked_sub(PAST).ok());
        let after = since.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let since = since.map_or_else(String::new, |since| format!("--since=@{}", since.as_second()));
        let common = ["--quiet", "--no-pager", "--all", "--output=short-iso-precise"].map(str::to_owned);
        let arguments = |lines: usize, more: Vec<String>| {
            [&common[..], &[format!("--lines={lines}"), since.clone()], &more].concat()
        };
        let of_kernel = arguments(KERNEL_LINES, vec!["_TRANSPORT=kernel".to_owned()]);
        let units = kubelet::known_units();
        let of_kubelet = arguments(KUBELET_LINES, units.iter().map(|unit| format!("--unit={unit}")).collect());
        match self.printed(&journal, &of_kernel, (None, after, KERNEL_LINES)).await {
            Ok(log) => self.keep(archive::KERNEL, log),
            Err(why) => {
                self.miss("the kernel's log in the journal", why);
                self.kmsg();
                self.files(&KERNEL_FILES);
            }
        }
        match self.printed(&journal, &of_kubelet, (Some(&units), after, KUBELET_LINES)).await {
            Ok(log) => self.keep(archive::KUBELET, log),
            Err(why) => {
                self.miss("the kubelet's log in the journal", why);
                self.files(&KUBELET_FILES);
            }
        }
    }

    /// Where the journal's files are, if not where `journalctl` looks; an error where this node has none.
    fn journal(&self) -> Result<Option<PathBuf>, String> {
        let host = &self.options.host;
        if host.path("/") == Path::new("/") {
            return Ok(None);
        }
        let found = JOURNALS.iter().map(|folder| host.path(folder)).find(|folder| folder.is_dir());
        found
            .map(Some)
            .ok_or_else(|| format!("neither {} is below the root folder that is given", JOURNALS.join(" nor ")))
    }

    /// What `journalctl` prints for these arguments; where there is none, as in a container, the same entries from the journal's
    /// files: of these units, or of the kernel, since then, so many.
    async fn printed(
        &self,
        journal: &Result<Option<PathBuf>, String>,
        arguments: &[String],
        (units, since, lines): (Option<&[String]>, jiff::Timestamp, usize),
    ) -> Result<Vec<u8>, String> {
        let folder = journal.clone()?;
        match kubelet::print(folder, arguments, PATIENCE, MOST_BYTES).await {
            Err(NotPrinted::No(none)) => {
                let place = Place::Node(self.options.host.clone());
                match kubelet::gather(place, units, since, lines, MOST_BYTES) {
                    Ok(log) if log.is_empty() => Err("the journal: it has no such lines".to_owned()),
                    Ok(log) => Ok(log),
                    Err(files) => Err(format!("{none}, and its files cannot be read: {files}")),
                }
            }
            printed => printed.map_err(|error| error.to_string()),
        }
    }

    /// What the kernel keeps of its log itself.
    fn kmsg(&mut self) {
        let path = self.options.host.path("/dev/kmsg");
        match kmsg(&path) {
            Ok(log) if log.is_empty() => self.miss("/dev/kmsg", "it is empty"),
            Ok(log) => self.keep(archive::KMSG, log),
            Err(error) => self.miss("/dev/kmsg", format!("{error}; it needs CAP_SYSLOG, or kernel.dmesg_restrict=0")),
        }
    }

    /// The ends of files, each under its own path.
    fn files(&mut self, paths: &[&str]) {
        let mut absent = Vec::new();
        for path in paths {
            let kept = path.trim_start_matches('/');
            if self.kept.iter().any(|known| known.path == kept) {
                continue;
            }
            match tail(&self.options.host.path(path)) {
                Ok(log) if log.is_empty() => self.miss(path, "it is empty"),
                Ok(log) => self.keep(kept, log),
                Err(error) if error.kind() == io::ErrorKind::NotFound => absent.push(*path),
                Err(error) => self.miss(path, error),
            }
        }
        if !absent.is_empty() {
            self.miss(&absent.join(", "), "not there");
        }
    }
}

/// All records that are there; it does not wait for more.
fn kmsg(path: &Path) -> io::Result<Vec<u8>> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    let (mut log, mut record) = (Vec::new(), vec![0; RECORD_BYTES]);
    while log.len() < MOST_BYTES {
        match rustix::io::read(&file, &mut record) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
            Ok(count) => log.extend_from_slice(&record[..count]),
            // Records that were overwritten while they were read.
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(log)
}

/// The end of a file, from the start of a line.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    if from > 0
        && let Some(end) = memchr::memchr(b'\n', &tail)
    {
        tail.drain(..=end);
    }
    Ok(tail)
}
