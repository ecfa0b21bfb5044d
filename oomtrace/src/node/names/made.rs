//! The folders that runtimes make for containers, reported as they are made: before the container's cgroup, and also where the
//! kernel's side does not tell of cgroups.

use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::node::cgroup_path::ContainerId;

/// Watches folders for containers' folders in them.
pub(super) struct Made {
    /// None, where the kernel has none to spare: then cgroups alone tell of containers.
    inotify: Option<AsyncFd<OwnedFd>>,
    folders: HashMap<i32, PathBuf>,
}

/// What was made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Containers that have a folder now.
    pub(super) containers: Vec<ContainerId>,
    /// Whether there is more than these to be looked at: another folder, or more than the kernel keeps for us.
    pub(super) others: bool,
}

impl Made {
    /// Watches nothing yet. Needs a runtime.
    pub(super) fn new() -> Self {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(io::Error::from);
        // SAFETY: an owned descriptor stays open as long as it lives.
        let inotify = inotify.and_then(|inotify| unsafe { AsyncFd::register(inotify) }.map_err(io::Error::from));
        let inotify = inotify.inspect_err(|error| tracing::debug!("folders are not watched: {error}"));
        Self { inotify: inotify.ok(), folders: HashMap::new() }
    }

    /// Watches a folder, where it is there; gives whether it was not watched before.
    pub(super) fn watch(&mut self, folder: &Path) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        if self.folders.values().any(|watched| watched == folder) {
            return false;
        }
        let flags = WatchFlags::CREATE | WatchFlags::ONLYDIR;
        let Ok(watch) = inotify::add_watch(inotify.get_ref(), folder, flags) else { return false };
        self.folders.insert(watch, folder.to_path_buf()).is_none()
    }

    /// Waits until something was made.
    pub(super) async fn next(&mut self) -> News {
        loop {
            let Some(inotify) = &self.inotify else { return std::future::pending().await };
            match inotify.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(error) => {
                    tracing::warn!("folders are not watched any more: {error}");
                    self.inotify = None;
                    continue;
                }
            }
            let news = self.read();
            if news != News::default() {
                return news;
            }
        }
    }

    fn read(&mut self) -> News {
        let mut news = News::default();
        let Some(inotify) = &self.inotify else { return news };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify.get_ref(), &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::INTR) => continue,
                // All is read, mostly.
                Err(_) => return news,
            };
            if event.events().contains(ReadFlags::IGNORED) {
                // The folder itself is gone.
                self.folders.remove(&event.wd());
            } else if event.events().contains(ReadFlags::ISDIR) {
                match event.file_name().and_then(|name| name.to_str().ok()?.parse().ok()) {
                    Some(id) => news.containers.push(id),
                    None => news.others = true,
                }
            } else if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                news.others = true;
            }
        }
    }
}
