//! The captures as nodes of other versions, drivers and runtimes would have written them: the truth is the same.

use super::{
    Beside, Logs, compare, data, lines,
    recast::{Cgroups, Kubelet},
};

fn read(path: &str) -> String {
    let bytes = std::fs::read(data(path)).expect("a file");
    if !bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let mut text = Vec::new();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(&bytes[..]).expect("zstd");
    std::io::Read::read_to_end(&mut decoder, &mut text).expect("zstd");
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn kills_are_reported_right_whatever_the_kubelet_and_the_cgroup_driver() {
    let capture = "oomkill-1.36-systemd";
    let kubelet = read(&format!("{capture}/kubelet.log.zst"));
    let kernel = read("kernel-log/oomkill.dmesg.txt");
    let compare = |version: Kubelet, cgroups: Cgroups| {
        let logs = Logs::of(&cgroups.recast(&kernel), &version.recast(&cgroups.recast(&kubelet)));
        let beside = Beside { names: true, every_state: version.tells_exit_codes(), ..Beside::default() };
        compare(capture, &logs.reported(&[]), beside, &format!("{version:?} {cgroups:?}"));
    };
    for version in Kubelet::ALL {
        compare(version, Cgroups::Cgroupfs);
    }
    for cgroups in Cgroups::ALL {
        compare(Kubelet::V136, cgroups);
    }
}

#[test]
fn kills_are_reported_right_by_a_kubelet_at_its_default_verbosity() {
    let capture = "oomkill-1.36-systemd";
    let quiet: String = read(&format!("{capture}/kubelet.log.zst"))
        .lines()
        .filter(|line| {
            let at_three = [
                "Patch status",
                "cpu_manager.go",
                "container_log_manager.go",
                "manager.go:1231",
                "handler.go",
                "status_manager.go",
            ];
            !at_three.iter().any(|word| line.contains(word))
        })
        .map(|line| line.to_owned() + "\n")
        .collect();
    let pods = format!("{capture}/pods-mid.json.zst");
    for version in Kubelet::ALL {
        for kernel in super::KERNEL {
            let logs = Logs::of(&read(&format!("kernel-log/oomkill.{kernel}")), &version.recast(&quiet));
            let how = format!("{version:?} {kernel}");
            compare(capture, &logs.reported(&["--pods", &pods]), Beside { names: true, ..Beside::default() }, &how);
            compare(capture, &logs.reported(&[]), Beside::default(), &how);
        }
    }
}

#[test]
fn evictions_are_reported_right_whatever_the_kubelet() {
    let capture = "evict-1.36-systemd";
    let kubelet = read(&format!("{capture}/kubelet.log.zst"));
    let kernel = read("kernel-log/evict.dmesg.txt");
    for version in Kubelet::ALL {
        let logs = Logs::of(&kernel, &version.recast(&kubelet));
        let how = format!("{version:?}");
        // 1.20 names no container that it ends.
        let names = version != Kubelet::V120;
        compare(capture, &logs.reported(&[]), Beside { names, ..Beside::default() }, &how);
        let (metrics, events) = (format!("{capture}/metrics-evict.txt"), format!("{capture}/events.json.zst"));
        let all = Beside { names: true, signal: true, amounts: true, every_state: true };
        compare(capture, &logs.reported(&["--kubelet-metrics", &metrics, "--pods", &events]), all, &how);
    }
}

#[test]
fn a_quiet_kubelet_of_any_version_tells_the_threshold_as_it_starts() {
    let default_verbosity = |log: &str| {
        let at_three = ["observations", "eviction manager: thresholds", "Event occurred", "Event(v1.ObjectReference"];
        let quiet = log.lines().filter(|line| !at_three.iter().any(|words| line.contains(words)));
        quiet.fold(String::new(), |log, line| log + line + "\n")
    };
    for capture in ["evict-1.20-systemd", "evict-1.36-systemd"] {
        let log = default_verbosity(&read(&format!("{capture}/kubelet.log.zst")));
        for version in Kubelet::ALL {
            let logs = Logs::of("", &version.recast(&log));
            let found = lines(&["--kubelet-log", &logs.path("kubelet")]);
            assert!(!found.is_empty(), "{capture} {version:?}");
            for incident in found {
                let verdict = &incident["verdict"];
                assert_eq!(
                    (&verdict["threshold_bytes"], &verdict["threshold_from"], &verdict["available_bytes"]),
                    (&(1_u64 << 30).into(), &"configuration".into(), &serde_json::Value::Null),
                    "{capture} {version:?}: {verdict}"
                );
            }
        }
    }
}
