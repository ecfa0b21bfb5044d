//! oomtrace
