//! The kernel's own report of its OOM killer, from its log: the lowest rung of the ladder, and all that is left when the
//! node has long been rebooted.
//!
//! Three layers, all pure: no file is opened and no clock is read here.
//!
//! 1. [`form`]: one line as bytes, in any form that a kernel log is kept in, becomes a [`Message`]: when, and the text.
//! 2. [`report`]: the texts, in their order, become [`Decision`]s of the OOM killer.
//! 3. [`events`]: these become events, in the terms that all sources share; [`Events`] does all three.
//!
//! ```
//! use oomtrace_logs::kernel_log::{Assembler, Item, Line, LineReader};
//!
//! let log: &[u8] = b"[ 12.5] Out of memory: Killed process 7 (java) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB";
//! let (mut reader, mut assembler) = (LineReader::new(), Assembler::new());
//! let mut items = Vec::new();
//! for line in log.split(|byte| *byte == b'\n') {
//!     if let Line::Kernel(message) = reader.read(line) {
//!         items.extend(assembler.push(&message));
//!     }
//! }
//! items.extend(assembler.flush());
//! assert!(matches!(&items[..], [Item::Decision(decision)] if decision.victim.as_ref().is_some_and(|v| v.pid == 7)));
//! ```
//!
//! # What a log can be trusted with
//!
//! A record of `/dev/kmsg` carries its facility, and the kernel lets no process write with facility 0
//! (`devkmsg_write`, `kernel/printk/printk.c`). The journal's JSON carries `_TRANSPORT`, which journald sets itself. In
//! the text forms, whatever calls itself `kernel` is believed: `logger -t kernel` can forge a kill there. What collectors wrap
//! in JSON is believed where it names no other speaker, and over several lines only where the log is JSON. A line with the
//! kernel's stamp, or of a journal and the kernel's, is also believed behind one word or a time that is not known, and
//! indented where the log begins so, unless the first line alone is.
//!
//! A process chooses its own name (`comm`, 15 bytes), and may put `)`, `, total-vm:`, line ends and escape sequences
//! into it. Users that may make cgroups choose their names, without `/` and line ends. Each parser says how it finds the
//! ends of such a name.

pub mod clock;
pub mod events;
pub mod form;
pub mod report;
#[cfg(test)]
mod tests;
mod wanted;

pub use self::{
    clock::Clock,
    events::{Events, Machine, Statistics, Unprepared, is_export},
    form::{Caller, Form, Line, LineReader, LocalTime, Message, Skipped, Wall, When},
    report::{Assembler, Decision, Item, Killed, Outcome, Report},
    wanted::KernelLines,
};
