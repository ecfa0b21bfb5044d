//! What renders and judges the manifests in `deploy/`: kubectl, Helm's own engine, and the schemas of Kubernetes' API.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::apt::Suite;
use crate::{cache, tool};

/// Helm 4 as a library, and the API's schemas from Kubernetes 1.25 on, with what reads YAML.
const PACKAGES: [&str; 3] = ["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0", "pyyaml==6.0.3"];

/// The path of `kubectl`: a Go program, which needs no library but the C library.
pub(crate) fn kubectl() -> Result<PathBuf> {
    let folder = cache::piece("kubectl", |folder| Suite::open("trixie")?.unpack(&["kubectl"], folder))?;
    Ok(folder.join("usr/bin/kubectl"))
}

/// `python3`, with the packages to import.
pub(crate) fn python() -> Result<Command> {
    let folder = cache::piece("kubernetes-python", |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
        pip.args(["--no-compile", "--only-binary=:all:", "--target"]).arg(folder).args(PACKAGES);
        tool::output(&mut pip)?;
        one_copy(&folder.join("helm_python/lib"))
    })?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}

/// The package has the library three times, under each name that a linker might look for.
fn one_copy(libraries: &Path) -> Result<()> {
    for entry in fs::read_dir(libraries).with_context(|| format!("cannot list {}", libraries.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name != "libhelm_c.so") {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
