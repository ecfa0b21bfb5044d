//! `cargo xtask fuzz`: whatever oomtrace reads from outside, fed with what nobody would write, by libFuzzer.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{arch::Arch, build, setup, tool};

/// What makes the compiler count edges and compare operands for libFuzzer. No sanitizer: the code under test is safe Rust,
/// and these few flags are the stable compiler's.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
/// The longest input, bytes: some dozen lines of a log.
const LONGEST: u32 = 16 << 10;
/// What no input may take: memory in MiB, and seconds.
const MOST_MEMORY: u32 = 1024;
const MOST_TIME: u32 = 20;

#[derive(Args)]
#[command(
    after_help = "Needs a C++ compiler for libFuzzer. Inputs that were worth keeping stay in target/fuzz/corpus/TARGET; \
                  one that breaks something is kept in target/fuzz/findings, and the exit status is 1. To try it again: \
                  cargo xtask fuzz TARGET -- FILE"
)]
pub(crate) struct Fuzz {
    /// What to feed: the name of a file in oomtrace/fuzz/targets, without `.rs` [default: each of them]
    target: Option<String>,
    /// How long to go on with each, seconds
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Files to try instead of making inputs, or other arguments for libFuzzer
    #[arg(last = true, requires = "target")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(fuzz: &Fuzz) -> Result<ExitCode> {
    setup::toolchain()?;
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("oomtrace").join("fuzz");
    let targets = targets(&package)?;
    let chosen: Vec<&String> = match &fuzz.target {
        None => targets.iter().collect(),
        Some(name) => {
            ensure!(targets.contains(name), "there is no target `{name}`: it is one of {}", targets.join(", "));
            vec![name]
        }
    };
    let work = build::target_folder()?.join("fuzz");
    build_targets(&package, &work, &chosen)?;
    let mut broken = Vec::new();
    for name in chosen {
        let mut command = Command::new(work.join(Arch::Amd64.target()).join("release").join(name));
        let findings = work.join("findings");
        fs::create_dir_all(&findings).with_context(|| format!("cannot create {}", findings.display()))?;
        command.arg(format!("-artifact_prefix={}/{name}-", findings.display()));
        if fuzz.arguments.is_empty() {
            let corpus = work.join("corpus").join(name);
            fs::create_dir_all(&corpus).with_context(|| format!("cannot create {}", corpus.display()))?;
            command.arg(format!("-max_total_time={}", fuzz.seconds)).arg(format!("-max_len={LONGEST}"));
            command.arg(format!("-rss_limit_mb={MOST_MEMORY}")).arg(format!("-timeout={MOST_TIME}"));
            command.args(["-verbosity=0", "-print_final_stats=1"]).arg(corpus).arg(package.join("seeds").join(name));
        } else {
            command.args(&fuzz.arguments);
        }
        println!("== {name}");
        if let Err(error) = tool::run(&mut command) {
            eprintln!("error: {error:#}");
            broken.push(name.as_str());
        }
    }
    if !broken.is_empty() {
        bail!("broken: {}; the inputs are in {}", broken.join(", "), work.join("findings").display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of all targets.
fn targets(package: &Path) -> Result<Vec<String>> {
    let folder = package.join("targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path: PathBuf = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds them apart from everything else: with these flags nothing that is built already can be used.
fn build_targets(package: &Path, work: &Path, names: &[&String]) -> Result<()> {
    let mut cargo = build::cargo(Arch::Amd64)?;
    cargo.args(["build", "--release", "--target-dir"]).arg(work);
    cargo.args(names.iter().flat_map(|name| ["--bin", name.as_str()]));
    // Instead of those of the project's configuration, which make programs static.
    cargo.current_dir(package).env("RUSTFLAGS", [&COVERAGE[..], &["--cfg", "fuzzing"]].concat().join(" "));
    tool::run(&mut cargo).context("the fuzz targets do not build; libFuzzer needs a C++ compiler (g++ or clang++)")
}
