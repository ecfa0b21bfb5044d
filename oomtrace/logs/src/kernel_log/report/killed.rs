//! The lines that say who is killed, and who is not. Each has one name in parentheses that the process itself chose; the
//! words on both sides are the kernel's. So a name ends at the LAST parenthesis that is followed by what must follow.

use super::{Elected, Killed, Process, Reaped, pieces};
use crate::kernel_log::form::When;

const KILLED: &str = "Killed process ";
/// How the reasons begin that `oom_kill_process` is called with: further words are in parentheses.
const REASONS: [&str; 2] = ["Memory cgroup out of memory", "Out of memory"];

/// `[<reason>: ]Killed process 8 (b) total-vm:…kB, anon-rss:…kB, file-rss:…kB, shmem-rss:…kB, UID:0 pgtables:…kB
/// oom_score_adj:0`. Up to 5.3 it ends with `shmem-rss`, and Red Hat's 3.10 and 4.18 have `, UID 0,` before `total-vm`; its
/// 2.6.32 has it before the name: `Killed process 8, UID 0, (b) total-vm:…`.
pub(super) fn killed(text: &str, when: When) -> Option<Killed> {
    let (message, pid, earlier_uid, rest) = start(text)?;
    let (comm, sizes) = rest
        .rmatch_indices(')')
        .find_map(|(at, _)| Some((&rest[..at], Sizes::read(&rest[at + 1..])?)))
        .filter(|(comm, _)| pieces::is_comm(comm))?;
    let Sizes { total_vm, anon, file, shmem, uid, pgtables, oom_score_adj } = sizes;
    Some(Killed {
        when,
        message,
        pid,
        comm: comm.to_owned(),
        total_vm_bytes: Some(total_vm),
        rss_anon_bytes: Some(anon),
        rss_file_bytes: file,
        rss_shmem_bytes: shmem,
        uid: uid.or(earlier_uid),
        pgtables_bytes: pgtables,
        oom_score_adj,
    })
}

/// As much of it as is left of a line that was cut, or is all there is of one (`Killed process 8 (b).` before 2.6.36). A name
/// that may go on is found by `name_of`.
pub(super) fn torn(text: &str, when: When, name_of: impl Fn(u32) -> Option<String>) -> Option<Killed> {
    let (message, pid, uid, rest) = start(text)?;
    let name = |ends: fn(&str) -> bool| {
        let (comm, _) = rest.rsplit_once(')').filter(|(_, after)| ends(after))?;
        pieces::is_comm(comm).then(|| comm.to_owned())
    };
    let comm = name(|after| after.starts_with(" t") || after.starts_with(", U"))
        .or_else(|| name_of(pid))
        .or_else(|| name(|after| matches!(after.trim_end(), "" | "." | ",")))
        .or_else(|| elided(rest))?;
    Some(Killed { when, message, pid, comm, uid, ..Killed::default() })
}

/// The name in a line of which a hand left out what follows (`Killed process 8 (b) ...`), or wrote on behind it. What is as
/// short as a name may be one that goes on, unless it has the marks of an omission.
fn elided(text: &str) -> Option<String> {
    let is_omission = |after: &str| after.contains(['.', '…']) && after.trim_matches([' ', '.', ',', '…']).is_empty();
    let mut places = text.rmatch_indices(')').map(|(at, _)| (&text[..at], &text[at + 1..]));
    let (comm, _) = places.find(|(comm, after)| {
        pieces::is_comm(comm) && (is_omission(after) || (after.starts_with(' ') && !pieces::is_comm(text)))
    })?;
    Some(comm.to_owned())
}

/// The reason, the pid, and what follows the parenthesis. What stands before "Killed process" is one of the kernel's own
/// texts: the first occurrence is the kernel's. Anything else is the head of a form that is not known, and nothing around the
/// line was read.
fn start(text: &str) -> Option<(Option<String>, u32, Option<u32>, &str)> {
    let at = text.find(KILLED)?;
    let message = match &text[..at] {
        "" => None,
        before => {
            let (known, more) = reasons(before.strip_suffix(": ")?);
            known.first()?;
            <[&str; 1]>::try_from(known).ok().map(|[only]| format!("{only}{more}"))
        }
    };
    let (pid, rest) = pieces::number(&text[at + KILLED.len()..])?;
    let (uid, rest) = uid_before_name(rest);
    Some((message, pid, uid, rest.strip_prefix(" (")?))
}

/// `, UID 27, (b)`, which is printed between pid and name by Red Hat's 2.6.18 and 2.6.32.
fn uid_before_name(text: &str) -> (Option<u32>, &str) {
    let read = || {
        let (uid, rest) = pieces::number(text.strip_prefix(", UID ")?)?;
        Some((Some(uid), rest.strip_prefix(',')?))
    };
    read().unwrap_or((None, text))
}

/// The kernel's reasons that end so, and further words. A log may begin in the middle of a line: in its time, or in the
/// reason, of which too little may be left to tell which it was.
fn reasons(message: &str) -> (Vec<&'static str>, &str) {
    let text = message.rsplit_once("] ").map_or(message, |(_, text)| text);
    let (reason, more) = text.split_at(text.find(" (").unwrap_or(text.len()));
    // So it is written up to 2.6.18.
    let reason = if reason == "Out of Memory" { REASONS[1] } else { reason };
    (REASONS.into_iter().filter(|known| known.ends_with(reason)).collect(), more)
}

/// Whether it is the reason of a kill, and nothing else.
pub(super) fn is_reason(text: &str) -> bool {
    text.strip_suffix(':').is_some_and(|reason| REASONS.contains(&reason))
}

/// Whether it says that a process is killed, whether or not the rest can be read.
pub(super) fn speaks_of_a_kill(text: &str) -> bool {
    text.find(KILLED).is_some_and(|at| {
        pieces::number::<u32>(&text[at + KILLED.len()..])
            .is_some_and(|(_, rest)| uid_before_name(rest).1.starts_with(" ("))
            && (at == 0 || text[..at].ends_with(": "))
    })
}

#[derive(Default)]
struct Sizes {
    total_vm: u64,
    anon: u64,
    file: Option<u64>,
    shmem: Option<u64>,
    uid: Option<u32>,
    pgtables: Option<u64>,
    oom_score_adj: Option<i32>,
}

impl Sizes {
    /// The two sizes that every version prints must be there, whole: they do not fit into a name, so that no name can
    /// pretend to end the line. Further ones may be missing, or new.
    fn read(text: &str) -> Option<Self> {
        let (uid, text) = match text.strip_prefix(", UID ") {
            Some(rest) => rest.split_once(", ").map(|(uid, rest)| (uid.parse().ok(), rest))?,
            // A line that was broken at the blank may have lost it.
            None => (None, text.strip_prefix(' ').unwrap_or(text)),
        };
        let mut fields = text.split([',', ' ']).filter(|field| !field.is_empty());
        let mut required = |key| pieces::kilobytes(fields.next()?.strip_prefix(key)?);
        let mut sizes = Self { total_vm: required("total-vm:")?, anon: required("anon-rss:")?, uid, ..Self::default() };
        for (key, value) in fields.filter_map(|field| field.split_once(':')) {
            match key {
                "file-rss" => sizes.file = pieces::kilobytes(value),
                "shmem-rss" => sizes.shmem = pieces::kilobytes(value),
                "UID" => sizes.uid = value.parse().ok(),
                "pgtables" => sizes.pgtables = pieces::kilobytes(value),
                "oom_score_adj" => sizes.oom_score_adj = value.parse().ok(),
                _ => {}
            }
        }
        Some(sizes)
    }
}

/// `<reason>: Kill process 7 (a) score 900 or sacrifice child`: `oom_kill_process` up to 5.0; up to 2.6.35
/// `<reason>: kill process 7 (a) score 900 or a child`.
pub(super) fn elected(text: &str) -> Option<Elected> {
    let (message, rest) = match text.strip_suffix(" or sacrifice child") {
        Some(text) => text.split_once(": Kill process ")?,
        None => text.strip_suffix(" or a child")?.split_once(": kill process ")?,
    };
    let (pid, rest) = pieces::number(rest)?;
    let (comm, score) = rest.strip_prefix(" (")?.rsplit_once(") score ")?;
    let process = Process { pid, comm: pieces::is_comm(comm).then(|| comm.to_owned())? };
    Some(Elected { message: message.to_owned(), process, score: score.parse().ok()? })
}

/// `<reason>: OOM victim 8 (b) is already exiting. Skip killing the task`: `__oom_kill_process` from 5.10.
pub(super) fn exiting(text: &str) -> Option<Process> {
    let text = text.strip_suffix(") is already exiting. Skip killing the task")?;
    let (message, rest) = text.split_once("OOM victim ")?;
    let (pid, rest) = pieces::number(rest)?;
    let comm = rest.strip_prefix(" (").filter(|comm| pieces::is_comm(comm))?;
    (message.is_empty() || message.ends_with(": ")).then(|| Process { pid, comm: comm.to_owned() })
}

/// `oom_reaper: reaped process 8 (b), now anon-rss:0kB, …` and `oom_reaper: unable to reap pid:8 (b)`.
pub(super) fn reaped(text: &str, when: When) -> Option<Reaped> {
    let text = text.strip_prefix("oom_reaper: ")?;
    if let Some(rest) = text.strip_prefix("unable to reap pid:") {
        let (pid, rest) = pieces::number(rest)?;
        let comm = rest.strip_prefix(" (")?.strip_suffix(')')?;
        return Some(Reaped { when, process: Process { pid, comm: comm.to_owned() }, left_anon_bytes: None });
    }
    let (pid, rest) = pieces::number(text.strip_prefix("reaped process ")?)?;
    let (comm, sizes) = rest.strip_prefix(" (")?.rsplit_once("), now anon-rss:")?;
    let left_anon_bytes = Some(pieces::kilobytes(sizes.split(',').next()?)?);
    Some(Reaped { when, process: Process { pid, comm: comm.to_owned() }, left_anon_bytes })
}

/// `Tasks in /a/b are going to be killed due to memory.oom.group set`: `mem_cgroup_print_oom_group`.
pub(super) fn group(text: &str) -> Option<&str> {
    text.trim_end().strip_prefix("Tasks in ")?.strip_suffix(" are going to be killed due to memory.oom.group set")
}

/// `sysrq: Manual OOM execution`: `moom_callback`, `drivers/tty/sysrq.c`; `SysRq : Manual OOM execution` up to 4.20.
pub(super) fn asked(text: &str) -> bool {
    text.to_ascii_lowercase().starts_with("sysrq") && text.ends_with(": Manual OOM execution")
}

/// `oom_kill_process: 12 callbacks suppressed`: `___ratelimit`, `lib/ratelimit.c`, names the function.
pub(super) fn suppressed(text: &str) -> Option<u64> {
    text.strip_prefix("oom_kill_process: ")?.strip_suffix(" callbacks suppressed")?.parse().ok()
}

/// `Out of memory and no killable processes...`.
pub(super) fn none_killable(text: &str) -> bool {
    text.starts_with("Out of memory and no killable processes")
}

/// `Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled`, or `system-wide`; after "no killable
/// processes" without a cgroup `System is deadlocked on memory`, up to 4.20 `Out of memory and no killable processes...`.
pub(super) fn panic(text: &str) -> Option<&str> {
    let message = text.strip_prefix("Kernel panic - not syncing: ")?;
    let of_oom = message.ends_with("panic_on_oom is enabled")
        || message == "System is deadlocked on memory"
        || none_killable(message);
    of_oom.then_some(message)
}
