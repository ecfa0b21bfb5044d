//! Files that events are printed to, and the page that they are shown on.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

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
    ("a_kill_is_on_the_page_and_a_browser_that_waits_for_it_is_sent_it_while_all_is_confined", page),
    ("an_address_that_another_one_listens_on_is_refused_with_what_helps", taken),
];

const PAGE: &str = "127.0.0.1:9479";

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

/// What the listener answers to a request for this, as far as it comes by now.
fn ask(path: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(PAGE)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {PAGE}\r\n\r\n")?;
    Ok(stream)
}

/// Reads on; that nothing comes for a while is no error.
fn read_on(stream: &mut TcpStream, text: &mut String) {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    text.push_str(&String::from_utf8_lossy(&bytes));
}

fn page() -> Outcome {
    let oomtrace = Oomtrace::start(&["--web", PAGE, "--confine", "all"])?;
    ensure!(oomtrace.status["confined"].to_string().contains("seccomp"), "it is not confined: {}", oomtrace.status);
    let mut empty = String::new();
    read_on(&mut ask("/")?, &mut empty);
    ensure!(empty.contains("oomtrace: 0 incidents"), "before the kill: {empty}");
    let (mut browser, mut sent) = (ask("/events")?, String::new());
    kill(78)?;
    let of_kill = "data-scenario=\"container_limit\"";
    wait_until("the kill is on the page", || {
        let mut page = String::new();
        read_on(&mut ask("/")?, &mut page);
        Ok(page.contains(of_kill) && page.contains("oomtrace: 1 incident<"))
    })?;
    wait_until("the browser is sent it", || {
        read_on(&mut browser, &mut sent);
        Ok(sent.contains("event: incident\ndata: <details") && sent.contains(of_kill))
    })?;
    let lines = oomtrace.stop()?;
    ensure!(of_kind(&lines, "error").is_empty(), "{:#?}", of_kind(&lines, "error"));
    ensure!(of_kind(&lines, "lost").iter().all(|lost| lost["from"] != "web"), "{:#?}", of_kind(&lines, "lost"));
    Ok(())
}

fn taken() -> Outcome {
    let _other = std::net::TcpListener::bind(PAGE)?;
    let output = Command::new("oomtrace").args(["run", "--web", PAGE, "--duration", "1s"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    check_eq!(output.status.code(), Some(1), "how it ends: {said}");
    ensure!(said.contains("--web 127.0.0.1:9479: it cannot be listened on"), "{said}");
    ensure!(said.contains("or choose another port"), "{said}");
    Ok(())
}
