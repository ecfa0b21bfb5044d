//! `cargo xtask release`: every file that a release consists of, the same bytes each time they are made of a commit.

mod chart;
mod krew;
mod rpm;
mod sbom;
mod tarball;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use sha2::{Digest as _, Sha256};

use crate::{
    arch::Arch,
    archive, build, deb, image,
    installed::{self, Installed, VERSION},
    manifests, tool,
};

const SUMS: &str = "SHA256SUMS";

#[derive(Args)]
#[command(
    after_help = "For x86-64 and AArch64: an archive with the static program, its manual, completions, unit and an example of a \
                  configuration; a Debian package and an RPM of the same. For both at once: the container image (an OCI layout in \
                  a tar archive, its one image an index of both), the Helm chart, the plain manifests as one file, what it is \
                  all made of (CycloneDX), and the checksums.\n\n\
                  The same commit, compiler and folder make the same bytes: dates are the commit's, or SOURCE_DATE_EPOCH. \
                  How to push the image is printed."
)]
pub(crate) struct Release {
    /// Where to write the files [default: release-VERSION in the target folder]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Make everything a second time of the same programs, and fail where a byte differs
    #[arg(long)]
    check: bool,
    /// The `oomtrace` to put in, instead of releases built now; one for each architecture
    #[arg(long, value_name = "FILE")]
    binary: Vec<PathBuf>,
    /// Write a manifest for Krew, too: the archives will be downloaded from below this address
    #[arg(long, value_name = "URL")]
    download_url: Option<String>,
    /// Make it although the work tree has changes that are in no commit
    #[arg(long)]
    allow_dirty: bool,
}

pub(crate) fn run(release: &Release) -> Result<ExitCode> {
    let changes = tool::output(Command::new("git").args(["status", "--porcelain", "--untracked-files=no"]))?;
    ensure!(
        release.allow_dirty || changes.is_empty(),
        "what would be released is in no commit (--allow-dirty makes it all the same):\n{changes}"
    );
    let output = match &release.output {
        Some(output) => output.clone(),
        None => installed::in_target(&format!("release-{VERSION}"))?,
    };
    let binaries = match &release.binary[..] {
        [] => Arch::ALL.into_iter().map(|arch| build::oomtrace(arch, true)).collect::<Result<Vec<_>>>()?,
        binaries => binaries.to_vec(),
    };
    if output.exists() {
        fs::remove_dir_all(&output).with_context(|| format!("cannot clear away {}", output.display()))?;
    }
    let url = release.download_url.as_deref();
    let names = make(&binaries, url, &output)?;
    if release.check {
        let again = tempfile::tempdir().context("no place for a second release")?;
        ensure!(make(&binaries, url, again.path())? == names, "the second time other files are made");
        let differing = differing(&names, &output, again.path())?;
        ensure!(differing.is_empty(), "the second time these differ: {}", differing.join(", "));
        println!("made twice, the same bytes");
    }
    for name in &names {
        println!("{:>9}  {name}", fs::metadata(output.join(name))?.len());
    }
    println!("in {}\n{}", output.display(), how_to_push());
    Ok(ExitCode::SUCCESS)
}

/// Writes everything into a folder, and gives the files' names, sorted.
fn make(binaries: &[PathBuf], url: Option<&str>, output: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(output).with_context(|| format!("cannot create {}", output.display()))?;
    let date = archive::source_date()?;
    let (mut files, mut archives) = (Vec::new(), Vec::new());
    let native = binaries.iter().find(|binary| build::check_static(binary).is_ok_and(Arch::is_this_machines));
    let native = native.context("no program runs on this machine, to write its own manual")?;
    for binary in binaries {
        let installed = Installed::described_by(binary, native)?;
        let arch = installed.arch;
        archives.push((arch, tarball::archive(installed.clone(), date)?));
        files.push((rpm::name(arch), rpm::package(&installed, date)?));
        files.push((deb::name(arch), deb::package(installed, date)?));
    }
    if let Some(url) = url {
        let archives: Vec<_> = archives.iter().map(|(arch, archive)| (*arch, &archive[..])).collect();
        files.push((krew::NAME.to_owned(), krew::manifest(url, &archives)?));
    }
    files.extend(archives.into_iter().map(|(arch, archive)| (tarball::name(arch), archive)));
    files.push((format!("oomtrace-{VERSION}.tgz"), chart::package(date)?));
    files.push((format!("oomtrace-{VERSION}.yaml"), manifests::overlay_text("plain")?.into_bytes()));
    let bill = sbom::bill(date)?;
    sbom::check(&bill)?;
    files.push((format!("oomtrace-{VERSION}.cdx.json"), bill));
    for (name, bytes) in files {
        fs::write(output.join(&name), bytes).with_context(|| format!("cannot write {name}"))?;
    }
    image::write(binaries, image::NAME, &output.join(image_name()))?;
    chart::check(&output.join(format!("oomtrace-{VERSION}.tgz")))?;
    let sums = sums(output)?;
    fs::write(output.join(SUMS), sums).with_context(|| format!("cannot write {SUMS}"))?;
    names(output)
}

fn image_name() -> String {
    format!("oomtrace-{VERSION}-image.tar")
}

/// The names of a folder's files, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// As `sha256sum --check` reads it.
fn sums(folder: &Path) -> Result<String> {
    let lines = names(folder)?
        .into_iter()
        .map(|name| Ok(format!("{:x}  {name}\n", Sha256::digest(fs::read(folder.join(&name))?))));
    lines.collect()
}

/// Those of two folders' files whose bytes are not the same.
fn differing(names: &[String], one: &Path, other: &Path) -> Result<Vec<String>> {
    let mut differing = Vec::new();
    for name in names {
        if fs::read(one.join(name))? != fs::read(other.join(name))? {
            differing.push(name.clone());
        }
    }
    Ok(differing)
}

/// The ways of the image into a registry, both architectures at once.
fn how_to_push() -> String {
    let (file, to) = (image_name(), format!("REGISTRY/oomtrace:{VERSION}"));
    format!(
        "To push the image:\n  \
         skopeo copy --all oci-archive:{file} docker://{to}\n  \
         mkdir layout && tar -xf {file} -C layout && crane push --index layout {to}\n  \
         oras cp --from-oci-layout {file}:{VERSION} {to}"
    )
}
