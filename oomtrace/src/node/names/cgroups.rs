//! The cgroups that are there: a walk of the memory controller's hierarchy.

use std::{fs, os::unix::fs::DirEntryExt as _, path::Path};

use crate::node::{cgroup_path::CgroupIdentity, fact::Fact};

/// Deeper ones are no pod's and no container's.
const MOST_DEPTH: usize = 12;

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
