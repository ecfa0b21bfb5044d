//! Events from the probes: records are decoded, and those of one decision joined into one event.

mod cause;
mod charges;
mod decode;
mod exits;
mod join;
mod limits;
mod machine;
mod paths;
mod refusals;
mod signals;
mod under_oom;

pub use charges::SeesCharges;
pub use decode::{CgroupPath, DecodeError, Record, command_line, decode};
pub use join::Joiner;
pub use machine::Machine;
