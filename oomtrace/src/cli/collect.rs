//! `oomtrace collect`: all of this node that `oomtrace timeline` could want, in one file.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, IsTerminal as _, Write},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use tracing::{error, info, warn};

use super::{
    gather::{self, Gathered},
    names::Sources,
};
use crate::replay::Kept;

/// Options of `oomtrace collect`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to write; `-` is standard output. Default: oomtrace-NODE-TIME.tar.gz in this folder.
    #[arg(long, short, value_name = "FILE.tar.gz")]
    output: Option<PathBuf>,
    /// Where the node's cgroups are mounted: in a container, where the host's /sys/fs/cgroup is.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    #[command(flatten)]
    sources: Sources,
}

/// Gathers, writes, and says what is missing.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let name = default_name();
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    let refused =
        "standard output is a terminal, and an archive is no text: `oomtrace collect --output - > FILE.tar.gz`";
    anyhow::ensure!(!(to_stdout && io::stdout().is_terminal()), refused);
    let Gathered { kept, missing } = gather::everything(&args.sources.options(&args.cgroup_root));
    for (what, why) in &missing {
        warn!("missing: {what}: {why}");
    }
    if !gather::has_logs_or_pods(&kept) {
        error!(
            "nothing of this node can be had: run it as root on the node, or in a container with hostPID and the node's root \
             folder mounted (--host-root)"
        );
        return Ok(ExitCode::FAILURE);
    }
    let folder = name.trim_end_matches(".tar.gz");
    if to_stdout {
        write(io::stdout().lock(), folder, &kept).context("standard output cannot be written to")?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(&name));
    let cannot = || format!("{} cannot be written: name another file with --output", path.display());
    // It names pods, processes and their arguments.
    let file = open_for_me_alone(&path).with_context(cannot)?;
    write(file, folder, &kept).with_context(cannot)?;
    info!(
        "{}: {} files, {} pieces missing (MISSING.txt says which, LEFT_OUT.txt what was left out); `oomtrace timeline {}` reads it",
        path.display(),
        kept.len(),
        missing.len(),
        path.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Opens a file that nobody else reads, also where it was there before with other permissions: before anything is in it.
fn open_for_me_alone(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // A device or a pipe has no content to keep, and its permissions are not ours to change.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn default_name() -> String {
    let node = super::node_name(None).replace('/', "_");
    format!("oomtrace-{node}-{}.tar.gz", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"))
}

/// Writes the files, all in one folder.
fn write(out: impl Write, folder: &str, kept: &[Kept]) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    for Kept { path, file } in kept {
        let Some(bytes) = file.bytes() else { continue };
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(Timestamp::now().as_second().unsigned_abs());
        archive.append_data(&mut header, format!("{folder}/{path}"), bytes)?;
    }
    archive.into_inner()?.finish()?.flush()
}
