//! `cargo xtask build`: the `oomtrace` binary, checked to be what a node can run whatever it has installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use object::{
    Endianness, elf,
    read::elf::{ElfFile64, ProgramHeader as _},
};
use serde_json::Value;

use crate::{setup, tool};

/// The target whose programs are static (see `.cargo/config.toml`), named so that the output's place is known.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

#[derive(Args)]
pub(crate) struct Build {
    /// Optimise, as for a release
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(build: &Build) -> Result<ExitCode> {
    let binary = oomtrace(build.release)?;
    #[expect(clippy::cast_precision_loss, reason = "a size for people, to a tenth of a megabyte")]
    let megabytes = fs::metadata(&binary)?.len() as f64 / 1e6;
    println!("{}: {megabytes:.1} MB, static", binary.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds `oomtrace` and gives its path.
pub(crate) fn oomtrace(release: bool) -> Result<PathBuf> {
    setup::toolchain()?;
    let mut cargo = tool::cargo();
    cargo.args(["build", "--quiet", "--package", "oomtrace", "--bin", "oomtrace", "--target", TARGET]);
    cargo.args(release.then_some("--release"));
    tool::run(&mut cargo)?;
    let binary = target_folder()?.join(TARGET).join(if release { "release" } else { "debug" }).join("oomtrace");
    check_static(&binary)?;
    Ok(binary)
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = tool::output(tool::cargo().args(["metadata", "--format-version=1", "--no-deps", "--offline"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("`cargo metadata` is not JSON")?;
    let folder = metadata["target_directory"].as_str().context("`cargo metadata` names no target directory")?;
    Ok(PathBuf::from(folder))
}

/// The program of a target, out of cargo's messages, a JSON object a line.
pub(crate) fn executable(messages: &str, kind: &str, name: &str) -> Option<PathBuf> {
    let mut messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.find_map(|message| {
        let target = &message["target"];
        let found = target["name"] == name && target["kind"][0] == kind;
        message["executable"].as_str().filter(|_| found).map(PathBuf::from)
    })
}

/// Copies a program without its debug information: most of its size, and in a guest all files are in memory.
pub(crate) fn strip(program: &Path, to: &Path) -> Result<()> {
    tool::output(Command::new("strip").arg("--strip-debug").arg("-o").arg(to).arg(program))?;
    Ok(())
}

/// Fails if the program asks for a dynamic loader or a shared library: it would not start on every node.
pub(crate) fn check_static(program: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    if let Some(need) = shared_need(&bytes).with_context(|| format!("{} is not an ELF program", program.display()))? {
        bail!("{} is not static: it has {need}; see `crt-static` in .cargo/config.toml", program.display());
    }
    Ok(())
}

/// What of a program is not inside it. A static position-independent one has a dynamic section too, without needs.
fn shared_need(program: &[u8]) -> Result<Option<&'static str>> {
    let file = ElfFile64::<Endianness>::parse(program)?;
    let endian = file.endian();
    for header in file.elf_program_headers() {
        if header.p_type(endian) == elf::PT_INTERP {
            return Ok(Some("an interpreter (PT_INTERP)"));
        }
        let entries = header.dynamic(endian, program)?.unwrap_or_default();
        if entries.iter().any(|entry| entry.d_tag.get(endian) == elf::DT_NEEDED) {
            return Ok(Some("a shared library (DT_NEEDED)"));
        }
    }
    ensure!(!file.elf_program_headers().is_empty(), "no program headers");
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_is_static() -> Result<()> {
        check_static(&std::env::current_exe()?)
    }

    #[test]
    fn a_program_of_the_distribution_is_not() {
        let error = check_static(Path::new("/bin/true")).expect_err("it fails").to_string();
        assert!(error.contains("is not static: it has an interpreter"), "{error}");
    }

    #[test]
    fn cargo_tells_where_it_put_a_program() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"kind":["lib"],"name":"oomtrace"},"executable":null}
            {"reason":"compiler-artifact","target":{"kind":["bin"],"name":"oomtrace"},"executable":"/target/oomtrace"}
            {"reason":"compiler-artifact","target":{"kind":["test"],"name":"kernel"},"executable":"/target/kernel-1"}"#;
        assert_eq!(executable(messages, "bin", "oomtrace"), Some(PathBuf::from("/target/oomtrace")));
        assert_eq!(executable(messages, "test", "kernel"), Some(PathBuf::from("/target/kernel-1")));
        assert_eq!(executable(messages, "test", "other"), None);
    }
}
