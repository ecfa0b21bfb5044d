//! What is installed on a host: the program, what it says about itself, and what lies beside the source. Each kind of package
//! has places of its own for it.

mod generated;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{arch::Arch, build};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a file is, by which a package has a place for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Program,
    /// How this shell completes the command line.
    Completion(&'static str),
    /// A page of the manual, compressed, by its file's name without `.gz`.
    Manual(String),
    /// Every option with its default, as a configuration file.
    Example,
    Unit,
    Readme,
    /// A page of the documentation, by its path in the source: beside the README its links lead there.
    Page(String),
    /// The text of a licence, by its file's name.
    Licence(&'static str),
}

impl Kind {
    /// The mode of such a file.
    pub(crate) fn mode(&self) -> u32 {
        if *self == Self::Program { 0o755 } else { 0o644 }
    }
}

/// What is installed for one architecture.
#[derive(Clone)]
pub(crate) struct Installed {
    pub(crate) arch: Arch,
    pub(crate) files: Vec<(Kind, Vec<u8>)>,
}

impl Installed {
    /// With a program that is built.
    pub(crate) fn with(binary: &Path) -> Result<Self> {
        let arch = build::check_static(binary)?;
        if arch.is_this_machines() {
            return Self::described_by(binary, binary);
        }
        Self::described_by(binary, &build::oomtrace(Arch::Amd64, false)?)
    }

    /// With a program of the debug build, which every other test of oomtrace builds, too, as small as a released one.
    #[cfg(test)]
    pub(crate) fn for_a_test() -> Result<Self> {
        let scratch = tempfile::tempdir().context("no place for the program")?;
        let stripped = scratch.path().join("oomtrace");
        build::strip(&build::oomtrace(Arch::Amd64, false)?, &stripped)?;
        Self::with(&stripped)
    }

    /// The same, where `described_by` is the program of the same source that runs on this machine.
    pub(crate) fn described_by(binary: &Path, described_by: &Path) -> Result<Self> {
        let arch = build::check_static(binary)?;
        let mut files = vec![(Kind::Program, read(binary)?)];
        files.extend(generated::files(described_by)?);
        files.extend(pages()?);
        files.extend(
            [
                (Kind::Unit, include_str!("../../deploy/systemd/oomtrace.service")),
                (Kind::Readme, include_str!("../../README.md")),
                (Kind::Licence("LICENSE-APACHE"), include_str!("../../LICENSE-APACHE")),
                (Kind::Licence("LICENSE-MIT"), include_str!("../../LICENSE-MIT")),
            ]
            .map(|(kind, text)| (kind, text.as_bytes().to_vec())),
        );
        files.sort();
        Ok(Self { arch, files })
    }
}

/// The pages that the README leads to.
fn pages() -> Result<Vec<(Kind, Vec<u8>)>> {
    const FOLDER: &str = "oomtrace/docs";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(FOLDER);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let page = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Ok((Kind::Page(format!("{FOLDER}/{name}")), read(&entry.path())?))
    };
    entries.map(page).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Where a package goes that nobody says anything about.
pub(crate) fn in_target(name: &str) -> Result<PathBuf> {
    Ok(build::target_folder()?.join(name))
}
