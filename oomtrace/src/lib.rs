//! Why did this container die, and what would have prevented it?
//!
//! Data flows one way: a [`source`] yields [`event`]s, [`node`] names what they happened to, a [`sink`] prints them.
//! [`live`] is where they meet while a node is traced, [`replay`] after the fact.
//! [`probe`] holds what runs in the kernel.
//!
//! What happened, as types, is a crate of its own ([`event`]), and so are the reading of logs ([`source::envelope`],
//! [`source::kernel_log`], [`source::kubelet_log`]) and the [`timeline`].

pub mod build_info;
pub mod cli;
pub mod clock;
pub mod config;
pub mod confinement;
pub mod degradation;
mod explain;
pub mod http;
pub mod leak;
pub mod live;
pub mod metrics;
pub mod node;
pub mod probe;
pub mod replay;
mod self_protection;
pub mod sink;
pub mod source;
mod tls;

pub use oomtrace_model as event;
pub use oomtrace_model::quantity;
pub use oomtrace_timeline as timeline;
