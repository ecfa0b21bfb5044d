//! Engines that run the queries and the transforms of `deploy/`, and what reads OpenTelemetry's logs: packages of Python.

use std::{env, path::PathBuf, process::Command};

use anyhow::Result;

use crate::{cache, tool};

/// `DuckDB`, OTLP's messages with their JSON form, and Vector's own language.
const PACKAGES: [&str; 3] = ["duckdb==2.0.1", "opentelemetry-proto==1.45.2", "vrl-python==0.1.0"];
/// `ClickHouse` as a library, of 540 MiB. What it needs for tables of pandas is left out.
const CLICKHOUSE: [&str; 2] = ["--no-deps", "chdb-core==26.9.0"];

/// `python3`, with the packages to import.
pub(crate) fn log_engines() -> Result<Command> {
    let folders = [install("log-engines", &PACKAGES)?, install("clickhouse", &CLICKHOUSE)?];
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", env::join_paths(folders)?).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}

fn install(piece: &str, packages: &[&str]) -> Result<PathBuf> {
    cache::piece(piece, |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
        pip.args(["--no-compile", "--only-binary=:all:", "--target"]).arg(folder).args(packages);
        tool::output(&mut pip).map(drop)
    })
}
