//! Where events come from. A source knows nothing of how they are printed.

pub mod container_log;
pub mod envelope;
pub mod kernel;
pub mod kernel_log;
pub mod kmsg;
pub mod kubelet;
pub mod kubelet_log;
pub mod kubelet_metrics;
pub(crate) mod memory_killer;
