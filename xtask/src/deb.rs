//! `cargo xtask deb`: the Debian package, made without Debian's tools and the same bytes each time.

mod ar;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Args;
use md5::{Digest as _, Md5};

use self::ar::Ar;
use crate::{
    archive::{self, Archive, gzip},
    build,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const CONTROL: &str = include_str!("../../deploy/debian/control");
const PRERM: &str = include_str!("../../deploy/debian/prerm");
/// Beside the program: what is installed where.
const FILES: [(&str, &str); 5] = [
    ("usr/lib/systemd/system/oomtrace.service", include_str!("../../deploy/systemd/oomtrace.service")),
    ("usr/share/doc/oomtrace/copyright", include_str!("../../deploy/debian/copyright")),
    ("usr/share/doc/oomtrace/LICENSE-APACHE", include_str!("../../LICENSE-APACHE")),
    ("usr/share/doc/oomtrace/LICENSE-MIT", include_str!("../../LICENSE-MIT")),
    ("usr/share/doc/oomtrace/README.md", include_str!("../../README.md")),
];

#[derive(Args)]
#[command(
    after_help = "Installing it (`apt install ./FILE`) starts nothing: `systemctl enable --now oomtrace` does. The same binary and \
                  SOURCE_DATE_EPOCH (default: the last commit's date) make the same bytes."
)]
pub(crate) struct Deb {
    /// Where to write the package [default: in the target folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The `oomtrace` to put in, instead of a release built now
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// A folder with more to install, such as man pages and completions: its paths are those on the system
    #[arg(long, value_name = "DIR")]
    include: Option<PathBuf>,
}

pub(crate) fn run(deb: &Deb) -> Result<ExitCode> {
    let binary = match &deb.binary {
        Some(binary) => binary.clone(),
        None => build::oomtrace(true)?,
    };
    build::check_static(&binary)?;
    let output = match &deb.output {
        Some(output) => output.clone(),
        None => build::target_folder()?.join(format!("oomtrace_{VERSION}_amd64.deb")),
    };
    let mut files = vec![("usr/bin/oomtrace".to_owned(), 0o755, read(&binary)?)];
    files.extend(FILES.map(|(path, text)| (path.to_owned(), 0o644, text.as_bytes().to_vec())));
    if let Some(folder) = &deb.include {
        include(folder, "", &mut files)?;
    }
    fs::write(&output, package(files, archive::source_date()?)?)
        .with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}

/// A file's path on the system, its mode and its content.
type File = (String, u32, Vec<u8>);

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn include(folder: &Path, below: &str, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a file's name is not UTF-8")?;
        let inside = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        if path.is_dir() {
            include(&path, &inside, files)?;
        } else {
            files.push((inside, 0o644, read(&path)?));
        }
    }
    Ok(())
}

/// The package: deb(5).
fn package(mut files: Vec<File>, date: u64) -> Result<Vec<u8>> {
    files.sort();
    let (mut system, mut sums, mut bytes) = (Archive::new(date), String::new(), 0);
    for (path, mode, content) in files {
        writeln!(sums, "{:x}  {path}", Md5::digest(&content))?;
        bytes += content.len();
        system.file(&path, mode, content);
    }
    let mut control = Archive::new(date);
    let installed_size = bytes.div_ceil(1024).to_string();
    let text = CONTROL.replace("@VERSION@", VERSION).replace("@INSTALLED_SIZE@", &installed_size);
    control.file("control", 0o644, text);
    control.file("md5sums", 0o644, sums);
    control.file("prerm", 0o755, PRERM);
    let mut package = Ar::new(date);
    package.member("debian-binary", b"2.0\n");
    package.member("control.tar.gz", &gzip(&control.finish("./")?)?);
    package.member("data.tar.gz", &gzip(&system.finish("./")?)?);
    Ok(package.finish())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::tool;

    const DATE: u64 = 1_700_000_000;

    fn files() -> Vec<File> {
        let program = ("usr/bin/oomtrace".to_owned(), 0o755, b"#!/bin/sh\n".to_vec());
        let rest = FILES.map(|(path, text)| (path.to_owned(), 0o644, text.as_bytes().to_vec()));
        [program].into_iter().chain(rest).collect()
    }

    /// An empty system with a record of what is installed.
    struct System(tempfile::TempDir);

    impl System {
        fn new() -> Result<Self> {
            let root = tempfile::tempdir()?;
            for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates"] {
                fs::create_dir_all(root.path().join(folder))?;
            }
            fs::write(root.path().join("var/lib/dpkg/status"), "")?;
            fs::write(root.path().join("var/lib/dpkg/available"), "")?;
            Ok(Self(root))
        }

        fn dpkg(&self, arguments: &[&str]) -> Result<String> {
            let mut dpkg = Command::new("dpkg");
            dpkg.arg(format!("--root={}", self.0.path().display())).arg("--log=/dev/null");
            // It takes no root, nor a shell in the system: scripts run outside of it, and know that they do.
            dpkg.args(["--force-not-root", "--force-script-chrootless"]).args(arguments);
            tool::output(dpkg.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
        }

        /// Every file outside of dpkg's own records.
        fn files(&self) -> Result<Vec<String>> {
            let mut files = Vec::new();
            include(self.0.path(), "", &mut files)?;
            let mut paths: Vec<_> = files.into_iter().map(|(path, ..)| path).collect();
            paths.retain(|path| !path.starts_with("var/lib/dpkg/"));
            paths.sort();
            Ok(paths)
        }
    }

    #[test]
    fn it_is_installed_with_nothing_enabled_and_removed_without_a_trace() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let deb = scratch.path().join("oomtrace.deb");
        fs::write(&deb, package(files(), DATE)?)?;
        let deb = deb.to_str().context("a path that is not UTF-8")?;
        let info = tool::output(Command::new("dpkg-deb").args(["--info", deb]))?;
        assert!(info.contains(&format!(" Version: {VERSION}\n")), "{info}");
        let system = System::new()?;
        system.dpkg(&["--install", deb])?;
        // A unit that is enabled has a link below /etc.
        let installed = [
            "usr/bin/oomtrace",
            "usr/lib/systemd/system/oomtrace.service",
            "usr/share/doc/oomtrace/LICENSE-APACHE",
            "usr/share/doc/oomtrace/LICENSE-MIT",
            "usr/share/doc/oomtrace/README.md",
            "usr/share/doc/oomtrace/copyright",
        ];
        assert_eq!(system.files()?, installed);
        assert_eq!(system.dpkg(&["--verify", "oomtrace"])?, "", "files and their sums");
        system.dpkg(&["--remove", "oomtrace"])?;
        assert_eq!(system.files()?, Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn a_changed_file_is_found() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let deb = scratch.path().join("oomtrace.deb");
        fs::write(&deb, package(files(), DATE)?)?;
        let system = System::new()?;
        system.dpkg(&["--install", deb.to_str().context("a path that is not UTF-8")?])?;
        fs::write(system.0.path().join("usr/bin/oomtrace"), "something else")?;
        let error = system.dpkg(&["--verify", "oomtrace"]).unwrap_or_else(|error| format!("{error:#}"));
        assert!(error.contains("/usr/bin/oomtrace"), "{error}");
        Ok(())
    }

    #[test]
    fn the_same_files_make_the_same_package() -> Result<()> {
        let mut turned = files();
        turned.reverse();
        assert!(package(files(), DATE)? == package(turned, DATE)?, "two packages of the same files differ");
        Ok(())
    }
}
