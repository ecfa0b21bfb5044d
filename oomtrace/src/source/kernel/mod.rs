//! Events from the probes: records are decoded, and those of one decision joined into one event.

mod decode;
mod join;
mod machine;

pub use decode::{CgroupPath, DecodeError, Record, decode};
pub use join::{Joiner, Told};
pub use machine::Machine;
