//! The kubelet's log, 1.20 to 1.36, in any form it is kept in, as events.
//!
//! All of it is pure: no file is opened and no clock is read here.
//!
//! 1. [`form`]: what a file or the journal puts around a line is taken off.
//! 2. [`klog`]: what the kubelet's logger printed becomes a message with its keys.
//! 3. `eviction`, `container`: messages become steps of the eviction manager and changes of containers, by the message and
//!    its keys, never by the place in the source.
//! 4. `join`: what a line lacks, its neighbours tell: uids, names, exit codes, signals.
//!
//! ```
//! use jiff::{Timestamp, tz::TimeZone};
//! use oomtrace_logs::kubelet_log::{Calendar, LogReader};
//!
//! let calendar = Calendar { not_after: "2026-11-24T00:00:00Z".parse()?, zone: TimeZone::UTC };
//! let mut reader = LogReader::new(calendar, Vec::new())?;
//! let mut reported = Vec::new();
//! reader.push(b"I1123 23:24:42.998045     440 eviction_manager.go:381] ", &mut reported);
//! reader.push(b"\"Eviction manager: attempting to reclaim\" resourceName=\"memory\"\n", &mut reported);
//! reader.finish(&mut reported);
//! assert_eq!(reported.len(), 1);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a log can be trusted with
//!
//! Pods' and containers' names hold nothing that a line could be forged with, and structured messages quote whatever a
//! container says. 1.20 prints the output of a probe as it comes, line ends included: from a form that names the writing
//! process, a line that names another one in klog's head is not believed; in a bare file it is.

mod block;

mod container;
mod duration;
mod eviction;
pub mod form;
mod join;
pub mod klog;
mod names;
mod pass;
mod pods;
mod reader;
mod stems;
#[cfg(test)]
mod tests;
mod time;
mod wanted;
mod writer;

pub use self::{
    eviction::message::read as eviction_message,
    names::Names,
    reader::{Counts, LogReader, MAX_LINE_BYTES, Unprepared},
    time::Calendar,
    wanted::{KubeletLines, Of, host, hosts},
};
