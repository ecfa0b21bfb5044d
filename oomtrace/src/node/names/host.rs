//! Where the node's own files are: at `/`, or where a container has them mounted.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

/// As many symbolic links does Linux follow in a path (`MAXSYMLINKS`, `include/linux/namei.h`).
const MOST_LINKS: u8 = 40;

/// The node's root folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(PathBuf);

impl Host {
    /// The node's files are below this folder.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self(root.to_path_buf())
    }

    /// Where a file of the node is, by its absolute path there. A symbolic link leads to where it does on the node: data is
    /// often moved to another disk, and `/var/lib/docker` is a link to it.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let (mut reached, mut left) = (self.0.clone(), VecDeque::new());
        go(path.as_ref(), &mut left);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                if reached != self.0 {
                    reached.pop();
                }
                continue;
            }
            match fs::read_link(reached.join(&name)) {
                Ok(target) if links < MOST_LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        reached.clone_from(&self.0);
                    }
                    go(&target, &mut left);
                }
                _ => reached.push(name),
            }
        }
        reached
    }
}

/// Puts a path's names before those that are left.
fn go(path: &Path, left: &mut VecDeque<OsString>) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => left.push_front(name.to_owned()),
            Component::ParentDir => left.push_front("..".into()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_of_the_nodes_leads_to_where_it_does_on_the_node() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("data/docker/containers")).expect("folders");
        fs::create_dir_all(root.join("var/lib")).expect("folders");
        symlink("/data/docker", root.join("var/lib/docker")).expect("a link");
        symlink("../../data/log", root.join("var/log")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        let host = Host::at(root);
        assert_eq!(host.path("/var/lib/docker/containers"), root.join("data/docker/containers"));
        // What is not there, and what leads out of the root.
        assert_eq!(host.path("/var/log/pods"), root.join("data/log/pods"));
        assert_eq!(host.path("/run/crio"), root.join("run/crio"));
        assert_eq!(host.path("/loop/x"), root.join("loop/x"));
        assert_eq!(Host::at(Path::new("/")).path("/nowhere/at/all"), Path::new("/nowhere/at/all"));
    }
}
