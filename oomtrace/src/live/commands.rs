//! What the processes of a cgroup were started as, read while its charges begin to fail: a victim that the kernel chose for another
//! one's allocation may have let go of its memory by the time anybody looks.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use oomtrace_common::record::COMMAND_LINE_LEN;

use crate::{
    event::{ChargeFailures, ChargeState, Event},
    node::{hierarchy::Hierarchy, processes::Members},
    source::kernel::command_line,
};

/// How many processes of a cgroup are looked at, and how many are kept of all.
const MOST: (usize, usize) = (64, 1024);
/// A process's id may be another one's by then.
const KEPT: Duration = Duration::from_mins(1);

/// What processes were started as, by their ids, and when that was read.
pub(super) struct Commands {
    members: Members,
    known: HashMap<u32, (Instant, String)>,
    read: VecDeque<(Instant, u32)>,
}

impl Commands {
    /// By the node's `/proc`.
    pub(super) fn new(proc: PathBuf) -> Self {
        Self { members: Members::new(proc), known: HashMap::new(), read: VecDeque::new() }
    }

    /// Reads what an event makes worth reading, and adds what a kill's victim was started as where the kernel did not.
    pub(super) fn pass(&mut self, event: &mut Event, hierarchy: Option<&Hierarchy>) {
        match event {
            Event::ChargeFailures(failures) if failures.state == ChargeState::Began => self.read(failures, hierarchy),
            Event::OomKill(kill) if kill.victim.command_line.is_none() => {
                let victim = &kill.victim.task;
                if let Some(process) = victim.tgid.or(victim.pid) {
                    kill.victim.command_line = of(self.members.proc(), process).or_else(|| self.recent(process));
                }
            }
            _ => {}
        }
    }

    fn recent(&self, process: u32) -> Option<String> {
        let (read, line) = self.known.get(&process)?;
        (read.elapsed() < KEPT).then(|| line.clone())
    }

    fn read(&mut self, failures: &ChargeFailures, hierarchy: Option<&Hierarchy>) {
        let path = failures.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref());
        let Some(folder) = hierarchy.zip(path).and_then(|(hierarchy, path)| hierarchy.folder(path)) else { return };
        let now = Instant::now();
        while let Some((read, process)) = self.read.front().copied()
            && (now.duration_since(read) >= KEPT || self.read.len() >= MOST.1)
        {
            self.read.pop_front();
            self.known.remove(&process);
        }
        // A pod's processes are in its containers.
        let below = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        let folders = std::iter::once(folder.clone()).chain(below.filter(|path| path.is_dir()));
        let processes: Vec<u32> = folders.flat_map(|folder| self.members.of(&folder)).take(MOST.0).collect();
        for process in processes {
            if let Some(line) = of(self.members.proc(), process) {
                self.known.insert(process, (now, line));
                self.read.push_back((now, process));
            }
        }
    }
}

/// What a process was started as, while it has its memory.
fn of(proc: &Path, process: u32) -> Option<String> {
    let file = fs::File::open(proc.join(process.to_string()).join("cmdline")).ok()?;
    let mut text = Vec::new();
    file.take(COMMAND_LINE_LEN as u64).read_to_end(&mut text).ok()?;
    command_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{OomKill, Task, Victim};

    #[test]
    fn a_kill_gets_what_its_victim_was_started_as_unless_the_kernel_read_it() {
        let mut commands = Commands {
            members: Members::new(PathBuf::from("/proc")),
            known: HashMap::from([(u32::MAX, (Instant::now(), "java -jar app.jar".to_owned()))]),
            read: VecDeque::new(),
        };
        let mut command_line_of = |process: u32, by_kernel: Option<&str>| {
            let task = Task { tgid: Some(process), ..Task::default() };
            let victim = Victim { task, command_line: by_kernel.map(ToOwned::to_owned), ..Victim::default() };
            let mut event = Event::OomKill(Box::new(OomKill { victim, ..OomKill::default() }));
            commands.pass(&mut event, None);
            match event {
                Event::OomKill(kill) => kill.victim.command_line,
                other => unreachable!("{other:?}"),
            }
        };
        assert_eq!(command_line_of(u32::MAX, None).as_deref(), Some("java -jar app.jar"));
        assert_eq!(command_line_of(u32::MAX, Some("python x.py")).as_deref(), Some("python x.py"));
        assert_eq!(command_line_of(u32::MAX - 1, None), None);
        let own = std::env::args().next().expect("a program");
        assert!(command_line_of(std::process::id(), None).is_some_and(|line| line.starts_with(&own)));
    }
}
