//! Kills by the OOM killer, as cheap as they come.

use std::{
    fs::File,
    io, mem,
    os::fd::AsRawFd as _,
    path::Path,
    ptr::{self, NonNull},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::mm::{MapFlags, ProtFlags};

use super::cgroup;

/// What a killed process may use.
const LIMIT_BYTES: u64 = 1 << 20;
/// What it tries to use.
const EATEN_BYTES: usize = 16 << 20;

/// A container whose processes are killed as soon as they are in it.
pub(super) struct Trap {
    procs: File,
    /// Memory that nobody has touched: each child gets its own of it.
    untouched: NonNull<u8>,
}

impl Trap {
    pub(super) fn set(number: u32) -> Result<Self> {
        // What happens to the kernel's log must not depend on how slow a serial console is.
        cgroup::write(Path::new("/proc/sys/kernel/printk"), "1 4 1 7")?;
        let folder = cgroup::container(number, LIMIT_BYTES)?;
        let procs = folder.join("cgroup.procs");
        let procs =
            File::options().write(true).open(&procs).with_context(|| format!("cannot open {}", procs.display()))?;
        // SAFETY: at no given address, so nothing that is mapped already is replaced.
        let untouched = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                EATEN_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        Ok(Self { procs, untouched: NonNull::new(untouched.cast()).context("no memory")? })
    }

    /// Makes a child, sees it killed, and gives its pid.
    pub(super) fn kill_one(&self) -> Result<i32> {
        let page = rustix::param::page_size();
        // SAFETY: the child makes nothing but system calls, and touches memory that is mapped: it is safe beside other
        // threads.
        unsafe {
            let pid = libc::fork();
            match pid {
                -1 => bail!("a process cannot be forked: {}", io::Error::last_os_error()),
                0 => {
                    // Zero is the writer.
                    if libc::write(self.procs.as_raw_fd(), c"0".as_ptr().cast(), 1) == 1 {
                        for offset in (0..EATEN_BYTES).step_by(page) {
                            self.untouched.add(offset).write_volatile(1);
                        }
                    }
                    libc::_exit(1)
                }
                pid => {
                    let mut status = mem::zeroed();
                    ensure!(libc::waitpid(pid, &raw mut status, 0) == pid, "a child cannot be waited for");
                    ensure!(
                        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL,
                        "a process over its limit was not killed: wait status {status:#x}"
                    );
                    Ok(pid)
                }
            }
        }
    }
}
