//! What the forms that logs are kept in have in common: how a line's head is scanned, and the times written in it.

pub(in crate::source) mod export;
pub(in crate::source) mod field;
pub(in crate::source) mod scan;
pub(in crate::source) mod when;
