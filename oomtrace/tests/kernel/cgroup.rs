//! Cgroups shaped as the kubelet and a container runtime make them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// Whether the memory controller is on cgroup v1 here.
pub(crate) fn is_v1() -> bool {
    Path::new("/sys/fs/cgroup/memory").is_dir()
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(if is_v1() { "/sys/fs/cgroup/memory" } else { "/sys/fs/cgroup" })
}

/// A cgroup of a test; removed when dropped, with what a test that failed has left running in it.
pub(crate) struct Cgroup {
    /// From the hierarchy's root: `/kubepods/…`.
    pub(crate) path: String,
}

impl Cgroup {
    /// Makes a cgroup and its parents, each with the memory controller.
    pub(crate) fn make(path: &str) -> Result<Self> {
        let mut folder = root();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if !is_v1() {
                fs::write(folder.join("cgroup.subtree_control"), "+memory")
                    .with_context(|| folder.display().to_string())?;
            }
            folder.push(name);
            if !folder.is_dir() {
                fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
            }
            if is_v1() {
                fs::write(folder.join("memory.use_hierarchy"), "1").ok();
            }
        }
        Ok(Self { path: path.to_owned() })
    }

    pub(crate) fn folder(&self) -> PathBuf {
        root().join(self.path.trim_start_matches('/'))
    }

    /// The inode number of its directory.
    pub(crate) fn id(&self) -> Result<u64> {
        Ok(fs::metadata(self.folder())?.ino())
    }

    /// The file that its limit stands in.
    pub(crate) fn limit_file(&self) -> PathBuf {
        self.folder().join(if is_v1() { "memory.limit_in_bytes" } else { "memory.max" })
    }

    pub(crate) fn limit(&self, mib: u64) -> Result<()> {
        let path = self.limit_file();
        fs::write(&path, (mib << 20).to_string()).with_context(|| path.display().to_string())
    }

    pub(crate) fn procs(&self) -> PathBuf {
        self.folder().join("cgroup.procs")
    }

    /// Removes it, once its last process is gone.
    pub(crate) fn remove(&self) -> Result<()> {
        for _ in 0..400 {
            match fs::remove_dir(self.folder()) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(error).with_context(|| self.path.clone()),
            }
        }
        bail!("{} still has processes", self.path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let left = fs::read_to_string(self.procs()).unwrap_or_default();
        // Of another pid namespace they have no id here, and are 0.
        for pid in left.lines().filter_map(|pid| pid.parse::<i32>().ok()).filter(|pid| *pid > 0) {
            // SAFETY: no precondition.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        let _ = self.remove();
    }
}

/// A pod's uid that no other test has.
pub(crate) fn uid(number: u32) -> String {
    format!("{number:08x}-23d2-4099-bf62-d501a2753c91")
}

/// A container's id that no other test has.
pub(crate) fn container_id(number: u32) -> String {
    format!("{number:064x}")
}

/// The cgroupfs driver's path of a burstable pod's container.
pub(crate) fn container_path(pod: u32, container: u32) -> String {
    format!("/kubepods/burstable/pod{}/{}", uid(pod), container_id(container))
}
