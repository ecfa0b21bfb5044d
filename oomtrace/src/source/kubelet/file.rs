//! A log file, followed.
//!
//! Looked at twice a second: inotify does not tell of changes through overlays and network mounts. A rotated file is read to
//! its end before the new one is; one that became shorter is read from its start. Compressed older files are left alone,
//! as they hold nothing new.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::feed::{Feed, Gone, SILENCE};
use crate::event::Observation;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// For so long a file that was replaced may still be written to: until the writer has noticed.
const LINGERS: Duration = Duration::from_secs(1);
/// How much of the past is read for the names in it.
const PAST: u64 = 4 * 1024 * 1024;

/// A file that is followed.
pub(super) struct Followed {
    path: PathBuf,
    file: File,
    /// Device and inode of the file that is open.
    identity: (u64, u64),
    /// How far it was read.
    at: u64,
    /// How long it was when it was opened: what follows is new, whatever the clock says.
    old: u64,
    /// Since when another file has been in its place.
    replaced: Option<Instant>,
    buffer: Vec<u8>,
}

/// What there was to read.
enum More {
    Bytes,
    Nothing,
    /// Another file is there now, or the same from its start.
    Anew,
}

impl Followed {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder; name the file"));
        }
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self {
            path: path.to_path_buf(),
            file,
            identity,
            at: metadata.len(),
            old: metadata.len(),
            replaced: None,
            buffer: vec![0; PIECE],
        })
    }

    /// Nothing of it is of the past.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    pub(super) async fn run(
        mut self,
        feed: &mut Feed,
        tell: &mpsc::Sender<Observation>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Gone> {
        if let Ok(past) = self.past() {
            feed.learn(&past);
        }
        let (mut last, mut failed) = (Instant::now(), false);
        loop {
            if self.at >= self.old {
                feed.tell_since(Timestamp::MIN);
            }
            match self.read() {
                Ok((More::Bytes, count)) => {
                    feed.push(&self.buffer[..count], tell).await?;
                    (last, failed) = (Instant::now(), false);
                    continue;
                }
                Ok((More::Anew, _)) => {
                    feed.finish(tell).await?;
                    continue;
                }
                Ok((More::Nothing, _)) => failed = false,
                Err(error) if !failed => {
                    failed = true;
                    let path = self.path.display();
                    feed.fail(format!("the kubelet's log {path} cannot be read: {error}; it is tried again"), tell)
                        .await?;
                }
                Err(_) => {}
            }
            if last.elapsed() > SILENCE {
                feed.idle(tell).await?;
            }
            tokio::select! {
                () = sleep(EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        // What was written meanwhile.
        while let Ok((More::Bytes, count)) = self.read() {
            feed.push(&self.buffer[..count], tell).await?;
        }
        Ok(())
    }

    /// What the file holds from before, its whole lines.
    fn past(&mut self) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(self.at.saturating_sub(PAST)))?;
        let mut past = Vec::new();
        (&mut self.file).take(PAST.min(self.at)).read_to_end(&mut past)?;
        // The line that is being written now is read when it is whole.
        let whole = memchr::memrchr(b'\n', &past).map_or(0, |end| end + 1);
        self.at = (self.at - past.len() as u64) + whole as u64;
        past.truncate(whole);
        self.file.seek(SeekFrom::Start(self.at))?;
        Ok(past)
    }

    fn read(&mut self) -> io::Result<(More, usize)> {
        if self.file.metadata()?.len() < self.at {
            (self.at, self.old) = (self.file.seek(SeekFrom::Start(0))?, 0);
            return Ok((More::Anew, 0));
        }
        let count = self.file.read(&mut self.buffer)?;
        if count > 0 {
            self.at += count as u64;
            return Ok((More::Bytes, count));
        }
        // The end of this one; between a rename and the new file's appearance there is none.
        match fs::metadata(&self.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) != self.identity => {
                if self.replaced.get_or_insert_with(Instant::now).elapsed() < LINGERS {
                    return Ok((More::Nothing, 0));
                }
                self.replaced = None;
                self.file = File::open(&self.path)?;
                let metadata = self.file.metadata()?;
                (self.identity, self.at, self.old) = ((metadata.dev(), metadata.ino()), 0, 0);
                Ok((More::Anew, 0))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok((More::Nothing, 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::event::{ContainerAction, Event};

    fn line(pod: &str) -> String {
        let now = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now());
        let (date, time) = (now.strftime("%m%d"), now.strftime("%H:%M:%S%.6f"));
        format!("I{date} {time}     440 kubelet.go:1] \"SyncLoop DELETE\" source=\"api\" pods=[\"default/{pod}\"]\n")
    }

    struct Following {
        reported: mpsc::Receiver<Observation>,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    fn follow(path: &Path) -> Following {
        let (tell, reported) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(false);
        let kubelet = super::super::Kubelet::open(&super::super::Log::File(path.to_path_buf())).expect("it is there");
        Following { reported, stop, task: tokio::spawn(kubelet.run(tell, stopped)) }
    }

    impl Following {
        async fn pod(&mut self) -> String {
            let reported = tokio::time::timeout(Duration::from_secs(30), self.reported.recv()).await.expect("in time");
            match reported.expect("an event").event {
                Event::Container(change) if change.action == ContainerAction::PodDeleted => {
                    change.pod.and_then(|pod| pod.name).expect("a name")
                }
                event => unreachable!("{event:?}"),
            }
        }
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(test);
    }

    #[test]
    fn a_file_is_followed_across_rotation_and_truncation() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubelet.log");
        fs::write(&path, line("before")).expect("written");
        let append = |text: &str| {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).expect("open");
            file.write_all(text.as_bytes()).expect("written");
        };
        run(async {
            let mut following = follow(&path);
            sleep(EVERY).await;
            append(&line("first"));
            assert_eq!(following.pod().await, "first", "and not what was there before");

            let text = line("in-pieces");
            let (start, end) = text.split_at(60);
            append(start);
            sleep(EVERY * 2).await;
            append(end);
            assert_eq!(following.pod().await, "in-pieces");

            append(&line("last-of-the-old"));
            fs::rename(&path, folder.path().join("kubelet.log.1")).expect("renamed");
            fs::write(folder.path().join("kubelet.log.2.gz"), line("compressed")).expect("written");
            append(&line("first-of-the-new"));
            assert_eq!(following.pod().await, "last-of-the-old");
            assert_eq!(following.pod().await, "first-of-the-new");

            // `copytruncate`.
            fs::write(&path, "").expect("truncated");
            sleep(EVERY * 2).await;
            append(&line("after-truncation"));
            assert_eq!(following.pod().await, "after-truncation");

            append(line("without-an-end").trim_end());
            sleep(EVERY * 2).await;
            following.stop.send_replace(true);
            assert_eq!(following.pod().await, "without-an-end");
            following.task.await.expect("it ends");
        });
    }

    #[test]
    fn the_thresholds_of_the_last_start_hold_as_of_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubelet.log");
        let starts = |threshold: &str| {
            format!(
                "I0101 00:00:00.000000     440 f.go:1] Creating Container Manager object based on Node Config: \
                 {{HardEvictionThresholds:[{{Signal:memory.available Operator:LessThan Value:{{Quantity:{threshold} \
                 Percentage:0}} GracePeriod:0s MinReclaim:<nil>}}]}}\n"
            )
        };
        fs::write(&path, starts("100Mi") + &line("before") + &starts("1Gi").replace("I0101", "I0102"))
            .expect("written");
        let before = jiff::Timestamp::now();
        run(async {
            let mut following = follow(&path);
            let reported =
                tokio::time::timeout(Duration::from_secs(30), following.reported.recv()).await.expect("in time");
            let reported = reported.expect("an event");
            assert!(
                matches!(&reported.event, Event::Eviction(step) if step.threshold_bytes == Some(1 << 30)),
                "{reported:?}"
            );
            assert!(matches!(reported.at, crate::event::Moment::Wall(at) if at >= before), "{reported:?}");
            following.stop.send_replace(true);
            following.task.await.expect("it ends");
            assert!(following.reported.recv().await.is_none(), "nothing else of the past");
        });
    }

    #[test]
    fn a_file_that_comes_later_is_read_from_its_start() {
        use super::super::{Kubelet, Log};
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubelet.log");
        run(async {
            let (tell, mut reported) = mpsc::channel(8);
            let (_stop, stopped) = watch::channel(false);
            let degradation = crate::degradation::Degradation::default();
            degradation.say("no log".to_owned());
            let task =
                tokio::spawn(Kubelet::run_when_there(Log::File(path.clone()), degradation.clone(), tell, stopped));
            sleep(Duration::from_millis(50)).await;
            fs::write(&path, line("first")).expect("written");
            let reported = tokio::time::timeout(Duration::from_secs(30), reported.recv()).await.expect("in time");
            assert!(matches!(reported.expect("an event").event, Event::Container(_)));
            assert_eq!(degradation.now(), None);
            task.abort();
        });
    }

    #[test]
    fn a_file_that_is_not_there_is_said_to_be() {
        let log = super::super::Log::File("/nowhere/kubelet.log".into());
        let error = super::super::Kubelet::open(&log).err().expect("an error").to_string();
        assert!(error.contains("/nowhere/kubelet.log"), "{error}");
    }
}
