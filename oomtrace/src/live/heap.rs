//! The sizes of heaps that containers' processes were started with, read while they run: when one of them gives up at such a
//! limit of its own, it is gone before anybody can look.
//!
//! Of a process's arguments and environment only what sets the size of a heap is kept. The environment of the first process is read
//! in what the runtime was given to start it, too: `/proc` shows another's to who may trace it (`CAP_SYS_PTRACE`).

use std::{
    collections::{HashMap, VecDeque},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    event::Event,
    node::{
        cgroup_path::CgroupIdentity,
        hierarchy::Hierarchy,
        names::{Host, oci},
        processes::Members,
        snapshot::{HEAP_VARIABLES, heap_flags, is_heap_flag},
    },
};

/// A container's program runs so long after its cgroup was made; where a script starts it, so long.
const AFTER: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];
/// Containers whose settings are kept, and those that wait.
const MOST: usize = 4096;
/// Processes of a container that are looked at, and bytes of what each was started with.
const MOST_PROCESSES: usize = 64;
const MOST_BYTES: u64 = 256 * 1024;
/// Containers that are read at once: there may be many at the start.
const MOST_AT_ONCE: usize = 16;
/// Settings of a container.
const MOST_SETTINGS: usize = 16;
/// How deep containers are in the hierarchy.
const DEEPEST: u8 = 8;

/// What is known of heaps, by the path of the container's cgroup.
pub(super) struct Heaps {
    /// By the node's `/proc`, where there is one.
    members: Option<Members>,
    /// The node's files.
    host: Host,
    known: HashMap<String, Vec<String>>,
    oldest: VecDeque<String>,
    waiting: VecDeque<(Instant, String)>,
}

impl Heaps {
    /// With the containers that run already.
    pub(super) fn new(proc: Option<PathBuf>, host: Host, hierarchy: Option<&Hierarchy>) -> Self {
        let members = proc.map(Members::new);
        let mut heaps =
            Self { members, host, known: HashMap::new(), oldest: VecDeque::new(), waiting: VecDeque::new() };
        if let Some(root) = hierarchy.and_then(|hierarchy| hierarchy.folder("/")) {
            heaps.find(&root, "", DEEPEST);
        }
        heaps
    }

    fn find(&mut self, folder: &Path, path: &str, deepest: u8) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let name = entry.file_name();
            let (true, Some(name)) = (is_folder && self.waiting.len() < MOST, name.to_str()) else { continue };
            let path = format!("{path}/{name}");
            if is_container(&path) {
                self.waiting.push_back((Instant::now(), path));
            } else if deepest > 0 {
                self.find(&entry.path(), &path, deepest - 1);
            }
        }
    }

    /// Takes note of a cgroup that was made.
    pub(super) fn made(&mut self, path: &str) {
        let room = self.waiting.len() + AFTER.len() <= MOST;
        if room && is_container(path) {
            let now = Instant::now();
            for after in AFTER {
                let at = now + after;
                let place = self.waiting.partition_point(|(other, _)| *other <= at);
                self.waiting.insert(place, (at, path.to_owned()));
            }
        }
    }

    /// Reads what is due.
    pub(super) fn tick(&mut self, hierarchy: Option<&Hierarchy>) {
        let now = Instant::now();
        for _ in 0..MOST_AT_ONCE {
            if self.waiting.front().is_none_or(|(at, _)| *at > now) {
                return;
            }
            let Some((_, path)) = self.waiting.pop_front() else { return };
            let Some(folder) = hierarchy.and_then(|hierarchy| hierarchy.folder(&path)) else { continue };
            let processes = self.members.as_mut().map(|members| members.of(&folder)).unwrap_or_default();
            let settings = self.of_container(&path, &processes);
            if !settings.is_empty() {
                self.keep(path, settings);
            }
        }
    }

    fn keep(&mut self, path: String, settings: Vec<String>) {
        if self.known.insert(path.clone(), settings).is_some() {
            return;
        }
        self.oldest.push_back(path);
        if self.oldest.len() > MOST
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Adds what is known to the end of a container that gave up, or crashed.
    pub(super) fn pass(&self, event: &mut Event) {
        let Event::ProcessExit(exit) = event else { return };
        let failed = exit.container_exit_code.is_some_and(|code| !matches!(code, 0 | 137 | 143)) && !exit.oom_victim;
        let path = exit.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_ref()).filter(|_| failed);
        if let Some(settings) = path.and_then(|path| self.known.get(path)) {
            exit.heap_settings.clone_from(settings);
        }
    }

    /// What a container's processes were started with.
    fn of_container(&self, path: &str, processes: &[u32]) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for process in processes.iter().take(MOST_PROCESSES) {
            let Some(proc) = self.members.as_ref().map(Members::proc) else { break };
            let folder = proc.join(process.to_string());
            found.extend(settings_of(&read(&folder.join("cmdline")), &read(&folder.join("environ"))));
        }
        let container = CgroupIdentity::parse(path).container().and_then(|container| container.id);
        if let Some(started) = container.and_then(|id| oci::started(&self.host, &id)) {
            found.extend(settings_of(started.args.join("\0").as_bytes(), started.env.join("\0").as_bytes()));
        }
        let mut settings = Vec::new();
        for setting in found {
            if settings.len() < MOST_SETTINGS && !settings.contains(&setting) {
                settings.push(setting);
            }
        }
        settings
    }
}

fn is_container(path: &str) -> bool {
    let identity = CgroupIdentity::parse(path);
    identity.container().is_some() && identity.nested.is_none()
}

fn read(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What could be read of a process that ends meanwhile is all there is.
        let _ = file.take(MOST_BYTES).read_to_end(&mut text);
    }
    text
}

/// The flags and variables of heaps among arguments and variables that end with NUL.
fn settings_of(arguments: &[u8], environment: &[u8]) -> Vec<String> {
    let texts = |bytes: &[u8]| -> Vec<String> {
        bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    };
    let words = texts(arguments);
    let flags = words.iter().flat_map(|word| word.split_whitespace()).filter(|word| is_heap_flag(word));
    let variables = texts(environment);
    let variables = variables.iter().filter_map(|variable| {
        let (name, value) = variable.split_once('=')?;
        heap_flags(HEAP_VARIABLES.iter().find(|known| **known == name)?, value)
    });
    flags.map(str::to_owned).chain(variables).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cgroup, ProcessExit};

    #[test]
    fn of_arguments_and_environment_only_the_sizes_of_heaps_are_kept() {
        let arguments = b"java\0-Dpassword=x\0-Xmx512m\0-jar\0app.jar\0";
        let environment = b"HOME=/root\0JAVA_TOOL_OPTIONS=-Dtoken=y -XX:MaxRAMPercentage=80\0GOMEMLIMIT=1GiB\0";
        assert_eq!(
            settings_of(arguments, environment),
            ["-Xmx512m", "JAVA_TOOL_OPTIONS=-XX:MaxRAMPercentage=80", "GOMEMLIMIT=1GiB"]
        );
        assert!(settings_of(b"", b"").is_empty());
    }

    #[test]
    fn a_container_that_gave_up_has_what_its_processes_were_started_with() {
        let path = format!("/kubepods/burstable/pod3f0e9c1a-5b7d-4c2e-9a61-0d8f7b6c5e4d/{}", "c0ffee55".repeat(8));
        let mut heaps = Heaps::new(None, Host::at(Path::new("/nowhere")), None);
        heaps.made(&path);
        heaps.made("/system.slice/a.service");
        assert_eq!(heaps.waiting.len(), AFTER.len());
        heaps.keep(path.clone(), vec!["-Xmx1g".to_owned()]);
        let settings = |code: u8, path: &str| {
            let cgroup = Some(Cgroup { path: Some(path.to_owned()), ..Cgroup::default() });
            let exit = ProcessExit { cgroup, container_exit_code: Some(code), ..ProcessExit::default() };
            let mut event = Event::ProcessExit(Box::new(exit));
            heaps.pass(&mut event);
            let Event::ProcessExit(exit) = event else { unreachable!() };
            exit.heap_settings
        };
        assert_eq!(settings(134, &path), ["-Xmx1g"]);
        assert!(settings(137, &path).is_empty() && settings(134, "/other").is_empty());
    }
}
