//! What runs in the cgroups: this same program, started again under another name.

use std::{
    env, fs,
    os::unix::{fs::FileExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// The first argument of a program that is a workload.
const MARK: &str = "--workload";

/// Runs as a workload, where that is what the arguments ask for.
pub(crate) fn run_if_asked() -> bool {
    let arguments: Vec<String> = env::args().collect();
    match arguments.get(1..).unwrap_or_default() {
        [mark, what, procs] if mark == MARK => {
            if let Err(error) = run(what, procs) {
                eprintln!("workload {what}: {error:#}");
            }
            true
        }
        _ => false,
    }
}

/// Starts a workload in a cgroup.
pub(crate) fn start(what: &str, procs: &Path) -> Result<Child> {
    command(what, procs)?.spawn().with_context(|| format!("the workload {what} does not start"))
}

fn command(what: &str, procs: &Path) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args([MARK, what]).arg(procs).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    Ok(command)
}

fn run(what: &str, procs: &str) -> Result<()> {
    if !procs.is_empty() {
        fs::write(procs, std::process::id().to_string()).with_context(|| procs.to_owned())?;
    }
    match what {
        "eat" => eat(),
        "rest" => thread::sleep(Duration::from_mins(2)),
        // A first process that survives the death of its child.
        "parent" => {
            let mut child = command("eat", Path::new(""))?.spawn()?;
            child.wait()?;
            thread::sleep(Duration::from_mins(2));
        }
        "hostile-name" => {
            // SAFETY: the name is NUL-terminated.
            unsafe { libc::prctl(libc::PR_SET_NAME, c"a\"b\\\n\x1b[31m\xff{".as_ptr()) };
            eat();
        }
        // The first process of a pid namespace: what a container's is.
        "init" | "init-that-fails" | "init-that-is-killed" | "init-that-survives" => {
            // SAFETY: no precondition.
            unsafe { libc::unshare(libc::CLONE_NEWPID) };
            let inside = match what {
                "init" => "eat",
                "init-that-fails" => "fail",
                "init-that-survives" => "parent",
                _ => "rest",
            };
            let mut first = command(inside, Path::new(""))?.spawn()?;
            if what == "init-that-is-killed" {
                first.kill()?;
            }
            first.wait()?;
        }
        "attempt-confined" | "attempt-unconfined" => crate::confined::attempt_all(what == "attempt-confined")?,
        "fault" => {
            // SAFETY: not safe at all, and meant not to be: reading the first page is a fault.
            unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
        }
        "terminate-itself" => {
            // SAFETY: no precondition.
            unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
        }
        "churn" => churn()?,
        "churn-on" => loop {
            churn()?;
        },
        "map-on" => map_on(),
        "map-too-much" => exit(map_too_much()),
        "map-beyond-rlimit-as" => exit(map_beyond(libc::RLIMIT_AS)?),
        "map-beyond-rlimit-data" => exit(map_beyond(libc::RLIMIT_DATA)?),
        // The next one to be killed, whatever its parent is.
        "eat-killable" => {
            fs::write("/proc/self/oom_score_adj", "0")?;
            eat();
        }
        "slow-to-die" => slow_to_die()?,
        "kill-children" => kill_children()?,
        "write-until-refused" => exit(write_until_refused()?),
        "group" => {
            for _ in 1..GROUP {
                rest_in_a_child()?;
            }
            eat();
        }
        // SAFETY: ends this process, in which nothing needs to be unwound.
        "fail" => unsafe { libc::_exit(3) },
        // The same in a second thread, and the first one ends.
        sized if sized.starts_with("headless-") => {
            let held = sized.replace("headless", "hold");
            thread::spawn(move || run(&held, ""));
            // SAFETY: it ends this thread alone, in which nothing needs to be unwound.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        // The same, and a child that has the very same memory.
        sized if sized.starts_with("vfork-") => {
            let mib: usize = sized.trim_start_matches("vfork-").parse()?;
            let _held = vec![1_u8; mib << 20];
            vfork();
        }
        // Sleeps with so many MiB.
        sized if sized.starts_with("hold-") => {
            let mib: usize = sized.trim_start_matches("hold-").parse()?;
            let held = vec![1_u8; mib << 20];
            thread::sleep(Duration::from_mins(2));
            drop(held);
        }
        other => anyhow::bail!("there is no such workload: {other}"),
    }
    Ok(())
}

/// How many processes the group has.
pub(crate) const GROUP: usize = 720;

/// A child that waits for its end; its process id.
fn rest_in_a_child() -> Result<libc::pid_t> {
    // SAFETY: the child does nothing but wait for its end.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            loop {
                libc::pause();
            }
        }
        anyhow::ensure!(child > 0, "no child");
        Ok(child)
    }
}

/// Waits for a child that has this process's memory, and that never ends. The kernel kills no such child for its memory.
#[expect(deprecated, reason = "this is what is to be tested, and neither process goes on")]
fn vfork() {
    // SAFETY: the child calls nothing but `pause`.
    unsafe {
        if libc::vfork() == 0 {
            loop {
                libc::pause();
            }
        }
    }
}

/// Ends this process, in which nothing needs to be unwound.
fn exit(status: i32) {
    // SAFETY: no precondition.
    unsafe { libc::_exit(status) }
}

/// Uses 160 MiB one after the other and lets go of each (`MADV_FREE`), but the kernel takes it back only when it has to: every
/// few pages hit the limit, and nobody is killed.
fn churn() -> Result<()> {
    const CHUNK: usize = 1 << 20;
    for _ in 0..160 {
        // SAFETY: new memory of this process, of that size.
        unsafe {
            let (read_write, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let chunk = libc::mmap(std::ptr::null_mut(), CHUNK, read_write, private, -1, 0);
            anyhow::ensure!(chunk != libc::MAP_FAILED, "no memory");
            libc::madvise(chunk, CHUNK, libc::MADV_NOHUGEPAGE);
            for page in (0..CHUNK).step_by(4096) {
                chunk.cast::<u8>().add(page).write_volatile(1);
            }
            anyhow::ensure!(libc::madvise(chunk, CHUNK, libc::MADV_FREE) == 0, "no MADV_FREE");
        }
    }
    Ok(())
}

/// Fills shared memory, not to be killed for it, until ten writes have failed. Gives how many have.
fn write_until_refused() -> Result<i32> {
    fs::write("/proc/self/oom_score_adj", "-1000")?;
    let path = "/dev/shm/oomtrace-test";
    let file = fs::File::create(path)?;
    fs::remove_file(path)?;
    let (mut refused, mut at) = (0, 0);
    while refused < 10 && at < 100 << 20 {
        match file.write_all_at(&[1; 4096], at) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => refused += 1,
            Err(error) => return Err(error.into()),
        }
        at += 4096;
    }
    Ok(refused)
}

/// The limit that `map_beyond` sets, bytes.
pub(crate) const RLIMIT: u64 = 1 << 30;

/// Asks for memory again and again, on the first processor alone.
fn map_on() {
    // SAFETY: zeroes are a set of processors, and the memory is new and nobody's.
    unsafe {
        let mut first: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut first);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const first);
        let (read_write, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        loop {
            let mapped = libc::mmap(std::ptr::null_mut(), 4096, read_write, private, -1, 0);
            libc::munmap(mapped, 4096);
        }
    }
}

/// Asks for 4 GiB, ten times; gives how often it was refused.
fn map_too_much() -> i32 {
    let (read_write, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new memory of this process, which nothing uses.
    let map = || unsafe { libc::mmap(std::ptr::null_mut(), 4 << 30, read_write, private, -1, 0) };
    (0..10).map(|_| i32::from(map() == libc::MAP_FAILED)).sum()
}

/// The same, beyond a limit of the process.
fn map_beyond(resource: libc::__rlimit_resource_t) -> Result<i32> {
    let limit = libc::rlimit { rlim_cur: RLIMIT, rlim_max: RLIMIT };
    // SAFETY: the limit is one.
    anyhow::ensure!(unsafe { libc::setrlimit(resource, &raw const limit) } == 0, "no limit is set");
    Ok(map_too_much())
}

/// Has a child killed that is held up at its end for six seconds, memory and all: as its tracer, `PTRACE_O_TRACEEXIT`.
fn slow_to_die() -> Result<()> {
    let mut child = command("eat", Path::new(""))?;
    // SAFETY: `ptrace` is a system call and nothing else.
    unsafe {
        child.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let pid = i32::try_from(child.spawn()?.id())?;
    let wait = || {
        let mut status = 0;
        // SAFETY: the status is written to.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        anyhow::ensure!(waited == pid, "the child cannot be waited for");
        Ok(status)
    };
    // SAFETY: the child is stopped whenever it has been waited for.
    let resume = || unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, 0) };
    anyhow::ensure!(libc::WIFSTOPPED(wait()?), "the child does not stop at its start");
    // SAFETY: as above.
    unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, libc::PTRACE_O_TRACEEXIT) };
    resume();
    anyhow::ensure!(wait()? >> 16 == libc::PTRACE_EVENT_EXIT, "the child does not stop at its end");
    thread::sleep(Duration::from_secs(6));
    resume();
    anyhow::ensure!(libc::WIFSIGNALED(wait()?), "the child was not killed");
    Ok(())
}

/// How many children `kill_children` kills.
pub(crate) const CHILDREN: u64 = 200;

/// What a process does that ends its workers with SIGKILL, all day.
fn kill_children() -> Result<()> {
    for _ in 0..CHILDREN {
        let child = rest_in_a_child()?;
        // SAFETY: no precondition.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    }
    Ok(())
}

/// Takes memory until killed.
fn eat() {
    let mut blocks = Vec::new();
    loop {
        blocks.push(vec![1_u8; 1 << 20]);
    }
}
