//! Where the memory controller's cgroups are mounted.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

/// The hierarchy of the memory controller, as mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    root: PathBuf,
    version: u8,
}

/// Why there is no hierarchy.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} is no cgroup file system with the memory controller; mount it, or say with --cgroup-root where the node's is: \
     in a container, where the host's /sys/fs/cgroup is mounted"
)]
pub struct NotMounted {
    path: String,
}

impl Hierarchy {
    /// Looks below `mount`, `/sys/fs/cgroup` as a rule: cgroup v2 there, or v1's `memory`.
    ///
    /// # Errors
    ///
    /// Fails where the memory controller is not mounted.
    pub fn find(mount: &Path) -> Result<Self, NotMounted> {
        let v1 = mount.join("memory");
        if v1.join("memory.limit_in_bytes").exists() {
            return Ok(Self { root: v1, version: 1 });
        }
        let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        if controllers.split_ascii_whitespace().any(|controller| controller == "memory") {
            return Ok(Self { root: mount.to_owned(), version: 2 });
        }
        Err(NotMounted { path: mount.display().to_string() })
    }

    /// 1 or 2.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The root's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a cgroup, by its path from the hierarchy's root. `None` for a path that leads out of it, which no
    /// kernel has: no cgroup is named `..`, but a forged log may say so.
    #[must_use]
    pub fn folder(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path.strip_prefix('/')?);
        let inside = below.components().all(|component| matches!(component, Component::Normal(_)));
        inside.then(|| self.root.join(below))
    }

    /// The id of a cgroup: the inode number of its directory.
    #[must_use]
    pub fn id(&self, path: &str) -> Option<u64> {
        fs::metadata(self.folder(path)?).ok().map(|folder| folder.ino())
    }

    /// A file of a cgroup; `None` where the cgroup has gone, or has no such file.
    ///
    /// # Errors
    ///
    /// Fails where the file is there and cannot be read.
    pub fn read(&self, path: &str, file: &str) -> Result<Option<String>, ReadError> {
        let Some(folder) = self.folder(path) else { return Ok(None) };
        read(&folder.join(file))
    }
}

/// Why a file that is there cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct ReadError {
    path: String,
    source: io::Error,
}

/// A file of the kernel; `None` where it is not there, or its cgroup goes while it is read.
///
/// # Errors
///
/// Fails where the file is there and cannot be read.
pub fn read(path: &Path) -> Result<Option<String>, ReadError> {
    match read_whole(path) {
        Ok(text) => Ok(Some(text)),
        // PSI that is switched off at boot, `psi=0`, answers EOPNOTSUPP.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP)) =>
        {
            Ok(None)
        }
        Err(source) => Err(ReadError { path: path.display().to_string(), source }),
    }
}

/// A file whose size is not known before it is read, as of all that the kernel makes: nothing asks for it.
fn read_whole(path: &Path) -> io::Result<String> {
    let mut text = String::with_capacity(MOST_FIT);
    File::open(path)?.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Most such files are smaller than this.
const MOST_FIT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_the_hierarchy() {
        let hierarchy = Hierarchy { root: PathBuf::from("/sys/fs/cgroup"), version: 2 };
        assert_eq!(hierarchy.folder("/kubepods/pod1"), Some(PathBuf::from("/sys/fs/cgroup/kubepods/pod1")));
        assert_eq!(hierarchy.folder("/"), Some(PathBuf::from("/sys/fs/cgroup")));
        for outside in ["", "kubepods", "/../../etc", "/kubepods/../../../etc", "//etc/passwd"] {
            assert!(hierarchy.folder(outside).is_none(), "{outside}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_known_and_no_error() {
        assert!(read(Path::new("/proc/self/no-such-file")).is_ok_and(|text| text.is_none()));
        let error = read(Path::new("/proc/self")).expect_err("a directory");
        assert!(error.to_string().starts_with("/proc/self: "), "{error}");
    }
}
