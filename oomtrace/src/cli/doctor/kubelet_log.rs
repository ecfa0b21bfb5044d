//! Whether the kubelet's log can be read.

use super::Check;
use crate::{
    node::names::Host,
    source::{
        journal::Place,
        kubelet::{Kubelet, Log},
    },
};

/// As `oomtrace run` reads it, where nothing else is asked for.
pub(super) fn check(host: &Host) -> Check {
    let name = "the kubelet's log";
    match Kubelet::open(&Log::Journal { units: Vec::new(), place: Place::Node(host.clone()), state: None }) {
        Ok(kubelet) => {
            let found = kubelet.lacking().unwrap_or_else(|| "the node's journal, from its files".to_owned());
            Check::passed(name, found)
        }
        Err(error) => Check::failed(
            name,
            error.to_string(),
            "oomtrace run --kubelet-log FILE, where the kubelet logs to a file",
            "evictions, and why Kubernetes ended a container",
        ),
    }
}
