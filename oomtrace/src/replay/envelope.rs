//! A log as it is read: what `source::envelope` learns of it is undone.

use std::io::Cursor;

use anyhow::Result;

use super::{
    given::Given,
    input::{self, Input},
};
use crate::source::{
    envelope::{
        json,
        learnt::{Peeler, Plan, Wanted},
    },
    kernel_log::is_export,
};

/// So much of a log is looked at to learn what stands around its lines.
const SAMPLE_BYTES: u64 = 16 << 20;

/// A log, with its lines in their order.
pub(super) struct Log {
    pub(super) input: Input,
    pub(super) plan: Plan,
    /// How it begins.
    pub(super) start: Vec<u8>,
    /// What is undone, in words.
    pub(super) undone: String,
}

impl Log {
    /// Opens a log, and learns from its first `sample` bytes.
    pub(super) fn open(path: &Given, wanted: &impl Wanted, sample: Option<u64>) -> Result<Self> {
        let mut input = input::open(path)?;
        let mut start = input.peek(path, sample.unwrap_or(SAMPLE_BYTES))?;
        // The journal's export format has no lines.
        let mut plan = if is_export(&start) { Plan::default() } else { Plan::learn(&start, wanted) };
        let mut undone = plan.in_words();
        if plan.document {
            let all = input.take_all(path)?;
            plan = Plan::default();
            match json::objects(&all) {
                Some(lines) => {
                    start = lines.join("\n").into_bytes();
                    plan = Plan::learn(&start, wanted);
                    undone += &plan.in_words();
                    input.reader = Box::new(Cursor::new(start.clone()));
                }
                // It was cut, or is none.
                None => input.reader = Box::new(Cursor::new(all)),
            }
        }
        if plan.newest_first {
            let all = input.take_all(path)?;
            let mut lines: Vec<&[u8]> = all.split(|byte| *byte == b'\n').collect();
            lines.reverse();
            input.reader = Box::new(Cursor::new(lines.join(&b'\n')));
        }
        Ok(Self { input, plan, start, undone })
    }

    /// What undoes the rest, line by line.
    pub(super) fn peeler<W: Wanted>(&self, wanted: W) -> Peeler<W> {
        Peeler::new(self.plan.clone(), wanted)
    }
}
