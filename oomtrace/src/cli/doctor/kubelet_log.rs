//! Whether the kubelet's log can be read.

use super::Check;
use crate::source::kubelet::{Kubelet, Log};

/// As `oomtrace run` reads it, where nothing else is asked for.
pub(super) fn check() -> Check {
    let name = "the kubelet's log";
    match Kubelet::open(&Log::Journal { units: Vec::new(), folder: None }) {
        Ok(_) => Check::passed(name, "the node's journal"),
        Err(error) => Check::failed(
            name,
            error.to_string(),
            "oomtrace run --kubelet-log FILE, where the kubelet logs to a file",
            "evictions, and why Kubernetes ended a container",
        ),
    }
}
