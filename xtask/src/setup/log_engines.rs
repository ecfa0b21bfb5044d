//! Engines that run the queries and the transforms of `deploy/`, and what reads OpenTelemetry's logs: packages of Python.

use std::process::Command;

use anyhow::Result;

use crate::{cache, tool};

/// `DuckDB`, OTLP's messages with their JSON form, and Vector's own language.
const PACKAGES: [&str; 3] = ["duckdb==2.0.1", "opentelemetry-proto==1.45.2", "vrl-python==0.1.0"];

/// `python3`, with the packages to import.
pub(crate) fn log_engines() -> Result<Command> {
    let folder = cache::piece("log-engines", |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
        pip.args(["--no-compile", "--only-binary=:all:", "--target"]).arg(folder).args(PACKAGES);
        tool::output(&mut pip).map(drop)
    })?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}
