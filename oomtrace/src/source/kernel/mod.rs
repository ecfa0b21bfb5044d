//! Events from the probes: records are decoded, and those of one decision joined into one event.

mod decode;
mod facts;
mod join;

pub use decode::{CgroupPath, DecodeError, Record, decode};
pub use facts::Machine;
pub use join::{Joiner, Told};
