//! The cgroups that are there: a walk of the memory controller's hierarchy.

use std::{
    fs,
    os::unix::fs::DirEntryExt as _,
    path::{Path, PathBuf},
};

use super::host::Host;
use crate::node::{cgroup_path::CgroupIdentity, fact::Fact};

/// Deeper ones are no pod's and no container's.
const MOST_DEPTH: usize = 12;

/// The folder where the memory controller's hierarchy is mounted, by a text of `/proc/PID/mountinfo` (proc(5)).
#[must_use]
pub fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    let mounts = || mountinfo.lines().filter_map(|line| line.split_once(" - "));
    let folder = |fields: &str| fields.split(' ').nth(4).map(PathBuf::from);
    let has_memory = |options: &str| {
        options
            .strip_prefix("cgroup ")
            .and_then(|rest| rest.rsplit(' ').next())
            .is_some_and(|options| options.split(',').any(|option| option == "memory"))
    };
    let v1 = mounts().find(|(_, filesystem)| has_memory(filesystem));
    let unified = || mounts().find(|(_, filesystem)| filesystem.starts_with("cgroup2 "));
    v1.or_else(unified).and_then(|(fields, _)| folder(fields))
}

/// The folder of the running system's hierarchy, as seen from here.
pub(crate) fn root(host: &Host) -> Option<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = mount_point(&mountinfo)?;
    // Where the node's root is mounted elsewhere, its hierarchy may be mounted there only.
    let hosts = host.path(&own);
    Some(if hosts.join("cgroup.procs").exists() { hosts } else { own })
}

/// Every cgroup below `root` that is a pod's or a container's, parents first.
#[must_use]
pub fn walk(root: &Path) -> Vec<Fact> {
    let mut found = Vec::new();
    descend(root, &mut String::new(), 0, &mut found);
    found
}

fn descend(folder: &Path, path: &mut String, depth: usize, found: &mut Vec<Fact>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let name = entry.file_name();
        let length = path.len();
        path.push('/');
        path.push_str(&name.to_string_lossy());
        let identity = CgroupIdentity::parse(path);
        if identity.container_id.is_some() || identity.pod_uid.is_some() {
            found.push(Fact::Cgroup { id: entry.ino(), path: path.clone() });
        }
        if depth < MOST_DEPTH {
            descend(&entry.path(), path, depth + 1, found);
        }
        path.truncate(length);
    }
}
