//! Runs the kernel tests (`oomtrace/tests/kernel`) on each kernel of the matrix, a guest per kernel and cgroup version.

use std::{
    fs::{self, File},
    io::{self, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{
    Row, step,
    tally::{Ended, Listener},
};
use crate::{
    arch::Arch,
    build, image, manifests,
    setup::{self, Kernel},
    tool,
    vm::{Cgroup, Guest, Outcome, Sink, With},
};

/// For a guest with all its tests, emulated on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(25);
/// The same with a container runtime or Prometheus, which take seconds there for what takes others milliseconds.
const RUNTIME_TIMEOUT: Duration = Duration::from_mins(45);

/// What the guests run.
pub(crate) struct Programs {
    oomtrace: PathBuf,
    tests: PathBuf,
}

impl Programs {
    /// What a guest is to have, and what these are called in it.
    pub(crate) fn in_guest(&self) -> Vec<(PathBuf, &'static str)> {
        vec![(self.oomtrace.clone(), "oomtrace"), (self.tests.clone(), "kernel-tests")]
    }
}

/// What a cluster would get: the image, and the manifests. Those are JSON, a list.
struct Deployed {
    folder: TempDir,
}

impl Deployed {
    /// Where a guest has it.
    const IN_GUEST: &str = "/vm/deployed";

    fn make(oomtrace: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("no place for the image")?;
        let stripped = folder.path().join("oomtrace");
        build::strip(oomtrace, &stripped)?;
        image::write(std::slice::from_ref(&stripped), image::NAME, &folder.path().join("image.tar"))?;
        fs::remove_file(stripped)?;
        // Without what reads them, the guest skips what needs them.
        if setup::python().is_ok() {
            fs::write(folder.path().join("manifests.json"), serde_json::to_vec(&manifests::overlay("plain")?)?)?;
        }
        Ok(Self { folder })
    }
}

/// A guest's part of the matrix.
#[derive(Clone, Copy)]
struct Cell {
    arch: Arch,
    kernel: Kernel,
    cgroup: Cgroup,
    with: Option<With>,
    /// Whether the guest's clock counts instructions, for the tests that say how fast something is.
    instructions: bool,
}

/// Builds the tests and runs them on each of these kernels, `jobs` guests at a time. By default it is one a processor:
/// emulated, a guest keeps hardly more than one busy (on two processors, a third less time than one after the other).
pub(super) fn run(arch: Arch, kernels: &[Kernel], filter: Option<&str>, jobs: Option<NonZeroUsize>) -> Vec<Row> {
    let mut programs = None;
    let mut rows = vec![step("building the kernel tests", || {
        programs = Some(compile(arch)?);
        Ok(Ended::default())
    })];
    let Some(programs) = programs else { return rows };

    let cells = kernels.iter().flat_map(|kernel| cells(arch, *kernel, kernels.len() == 1));
    let mut cells: Vec<(Cell, OnceLock<Row>)> = cells.map(|cell| (cell, OnceLock::new())).collect();
    // The longest first, so that the guests side by side end together.
    cells.sort_by_key(|(cell, _)| !cell.has_all_tests());
    let jobs = jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..jobs.min(cells.len()) {
            scope.spawn(|| {
                while let Some((cell, row)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    row.get_or_init(|| cell.run(&programs, filter, cells.len() == 1));
                }
            });
        }
    });
    rows.extend(cells.into_iter().filter_map(|(_, row)| row.into_inner()));
    rows
}

/// cgroup v2 on every kernel, v1 on the oldest, and on one kernel container runtimes, a clock that counts instructions and what
/// reads the outputs. A kernel by itself (`alone`) runs what it can of these, too.
fn cells(arch: Arch, kernel: Kernel, alone: bool) -> Vec<Cell> {
    // A kernel that cannot be had is reported by its v2 cell.
    let can_v1 = || setup::kernel_for(arch, kernel).and_then(|files| files.has_memory_v1()).unwrap_or(false);
    let v1 = (alone || kernel == Kernel::V5_10) && can_v1();
    let versions = if v1 { vec![Cgroup::V2, Cgroup::V1] } else { vec![Cgroup::V2] };
    let plain = |cgroup| Cell { arch, kernel, cgroup, with: None, instructions: false };
    let with = |with| Cell { with: Some(with), ..plain(Cgroup::V2) };
    let mut cells: Vec<_> = versions.into_iter().map(plain).collect();
    if arch != Arch::Amd64 {
        return cells;
    }
    // The runtime is the same everywhere; what differs is how cgroups come and go.
    if kernel == Kernel::V6_12 || alone && kernel == Kernel::V6_1 {
        cells.extend([with(With::Containerd), Cell { instructions: true, ..plain(Cgroup::V2) }]);
    }
    // The files of engines and what is counted are the same everywhere, too.
    if kernel == Kernel::V6_12 {
        cells.extend([With::Docker, With::Podman, With::Readers].map(with));
    }
    cells
}

impl Cell {
    /// Whether it runs all tests that need nothing special, which takes longest.
    fn has_all_tests(self) -> bool {
        self.with.is_none() && !self.instructions
    }

    /// Runs the guest. What it prints is shown as it comes if it is the only one, else in one piece at its end.
    fn run(self, programs: &Programs, filter: Option<&str>, alone: bool) -> Row {
        let with = self.with.map(|with| format!(" with {}", with.name()));
        let with = with.unwrap_or_else(|| if self.instructions { " timed" } else { "" }.to_owned());
        let headline = |release: &str| format!("== kernel tests on {release}, cgroup {}{with}\n", self.cgroup);
        let transcript = Transcript::default();
        if alone {
            print!("{}", headline(self.kernel.label()));
        }
        let started = Instant::now();
        let outcome = self.boot(programs, filter, &transcript, alone);
        let seconds = started.elapsed().as_secs_f32();
        let release = outcome.as_ref().map_or(self.kernel.label(), |outcome| &outcome.release).to_owned();
        let booted = outcome.as_ref().map_or(Duration::ZERO, |outcome| outcome.boot).as_secs_f32();
        let (ended, ending) = match verdict(outcome, transcript.ended()) {
            Ok(ended) => {
                let ending = format!("{}; booted in {booted:.1} s, {seconds:.1} s in all", ended.tally);
                (ended, ending)
            }
            Err(error) => (Ended::failed(&error), format!("error: {error:#}")),
        };
        let shown = if alone { String::new() } else { headline(&release) + &transcript.text() };
        println!("{shown}{}, cgroup {}{with}: {ending}", self.kernel, self.cgroup);
        Row { name: format!("kernel tests on {release} {}{with}", self.cgroup), ended, seconds }
    }

    fn boot(self, programs: &Programs, filter: Option<&str>, transcript: &Transcript, live: bool) -> Result<Outcome> {
        let Self { arch, kernel, cgroup, with, instructions } = self;
        let what = with.map(With::name).or(instructions.then_some("timed"));
        let what = what.map(|what| format!("-{what}")).unwrap_or_default();
        let out = build::target_folder()?.join(arch.piece("kernel-tests")).join(format!("{kernel}-{cgroup}{what}"));
        if out.exists() {
            fs::remove_dir_all(&out).with_context(|| format!("cannot clear {} of an earlier run", out.display()))?;
        }
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        let command = ["kernel-tests".to_owned()].into_iter().chain(filter.map(str::to_owned));
        let deployed = (with == Some(With::Containerd)).then(|| Deployed::make(&programs.oomtrace));
        let deployed = deployed.transpose().context("nothing to deploy")?;
        let files = deployed.iter().map(|deployed| (deployed.folder.path().to_owned(), Deployed::IN_GUEST.into()));
        let guest = Guest {
            arch,
            cgroup,
            with,
            instructions,
            cpus: if instructions { 1 } else { 2 },
            files: files.collect(),
            memory: if with.is_some() { 2048 } else { 1024 },
            programs: programs.in_guest(),
            console: Box::new(File::create(out.join("console.log"))?),
            timeout: if with.is_some() { RUNTIME_TIMEOUT } else { TIMEOUT },
            stdout: transcript.stdout(live),
            stderr: transcript.stderr(live),
            out: Some(out),
            ..Guest::new(kernel, command)
        };
        guest.run()
    }
}

/// A guest's tests, if they can be believed: a harness that died on the way has not said how it ends.
fn verdict(outcome: Result<Outcome>, ended: Option<Ended>) -> Result<Ended> {
    let Outcome { status, .. } = outcome?;
    let ended = ended.with_context(|| format!("the tests ended, status {status}, without a line `test result: …`"))?;
    ensure!(status == 0 || ended.tally.failed > 0, "no test failed, and yet the tests' exit status is {status}");
    Ok(ended)
}

/// What a guest's command prints: both streams as they come, and the first alone, where the counts are.
#[derive(Default)]
struct Transcript {
    both: Arc<Mutex<Vec<u8>>>,
    stdout: Arc<Mutex<Vec<u8>>>,
}

impl Transcript {
    fn stdout(&self, live: bool) -> Sink {
        Box::new(Tee { buffers: vec![Arc::clone(&self.both), Arc::clone(&self.stdout)], live })
    }

    fn stderr(&self, live: bool) -> Sink {
        Box::new(Tee { buffers: vec![Arc::clone(&self.both)], live })
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&lock(&self.both)).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    fn ended(&self) -> Option<Ended> {
        let mut listener = Listener::default();
        String::from_utf8_lossy(&lock(&self.stdout)).lines().for_each(|line| listener.hear(line));
        listener.ended()
    }
}

/// Writes to buffers, and to our standard output too if somebody watches.
struct Tee {
    buffers: Vec<Arc<Mutex<Vec<u8>>>>,
    live: bool,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.live {
            io::stdout().write_all(bytes)?;
        }
        self.buffers.iter().for_each(|buffer| lock(buffer).extend(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

fn lock(buffer: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Builds the tests, and the `oomtrace` of the same build beside them.
pub(crate) fn compile(arch: Arch) -> Result<Programs> {
    let mut command = build::cargo(arch)?;
    command.args(["test", "--package", "oomtrace", "--test", "kernel", "--no-run"]);
    command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    let messages = tool::output(&mut command)?;
    let program = |kind: &str, name: &str| {
        let path = build::executable(&messages, kind, name)
            .with_context(|| format!("cargo did not say where the {kind} `{name}` of oomtrace is"))?;
        ensure!(build::check_static(&path)? == arch, "{} is not for {arch}", path.display());
        Ok::<_, anyhow::Error>(path)
    };
    Ok(Programs { oomtrace: program("bin", "oomtrace")?, tests: program("test", "kernel")? })
}

#[cfg(test)]
mod tests {
    use super::{super::tally::Tally, *};

    fn ended(status: u8) -> Outcome {
        Outcome { status, release: "6.12".to_owned(), boot: Duration::from_secs(4), total: Duration::from_secs(9) }
    }

    #[test]
    fn tests_that_ended_are_believed() -> Result<()> {
        let tally = Tally { passed: 3, failed: 0, skipped: 0 };
        assert_eq!(verdict(Ok(ended(0)), Some(tally.into()))?.tally, tally);
        Ok(())
    }

    #[test]
    fn a_harness_that_died_is_a_failure_whatever_it_had_counted() {
        let tally = Tally { passed: 3, failed: 0, skipped: 0 };
        assert!(verdict(Ok(ended(0)), None).is_err());
        assert!(verdict(Ok(ended(137)), Some(tally.into())).is_err());
    }
}
