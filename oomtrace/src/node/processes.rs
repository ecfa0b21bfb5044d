//! The memory of processes, by `/proc`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{names::Host, ranking::ProcessUse};

/// A process's memory in bytes, by `/proc/PID/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// `oom_score_adj`.
    pub oom_score_adj: i32,
    /// `oom_score`, the kernel's own, of a node-wide choice.
    pub oom_score: Option<i64>,
    /// The path of its cgroup from the hierarchy's root.
    pub cgroup: Option<String>,
    /// `VmSize`: htop's VIRT.
    pub virtual_bytes: u64,
    /// `RssAnon`.
    pub anon_bytes: u64,
    /// `RssFile`.
    pub file_bytes: u64,
    /// `RssShmem`.
    pub shmem_bytes: u64,
    /// `VmSwap`.
    pub swap_bytes: u64,
    /// `VmPTE`.
    pub page_tables_bytes: u64,
}

impl Process {
    /// Reads a process. `None` where it has gone, or is a thread of the kernel, which has no memory of its own.
    #[must_use]
    pub fn read(proc: &Path, pid: u32) -> Option<Self> {
        let folder = proc.join(pid.to_string());
        let status = String::from_utf8_lossy(&fs::read(folder.join("status")).ok()?).into_owned();
        let number = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<i64>().ok();
        let cgroup = fs::read_to_string(folder.join("cgroup")).ok();
        Some(Self {
            pid,
            oom_score_adj: number("oom_score_adj").and_then(|adj| i32::try_from(adj).ok()).unwrap_or(0),
            oom_score: number("oom_score"),
            cgroup: cgroup.as_deref().and_then(memory_cgroup),
            ..Self::parse(&status)?
        })
    }

    /// What `status` says. `None` without memory.
    fn parse(status: &str) -> Option<Self> {
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let bytes =
            |name: &str| Some(field(name)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.saturating_mul(1024));
        let of = |name: &str| bytes(name).unwrap_or(0);
        bytes("VmRSS")?;
        Some(Self {
            comm: field("Name").unwrap_or_default().to_owned(),
            virtual_bytes: of("VmSize"),
            anon_bytes: of("RssAnon"),
            file_bytes: of("RssFile"),
            shmem_bytes: of("RssShmem"),
            swap_bytes: of("VmSwap"),
            page_tables_bytes: of("VmPTE"),
            ..Self::default()
        })
    }

    /// `VmRSS`: htop's RES.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.anon_bytes.saturating_add(self.shared_bytes())
    }

    /// htop's SHR: what could be shared, whether or not anybody shares it.
    #[must_use]
    pub fn shared_bytes(&self) -> u64 {
        self.file_bytes.saturating_add(self.shmem_bytes)
    }

    /// What the OOM killer weighs it by.
    #[must_use]
    pub fn weighed(&self, page_bytes: u64) -> ProcessUse {
        let page_bytes = page_bytes.max(1);
        ProcessUse {
            rss_pages: self.resident_bytes() / page_bytes,
            swap_pages: self.swap_bytes / page_bytes,
            page_tables_bytes: self.page_tables_bytes,
            oom_score_adj: self.oom_score_adj,
        }
    }
}

/// The memory controller's line of `/proc/PID/cgroup`: `N:memory:/path` on v1, `0::/path` on v2.
fn memory_cgroup(text: &str) -> Option<String> {
    let of = |wanted: fn(&str) -> bool| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            wanted(controllers).then(|| path.to_owned())
        })
    };
    of(|controllers| controllers.split(',').any(|controller| controller == "memory")).or_else(|| of(str::is_empty))
}

/// Every process there is, by their ids.
#[must_use]
pub fn all(proc: &Path) -> Vec<Process> {
    ids(proc).into_iter().filter_map(|pid| Process::read(proc, pid)).collect()
}

/// The ids of all processes, in order.
fn ids(proc: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The processes of cgroups, by the ids that they have in a `/proc`.
///
/// In a pid namespace of its own a process reads 0 in `cgroup.procs` for each process outside. The node's `/proc`, where that is
/// mounted, says of each which cgroup it is in. That is asked for all processes together, and no more often than [`ANEW`].
pub struct Members {
    proc: PathBuf,
    by_name: Option<(Instant, ByName)>,
}

/// Processes by the last part of their cgroup's path, with what is known of the path.
type ByName = HashMap<String, Vec<(String, u32)>>;

/// How long what all processes say of their cgroups holds: thousands of files are read for it.
const ANEW: Duration = Duration::from_secs(1);

impl Members {
    /// By this `/proc`.
    #[must_use]
    pub fn new(proc: PathBuf) -> Self {
        Self { proc, by_name: None }
    }

    /// The `/proc`.
    #[must_use]
    pub fn proc(&self) -> &Path {
        &self.proc
    }

    /// The processes of one cgroup, by its folder.
    pub fn of(&mut self, folder: &Path) -> Vec<u32> {
        let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        let ids: Vec<u32> = procs.lines().filter_map(|pid| pid.parse().ok()).collect();
        if !ids.contains(&0) {
            return ids;
        }
        let (Some(name), Some(path)) = (folder.file_name().and_then(|name| name.to_str()), folder.to_str()) else {
            return Vec::new();
        };
        if self.by_name.as_ref().is_none_or(|(read, _)| read.elapsed() >= ANEW) {
            self.by_name = Some((Instant::now(), by_name(&self.proc)));
        }
        let found = self.by_name.as_ref().and_then(|(_, by_name)| by_name.get(name));
        let is_here = |(known, _): &&(String, u32)| {
            path.strip_suffix(known.as_str()).is_some_and(|above| above.is_empty() || above.ends_with('/'))
        };
        found.into_iter().flatten().filter(is_here).map(|(_, pid)| *pid).collect()
    }
}

/// Each process by the last part of its cgroup's path. In a cgroup namespace of its own the path is from there on, such as
/// `/../../kubepods/x`: what is behind the dots is the end of the whole path.
fn by_name(proc: &Path) -> ByName {
    let mut found = ByName::new();
    for pid in ids(proc) {
        let Ok(text) = fs::read_to_string(proc.join(pid.to_string()).join("cgroup")) else { continue };
        let Some(path) = memory_cgroup(&text) else { continue };
        let known = path.split('/').filter(|part| !matches!(*part, "" | "..")).collect::<Vec<_>>().join("/");
        if let Some(name) = known.rsplit('/').next().filter(|name| !name.is_empty()) {
            found.entry(name.to_owned()).or_default().push((known.clone(), pid));
        }
    }
    found
}

/// The processes in a cgroup and all below it: which, by their ids in this `/proc`, and the path of the cgroup of each.
#[must_use]
pub fn in_cgroup(proc: &Path, folder: &Path, path: &str) -> Vec<(u32, String)> {
    let (mut found, mut members) = (Vec::new(), Members::new(proc.to_owned()));
    let mut left: Vec<(PathBuf, String)> = vec![(folder.to_owned(), path.to_owned())];
    while let Some((folder, path)) = left.pop() {
        found.extend(members.of(&folder).into_iter().map(|pid| (pid, path.clone())));
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                left.push((entry.path(), format!("{}/{name}", path.trim_end_matches('/'))));
            }
        }
    }
    found.sort_unstable();
    found
}

/// The node's `/proc`, in which process ids are the kernel's: this system's own in the node's first pid namespace, else one that
/// is mounted below the root folder. The kernel's own threads are in no other: the second process is `kthreadd`
/// (`rest_init`, `init/main.c`).
#[must_use]
pub fn of_node(host: &Host) -> Option<PathBuf> {
    if super::sees_all_processes() == Some(true) {
        return Some(PathBuf::from("/proc"));
    }
    let proc = host.path("/proc");
    let is_nodes = fs::read(proc.join("2/comm")).is_ok_and(|comm| comm == b"kthreadd\n");
    is_nodes.then_some(proc)
}

/// A process's memory by who else maps it, in bytes: `/proc/PID/smaps_rollup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rollup {
    /// `Rss`.
    pub rss_bytes: u64,
    /// `Pss`: each page divided by how many map it.
    pub pss_bytes: u64,
    /// USS: `Private_Clean` and `Private_Dirty`, what nobody else maps.
    pub uss_bytes: u64,
    /// `Swap`.
    pub swap_bytes: u64,
}

impl Rollup {
    /// Reads it. The kernel walks the process's page tables for it: a millisecond for each 30 MB.
    ///
    /// # Errors
    ///
    /// Fails where it may not be read, or the process has gone.
    pub fn read(proc: &Path, pid: u32) -> Result<Self, String> {
        let path = proc.join(pid.to_string()).join("smaps_rollup");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let bytes = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value
                .and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
                .unwrap_or(0)
                .saturating_mul(1024)
        };
        Self {
            rss_bytes: bytes("Rss"),
            pss_bytes: bytes("Pss"),
            uss_bytes: bytes("Private_Clean").saturating_add(bytes("Private_Dirty")),
            swap_bytes: bytes("Swap"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::ranking::oom_score;

    #[test]
    fn a_process_of_the_articles_is_resident_with_what_is_anonymous_and_of_files() {
        let status = "Name:\tdotnet\nVmSize:\t172181696 kB\nVmRSS:\t 2105252 kB\nRssAnon:\t 2080024 kB\nRssFile:\t   25228 kB\n\
                      RssShmem:\t       0 kB\nVmPTE:\t 9620 kB\nVmSwap:\t 0 kB\n";
        let process = Process::parse(status).expect("a process");
        assert_eq!(process.resident_bytes(), 2_105_252 << 10);
        assert_eq!((process.shared_bytes(), process.page_tables_bytes), (25_228 << 10, 9620 << 10));
        assert!(Process::parse("Name:\tkthreadd\n").is_none());
    }

    #[test]
    fn the_cgroup_is_the_memory_controllers_on_v1_and_the_only_one_on_v2() {
        assert_eq!(memory_cgroup("0::/a/b\n").as_deref(), Some("/a/b"));
        assert_eq!(memory_cgroup("5:cpu,cpuacct:/c\n4:memory:/m\n0::/x\n").as_deref(), Some("/m"));
    }

    #[test]
    fn a_cgroups_processes_are_found_where_cgroup_procs_does_not_name_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let cgroups = folder.path().join("cgroup");
        for (path, procs) in [("kubepods/pod1/a", "0\n0\n"), ("kubepods/pod1/b", "0\n"), ("kubepods/pod2/a", "9\n")] {
            fs::create_dir_all(cgroups.join(path)).expect("folders");
            fs::write(cgroups.join(path).join("cgroup.procs"), procs).expect("written");
        }
        let proc = folder.path().join("proc");
        for (pid, cgroup) in [(7, "0::/../../pod1/a"), (8, "0::/../../pod1/b"), (9, "0::/../a"), (10, "0::/../../../a")]
        {
            fs::create_dir_all(proc.join(pid.to_string())).expect("folders");
            fs::write(proc.join(pid.to_string()).join("cgroup"), format!("{cgroup}\n")).expect("written");
        }
        let found = in_cgroup(&proc, &cgroups.join("kubepods/pod1"), "/kubepods/pod1");
        let of_b = (8, "/kubepods/pod1/b".to_owned());
        assert!(found.contains(&(7, "/kubepods/pod1/a".to_owned())) && found.contains(&of_b), "{found:?}");
        assert_eq!(Members::new(proc).of(&cgroups.join("kubepods/pod2/a")), [9]);
    }

    #[test]
    fn pss_and_uss_are_read_from_the_rollup() {
        let rollup = Rollup::parse(
            "00-7f [rollup]\nRss: 100 kB\nPss: 60 kB\nPss_Dirty: 5 kB\nPrivate_Clean: 10 kB\nPrivate_Dirty: 30 kB\nSwap: 0 kB\n",
        );
        assert_eq!((rollup.rss_bytes, rollup.pss_bytes, rollup.uss_bytes), (100 << 10, 60 << 10, 40 << 10));
    }

    #[test]
    fn the_points_of_this_process_are_those_of_the_kernel() {
        let proc = Path::new("/proc");
        let meminfo = crate::node::cgroup_files::NodeMemory::read(proc).expect("meminfo");
        let page = rustix::param::page_size() as u64;
        let pages = (meminfo.total_bytes.unwrap_or(0) + meminfo.swap_total_bytes.unwrap_or(0)) / page;
        let own = Process::read(proc, std::process::id()).expect("this process");
        let score = oom_score(own.weighed(page).points(pages, page), pages);
        let difference = (score - own.oom_score.expect("a score")).abs();
        // It grows while it is read.
        assert!(difference <= 2, "{score} is not {:?}", own.oom_score);
    }
}
