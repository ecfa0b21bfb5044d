//! `oomtrace timeline` on what real nodes left behind, against what really happened there (`truth.json`, worked out from
//! the nodes' own state), and on what nodes of other versions would have left.

mod explain;
mod files;
mod live;
mod long;
mod quiet;
mod recast;
mod recast_captures;
mod recast_old;
mod reports;
mod stories;
mod story;
mod zones;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

const KUBELET: [&str; 4] =
    ["kubelet.log.zst", "kubelet.journal-short.log.zst", "kubelet.journal-iso.log.zst", "kubelet.journal.json.zst"];
const KERNEL: [&str; 4] = ["kmsg", "dmesg.txt", "dmesg-T.txt", "kernel.journal.log"];

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn run(arguments: &[&str]) -> Output {
    let arguments = arguments.iter().map(|argument| {
        let file = data(argument);
        if file.exists() { file.into_os_string() } else { argument.into() }
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_oomtrace"));
    command.arg("timeline").args(arguments).stdin(Stdio::null()).output().expect("oomtrace runs")
}

/// Its lines, and that all went well.
fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = run(&[arguments, &["--format", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Logs that a test has written.
struct Logs(tempfile::TempDir);

impl Logs {
    fn of(kernel: &str, kubelet: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // klog has no year: it is the one before the file was written last.
        let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_550_000);
        for (name, text) in [("kernel", kernel), ("kubelet", kubelet)] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            let file = std::fs::File::options().append(true).open(&path).expect("a file");
            file.set_modified(written).expect("a time");
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn reported(&self, more: &[&str]) -> Vec<Value> {
        let logs = ["--kernel-log", &self.path("kernel"), "--kubelet-log", &self.path("kubelet")];
        lines(&[&logs[..], more].concat())
    }
}

fn truth(capture: &str) -> Value {
    let text = std::fs::read(data(&format!("{capture}/truth.json"))).expect("the truth");
    serde_json::from_slice(&text).expect("JSON")
}

/// What is known beside the logs.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is known or not, whatever the others are")]
struct Beside {
    names: bool,
    signal: bool,
    amounts: bool,
    every_state: bool,
}

/// Every incident of the truth is there, and no other.
fn compare(capture: &str, found: &[Value], beside: Beside, how: &str) {
    let truth = truth(capture);
    let expected = truth["incidents"].as_array().expect("incidents");
    let summaries: Vec<_> = found.iter().map(|line| &line["verdict"]["summary"]).collect();
    assert_eq!(found.len(), expected.len(), "{how}: {summaries:#?}");
    for incident in expected {
        let reported = found.iter().find(|line| line["pod"]["uid"] == incident["uid"]);
        assert!(reported.is_some(), "{how}: {incident} is not among {summaries:#?}");
        let Some(reported) = reported else { continue };
        let same = |field: &str, reported: &Value| {
            if !incident[field].is_null() {
                assert_eq!(reported, &incident[field], "{how}: {field} of {}", incident["pod"]);
            }
        };
        let verdict = &reported["verdict"];
        if beside.signal || incident["signal_from"].is_null() {
            same("scenario", &verdict["scenario"]);
            same("signal", &verdict["signal"]);
        }
        same("threshold_bytes", &verdict["threshold_bytes"]);
        if beside.amounts || incident["amounts_from"].is_null() {
            same("available_bytes", &verdict["available_bytes"]);
        }
        same("limit_level", &reported["limit_level"]);
        same("limit_bytes", &reported["limit_bytes"]);
        same("kills", &reported["kills"]);
        same("kernel_kills", &reported["kills"]);
        same("group", &reported["group"]);
        same("invisible", &verdict["invisible"]);
        same("victim_comm", &reported["victim_comm"]);
        if beside.names {
            let name = format!(
                "{}/{}",
                reported["pod"]["namespace"].as_str().unwrap_or("?"),
                reported["pod"]["name"].as_str().unwrap_or("?")
            );
            same("pod", &Value::String(name));
            same("container", &reported["container"]["name"]);
            let names = |list: &Value, name: &dyn Fn(&Value) -> Value| -> BTreeSet<String> {
                list.as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|entry| name(entry).as_str().map(str::to_owned))
                    .collect()
            };
            if !incident["containers"].is_null() {
                let reported = names(&reported["containers"], &|entry| entry["name"].clone());
                assert_eq!(reported, names(&incident["containers"], &Value::clone), "{how}: {}", incident["pod"]);
            }
        }
        if beside.every_state {
            same("kubernetes_shows", &verdict["kubernetes_shows"]);
        }
    }
}

#[test]
fn kills_are_reported_right_from_every_form_of_both_logs() {
    let capture = "oomkill-1.36-systemd";
    for kernel in KERNEL {
        for kubelet in KUBELET {
            let (kernel, kubelet) = (format!("kernel-log/oomkill.{kernel}"), format!("{capture}/{kubelet}"));
            let found = lines(&["--kernel-log", &kernel, "--kubelet-log", &kubelet]);
            let beside = Beside { names: true, every_state: true, ..Beside::default() };
            compare(capture, &found, beside, &format!("{kernel} {kubelet}"));
        }
    }
}

/// `journalctl -k -o cat`, and `dmesg -H`, whose times are none.
#[test]
fn kills_without_any_time_are_reported_when_the_kubelet_noticed_them() {
    let capture = "oomkill-1.36-systemd";
    let dmesg = std::fs::read_to_string(data("kernel-log/oomkill.dmesg.txt")).expect("a log");
    let texts: Vec<_> = dmesg.lines().filter_map(|line| Some(line.split_once("] ")?.1)).collect();
    let folder = tempfile::tempdir().expect("a folder");
    for (form, head) in [("cat", ""), ("dmesg -H", "[  +0.000123] ")] {
        let path = folder.path().join("kernel.log");
        let log: Vec<_> = texts.iter().map(|text| format!("{head}{text}")).collect();
        std::fs::write(&path, log.join("\n")).expect("written");
        let kernel = path.to_str().expect("a path");
        for kubelet in KUBELET {
            let kubelet = format!("{capture}/{kubelet}");
            let found = lines(&["--kernel-log", kernel, "--kubelet-log", &kubelet]);
            let beside = Beside { names: true, every_state: true, ..Beside::default() };
            compare(capture, &found, beside, &format!("{form} {kubelet}"));
            let day =
                |incident: &Value| incident["started"].as_str().is_some_and(|ts| ts.starts_with("2026-11-23T23:2"));
            assert!(found.iter().all(day), "{form} {kubelet}: {found:#?}");
        }
    }
}

#[test]
fn kills_are_reported_from_the_kernels_log_alone_and_named_by_any_file_that_names_pods() {
    let capture = "oomkill-1.36-systemd";
    for kernel in KERNEL {
        let kernel = format!("kernel-log/oomkill.{kernel}");
        compare(capture, &lines(&["--kernel-log", &kernel]), Beside::default(), &kernel);
        for pods in ["pods-mid.json.zst", "cri-mid.json.zst"] {
            let pods = format!("{capture}/{pods}");
            let found = lines(&["--kernel-log", &kernel, "--pods", &pods]);
            compare(capture, &found, Beside { names: true, ..Beside::default() }, &format!("{kernel} {pods}"));
        }
    }
}

#[test]
fn what_kubernetes_shows_is_taken_from_the_pods_own_states() {
    let capture = "oomkill-1.36-systemd";
    let states =
        ["pods-early.json.zst", "pods-mid.json.zst", "pods.json.zst"].map(|state| format!("{capture}/{state}"));
    let found = lines(&["--kernel-log", "kernel-log/oomkill.kmsg", "--pods", &states[0], &states[1], &states[2]]);
    compare(capture, &found, Beside { names: true, every_state: true, ..Beside::default() }, "states");
}

#[test]
fn evictions_are_reported_right_from_every_form_of_the_log() {
    for capture in ["evict-1.36-systemd", "evict-1.20-systemd"] {
        for kubelet in KUBELET {
            let kubelet = format!("{capture}/{kubelet}");
            let how = |what: &str| format!("{kubelet} {what}");
            let bare = ["--kubelet-log", kubelet.as_str()];
            let beside = Beside { names: true, ..Beside::default() };
            compare(capture, &lines(&bare), beside, &how("alone"));
            let metrics = format!("{capture}/metrics-evict.txt");
            let with_metrics = [&bare[..], &["--kubelet-metrics", &metrics]].concat();
            compare(capture, &lines(&with_metrics), Beside { signal: true, ..beside }, &how("with metrics"));
            for pods in ["pods.json.zst", "events.json.zst", "kubelet-pods.json.zst"] {
                let pods = format!("{capture}/{pods}");
                let all = [&with_metrics[..], &["--pods", &pods, "--kernel-log", "kernel-log/evict.kmsg"]].concat();
                // The kubelet's own /pods has forgotten the pods that it evicted.
                let amounts = !pods.contains("kubelet-pods");
                compare(
                    capture,
                    &lines(&all),
                    Beside { signal: true, amounts, every_state: true, ..beside },
                    &how(&pods),
                );
            }
        }
    }
}

#[test]
fn a_file_given_twice_and_the_same_log_in_two_forms_double_nothing() {
    let capture = "oomkill-1.36-systemd";
    let [bare, short, .., json] = KUBELET.map(|kubelet| format!("{capture}/{kubelet}"));
    let kernel = KERNEL.map(|kernel| format!("kernel-log/oomkill.{kernel}"));
    let twice = [
        "--kernel-log",
        &kernel[0],
        &kernel[0],
        &kernel[1],
        &kernel[2],
        &kernel[3],
        "--kubelet-log",
        &bare,
        &bare,
        &short,
        &json,
    ];
    compare(capture, &lines(&twice), Beside { names: true, every_state: true, ..Beside::default() }, "twice");
    let capture = "evict-1.20-systemd";
    let [bare, short, .., json] = KUBELET.map(|kubelet| format!("{capture}/{kubelet}"));
    let beside = Beside { names: true, signal: true, amounts: true, every_state: true };
    compare(capture, &lines(&["--kubelet-log", &bare, &bare, &short, &json]), beside, "twice");
}

#[test]
fn a_quiet_log_has_no_incident() {
    for kernel in KERNEL {
        let kernel = format!("kernel-log/evict.{kernel}");
        assert!(lines(&["--kernel-log", &kernel]).is_empty(), "{kernel}");
    }
}

#[test]
fn refused_pods_are_reported_only_when_everything_is_asked_for_and_then_as_events() {
    let log = "evict-1.20-systemd/kubelet.log.zst";
    let refused = |lines: &[Value]| lines.iter().filter(|line| line["phase"] == "admission_refused").count();
    assert_eq!(refused(&lines(&["--kubelet-log", log])), 0);
    let full = lines(&["--kubelet-log", log, "--full"]);
    assert!(refused(&full) > 0);
    assert!(full.iter().any(|line| line["kind"] == "incident" && line["events_full"][0]["kind"] == "eviction"));
}

#[test]
fn incidents_are_chosen_by_pod_container_scenario_and_time() {
    let logs = ["--kernel-log", "kernel-log/oomkill.kmsg", "--kubelet-log", "oomkill-1.36-systemd/kubelet.log.zst"];
    for (option, value, expected) in [
        ("--pod", "team-a/oom-init", 1),
        ("--pod", "oom-init", 1),
        ("--pod", "default/oom-init", 0),
        ("--container", "app", 1),
        ("--scenario", "container_limit", 3),
        ("--scenario", "system_oom", 0),
        ("--since", "2026-11-23T23:21:00Z", 2),
        ("--until", "2026-11-23T23:20:50Z", 2),
    ] {
        assert_eq!(lines(&[&logs[..], &[option, value]].concat()).len(), expected, "{option} {value}");
    }
}

#[test]
fn a_kernel_log_without_dates_is_reported_from_boot_unless_something_tells_when_that_was() {
    let kernel = "kernel-log/oomkill.dmesg.txt";
    let started = |more: &[&str]| {
        let found = lines(&[&["--kernel-log", kernel], more].concat());
        let first = found.first().expect("incidents").clone();
        (first["started"].as_str().expect("a time").to_owned(), first["boot_time_only"].clone())
    };
    let (from_boot, only) = started(&[]);
    assert!(from_boot.starts_with("1970-01-01T00:0") && only == Value::Bool(true), "{from_boot}");
    // cAdvisor has the kill at 23:20:37.4; journald read the kernel's lines up to a second late.
    let near =
        |time: &str| ["36", "37", "38"].iter().any(|second| time.starts_with(&format!("2026-11-23T23:20:{second}")));
    for more in [
        &["--boot-time", "2026-11-23T23:18:04.3Z"][..],
        &["--kernel-log", "kernel-log/oomkill.kernel.journal.log"],
        &["--kubelet-log", "oomkill-1.36-systemd/kubelet.log.zst"],
    ] {
        let (time, only) = started(more);
        assert!(near(&time) && only == Value::Bool(false), "{more:?}: {time}");
    }
}

#[test]
fn text_has_a_block_for_each_incident_and_html_a_picture() {
    let logs = [
        "--kernel-log",
        "kernel-log/oomkill.kmsg",
        "--kubelet-log",
        "oomkill-1.36-systemd/kubelet.log.zst",
        "--format",
    ];
    let text = String::from_utf8(run(&[&logs[..], &["text"]].concat()).stdout).expect("UTF-8");
    assert_eq!(text.matches("What would help:").count(), 3, "{text}");
    assert!(text.contains("pod team-a/oom-burstable, container app") && !text.contains('\u{1b}'), "{text}");
    let html = String::from_utf8(run(&[&logs[..], &["html"]].concat()).stdout).expect("UTF-8");
    assert_eq!((html.matches("<svg").count(), html.matches("<details class=\"incident\"").count()), (3, 3));
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
}

/// `oomtrace timeline --kernel-log <(dmesg -T)`: what was read of a pipe does not come again.
#[test]
fn a_pipe_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let kubelet = ["--kubelet-log", "oomkill-1.36-systemd/kubelet.log.zst"];
    let whole = lines(&[&["--kernel-log", "kernel-log/oomkill.dmesg-T.txt"], &kubelet[..]].concat());
    let text = std::fs::read(data("kernel-log/oomkill.dmesg-T.txt")).expect("a log");
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, text)
    });
    let piped = lines(&[&["--kernel-log", pipe.to_str().expect("UTF-8")], &kubelet[..]].concat());
    writer.join().expect("no panic").expect("all is read");
    assert_eq!(piped.len(), whole.len());
}

#[test]
fn what_cannot_be_read_is_named_with_the_remedy() {
    for (arguments, code, words) in [
        (&["--kernel-log", "no-such-file"][..], 1, "no-such-file cannot be opened"),
        (&["--events", "kernel-log/oomkill.kmsg"], 1, "--kernel-log"),
        (
            &["--kubelet-log", "evict-1.36-systemd/kubelet.log.zst", "--pods", "kernel-log/oomkill.kmsg"],
            1,
            "this is a kernel log: give it with --kernel-log",
        ),
        (&["--kernel-log", "-", "--kubelet-log", "-"], 1, "standard input (-) can be read once"),
        (&["--kernel-log", "-", "--time-zone", "CET"], 2, "+02:00"),
        (&["--kubelet-log", "kernel-log/oomkill.kmsg"], 1, "this is a kernel log: give it with --kernel-log"),
        (
            &["--kernel-log", "evict-1.36-systemd/metrics-evict.txt"],
            1,
            "no kill in it, and no line in a form of a kernel log",
        ),
        // A wrong file is no failure where it is one of many. It is said.
        (
            &["--kubelet-log", "kernel-log/oomkill.kmsg", "evict-1.36-systemd/kubelet.log.zst"],
            0,
            "this is a kernel log: give it with --kernel-log",
        ),
    ] {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}
