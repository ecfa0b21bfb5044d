//! What the flight recorder costs.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use super::{cgroup, tracer::Tracer};

/// How many containers there are.
const NODES: [u32; 3] = [50, 250, 1000];
/// By then oomtrace has found all of them.
const SETTLED: Duration = Duration::from_secs(15);
/// One in so many containers uses more and less memory all the time.
const BUSY: usize = 10;
/// What a busy one uses, and does not.
const BUSY_BYTES: usize = 2 << 20;

#[derive(Args)]
pub(crate) struct Recorder {
    /// How long each figure is taken for
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..))]
    seconds: u64,
}

impl Recorder {
    pub(crate) fn words(&self) -> Vec<String> {
        vec!["recorder".to_owned(), format!("--seconds={}", self.seconds)]
    }

    pub(crate) fn run(&self) -> Result<()> {
        let time = Duration::from_secs(self.seconds);
        let files = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })?;
        println!("One container in {BUSY} uses {} MiB more and less every second.\n", BUSY_BYTES >> 20);
        println!(
            "{:<12} {:>10} {:>10} {:>10} {:>10} {:>8} {:>10}",
            "", "without", "with", "recorder", "reader", "", "anonymous"
        );
        println!(
            "{:<12} {:>10} {:>10} {:>10} {:>10} {:>8} {:>10}",
            "containers", "ms/s", "ms/s", "ms/s", "ms/s", "ratio", "KiB more"
        );
        let mut containers: Vec<PathBuf> = Vec::new();
        for node in NODES {
            while containers.len() < usize::try_from(node)? {
                containers.push(cgroup::container(u32::try_from(containers.len())?, 64 << 20)?);
            }
            let busy = Busy::start(containers.iter().step_by(BUSY).cloned().collect());
            let without = Cost::of(&["--history-memory", "0"], time)?;
            let with = Cost::of(&[], time)?;
            let reader = reader(&containers, time)?;
            busy.stop()?;
            let recorder = with.ms_a_second - without.ms_a_second;
            let kib = with.anonymous_kib.cast_signed() - without.anonymous_kib.cast_signed();
            println!(
                "{node:<12} {:>10.2} {:>10.2} {recorder:>10.2} {reader:>10.2} {:>8.2} {kib:>10}",
                without.ms_a_second,
                with.ms_a_second,
                recorder / reader
            );
        }
        println!(
            "\nreader: this program reads memory.current of the same containers and their pods every second, and keeps nothing."
        );
        Ok(())
    }
}

/// What a running `oomtrace` costs.
struct Cost {
    /// Of processor time.
    ms_a_second: f64,
    anonymous_kib: u64,
}

impl Cost {
    fn of(arguments: &[&str], time: Duration) -> Result<Self> {
        let tracer = Tracer::start(arguments)?;
        thread::sleep(SETTLED);
        let before = processor_time(tracer.pid())?;
        thread::sleep(time);
        let ms = processor_time(tracer.pid())?.saturating_sub(before).as_secs_f64() * 1000.0;
        let status = fs::read_to_string(format!("/proc/{}/status", tracer.pid()))?;
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
        let anonymous_kib = anonymous.context("/proc/PID/status has no RssAnon")?.parse()?;
        Ok(Self { ms_a_second: ms / time.as_secs_f64(), anonymous_kib })
    }
}

/// What all threads of a process have run.
fn processor_time(pid: u32) -> Result<Duration> {
    let mut ran = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let file = task?.path().join("schedstat");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        ran += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(ran))
}

/// The least that it could cost: milliseconds of processor time a second.
fn reader(containers: &[PathBuf], time: Duration) -> Result<f64> {
    let folders = containers.iter().flat_map(|folder| [Some(folder.as_path()), folder.parent()]).flatten();
    let files =
        folders.map(|folder: &Path| File::open(folder.join("memory.current"))).collect::<Result<Vec<_>, _>>()?;
    let seconds = time.as_secs().min(20);
    let before = own_time();
    for second in 0..seconds {
        let started = Instant::now();
        for file in &files {
            let mut text = [0; 32];
            file.read_at(&mut text, 0)?;
        }
        if second + 1 < seconds {
            thread::sleep(Duration::from_secs(1).saturating_sub(started.elapsed()));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    Ok(own_time().saturating_sub(before).as_secs_f64() * 1000.0 / seconds as f64)
}

fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Uses memory in containers, and gives it back.
struct Busy {
    stops: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<()>>,
}

impl Busy {
    fn start(containers: Vec<PathBuf>) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stops);
        let thread = thread::spawn(move || {
            let filling = vec![1; BUSY_BYTES];
            let file = |folder: &Path| {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Path::new("/dev/shm").join(name)
            };
            // What is written to a tmpfs is charged to the cgroup of who writes.
            let own = "/sys/fs/cgroup/cgroup.procs";
            while !stop.load(Ordering::Relaxed) {
                for folder in &containers {
                    cgroup::write(&folder.join("cgroup.procs"), "0")?;
                    let path = file(folder);
                    if path.exists() {
                        fs::remove_file(path)?;
                    } else {
                        fs::write(path, &filling)?;
                    }
                }
                cgroup::write(Path::new(own), "0")?;
                thread::sleep(Duration::from_secs(1));
            }
            Ok(())
        });
        Self { stops, thread }
    }

    fn stop(self) -> Result<()> {
        self.stops.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the thread that uses memory panicked"))?
    }
}
