//! oomtrace
fn main() {}
