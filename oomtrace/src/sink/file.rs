//! A file that lines are appended to: rotated by size, opened again when it was moved away, and cut back to whole lines
//! where one does not fit.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// When a file is put aside, and how many of those put aside are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A file does not grow past this size, in bytes; 0: it grows for ever.
    pub bytes: u64,
    /// `FILE.1` is the newest that was put aside, `FILE.N` the oldest. With 0 the file begins anew and nothing is kept.
    pub keep: u32,
}

impl Rotation {
    /// The file grows for ever, or something else puts it aside.
    pub const NEVER: Self = Self { bytes: 0, keep: 0 };
}

/// An open file, with its place and size.
pub(super) struct LineFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    /// Not a terminal, pipe or device: those can be neither rotated nor cut.
    regular: bool,
    /// What was in it when it was opened, and what was written since.
    size: u64,
    /// The size at which it is to be rotated next.
    rotate_at: u64,
}

impl LineFile {
    /// Opens it, or makes it.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let (file, regular, size) = open(path)?;
        Ok(Self { path: path.to_path_buf(), rotation, file, regular, size, rotate_at: rotation.bytes })
    }

    /// Opens whatever is in its place now. Where that fails, the old one stays in use.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.regular, self.size) = open(&self.path)?;
        self.rotate_at = self.rotation.bytes;
        Ok(())
    }

    /// Whether a line of this length would make it too large.
    pub(super) fn is_full(&self, line: &str) -> bool {
        let size = self.size + line.len() as u64;
        self.rotation.bytes > 0 && self.regular && self.size > 0 && size > self.rotate_at
    }

    /// Puts the file aside, and begins a new one. Where that fails, this one goes on, and the next attempt comes when as much
    /// again was written.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        // Somebody else may have cut it: logrotate's `copytruncate`.
        self.size = self.file.metadata()?.len();
        self.rotate_at = self.size + self.rotation.bytes;
        if self.size == 0 {
            return Ok(());
        }
        if self.rotation.keep == 0 {
            self.file.set_len(0)?;
        } else {
            for number in (1..self.rotation.keep).rev() {
                rename(&self.numbered(number), &self.numbered(number + 1))?;
            }
            rename(&self.path, &self.numbered(1))?;
        }
        self.reopen()
    }

    /// `FILE.N`
    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    /// Appends a line, whole or not at all.
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        let written = self.file.write_all(line.as_bytes());
        if written.is_ok() {
            self.size += line.len() as u64;
        } else if self.regular {
            // Half a line would spoil the next one. That it cannot be cut away changes nothing of what is reported.
            let cut = self.file.metadata().map(|metadata| metadata.len().min(self.size));
            let _ = cut.and_then(|size| self.file.set_len(size));
        }
        written
    }
}

fn open(path: &Path) -> io::Result<(File, bool, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata.is_file(), metadata.len()))
}

/// Renames a file, if it is there.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(rotation: Rotation, lines: &[&str]) -> io::Result<(tempfile::TempDir, PathBuf)> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("events.jsonl");
        let mut file = LineFile::open(&path, rotation)?;
        for line in lines {
            if file.is_full(line) {
                file.rotate()?;
            }
            file.write(line)?;
        }
        Ok((folder, path))
    }

    fn read(path: &Path, suffix: &str) -> Option<String> {
        fs::read_to_string(format!("{}{suffix}", path.display())).ok()
    }

    #[test]
    fn a_file_never_grows_past_its_size_and_the_oldest_goes() -> io::Result<()> {
        let lines = ["one\n", "two\n", "three\n", "four\n", "five\n", "six\n"];
        let (_folder, path) = written(Rotation { bytes: 10, keep: 2 }, &lines)?;
        assert_eq!(read(&path, "").as_deref(), Some("six\n"));
        assert_eq!(read(&path, ".1").as_deref(), Some("four\nfive\n"));
        assert_eq!(read(&path, ".2").as_deref(), Some("three\n"));
        assert_eq!(read(&path, ".3"), None);
        Ok(())
    }

    #[test]
    fn a_line_larger_than_a_file_may_be_has_a_file_of_its_own() -> io::Result<()> {
        let (_folder, path) = written(Rotation { bytes: 4, keep: 1 }, &["long line\n", "b\n"])?;
        assert_eq!(read(&path, ".1").as_deref(), Some("long line\n"));
        assert_eq!(read(&path, "").as_deref(), Some("b\n"));
        Ok(())
    }

    #[test]
    fn with_none_to_keep_a_file_begins_anew_in_its_place() -> io::Result<()> {
        let (folder, path) = written(Rotation { bytes: 5, keep: 0 }, &["one\n", "two\n"])?;
        assert_eq!(read(&path, "").as_deref(), Some("two\n"));
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn what_was_in_a_file_before_counts() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("events");
        fs::write(&path, "from before\n")?;
        let file = LineFile::open(&path, Rotation { bytes: 14, keep: 1 })?;
        assert!(!file.is_full("a\n"));
        assert!(file.is_full("ab\n"));
        Ok(())
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_when_it_is_opened_again() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (path, moved) = (folder.path().join("events"), folder.path().join("moved"));
        let mut file = LineFile::open(&path, Rotation::NEVER)?;
        file.write("one\n")?;
        fs::rename(&path, &moved)?;
        file.write("two\n")?;
        file.reopen()?;
        file.write("three\n")?;
        assert_eq!(fs::read_to_string(moved)?, "one\ntwo\n");
        assert_eq!(fs::read_to_string(path)?, "three\n");
        Ok(())
    }

    #[test]
    fn a_device_is_never_rotated() -> io::Result<()> {
        let mut file = LineFile::open(Path::new("/dev/null"), Rotation { bytes: 1, keep: 1 })?;
        file.write("one\n")?;
        assert!(!file.is_full("two\n"));
        Ok(())
    }
}
