//! What people do: name files and nothing else, ask for some of the incidents, collect a node.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use serde_json::Value;

use super::{data, lines, run};

const KERNEL: &str = "kernel-log/oomkill.kernel.journal.log";
const KUBELET: &str = "oomkill-1.36-systemd/kubelet.log.zst";
const PODS: &str = "oomkill-1.36-systemd/pods.json.zst";

fn said(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn unpacked(path: &str) -> String {
    let file = fs::File::open(data(path)).expect("a file");
    let mut text = String::new();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(file).expect("zstd");
    std::io::Read::read_to_string(&mut decoder, &mut text).expect("text");
    text
}

/// Writes a file, and gives its path.
fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

fn without(lines: Vec<Value>, fields: &[&str]) -> Vec<Value> {
    let drop = |mut line: Value| {
        line.as_object_mut().expect("an object").retain(|name, _| !fields.contains(&name.as_str()));
        line
    };
    lines.into_iter().map(drop).collect()
}

#[test]
fn files_without_options_are_taken_for_what_they_are_and_it_is_said() {
    let by_options = lines(&["--kernel-log", KERNEL, "--kubelet-log", KUBELET, "--pods", PODS]);
    let by_files = lines(&[PODS, KERNEL, KUBELET]);
    assert_eq!(by_files, by_options);
    assert_eq!(by_files.len(), 3);
    let metrics = "evict-1.36-systemd/metrics-evict.txt";
    let (status, words) = said(&[PODS, KERNEL, KUBELET, metrics, "live/oomkill.jsonl.zst", "--node-name", "node1"]);
    assert_eq!(status, Some(0), "{words}");
    for (file, option) in [
        (KERNEL, "taken for a kernel log (--kernel-log)"),
        (KUBELET, "taken for a kubelet's log (--kubelet-log)"),
        (PODS, "taken for what is known of pods (--pods)"),
        (metrics, "taken for the kubelet's metrics (--kubelet-metrics)"),
        ("live/oomkill.jsonl.zst", "taken for a recording (--events)"),
    ] {
        assert!(words.contains(&format!("{file}: {option}")), "{file}: {words}");
    }
}

#[test]
fn every_form_of_a_log_is_taken_for_one() {
    for kernel in super::KERNEL {
        let (_, words) = said(&[&format!("kernel-log/oomkill.{kernel}")]);
        assert!(words.contains("taken for a kernel log"), "{kernel}: {words}");
        let (status, words) = said(&[&format!("kernel-log/evict.{kernel}")]);
        assert!(words.contains("taken for a kernel log") && status == Some(0), "{kernel}: {words}");
    }
    for capture in ["oomkill-1.36-systemd", "evict-1.36-systemd", "evict-1.20-systemd"] {
        for kubelet in super::KUBELET {
            let (_, words) = said(&[&format!("{capture}/{kubelet}")]);
            assert!(words.contains("taken for a kubelet's log"), "{capture}/{kubelet}: {words}");
        }
        for pods in ["pods.json.zst", "events.json.zst", "kubelet-pods.json.zst", "cri.json.zst"] {
            let (_, words) = said(&[&format!("{capture}/{pods}")]);
            assert!(words.contains("taken for what is known of pods"), "{capture}/{pods}: {words}");
        }
    }
}

#[test]
fn a_file_that_is_of_no_use_is_named_and_ends_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str, text: &str| write(folder.path(), name, text);
    let (empty, text) = (at("empty", ""), at("text", "Dear all,\nregards\n"));
    let binary = folder.path().join("binary");
    fs::write(&binary, (0..=255).cycle().take(4096).collect::<Vec<u8>>()).expect("written");
    for (file, words) in [
        (empty.as_str(), "the file is empty"),
        (&text, "nothing in it is known"),
        (binary.to_str().expect("UTF-8"), "the file is binary and no log"),
        ("no-such-file", "no-such-file cannot be opened"),
    ] {
        let (status, said) = said(&[file]);
        assert_eq!(status, Some(1), "{file}: {said}");
        assert!(said.contains(words), "{file}: {said}");
    }
    // One of many is said, and no failure.
    let (status, said) = said(&[KERNEL, &text]);
    assert!(status == Some(0) && said.contains("nothing in it is known"), "{said}");
}

#[test]
fn pods_of_another_cluster_are_named() {
    let (_, words) = said(&[KERNEL, "evict-1.36-systemd/pods.json.zst"]);
    assert!(words.contains("pods of another cluster"), "{words}");
    let (_, words) = said(&[KERNEL, PODS]);
    assert!(!words.contains("another cluster"), "{words}");
}

#[test]
fn incidents_are_chosen_by_globs_uids_namespaces_nodes_and_the_newest() {
    let logs = [KERNEL, KUBELET];
    for (options, expected) in [
        (&["--namespace", "team-a"][..], 2),
        (&["--namespace", "team-*"], 2),
        (&["--namespace", "team-a", "--namespace", "default"], 3),
        (&["--pod", "oom-*"], 3),
        (&["--pod", "team-a/oom-b*"], 1),
        (&["--pod", "c8119223-23d2-4099-bf62-d501a2753c91"], 1),
        (&["--node", "nod?1"], 3),
        (&["--node", "other"], 0),
        (&["--container", "init-*"], 1),
        (&["--last"], 1),
        (&["--since", "2026-11-23", "--until", "2026-11-24"], 3),
        (&["--since", "2026-11-23 23:21"], 2),
        (&["--until", "2026-11-22"], 0),
        (&["--since", "2026-11-24 00:21", "--time-zone", "+01:00"], 2),
    ] {
        assert_eq!(lines(&[&logs[..], options].concat()).len(), expected, "{options:?}");
    }
    let all = lines(&logs);
    let last = all.iter().filter_map(|line| line["ended"].as_str()).max();
    assert_eq!(lines(&[KERNEL, KUBELET, "--last"])[0]["ended"].as_str(), last);
    let (status, words) = said(&[KERNEL, KUBELET, "--since", "soon"]);
    assert!(status == Some(2) && words.contains("yesterday"), "{words}");
}

#[test]
fn a_filter_that_hides_everything_says_what_it_hid() {
    let (status, words) = said(&[KERNEL, KUBELET, "--namespace", "nowhere"]);
    assert_eq!(status, Some(0));
    for part in ["hid 3 incidents", "from 2026-11-23T23:20:", "namespaces default, team-a", "node node1"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let recording = "recordings/boot-n.jsonl.zst";
    let (_, words) = said(&["--events", recording, "--since", "1h", "--until", "2h"]);
    assert!(words.contains("no incident is left"), "{words}");
}

#[test]
fn a_summary_counts_by_workload_namespace_node_and_scenario() {
    let rows = lines(&[KERNEL, KUBELET, "--summary"]);
    assert_eq!(rows.len(), 3);
    let row = rows.iter().find(|row| row["workload"] == "oom-burstable").expect("a row");
    assert_eq!((&row["kills"], &row["incidents"], &row["node"]), (&5.into(), &1.into(), &"node1".into()));
    assert_eq!((&row["namespace"], &row["scenario"]), (&"team-a".into(), &"container_limit".into()));
    assert!(row["last"].as_str().is_some_and(|last| last.starts_with("2026-11-23T23:")), "{row}");
    let text = String::from_utf8(run(&[KERNEL, KUBELET, "--summary", "--format", "text"]).stdout).expect("UTF-8");
    assert!(text.starts_with("INCIDENTS") && text.lines().count() == 4, "{text}");
    let (status, words) = said(&[KERNEL, "--summary", "--format", "html"]);
    assert!(status == Some(1) && words.contains("--summary is text or JSON"), "{words}");
}

/// Each line of ours as a log stack gives it back.
fn wrapped(recording: &str, wrap: impl Fn(&str) -> String) -> String {
    recording.lines().map(|line| wrap(line) + "\n").collect()
}

#[test]
fn recordings_are_read_from_whatever_a_log_stack_gives_back() {
    let plain = unpacked("recordings/boot-n.jsonl.zst");
    let folder = tempfile::tempdir().expect("a folder");
    let expected = lines(&["--events", "recordings/boot-n.jsonl.zst"]);
    assert!(expected.len() > 10);
    let quoted = |line: &str| serde_json::to_string(line).expect("JSON");
    let loki: Vec<_> = plain.lines().rev().map(|line| format!(r#"["1780308000000000000",{}]"#, quoted(line))).collect();
    let loki =
        format!(r#"{{"status":"success","data":{{"result":[{{"stream":{{}},"values":[{}]}}]}}}}"#, loki.join(","));
    for (name, text) in [
        ("cri", wrapped(&plain, |line| format!("2026-11-28T09:30:33.143891032Z stdout F {line}"))),
        (
            "docker",
            wrapped(&plain, |line| {
                format!(r#"{{"log":{},"stream":"stdout","time":"2026-11-28T09:30:33Z"}}"#, quoted(&format!("{line}\n")))
            }),
        ),
        (
            "journal",
            wrapped(&plain, |line| {
                format!(
                    r#"{{"MESSAGE":{},"_HOSTNAME":"node1","__REALTIME_TIMESTAMP":"1795858233143891"}}"#,
                    quoted(line)
                )
            }),
        ),
        ("short", wrapped(&plain, |line| format!("Nov 28 09:30:33 node1 oomtrace[7]: {line}"))),
        (
            "logcli",
            wrapped(&plain, |line| {
                format!(
                    r#"{{"labels":{{"app":"oomtrace"}},"line":{},"timestamp":"2026-11-28T09:30:33Z"}}"#,
                    quoted(line)
                )
            }),
        ),
        ("loki", loki),
    ] {
        let path = write(folder.path(), name, &text);
        let found = lines(&["--events", &path]);
        assert_eq!(without(found, &["seq"]), without(expected.clone(), &["seq"]), "{name}");
        // By itself it is known, too.
        assert_eq!(lines(&[&path]).len(), expected.len(), "{name}");
    }
}

#[test]
fn incident_lines_alone_are_shown_as_they_are() {
    let plain = unpacked("recordings/boot-n.jsonl.zst");
    let is_incident = |line: &&str| line.contains(r#""kind":"incident""#);
    let incidents: Vec<&str> = plain.lines().filter(is_incident).collect();
    let mut last = std::collections::BTreeMap::new();
    for line in &incidents {
        let line: Value = serde_json::from_str(line).expect("JSON");
        last.insert(line["id"].as_str().expect("an id").to_owned(), line);
    }
    last.retain(|_, line| line["withdrawn"] != true);
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "incidents.jsonl", &incidents.join("\n"));
    let found = lines(&["--events", &path]);
    assert_eq!(found.len(), last.len());
    for line in &found {
        let reported = &last[line["id"].as_str().expect("an id")];
        for field in ["started", "ended", "kills", "deaths", "node", "seq"] {
            assert_eq!(line[field], reported[field], "{field}");
        }
        assert_eq!(line["verdict"]["summary"], reported["verdict"]["summary"]);
        assert_eq!(line["pod"]["name"], reported["pod"]["name"]);
    }
    // They are chosen as others are.
    let pod = found.iter().find_map(|line| line["pod"]["name"].as_str()).expect("a pod");
    let of_pod = found.iter().filter(|line| line["pod"]["name"] == pod).count();
    assert_eq!(lines(&["--events", &path, "--pod", pod]).len(), of_pod);
    // Beside a log of another node they are shown, too.
    let beside = lines(&["--events", &path, "--kernel-log", KERNEL]);
    assert_eq!(beside.len(), found.len() + 3);
}

#[test]
fn an_end_with_137_is_shown_as_far_as_its_status_tells() {
    let folder = tempfile::tempdir().expect("a folder");
    let id = "a".repeat(64);
    let pod = format!(
        r#"{{"kind":"List","items":[{{"metadata":{{"uid":"0ca9ec6b-5d5f-4dbd-8a36-3e5a6b7c8d9e","namespace":"shop","name":"cart"}},
        "spec":{{"nodeName":"n1","containers":[{{"name":"app"}}]}},"status":{{"containerStatuses":[{{"name":"app","restartCount":1,
        "lastState":{{"terminated":{{"containerID":"containerd://{id}","exitCode":137,"reason":"Error","finishedAt":"2026-06-01T10:00:00Z"}}}}}}]}}}}]}}"#
    );
    let found = lines(&["--pods", &write(folder.path(), "pods.json", &pod)]);
    assert_eq!(found.len(), 1);
    let (incident, verdict) = (&found[0], &found[0]["verdict"]);
    assert_eq!((&verdict["scenario"], &verdict["confidence"]), (&"killed".into(), &"low".into()));
    assert_eq!(verdict["kubernetes_shows"], serde_json::json!(["Error 137"]));
    assert_eq!((&incident["severity"], &incident["kills"]), (&"other".into(), &0.into()));
    assert!(!verdict["heading"].as_str().expect("words").contains("OOM"), "{verdict}");
    // One that ended by itself is none.
    let failed = pod.replace("137", "1");
    assert!(lines(&["--pods", &write(folder.path(), "failed.json", &failed)]).is_empty());
}

/// A node's root folder with logs in files and no journal.
fn node(kernel: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    if kernel {
        let text = fs::read_to_string(data("kernel-log/oomkill.kernel.journal.log")).expect("a log");
        write(root, "var/log/kern.log", &text);
        write(root, "var/log/kubelet.log", &unpacked("oomkill-1.36-systemd/kubelet.log.zst"));
        let uid = "c8119223-23d2-4099-bf62-d501a2753c91";
        let log = "2026-11-23T23:20:00Z stderr F password hunter2\n2026-11-23T23:20:01Z stderr F std::bad_alloc\n";
        write(root, &format!("var/log/pods/team-a_oom-burstable_{uid}/app/0.log"), log);
        let config = "kind: KubeletConfiguration\nevictionHard:\n  memory.available: 100Mi\nstaticPodURLHeader:\n  Authorization: [hunter2]\n";
        write(root, "var/lib/kubelet/config.yaml", config);
    }
    folder
}

fn here<'a>(node: &'a tempfile::TempDir, cgroups: &'a str) -> [&'a str; 6] {
    ["--host-root", node.path().to_str().expect("UTF-8"), "--cgroup-root", cgroups, "--kubelet-url", "off"]
}

#[test]
fn with_nothing_given_this_node_is_read() {
    let node = node(true);
    let found = lines(&[&here(&node, "/nowhere")[..], &["--since", "2026-11-20"]].concat());
    assert_eq!(found.len(), 3);
    let (_, words) = said(&here(&node, "/nowhere"));
    for part in
        ["reading this node", "var/log/kern.log: taken for a kernel log", "not read: the kernel's log in the journal"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn where_nothing_of_this_node_can_be_read_it_is_said_what_was_tried() {
    let node = node(false);
    let (status, words) = said(&here(&node, "/nowhere"));
    assert_eq!(status, Some(1), "{words}");
    for part in ["/var/log/kern.log", "/dev/kmsg", "the journal", "--host-root", "oomtrace timeline FILE"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

fn collect(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oomtrace"));
    command.arg("collect").args(arguments).output().expect("oomtrace runs")
}

#[test]
fn what_is_collected_is_read_elsewhere_and_has_no_secrets() {
    let (node, folder) = (node(true), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("node.tar.gz");
    let file = file.to_str().expect("UTF-8");
    let output = collect(&[&here(&node, "/nowhere")[..], &["--output", file]].concat());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("missing: cgroups: "), "{words}");
    let mode = || fs::metadata(file).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600, "it names processes and their arguments");
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).expect("a change of mode");
    assert!(collect(&[&here(&node, "/nowhere")[..], &["--output", file]].concat()).status.success());
    assert_eq!(mode(), 0o600, "also of a file that was there before");
    let direct = lines(&here(&node, "/nowhere"));
    let found = lines(&[file]);
    assert_eq!(found.len(), 3);
    assert_eq!(found, direct);
    let unpacked = flate2::read::GzDecoder::new(fs::File::open(file).expect("a file"));
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut { unpacked }, &mut text).expect("gzip");
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!text.contains("hunter2"));
    for part in [
        "MISSING.txt",
        "LEFT_OUT.txt",
        "versions.txt",
        "node.json",
        "kubelet-config.json",
        "std::bad_alloc",
        "100Mi",
        "kubelet-config.json: staticPodURLHeader",
        "/dev/kmsg: ",
    ] {
        assert!(text.contains(part), "{part}");
    }
    // To standard output it is the same.
    let output = collect(&[&here(&node, "/nowhere")[..], &["--output", "-"]].concat());
    let piped = folder.path().join("piped");
    fs::write(&piped, output.stdout).expect("written");
    assert_eq!(lines(&[piped.to_str().expect("UTF-8")]).len(), 3);
}

#[test]
fn a_node_of_which_nothing_can_be_had_is_not_collected() {
    let (node, folder) = (node(false), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("node.tar.gz");
    let output = collect(&[&here(&node, "/nowhere")[..], &["--output", file.to_str().expect("UTF-8")]].concat());
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("missing: /var/log/kern.log, ") && !file.exists(), "{words}");
}

#[test]
fn the_node_is_the_host_that_the_lines_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = fs::read_to_string(data("kernel-log/oomkill.kernel.journal.log")).expect("a log");
    let log = write(folder.path(), "kernel.log", &log.replace(" node1 ", " worker-7 "));
    for more in [&[][..], &["--pods", PODS]] {
        let found = lines(&[&["--kernel-log", &log], more].concat());
        assert!(found.iter().all(|line| line["node"] == "worker-7"), "{found:?}");
    }
}
