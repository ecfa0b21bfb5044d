//! Runs the kernel tests (`oomtrace/tests/kernel`) on each kernel of the matrix, a guest per kernel and cgroup version.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write},
    mem,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Row, step, tally::Tally};
use crate::{
    build, setup, tool,
    setup::Kernel,
    vm::{Cgroup, Guest, Outcome, Sink},
};

/// For a guest with all its tests, emulated on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(900);

/// What the guests run.
struct Programs {
    oomtrace: PathBuf,
    tests: PathBuf,
}

/// A guest's part of the matrix.
#[derive(Clone, Copy)]
struct Cell {
    kernel: Kernel,
    cgroup: Cgroup,
}

/// Builds the tests and runs them on each of these kernels, as many guests at a time as there are processors: emulated, a guest
/// keeps hardly more than one busy.
pub(super) fn run(kernels: &[Kernel], filter: &[String]) -> Vec<Row> {
    let mut programs = None;
    let mut rows = vec![step("building the kernel tests", || {
        programs = Some(compile()?);
        Ok(Tally::default())
    })];
    let Some(programs) = programs else { return rows };

    let cells: VecDeque<Cell> = kernels.iter().flat_map(|kernel| cells(*kernel)).collect();
    let alone = cells.len() == 1;
    let workers = thread::available_parallelism().map_or(1, usize::from).min(cells.len());
    let (cells, done) = (Mutex::new(cells), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(cell) = lock(&cells).pop_front() {
                    let transcript = Transcript::new(alone);
                    let started = Instant::now();
                    let (release, tally) = cell.run(&programs, filter, &transcript);
                    let name = format!("{release} {}", cell.cgroup);
                    let row = Row { name, tally, seconds: started.elapsed().as_secs_f32() };
                    transcript.show(&format!("kernel tests on {}", row.name));
                    lock(&done).push(row);
                }
            });
        }
    });
    rows.append(&mut lock(&done));
    rows
}

/// cgroup v2 on every kernel, and v1 where the kernel can.
fn cells(kernel: Kernel) -> Vec<Cell> {
    // A kernel that cannot be had is reported by its v2 cell.
    let v1 = setup::kernel(kernel).and_then(|files| files.has_memory_v1()).unwrap_or(false);
    let versions = if v1 { vec![Cgroup::V2, Cgroup::V1] } else { vec![Cgroup::V2] };
    versions.into_iter().map(|cgroup| Cell { kernel, cgroup }).collect()
}

impl Cell {
    /// Gives the kernel's release (its label if it did not boot) and its tests.
    fn run(self, programs: &Programs, filter: &[String], transcript: &Transcript) -> (String, Tally) {
        let failed = |release: String, reason: String| {
            transcript.note(&format!("error: {reason}\n"));
            (release, Tally::FAILURE)
        };
        match self.boot(programs, filter, transcript) {
            Err(error) => failed(self.kernel.to_string(), format!("{error:#}")),
            Ok(Outcome { release, status, boot, .. }) => {
                let boot = boot.as_secs_f32();
                transcript.note(&format!("booted in {boot:.1} s, ended with exit status {status}\n"));
                match transcript.tally() {
                    Some(tally) if status == 0 || tally.failed > 0 => (release, tally),
                    Some(_) => failed(release, format!("every test passed, and yet the exit status is {status}")),
                    None => failed(release, "the tests ended without a line `test result: …`".to_owned()),
                }
            }
        }
    }

    fn boot(self, programs: &Programs, filter: &[String], transcript: &Transcript) -> Result<Outcome> {
        let Self { kernel, cgroup } = self;
        let out = build::target_folder()?.join(format!("kernel-tests/{kernel}-{cgroup}"));
        if out.exists() {
            fs::remove_dir_all(&out).with_context(|| format!("cannot clear {} of an earlier run", out.display()))?;
        }
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        let command = ["kernel-tests".to_owned()].into_iter().chain(filter.iter().cloned());
        let guest = Guest {
            cgroup,
            programs: vec![(programs.oomtrace.clone(), "oomtrace"), (programs.tests.clone(), "kernel-tests")],
            console: Box::new(File::create(out.join("console.log"))?),
            timeout: TIMEOUT,
            stdout: transcript.sink(true),
            stderr: transcript.sink(false),
            out: Some(out),
            ..Guest::new(kernel, command)
        };
        guest.run()
    }
}

/// Builds the tests, and the `oomtrace` of the same build beside them.
fn compile() -> Result<Programs> {
    let mut command = tool::cargo();
    command.args(["test", "--package", "oomtrace", "--test", "kernel", "--no-run", "--target", build::TARGET]);
    command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    let messages = tool::output(&mut command)?;
    let program = |kind: &str, name: &str| {
        let path = executable(&messages, kind, name)
            .with_context(|| format!("cargo did not say where the {kind} `{name}` of oomtrace is"))?;
        build::check_static(&path)?;
        Ok::<_, anyhow::Error>(path)
    };
    Ok(Programs { oomtrace: program("bin", "oomtrace")?, tests: program("test", "kernel")? })
}

/// The program of a target, out of cargo's messages, a JSON object a line.
fn executable(messages: &str, kind: &str, name: &str) -> Option<PathBuf> {
    let mut messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.find_map(|message| {
        let target = &message["target"];
        let found = target["name"] == name && target["kind"][0] == kind;
        message["executable"].as_str().filter(|_| found).map(PathBuf::from)
    })
}
