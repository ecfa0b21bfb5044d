//! Where names come from: each source is optional, and what they tell is put together in the
//! [index](super::index::Index).

pub mod cgroups;
mod collector;
pub mod cri;
pub mod engine;
pub mod kubelet;
pub mod oci;
pub mod pod_logs;
pub mod storage;

mod annotations;
mod host;
mod made;
#[cfg(test)]
mod tests;

pub use self::{
    collector::{Asker, Options, collect_once, start},
    host::Host,
    kubelet::{Access as KubeletAccess, READ_ONLY as KUBELET_READ_ONLY, Trust as KubeletTrust},
};
use super::fact::Fact;
use crate::event::Observation;

/// What comes from the sources.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Something to be kept, so that events can be named.
    Fact(Fact),
    /// Something to be reported.
    Event(Observation),
}
