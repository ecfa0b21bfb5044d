//! What this process may do, and what the node's settings let it.

use std::fs;

use anyhow::Context as _;
use rustix::thread::{CapabilitySet, capabilities};

use super::{Check, NeededFor};
use crate::{
    confinement::{landlock_version, seccomp_is_there},
    node::{names::Host, processes},
};

pub(super) fn checks(host: &Host) -> anyhow::Result<Vec<Check>> {
    let held = capabilities(None).context("this process's capabilities cannot be read")?.effective;
    let mut checks =
        vec![bpf(held), syslog(held), sys_resource(held), user_namespace(), processes(host), confinement()];
    checks.extend(SYSCTLS.iter().map(Sysctl::check));
    Ok(checks)
}

/// `CAP_SYS_ADMIN`, or from 5.8 on both `CAP_BPF` and `CAP_PERFMON`.
fn bpf(held: CapabilitySet) -> Check {
    let name = "capabilities for probes";
    let wanted = [
        ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
        ("CAP_BPF", CapabilitySet::BPF),
        ("CAP_PERFMON", CapabilitySet::PERFMON),
    ];
    let names: Vec<_> = wanted.iter().filter(|(_, one)| held.contains(*one)).map(|(name, _)| *name).collect();
    let found = if names.is_empty() { "none of those that matter".to_owned() } else { names.join(" ") };
    if held.contains(CapabilitySet::SYS_ADMIN) || held.contains(CapabilitySet::BPF | CapabilitySet::PERFMON) {
        return Check::passed(name, found);
    }
    Check::failed(
        name,
        found,
        "run as root, or grant CAP_BPF and CAP_PERFMON (before 5.8: CAP_SYS_ADMIN)",
        "the kernel loads no probes: only its log is left",
    )
    .needed_for(NeededFor::Probes)
}

fn syslog(held: CapabilitySet) -> Check {
    let name = "CAP_SYSLOG";
    if held.contains(CapabilitySet::SYSLOG) {
        return Check::passed(name, "held");
    }
    Check::failed(
        name,
        "not held",
        "grant CAP_SYSLOG",
        "the kernel's log may not be read where kernel.dmesg_restrict is set; and from 6.2 sizes of processes are some \
         pages off, as the kernel's addresses are hidden",
    )
}

fn sys_resource(held: CapabilitySet) -> Check {
    let name = "CAP_SYS_RESOURCE";
    if held.contains(CapabilitySet::SYS_RESOURCE) {
        return Check::passed(name, "held");
    }
    Check::failed(
        name,
        "not held",
        "grant CAP_SYS_RESOURCE, or set the unit's OOMScoreAdjust=-999",
        "oomtrace may be the OOM killer's victim itself; before 5.11 the maps of the probes may exceed the limit on \
         locked memory",
    )
}

/// Capabilities of another user namespace than the first count for nothing here.
fn user_namespace() -> Check {
    let name = "user namespace";
    match fs::read_to_string("/proc/self/uid_map") {
        Ok(map) if map.split_ascii_whitespace().eq(["0", "0", "4294967295"]) => Check::passed(name, "the node's"),
        Ok(_) => Check::failed(
            name,
            "one of its own",
            "run in the node's (`hostUsers: true`, no rootless container)",
            "capabilities count for nothing: no probes",
        )
        .needed_for(NeededFor::Probes),
        Err(error) => Check::unknown(name, format!("/proc/self/uid_map: {error}")),
    }
}

/// Whether processes are seen by the ids that the kernel has for them.
fn processes(host: &Host) -> Check {
    let name = "the node's processes";
    match processes::of_node(host) {
        Some(proc) => Check::passed(name, proc.display().to_string()),
        None => Check::failed(
            name,
            "not seen: this pid namespace is one of its own",
            "mount the node's /proc below --host-root, read-only, or run in its pid namespace (`hostPID: true`, `--pid=host`)",
            "no command lines of victims that the probes could not read, no heap settings on them, and no processes in \
             `oomtrace memory`; a kill whose report the kernel's rate limit leaves out of its log is not placed in its container",
        )
        .needed_for(NeededFor::KernelLog),
    }
}

/// What confines oomtrace once it traces: `--confine`. The rest of it every kernel has.
fn confinement() -> Check {
    let name = "confinement";
    let lacking = "once it traces, who takes oomtrace over can do more than oomtrace has to";
    if !seccomp_is_there() {
        return Check::failed(name, "the kernel has no seccomp", "a kernel with CONFIG_SECCOMP_FILTER=y", lacking);
    }
    match landlock_version() {
        Ok(version) => Check::passed(name, format!("seccomp, Landlock (version {version})")),
        Err(error) => Check::failed(
            name,
            format!("seccomp, but no Landlock: {error}"),
            "a kernel from 5.13 on with CONFIG_SECURITY_LANDLOCK=y and `landlock` in lsm= of its command line; in a container, a seccomp \
             profile that allows it",
            "once it traces, who takes oomtrace over may write wherever its user may, not only to files of its own",
        ),
    }
}

/// A setting of the node.
struct Sysctl {
    /// As `sysctl` names it.
    name: &'static str,
    /// The values that are as they should be.
    good: fn(i64) -> bool,
    needed_for: NeededFor,
    remedy: &'static str,
    lost: &'static str,
}

const SYSCTLS: [Sysctl; 8] = [
    Sysctl {
        name: "kernel.kptr_restrict",
        good: |value| value < 2,
        needed_for: NeededFor::Itself,
        remedy: "sysctl kernel.kptr_restrict=1",
        lost: "from 6.2 sizes of processes are some pages off, as the kernel's addresses are hidden",
    },
    Sysctl {
        name: "kernel.perf_event_paranoid",
        good: |value| value < 4,
        needed_for: NeededFor::Probes,
        remedy: "sysctl kernel.perf_event_paranoid=2, or run as root",
        lost: "some distributions' kernels refuse kprobes and tracepoints at this level, also with CAP_PERFMON",
    },
    Sysctl {
        name: "kernel.unprivileged_bpf_disabled",
        good: |_| true,
        needed_for: NeededFor::Itself,
        remedy: "",
        lost: "",
    },
    Sysctl { name: "kernel.dmesg_restrict", good: |_| true, needed_for: NeededFor::Itself, remedy: "", lost: "" },
    Sysctl {
        name: "vm.panic_on_oom",
        good: |value| value == 0,
        needed_for: NeededFor::Itself,
        remedy: "sysctl vm.panic_on_oom=0",
        lost: "the node panics where it runs out of memory, in place of a kill: what is reported of it is in the kernel's \
               log of that boot, as far as it was kept (pstore, a serial console)",
    },
    Sysctl {
        name: "vm.oom_kill_allocating_task",
        good: |value| value == 0,
        needed_for: NeededFor::Itself,
        remedy: "sysctl vm.oom_kill_allocating_task=0",
        lost: "where the node runs out of memory, the process that asks is killed and none is weighed: no candidates",
    },
    Sysctl {
        name: "vm.oom_dump_tasks",
        good: |value| value != 0,
        needed_for: NeededFor::KernelLog,
        remedy: "sysctl vm.oom_dump_tasks=1",
        lost: "the kernel's log does not list the candidates: with --probe kmsg, kills do not say who else could have \
               been chosen, nor how many points the victim had",
    },
    Sysctl {
        name: "kernel.ftrace_enabled",
        good: |value| value != 0,
        needed_for: NeededFor::Probes,
        remedy: "sysctl kernel.ftrace_enabled=1",
        lost: "neither fentry nor kprobes on functions work: only tracepoints and the kernel's log are left",
    },
];

impl Sysctl {
    fn check(&self) -> Check {
        let path = format!("/proc/sys/{}", self.name.replace('.', "/"));
        let value = match fs::read_to_string(&path) {
            Ok(value) => value.trim().to_owned(),
            Err(error) => return Check::unknown(self.name, format!("{path}: {error}")),
        };
        match value.parse() {
            Ok(number) if (self.good)(number) => Check::passed(self.name, value),
            Ok(_) => Check::failed(self.name, value, self.remedy, self.lost).needed_for(self.needed_for),
            Err(_) => Check::unknown(self.name, format!("{value:?} is no number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_root_or_both_newer_capabilities_load_probes() {
        let ok = |held| bpf(held).ok;
        assert_eq!(ok(CapabilitySet::SYS_ADMIN), Some(true));
        assert_eq!(ok(CapabilitySet::BPF | CapabilitySet::PERFMON), Some(true));
        assert_eq!(ok(CapabilitySet::BPF), Some(false));
        assert_eq!(ok(CapabilitySet::empty()), Some(false));
        assert_eq!(syslog(CapabilitySet::empty()).ok, Some(false));
        assert_eq!(sys_resource(CapabilitySet::SYS_RESOURCE).ok, Some(true));
    }

    #[test]
    fn every_setting_that_can_fail_says_what_to_do_and_what_is_lost() {
        for sysctl in &SYSCTLS {
            let can_fail = (-1..=4).any(|value| !(sysctl.good)(value));
            assert_eq!(can_fail, !sysctl.remedy.is_empty() && !sysctl.lost.is_empty(), "{}", sysctl.name);
        }
    }
}
