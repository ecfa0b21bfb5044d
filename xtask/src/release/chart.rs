//! The Helm chart as a package: what `helm package` makes of the folder, but dated by the commit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    archive::{Archive, gzip},
    installed::VERSION,
    setup, tool,
};

/// Where its source is.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join("helm/oomtrace")
}

pub(super) fn package(date: u64) -> Result<Vec<u8>> {
    let mut archive = Archive::new(date);
    add(&mut archive, &folder(), "")?;
    gzip(&archive.finish("oomtrace/")?)
}

/// Adds what is in a folder, its paths starting with `prefix`.
fn add(archive: &mut Archive, folder: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name that is not UTF-8")?;
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            add(archive, &path, &format!("{name}/"))?;
        } else {
            archive.file(&name, 0o644, fs::read(&path)?);
        }
    }
    Ok(())
}

/// Has Helm read the package: it is of this version, and renders what its folder does.
pub(super) fn check(package: &Path) -> Result<()> {
    let helm = |arguments: &[&str], chart: &Path| tool::output(Command::new(setup::helm()?).args(arguments).arg(chart));
    let about = helm(&["show", "chart"], package)?;
    for field in ["version", "appVersion"] {
        let line = format!("{field}: {VERSION}");
        ensure!(about.lines().any(|said| said == line), "the chart has no `{line}`, but: {about}");
    }
    let render = |chart: &Path| helm(&["template", "oomtrace", "--namespace", "oomtrace"], chart);
    ensure!(render(package)? == render(&folder())?, "the chart's package and its folder render differently");
    Ok(())
}
