//! `oomtrace memory` of nodes that are folders of files.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    Outcome,
    folder::{State, serve},
    json, oomtrace,
};

fn put(root: &Path, path: &str, text: &str) -> Outcome {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().ok_or("no folder")?)?;
    Ok(fs::write(path, text)?)
}

fn bytes(report: &Value, lens: &str) -> Option<u64> {
    report["lenses"].as_array()?.iter().find(|found| found["name"] == lens)?["bytes"].as_u64()
}

/// Every sum of a report adds up.
fn adds_up(report: &Value) -> Outcome {
    for sum in report["sums"].as_array().ok_or("no sums")? {
        let parts = sum["parts"].as_array().ok_or("no parts")?;
        let together: i64 = parts.iter().filter_map(|part| part["bytes"].as_i64()).sum();
        assert_eq!(Some(together), sum["bytes"].as_i64(), "{sum}");
    }
    Ok(())
}

#[test]
fn a_pod_is_shown_as_the_kubelet_shows_it_and_its_containers_add_up() -> Outcome {
    let state = State::read("evict-1.36-systemd-later")?;
    let root = tempfile::tempdir()?;
    state.write(root.path())?;
    let metrics = "pod_memory_working_set_bytes{namespace=\"default\",pod=\"gu-app\"} 105623552 1000\n";
    let answers = [
        ("/pods", state.pods.to_string()),
        ("/stats/summary", state.summary.to_string()),
        ("/metrics/resource", metrics.to_owned()),
    ];
    let url = serve(answers.map(|(path, body)| (path.to_owned(), body)).to_vec())?;
    let root = root.path().to_str().ok_or("no path")?;
    let report = json(&["memory", "default/gu-app", "--host-root", root, "--kubelet-url", &url])?;
    adds_up(&report)?;
    assert_eq!(report["what"], "pod default/gu-app");
    // /stats/summary of the same moment, to the byte.
    assert_eq!(bytes(&report, "usage"), Some(105_631_744));
    assert_eq!(bytes(&report, "working set"), Some(105_623_552));
    assert_eq!(bytes(&report, "RSS of the cgroup"), Some(105_058_304));
    assert_eq!((&report["limit_bytes"], &report["request_bytes"]), (&json!(200 << 20), &json!(200 << 20)));
    let said = report["kubelet"].as_array().ok_or("nothing said")?;
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said.iter().all(|said| said["difference_bytes"] == 0 && said["age_ms"].is_i64()), "{said:?}");
    let names: Vec<_> =
        report["containers"].as_array().ok_or("no containers")?.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, [&json!("(sandbox)"), &json!("app")]);
    assert_eq!(report["top"][0]["bytes"], 105_385_984, "kubectl top pod has no sandbox");
    assert!(report["missing"].to_string().contains("/metrics/cadvisor"), "{}", report["missing"]);
    let container = json(&["memory", "default/gu-app/app", "--host-root", root, "--kubelet-url", &url])?;
    assert_eq!((bytes(&container, "usage"), container["level"].as_str()), (Some(105_385_984), Some("container")));
    let wrong = oomtrace(&["memory", "default/gu-app/apps", "--host-root", root, "--kubelet-url", &url])?;
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("there are (sandbox), app"));
    Ok(())
}

#[test]
fn the_node_is_shown_as_free_htop_and_kubectl_show_it() -> Outcome {
    let state = State::read("evict-1.36-systemd-later")?;
    let root = tempfile::tempdir()?;
    state.write(root.path())?;
    // `free -m` of that moment says total 1973, used 712, free 1077, shared 8, buff/cache 326, available 1261.
    let meminfo = "MemTotal: 2020528 kB\nMemFree: 1102848 kB\nMemAvailable: 1291264 kB\nBuffers: 12288 kB\nCached: 306176 kB\n\
        SReclaimable: 15360 kB\nShmem: 8192 kB\nAnonPages: 501624 kB\nSlab: 40960 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
    put(root.path(), "/proc/meminfo", meminfo)?;
    let object = state.file("node.json");
    let root = root.path().to_str().ok_or("no path")?;
    let object = object.to_str().ok_or("no path")?;
    let url = state.kubelet()?;
    let report = json(&["memory", "--host-root", root, "--kubelet-url", &url, "--node-object", object])?;
    adds_up(&report)?;
    let mib = |lens: &str| bytes(&report, lens).map(|bytes| bytes >> 20);
    assert_eq!((mib("total"), mib("free: used")), (Some(1973), Some(712)));
    assert_eq!(
        (mib("free: buff/cache"), mib("free: available"), mib("htop: shared")),
        (Some(326), Some(1261), Some(8))
    );
    assert_eq!(mib("free: used, older"), Some(570), "less than what newer ones say");
    // The kubelet's: 732459008 of 971952Ki allocatable.
    assert_eq!(bytes(&report, "kubelet: working set"), Some(732_459_008));
    assert_eq!((&report["top"][0]["percent"], &report["top"][1]["percent"]), (&json!(73), &json!(35)));
    Ok(())
}

#[test]
fn both_versions_of_cgroups_are_read_and_a_process_stands_first() -> Outcome {
    let root = tempfile::tempdir()?;
    put(root.path(), "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")?;
    let folder = "/sys/fs/cgroup/memory/system.slice/app.service";
    put(root.path(), &format!("{folder}/memory.usage_in_bytes"), "20971520\n")?;
    put(root.path(), &format!("{folder}/memory.limit_in_bytes"), "41943040\n")?;
    let stat = "total_cache 8388608\ntotal_rss 10485760\ntotal_inactive_file 4194304\ntotal_active_file 4194304\ntotal_mapped_file 0\n";
    put(root.path(), &format!("{folder}/memory.stat"), stat)?;
    put(root.path(), &format!("{folder}/cgroup.procs"), "77\n78\n")?;
    put(root.path(), "/proc/meminfo", "MemTotal: 4096 kB\nMemFree: 1 kB\n")?;
    let status = "Name:\tapp\nVmSize:\t 9 kB\nVmRSS:\t 12 kB\nRssAnon:\t 8 kB\nRssFile:\t 4 kB\nRssShmem:\t 0 kB\n";
    put(root.path(), "/proc/77/status", status)?;
    put(root.path(), "/proc/77/cgroup", "9:memory:/system.slice/app.service\n0::/x\n")?;
    let root = root.path().to_str().ok_or("no path")?;
    let report = json(&["memory", "77", "--host-root", root, "--kubelet-url", "off"])?;
    adds_up(&report)?;
    assert_eq!(report["what"], "process app (77) in cgroup /system.slice/app.service");
    assert_eq!((bytes(&report, "working set"), &report["cgroup_version"]), (Some(16 << 20), &json!(1)));
    assert_eq!(report["processes"][0]["pid"], 77);
    // 78 has gone, and 77 does not say what it shares.
    let missing = report["missing"].to_string();
    assert!(missing.contains("PSS and USS") && missing.contains("1 processes that ended meanwhile"), "{missing}");
    for gone in ["/system.slice/gone", "4194303", "shop/gone"] {
        let output = oomtrace(&["memory", gone, "--host-root", root, "--kubelet-url", "off"])?;
        assert_eq!(output.status.code(), Some(1), "{gone}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
