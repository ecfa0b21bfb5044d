//! Sets up, builds, tests and demonstrates oomtrace.

fn main() {}
