//! What is reported live, and what the replay of its recording gives.

use std::{collections::BTreeMap, fs, io::Write as _, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path, uid},
    check_eq,
    oomtrace::{Oomtrace, of_kind, wait_until},
    scenarios::Scenario,
    workload,
};

pub(crate) const ALL: &[Scenario] =
    &[("replay_of_a_recording_gives_the_incidents_that_were_reported_live", a_recording_is_replayed)];

const RECORD: &str = "/tmp/replay.jsonl";
const KUBELET: &str = "/tmp/replay-kubelet.log";

fn a_recording_is_replayed() -> Outcome {
    fs::write(KUBELET, "")?;
    let oomtrace = Oomtrace::start(&["--record", RECORD, "--kubelet-log", KUBELET])?;
    // A crash loop, a child that is killed alone, a crash, and a kill by a process.
    for (pod, container, what) in
        [(31, 41, "eat"), (31, 42, "eat"), (32, 43, "parent"), (33, 44, "fault"), (34, 45, "init-that-is-killed")]
    {
        let cgroup = Cgroup::make(&container_path(pod, container))?;
        cgroup.limit(20)?;
        let mut first = workload::start(what, &cgroup.procs())?;
        if what == "parent" {
            // It would outlive its child by minutes.
            wait_until("the child is killed", || {
                Ok(fs::read_to_string(RECORD)?.matches("\"kind\":\"oom_kill\"").count() > 2)
            })?;
            first.kill()?;
        }
        first.wait()?;
    }
    evict(35)?;
    wait_until("the recording has the eviction's last line", || {
        Ok(fs::read_to_string(RECORD)?.contains("\"cleaned_up\""))
    })?;
    thread::sleep(Duration::from_millis(500));
    let lines = oomtrace.stop()?;
    let reported = of_kind(&lines, "incident");
    let scenarios: Vec<_> = reported.iter().map(|line| &line["verdict"]["scenario"]).collect();
    ensure!(scenarios.iter().any(|scenario| *scenario == "container_limit"), "{scenarios:?}");
    ensure!(scenarios.iter().any(|scenario| *scenario == "allocatable_evicted"), "{scenarios:?}");

    let live = last_of_each(&lines)?;
    let news = |field| reported.iter().filter_map(|line| line[field].as_u64()).sum::<u64>();
    check_eq!(news("kills_new"), of_kind(&lines, "oom_kill").len() as u64, "kills that are new in each line");
    let timeline = Command::new("oomtrace").args(["timeline", "--format", "json", "--events", RECORD]).output()?;
    ensure!(timeline.status.success(), "{}", String::from_utf8_lossy(&timeline.stderr));
    let replayed =
        std::str::from_utf8(&timeline.stdout)?.lines().map(serde_json::from_str).collect::<Result<Vec<_>, _>>()?;
    let replayed = last_of_each(&replayed)?;
    check_eq!(replayed.keys().collect::<Vec<_>>(), live.keys().collect::<Vec<_>>(), "the incidents' ids");
    for (id, live) in &live {
        check_eq!(replayed.get(id), Some(live), "incident {id}");
    }
    println!("{} incidents", live.len());
    Ok(())
}

/// The kubelet evicts a pod, at its default verbosity.
fn evict(pod: u32) -> Result<()> {
    let mut log = fs::File::options().append(true).open(KUBELET)?;
    for text in [
        "\"Eviction manager: attempting to reclaim\" resourceName=\"memory\"".to_owned(),
        "\"Eviction manager: must evict pod(s) to reclaim\" resourceName=\"memory\"".to_owned(),
        "\"Eviction manager: pods ranked for eviction\" pods=[\"default/evicted\"]".to_owned(),
        format!(
            "\"Killing container with a grace period\" pod=\"default/evicted\" podUID=\"{}\" containerName=\"app\" containerID=\"containerd://{}\" gracePeriod=2",
            uid(pod),
            "e".repeat(64)
        ),
        "\"Eviction manager: pod is evicted successfully\" pod=\"default/evicted\"".to_owned(),
        "\"Eviction manager: pods successfully cleaned up\" pods=[\"default/evicted\"]".to_owned(),
    ] {
        let now = jiff::Timestamp::now().strftime("%m%d %H:%M:%S%.6f");
        writeln!(log, "I{now}     440 file.go:1] {text}")?;
    }
    Ok(())
}

/// The last line of each incident, without its own number and time, and without what only says in how many lines it was reported.
fn last_of_each(lines: &[Value]) -> Result<BTreeMap<String, Value>> {
    let mut last = BTreeMap::new();
    for line in lines.iter().filter(|line| line["kind"] == "incident" && line["withdrawn"] != true) {
        let mut line = line.clone();
        let id = line["id"].as_str().context("an incident has an id")?.to_owned();
        let fields = line.as_object_mut().context("a line is an object")?;
        for field in ["ts", "seq", "boot_ns", "revision", "kills_new", "processes_killed_new", "deaths_new"] {
            fields.remove(field).with_context(|| format!("an incident has its {field}"))?;
        }
        last.insert(id, line);
    }
    ensure!(last.len() >= 4, "only {} incidents: {lines:?}", last.len());
    Ok(last)
}
