//! The kernel's counts of kills in each container's cgroup, watched: what the log loses, they still tell.
//!
//! On cgroup v2 `memory.events` is watched by inotify: the kernel notifies of every change, at most once in 10 ms
//! (`cgroup_file_notify`, `kernel/cgroup/cgroup.c`). On v1 one eventfd is registered with every `memory.oom_control`,
//! which notifies of an OOM before the kill (`mem_cgroup_oom_notify`, `mm/memcontrol.c`): it is read again a little later.
//! New cgroups are learnt by inotify on the directories above them.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, eventfd},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
};
use tokio::{io::unix::AsyncFd, time::sleep_until};

use crate::node::{
    cgroup_path::{CgroupIdentity, Level},
    hierarchy::Hierarchy,
};

/// Watches are the kernel's memory: of more cgroups than these, kills are reported by the log alone.
const MOST: usize = 8192;
/// Deeper than any runtime makes containers.
const DEEPEST: usize = 10;
/// On v1, from the notification to the kill.
const LATER: Duration = Duration::from_millis(500);

/// Kills that a container's cgroup has counted since it was asked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) cgroup: String,
    pub(super) kills: u64,
}

/// Containers' counts, and what notifies of their changes.
pub(super) struct Counters {
    hierarchy: Hierarchy,
    inotify: AsyncFd<OwnedFd>,
    folders: HashMap<i32, String>,
    files: HashMap<i32, String>,
    /// cgroup v1.
    oom: Option<AsyncFd<OwnedFd>>,
    read_again: Option<Instant>,
    /// The last count of each container's cgroup.
    counts: HashMap<String, u64>,
    /// Cgroups that are not watched, as there are too many.
    left_out: u64,
}

impl Counters {
    /// Watches what there is. Needs a runtime.
    pub(super) fn watch(hierarchy: Hierarchy) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // SAFETY: an owned descriptor stays open as long as it lives.
        let inotify = unsafe { AsyncFd::register(inotify) }.map_err(io::Error::from)?;
        let oom = if hierarchy.version() == 1 {
            let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
            // SAFETY: as above.
            Some(unsafe { AsyncFd::register(eventfd) }.map_err(io::Error::from)?)
        } else {
            None
        };
        let mut counters = Self {
            hierarchy,
            inotify,
            folders: HashMap::new(),
            files: HashMap::new(),
            oom,
            read_again: None,
            counts: HashMap::new(),
            left_out: 0,
        };
        counters.learn("/", false);
        Ok(counters)
    }

    /// Cgroups that are not watched.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The container's cgroup that is counted for a cgroup in it: the same, or one above.
    pub(super) fn counted_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end]).find(|above| self.counts.contains_key(*above))
    }

    /// Waits until there may be something to read.
    pub(super) async fn changed(&self) -> io::Result<()> {
        let oom = async {
            match &self.oom {
                Some(oom) => oom.readable().await.map(|mut ready| ready.clear_ready()),
                None => std::future::pending().await,
            }
        };
        let again = async {
            match self.read_again {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.inotify.readable() => ready.map(|mut ready| ready.clear_ready()),
            ready = oom => ready,
            () = again => Ok(()),
        }
    }

    /// Reads what has changed.
    pub(super) fn read(&mut self, now: Instant) -> io::Result<Vec<Counted>> {
        let mut changed = self.notified()?;
        if self.was_oom()? {
            self.read_again = Some(now + LATER);
        } else if self.read_again.is_some_and(|at| at <= now) {
            self.read_again = None;
            changed.extend(self.counts.keys().cloned());
        }
        changed.sort_unstable();
        changed.dedup();
        Ok(changed.into_iter().filter_map(|path| self.newly_counted(path)).collect())
    }

    /// What inotify says: the cgroups whose counts changed. New ones are learnt.
    fn notified(&mut self) -> io::Result<Vec<String>> {
        let (mut changed, mut made, mut overflown) = (Vec::new(), Vec::new(), false);
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let (watch, events) = (event.wd(), event.events());
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                overflown = true;
            } else if events.contains(ReadFlags::IGNORED) {
                self.folders.remove(&watch);
                if let Some(path) = self.files.remove(&watch) {
                    self.counts.remove(&path);
                }
            } else if let Some(path) = self.files.get(&watch) {
                changed.push(path.clone());
            } else if let (Some(above), Some(name)) = (self.folders.get(&watch), event.file_name()) {
                let path = format!("{}/{}", above.trim_end_matches('/'), name.to_string_lossy());
                if events.contains(ReadFlags::CREATE) {
                    made.push(path);
                } else if self.oom.is_some() {
                    self.counts.remove(&path);
                }
            }
        }
        for path in made {
            // It may have been made, and have killed, before it is learnt: its count began at 0.
            changed.extend(self.learn(&path, true));
        }
        if overflown {
            self.learn("/", true);
            changed.extend(self.counts.keys().cloned());
        }
        Ok(changed)
    }

    /// Watches a cgroup and those below it; gives the containers among them. A new one's count begins at 0.
    fn learn(&mut self, path: &str, new: bool) -> Vec<String> {
        let mut learnt = Vec::new();
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            if self.folders.len() + self.counts.len() >= MOST {
                self.left_out += 1;
                continue;
            }
            if is_container(&path) {
                if !self.counts.contains_key(&path) && self.watch_container(&path).is_some() {
                    let count = if new { 0 } else { self.count(&path).unwrap_or(0) };
                    self.counts.insert(path.clone(), count);
                    learnt.push(path);
                }
            } else if path.matches('/').count() <= DEEPEST {
                waiting.extend(self.watch_folder(&path));
            }
        }
        learnt
    }

    /// Watches a directory for what is made in it, and gives what there is. One that has gone has nothing.
    fn watch_folder(&mut self, path: &str) -> Vec<String> {
        let Some(folder) = self.hierarchy.folder(path) else { return Vec::new() };
        let wanted = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        let Ok(watch) = inotify::add_watch(self.inotify.get_ref(), &folder, wanted) else { return Vec::new() };
        self.folders.insert(watch, path.to_owned());
        let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| format!("{}/{}", path.trim_end_matches('/'), entry.file_name().to_string_lossy()))
            .collect()
    }

    fn watch_container(&mut self, path: &str) -> Option<()> {
        let folder = self.hierarchy.folder(path)?;
        if let Some(oom) = &self.oom {
            let control = File::open(folder.join("memory.oom_control")).ok()?;
            let wanted = format!("{} {}", oom.as_raw_fd(), control.as_raw_fd());
            return fs::write(folder.join("cgroup.event_control"), wanted).ok();
        }
        let file = folder.join("memory.events");
        let watch = inotify::add_watch(self.inotify.get_ref(), &file, WatchFlags::MODIFY).ok()?;
        self.files.insert(watch, path.to_owned());
        Some(())
    }

    /// Whether the eventfd was written to.
    fn was_oom(&self) -> io::Result<bool> {
        let Some(oom) = &self.oom else { return Ok(false) };
        match rustix::io::read(oom.get_ref(), &mut [0; 8]) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn newly_counted(&mut self, cgroup: String) -> Option<Counted> {
        let count = self.count(&cgroup)?;
        let known = self.counts.get_mut(&cgroup)?;
        let kills = count.saturating_sub(*known);
        *known = count;
        (kills > 0).then_some(Counted { cgroup, kills })
    }

    fn count(&self, path: &str) -> Option<u64> {
        let file = if self.oom.is_some() { "memory.oom_control" } else { "memory.events" };
        let text = self.hierarchy.read(path, file).ok()??;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }
}

/// A container's own cgroup: those that it makes below are counted in it.
fn is_container(path: &str) -> bool {
    let identity = CgroupIdentity::parse(path);
    identity.level == Level::Container && identity.nested.is_none()
}
