//! How the kernel was built and booted.

mod config;

use std::fs;

use self::config::Config;
use super::{Check, NeededFor};
use crate::{cli::kernel_release, probe::KernelFacts};

pub(super) fn checks(facts: &KernelFacts) -> Vec<Check> {
    let mut checks = vec![lockdown(), btf(facts)];
    match Config::of_running_kernel(&kernel_release()) {
        Ok(config) => checks.extend(OPTIONS.iter().map(|option| option.check(&config))),
        Err(error) => checks.push(Check::unknown("kernel config", error.to_string())),
    }
    checks
}

/// Kernel lockdown: in mode `confidentiality` BPF may not read kernel memory.
fn lockdown() -> Check {
    let name = "lockdown";
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    match mode(&modes) {
        None => Check::unknown(name, "no /sys/kernel/security/lockdown: none, or securityfs is not mounted"),
        Some("confidentiality") => Check::failed(
            name,
            "confidentiality",
            "boot with lockdown=integrity or none",
            "no probes, as they may not read kernel memory in this mode: only the kernel's log is left",
        )
        .needed_for(NeededFor::Probes),
        Some(mode) => Check::passed(name, mode),
    }
}

/// `none [integrity] confidentiality`.
fn mode(modes: &str) -> Option<&str> {
    modes.split_once('[')?.1.split_once(']').map(|(mode, _)| mode)
}

fn btf(facts: &KernelFacts) -> Check {
    let name = "BTF";
    match &facts.types {
        Ok(_) => Check::passed(name, "/sys/kernel/btf/vmlinux"),
        Err(error) => Check::failed(
            name,
            error.to_string(),
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y",
            "no field of the kernel can be found: only the plain tracepoint, which gives thread ids of victims, and the \
             kernel's log are left",
        )
        .needed_for(NeededFor::Probes),
    }
}

/// An option that the kernel was built with.
struct KernelOption {
    name: &'static str,
    needed_for: NeededFor,
    lost: &'static str,
}

const OPTIONS: [KernelOption; 12] = [
    KernelOption {
        name: "CONFIG_BPF_SYSCALL",
        needed_for: NeededFor::Probes,
        lost: "no probes: only the kernel's log is left",
    },
    KernelOption { name: "CONFIG_BPF_JIT", needed_for: NeededFor::Probes, lost: "no fentry, and slower probes" },
    KernelOption { name: "CONFIG_BPF_EVENTS", needed_for: NeededFor::Probes, lost: "no kprobes and no tracepoints" },
    KernelOption {
        name: "CONFIG_DEBUG_INFO_BTF",
        needed_for: NeededFor::Probes,
        lost: "no field of the kernel can be found: see BTF",
    },
    KernelOption {
        name: "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
        needed_for: NeededFor::Probes,
        lost: "no fentry: kprobes give the same",
    },
    KernelOption { name: "CONFIG_KPROBES", needed_for: NeededFor::Probes, lost: "no kprobes" },
    KernelOption { name: "CONFIG_KPROBE_EVENTS", needed_for: NeededFor::Probes, lost: "no kprobes" },
    KernelOption {
        name: "CONFIG_TRACEPOINTS",
        needed_for: NeededFor::Probes,
        lost: "no tracepoints: neither ends of processes nor senders of signals",
    },
    KernelOption { name: "CONFIG_KALLSYMS", needed_for: NeededFor::Probes, lost: "no function can be hooked" },
    KernelOption { name: "CONFIG_MEMCG", needed_for: NeededFor::Itself, lost: "only the node can run out of memory" },
    KernelOption {
        name: "CONFIG_PSI",
        needed_for: NeededFor::Itself,
        lost: "how long tasks waited for memory is not reported",
    },
    KernelOption { name: "CONFIG_PRINTK", needed_for: NeededFor::KernelLog, lost: "no kernel log to fall back on" },
];

impl KernelOption {
    fn check(&self, config: &Config) -> Check {
        if config.is_built_in(self.name) {
            return Check::passed(self.name, "y");
        }
        Check::failed(self.name, format!("not set in {}", config.from), "use a kernel that has it", self.lost)
            .needed_for(self.needed_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_of_lockdown_is_the_one_in_brackets() {
        assert_eq!(mode("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(mode("[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(mode(""), None);
    }
}
