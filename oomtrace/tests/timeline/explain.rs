//! `oomtrace explain` as it is called.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use super::data;

fn explain(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_oomtrace"))
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("oomtrace runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A thing that has a name does not read it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("oomtrace ends")
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_name_is_explained_as_text_and_as_json() {
    let output = explain(&["Error", "137", "--no-node"], "");
    let (text, words) = said(&output);
    assert!(output.status.success(), "{words}");
    for part in ["exit code of a container", "Does not mean", "container_limit", "grace period"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (json, _) =
        said(&explain(&["oom_score_adj", "984", "--capacity", "16Gi", "--format", "json", "--no-node"], ""));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["about"], "oom_score_adj 984");
    assert!(json["means"].as_str().is_some_and(|means| means.contains("Burstable")), "{json}");
}

#[test]
fn what_is_not_known_is_an_error_that_lists_what_is() {
    let output = explain(&["nonsense"], "");
    let (_, words) = said(&output);
    assert_eq!(output.status.code(), Some(1));
    for part in ["\"nonsense\" cannot be explained", "OOMKilled", "allocatable_oom", "container_memory_rss"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn pasted_lines_are_explained_with_the_incident_that_they_make() {
    let report = std::fs::read_to_string(data("reports").join("of-several-nodes/kernel.log")).expect("a report");
    for arguments in [&["-"][..], &[]] {
        let output = explain(arguments, &report);
        let (text, words) = said(&output);
        assert!(output.status.success(), "{words}");
        assert!(text.contains("The kernel killed worker (pid 4711)"), "{text}");
        assert!(text.contains("container_limit  scenario of an incident"), "{text}");
    }
    let (text, _) = said(&explain(&["-"], "the pod is in CrashLoopBackOff\n"));
    assert!(text.contains("the kubelet waits before it starts it again"), "{text}");
    let nothing = explain(&["-"], "Dear all,\n");
    assert_eq!(nothing.status.code(), Some(1), "{:?}", said(&nothing));
}

#[test]
fn a_pod_has_its_incidents_in_files() {
    let file = data("reports").join("kubectl-describe-pod/describe.txt");
    let file = file.to_str().expect("UTF-8");
    let (text, words) = said(&explain(&["shop/cart-5", "--files", file, "--no-node"], ""));
    assert!(text.contains("Incidents: 2") && text.contains("container proxy"), "{text}{words}");
    let (json, _) = said(&explain(&["shop/cart-5/cart", "--files", file, "--no-node", "--format", "json"], ""));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["incidents"].as_array().map(Vec::len), Some(1), "{json}");
    let none = explain(&["shop/other", "--files", file, "--no-node"], "");
    assert_eq!(none.status.code(), Some(1));
    assert!(said(&none).1.contains("nothing is known of pod shop/other"), "{:?}", said(&none));
}

/// A node's cgroups, as far as they are read.
fn cgroups() -> tempfile::TempDir {
    const MIB: u64 = 1 << 20;
    let root = tempfile::tempdir().expect("a folder");
    std::fs::write(root.path().join("cgroup.controllers"), "cpu memory\n").expect("a file");
    let of_root = "anon 4096\nfile 4096\ninactive_file 4096\n";
    std::fs::write(root.path().join("memory.stat"), of_root).expect("a file");
    let pod =
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f0e9c1a_5b7d_4c2e_9a61_0d8f7b6c5e4d.slice";
    let container = format!("{pod}/cri-containerd-{}.scope", "c0ffee55".repeat(8));
    for (path, max, current) in [
        ("kubepods.slice", (2048 * MIB).to_string(), 1500 * MIB),
        ("kubepods.slice/kubepods-burstable.slice", "max".to_owned(), 1500 * MIB),
        (pod, "max".to_owned(), 300 * MIB),
        (&container, (256 * MIB).to_string(), 250 * MIB),
    ] {
        let folder = root.path().join(path);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("memory.max"), max + "\n").expect("a file");
        std::fs::write(folder.join("memory.current"), format!("{current}\n")).expect("a file");
        std::fs::write(folder.join("memory.stat"), "anon 4096\nfile 4096\ninactive_file 0\n").expect("a file");
    }
    root
}

#[test]
fn on_a_node_with_pods_the_way_to_each_scenario_has_its_numbers() {
    let root = cgroups();
    let root = root.path().to_str().expect("UTF-8");
    let (text, words) = said(&explain(&["flow", "--cgroup-root", root], ""));
    for part in [
        ".scope uses 250 MiB of 256 MiB, 97 %",
        "near: /kubepods.slice/",
        "/kubepods.slice uses 1.4 GiB of 2 GiB, 73 %",
        "memory.available, as the kubelet computes it, is ",
        "cannot happen here now: /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod",
    ] {
        assert!(text.contains(part), "{part}: {text}{words}");
    }
    // Of a scenario its own step alone.
    let (json, _) = said(&explain(&["OOM4", "--cgroup-root", root, "--format", "json"], ""));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let steps = json["here"].as_array().expect("steps");
    assert_eq!(
        (steps.len(), &steps[0]["can_happen"], &steps[0]["near"]),
        (1, &Value::Bool(true), &Value::Bool(false)),
        "{json}"
    );
    let (metric, _) = said(&explain(&["container_memory_rss", "--cgroup-root", root], ""));
    assert!(!metric.contains("On this node"), "{metric}");
}
