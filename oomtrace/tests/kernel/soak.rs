//! A soak: random deaths and non-deaths at random rates beside restarts, steps of the clock, log rotation and a reader that does not
//! read, with a list of what truly happened. `cargo xtask soak` runs it in a guest of its own.
//!
//! Standard output is a pipe that nobody empties, so that the reader there is as slow as one can be; what is compared is the file of
//! `--output`, which outlives each run.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    clocks::set_by,
    oomtrace::{Oomtrace, of_kind, validated},
    workload,
};

/// The first argument of a soak, before its seconds and its seed.
const MARK: &str = "--soak";
/// What oomtrace keeps and writes, and the list of what happened. A guest hands it to the host.
const FOLDER: &str = "/out/soak";
/// By then a start has reported what was killed before it.
const SETTLED: Duration = Duration::from_secs(4);
/// A container that is killed again and again is one of the first so many.
const CRASHING: u32 = 4;

/// Runs a soak, where that is what the arguments ask for.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let arguments: Vec<String> = env::args().collect();
    let [mark, seconds, seed] = arguments.get(1..)? else { return None };
    if mark != MARK {
        return None;
    }
    let run = || {
        let soak = Soak::start(seed.parse().context("the seed is a number")?)?;
        soak.run(Duration::from_secs(seconds.parse().context("the time is in seconds")?))
    };
    Some(run().map_or_else(
        |error| {
            println!("error: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    ))
}

/// Numbers that are the same for the same seed (xorshift64).
struct Random(u64);

impl Random {
    /// One below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most))
    }
}

/// What oomtrace uses, read now and then.
#[derive(Clone, Debug)]
struct Usage {
    resident_kib: u64,
    /// How many descriptors are open, by what they are of: a path without its folders and digits.
    descriptors: BTreeMap<String, usize>,
}

impl Usage {
    fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let mut descriptors = BTreeMap::new();
        for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // One may have been closed since it was listed.
            let Ok(target) = fs::read_link(descriptor?.path()) else { continue };
            let name =
                target.file_name().unwrap_or_default().to_string_lossy().replace(|c: char| c.is_ascii_digit(), "");
            *descriptors.entry(name).or_default() += 1;
        }
        Ok(Self { resident_kib: resident.trim().trim_end_matches(" kB").parse()?, descriptors })
    }

    fn has_grown_since(&self, first: &Self) -> bool {
        let all = |usage: &Self| usage.descriptors.values().sum::<usize>();
        all(self) > all(first) + 4 || self.resident_kib > first.resident_kib + (16 << 10)
    }
}

struct Soak {
    random: Random,
    folder: PathBuf,
    oomtrace: Option<Oomtrace>,
    /// The processes that were killed for memory, by their containers' cgroups.
    killed: BTreeMap<String, Vec<u64>>,
    /// Containers that are killed again and again.
    crashing: Vec<Container>,
    containers: u32,
    /// How often each thing was done.
    done: BTreeMap<&'static str, u64>,
    /// How far the clock was set in all, seconds.
    clock: i64,
    rotated: u32,
    /// Of each run of oomtrace the first and the last.
    usage: Vec<(Usage, Usage)>,
    /// Whether this run was looked at.
    seen: bool,
}

impl Soak {
    fn start(seed: u64) -> Result<Self> {
        let folder = PathBuf::from(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("{FOLDER} cannot be made"))?;
        let crashing = (0..CRASHING).map(|number| Container::make(1000 + number)).collect::<Result<_>>()?;
        let mut soak = Self {
            random: Random(seed | 1),
            folder,
            oomtrace: None,
            killed: BTreeMap::new(),
            crashing,
            containers: 2000,
            done: BTreeMap::new(),
            clock: 0,
            rotated: 0,
            usage: Vec::new(),
            seen: false,
        };
        soak.start_oomtrace()?;
        Ok(soak)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn start_oomtrace(&mut self) -> Outcome {
        let (state, output) = (self.path("state"), format!("jsonl:{}", self.path("lines.jsonl")));
        let arguments = ["--state-dir", &state, "--output", "jsonl", "--output", &output, "--output-rotate-size", "0"];
        self.oomtrace = Some(Oomtrace::start_as(&arguments, |_| {})?);
        self.seen = false;
        Ok(())
    }

    fn run(mut self, time: Duration) -> Outcome {
        let started = Instant::now();
        let mut said = Instant::now();
        while started.elapsed() < time {
            self.step()?;
            if said.elapsed() > Duration::from_secs(30) {
                said = Instant::now();
                self.look()?;
                let kills: usize = self.killed.values().map(Vec::len).sum();
                println!("{} s: {kills} kills, {:?}", started.elapsed().as_secs(), self.done);
            }
        }
        thread::sleep(SETTLED);
        self.look()?;
        set_by(-self.clock)?;
        self.oomtrace.take().context("it runs")?.stop()?;
        self.compare()
    }

    /// Does something, and then waits a little, or not.
    fn step(&mut self) -> Outcome {
        let what = match self.random.below(100) {
            0..35 => {
                let container = self.new_container()?;
                for _ in 0..=self.random.below(3) {
                    self.kill(&container)?;
                }
                "kills in a new container"
            }
            35..55 => {
                let number = usize::try_from(self.random.below(u64::from(CRASHING)))?;
                let container = self.crashing.swap_remove(number);
                let killed = self.kill(&container);
                self.crashing.push(container);
                killed?;
                "kills in a crash loop"
            }
            55..65 => {
                // Killed by somebody, and not for its memory.
                let container = self.new_container()?;
                let mut child = workload::start("hold-4", &container.cgroup()?.procs())?;
                thread::sleep(self.random.millis(300));
                child.kill()?;
                child.wait()?;
                "SIGKILLs by a process"
            }
            65..70 => {
                let container = self.new_container()?;
                let ended = workload::start("fail", &container.cgroup()?.procs())?.wait()?;
                ensure!(ended.code() == Some(3), "a process that fails ended with {ended}");
                "failures"
            }
            70..75 => {
                let container = self.new_container()?;
                let ended = workload::start("churn", &container.cgroup()?.procs())?.wait()?;
                ensure!(ended.success(), "a process that only reclaims ended with {ended}");
                "reclaims at the limit"
            }
            75..83 => {
                let oomtrace = self.oomtrace.as_ref().context("it runs")?;
                oomtrace.signal(libc::SIGSTOP)?;
                let container = self.new_container()?;
                let kills = (0..=self.random.below(8)).try_for_each(|_| self.kill(&container));
                self.oomtrace.as_ref().context("it runs")?.signal(libc::SIGCONT)?;
                kills?;
                "times that oomtrace was stopped"
            }
            83..89 => {
                self.rotated += 1;
                let aside = self.path(&format!("lines.jsonl.{}", self.rotated));
                fs::rename(self.path("lines.jsonl"), aside)?;
                self.oomtrace.as_ref().context("it runs")?.signal(libc::SIGHUP)?;
                "rotations"
            }
            89..93 => {
                let by = i64::try_from(self.random.below(7200))? - 3600;
                set_by(by)?;
                self.clock += by;
                "steps of the clock"
            }
            93..97 => {
                // As the kernel ends it: whatever it is doing.
                drop(self.oomtrace.take());
                self.kill_while_away()?;
                "restarts after SIGKILL"
            }
            _ => {
                self.oomtrace.take().context("it runs")?.stop()?;
                self.kill_while_away()?;
                "restarts"
            }
        };
        *self.done.entry(what).or_default() += 1;
        if self.random.below(3) > 0 {
            let pause = self.random.millis(1500);
            thread::sleep(pause);
        }
        Ok(())
    }

    fn kill_while_away(&mut self) -> Outcome {
        let container = self.new_container()?;
        for _ in 0..self.random.below(4) {
            self.kill(&container)?;
        }
        self.start_oomtrace()
    }

    fn new_container(&mut self) -> Result<Container> {
        self.containers += 1;
        Container::make(self.containers)
    }

    /// Has a process killed for its memory.
    fn kill(&mut self, container: &Container) -> Outcome {
        let mut child = workload::start("eat", &container.cgroup()?.procs())?;
        let pid = u64::from(child.id());
        let ended = child.wait()?;
        ensure!(!ended.success(), "a process that takes all memory ended with {ended}");
        self.killed.entry(container.cgroup()?.path.clone()).or_default().push(pid);
        Ok(())
    }

    /// Reads what oomtrace uses.
    fn look(&mut self) -> Outcome {
        let pid = self.oomtrace.as_ref().context("it runs")?.pid();
        let now = Usage::of(pid)?;
        match self.usage.last_mut() {
            Some((_, last)) if self.seen => *last = now,
            _ => self.usage.push((now.clone(), now)),
        }
        self.seen = true;
        Ok(())
    }

    /// Compares what was reported with what happened.
    fn compare(&self) -> Outcome {
        let lines = self.lines()?;
        let mut wrong = Vec::new();
        let mut reported: BTreeMap<(&str, u64), u64> = BTreeMap::new();
        // Of a kill in a restart there may be nothing but its last line: the kernel's log lost the report.
        let mut without_report: BTreeMap<u64, u64> = BTreeMap::new();
        for kill in once(&lines, "oom_kill") {
            let pid = kill["victim"]["pid"].as_u64().unwrap_or_default();
            let Some(path) = kill["cgroup"]["path"].as_str() else {
                if kill["source"] == "kmsg" {
                    *without_report.entry(pid).or_default() += 1;
                } else {
                    wrong.push(format!("the kill of {pid} has no cgroup: {kill}"));
                }
                continue;
            };
            *reported.entry((path, pid)).or_default() += 1;
            let of_path = path.rsplit('/').next().unwrap_or_default();
            if kill["container"]["id"] != of_path {
                wrong.push(format!("the container of the kill of {pid} in {path} is {}", kill["container"]));
            }
        }
        let happened = |path: &str, pid| self.killed.get(path).is_some_and(|pids| pids.contains(&pid));
        let false_kills = reported.keys().filter(|(path, pid)| !happened(path, *pid));
        wrong.extend(false_kills.map(|(path, pid)| format!("a kill of {pid} in {path} that never was")));
        let (mut missing, mut twice, mut kills) = (0, 0, 0);
        let mut unplaced: BTreeMap<&str, i64> = BTreeMap::new();
        for (path, pids) in &self.killed {
            for pid in pids {
                kills += 1;
                match reported.get(&(path.as_str(), *pid)) {
                    None if without_report.get(pid).is_some_and(|left| *left > 0) => {
                        without_report.entry(*pid).and_modify(|left| *left -= 1);
                        *unplaced.entry(path).or_default() += 1;
                    }
                    None => missing += 1,
                    Some(1) => {}
                    Some(times) => {
                        twice += 1;
                        wrong.push(format!("the kill of {pid} in {path} is reported {times} times"));
                    }
                }
            }
        }
        let never = without_report.iter().filter(|(_, left)| **left > 0);
        wrong.extend(never.map(|(pid, _)| format!("a kill of {pid} without a cgroup that never was")));
        let lost: u64 = of_kind(&lines, "lost")
            .iter()
            .filter(|lost| is_of_kills(lost))
            .filter_map(|lost| lost["count"].as_u64())
            .sum();
        if missing > lost {
            wrong.push(format!("{missing} kills are missing, and {lost} are reported as lost"));
        }
        let mut in_incidents: BTreeMap<&str, i64> = BTreeMap::new();
        let mut open: BTreeMap<&str, &Value> = BTreeMap::new();
        for incident in once(&lines, "incident") {
            let container = incident["container"]["id"].as_str().unwrap_or_default();
            *in_incidents.entry(container).or_default() += incident["kills_new"].as_i64().unwrap_or_default();
            open.insert(incident["id"].as_str().unwrap_or_default(), incident);
        }
        for (path, pids) in &self.killed {
            let container = path.rsplit('/').next().unwrap_or_default();
            let counted = in_incidents.remove(container).unwrap_or_default();
            let placed = i64::try_from(pids.len())? - unplaced.get(path.as_str()).copied().unwrap_or_default();
            if counted != placed {
                wrong.push(format!("incidents of {path} count {counted} kills, and there were {placed}"));
            }
        }
        let unplaced: i64 = unplaced.values().sum();
        let counted = in_incidents.remove("").unwrap_or_default();
        if counted != unplaced {
            wrong.push(format!("incidents without a container count {counted} kills, and there were {unplaced}"));
        }
        wrong.extend(in_incidents.iter().filter(|(_, kills)| **kills != 0).map(|(container, kills)| {
            format!("incidents of {container:?}, where nobody was killed for memory, count {kills} kills")
        }));
        wrong.extend(
            open.iter()
                .filter(|(_, last)| last["state"] != "closed")
                .map(|(id, _)| format!("the incident {id} is not closed")),
        );
        let grown = self.usage.iter().filter(|(first, last)| last.has_grown_since(first));
        wrong.extend(grown.map(|(first, last)| format!("oomtrace's use grew from {first:?} to {last:?}")));
        let most = self.usage.iter().map(|(_, last)| last.resident_kib).max().unwrap_or_default();
        println!("done: {:?}", self.done);
        println!(
            "kills {kills}, reported {}, of them without a container {unplaced}; missing {missing}, reported as lost {lost}, \
             twice {twice}; incidents {}; resident at most {} MiB",
            kills - missing,
            open.len(),
            most >> 10,
        );
        if wrong.is_empty() {
            return Ok(());
        }
        bail!("{} things are wrong:\n{}", wrong.len(), wrong.join("\n"))
    }

    /// All lines that were written to files, in their order.
    fn lines(&self) -> Result<Vec<Value>> {
        let aside = (1..=self.rotated).map(|number| format!("lines.jsonl.{number}"));
        let mut lines = Vec::new();
        for name in aside.chain(["lines.jsonl".to_owned()]) {
            let path = self.path(&name);
            if !Path::new(&path).exists() {
                continue;
            }
            for line in fs::read_to_string(&path).with_context(|| path.clone())?.lines() {
                lines.push(validated(line)?);
            }
        }
        Ok(lines)
    }
}

/// The lines of a kind, each once: what was reported just before oomtrace was killed is reported once more.
fn once<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let mut seen = BTreeSet::new();
    let name = |line: &Value| match kind {
        "incident" => format!("{} {}", line["id"], line["revision"]),
        _ => format!("{} {}", line["ts"], line["seq"]),
    };
    of_kind(lines, kind).into_iter().filter(|line| seen.insert(name(line))).collect()
}

/// Whether kills may be among what was lost: standard output is not read on purpose.
fn is_of_kills(lost: &Value) -> bool {
    lost["from"] != "stdout" && lost["from"] != "program"
}

/// The only container of a pod, with a limit of a few MiB; both go when dropped, as the kubelet removes them.
struct Container {
    cgroup: Option<Cgroup>,
    pod: PathBuf,
}

impl Container {
    fn make(number: u32) -> Result<Self> {
        let cgroup = Cgroup::make(&container_path(number, number))?;
        cgroup.limit(8)?;
        let pod = cgroup.folder().parent().context("a container is in a pod")?.to_owned();
        Ok(Self { cgroup: Some(cgroup), pod })
    }

    fn cgroup(&self) -> Result<&Cgroup> {
        self.cgroup.as_ref().context("it is there until it is dropped")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.cgroup.take());
        let _ = fs::remove_dir(&self.pod);
    }
}
