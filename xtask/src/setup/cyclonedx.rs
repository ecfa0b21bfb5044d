//! `CycloneDX`'s own library, which judges a bill of materials.

use std::process::Command;

use anyhow::Result;

use super::kubernetes::pip;
use crate::{cache, tool};

/// With the schemas that it judges by.
const PACKAGE: &str = "cyclonedx-python-lib[json-validation]==11.12.0";

/// `python3`, with the package to import.
pub(crate) fn cyclonedx() -> Result<Command> {
    let folder = cache::piece("cyclonedx-python", |folder| tool::output(pip(folder).arg(PACKAGE)).map(drop))?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}
