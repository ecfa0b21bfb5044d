//! What `kubectl` and its like print of pods, nodes and events, read into a [`Snapshot`]: `kubectl get … -o json` or YAML, the
//! kubelet's `/pods`, `crictl`, the tables and descriptions that are printed for people, and the names of the folders in
//! `/var/log/pods`.

mod events;
mod heap;
pub mod lines;
pub mod log_dir;
mod objects;
mod printed;
#[cfg(test)]
mod tests;

use oomtrace_model::snapshot::{
    EndRecord, EvictionNotice, KernelLineNotice, KillerEviction, LastWords, PodRecord, ProbeKill, Snapshot,
    SystemOomNotice,
};

pub use self::{
    heap::{HEAP_VARIABLES, heap_flags, is_heap_flag},
    objects::{Found, has_marked, read},
    printed::{has_part, is_event, is_printed},
};
