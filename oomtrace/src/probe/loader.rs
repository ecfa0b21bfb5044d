//! An aya loader that costs nothing yet.

use aya::EbpfLoader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A loader that has not read the kernel's types.
///
/// `EbpfLoader::new` takes the whole of `/sys/kernel/btf/vmlinux` apart, into some 150,000 types with their members, also where
/// `EbpfLoader::btf` then drops them. That is 20 MB at every start for nothing: more than a small container may use. aya goes
/// on without types where that file cannot be opened, and no file can be while the process may have no more of them. Other
/// threads must not open files meanwhile: call this before any is started.
pub(super) fn without_kernel_types<'a>() -> EbpfLoader<'a> {
    let limit = getrlimit(Resource::Nofile);
    // It cannot fail: who may not lower or restore the soft limit? If it did, types would be read for nothing, no more.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit });
    let loader = EbpfLoader::new();
    let _ = setrlimit(Resource::Nofile, limit);
    loader
}
