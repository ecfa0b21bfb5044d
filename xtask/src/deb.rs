//! `cargo xtask deb`: the Debian package, made without Debian's tools and the same bytes each time.

mod ar;

use std::{fmt::Write as _, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use md5::{Digest as _, Md5};

use self::ar::Ar;
use crate::{
    arch::Arch,
    archive::{self, Archive, gzip},
    build,
    installed::{self, Installed, Kind, VERSION},
};

const CONTROL: &str = include_str!("../../deploy/debian/control");
const PRERM: &str = include_str!("../../deploy/debian/prerm");
const COPYRIGHT: &str = include_str!("../../deploy/debian/copyright");

#[derive(Args)]
#[command(
    after_help = "Installing it (`apt install ./FILE`) starts nothing: `systemctl enable --now oomtrace` does. The same binary and \
                  SOURCE_DATE_EPOCH (default: the last commit's date) make the same bytes."
)]
pub(crate) struct Deb {
    /// Where to write the package [default: in the target folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The architecture of the host
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// The `oomtrace` to put in, instead of a release built now
    #[arg(long, value_name = "FILE", conflicts_with = "arch")]
    binary: Option<PathBuf>,
}

pub(crate) fn run(deb: &Deb) -> Result<ExitCode> {
    let binary = match &deb.binary {
        Some(binary) => binary.clone(),
        None => build::oomtrace(deb.arch, true)?,
    };
    let installed = Installed::with(&binary)?;
    let output = match &deb.output {
        Some(output) => output.clone(),
        None => installed::in_target(&name(installed.arch))?,
    };
    fs::write(&output, package(installed, archive::source_date()?)?)
        .with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}

/// What the package's file is called.
pub(crate) fn name(arch: Arch) -> String {
    format!("oomtrace_{VERSION}_{}.deb", arch.debian())
}

/// Where Debian's programs look for it.
pub(crate) fn place(kind: &Kind) -> String {
    match kind {
        Kind::Program => "usr/bin/oomtrace".to_owned(),
        Kind::Completion("fish") => "usr/share/fish/vendor_completions.d/oomtrace.fish".to_owned(),
        Kind::Completion("zsh") => "usr/share/zsh/vendor-completions/_oomtrace".to_owned(),
        Kind::Completion(shell) => format!("usr/share/{shell}-completion/completions/oomtrace"),
        Kind::Manual(page) => format!("usr/share/man/man1/{page}.gz"),
        Kind::Example => "usr/share/doc/oomtrace/examples/config.toml".to_owned(),
        Kind::Unit => "usr/lib/systemd/system/oomtrace.service".to_owned(),
        Kind::Readme => "usr/share/doc/oomtrace/README.md".to_owned(),
        Kind::Page(path) => format!("usr/share/doc/oomtrace/{path}"),
        Kind::Licence(name) => format!("usr/share/doc/oomtrace/{name}"),
    }
}

/// The package: deb(5).
pub(crate) fn package(installed: Installed, date: u64) -> Result<Vec<u8>> {
    let Installed { arch, files } = installed;
    let mut files: Vec<_> = files.into_iter().map(|(kind, content)| (place(&kind), kind.mode(), content)).collect();
    files.push(("usr/share/doc/oomtrace/copyright".to_owned(), 0o644, COPYRIGHT.into()));
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
    let text = text.replace("@ARCHITECTURE@", arch.debian());
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
        fs::write(&deb, package(Installed::for_a_test()?, DATE)?)?;
        let deb = deb.to_str().context("a path that is not UTF-8")?;
        let info = tool::output(Command::new("dpkg-deb").args(["--info", deb]))?;
        assert!(info.contains(&format!(" Version: {VERSION}\n Architecture: amd64\n")), "{info}");
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
            "usr/share/doc/oomtrace/examples/config.toml",
            "usr/share/fish/vendor_completions.d/oomtrace.fish",
            "usr/share/zsh/vendor-completions/_oomtrace",
        ];
        let (pages, others): (Vec<_>, Vec<_>) =
            system.files()?.into_iter().partition(|path| path.starts_with("usr/share/man/man1/"));
        let (docs, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|path| path.starts_with("usr/share/doc/oomtrace/oomtrace/docs/"));
        assert_eq!(others, installed);
        let readme = fs::read_to_string(system.0.path().join("usr/share/doc/oomtrace/README.md"))?;
        let linked = readme.split("](oomtrace/docs/").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for page in linked {
            assert!(docs.contains(&format!("usr/share/doc/oomtrace/oomtrace/docs/{page}")), "no {page} in {docs:?}");
        }
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
        fs::write(&deb, package(Installed::for_a_test()?, DATE)?)?;
        let system = System::new()?;
        system.dpkg(&["--install", deb.to_str().context("a path that is not UTF-8")?])?;
        fs::write(system.0.path().join("usr/bin/oomtrace"), "something else")?;
        let error = system.dpkg(&["--verify", "oomtrace"]).unwrap_or_else(|error| format!("{error:#}"));
        assert!(error.contains("/usr/bin/oomtrace"), "{error}");
        Ok(())
    }

    #[test]
    fn the_same_files_make_the_same_package() -> Result<()> {
        let mut turned = Installed::for_a_test()?;
        turned.files.reverse();
        assert!(
            package(Installed::for_a_test()?, DATE)? == package(turned, DATE)?,
            "two packages of the same files differ"
        );
        Ok(())
    }
}
