//! Capabilities: capabilities(7).

use std::{io, path::Path};

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities,
    },
};

use super::Needs;

/// `BPF_MAP_GET_NEXT_KEY`, `include/uapi/linux/bpf.h`.
const MAP_GET_NEXT_KEY: libc::c_long = 4;

/// Gives up every capability of the calling thread but these, where it has them:
///
/// - `DAC_READ_SEARCH`: logs and state files that are not root's;
/// - `SYS_PTRACE`, where environments of processes are read;
/// - `DAC_OVERRIDE`, where a folder of its own files is another user's;
/// - `BPF`, where the kernel asks for it each time that a map is read, as 5.10 does with `kernel.unprivileged_bpf_disabled`.
pub(super) fn drop_but_for(needs: &Needs, reads_environments: bool) -> io::Result<()> {
    let held = capabilities(None)?;
    let mut kept = CapabilitySet::DAC_READ_SEARCH;
    if reads_environments {
        kept |= CapabilitySet::SYS_PTRACE;
    }
    kept &= held.permitted;
    // What else is needed shows where it is missing.
    set_capabilities(None, CapabilitySets { effective: kept, ..held })?;
    if needs.asks_maps && !may_ask_maps() {
        let either = [CapabilitySet::BPF, CapabilitySet::SYS_ADMIN];
        kept |= either.into_iter().find(|one| held.permitted.contains(*one)).unwrap_or(CapabilitySet::empty());
    }
    if !needs.writes.iter().all(|path| may_write(path)) {
        kept |= held.permitted & CapabilitySet::DAC_OVERRIDE;
    }
    // Before the right to do so goes. Without it, as in a container, `no_new_privs` keeps programs from what is in the set.
    set_capabilities(None, held)?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for (_, one) in CapabilitySet::all().difference(kept).iter_names() {
            // It can only fail where the kernel does not know it.
            let _ = remove_capability_from_bounding_set(one);
        }
    }
    clear_ambient_capability_set()?;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    Ok(())
}

/// Whether maps may be read with the capabilities in effect: the kernel looks at those before it looks at the map, here none.
fn may_ask_maps() -> bool {
    let mut attributes = [0_u64; 16];
    attributes[0] = u64::from(u32::MAX);
    // SAFETY: the kernel reads the attributes, of which the first is no descriptor of a map.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, MAP_GET_NEXT_KEY, attributes.as_ptr(), size_of_val(&attributes)) };
    answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
}

fn may_write(path: &Path) -> bool {
    let access = if path.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}
