//! Whether a hook sees what it is for, found out by doing it.
//!
//! The compiler may make a function, or the part of it before a seldom branch, a part of its callers. What is left as a function
//! of its own can be hooked, and is never called. So it is with `may_expand_vm` on Debian's 5.10.

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use oomtrace_common::record::{RefusalCounts, RefusalKey, refused_by};
use rustix::{
    mm::{MapFlags, ProtFlags, mmap_anonymous, munmap},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::counted::Value;

type Refusals<'a> = HashMap<&'a mut MapData, Value<RefusalKey>, Value<RefusalCounts>>;

/// What this process may not map for a moment, and then asks for: room that is there on every 64-bit machine (Arm's smallest
/// address space is 512 GiB), and far more than any other thread of this process asks for meanwhile.
///
/// Its lowest bits make it a size that nobody else asks for, on pages of up to 64 KiB: see [`is_trial`].
const TOO_MUCH: usize = (128 << 30) + (0x6f6d << 16);
/// The thread that asks for it.
const THREAD: &str = "oomtrace-trial";

/// Whether a refusal was provoked by a trial, of whichever oomtrace on this node: `oomtrace doctor` is run beside a daemon, often in
/// the same container. A return probe does not know what was asked for.
#[must_use]
pub fn is_trial(comm: Option<&str>, requested_bytes: Option<u64>) -> bool {
    comm == Some(THREAD) && requested_bytes.is_none_or(|bytes| bytes == TOO_MUCH as u64)
}

/// Has the kernel refuse this process address space (`RLIMIT_AS`), and gives how often the probes have counted it. `mmap_region`
/// of Linux up to 6.11 asks `may_expand_vm` a second time where the first answer is no, in case the mapping replaces another.
pub(super) fn rlimit_askings(ebpf: &mut Ebpf) -> Result<u64, String> {
    let map = ebpf.map_mut("REFUSALS").ok_or("the map REFUSALS is missing")?;
    let mut refusals = Refusals::try_from(map).map_err(|error| error.to_string())?;
    let asked = std::thread::Builder::new().name(THREAD.to_owned()).spawn(provoke).map(std::thread::JoinHandle::join);
    match asked {
        Ok(Ok(provoked)) => provoked?,
        Ok(Err(_)) => return Err("the thread that was to provoke a refusal died".to_owned()),
        Err(error) => return Err(format!("no thread to provoke a refusal: {error}")),
    }
    // This process's id may be another one here than in the kernel: in a container. What else was refused something in the
    // milliseconds since the probes were attached was counted as well.
    let counted: Vec<_> =
        refusals.iter().filter_map(Result::ok).filter(|(key, _)| key.0.by != refused_by::OVERCOMMIT).collect();
    for (key, _) in &counted {
        // It can only fail where it is gone already.
        let _ = refusals.remove(key);
    }
    counted.iter().map(|(_, counts)| counts.0.count).min().ok_or_else(|| {
        "a refusal that was provoked to try it was not seen: the compiler has made it a part of its callers".to_owned()
    })
}

/// Asks for more than the process may have.
fn provoke() -> Result<(), String> {
    let usual = getrlimit(Resource::As);
    let lowered =
        Rlimit { current: Some(usual.current.map_or(TOO_MUCH as u64, |limit| limit.min(TOO_MUCH as u64))), ..usual };
    let limit = |limit| setrlimit(Resource::As, limit).map_err(|error| format!("RLIMIT_AS cannot be set: {error}"));
    limit(lowered)?;
    // SAFETY: a mapping at an address of the kernel's choice touches none that is in use.
    let asked = unsafe {
        mmap_anonymous(std::ptr::null_mut(), TOO_MUCH, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
    };
    limit(usual)?;
    match asked {
        Ok(address) => {
            // SAFETY: just mapped, and nothing refers to it.
            unsafe { munmap(address, TOO_MUCH) }.map_err(|error| error.to_string())?;
            Err("a mapping beyond RLIMIT_AS was granted".to_owned())
        }
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_trial_by_its_thread_and_its_size() {
        assert!(is_trial(Some("oomtrace-trial"), Some(TOO_MUCH as u64)) && is_trial(Some("oomtrace-trial"), None));
        assert!(!is_trial(Some("oomtrace-trial"), Some(4096)) && !is_trial(Some("java"), Some(TOO_MUCH as u64)));
        assert!(!is_trial(None, None));
        assert!(THREAD.len() < 16 && TOO_MUCH.is_multiple_of(64 << 10));
    }
}
