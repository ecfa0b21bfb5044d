//! How a line of the kernel's is known, wherever it stands.

use aho_corasick::AhoCorasick;

use super::{
    events::Unprepared,
    form::{self, Line, LineReader},
};
use crate::envelope::{
    learnt::{LineKind, Wanted},
    when::When,
};

/// Texts by which lines of a report are known, and their place in it.
const TEXTS: [(&str, u8); 22] = [
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
    ("oom-kill: constraint=", 6),
    ("Memory cgroup out of memory: Kill", 7),
    ("Out of memory: Kill", 7),
    ("Out of Memory: Kill", 7),
    ("Out of memory and no killable processes", 7),
    ("Killed process ", 8),
    ("Tasks in /", 9),
    ("oom_reaper: reaped process ", 10),
    ("[talos] Sending SIGKILL to cgroup ", 11),
    ("oomd kill: ", 11),
];

/// What is looked for in a kernel log.
#[derive(Clone, Debug)]
pub struct KernelLines(AhoCorasick);

impl KernelLines {
    /// Prepares the search.
    ///
    /// # Errors
    ///
    /// Fails where the patterns that are looked for cannot be compiled.
    pub fn new() -> Result<Self, Unprepared> {
        let texts = TEXTS.iter().map(|(text, _)| *text);
        let builder = AhoCorasick::builder().match_kind(aho_corasick::MatchKind::LeftmostFirst).build(texts)?;
        Ok(Self(builder))
    }
}

impl KernelLines {
    /// Whether the text by which a line is known was cut in two.
    fn is_cut_in_text(&self, start: &[u8], rest: &[u8]) -> bool {
        const LONGEST_TEXT: usize = 64;
        let end = &start[start.len().saturating_sub(LONGEST_TEXT)..];
        let both = [end, &rest[..rest.len().min(LONGEST_TEXT)]].concat();
        self.0.find(&both).is_some_and(|found| found.start() < end.len())
    }
}

impl Wanted for KernelLines {
    fn known(&self, line: &[u8]) -> LineKind {
        match form::known(line) {
            LineKind::No if self.text_at(line).is_some_and(|(at, _)| at == 0) => LineKind::Bare,
            known => known,
        }
    }

    fn text_at(&self, line: &[u8]) -> Option<(usize, u8)> {
        let found = self.0.find(line)?;
        let (_, kind) = *TEXTS.get(found.pattern().as_usize())?;
        // The name of the task stands before the first.
        let at = match kind {
            0 => {
                line[..found.start()].iter().rposition(|byte| b" \t\"'|>]".contains(byte)).map_or(0, |blank| blank + 1)
            }
            _ => found.start(),
        };
        Some((at, kind))
    }

    fn is_writer(&self, word: &[u8]) -> bool {
        matches!(word, b"kernel" | b"kern")
    }

    fn goes_on(&self, start: &[u8], rest: &[u8]) -> Option<bool> {
        // Lines between the others of a report are of anybody.
        Some(match self.text_at(start) {
            Some((at, _)) => !is_whole(&start[at..], rest),
            None => self.is_cut_in_text(start, rest),
        })
    }

    fn when(&self, line: &[u8]) -> When {
        match LineReader::new().read(line) {
            Line::Kernel(message) | Line::Killer(message) => message.when,
            Line::Skipped(_) => When::default(),
        }
    }
}

/// Whether nothing follows a text of a report, with what follows it in the log.
fn is_whole(text: &[u8], rest: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let number_of = |key: &[u8]| digits > 0 && text[..text.len() - digits].ends_with(key);
    if rest.first().is_some_and(u8::is_ascii_digit) && digits > 0 {
        return false;
    }
    let more = rest.trim_ascii_start();
    let fields: [&[u8]; 4] = [b",", b"UID:", b"pgtables:", b"oom_score_adj:"];
    let kilobytes = text.strip_suffix(b"kB").is_some_and(|text| text.last().is_some_and(u8::is_ascii_digit))
        && !fields.iter().any(|field| more.starts_with(field));
    kilobytes
        || number_of(b"oom_score_adj:")
        || number_of(b"oom_score_adj=")
        || number_of(b",uid=")
        || number_of(b"failcnt ")
        || text.ends_with(b":")
        || text.ends_with(b" name")
        || text.ends_with(b"or sacrifice child")
        || !rest.iter().any(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::learnt::Plan;

    const REPORT: [&str; 4] = [
        "memory: usage 8kB, limit 8kB, failcnt 1",
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        "[      7]     0     7        2        1        4096        0             0 a",
        "Memory cgroup out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB",
    ];

    fn is_learnt(log: &str) -> bool {
        let plan = Plan::learn(log.as_bytes(), &KernelLines::new().expect("a search"));
        !plan.is_plain()
    }

    fn behind(head: &str) -> String {
        REPORT.iter().flat_map(|text| [head, text, "\n"]).collect()
    }

    #[test]
    fn a_head_that_all_lines_have_is_learnt() {
        for head in
            ["> ", "2026/11/23 23:20:37 ", "7:", "/var/log/a.log:", "    ", "node1|kern|", "{host=\"n\"} ", "12\t"]
        {
            assert!(is_learnt(&behind(head)), "{head:?}");
        }
    }

    #[test]
    fn what_stands_behind_another_writer_teaches_nothing() {
        for (log, why) in [
            (behind("Nov 23 23:20:37 node1 app[3]: "), "a known form names another writer"),
            (behind("{\"_TRANSPORT\":\"stdout\",\"MESSAGE\":\""), "no JSON"),
            (format!("[    1.5] {}\n{}", REPORT[0], behind("app says: ")), "the log can be read as it is"),
            (format!("1\tsshd\tbye\n{}", behind("1\tapp\t")), "another word in its place"),
            (format!("1\tkernel\teth0: up\n{}", behind("1\tapp\t")), "the kernel's name in its place"),
            (format!("app says: {}\n", REPORT[3]), "a sentence"),
        ] {
            assert!(!is_learnt(&log), "{why}: {log}");
        }
    }

    #[test]
    fn a_text_that_is_whole_does_not_go_on() {
        let wanted = KernelLines::new().expect("a search");
        let goes_on = |start: &str, rest: &str| wanted.goes_on(start.as_bytes(), rest.as_bytes());
        assert_eq!(goes_on(REPORT[3], "and then it was gone"), Some(false));
        assert_eq!(goes_on(&REPORT[3][..70], &REPORT[3][70..]), Some(true));
        assert_eq!(goes_on("[    1.5] eth0: link is", "up"), Some(false));
        assert_eq!(goes_on("Out of memory: Killed process 7 (a) total-vm:8kB, oom_score_adj:9", "50"), Some(true));
    }

    #[test]
    fn what_is_undone_is_said_in_words() {
        let learnt = |log: &str| Plan::learn(log.as_bytes(), &KernelLines::new().expect("a search"));
        assert_eq!(learnt(&behind("    ")).in_words(), ", indented");
        assert_eq!(learnt(&behind("7:")).in_words(), ", behind a head");
        assert_eq!(learnt(&behind("2026/11/23 23:20:37 ")).in_words(), ", behind a head with a time");
        let reversed: String = (0..3).flat_map(|_| REPORT.iter().rev()).flat_map(|text| [text, "\n"]).collect();
        assert_eq!(learnt(&reversed).in_words(), ", newest first");
    }
}
