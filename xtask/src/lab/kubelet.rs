//! How the node's kubelet is configured.

use std::collections::BTreeMap;

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
