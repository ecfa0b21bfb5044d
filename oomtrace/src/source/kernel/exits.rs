//! How processes ended, told with how long after their mark.

use std::collections::VecDeque;

use oomtrace_common::record::{Exit, Mark};

use super::{
    machine::{known_u32, task, told},
    paths::Paths,
};
use crate::event::{Event, ProcessExit, Told};

/// How many marks and ends are remembered: as many as can die at once.
const REMEMBERED: usize = 1024;
/// The bits of a `wait(2)` status.
const SIGNAL: u32 = 0x7f;
const CORE_DUMP: u32 = 0x80;

/// What has been marked and has not ended, and what has ended.
#[derive(Default)]
pub(super) struct Exits {
    /// Process id and time of the mark, `CLOCK_BOOTTIME` in nanoseconds.
    marked: VecDeque<(u32, u64)>,
    /// Process ids and start times: the last two threads of a process may both say that it ended.
    ended: VecDeque<(u32, u64)>,
}

impl Exits {
    /// A process was marked.
    pub(super) fn mark(&mut self, mark: &Mark) {
        push(&mut self.marked, (mark.task.tgid, mark.header.boot_ns));
    }

    /// A process ended. Nothing where that was told already, or where it is neither a victim nor in a container.
    pub(super) fn tell(&mut self, exit: &Exit, paths: &Paths) -> Option<Told> {
        let identity = (exit.task.tgid, exit.task.start_boottime_ns);
        if self.ended.contains(&identity) {
            return None;
        }
        push(&mut self.ended, identity);
        let marked = self.marked.iter().position(|(tgid, _)| *tgid == exit.task.tgid);
        let marked = marked.and_then(|position| self.marked.remove(position));

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
            signal,
            core_dumped: code.is_some_and(|code| code & CORE_DUMP != 0),
            oom_victim,
            since_mark_ms: marked.map(|(_, at)| milliseconds(exit.header.boot_ns.saturating_sub(at))),
        };
        Some(told(exit.header.boot_ns, Event::ProcessExit(Box::new(event))))
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// To the microsecond, and so exact in a double for 285 years.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a process's death fit 53 bits")]
fn milliseconds(ns: u64) -> f64 {
    (ns / 1_000) as f64 / 1_000.0
}
