//! How processes ended, reported with how long after their mark.

use std::collections::VecDeque;

use oomtrace_common::record::{Exit, Mark, Reaping, reaping};

use super::{
    machine::{known, known_u32, milliseconds, reported, task},
    paths::Paths,
};
use crate::event::{Event, Observation, OomReaped, ProcessExit, signal_name};

/// How many marks and ends are remembered: as many as can die at once.
const REMEMBERED: usize = 1024;
/// The bits of a `wait(2)` status.
const SIGNAL: u32 = 0x7f;
const CORE_DUMP: u32 = 0x80;

/// What has been marked and has not ended, and what has ended.
#[derive(Default)]
pub(super) struct Exits {
    marked: VecDeque<Marked>,
    /// Process ids and start times: the last two threads of a process may both say that it ended.
    ended: VecDeque<(u32, u64)>,
}

/// A process that was marked.
struct Marked {
    mark: Box<Mark>,
    /// When the reaper had taken its memory, `CLOCK_BOOTTIME` in nanoseconds.
    reaped_ns: Option<u64>,
}

impl Exits {
    /// A process was marked.
    pub(super) fn mark(&mut self, mark: Box<Mark>) {
        push(&mut self.marked, Marked { mark, reaped_ns: None });
    }

    /// The reaper works on a victim. Observation is its end.
    pub(super) fn reap(&mut self, record: &Reaping, paths: &Paths) -> Option<Observation> {
        if record.step != reaping::FINISHED {
            return None;
        }
        let Marked { mark, reaped_ns } =
            self.marked.iter_mut().rev().find(|marked| marked.mark.task.tid == record.tid)?;
        *reaped_ns = Some(record.header.boot_ns);
        let task = task(&mark.task, paths.path(mark.task.cgroup_id));
        let event = OomReaped {
            decision: (mark.header.decision != 0).then_some(mark.header.decision),
            pod: task.pod.clone(),
            container: task.container.clone(),
            cgroup: paths.cgroup(mark.task.cgroup_id),
            task,
            left_anon_bytes: None,
            since_kill_ms: Some(milliseconds(record.header.boot_ns.saturating_sub(mark.header.boot_ns))),
        };
        Some(reported(record.header.boot_ns, Event::OomReaped(Box::new(event))))
    }

    /// A process ended. Nothing where that was reported already, or where it is neither a victim nor in a container.
    pub(super) fn tell(&mut self, exit: &Exit, paths: &Paths) -> Option<Observation> {
        let identity = (exit.task.tgid, exit.task.start_boottime_ns);
        if self.ended.contains(&identity) {
            return None;
        }
        push(&mut self.ended, identity);
        // The tracepoint `oom:mark_victim` gives a thread's id alone; the kernel marks a process's first thread as a rule.
        let is_it = |mark: &Mark| mark.task.tgid == exit.task.tgid || mark.task.tid == exit.task.tgid;
        // A process that began after the mark has its id from the one that was marked.
        let began = known(exit.task.start_boottime_ns);
        let was_there = |mark: &Mark| began.is_none_or(|began| began <= mark.header.boot_ns);
        let marked = self.marked.iter().position(|Marked { mark, .. }| is_it(mark) && was_there(mark));
        let marked = marked.and_then(|position| self.marked.remove(position));
        let since_mark = |marked: &Marked, ns: u64| milliseconds(ns.saturating_sub(marked.mark.header.boot_ns));

        let task = task(&exit.task, paths.path(exit.task.cgroup_id));
        let oom_victim = exit.task.oom_marked == 1;
        if !oom_victim && task.container.is_none() {
            return None;
        }
        let code = known_u32(exit.code);
        let signal =
            code.map(|code| code & SIGNAL).filter(|signal| *signal != 0).and_then(|signal| signal.try_into().ok());
        let exit_code = code.filter(|_| signal.is_none()).and_then(|code| (code >> 8).try_into().ok());
        let of_container = signal.map(|signal: u8| 128 | signal).or(exit_code);
        let event = ProcessExit {
            pod: task.pod.clone(),
            container: task.container.clone(),
            cgroup: paths.cgroup(exit.task.cgroup_id),
            container_exit_code: of_container.filter(|_| task.container_init == Some(true)),
            task,
            exit_code,
            signal: signal.map(|signal| signal_name(signal.into())),
            signal_number: signal.map(Into::into),
            core_dumped: code.is_some_and(|code| code & CORE_DUMP != 0),
            oom_victim,
            since_mark_ms: marked.as_ref().map(|marked| since_mark(marked, exit.header.boot_ns)),
            mark_to_reaped_ms: marked.as_ref().and_then(|marked| Some(since_mark(marked, marked.reaped_ns?))),
            heap_settings: Vec::new(),
        };
        Some(reported(exit.header.boot_ns, Event::ProcessExit(Box::new(event))))
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use oomtrace_common::record::Task;

    use super::*;

    /// A process of this id, which began then.
    fn process(tgid: u32, start_boottime_ns: u64) -> Task {
        Task { tid: tgid, tgid, start_boottime_ns, oom_marked: 1, ..Task::zeroed() }
    }

    fn mark(task: Task, boot_ns: u64) -> Box<Mark> {
        let mut mark = Box::new(Mark::zeroed());
        mark.header.boot_ns = boot_ns;
        mark.task = task;
        mark
    }

    /// The end of a process, where it is reported.
    fn end(exits: &mut Exits, task: Task, boot_ns: u64) -> Option<Box<ProcessExit>> {
        let mut exit = Exit::zeroed();
        exit.header.boot_ns = boot_ns;
        exit.task = task;
        exit.code = 9;
        let Event::ProcessExit(exit) = exits.tell(&exit, &Paths::default())?.event else {
            unreachable!("it is an end")
        };
        Some(exit)
    }

    #[test]
    fn a_process_with_a_reused_id_is_not_the_one_that_was_marked() {
        let mut exits = Exits::default();
        exits.mark(mark(process(10, 1_000_000), 5_000_000));
        // The victim's own end comes late.
        let other = end(&mut exits, process(10, 6_000_000), 9_000_000).expect("an end");
        let victim = end(&mut exits, process(10, 1_000_000), 9_500_000).expect("another end");
        assert_eq!((other.since_mark_ms, victim.since_mark_ms), (None, Some(4.5)));
        assert!(end(&mut exits, process(10, 1_000_000), 9_600_000).is_none(), "its last two threads both say so");
        assert!(end(&mut exits, process(10, 9_700_000), 9_900_000).is_some(), "another process of the same id");
    }
}
