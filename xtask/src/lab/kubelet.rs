//! How the node's kubelet is configured.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// What scenarios change of the kubelet's configuration, under the names of its `KubeletConfiguration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `evictionHard`: thresholds by signal, such as `memory.available` and `300Mi`.
    pub(crate) eviction_hard: BTreeMap<String, String>,
    /// `evictionSoft`.
    pub(crate) eviction_soft: BTreeMap<String, String>,
    /// `evictionSoftGracePeriod`.
    pub(crate) eviction_soft_grace_period: BTreeMap<String, String>,
    /// `evictionMaxPodGracePeriod`, in seconds.
    pub(crate) eviction_max_pod_grace_period: u32,
    /// `kubeReserved`.
    pub(crate) kube_reserved: BTreeMap<String, String>,
    /// `systemReserved`.
    pub(crate) system_reserved: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        let hard = [
            ("memory.available", "100Mi"),
            ("nodefs.available", "1%"),
            ("imagefs.available", "1%"),
            ("nodefs.inodesFree", "1%"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            eviction_hard: hard.map(owned).into(),
            eviction_soft: BTreeMap::new(),
            eviction_soft_grace_period: BTreeMap::new(),
            eviction_max_pod_grace_period: 0,
            kube_reserved: BTreeMap::new(),
            system_reserved: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// What is reserved of the node's memory, KiB.
    pub(super) fn reserved_kib(&self) -> Result<u64> {
        let reserved = [&self.kube_reserved, &self.system_reserved].into_iter().filter_map(|of| of.get("memory"));
        reserved
            .map(|quantity| {
                let kib = quantity.strip_suffix("Ki").and_then(|number| number.parse::<u64>().ok());
                kib.with_context(|| format!("reserved memory is given in Ki, not as {quantity}"))
            })
            .sum()
    }

    /// The `KubeletConfiguration`, of a kubelet that listens on this port. JSON is YAML.
    pub(super) fn configuration(&self, port: u16) -> Value {
        let Self {
            eviction_hard,
            eviction_soft,
            eviction_soft_grace_period,
            eviction_max_pod_grace_period,
            kube_reserved,
            system_reserved,
        } = self;
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "port": port,
            "readOnlyPort": 10255,
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "systemd",
            "failSwapOn": false,
            "staticPodPath": "/etc/kubernetes/manifests",
            "enforceNodeAllocatable": ["pods"],
            "resolvConf": "/etc/lab/resolv.conf",
            // What takes 10 s or minutes by default, so that scenarios do not wait for it.
            "syncFrequency": "10s",
            "evictionPressureTransitionPeriod": "30s",
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            // Logs are what is looked at afterwards.
            "containerLogMaxSize": "1Gi",
            "featureGates": {"GracefulNodeShutdown": true},
            "shutdownGracePeriod": "30s",
            "shutdownGracePeriodCriticalPods": "10s",
            "evictionHard": eviction_hard,
            "evictionSoft": eviction_soft,
            "evictionSoftGracePeriod": eviction_soft_grace_period,
            "evictionMaxPodGracePeriod": eviction_max_pod_grace_period,
            "kubeReserved": kube_reserved,
            "systemReserved": system_reserved,
        })
    }
}
