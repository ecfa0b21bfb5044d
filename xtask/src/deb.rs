//! `cargo xtask deb`: the Debian package, made without Debian's tools and the same bytes each time.

mod ar;
mod generated;

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
    fs::write(&output, package(files(&binary)?, archive::source_date()?)?)
        .with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}

/// A file's path on the system, its mode and its content.
type File = (String, u32, Vec<u8>);

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// All that is installed: the program, what it writes about itself, and what lies beside the source.
fn files(binary: &Path) -> Result<Vec<File>> {
    let mut files = vec![("usr/bin/oomtrace".to_owned(), 0o755, read(binary)?)];
    files.extend(generated::files(binary)?);
    files.extend(FILES.map(|(path, text)| (path.to_owned(), 0o644, text.as_bytes().to_vec())));
    Ok(files)
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

    /// Those of a program that is built already, or as good as: every other test of oomtrace builds it, too.
    fn files() -> Result<Vec<File>> {
        super::files(&build::oomtrace(false)?)
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
            let mut find = Command::new("find");
            find.arg(self.0.path()).args(["-path", "*/var/lib/dpkg", "-prune", "-o", "-type", "f", "-printf", "%P\n"]);
            let mut paths: Vec<_> = tool::output(&mut find)?.lines().map(str::to_owned).collect();
            paths.sort();
            Ok(paths)
        }

        /// What is in one of them, read by a program that is there on any Debian.
        fn read(&self, program: &str, path: &str) -> Result<String> {
            tool::output(Command::new(program).arg(self.0.path().join(path)))
        }
    }

    #[test]
    fn it_is_installed_with_nothing_enabled_and_removed_without_a_trace() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let deb = scratch.path().join("oomtrace.deb");
        fs::write(&deb, package(files()?, DATE)?)?;
        let deb = deb.to_str().context("a path that is not UTF-8")?;
        let info = tool::output(Command::new("dpkg-deb").args(["--info", deb]))?;
        assert!(info.contains(&format!(" Version: {VERSION}\n")), "{info}");
        let system = System::new()?;
        system.dpkg(&["--install", deb])?;
        // A unit that is enabled has a link below /etc.
        let installed = [
            "usr/bin/oomtrace",
            "usr/lib/systemd/system/oomtrace.service",
            "usr/share/bash-completion/completions/oomtrace",
            "usr/share/doc/oomtrace/LICENSE-APACHE",
            "usr/share/doc/oomtrace/LICENSE-MIT",
            "usr/share/doc/oomtrace/README.md",
            "usr/share/doc/oomtrace/copyright",
            "usr/share/fish/vendor_completions.d/oomtrace.fish",
            "usr/share/zsh/vendor-completions/_oomtrace",
        ];
        let (pages, others): (Vec<_>, Vec<_>) =
            system.files()?.into_iter().partition(|path| path.starts_with("usr/share/man/man1/"));
        assert_eq!(others, installed);
        check_pages(&system, &pages)?;
        check_completions(&system)?;
        assert_eq!(system.dpkg(&["--verify", "oomtrace"])?, "", "files and their sums");
        system.dpkg(&["--remove", "oomtrace"])?;
        assert_eq!(system.files()?, Vec::<String>::new());
        Ok(())
    }

    /// There is one for oomtrace itself and for each subcommand that its `--help` tells, and they can be read.
    fn check_pages(system: &System, pages: &[String]) -> Result<()> {
        let help = tool::output(Command::new(system.0.path().join("usr/bin/oomtrace")).arg("--help"))?;
        let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let mut expected = vec!["usr/share/man/man1/oomtrace.1.gz".to_owned()];
        let names = commands
            .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
            .filter(|name| !["", "help"].contains(name));
        expected.extend(names.map(|name| format!("usr/share/man/man1/oomtrace-{name}.1.gz")));
        assert!(expected.len() > 8, "{help}");
        for page in &expected {
            assert!(pages.contains(page), "no {page} in {pages:?}");
        }
        let text = system.read("zcat", "usr/share/man/man1/oomtrace-run.1.gz")?;
        assert!(text.contains(".TH oomtrace-run 1") && text.contains("metrics\\-listen"), "{text}");
        Ok(())
    }

    /// Bash, which is there, completes by what is installed; of the others the file says whose it is.
    fn check_completions(system: &System) -> Result<()> {
        let script = system.0.path().join("usr/share/bash-completion/completions/oomtrace");
        let complete = r#"source "$0"; COMP_WORDS=(oomtrace run --metrics-l); COMP_CWORD=2
            _oomtrace oomtrace --metrics-l run; echo "${COMPREPLY[*]}""#;
        let completed = tool::output(Command::new("bash").args(["-c", complete]).arg(&script))?;
        assert_eq!(completed.trim(), "--metrics-listen");
        assert!(system.read("cat", "usr/share/zsh/vendor-completions/_oomtrace")?.starts_with("#compdef oomtrace\n"));
        let fish = system.read("cat", "usr/share/fish/vendor_completions.d/oomtrace.fish")?;
        assert!(fish.contains("complete -c oomtrace") && fish.contains("metrics-listen"), "{fish}");
        Ok(())
    }

    #[test]
    fn a_changed_file_is_found() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let deb = scratch.path().join("oomtrace.deb");
        fs::write(&deb, package(files()?, DATE)?)?;
        let system = System::new()?;
        system.dpkg(&["--install", deb.to_str().context("a path that is not UTF-8")?])?;
        fs::write(system.0.path().join("usr/bin/oomtrace"), "something else")?;
        let error = system.dpkg(&["--verify", "oomtrace"]).unwrap_or_else(|error| format!("{error:#}"));
        assert!(error.contains("/usr/bin/oomtrace"), "{error}");
        Ok(())
    }

    #[test]
    fn the_same_files_make_the_same_package() -> Result<()> {
        let mut turned = files()?;
        turned.reverse();
        assert!(package(files()?, DATE)? == package(turned, DATE)?, "two packages of the same files differ");
        Ok(())
    }
}
