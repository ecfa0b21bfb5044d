//! Archives that are the same bytes whenever they are made of the same files: entries sorted, owned by root, and dated by
//! the source they were made of.

use std::{collections::BTreeMap, env, io::Write as _, path::Path, process::Command};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::tool;

/// When the source that is packaged was written, in seconds since 1970: `$SOURCE_DATE_EPOCH`, else the date of git's last
/// commit (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub(crate) fn source_date() -> Result<u64> {
    const VARIABLE: &str = "SOURCE_DATE_EPOCH";
    if let Some(seconds) = env::var(VARIABLE).ok().filter(|seconds| !seconds.is_empty()) {
        return seconds.parse().with_context(|| format!("{VARIABLE} is not a number of seconds: {seconds}"));
    }
    let committed = tool::output(Command::new("git").args(["log", "-1", "--format=%ct"]))
        .with_context(|| format!("the source has no date: set {VARIABLE}, or build in a git checkout"))?;
    committed.trim().parse().context("git gave no date")
}

/// A tar archive in the making.
pub(crate) struct Archive {
    entries: BTreeMap<String, Entry>,
    date: u64,
}

enum Entry {
    Folder,
    File { mode: u32, bytes: Vec<u8> },
    Link { target: String },
}

impl Archive {
    /// An empty one whose entries are dated so.
    pub(crate) fn new(date: u64) -> Self {
        Self { entries: BTreeMap::new(), date }
    }

    /// Adds a file, and the folders that it is in.
    pub(crate) fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.entry(path, Entry::File { mode, bytes: bytes.into() });
    }

    /// Adds a symbolic link, and the folders that it is in.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.entry(path, Entry::Link { target: target.to_owned() });
    }

    fn entry(&mut self, path: &str, entry: Entry) {
        let folders = Path::new(path).ancestors().skip(1).filter_map(Path::to_str).filter(|folder| !folder.is_empty());
        for folder in folders {
            self.entries.entry(format!("{folder}/")).or_insert(Entry::Folder);
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// The archive's bytes; every path starts with `prefix`, which is empty or ends in a slash.
    pub(crate) fn finish(self, prefix: &str) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        let root = (!prefix.is_empty()).then(|| (String::new(), Entry::Folder));
        for (path, entry) in root.into_iter().chain(self.entries) {
            let mut header = Header::new_ustar();
            let (kind, mode, bytes) = match entry {
                Entry::Folder => (EntryType::Directory, 0o755, Vec::new()),
                Entry::File { mode, bytes } => (EntryType::Regular, mode, bytes),
                Entry::Link { target } => {
                    header.set_link_name(target)?;
                    (EntryType::Symlink, 0o777, Vec::new())
                }
            };
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(bytes.len() as u64);
            header.set_mtime(self.date);
            header.set_uid(0);
            header.set_gid(0);
            let path = format!("{prefix}{path}");
            // `Header::set_path` would drop the leading `./` that Debian's packages have.
            let name = header.as_ustar_mut().map(|header| &mut header.name).context("not a ustar header")?;
            name.get_mut(..path.len())
                .with_context(|| format!("{path} is too long for a header"))?
                .copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, &*bytes).with_context(|| format!("cannot archive {path}"))?;
        }
        tar.into_inner().context("cannot finish the archive")
    }
}

/// Compresses without a date and without a name, so that the same bytes give the same bytes.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut writer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    writer.write_all(bytes).and_then(|()| writer.finish()).context("cannot compress")
}
