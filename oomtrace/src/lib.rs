//! Why did this container die, and what would have prevented it?
//!
//! Data flows one way: a [`source`] yields [`event`]s, [`node`] names what they happened to, a [`sink`] prints them.
//! [`live`] is where they meet while a node is traced.
//! [`probe`] holds what runs in the kernel.

pub mod build_info;
pub mod cli;
pub mod clock;
pub mod config;
pub mod event;
pub mod lack;
pub mod leak;
pub mod live;
pub mod metrics;
pub mod node;
mod own;
pub mod probe;
pub mod quantity;
pub mod sink;
pub mod source;
pub mod timeline;
