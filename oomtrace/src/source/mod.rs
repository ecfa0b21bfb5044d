//! Where events come from. A source knows nothing of how they are printed.

pub mod kernel;
pub mod kernel_log;
pub mod kmsg;
pub mod kubelet_log;
mod log_form;
