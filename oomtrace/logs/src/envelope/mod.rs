//! What stands around a line of any log: how it is encoded, the times written in its head, the objects that
//! collectors make of it, and heads that are in no list, which are learnt from the log itself ([`learnt`]).

pub mod cri;
pub mod encoding;
pub(crate) mod entry;
pub(crate) mod export;
mod field;
pub mod json;
pub mod learnt;
pub(crate) mod loki;
pub(crate) mod scan;
pub(crate) mod syslog;
pub mod when;
