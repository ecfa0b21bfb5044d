//! The node's journal: a real journald, told what a kubelet once said.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::symlink, net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use jiff::{Timestamp, tz::TimeZone};

use crate::oomtrace::wait_until;

/// Where journald takes what units print.
const STREAM: &str = "/run/systemd/journal/stdout";
const JOURNALCTL: &str = "/usr/bin/journalctl";

/// How kubelet 1.36 evicted `team-a/be-multi`, word for word.
const EVICTION: [&str; 6] = [
    r#"eviction_manager.go:381] "Eviction manager: attempting to reclaim" resourceName="memory""#,
    r#"eviction_manager.go:392] "Eviction manager: must evict pod(s) to reclaim" resourceName="memory""#,
    r#"eviction_manager.go:410] "Eviction manager: pods ranked for eviction" pods=["team-a/be-multi"]"#,
    r#"eviction_manager.go:635] "Eviction manager: pod is evicted successfully" pod="team-a/be-multi""#,
    r#"eviction_manager.go:213] "Eviction manager: pods evicted, waiting for pod to be cleaned up" pods=["team-a/be-multi"]"#,
    r#"eviction_manager.go:464] "Eviction manager: pods successfully cleaned up" pods=["team-a/be-multi"]"#,
];

/// A journald that runs, with a `journalctl` on the PATH for as long.
pub(crate) struct Journal(Child);

impl Journal {
    pub(crate) fn start() -> Result<Self> {
        fs::write("/etc/machine-id", "58eb296b506d43b286e3c8c78019b52d\n")?;
        for folder in ["/run/systemd/journal", "/run/log/journal"] {
            fs::create_dir_all(folder)?;
        }
        symlink("/usr/lib/systemd/journalctl", JOURNALCTL)?;
        let journald = Command::new("/usr/lib/systemd/systemd-journald").stdin(Stdio::null()).spawn()?;
        wait_until("journald listens", || Ok(Path::new(STREAM).exists()))?;
        Ok(Self(journald))
    }

    /// What systemd opens as the standard output of a unit: identifier, unit, priority, and where else it goes
    /// (`stdout_stream_line`, `src/journal/journald-stream.c`).
    #[expect(clippy::unused_self, reason = "there has to be a journal to write to")]
    pub(crate) fn stdout_of(&self, unit: &str) -> Result<UnixStream> {
        let mut stream = UnixStream::connect(STREAM).context(STREAM)?;
        write!(stream, "{unit}\n{unit}.service\n6\n1\n0\n0\n0\n")?;
        Ok(stream)
    }

    /// Says, as the kubelet's unit, that a pod is evicted now.
    pub(crate) fn evict(&self, pod: &str) -> Result<()> {
        let now = TimeZone::UTC.to_datetime(Timestamp::now()).strftime("%m%d %H:%M:%S%.6f").to_string();
        let mut stream = self.stdout_of("kubelet")?;
        for line in EVICTION {
            writeln!(stream, "I{now}     440 {}", line.replace("team-a/be-multi", pod))?;
        }
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_file(JOURNALCTL);
    }
}
