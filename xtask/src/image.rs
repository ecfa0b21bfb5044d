//! `cargo xtask image`: the container image, made without a container daemon and the same bytes each time.

mod oci;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::Args;

use self::oci::Source;
use crate::{archive, build, tool};

/// What the manifests in `deploy/` call it.
pub(crate) const NAME: &str = concat!("localhost/oomtrace:", env!("CARGO_PKG_VERSION"));

#[derive(Args)]
#[command(
    after_help = "The file is an OCI image layout in a tar archive. Take it into a node with `ctr -n k8s.io images import \
                  FILE`, into Docker (from 25 on) with `docker load -i FILE`, into a registry with `skopeo copy \
                  oci-archive:FILE docker://…`. The same binary and SOURCE_DATE_EPOCH (default: the last commit's date) \
                  make the same bytes."
)]
pub(crate) struct Image {
    /// Where to write the image [default: oomtrace-image.tar in the target folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What the image is called
    #[arg(long, default_value = NAME)]
    name: String,
    /// The `oomtrace` to put in, instead of a release built now
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

pub(crate) fn run(image: &Image) -> Result<ExitCode> {
    let binary = match &image.binary {
        Some(binary) => binary.clone(),
        None => build::oomtrace(true)?,
    };
    let output = match &image.output {
        Some(output) => output.clone(),
        None => build::target_folder()?.join("oomtrace-image.tar"),
    };
    let digest = write(&binary, &image.name, &output)?;
    println!("{} {digest} in {}", image.name, output.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes the image of a static `oomtrace`, and gives the digest of its manifest.
pub(crate) fn write(binary: &Path, name: &str, output: &Path) -> Result<String> {
    build::check_static(binary)?;
    let source = Source {
        binary: fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?,
        name: name.to_owned(),
        date: archive::source_date()?,
        revision: revision(),
    };
    let (layout, digest) = source.layout()?;
    fs::write(output, layout).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(digest)
}

/// The commit, where there is one.
fn revision() -> Option<String> {
    let commit = tool::output(Command::new("git").args(["rev-parse", "HEAD"])).ok()?;
    Some(commit.trim().to_owned())
}
