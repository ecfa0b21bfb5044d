//! `oomtrace leak`: a controlled allocator, to make each kind of memory death happen.

use std::{
    env,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use jiff::SignedDuration;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::{
    process::{Child, Command},
    runtime,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::sleep,
};

use crate::leak::{Kind, Leak, Plan, Share, Size, resident_bytes};

/// Options of `oomtrace leak`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sizes are written as in a pod's manifest (10Mi, 1.5Gi, 500M), or with a B behind (10MiB).

Examples, in a container limited to 256Mi:
  oomtrace leak --max 300MiB                  the first process is killed: Kubernetes says OOMKilled
  oomtrace leak --max 300MiB --child --hold   a child is killed, the first process lives: Kubernetes says nothing
  oomtrace leak --max 300MiB --touch 10%      much is asked for, little is used: nobody is killed
  oomtrace leak --max 300MiB --file           the page cache is taken back: nobody is killed")]
pub(super) struct Args {
    /// How much to allocate at a time.
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = block)]
    block: Size,
    /// How long to wait between two steps: 200ms, 1s.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = pause)]
    every: Duration,
    /// How much to allocate in all; then what there is, is held until Ctrl-C. With children, each of them.
    #[arg(long, value_name = "SIZE", default_value = "300MiB")]
    max: Size,
    /// How much of each block to write to. Only memory that was touched is charged.
    #[arg(long, value_name = "PERCENT", default_value = "100%")]
    touch: Share,
    /// Leak in a child process; the first process only waits for it.
    #[arg(long, conflicts_with = "children")]
    child: bool,
    /// Leak in this many child processes at once.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    children: u16,
    /// Stay until Ctrl-C whatever happens: when memory is refused, or when the children are dead.
    #[arg(long)]
    hold: bool,
    #[command(flatten)]
    kind: KindArgs,
}

/// At most one of these.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct KindArgs {
    /// Leak the page cache of a temporary file (in TMPDIR, which has to be on a disk): the kernel can take it back.
    #[arg(long)]
    file: bool,
    /// Leak shared memory, which counts as tmpfs pages do.
    #[arg(long)]
    shm: bool,
    /// Leak anonymous mappings, past the allocator.
    #[arg(long)]
    mmap: bool,
}

fn block(text: &str) -> Result<Size, String> {
    match text.parse().map_err(|error: crate::leak::SizeError| error.to_string())? {
        Size(0) => Err("a block has to have a byte at least".to_owned()),
        size => Ok(size),
    }
}

fn pause(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    duration.try_into().map_err(|_| "it must not be negative".to_owned())
}

impl KindArgs {
    fn kind(&self) -> Kind {
        match self {
            Self { file: true, .. } => Kind::PageCache,
            Self { shm: true, .. } => Kind::Shared,
            Self { mmap: true, .. } => Kind::Mapping,
            _ => Kind::Heap,
        }
    }

    /// The option that says so.
    fn option(&self) -> Option<&'static str> {
        match self.kind() {
            Kind::Heap => None,
            Kind::Mapping => Some("--mmap"),
            Kind::Shared => Some("--shm"),
            Kind::PageCache => Some("--file"),
        }
    }
}

/// How it ended, where nothing is wrong with the program itself.
enum Ending {
    /// Somebody has had enough.
    Interrupted,
    /// Not all the children ended well.
    ChildrenDied,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let children = if args.child { 1 } else { args.children };
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let ending = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
        let leak = async { if children == 0 { leak_here(args).await } else { watch(args, children).await } };
        tokio::select! {
            ending = leak => ending,
            _ = interrupt.recv() => Ok(Ending::Interrupted),
            _ = terminate.recv() => Ok(Ending::Interrupted),
        }
    });
    match ending {
        Ok(Ending::Interrupted) => Ok(ExitCode::SUCCESS),
        Ok(Ending::ChildrenDied) => Ok(ExitCode::FAILURE),
        // Whoever reads has had enough, which is no failure.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

/// One line, at once. Every line names the process: with children, several speak.
fn say(what: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "pid {}: {what}", std::process::id())?;
    stdout.flush()
}

/// Leaks in this process, and then holds what it has.
async fn leak_here(args: &Args) -> anyhow::Result<Ending> {
    let Args { block, every, max, touch, hold, kind, .. } = args;
    let plan = Plan { kind: kind.kind(), block_bytes: block.0, max_bytes: max.0, touch: *touch };
    let mut leak = Leak::new(plan);
    loop {
        match leak.grow() {
            Ok(Some(step)) => say(&format!(
                "step {}: {} allocated, {} touched, {} resident",
                step.number,
                Size(step.allocated_bytes),
                Size(step.touched_bytes),
                resident_bytes().map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string()),
            ))?,
            Ok(None) => {
                say(&format!("holds {max}, as much as it was to take; Ctrl-C ends it"))?;
                break;
            }
            Err(refused) if *hold => {
                say(&format!("{refused}; holds what it has; Ctrl-C ends it"))?;
                break;
            }
            Err(refused) => return Err(refused.into()),
        }
        sleep(*every).await;
    }
    std::future::pending().await
}

/// Leaks in child processes, and tells how each ends.
async fn watch(args: &Args, children: u16) -> anyhow::Result<Ending> {
    let mut waiting = JoinSet::new();
    for _ in 0..children {
        let mut child = start(args).context("a child process does not start")?;
        waiting.spawn(async move { (child.id(), child.wait().await) });
    }
    let mut all_well = true;
    while let Some(ended) = waiting.join_next().await {
        let (pid, status) = ended.context("a child process cannot be waited for")?;
        let status = status.context("a child process cannot be waited for")?;
        all_well &= status.success();
        say(&format!("its child {} {}", pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string()), how(status)))?;
    }
    if args.hold {
        say("has no child left, and lives on; Ctrl-C ends it")?;
        return std::future::pending().await;
    }
    Ok(if all_well { Ending::Interrupted } else { Ending::ChildrenDied })
}

/// Starts this program again, to leak as we were asked to, and to die with us.
fn start(args: &Args) -> io::Result<Child> {
    let Args { block, every, max, touch, hold, kind, child: _, children: _ } = args;
    let mut command = Command::new(env::current_exe()?);
    command.arg("leak").args(["--block", &block.0.to_string(), "--max", &max.0.to_string()]);
    command.args(["--every", &format!("{}ns", every.as_nanos()), "--touch", &touch.to_string()]);
    command.args(hold.then_some("--hold")).args(kind.option()).stdin(Stdio::null()).kill_on_drop(true);
    // SAFETY: between fork and exec it makes one system call, and allocates nothing.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
    command.spawn()
}

/// How a child ended, in words.
fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(libc::SIGKILL), _) => "was killed (SIGKILL): by the OOM killer, or by somebody else".to_owned(),
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(code)) => format!("exited with {code}"),
        (None, None) => status.to_string(),
    }
}
