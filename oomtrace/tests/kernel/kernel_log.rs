//! The kernel's own report of a kill, from `/dev/kmsg`.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
};

use anyhow::{Context as _, Result};

/// Reads what the kernel logs from here on.
pub(crate) struct KernelLog(File);

/// A "Killed process" line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Killed {
    pub(crate) pid: u32,
    pub(crate) total_vm_kib: u64,
    pub(crate) anon_kib: u64,
    pub(crate) file_kib: u64,
    pub(crate) shmem_kib: u64,
    pub(crate) pgtables_kib: u64,
    pub(crate) uid: u32,
    pub(crate) oom_score_adj: i32,
}

impl KernelLog {
    pub(crate) fn from_now() -> Result<Self> {
        let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
        log.seek(SeekFrom::End(0))?;
        Ok(Self(log))
    }

    /// The messages since.
    pub(crate) fn lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            match self.0.read(&mut buffer) {
                Ok(len) => {
                    let record = String::from_utf8_lossy(&buffer[..len]).into_owned();
                    let text = record.split_once(';').map_or("", |(_, text)| text);
                    lines.push(text.lines().next().unwrap_or_default().to_owned());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(lines),
                // Overwritten before it was read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => return Err(error).context("/dev/kmsg"),
            }
        }
    }
}

/// The value behind `key` up to the next separator.
pub(crate) fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(key)?;
    rest.split([',', ' ']).next()
}

pub(crate) fn killed(line: &str) -> Option<Killed> {
    let kib = |key| value(line, key)?.strip_suffix("kB")?.parse().ok();
    Some(Killed {
        pid: value(line, "Killed process ")?.parse().ok()?,
        total_vm_kib: kib("total-vm:")?,
        anon_kib: kib("anon-rss:")?,
        file_kib: kib("file-rss:")?,
        shmem_kib: kib("shmem-rss:")?,
        pgtables_kib: kib("pgtables:")?,
        uid: value(line, "UID:")?.parse().ok()?,
        oom_score_adj: value(line, "oom_score_adj:")?.parse().ok()?,
    })
}

/// A row of the kernel's table of tasks.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) pid: u32,
    pub(crate) total_vm_pages: u64,
    pub(crate) pgtables_bytes: u64,
    pub(crate) oom_score_adj: i32,
    pub(crate) comm: String,
}

/// `[  pid  ]   uid  tgid total_vm      rss [...] pgtables_bytes swapents oom_score_adj name`: newer kernels split rss.
pub(crate) fn task(line: &str) -> Option<Task> {
    let (pid, columns) = line.strip_prefix('[')?.split_once(']')?;
    let columns: Vec<_> = columns.split_whitespace().collect();
    let [.., pgtables, _swap, oom_score_adj, comm] = columns[..] else { return None };
    Some(Task {
        pid: pid.trim().parse().ok()?,
        total_vm_pages: columns.get(2)?.parse().ok()?,
        pgtables_bytes: pgtables.parse().ok()?,
        oom_score_adj: oom_score_adj.parse().ok()?,
        comm: comm.to_owned(),
    })
}
