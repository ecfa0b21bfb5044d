//! The kubelet's log out of a real journal.
//!
//! Needs `journalctl`, and `systemd-journal-remote` to write a journal with (Debian's package of that name). Where it is
//! not installed, `OOMTRACE_JOURNAL_REMOTE` may name the program. Without them it says so, and tests nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use oomtrace::{
    event::{Event, Observation},
    source::{
        journal::Place,
        kubelet::{Kubelet, Log},
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

fn writer() -> Option<PathBuf> {
    let asked_for = std::env::var_os("OOMTRACE_JOURNAL_REMOTE").map(PathBuf::from);
    let usual = ["/usr/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-remote"].map(PathBuf::from);
    let reader = Command::new("journalctl").arg("--version").stdout(Stdio::null()).status();
    reader.ok().and(asked_for.into_iter().chain(usual).find(|path| path.exists()))
}

struct Journal {
    writer: PathBuf,
    folder: tempfile::TempDir,
}

impl Journal {
    /// Writes an entry: the deletion of a pod, as `unit` logs it.
    fn write(&self, file: &str, unit: &str, at: Timestamp, pod: &str) {
        let local = TimeZone::UTC.to_datetime(at);
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot").trim().replace('-', "");
        let (date, time) = (local.strftime("%m%d"), local.strftime("%H:%M:%S%.6f"));
        let entry = format!(
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={boot}\n\
             _MACHINE_ID=58eb296b506d43b286e3c8c78019b52d\n_SYSTEMD_UNIT={unit}.service\nSYSLOG_IDENTIFIER={unit}\n_PID=440\n\
             MESSAGE=I{date} {time}     440 kubelet.go:1] \"SyncLoop DELETE\" source=\"api\" pods=[\"default/{pod}\"]\n\n",
            at.as_microsecond(),
            // As good as any clock that nobody sets.
            at.as_microsecond() - 1_000_000_000_000_000,
        );
        let export = self.folder.path().join("entry.export");
        fs::write(&export, entry).expect("written");
        let journal = self.journal().join(file);
        let status = Command::new(&self.writer).arg("-o").arg(journal).arg(&export).stderr(Stdio::null()).status();
        assert!(status.expect("it runs").success());
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }
}

async fn pod(reported: &mut mpsc::Receiver<Observation>) -> String {
    let reported = timeout(Duration::from_mins(1), reported.recv()).await.expect("in time").expect("an event");
    match reported.event {
        Event::Container(change) => change.pod.and_then(|pod| pod.name).expect("a name"),
        event => unreachable!("{event:?}"),
    }
}

#[test]
fn nothing_of_a_journal_is_lost_or_reported_twice_when_it_is_rotated_or_oomtrace_starts_anew() {
    let Some(writer) = writer() else {
        eprintln!("SKIPPED: needs journalctl and systemd-journal-remote, which are not here");
        return;
    };
    let journal = Journal { writer, folder: tempfile::tempdir().expect("a folder") };
    fs::create_dir(journal.journal()).expect("a folder");
    let minute = jiff::SignedDuration::from_mins(1);
    journal.write("first.journal", "kubelet", Timestamp::now() - minute, "past");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (tell, mut reported) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(false);
        let state = Some(journal.folder.path().join("state"));
        let log = Log::Journal { units: Vec::new(), place: Place::Folder(journal.journal()), state };
        let reading = tokio::spawn(Kubelet::open(&log).expect("a journal").run(tell, stopped));
        sleep(Duration::from_secs(1)).await;

        journal.write("first.journal", "app", Timestamp::now(), "forged");
        journal.write("first.journal", "kubelet", Timestamp::now(), "present");
        assert_eq!(pod(&mut reported).await, "present", "neither the past nor what another unit says");

        journal.write("first.journal", "k3s", Timestamp::now(), "later");
        assert_eq!(pod(&mut reported).await, "later");

        journal.write("second.journal", "kubelet", Timestamp::now(), "rotated");
        assert_eq!(pod(&mut reported).await, "rotated");

        stop.send_replace(true);
        reading.await.expect("it ends");
        assert!(reported.recv().await.is_none(), "and nothing else was reported");

        journal.write("second.journal", "kubelet", Timestamp::now(), "meanwhile");
        for expected in [Some("meanwhile"), None] {
            let (tell, mut reported) = mpsc::channel(64);
            let (stop, stopped) = watch::channel(false);
            let reading = tokio::spawn(Kubelet::open(&log).expect("a journal").run(tell, stopped));
            if let Some(expected) = expected {
                assert_eq!(pod(&mut reported).await, expected, "what was written while nobody read");
            }
            sleep(Duration::from_secs(1)).await;
            stop.send_replace(true);
            reading.await.expect("it ends");
            assert!(reported.recv().await.is_none(), "and nothing twice");
        }
    });
}

/// The `journalctl`s that this process runs.
fn readers() -> Vec<i32> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task").expect("tasks").flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for pid in children.split_whitespace() {
            let comm = fs::read_to_string(Path::new("/proc").join(pid).join("comm")).unwrap_or_default();
            if comm.trim() == "journalctl" {
                found.push(pid.parse().expect("a pid"));
            }
        }
    }
    found
}

#[test]
fn where_files_cannot_be_read_journalctl_is_and_nothing_is_lost_or_reported_twice_when_it_ends() {
    let Some(writer) = writer() else {
        eprintln!("SKIPPED: needs journalctl and systemd-journal-remote, which are not here");
        return;
    };
    let journal = Journal { writer, folder: tempfile::tempdir().expect("a folder") };
    fs::create_dir(journal.journal()).expect("a folder");
    let minute = jiff::SignedDuration::from_mins(1);
    journal.write("first.journal", "kubelet", Timestamp::now() - minute, "past");
    // The file that is written now, with a header that nobody knows.
    fs::write(journal.journal().join("system.journal"), [0x5a; 4096]).expect("written");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (tell, mut reported) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(false);
        let log = Log::Journal { units: Vec::new(), place: Place::Folder(journal.journal()), state: None };
        let kubelet = Kubelet::open(&log).expect("journalctl is here");
        let lacking = kubelet.lacking().expect("its files cannot be read");
        assert!(lacking.contains("by journalctl") && lacking.contains("system.journal"), "{lacking}");
        let reading = tokio::spawn(kubelet.run(tell, stopped));
        sleep(Duration::from_secs(1)).await;

        journal.write("first.journal", "app", Timestamp::now(), "forged");
        journal.write("first.journal", "kubelet", Timestamp::now(), "present");
        assert_eq!(pod(&mut reported).await, "present", "neither the past nor what another unit says");

        assert!(!readers().is_empty());
        for reader in readers() {
            let pid = rustix::process::Pid::from_raw(reader).expect("a pid");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
        }
        journal.write("first.journal", "k3s", Timestamp::now(), "meanwhile");
        assert_eq!(pod(&mut reported).await, "meanwhile");

        stop.send_replace(true);
        reading.await.expect("it ends");
        assert!(reported.recv().await.is_none(), "and nothing else was reported");
        assert!(readers().is_empty());
    });
}
