//! An aya loader that costs nothing yet.

use std::fs;

use aya::EbpfLoader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A loader that has not read the kernel's types, if it could be helped.
///
/// `EbpfLoader::new` takes the whole of `/sys/kernel/btf/vmlinux` apart, into some 150,000 types with their members, also where
/// `EbpfLoader::btf` then drops them. That is 20 MB at every start for nothing: more than a small container may use. aya goes
/// on without types where that file cannot be opened, and no file can be while the process may have no more of them.
pub struct Loader(EbpfLoader<'static>);

impl Loader {
    /// Make it before any other thread is started: the limit is the process's, and another thread must not find itself unable
    /// to open a file. Where there are others, the types are read.
    #[must_use]
    pub fn new() -> Self {
        if !is_alone() {
            return Self(EbpfLoader::new());
        }
        let limit = getrlimit(Resource::Nofile);
        // It cannot fail: who may not lower or restore the soft limit? If it did, types would be read for nothing, no more.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit });
        let loader = EbpfLoader::new();
        let _ = setrlimit(Resource::Nofile, limit);
        Self(loader)
    }

    pub(super) fn into_inner<'a>(self) -> EbpfLoader<'a> {
        self.0
    }
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether this is the process's only thread.
fn is_alone() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn beside_other_threads_files_can_be_opened_all_the_while() {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let opening = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    fs::File::open("/proc/self/stat")?;
                }
                std::io::Result::Ok(())
            });
            drop(Loader::new());
            done.store(true, Ordering::Relaxed);
            opening.join().expect("no panic").expect("a file");
        });
    }
}
