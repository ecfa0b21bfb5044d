//! `oomtrace leak`: a controlled allocator, to make each kind of memory death happen.

mod server;

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    str::FromStr,
    time::Duration,
};

use anyhow::Context as _;
use jiff::SignedDuration;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::{
    process::{Child, Command},
    runtime,
    signal::unix::{Signal as Signals, SignalKind, signal},
    task::JoinSet,
    time::sleep,
};

use crate::{
    http::Address,
    leak::{Kind, Leak, Plan, Share, Size, limit_address_space, resident_bytes},
    self_protection,
};

/// Options of `oomtrace leak`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sizes are written as in a pod's manifest (10Mi, 1.5Gi, 500M), or with a B behind (10MiB).

Examples, in a container limited to 256Mi:
  oomtrace leak --max 300MiB                  the first process is killed: Kubernetes says OOMKilled
  oomtrace leak --max 300MiB --child --hold   a child is killed, the first process lives: Kubernetes says nothing
  oomtrace leak --max 300MiB --touch 10%      much is asked for, little is used: nobody is killed
  oomtrace leak --max 300MiB --file           the page cache is taken back: nobody is killed
  oomtrace leak --max 300MiB --give-up 75%    it gives up by itself, as runtimes with a heap limit do: Error 1
  oomtrace leak --max 300MiB --files /cache   a tmpfs that outlives the container fills its pod
  oomtrace leak --max 0 --on-term ignore      nothing leaks; the kubelet has to end it with SIGKILL: Error 137

What it exits with: 0 when it is interrupted, or its time is over; 1 when memory is refused or a child did not end well; see
--exit-code and --on-term. Manifests for the scenarios that oomtrace distinguishes are in its source, in deploy/scenarios.")]
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
    /// Give up when this much is held, as runtimes do that have a heap limit of their own: a size, or a percentage of the
    /// container's memory limit.
    #[arg(long, value_name = "SIZE|PERCENT")]
    give_up: Option<Ceiling>,
    /// Limit the address space (`RLIMIT_AS`, `ulimit -v`): the kernel refuses what goes beyond.
    #[arg(long, value_name = "SIZE")]
    address_space: Option<Size>,
    /// What to exit with when it gives up, or when memory is refused.
    #[arg(long, value_name = "N", default_value_t = 1)]
    exit_code: u8,
    /// How long to wait before the first step.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = pause)]
    delay: Duration,
    /// End well after this long, whatever is held by then.
    #[arg(long = "for", value_name = "TIME", value_parser = pause)]
    lifetime: Option<Duration>,
    /// What SIGTERM does.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnTerm::Exit)]
    on_term: OnTerm,
    /// Answer HTTP requests here, for probes: 200 OK.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<Address>,
    /// Answer 503 once this long has passed.
    #[arg(long, value_name = "TIME", value_parser = pause, requires = "listen")]
    healthy_for: Option<Duration>,
    /// Have the kernel kill all processes of the container at once: write 1 to memory.oom.group of its own cgroup (cgroup v2).
    /// Kubelets from 1.28 on do that for every container; before, this needs a privileged one.
    #[arg(long)]
    oom_group: bool,
    #[command(flatten)]
    kind: KindArgs,
}

/// What SIGTERM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnTerm {
    /// It exits with 0.
    Exit,
    /// It exits with 143, as the JVM does.
    #[value(name = "143")]
    Exit143,
    /// Nothing, as in programs that run as a container's first process and have no handler.
    Ignore,
}

/// Where a runtime gives up.
#[derive(Clone, Copy, Debug)]
enum Ceiling {
    /// At this size.
    Size(Size),
    /// At this share of the memory limit.
    OfLimit(Share),
}

impl FromStr for Ceiling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.ends_with('%') {
            return text.parse().map(Self::OfLimit).map_err(str::to_owned);
        }
        text.parse().map(Self::Size).map_err(|error: crate::leak::SizeError| error.to_string())
    }
}

impl Ceiling {
    fn bytes(self) -> anyhow::Result<u64> {
        match self {
            Self::Size(Size(bytes)) => Ok(bytes),
            Self::OfLimit(share) => {
                let (limit, _) = self_protection::memory_limit().context(
                    "--give-up is a percentage of the memory limit, and there is none here: give it as a size, or set resources.limits.memory",
                )?;
                Ok(share.of(limit))
            }
        }
    }
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
    /// Leak files in this folder, which stay: where it is an emptyDir with `medium: Memory` they count as the pod's memory and
    /// outlive the container, on a disk they fill it.
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,
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
            Self { files: Some(folder), .. } => Kind::Files(folder.clone()),
            _ => Kind::Heap,
        }
    }

    /// The options that say so.
    fn add_to(&self, command: &mut Command) {
        match self.kind() {
            Kind::Heap => command,
            Kind::Mapping => command.arg("--mmap"),
            Kind::Shared => command.arg("--shm"),
            Kind::PageCache => command.arg("--file"),
            Kind::Files(folder) => command.arg("--files").arg(folder),
        };
    }
}

/// How it ended, where nothing is wrong with the program itself.
enum Ending {
    /// It was interrupted, or its time is over.
    Done,
    /// SIGTERM, and `--on-term 143`.
    Terminated,
    /// Not all the children ended well.
    ChildrenDied,
    /// It gave up, or memory was refused.
    GaveUp,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let children = if args.child { 1 } else { args.children };
    if let Some(Size(bytes)) = args.address_space {
        limit_address_space(bytes).context("the address space cannot be limited")?;
    }
    if args.oom_group {
        set_oom_group(&fs::read_to_string("/proc/self/cgroup")?, Path::new("/sys/fs/cgroup"))?;
    }
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let ending = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
        let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
        if let Some(address) = &args.listen {
            server::start(address, args.healthy_for).await.with_context(|| format!("cannot listen on {address}"))?;
        }
        let leak = async { if children == 0 { leak_here(args).await } else { watch(args, children).await } };
        let lifetime = async {
            match args.lifetime {
                Some(lifetime) => sleep(lifetime).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ending = leak => ending,
            () = lifetime => Ok(Ending::Done),
            _ = interrupt.recv() => Ok(Ending::Done),
            ending = terminated(terminate, args.on_term) => ending,
        }
    });
    match ending {
        Ok(Ending::Done) => Ok(ExitCode::SUCCESS),
        Ok(Ending::Terminated) => Ok(ExitCode::from(143)),
        Ok(Ending::ChildrenDied) => Ok(ExitCode::FAILURE),
        Ok(Ending::GaveUp) => Ok(ExitCode::from(args.exit_code)),
        // The reader has had enough, which is no failure.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

/// Waits for SIGTERM, and ends as it is to.
async fn terminated(mut signals: Signals, on_term: OnTerm) -> anyhow::Result<Ending> {
    loop {
        signals.recv().await;
        match on_term {
            OnTerm::Exit => return Ok(Ending::Done),
            OnTerm::Exit143 => return Ok(Ending::Terminated),
            OnTerm::Ignore => say("ignores SIGTERM")?,
        }
    }
}

/// Writes 1 to `memory.oom.group` of the cgroup that `/proc/self/cgroup` names, where it is not there yet.
///
/// A privileged container sees the node's hierarchy, with the whole path; another one has its own cgroup at the mount.
fn set_oom_group(cgroups: &str, mount: &Path) -> anyhow::Result<()> {
    let path = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .context("this process is in no cgroup of version 2: --oom-group needs one")?;
    let file = mount.join(path).join("memory.oom.group");
    let is = fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}: the memory controller is not on here", file.display()))?;
    if is.trim() == "1" {
        return Ok(());
    }
    fs::write(&file, "1").with_context(|| {
        format!("cannot write to {}: run the container with securityContext.privileged: true", file.display())
    })
}

/// One line, at once. Every line names the process: with children, several speak.
fn say(what: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "pid {}: {what}", std::process::id())?;
    stdout.flush()
}

/// Leaks in this process, and then holds what it has.
async fn leak_here(args: &Args) -> anyhow::Result<Ending> {
    let Args { block, every, max, touch, hold, kind, give_up, delay, .. } = args;
    let plan = Plan { kind: kind.kind(), block_bytes: block.0, max_bytes: max.0, touch: *touch };
    let ceiling = give_up.map(Ceiling::bytes).transpose()?;
    sleep(*delay).await;
    let mut leak = Leak::new(plan);
    loop {
        match leak.grow() {
            Ok(Some(step)) => {
                say(&format!(
                    "step {}: {} allocated, {} touched, {} resident",
                    step.number,
                    Size(step.allocated_bytes),
                    Size(step.touched_bytes),
                    resident_bytes().map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string()),
                ))?;
                if let Some(ceiling) = ceiling.filter(|ceiling| step.allocated_bytes >= *ceiling) {
                    say(&format!("out of memory: its own limit of {} is reached", Size(ceiling)))?;
                    return Ok(Ending::GaveUp);
                }
            }
            Ok(None) => {
                say(&format!("holds {max}, as much as it was to take; Ctrl-C ends it"))?;
                break;
            }
            Err(refused) if *hold => {
                say(&format!("{refused}; holds what it has; Ctrl-C ends it"))?;
                break;
            }
            Err(refused) => {
                say(&format!("gives up: {refused}"))?;
                return Ok(Ending::GaveUp);
            }
        }
        sleep(*every).await;
    }
    std::future::pending().await
}

/// Leaks in child processes, and says how each ends.
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
    Ok(if all_well { Ending::Done } else { Ending::ChildrenDied })
}

/// Starts this program again, to leak as we were asked to, and to die with us.
fn start(args: &Args) -> io::Result<Child> {
    let Args { block, every, max, touch, hold, give_up, exit_code, delay, kind, .. } = args;
    let time = |time: &Duration| format!("{}ns", time.as_nanos());
    let mut command = Command::new(env::current_exe()?);
    command.arg("leak").args(["--block", &block.0.to_string(), "--max", &max.0.to_string()]);
    command.args(["--every", &time(every), "--delay", &time(delay), "--touch", &touch.to_string()]);
    command.args(["--exit-code", &exit_code.to_string()]).args(hold.then_some("--hold"));
    if let Some(ceiling) = give_up {
        let ceiling = match ceiling {
            Ceiling::Size(size) => size.0.to_string(),
            Ceiling::OfLimit(share) => share.to_string(),
        };
        command.args(["--give-up", &ceiling]);
    }
    kind.add_to(&mut command);
    // The limit on the address space is inherited.
    command.stdin(Stdio::null()).kill_on_drop(true);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(group: &str) -> tempfile::TempDir {
        let mount = tempfile::tempdir().expect("a folder");
        fs::create_dir(mount.path().join("pod")).expect("made");
        fs::write(mount.path().join("pod/memory.oom.group"), group).expect("written");
        mount
    }

    #[test]
    fn the_group_is_set_in_the_own_cgroup_and_the_remedy_said_where_that_cannot_be() {
        let mount = cgroup("0\n");
        set_oom_group("0::/pod\n", mount.path()).expect("set");
        assert_eq!(fs::read_to_string(mount.path().join("pod/memory.oom.group")).expect("read"), "1");
        let missing = set_oom_group("0::/other\n", mount.path()).expect_err("there is no such cgroup");
        assert!(missing.to_string().contains("other/memory.oom.group"), "{missing}");
        let v1 = set_oom_group("4:memory:/pod\n", mount.path()).expect_err("version 1 has none");
        assert!(v1.to_string().contains("version 2"), "{v1}");
    }
}
