//! The programs that start, watch and kill containers, by the names that they have: one table for the probes, the journal and
//! logs after the fact.

/// Programs of one kind.
pub struct Programs {
    /// What their processes are called, `task_struct.comm`: names end after 15 bytes there.
    pub processes: &'static [&'static str],
    /// Their systemd units, without `.service`, and what else they call themselves in syslog.
    pub services: &'static [&'static str],
}

/// The kubelet, and the distributions that run it within a program of their own.
pub const KUBELETS: Programs = Programs {
    processes: &["kubelet", "hyperkube", "k3s", "k3s-server", "k3s-agent", "rke2", "kubelite", "k0s", "microshift"],
    services: &[
        "kubelet",
        "k3s",
        "k3s-server",
        "k3s-agent",
        "rke2",
        "rke2-server",
        "rke2-agent",
        // MicroK8s, before 1.21 as a process of its own.
        "kubelite",
        "microk8s.daemon-kubelet",
        "snap.microk8s.daemon-kubelet",
        "microk8s.daemon-kubelite",
        "snap.microk8s.daemon-kubelite",
        "k8s.kubelet",
        "snap.k8s.kubelet",
        "kubelet.daemon",
        "snap.kubelet.daemon",
        "k0s",
        "k0scontroller",
        "k0sworker",
        "microshift",
        // OpenShift, before 4.13 and since, and its predecessors.
        "hyperkube",
        "kubenswrapper",
        "kubelet-wrapper",
        "kubelet.sh",
        "atomic-openshift-node",
        "origin-node",
    ],
};

/// Container runtimes: daemons, and for processes the shims and monitors that they start.
pub const RUNTIMES: Programs = Programs {
    processes: &[
        "containerd-shim",
        "containerd",
        "conmon",
        "conmonrs",
        "crio",
        "dockerd",
        "runc",
        "crun",
        "youki",
        // gVisor's, whose shim is one of containerd's.
        "runsc",
    ],
    services: &["containerd", "crio"],
};

/// User-space OOM killers that log what they kill under a name of their own.
pub const MEMORY_KILLERS: Programs = Programs {
    processes: &["systemd-oomd", "oomd", "earlyoom", "nohang"],
    // nohang has another unit for desktops.
    services: &["systemd-oomd", "oomd", "earlyoom", "nohang", "nohang-desktop"],
};

impl Programs {
    /// Whether a process of this name is one of them.
    #[must_use]
    pub fn has_process(&self, comm: &str) -> bool {
        self.processes.contains(&comm)
    }

    /// Whether a unit or syslog identifier is one of theirs.
    #[must_use]
    pub fn has_service(&self, name: &str) -> bool {
        self.services.contains(&name)
    }
}
