//! Where the node's own files are: at `/`, or where a container has them mounted.

use std::path::{Path, PathBuf};

/// The node's root folder.
#[derive(Clone, Debug)]
pub struct Host(PathBuf);

impl Host {
    /// The node's files are below this folder.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self(root.to_path_buf())
    }

    /// Where a file of the node is, by its absolute path there.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }
}
