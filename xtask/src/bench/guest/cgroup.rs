//! The cgroups that the measurements take place in, on cgroup v2.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Makes a container's cgroup, as the kubelet's cgroupfs driver and a runtime would, with this limit.
pub(super) fn container(number: u32, limit_bytes: u64) -> Result<PathBuf> {
    let path = format!("kubepods/burstable/pod{number:08x}-23d2-4099-bf62-d501a2753c91/{number:064x}");
    let mut folder = PathBuf::from("/sys/fs/cgroup");
    for name in Path::new(&path) {
        write(&folder.join("cgroup.subtree_control"), "+memory")?;
        folder.push(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make the cgroup {}", folder.display()));
            }
            _ => {}
        }
    }
    write(&folder.join("memory.max"), &limit_bytes.to_string())?;
    Ok(folder)
}

/// Writes to a file of a cgroup, or of procfs.
pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {text} to {}", file.display()))
}

/// A counter of `memory.events`.
pub(super) fn event(folder: &Path, name: &str) -> Result<u64> {
    let file = folder.join("memory.events");
    let events = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let value = events.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.with_context(|| format!("{} has no {name}", file.display()))
}
