//! The node's journal: a real journald, given what a kubelet once said.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::symlink, net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{kubelet_words, oomtrace::wait_until};

/// Where journald takes what units print.
const STREAM: &str = "/run/systemd/journal/stdout";
const FILES: &str = "/run/log/journal";
const JOURNALCTL: &str = "/usr/bin/journalctl";

/// A journald that runs, with a `journalctl` on the PATH for as long.
pub(super) struct Journal(Child);

impl Journal {
    pub(super) fn start() -> Result<Self> {
        fs::write("/etc/machine-id", "58eb296b506d43b286e3c8c78019b52d\n")?;
        // Of a test that failed and runs again, too.
        let _ = fs::remove_dir_all(FILES);
        let _ = fs::remove_file(STREAM);
        for folder in ["/run/systemd/journal", FILES] {
            fs::create_dir_all(folder)?;
        }
        symlink("/usr/lib/systemd/journalctl", JOURNALCTL)?;
        let journald = Command::new("/usr/lib/systemd/systemd-journald").stdin(Stdio::null()).spawn()?;
        wait_until("journald listens", || Ok(Path::new(STREAM).exists()))?;
        Ok(Self(journald))
    }

    /// Says, as the kubelet's unit, that a pod is evicted now.
    #[expect(clippy::unused_self, reason = "there has to be a journal to say it to")]
    pub(super) fn evict(&self, pod: &str) -> Result<()> {
        let mut stream = UnixStream::connect(STREAM).context(STREAM)?;
        // As systemd opens the standard output of a unit: identifier, unit, priority, and where else it goes
        // (`stdout_stream_line`, `src/journal/journald-stream.c`).
        stream.write_all(b"kubelet\nkubelet.service\n6\n1\n0\n0\n0\n")?;
        stream.write_all(kubelet_words::eviction(pod).as_bytes())?;
        Ok(())
    }

    /// Its last entries, whichever unit they are of, and whether it runs still.
    pub(super) fn text(&mut self) -> String {
        let ended = self.0.try_wait();
        let printed = Command::new(JOURNALCTL).args(["--lines", "40", "--output", "export"]).output();
        let printed = printed.map(|printed| String::from_utf8_lossy(&printed.stdout).into_owned());
        format!("journald ended: {ended:?}\n{printed:?}")
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_file(JOURNALCTL);
    }
}
