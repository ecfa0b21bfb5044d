//! How a line of the kernel's is known, wherever it stands.

use aho_corasick::AhoCorasick;

use super::{
    events::Unprepared,
    form::{self, Line, Reader},
};
use crate::source::envelope::{
    learnt::{Known, Wanted},
    when::When,
};

/// Texts by which lines of a report are known, and their place in it.
const TEXTS: [(&str, u8); 18] = [
    (" invoked oom-killer: gfp_mask=0x", 0),
    ("Task in /", 1),
    ("memory+swap: usage ", 2),
    ("memory: usage ", 2),
    ("swap: usage ", 2),
    ("kmem: usage ", 2),
    ("Memory cgroup stats for ", 3),
    ("Mem-Info:", 3),
    ("Tasks state (memory values in pages):", 4),
    ("[  pid  ]   uid  tgid total_vm", 5),
    ("[ pid ]   uid  tgid total_vm", 5),
    ("oom-kill:constraint=", 6),
    ("Memory cgroup out of memory: Kill", 7),
    ("Out of memory: Kill", 7),
    ("Out of memory and no killable processes", 7),
    ("Killed process ", 8),
    ("Tasks in /", 9),
    ("oom_reaper: reaped process ", 10),
];

/// What is looked for in a kernel log.
#[derive(Clone, Debug)]
pub struct KernelLines(AhoCorasick);

impl KernelLines {
    /// Prepares the search.
    pub fn new() -> Result<Self, Unprepared> {
        let texts = TEXTS.iter().map(|(text, _)| *text);
        let builder = AhoCorasick::builder().match_kind(aho_corasick::MatchKind::LeftmostFirst).build(texts)?;
        Ok(Self(builder))
    }
}

impl Wanted for KernelLines {
    fn known(&self, line: &[u8]) -> Known {
        match form::known(line) {
            Known::No if self.text_at(line).is_some_and(|(at, _)| at == 0) => Known::Bare,
            known => known,
        }
    }

    fn text_at(&self, line: &[u8]) -> Option<(usize, u8)> {
        let found = self.0.find(line)?;
        let (_, kind) = *TEXTS.get(found.pattern().as_usize())?;
        // The name of the task stands before the first.
        let at = match kind {
            0 => line[..found.start()].iter().rposition(|byte| b" \t\"'|>]".contains(byte)).map_or(0, |blank| blank + 1),
            _ => found.start(),
        };
        Some((at, kind))
    }

    fn is_writer(&self, word: &[u8]) -> bool {
        matches!(word, b"kernel" | b"kern")
    }

    fn when(&self, line: &[u8]) -> When {
        match Reader::new().read(line) {
            Line::Kernel(message) => message.when,
            Line::Skipped(_) => When::default(),
        }
    }
}
