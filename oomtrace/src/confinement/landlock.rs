//! Landlock, from Linux 5.13 on: <https://docs.kernel.org/userspace-api/landlock.html>.
//!
//! Everything may be read that the user may read, for the files that name pods and containers are in many places; only folders of
//! oomtrace's own files may be written to. Beside that the kernel takes it from a confined process to trace others, which includes
//! reading their environments, whatever its capabilities.

use std::{fs, io, path::PathBuf};

use landlock::{
    ABI, AccessFs, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope,
};

/// What is known of writing: up to commands to devices (6.10). Where the kernel knows less, it is forbidden as much.
const KNOWN: ABI = ABI::V5;
/// `LANDLOCK_CREATE_RULESET_VERSION`, `include/uapi/linux/landlock.h`.
const VERSION: libc::c_uint = 1;

/// Forbids the calling thread, and those that it will start, to write but below these folders, and to these files.
pub(super) fn forbid_writing_but_to(writes: &[PathBuf]) -> Result<(), String> {
    let status = restrict(writes).map_err(|error| error.to_string())?;
    match status {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            Err("it is not among the kernel's `lsm=`".to_owned())
        }
        (RulesetStatus::NotEnforced, _) => Err("the kernel has none: it is there from 5.13 on, if built in".to_owned()),
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, _) => Ok(()),
    }
}

fn restrict(writes: &[PathBuf]) -> Result<(RulesetStatus, LandlockStatus), RulesetError> {
    let write = AccessFs::from_write(KNOWN);
    let mut ruleset = Ruleset::default().handle_access(write)?.scope(Scope::AbstractUnixSocket)?.create()?;
    for path in writes {
        // What is not there cannot be written to later, which is said when that is tried.
        let Ok(opened) = PathFd::new(path) else { continue };
        let is_folder = fs::metadata(path).is_ok_and(|metadata| metadata.is_dir());
        let access = if is_folder { write } else { write & AccessFs::from_file(KNOWN) };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, access))?;
    }
    let status = ruleset.restrict_self()?;
    Ok((status.ruleset, status.landlock))
}

/// Which version of Landlock the kernel has.
pub(crate) fn version() -> io::Result<i64> {
    // SAFETY: with this flag no attributes are read.
    match unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) } {
        version if version > 0 => Ok(version),
        _ => Err(io::Error::last_os_error()),
    }
}
