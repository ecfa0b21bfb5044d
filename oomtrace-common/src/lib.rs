//! What crosses from oomtrace's kernel probes to its daemon, byte for byte.
//!
//! * [`record`]: the records in the ring buffer, kernel to daemon.
//! * [`layout`]: where the running kernel keeps its fields, daemon to kernel.
//!
//! Both sides compile this crate, and the sizes and offsets asserted here are therefore checked at compile time on both:
//! a change that moves a field breaks the build, not a node at 3 a.m.
#![no_std]

pub mod layout;
pub mod record;
