//! The RPM: what the Debian package has, in the places of Fedora and its kin. RPM's own tools make it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{
    arch::Arch,
    deb,
    installed::{Installed, Kind, VERSION},
    setup, tool,
};

const SPEC: &str = include_str!("../../../deploy/rpm/oomtrace.spec");

/// What the package's file is called.
pub(super) fn name(arch: Arch) -> String {
    format!("oomtrace-{VERSION}-1.{}.rpm", arch.machine())
}

/// Where it is installed, as the specification lists it: where Debian has it, but for a few.
fn place(kind: &Kind) -> String {
    match kind {
        Kind::Completion("zsh") => "usr/share/zsh/site-functions/_oomtrace".to_owned(),
        Kind::Example => "usr/share/doc/oomtrace/config.toml".to_owned(),
        Kind::Licence(name) => format!("usr/share/licenses/oomtrace/{name}"),
        kind => deb::place(kind),
    }
}

pub(super) fn package(installed: &Installed, date: u64) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir().context("no place for an RPM's files")?;
    let (files, top) = (scratch.path().join("files"), scratch.path().join("top"));
    for (kind, content) in &installed.files {
        write(&files.join(place(kind)), kind.mode(), content)?;
    }
    let spec = scratch.path().join("oomtrace.spec");
    fs::write(&spec, SPEC)?;
    let target = format!("{}-linux", installed.arch.machine());
    let mut rpmbuild = setup::rpm()?.command("rpmbuild", &scratch.path().join("database"))?;
    rpmbuild.args(["-bb", "--quiet", "--target", &target]);
    for definition in [
        format!("_topdir {}", top.display()),
        format!("_tmppath {}", scratch.path().display()),
        format!("oomtrace_files {}", files.display()),
        format!("oomtrace_version {VERSION}"),
        "_buildhost localhost".to_owned(),
        "use_source_date_epoch_as_buildtime 1".to_owned(),
        "clamp_mtime_to_source_date_epoch 1".to_owned(),
        // Every RPM since 2010 reads it.
        "_binary_payload w6.xzdio".to_owned(),
        // The files are as they are to be: nothing is stripped, compressed or looked through.
        "__os_install_post %{nil}".to_owned(),
        "debug_package %{nil}".to_owned(),
        "_build_id_links none".to_owned(),
    ] {
        rpmbuild.args(["--define", &definition]);
    }
    tool::output(rpmbuild.arg(spec).env("SOURCE_DATE_EPOCH", date.to_string()))?;
    let package = top.join("RPMS").join(installed.arch.machine()).join(name(installed.arch));
    fs::read(&package).with_context(|| format!("rpmbuild made no {}", package.display()))
}

/// A file with the folders that it is in.
fn write(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: u64 = 1_700_000_000;

    #[test]
    fn rpm_finds_the_same_intact_package_each_time_and_every_file_in_its_place() -> Result<()> {
        let installed = Installed::for_a_test()?;
        let scratch = tempfile::tempdir()?;
        let file = scratch.path().join(name(installed.arch));
        let Ok(rpm) = setup::rpm() else {
            println!("skipped: RPM's tools are not to be had here");
            return Ok(());
        };
        let bytes = package(&installed, DATE)?;
        assert!(bytes == package(&installed, DATE)?, "two packages of the same files differ");
        fs::write(&file, bytes)?;
        let ask = |program: &str, arguments: &[&str]| {
            let mut rpm = rpm.command(program, &scratch.path().join("database"))?;
            tool::output(rpm.args(arguments).arg(&file))
        };
        let query = |arguments: &[&str]| ask("rpm", arguments);
        let about = query(&["-qp", "--qf", "%{NAME} %{VERSION} %{ARCH} %{BUILDTIME} %{BUILDHOST}\n"])?;
        assert_eq!(about, format!("oomtrace {VERSION} x86_64 {DATE} localhost\n"));
        assert_eq!(
            query(&["-qp", "--requires"])?.lines().filter(|need| !need.starts_with("rpmlib(")).collect::<Vec<_>>(),
            ["/bin/sh"]
        );
        assert!(ask("rpmkeys", &["-K", "--nosignature"])?.contains("digests OK"));
        let listed = query(&["-qp", "--qf", "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\n]"])?;
        for (kind, _) in &installed.files {
            let mode = if *kind == Kind::Program { "-rwxr-xr-x" } else { "-rw-r--r--" };
            let line = format!("{mode} root /{}", place(kind));
            assert!(listed.lines().any(|said| said == line), "no {line} in {listed}");
        }
        Ok(())
    }
}
