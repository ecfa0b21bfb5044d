//! What is killed while oomtrace does not run.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_path},
    check_eq,
    oomtrace::{Oomtrace, of_kind},
    scenarios::{Scenario, run_to_death},
};

pub(crate) const ALL: &[Scenario] = &[
    ("what_is_killed_while_oomtrace_does_not_run_is_reported_once_by_the_next_start", killed_meanwhile),
    ("a_state_file_that_is_torn_or_cannot_be_written_ends_nothing", bad_state),
];

/// By then the file says what was reported, and what was missed is certain.
const SETTLED: Duration = Duration::from_secs(4);

/// The sources of the kills in a cgroup.
fn sources<'a>(lines: &'a [Value], container: &Cgroup) -> Vec<&'a str> {
    let path = json!(container.path);
    let kills = of_kind(lines, "oom_kill").into_iter().filter(|kill| kill["cgroup"]["path"] == path);
    kills.filter_map(|kill| kill["source"].as_str()).collect()
}

fn killed_meanwhile() -> Outcome {
    let container = Cgroup::make(&container_path(48, 48))?;
    container.limit(20)?;
    let folder = std::env::temp_dir().join("oomtrace-state");
    // Of a run before.
    let _ = fs::remove_dir_all(&folder);
    let folder = folder.display().to_string();
    let start = || Oomtrace::start(&["--state-dir", &folder]);

    // Nobody traced then.
    run_to_death("eat", &container)?;
    let first = start()?;
    check_eq!(first.status.get("away_ms"), None, "how long it was away before it ever ran");
    run_to_death("eat", &container)?;
    thread::sleep(SETTLED);
    // SIGKILL.
    drop(first);
    run_to_death("eat", &container)?;

    let second = start()?;
    let resumed = second.status["incidents_resumed"].clone();
    ensure!(second.status["away_ms"].as_u64().is_some_and(|ms| (1..600_000).contains(&ms)), "{}", second.status);
    run_to_death("eat", &container)?;
    thread::sleep(SETTLED);
    let lines = second.stop()?;
    let mut seen = sources(&lines, &container);
    seen.sort_unstable();
    check_eq!(seen, ["kernel", "kmsg"], "the kills that the second start reports");
    let incidents = of_kind(&lines, "incident");
    let kills: u64 = incidents.iter().filter_map(|incident| incident["kills_new"].as_u64()).sum();
    check_eq!(kills, 2, "the kills that its incidents have as new");
    // What the first run had reported of it goes on: it is one incident.
    check_eq!(resumed, json!(1), "the incidents that the second start goes on with");
    let ids: BTreeSet<_> = incidents.iter().filter_map(|incident| incident["id"].as_str()).collect();
    check_eq!(ids.len(), 1, "the incidents of the second run");
    let last = incidents.last().context("no incident")?;
    check_eq!((&last["kills"], &last["state"]), (&json!(3), &json!("closed")), "the incident in the end");
    ensure!(incidents.iter().all(|incident| incident["revision"].as_u64() > Some(1)), "the first was reported before");

    let third = start()?;
    check_eq!(third.status.get("incidents_resumed"), None, "what was open when the second ended");
    thread::sleep(SETTLED);
    check_eq!(sources(&third.stop()?, &container), [""; 0], "the kills that the third start reports");
    Ok(())
}

fn bad_state() -> Outcome {
    let container = Cgroup::make(&container_path(49, 49))?;
    container.limit(20)?;
    let folder = std::env::temp_dir().join("oomtrace-torn");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("traced.json"), r#"{"boot_id":"0123"#)?;
    let file = folder.join("a-file");
    fs::write(&file, "")?;
    for (state, degraded) in [(&folder, false), (&file, true)] {
        let oomtrace = Oomtrace::start(&["--state-dir", &state.display().to_string()])?;
        let said = oomtrace.status["degraded"].to_string();
        check_eq!(said.contains("--state-dir"), degraded, "that {said} names the option");
        run_to_death("eat", &container)?;
        check_eq!(sources(&oomtrace.stop()?, &container), ["kernel"], "the kills with {}", state.display());
    }
    Ok(())
}
