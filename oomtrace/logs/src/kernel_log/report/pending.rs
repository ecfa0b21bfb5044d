//! A line of which the rest has yet to come.
//!
//! The kernel prints some lines in parts (`pr_cont`). Where another processor printed in between, or the line got too long
//! for one record (`LOG_LINE_MAX`), the parts are records of their own: `oom-kill:constraint=CONSTRAINT_MEMCG,…`, then
//! `,cpuset=…`. And a task's name may have line ends, at which all forms without escapes break the record.

use super::{killed, summary};
use crate::kernel_log::form::{Caller, When};

/// How many lines of others may come between two parts.
const PATIENCE: u8 = 16;
/// No line that has parts is longer.
const LONGEST: usize = 16 * 1024;

pub(super) struct Pending {
    pub(super) when: When,
    pub(super) caller: Option<Caller>,
    pub(super) text: String,
    kind: Kind,
    lines_between: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `oom-kill:…`
    Summary,
    /// `Task in … killed as a result of limit of …`
    Limit,
    /// `Tasks in … are going to be killed …`
    Group,
    /// `… Killed process 8 (`, and a line end in the name.
    Killed,
    /// `Memory cgroup out of memory:`, of which a hand put the rest into the next line.
    Reason,
}

/// What a further line is to a pending one.
pub(super) enum Further {
    /// Its last part: this is the whole line.
    Last(String),
    /// A part, but not the last.
    Part,
    /// Not a part.
    Other,
    /// Not a part, and no part will come any more.
    GivenUp,
}

impl Pending {
    /// `text`, where it is the start of a line that is not whole.
    pub(super) fn new(text: &str, when: When, caller: Option<Caller>) -> Option<Self> {
        let kind = if summary::starts(text) {
            Kind::Summary
        } else if text.starts_with("Task in ") && summary::limit_of(text).is_none() {
            Kind::Limit
        } else if text.starts_with("Tasks in ") && killed::group(text).is_none() {
            Kind::Group
        } else if killed::speaks_of_a_kill(text) {
            Kind::Killed
        } else if killed::is_reason(text) {
            Kind::Reason
        } else {
            return None;
        };
        Some(Self { when, caller, text: text.to_owned(), kind, lines_between: 0 })
    }

    /// Whether this is the line of a kill.
    pub(super) fn is_kill(&self) -> bool {
        self.kind == Kind::Killed
    }

    pub(super) fn further(&mut self, text: &str, same_record: bool, same_caller: bool) -> Further {
        if same_caller && self.text.len() + text.len() < LONGEST {
            if same_record && self.lines_between == 0 {
                let whole = format!("{}\n{text}", self.text);
                if self.is_whole(&whole) {
                    return Further::Last(whole);
                }
                // A name of line ends has more of them.
                if self.kind == Kind::Killed && text.len() < 15 {
                    self.text = whole;
                    return Further::Part;
                }
            }
            let folded = self.unfolded(text);
            if folded.is_some() || self.goes_on_with(text) {
                match folded {
                    Some(whole) => self.text = whole,
                    None => self.text.push_str(text),
                }
                if self.kind == Kind::Reason {
                    self.kind = Kind::Killed;
                }
                return if self.is_whole(&self.text) {
                    Further::Last(std::mem::take(&mut self.text))
                } else {
                    Further::Part
                };
            }
        }
        self.lines_between += 1;
        if matches!(self.kind, Kind::Killed | Kind::Reason) || self.lines_between > PATIENCE {
            Further::GivenUp
        } else {
            Further::Other
        }
    }

    /// Both as one line, where a hand broke it between two fields or in a path: the second is indented, or the first ends
    /// with a backslash.
    fn unfolded(&self, text: &str) -> Option<String> {
        let start = self.text.trim_end_matches(['\\', ' ', '.', '…']);
        let rest = text.trim_start().trim_end_matches(['\\', ' ']);
        match self.kind {
            Kind::Summary if start.ends_with(',') => {
                let fields = [
                    "nodemask=",
                    "cpuset=",
                    "mems_allowed=",
                    "oom_memcg=",
                    "global_oom",
                    "task_memcg=",
                    "task=",
                    "pid=",
                    "uid=",
                ];
                fields.iter().any(|field| rest.starts_with(field)).then(|| format!("{start}{rest}"))
            }
            Kind::Summary if start.ends_with('/') && !rest.is_empty() => {
                let is_path = !rest.contains([' ', ':']) || rest.contains(",task");
                is_path.then(|| format!("{start}{rest}"))
            }
            Kind::Killed if start.ends_with([')', ',']) || start.ends_with("kB") => {
                let fields = ["total-vm:", "anon-rss:", "file-rss:", "shmem-rss:"];
                fields.iter().any(|field| rest.starts_with(field)).then(|| format!("{start} {rest}"))
            }
            Kind::Reason => {
                let is_rest = rest.starts_with("Killed ") && killed::speaks_of_a_kill(rest);
                is_rest.then(|| format!("{start} {rest}"))
            }
            Kind::Summary | Kind::Limit | Kind::Group | Kind::Killed => None,
        }
    }

    fn is_whole(&self, text: &str) -> bool {
        match self.kind {
            Kind::Summary => summary::read(text, |_| None).is_some(),
            Kind::Limit => summary::limit_of(text).is_some(),
            Kind::Group => killed::group(text).is_some(),
            Kind::Killed | Kind::Reason => killed::killed(text, self.when).is_some(),
        }
    }

    /// Whether `text` is what the kernel prints next: a key, or a name after its key.
    fn goes_on_with(&self, text: &str) -> bool {
        let after = |key| self.text.ends_with(key);
        match self.kind {
            Kind::Summary => {
                let keys = [
                    ",nodemask=",
                    ",cpuset=",
                    ",mems_allowed=",
                    ",oom_memcg=",
                    ",global_oom",
                    ",task_memcg=",
                    ",task=",
                ];
                keys.iter().any(|key| text.starts_with(key))
                    || (after("memcg=") && text.starts_with('/'))
                    || (after(",cpuset=") && !text.is_empty() && !text.contains(' '))
            }
            Kind::Limit => {
                text.starts_with(" killed as a result of limit of ")
                    || ((after("Task in ") || after(" of ")) && text.starts_with('/'))
            }
            Kind::Group => text.starts_with(" are going to be killed") || (after("Tasks in ") && text.starts_with('/')),
            Kind::Killed | Kind::Reason => false,
        }
    }
}
