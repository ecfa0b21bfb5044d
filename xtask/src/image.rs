//! `cargo xtask image`: the container image, made without a container daemon and the same bytes each time.

mod oci;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::json;

use self::oci::Source;
use crate::{arch::Arch, archive, build, setup, tool};

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
    /// The nodes' architecture; of several, with commas between them, the image is an index
    #[arg(long, value_enum, value_delimiter = ',', default_value = "amd64")]
    arch: Vec<Arch>,
    /// The `oomtrace` to put in, instead of a release built now; one for each architecture
    #[arg(long, value_name = "FILE", conflicts_with = "arch")]
    binary: Vec<PathBuf>,
}

pub(crate) fn run(image: &Image) -> Result<ExitCode> {
    let binaries = if image.binary.is_empty() {
        image.arch.iter().map(|arch| build::oomtrace(*arch, true)).collect::<Result<Vec<_>>>()?
    } else {
        image.binary.clone()
    };
    let output = match &image.output {
        Some(output) => output.clone(),
        None => build::target_folder()?.join("oomtrace-image.tar"),
    };
    let digest = write(&binaries, &image.name, &output)?;
    println!("{} {digest} in {}", image.name, output.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes the image of static `oomtrace`s, one for each architecture, and gives the digest of its manifest or index.
pub(crate) fn write(binaries: &[PathBuf], name: &str, output: &Path) -> Result<String> {
    write_layout(vec![oomtrace(binaries, name)?], output)
}

/// What a node without a registry needs for pods of ours: oomtrace, busybox as `localhost/busybox:1`, and as `localhost/pause:1`
/// what holds a pod's namespaces.
pub(crate) fn write_for_node(binary: &Path, output: &Path) -> Result<()> {
    let date = archive::source_date()?;
    let busybox = setup::busybox()?;
    let applets = tool::output(Command::new(&busybox).arg("--list"))?;
    let links = applets.lines().filter(|name| *name != "busybox");
    let images = vec![
        oomtrace(&[binary.to_owned()], NAME)?,
        Source {
            name: "localhost/busybox:1".to_owned(),
            date,
            files: vec![(Arch::Amd64, vec![("bin/busybox".to_owned(), 0o755, read(&busybox)?)])],
            links: links.map(|name| (format!("bin/{name}"), "busybox".to_owned())).collect(),
            config: json!({"Env": ["PATH=/bin"], "Cmd": ["sh"]}),
        },
        Source {
            name: "localhost/pause:1".to_owned(),
            date,
            files: vec![(Arch::Amd64, vec![("pause".to_owned(), 0o755, read(&setup::kubernetes()?.join("pause"))?)])],
            links: Vec::new(),
            config: json!({"User": "65535:65535", "Entrypoint": ["/pause"]}),
        },
    ];
    write_layout(images, output)?;
    Ok(())
}

fn oomtrace(binaries: &[PathBuf], name: &str) -> Result<Source> {
    let binaries = binaries.iter().map(|binary| Ok((build::check_static(binary)?, read(binary)?)));
    let binaries = binaries.collect::<Result<Vec<_>>>()?;
    let mut known = Vec::new();
    for (arch, _) in &binaries {
        ensure!(!known.contains(arch), "two programs for {arch}");
        known.push(*arch);
    }
    Source::oomtrace(binaries, name, archive::source_date()?, revision())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write_layout(images: Vec<Source>, output: &Path) -> Result<String> {
    let (layout, digests) = oci::layout(images)?;
    fs::write(output, layout).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(digests.join(" "))
}

/// The commit, where there is one.
fn revision() -> Option<String> {
    let commit = tool::output(Command::new("git").args(["rev-parse", "HEAD"])).ok()?;
    Some(commit.trim().to_owned())
}
