//! The kubelet's log.
