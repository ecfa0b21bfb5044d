//! The unit for hosts, read by systemd itself.

use std::{env, fs};

use anyhow::{Context as _, Result};

use crate::{setup, tool};

/// As it is shipped.
pub(super) const UNIT: &str = include_str!("../../../deploy/systemd/oomtrace.service");
/// What it runs, where it is installed.
const PROGRAM: &str = "/usr/bin/oomtrace";

/// What systemd may call its exposure, from 0 to 100: what watches a whole node is exposed to it.
const EXPOSURE: &str = "--threshold=40";

/// What systemd says against a unit, a line each.
pub(super) fn complaints(unit: &str) -> Result<Vec<String>> {
    let folder = tempfile::tempdir().context("no place for the unit")?;
    let file = folder.path().join("oomtrace.service");
    let this_program = env::current_exe()?;
    // It wants the program to be there.
    fs::write(&file, unit.replace(PROGRAM, &this_program.to_string_lossy()))?;
    let mut complaints = Vec::new();
    for arguments in [["verify", "--man=no", "--recursive-errors=no"], ["security", "--offline=true", EXPOSURE]] {
        let mut analyze = setup::systemd_analyze()?;
        analyze.args(arguments).arg("--no-pager").arg(&file);
        complaints.extend(tool::output(&mut analyze).err().map(|error| format!("{error:#}")));
    }
    Ok(complaints.iter().flat_map(|said| said.lines()).map(str::to_owned).collect())
}
