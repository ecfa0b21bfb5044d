//! What is known of pods from files: `kubectl get pods -o json`, the kubelet's `/pods`, `crictl`, a copy of
//! `/var/log/pods`, `kubectl get events`. A plain table, for looking at a node's logs after the fact.

pub mod lines;
pub mod log_dir;
mod read;
#[cfg(test)]
mod tests;

pub use oomtrace_model::snapshot::*;

pub(crate) use self::read::HEAP_VARIABLES;
pub use self::read::{Found, read};
