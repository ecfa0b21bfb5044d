//! Where something happened, as labels tell it.

use crate::{
    event::{Cgroup, Container, Pod},
    node::cgroup_path::Level,
};

/// The labels `namespace`, `pod`, `container` and `unit`. What is not known is empty, which to Prometheus is a label that is
/// not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    /// The pod's namespace.
    pub(super) namespace: String,
    /// The pod's name; its uid, where the name is not known.
    pub(super) pod: String,
    /// The container's name; its id, where the name is not known.
    pub(super) container: String,
    /// Outside of Kubernetes, the systemd unit.
    pub(super) unit: String,
}

impl Place {
    pub(super) fn of(pod: Option<&Pod>, container: Option<&Container>, cgroup: Option<&Cgroup>) -> Self {
        let name_of_pod = |pod: &Pod| pod.name.clone().or_else(|| pod.uid.as_ref().map(ToString::to_string));
        let name_of_container =
            |container: &Container| container.name.clone().or_else(|| container.id.as_ref().map(ToString::to_string));
        Self {
            namespace: pod.and_then(|pod| pod.namespace.clone()).unwrap_or_default(),
            pod: pod.and_then(name_of_pod).unwrap_or_default(),
            container: container.and_then(name_of_container).unwrap_or_default(),
            unit: cgroup.and_then(|cgroup| cgroup.unit.clone()).unwrap_or_default(),
        }
    }

    /// The labels' values, in their order.
    pub(super) fn labels(&self) -> Vec<String> {
        vec![self.namespace.clone(), self.pod.clone(), self.container.clone(), self.unit.clone()]
    }
}

/// The label `limit_level`.
pub(super) fn level(level: Option<Level>) -> &'static str {
    match level {
        Some(Level::Container) => "container",
        Some(Level::Pod) => "pod",
        Some(Level::Qos) => "qos",
        Some(Level::Kubepods) => "kubepods",
        Some(Level::Node) => "node",
        Some(Level::Other) => "other",
        None => "unknown",
    }
}
