//! Where events come from. A source knows nothing of how they are printed.

pub mod kernel;
pub mod kernel_log;
