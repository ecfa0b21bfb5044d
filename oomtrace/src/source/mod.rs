//! Where events come from. A source knows nothing of how they are printed.

pub mod container_log;
pub mod journal;
pub mod kernel;
pub mod kmsg;
pub mod kubelet;
pub mod kubelet_metrics;

pub use oomtrace_logs::{envelope, kernel_log, kubelet_log};
