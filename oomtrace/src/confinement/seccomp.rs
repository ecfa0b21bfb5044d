//! System calls that a tracer never needs once it traces: seccomp(2).
//!
//! What is forbidden is listed, and not what is allowed: which calls a C library and a runtime make differs by version and
//! architecture, and one that is missing on a list would break a tracer on somebody's node, years from now. Around this filter
//! stands as a rule one that lists what is allowed: the container runtime's, or the unit's `SystemCallFilter=`. This one takes away
//! what those leave, and would be all there is on a host without either. A forbidden call fails with `EPERM`.

use std::{collections::BTreeMap, path::Path};

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads, sock_filter,
};

/// Other processes: their memory, descriptors and system calls.
const PROCESSES: &[c_long] = &[
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
];
/// Mounts and namespaces; `clone` is in [`with_arguments`].
const MOUNTS: &[c_long] = &[
    libc::SYS_chroot,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_unshare,
];
/// The kernel and the machine.
const MACHINE: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];
/// Whose files are and who may do what with them, which Landlock leaves alone; files by handles, past every folder.
const FILES: &[c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_mknodat,
    libc::SYS_open_by_handle_at,
    libc::SYS_removexattr,
    libc::SYS_setxattr,
    libc::SYS_truncate,
    SYS_FCHMODAT2,
];
/// The same by older names, which newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_lchown,
    libc::SYS_mknod,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];
/// Who it is.
const IDENTITY: &[c_long] = &[
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setuid,
];
/// A way in from outside: the sockets of figures and of the report listen already.
const LISTENING: &[c_long] = &[libc::SYS_bind, libc::SYS_listen];
/// Programs, and signals to other processes; `tgkill`, which a process aborts itself with, is in [`without_programs`].
const PROGRAMS: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_kill,
    libc::SYS_memfd_create,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_tkill,
];

/// From Linux 6.6 on, by this number on every architecture.
const SYS_FCHMODAT2: c_long = 452;
/// Numbers from here on are calls of x86-64's x32 form, which no list has.
const X32: u32 = 0x4000_0000;
/// `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_DELETE_ELEM`, `BPF_MAP_GET_NEXT_KEY` and `BPF_OBJ_GET_INFO_BY_FD`: what the probes have counted.
const BPF_ASKING: [u64; 4] = [1, 3, 4, 15];
const FAMILIES: [libc::c_int; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Forbids all threads what none of them needs. Where programs are run, they inherit it.
pub(super) fn forbid(but_programs: bool) -> Result<(), String> {
    let program = filter(but_programs).map_err(|error| error.to_string())?;
    apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

/// Whether the kernel has filters.
pub(crate) fn is_there() -> bool {
    Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
}

fn filter(but_programs: bool) -> Result<BpfProgram, BackendError> {
    let lists = [PROCESSES, MOUNTS, MACHINE, FILES, OLDER, IDENTITY, LISTENING, &[libc::SYS_execveat]];
    // A call without rules is forbidden whatever its arguments.
    let mut rules: Rules = lists.concat().into_iter().map(|call| (call, Vec::new())).collect();
    rules.extend(with_arguments()?);
    if !but_programs {
        rules.extend(PROGRAMS.iter().map(|call| (*call, Vec::new())));
        rules.extend(without_programs()?);
    }
    let forbidden = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, forbidden, arch)?.try_into()?;
    Ok(first().into_iter().chain(program).collect())
}

/// What is forbidden with some arguments only.
fn with_arguments() -> Result<Rules, BackendError> {
    let namespaces = NAMESPACES.map(|flag| u64::from(flag.cast_unsigned()));
    let namespaces = namespaces.map(|flag| rule(&[(0, SeccompCmpOp::MaskedEq(flag), flag)]));
    let families = FAMILIES.map(|family| u64::from(family.cast_unsigned()));
    Ok(Rules::from([
        (libc::SYS_bpf, vec![none_of(&BPF_ASKING)?]),
        (libc::SYS_clone, namespaces.into_iter().collect::<Result<_, _>>()?),
        // Typing into the terminal of who started it.
        (libc::SYS_ioctl, vec![rule(&[(1, SeccompCmpOp::Eq, libc::TIOCSTI)])?]),
        (libc::SYS_socket, vec![none_of(&families)?]),
    ]))
}

/// Signals to other processes, and memory that can be both written and run. Programs need these, and would inherit the filter.
fn without_programs() -> Result<Rules, BackendError> {
    let [write, run] = [libc::PROT_WRITE, libc::PROT_EXEC].map(|flag| u64::from(flag.cast_unsigned()));
    let both = rule(&[(2, SeccompCmpOp::MaskedEq(write | run), write | run)])?;
    let running = rule(&[(2, SeccompCmpOp::MaskedEq(run), run)])?;
    Ok(Rules::from([
        (libc::SYS_mmap, vec![both]),
        (libc::SYS_mprotect, vec![running.clone()]),
        (libc::SYS_pkey_mprotect, vec![running]),
        (libc::SYS_tgkill, vec![none_of(&[u64::from(std::process::id())])?]),
    ]))
}

/// The first argument is none of these.
fn none_of(values: &[u64]) -> Result<SeccompRule, BackendError> {
    rule(&values.iter().map(|value| (0, SeccompCmpOp::Ne, *value)).collect::<Vec<_>>())
}

/// A rule of conditions: an argument's number, how it is compared, and with what.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions.iter().map(|(number, operator, value)| {
        SeccompCondition::new(*number, SeccompCmpArgLen::Dword, operator.clone(), *value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// What goes before the rest. x32's numbers are forbidden. `clone3` has its flags in memory, where no filter can look, and is
/// answered as by a kernel that does not have it: C libraries use `clone` then.
fn first() -> [sock_filter; 5] {
    let code = |code: u32| u16::try_from(code).unwrap_or(u16::MAX);
    let step = |what: u32, k: u32, jt: u8, jf: u8| sock_filter { code: code(what), jt, jf, k };
    let errno = |errno: libc::c_int| libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap_or(u32::MAX);
    [
        // The call's number is the first of `struct seccomp_data`.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, X32, 1, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, clone3, 1, 2),
        step(libc::BPF_RET | libc::BPF_K, errno(libc::EPERM), 0, 0),
        step(libc::BPF_RET | libc::BPF_K, errno(libc::ENOSYS), 0, 0),
    ]
}
