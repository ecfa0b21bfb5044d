//! Files that are given: on disk, on standard input, or in memory, as what is in an archive and what this node says.

use std::{
    ffi::OsString,
    fmt,
    io::Cursor,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;

/// A file that is given.
#[derive(Clone, Debug)]
pub enum Given {
    /// By its path; `-` is standard input.
    Path(PathBuf),
    /// In memory.
    Held(Arc<Held>),
}

/// What a file in memory is.
#[derive(Debug)]
pub struct Held {
    /// Where it comes from, in words.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// When it was written last.
    pub written: Timestamp,
}

/// The bytes of a file in memory, to be read.
pub(super) struct Bytes(Arc<Held>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Held {
    pub(super) fn reader(self: &Arc<Self>) -> Cursor<Bytes> {
        Cursor::new(Bytes(Arc::clone(self)))
    }
}

impl Given {
    /// A file in memory.
    #[must_use]
    pub fn held(name: String, bytes: Vec<u8>, written: Timestamp) -> Self {
        Self::Held(Arc::new(Held { name, bytes, written }))
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Held(_) => None,
        }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Path(_) => None,
            Self::Held(held) => Some(&held.bytes),
        }
    }

    pub(super) fn is_stdin(&self) -> bool {
        self.path().is_some_and(|path| path.as_os_str() == "-")
    }

    pub(super) fn is_dir(&self) -> bool {
        !self.is_stdin() && self.path().is_some_and(Path::is_dir)
    }

    /// Whether it can be read more than once: standard input and pipes cannot.
    pub(super) fn is_file(&self) -> bool {
        self.path().is_none_or(Path::is_file)
    }
}

impl From<OsString> for Given {
    fn from(path: OsString) -> Self {
        Self::Path(path.into())
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Held(held) => f.write_str(&held.name),
        }
    }
}
