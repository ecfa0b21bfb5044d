//! Files that events are printed to.

use std::{fs, path::Path};

use anyhow::ensure;
use serde_json::{Value, json};

use crate::{
    Outcome,
    cgroup::{Cgroup, container_id, container_path},
    check_eq,
    oomtrace::{Oomtrace, of_kind, wait_until},
    scenarios::{Scenario, run_to_death},
};

pub(crate) const ALL: &[Scenario] = &[
    ("a_file_that_was_moved_away_is_opened_again_at_sighup", moved_away),
    ("files_rotate_by_size_and_hold_every_line_that_stdout_has", rotated),
];

fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    Ok(fs::read_to_string(path)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Kills in a container of its own.
fn kill(number: u32) -> Outcome {
    let container = Cgroup::make(&container_path(number, number))?;
    container.limit(20)?;
    run_to_death("eat", &container)
}

fn moved_away() -> Outcome {
    let (path, moved) = (Path::new("/tmp/moved.jsonl"), Path::new("/tmp/moved.jsonl.old"));
    let oomtrace = Oomtrace::start(&["--output", "jsonl:/tmp/moved.jsonl", "--output", "text:/tmp/moved.txt"])?;
    kill(70)?;
    wait_until("the kill is in the file", || Ok(!of_kind(&read(path)?, "oom_kill").is_empty()))?;
    fs::rename(path, moved)?;
    oomtrace.signal(libc::SIGHUP)?;
    wait_until("the file is there again", || Ok(path.exists()))?;
    kill(71)?;
    oomtrace.stop()?;
    for (path, number) in [(moved, 70), (path, 71)] {
        let lines = read(path)?;
        let kills = of_kind(&lines, "oom_kill");
        check_eq!(kills.len(), 1, "kills in {}", path.display());
        check_eq!(kills[0]["container"]["id"], json!(container_id(number)), "the container in {}", path.display());
    }
    let text = fs::read_to_string("/tmp/moved.txt")?;
    // In ASCII, as no locale is set here.
    let kills = text.lines().filter(|line| line.contains("Z  x OOM kill: ")).count();
    check_eq!(kills, 2, "kills in the text that nobody moved");
    Ok(())
}

fn rotated() -> Outcome {
    let folder = Path::new("/tmp/rotated");
    fs::create_dir_all(folder)?;
    let oomtrace = Oomtrace::start(&[
        "--output",
        "jsonl:/tmp/rotated/events",
        "--output-rotate-size",
        "16Ki",
        "--output-rotate-keep",
        "100",
    ])?;
    let mut expected = vec![oomtrace.status.clone()];
    for number in 72..78 {
        kill(number)?;
    }
    expected.extend(oomtrace.stop()?);
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    ensure!(files.len() > 2, "only {files:?}");
    // events.10, …, events.1, events: the oldest first.
    let age = |path: &Path| path.extension().and_then(|number| number.to_str()?.parse::<u32>().ok()).unwrap_or(0);
    files.sort_by_key(|path| std::cmp::Reverse(age(path)));
    let mut reported = Vec::new();
    for path in &files {
        ensure!(fs::metadata(path)?.len() <= 16 << 10, "{} is too large", path.display());
        reported.extend(read(path)?);
    }
    check_eq!(reported, expected, "the lines of {files:?}");
    Ok(())
}
