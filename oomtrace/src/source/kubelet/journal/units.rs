//! The systemd units whose log has the kubelet's lines in it.

/// Units that run a kubelet.
const KUBELETS: [&str; 13] = [
    "kubelet",
    "k3s",
    "k3s-agent",
    "rke2-server",
    "rke2-agent",
    "snap.microk8s.daemon-kubelite",
    "snap.k8s.kubelet",
    "k0scontroller",
    "k0sworker",
    "microshift",
    // OpenShift's and others' wrappers.
    "kubelet-wrapper",
    "atomic-openshift-node",
    "origin-node",
];

/// Container runtimes notice OOMs, user-space OOM killers name whom they kill, and journald says what it did not keep.
const OTHERS: [&str; 8] =
    ["containerd", "crio", "systemd-oomd", "earlyoom", "oomd", "nohang", "nohang-desktop", "systemd-journald"];

/// All that are known.
pub(super) fn known() -> Vec<String> {
    KUBELETS.iter().chain(&OTHERS).map(|unit| (*unit).to_owned()).collect()
}

/// The given ones, with those that speak of containers and of the journal itself.
pub(super) fn with_runtimes(units: &[String]) -> Vec<String> {
    units.iter().cloned().chain(OTHERS.iter().map(|unit| (*unit).to_owned())).collect()
}
