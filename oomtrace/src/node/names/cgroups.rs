//! The cgroups that are there: a walk of the memory controller's hierarchy.

use std::{ffi::CString, os::fd::AsFd, path::Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, statat};

use crate::node::fact::Fact;

/// Deeper ones are no pod's and no container's.
const MOST_DEPTH: usize = 12;
/// What the kernel may tell of a folder at a time. A cgroup's has some hundred files.
const LISTING_BYTES: usize = 32 << 10;

/// Every cgroup below `root`, parents first.
#[must_use]
pub fn walk(root: &Path) -> Vec<Fact> {
    let mut walk = Walk { path: String::new(), listing: Vec::with_capacity(LISTING_BYTES), found: Vec::new() };
    walk.open(rustix::fs::CWD, root, 0);
    walk.found
}

struct Walk {
    /// Of the folder that it is at.
    path: String,
    listing: Vec<u8>,
    found: Vec<Fact>,
}

impl Walk {
    /// Goes down into a folder; one that has gone meanwhile has nothing.
    fn open(&mut self, parent: impl AsFd, name: impl rustix::path::Arg, depth: usize) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(folder) = openat(parent, name, flags, Mode::empty()) {
            self.descend(folder, depth);
        }
    }

    fn descend(&mut self, folder: impl AsFd, depth: usize) {
        for name in self.children(&folder) {
            let Ok(stat) = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let length = self.path.len();
            self.path.push('/');
            self.path.push_str(&name.to_string_lossy());
            self.found.push(Fact::Cgroup { id: stat.st_ino, path: self.path.clone() });
            // A folder's links are its own two and one from each folder below it (`kernfs_refresh_inode`,
            // `fs/kernfs/inode.c`). Nine of ten cgroups have none, and their hundred files need not be listed.
            if stat.st_nlink != 2 && depth < MOST_DEPTH {
                self.open(&folder, &name, depth + 1);
            }
            self.path.truncate(length);
        }
    }

    /// The folders in a folder. What cannot be listed has none.
    fn children(&mut self, folder: impl AsFd) -> Vec<CString> {
        let mut children = Vec::new();
        let mut entries = RawDir::new(folder, self.listing.spare_capacity_mut());
        while let Some(Ok(entry)) = entries.next() {
            if entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                children.push(entry.file_name().to_owned());
            }
        }
        children
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, symlink},
    };

    use super::*;

    #[test]
    fn every_folder_is_found_with_its_inode_number_below_its_parent() {
        let root = tempfile::tempdir().expect("a folder");
        let made = ["/kubepods", "/kubepods/pod1", "/kubepods/pod1/a", "/kubepods/pod1/a/inside", "/system.slice"];
        for path in made {
            let folder = root.path().join(&path[1..]);
            fs::create_dir(&folder).expect("a folder");
            (0..200).for_each(|file| fs::write(folder.join(format!("memory.{file}")), "").expect("a file"));
        }
        symlink(root.path(), root.path().join("kubepods/round-and-round")).expect("a link");
        let found = walk(root.path());
        let reported: Vec<_> = found
            .iter()
            .filter_map(|fact| match fact {
                Fact::Cgroup { id, path } => Some((path.as_str(), *id)),
                _ => None,
            })
            .collect();
        let place = |wanted: &str| reported.iter().position(|(path, _)| *path == wanted).expect(wanted);
        assert_eq!(reported.len(), made.len(), "{reported:?}");
        for path in made {
            let inode = fs::metadata(root.path().join(&path[1..])).expect("a folder").ino();
            assert_eq!(reported[place(path)].1, inode, "{path}");
            let (parent, _) = path.rsplit_once('/').expect("a parent");
            assert!(parent.is_empty() || place(parent) < place(path), "{path}");
        }
        assert!(walk(Path::new("/nowhere")).is_empty());
    }
}
