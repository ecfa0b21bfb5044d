//! The tools that render and judge, as they are.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{setup, tool};

/// What the packages of Python are asked through.
const SCRIPT: &str = include_str!("kubernetes.py");
/// The chart's folder, below that of what is deployed.
pub(super) const CHART: &str = "helm/oomtrace";

/// The folder of what is deployed.
pub(super) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy")
}

/// An overlay, as `kubectl apply -k` would send it.
pub(crate) fn overlay(name: &str) -> Result<Vec<Value>> {
    documents(&ask(&["read"], overlay_text(name)?.as_bytes())?)
}

/// The same as one file, for `kubectl apply -f`.
pub(crate) fn overlay_text(name: &str) -> Result<String> {
    let folder = deploy().join("kustomize/overlays").join(name);
    tool::output(Command::new(setup::kubectl()?).arg("kustomize").arg(folder))
}

/// The chart, as `helm install oomtrace --namespace oomtrace` would send it.
pub(super) fn chart(values: &Value) -> Result<Vec<Value>> {
    let yaml = helm(&["template", "oomtrace", "--namespace", "oomtrace"], values)?;
    documents(&ask(&["read"], yaml.as_bytes())?)
}

/// What is printed after the chart was installed in this namespace.
pub(super) fn notes(namespace: &str, values: &Value) -> Result<String> {
    let said = helm(&["install", "oomtrace", "--dry-run=client", "--namespace", namespace], values)?;
    said.split_once("\nNOTES:\n").map(|(_, notes)| notes.to_owned()).context("the chart has no notes")
}

/// What Helm prints of the chart with these values.
fn helm(command: &[&str], values: &Value) -> Result<String> {
    let mut file = tempfile::NamedTempFile::new().context("no place for values")?;
    write!(file, "{values}").context("cannot write values")?;
    let mut helm = Command::new(setup::helm()?);
    tool::output(helm.args(command).arg(deploy().join(CHART)).arg("--values").arg(file.path()))
}

/// What is in a YAML file of deploy.
pub(super) fn yaml(path: &str) -> Result<Value> {
    let mut documents = documents(&ask(&["read"], text(path)?.as_bytes())?)?;
    documents.pop().with_context(|| format!("nothing is in {path}"))
}

/// A file of deploy as it is.
pub(super) fn text(path: &str) -> Result<String> {
    let path = deploy().join(path);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// What `helm lint --strict` has to say, a line each.
pub(super) fn lint(values: &Value) -> Vec<String> {
    // It fails where there is anything but information, such as that the chart has no icon.
    let failed = helm(&["lint", "--strict", "--quiet"], values).err();
    failed.iter().flat_map(|error| lines(&format!("{error:#}"))).collect()
}

/// What the API of this version of Kubernetes would refuse, a line each.
pub(super) fn refused(version: &str, manifests: &[Value]) -> Result<Vec<String>> {
    Ok(lines(&ask(&["validate", version], &serde_json::to_vec(manifests)?)?))
}

fn documents(json: &str) -> Result<Vec<Value>> {
    serde_json::from_str(json).context("the rendered manifests are not a JSON array")
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn ask(arguments: &[&str], input: &[u8]) -> Result<String> {
    let mut file = tempfile::tempfile().context("no place for what Python is to read")?;
    file.write_all(input).and_then(|()| std::io::Seek::rewind(&mut file)).context("cannot write for Python")?;
    tool::output_of(setup::python()?.arg("-c").arg(SCRIPT).args(arguments), file)
}
