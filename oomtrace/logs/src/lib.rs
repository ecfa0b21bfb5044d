//! Text to events: what the kernel and the kubelet log, what containers' runtimes write, and what `kubectl` prints. Everything
//! here takes bytes or lines that somebody else has read: no file is opened, no clock is read.
//!
//! [`envelope`] takes off what stands around a line, the kernel's or the kubelet's; [`kernel_log`] and [`kubelet_log`] read what is inside.

pub mod container_log;
pub mod envelope;
pub mod kernel_log;
pub mod kubectl;
pub mod kubelet_log;
mod memory_killer;
