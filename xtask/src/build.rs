//! `cargo xtask build`: the `oomtrace` binary, checked to be what a node can run whatever it has installed.

use std::{
    env, fs,
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

use crate::{arch::Arch, setup, tool};

#[derive(Args)]
pub(crate) struct Build {
    /// Optimise, as for a release
    #[arg(long)]
    release: bool,
    /// What to build it for, by Debian's name or by Rust's target
    #[arg(long, visible_alias = "target", value_enum, default_value_t)]
    arch: Arch,
}

pub(crate) fn run(build: &Build) -> Result<ExitCode> {
    let binary = oomtrace(build.arch, build.release)?;
    #[expect(clippy::cast_precision_loss, reason = "a size for people, to a tenth of a megabyte")]
    let megabytes = fs::metadata(&binary)?.len() as f64 / 1e6;
    println!("{}: {megabytes:.1} MB, static, {}", binary.display(), build.arch.machine());
    Ok(ExitCode::SUCCESS)
}

/// Builds `oomtrace` and gives its path.
pub(crate) fn oomtrace(arch: Arch, release: bool) -> Result<PathBuf> {
    setup::toolchain()?;
    let mut cargo = cargo(arch)?;
    cargo.args(["build", "--quiet", "--package", "oomtrace", "--bin", "oomtrace"]);
    if release {
        cargo.arg("--release");
        // Joined with the flags of `.cargo/config.toml`.
        let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", arch.target().replace('-', "_").to_uppercase());
        cargo.env(variable, without_folders()?);
    }
    tool::run(&mut cargo)?;
    let binary = target_folder()?.join(arch.target()).join(if release { "release" } else { "debug" }).join("oomtrace");
    ensure!(check_static(&binary)? == arch, "{} is not for {arch}", binary.display());
    Ok(binary)
}

/// Flags by which messages name sources by their crate, and not by the folders of the machine that built them.
fn without_folders() -> Result<String> {
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let registry = cargo.context("where cargo keeps its crates is not known")?.join("registry/src");
    let mut renamed =
        vec![(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned(), "oomtrace")];
    // One folder for each registry, whose name is made of where it is; none where the crates are elsewhere.
    renamed.extend(fs::read_dir(&registry).into_iter().flatten().flatten().map(|entry| (entry.path(), "crates")));
    let flags = renamed.iter().map(|(folder, name)| format!("--remap-path-prefix={}=/{name}", folder.display()));
    Ok(flags.collect::<Vec<_>>().join(" "))
}

/// A cargo that builds for this architecture when it is given a subcommand: with the target, and what links and compiles C for it.
pub(crate) fn cargo(arch: Arch) -> Result<Command> {
    let mut cargo = tool::cargo();
    // Named even where it is this machine's, so that the output's place is known.
    cargo.env("CARGO_BUILD_TARGET", arch.target());
    if arch == Arch::Arm64 && !arch.is_this_machines() {
        let cross = setup::cross()?;
        cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", cross.tool("gcc"));
        cargo.env("CC_aarch64_unknown_linux_gnu", cross.tool("gcc"));
        cargo.env("AR_aarch64_unknown_linux_gnu", cross.tool("ar"));
    }
    Ok(cargo)
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
    let strip = match check_static(program)? {
        Arch::Arm64 if !Arch::Arm64.is_this_machines() => setup::cross()?.tool("strip"),
        Arch::Amd64 | Arch::Arm64 => PathBuf::from("strip"),
    };
    tool::output(Command::new(strip).arg("--strip-debug").arg("-o").arg(to).arg(program))?;
    Ok(())
}

/// What a program is for. Fails if it asks for a dynamic loader or a shared library: it would not start on every node.
pub(crate) fn check_static(program: &Path) -> Result<Arch> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let context = || format!("{} is not an ELF program", program.display());
    if let Some(need) = shared_need(&bytes).with_context(context)? {
        bail!("{} is not static: it has {need}; see `crt-static` in .cargo/config.toml", program.display());
    }
    architecture(&bytes)?.with_context(|| format!("{} is for a machine that is none of ours", program.display()))
}

/// What a program is for, if it is one of ours.
fn architecture(program: &[u8]) -> Result<Option<Arch>> {
    let file = ElfFile64::<Endianness>::parse(program)?;
    Ok(match file.elf_header().e_machine.get(file.endian()) {
        elf::EM_X86_64 => Some(Arch::Amd64),
        elf::EM_AARCH64 => Some(Arch::Arm64),
        _ => None,
    })
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
    fn this_very_program_is_static_and_for_this_machine() -> Result<()> {
        assert_eq!(check_static(&std::env::current_exe()?)?.machine(), std::env::consts::ARCH);
        Ok(())
    }

    #[test]
    fn a_program_is_for_what_its_header_says() -> Result<()> {
        let mut program = fs::read(std::env::current_exe()?)?;
        // `e_machine`, by elf(5).
        for (machine, arch) in [(62_u16, Some(Arch::Amd64)), (183, Some(Arch::Arm64)), (243, None)] {
            program[18..20].copy_from_slice(&machine.to_le_bytes());
            assert_eq!(architecture(&program)?, arch, "{machine}");
        }
        Ok(())
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
