//! Programs that take OTLP, to be sent lines and figures: `rotel`, a collector that is a package of Python, and `VictoriaMetrics`,
//! which is Debian's.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::{apt::Suite, systemd::script};
use crate::{cache, tool};

/// A collector by its program alone; what Python it comes with is not used.
const ROTEL: &str = "rotel==0.0.1a15";

/// Both programs.
pub(crate) fn otlp_receivers() -> Result<(PathBuf, PathBuf)> {
    let rotel = cache::piece("rotel", |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
        pip.args(["--no-compile", "--no-deps", "--only-binary=:all:", "--target"]).arg(folder).arg(ROTEL);
        tool::output(&mut pip).map(drop)
    })?;
    let victoria_metrics = cache::piece("victoria-metrics", |folder| {
        Suite::open("trixie")?.unpack(&["victoria-metrics", "libc6"], folder)?;
        // The other programs of the package are large.
        for entry in fs::read_dir(folder.join("usr/bin"))? {
            let path = entry?.path();
            if !path.ends_with("victoria-metrics") {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        let own = cache::root()?.join("victoria-metrics");
        script(&folder.join("victoria-metrics"), &own.join("usr/bin/victoria-metrics"), [&own, &own])
    })?;
    Ok((rotel.join("rotel/rotel-agent"), victoria_metrics.join("victoria-metrics")))
}
