//! What `/proc` still knows of a victim when its kill is logged.
//!
//! The kernel's rate limit leaves out reports, not kills. So a kill without a report names a process, and no cgroup; but
//! its line is read within milliseconds, while the victim still has to die, and `/proc` tells where it is.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    event::{Cgroup, Event, Limit, OomKill, Task},
    node::{cgroup_path::CgroupIdentity, hierarchy::Hierarchy},
};

/// How many victims are remembered until their kill is reported.
const REMEMBERED: usize = 1024;
const KILLED: &[u8] = b"Killed process ";

/// A process as `/proc` shows it.
struct Process {
    pid: u32,
    comm: String,
    tgid: Option<u32>,
    container_init: Option<bool>,
    cgroup: Option<String>,
}

/// Victims, as they were when their kill was logged.
pub(super) struct Processes {
    known: VecDeque<Process>,
    /// The node's `/proc`: in any other the kernel's numbers mean other processes.
    proc: Option<PathBuf>,
}

impl Processes {
    pub(super) fn new(proc: Option<PathBuf>) -> Self {
        Self { known: VecDeque::new(), proc }
    }

    /// Looks the victim up, where this record is of a kill.
    pub(super) fn look_at(&mut self, record: &[u8]) {
        let Some(proc) = &self.proc else { return };
        let Some(process) = killed_pid(record).and_then(|pid| Process::read(proc, pid)) else { return };
        self.known.retain(|known| known.pid != process.pid);
        if self.known.len() == REMEMBERED {
            self.known.pop_front();
        }
        self.known.push_back(process);
    }

    /// Fills in what a kill's, a mark's or a reaper's line does not tell.
    pub(super) fn complete(&self, event: &mut Event) {
        match event {
            Event::OomKill(kill) => {
                let OomKill { victim, cgroup, pod, container, members, .. } = &mut **kill;
                self.fill(&mut victim.task, Some(cgroup));
                (*pod, *container) = (victim.task.pod.clone(), victim.task.container.clone());
                for member in members {
                    self.fill(member, None);
                }
            }
            Event::OomVictim(victim) => {
                self.fill(&mut victim.task, Some(&mut victim.cgroup));
                (victim.pod, victim.container) = (victim.task.pod.clone(), victim.task.container.clone());
            }
            Event::OomReaped(reaped) => {
                self.fill(&mut reaped.task, Some(&mut reaped.cgroup));
                (reaped.pod, reaped.container) = (reaped.task.pod.clone(), reaped.task.container.clone());
            }
            _ => {}
        }
    }

    fn fill(&self, task: &mut Task, cgroup: Option<&mut Option<Cgroup>>) {
        let known = self.known.iter().find(|known| Some(known.pid) == task.pid);
        // A process of the same id and another name is another one.
        let Some(known) = known.filter(|known| Some(&known.comm) == task.comm.as_ref()) else { return };
        task.tgid = task.tgid.or(known.tgid);
        task.container_init = task.container_init.or(known.container_init);
        let Some(path) = &known.cgroup else { return };
        let identity = CgroupIdentity::parse(path);
        if task.pod.is_none() && task.container.is_none() {
            (task.pod, task.container) = (identity.pod(), identity.container());
        }
        if let Some(cgroup @ None) = cgroup {
            *cgroup = Some(Cgroup { path: Some(path.clone()), id: None, unit: identity.unit });
        }
    }
}

/// The ids of cgroups whose paths are known, as far as they are still there.
pub(super) fn fill_ids(event: &mut Event, hierarchy: &Hierarchy) {
    let fill = |cgroup: &mut Option<Cgroup>, task: &mut Task| {
        let Some(cgroup) = cgroup else { return };
        cgroup.id = cgroup.id.or_else(|| hierarchy.id(cgroup.path.as_deref()?));
        task.cgroup_id = task.cgroup_id.or(cgroup.id);
    };
    match event {
        Event::OomKill(kill) | Event::OomDecision(kill) => {
            fill(&mut kill.cgroup, &mut kill.victim.task);
            if let Some(Limit { cgroup: Some(path), cgroup_id, .. }) = &mut kill.limit {
                *cgroup_id = cgroup_id.or_else(|| hierarchy.id(path));
            }
        }
        Event::OomVictim(victim) => fill(&mut victim.cgroup, &mut victim.task),
        Event::OomReaped(reaped) => fill(&mut reaped.cgroup, &mut reaped.task),
        _ => {}
    }
}

/// The number behind the first `Killed process`, which is the kernel's: a name comes later in the line.
fn killed_pid(record: &[u8]) -> Option<u32> {
    let at = record.windows(KILLED.len()).position(|window| window == KILLED)? + KILLED.len();
    let digits = record[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&record[at..at + digits]).ok()?.parse().ok()
}

impl Process {
    fn read(proc: &Path, pid: u32) -> Option<Self> {
        let folder = proc.join(pid.to_string());
        let status = fs::read(folder.join("status")).ok()?;
        let comm = fs::read(folder.join("comm")).ok()?;
        let cgroups = fs::read(folder.join("cgroup")).unwrap_or_default();
        Some(Self::parse(pid, &status, &comm, &cgroups))
    }

    fn parse(pid: u32, status: &[u8], comm: &[u8], cgroups: &[u8]) -> Self {
        let (status, cgroups) = (String::from_utf8_lossy(status), String::from_utf8_lossy(cgroups));
        // The name is the first line, with its line ends escaped.
        let field = |name: &str| status.lines().skip(1).find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        // A number for each pid namespace, this one's first: with one alone the process is not in a container's.
        let numbers: Vec<_> = field("NStgid").unwrap_or_default().split_ascii_whitespace().collect();
        Self {
            pid,
            comm: String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(comm)).into_owned(),
            tgid: field("Tgid").and_then(|tgid| tgid.trim().parse().ok()),
            container_init: (numbers.len() > 1).then(|| numbers.last() == Some(&"1")),
            cgroup: memory_cgroup(&cgroups).map(ToOwned::to_owned),
        }
    }
}

/// `5:memory:/path` on cgroup v1, else `0::/path`: `proc_cgroup_show`, `kernel/cgroup/cgroup.c`. On v1 it says `/` of
/// every task that is exiting, wherever it was: that is not known.
fn memory_cgroup(text: &str) -> Option<&str> {
    let of = |controller: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            controllers.split(',').any(|known| known == controller).then(|| fields.next())?
        })
    };
    let path = of("memory").map_or_else(|| of(""), |path| Some(path).filter(|path| *path != "/"))?;
    Some(path.strip_suffix(" (deleted)").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Observation,
        source::kernel_log::{Clock, Events, Machine},
    };

    #[test]
    fn a_kill_without_a_report_is_placed_by_what_proc_still_knows() {
        let container = "a".repeat(64);
        let path = format!("/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/{container}");
        let status = b"Name:\tjava\nUmask:\t0022\nTgid:\t7\nNStgid:\t7\t1\nNSpid:\t9\t3\n";
        let process = Process::parse(9, status, b"java\n", format!("0::{path}\n").as_bytes());
        let processes = Processes { known: [process].into(), proc: None };

        let kill = |comm: &str| {
            let line = format!(
                "[1.0] Memory cgroup out of memory: Killed process 9 ({comm}) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
            );
            let mut events = Events::new(Clock::default(), Machine::default());
            events.push_line(line.as_bytes());
            let mut reported = events.finish();
            for Observation { event, .. } in &mut reported {
                processes.complete(event);
            }
            reported
                .into_iter()
                .find_map(|reported| if let Event::OomKill(kill) = reported.event { Some(*kill) } else { None })
        };
        let placed = kill("java").expect("a kill");
        assert_eq!(placed.cgroup.and_then(|cgroup| cgroup.path), Some(path));
        assert_eq!(placed.container.and_then(|known| known.id).map(|id| id.to_string()), Some(container));
        assert_eq!((placed.victim.task.tgid, placed.victim.task.container_init), (Some(7), Some(true)));
        let of_another = kill("perl").expect("a kill");
        assert!(of_another.cgroup.is_none() && of_another.victim.task.tgid.is_none());
    }

    #[test]
    fn the_victims_number_is_the_kernels_and_not_one_in_a_name() {
        let record = b"4,1,2,-;Out of memory: Killed process 12 (Killed process ) total-vm:1kB";
        assert_eq!(killed_pid(record), Some(12));
        assert_eq!(killed_pid(b"6,1,2,-;Killed process "), None);
        assert_eq!(killed_pid(b"6,1,2,-;hello"), None);
    }

    #[test]
    fn the_memory_controllers_cgroup_counts_on_either_version() {
        assert_eq!(memory_cgroup("12:cpu,cpuacct:/a\n5:memory:/b:c\n0::/d\n"), Some("/b:c"));
        assert_eq!(memory_cgroup("0::/d (deleted)\n"), Some("/d"));
        assert_eq!(memory_cgroup("5:memory:/\n0::/d\n"), None);
        assert_eq!(memory_cgroup("1:name=systemd:/x\n"), None);
    }

    #[test]
    fn this_process_is_known_to_proc() {
        let process = Process::read(Path::new("/proc"), std::process::id()).expect("itself");
        assert_eq!(process.tgid, Some(std::process::id()));
        assert!(!process.comm.is_empty());
    }
}
