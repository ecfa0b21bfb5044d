//! Attempts at what a tracer has no business with. Their arguments are such that nothing happens where they are allowed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    ptr::null,
    thread,
};

use anyhow::{Result, ensure};
use libc::{SYS_bpf, c_long, syscall};
use oomtrace::confinement::{Confinement, Needs};

use super::FOLDER;
use crate::cgroup;

/// An attempt, by what it is called.
type Attempt = (&'static str, fn() -> io::Result<()>);

/// A system call with these arguments.
macro_rules! call {
    ($($argument:expr),+) => {
        // SAFETY: no pointer among the arguments but null and those that are valid where they stand.
        answer(unsafe { syscall($($argument),+) })
    };
}

fn answer(answer: c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const NULL: *const u8 = null();
/// No descriptor.
const NO_FD: c_long = -1;

fn own() -> c_long {
    std::process::id().into()
}

/// What seccomp forbids.
pub(super) const ATTEMPTS: &[Attempt] = &[
    // The first process is not traced by this one.
    ("ptrace", || call!(libc::SYS_ptrace, libc::PTRACE_CONT, 1, NULL, NULL)),
    ("process_vm_readv", || call!(libc::SYS_process_vm_readv, own(), NULL, 0, NULL, 0, 0)),
    ("process_vm_writev", || call!(libc::SYS_process_vm_writev, own(), NULL, 0, NULL, 0, 0)),
    ("pidfd_getfd", || call!(libc::SYS_pidfd_getfd, NO_FD, 0, 0)),
    ("mount", || call!(libc::SYS_mount, NULL, NULL, NULL, 0, NULL)),
    ("umount2", || call!(libc::SYS_umount2, NULL, 0)),
    ("open_tree", || call!(libc::SYS_open_tree, NO_FD, NULL, 0)),
    ("pivot_root", || call!(libc::SYS_pivot_root, NULL, NULL)),
    ("chroot", || call!(libc::SYS_chroot, NULL)),
    ("unshare", || call!(libc::SYS_unshare, 0)),
    ("setns", || call!(libc::SYS_setns, NO_FD, 0)),
    // A new user has no threads of another.
    ("clone into a namespace", || {
        call!(libc::SYS_clone, libc::CLONE_NEWUSER | libc::CLONE_THREAD, NULL, NULL, NULL, NULL)
    }),
    ("clone3", || call!(libc::SYS_clone3, NULL, 0)),
    ("init_module", || call!(libc::SYS_init_module, NULL, 0, NULL)),
    ("finit_module", || call!(libc::SYS_finit_module, NO_FD, NULL, 0)),
    ("delete_module", || call!(libc::SYS_delete_module, c"no-such-module".as_ptr(), libc::O_NONBLOCK)),
    ("kexec_load", || call!(libc::SYS_kexec_load, 0, 0, NULL, -1_i64)),
    ("reboot", || call!(libc::SYS_reboot, 0, 0, 0, NULL)),
    ("swapon", || call!(libc::SYS_swapon, NULL, 0)),
    ("bpf: load a program", || bpf(5)),
    ("bpf: make a map", || bpf(0)),
    ("bpf: write to a map", || bpf(2)),
    ("perf_event_open", || call!(libc::SYS_perf_event_open, NULL, 0, -1_i64, NO_FD, 0)),
    ("userfaultfd", || call!(libc::SYS_userfaultfd, -1_i64)),
    ("io_uring_setup", || call!(libc::SYS_io_uring_setup, 0, NULL)),
    ("keyctl", || call!(libc::SYS_keyctl, -1_i64, 0, 0, 0, 0)),
    ("syslog", || call!(libc::SYS_syslog, 10, NULL, 0)),
    ("sethostname", || call!(libc::SYS_sethostname, NULL, -1_i64)),
    ("settimeofday", || call!(libc::SYS_settimeofday, NULL, NULL)),
    ("personality", || call!(libc::SYS_personality, 0xffff_ffff_u64)),
    ("open_by_handle_at", || call!(libc::SYS_open_by_handle_at, NO_FD, NULL, 0)),
    ("fchmod", || call!(libc::SYS_fchmod, NO_FD, 0)),
    ("fchmodat", || call!(libc::SYS_fchmodat, NO_FD, NULL, 0)),
    ("fchownat", || call!(libc::SYS_fchownat, NO_FD, NULL, 0, 0, 0)),
    ("setxattr", || call!(libc::SYS_setxattr, NULL, NULL, NULL, 0, 0)),
    ("mknodat", || call!(libc::SYS_mknodat, NO_FD, NULL, 0, 0)),
    ("truncate", || call!(libc::SYS_truncate, NULL, 0)),
    ("setuid", || call!(libc::SYS_setuid, 0)),
    ("setgroups", || call!(libc::SYS_setgroups, -1_i64, NULL)),
    ("socket of netlink", || call!(libc::SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, 0)),
    ("bind", || call!(libc::SYS_bind, NO_FD, NULL, 0)),
    ("listen", || call!(libc::SYS_listen, NO_FD, 0)),
    ("type into a terminal", || call!(libc::SYS_ioctl, NO_FD, libc::TIOCSTI, NULL)),
    ("execve", || call!(libc::SYS_execve, NULL, NULL, NULL)),
    ("execveat", || call!(libc::SYS_execveat, NO_FD, NULL, NULL, NULL, 0)),
    ("memfd_create", || call!(libc::SYS_memfd_create, NULL, 0)),
    ("kill", || call!(libc::SYS_kill, own(), 0)),
    ("tgkill of another", || call!(libc::SYS_tgkill, 1, 1, 0)),
    ("pidfd_open", || call!(libc::SYS_pidfd_open, own(), 0)),
    ("memory to write and run", || {
        call!(libc::SYS_mmap, NULL, 4096, PROT_ALL, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, NO_FD, 0)
    }),
    ("memory made to run", || call!(libc::SYS_mprotect, NULL, 0, libc::PROT_EXEC)),
];

const PROT_ALL: libc::c_int = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;

fn bpf(command: c_long) -> io::Result<()> {
    let attributes = [0_u64; 16];
    call!(SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes))
}

/// What Landlock forbids: nothing of it stays, where it is allowed.
pub(super) const OUTSIDE: &[Attempt] = &[
    ("write to a file outside", || File::options().append(true).open("/tmp/confined/outside").map(drop)),
    ("make a file outside", || File::create("/tmp/confined/made").and_then(|_| fs::remove_file("/tmp/confined/made"))),
    ("make a folder outside", || {
        fs::create_dir("/tmp/confined/dir").and_then(|()| fs::remove_dir("/tmp/confined/dir"))
    }),
    ("rename a file outside", || fs::rename("/tmp/confined/outside", "/tmp/confined/outside")),
    ("write to a setting of the kernel", || {
        File::options().write(true).open("/proc/sys/kernel/core_pattern").map(drop)
    }),
    ("write to a cgroup", || File::options().write(true).open(cgroup::root().join("cgroup.procs")).map(drop)),
    ("read another's environment", || fs::read("/proc/1/environ").map(drop)),
    ("write to another's memory", || File::options().write(true).open("/proc/1/mem").map(drop)),
];

/// What is allowed.
const ALLOWED: &[Attempt] = &[
    ("write inside", || fs::write("/tmp/confined/state/file", "new")),
    ("replace inside", || fs::rename("/tmp/confined/state/file", "/tmp/confined/state/other")),
    ("read outside", || fs::read("/tmp/confined/outside").map(drop)),
    ("start a thread", || thread::Builder::new().spawn(|| ()).map(|thread| drop(thread.join()))),
];

/// Attempts everything, confined or not, and prints how each attempt ends: an error's number, 0 where it succeeds.
pub(crate) fn attempt_all(is_confined: bool) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    if is_confined {
        let confinement =
            Confinement { measures: "all".parse().map_err(anyhow::Error::msg)?, reads_environments: true };
        let writes = vec![PathBuf::from(FOLDER).join("state")];
        let confined = confinement.confine_process(&Needs { writes, asks_maps: true, runs_programs: false });
        ensure!(confined.measures.len() >= 3, "{confined:?}");
    }
    let number = |result: io::Result<()>| result.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
    let mut results: BTreeMap<&str, i32> =
        [ATTEMPTS, OUTSIDE, ALLOWED].concat().into_iter().map(|(name, attempt)| (name, number(attempt()))).collect();
    results.insert("connect", number(TcpStream::connect(address).map(drop)));
    println!("{}", serde_json::to_string(&results)?);
    Ok(())
}
