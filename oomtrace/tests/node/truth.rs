//! What holds on real nodes, to the byte.

use oomtrace::node::{
    budget::{Reservations, Threshold},
    kubelet_settings::{Layer, Settings},
};
use serde_json::Value;

use crate::{
    Outcome, STATES,
    folder::{State, serve},
    json, oomtrace,
};

#[test]
fn allocatable_and_the_limit_of_kubepods_are_what_the_configuration_makes_of_the_capacity() -> Outcome {
    for name in STATES {
        let state = State::read(name)?;
        let settings = Settings::of(vec![Layer::of_config("kubelet.yaml", &state.config()?)?]);
        let hard: Threshold =
            settings.entry("evictionHard", "memory.available").value.ok_or("no threshold")?.parse()?;
        let budget = Reservations {
            capacity_bytes: state.status("capacity/memory").ok_or("no capacity")?,
            hard: Some(hard),
            enforce_pods: settings.text("enforceNodeAllocatable").value.as_deref() == Some("pods"),
            ..Reservations::default()
        }
        .budget();
        assert_eq!(Some(budget.allocatable_bytes), state.status("allocatable/memory"), "{name}");
        for path in ["/kubepods.slice", "/kubepods"] {
            let Some(tree) = state.cgroups.get(path) else { continue };
            assert_eq!(tree.limit, Some(budget.kubepods_limit_bytes), "{name}: {path}");
        }
        let classes = state
            .cgroups
            .iter()
            .filter(|(path, _)| path.ends_with("burstable.slice") || path.ends_with("besteffort.slice"));
        assert!(
            classes.clone().count() > 0 && classes.map(|(_, class)| class.limit).all(|limit| limit.is_none()),
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn what_the_kubelet_calls_available_is_a_limit_less_a_working_set() -> Outcome {
    let bytes = |figures: &Value, name: &str| figures[name].as_u64();
    let (mut pods, mut bounded) = (0, 0);
    for name in STATES {
        let state = State::read(name)?;
        let node = &state.summary["node"]["memory"];
        let sum = bytes(node, "availableBytes").zip(bytes(node, "workingSetBytes")).map(|(a, b)| a + b);
        assert_eq!(sum, state.status("capacity/memory"), "{name}: the node");
        let of_pods = state.of_pods().ok_or("no pods")?;
        let sum = bytes(of_pods, "availableBytes").zip(bytes(of_pods, "workingSetBytes")).map(|(a, b)| a + b);
        assert_eq!(sum, state.kubepods().and_then(|(_, kubepods)| kubepods.limit), "{name}: kubepods");
        for pod in state.summary["pods"].as_array().into_iter().flatten() {
            let figures = &pod["memory"];
            let Some((path, cgroup)) = state.cgroup_of(pod) else { continue };
            assert!(bytes(figures, "workingSetBytes") <= bytes(figures, "usageBytes"), "{name}: {path}");
            pods += 1;
            // The rest is older than the cgroup's file.
            if let Some((limit, available)) = cgroup.limit.zip(bytes(figures, "availableBytes")) {
                assert_eq!(Some(limit - available), bytes(figures, "workingSetBytes"), "{name}: {path}");
                bounded += 1;
            }
        }
    }
    assert!(pods >= 10 && bounded >= 3, "{pods} pods, {bounded} with a limit");
    Ok(())
}

#[test]
fn the_signals_are_those_of_the_kubelet_and_the_sources_of_the_budget_agree() -> Outcome {
    for name in STATES {
        let state = State::read(name)?;
        let root = tempfile::tempdir()?;
        state.write(root.path())?;
        let root = root.path().to_str().ok_or("no path")?;
        let object = state.file("node.json");
        let url = state.kubelet()?;
        let report = json(&[
            "node",
            "--host-root",
            root,
            "--interval=0s",
            "--kubelet-url",
            &url,
            "--node-object",
            object.to_str().ok_or("no path")?,
        ])?;
        for figure in ["capacity", "allocatable", "kubepods_limit"] {
            let figure = &report["budget"][figure];
            let others = figure["others"].as_array().ok_or("no others")?;
            assert!(
                !others.is_empty() && others.iter().all(|other| other["value"] == figure["bytes"]),
                "{name}: {figure}"
            );
        }
        let signals = report["now"]["signals"].as_array().ok_or("no signals")?;
        assert_eq!(signals[0]["available_bytes"], state.summary["node"]["memory"]["availableBytes"], "{name}");
        assert_eq!(signals[0]["kubelet_available_bytes"], signals[0]["available_bytes"], "{name}");
        let of_pods = state.of_pods().ok_or("no pods")?;
        // Three captures read the cgroup seconds apart from the kubelet.
        if state.kubepods().map(|(_, kubepods)| kubepods.current) == of_pods["usageBytes"].as_u64() {
            assert_eq!(signals[1]["available_bytes"], of_pods["availableBytes"], "{name}");
        }
        assert_eq!(signals[0]["threshold_bytes"], signals[1]["threshold_bytes"], "{name}");
        let pods = report["pods"].as_array().ok_or("no pods")?;
        assert!(pods.iter().filter(|pod| pod["working_set_bytes"].is_u64()).count() >= 2, "{name}: {pods:?}");
        let old = report["warnings"].to_string().contains("takes the node's use for 0");
        assert_eq!(old, name.contains("1.20"), "{name}");
    }
    Ok(())
}

#[test]
fn pods_over_their_request_would_be_evicted_first() -> Outcome {
    let state = State::read("evict-1.36-systemd-later")?;
    let root = tempfile::tempdir()?;
    state.write(root.path())?;
    let url = state.kubelet()?;
    let root = root.path().to_str().ok_or("no path")?;
    let report = json(&["node", "--host-root", root, "--interval=0s", "--kubelet-url", &url])?;
    // As the kubelet ranked them in its last pass, without those that it evicted; the best-effort one came later.
    assert_eq!(
        report["eviction_order"],
        serde_json::json!(["team-a/bu-hog", "default/late-besteffort", "default/gu-app"])
    );
    Ok(())
}

#[test]
fn what_if_says_what_would_be_allocatable_and_leaves_the_limit_to_reservations() -> Outcome {
    let state = State::read("oomkill-1.36-systemd-mid")?;
    let root = tempfile::tempdir()?;
    state.write(root.path())?;
    let root = root.path().to_str().ok_or("no path")?;
    let ask = |options: &[&str]| {
        json(&[&["node", "--host-root", root, "--interval=0s", "--kubelet-url", "off"], options].concat())
    };
    let capacity = 2_020_528_u64 << 10;
    let report = ask(&["--eviction-hard", "memory.available=1Gi", "--kube-reserved=memory=200Mi,cpu=1"])?;
    let would_be = &report["what_if"];
    assert_eq!(would_be["allocatable"]["bytes"], capacity - (1 << 30) - (200 << 20));
    assert_eq!(would_be["kubepods_limit"]["bytes"], capacity - (200 << 20));
    assert_eq!(report["budget"]["kubepods_limit"]["bytes"], capacity, "as it is");
    let report = ask(&["--system-reserved=memory=3Gi"])?;
    assert_eq!(report["what_if"]["valid"], false);
    let report = ask(&["--eviction-hard="])?;
    assert_eq!(report["what_if"]["hard_bytes"], Value::Null);
    let refused = oomtrace(&["node", "--kube-reserved=memory=1GB"])?;
    assert_eq!(refused.status.code(), Some(2));
    Ok(())
}

#[test]
fn a_node_without_a_threshold_is_warned_of_and_both_sources_of_a_setting_are_shown() -> Outcome {
    let state = State::read("oomkill-1.36-systemd-mid")?;
    let root = tempfile::tempdir()?;
    state.write(root.path())?;
    let configz = r#"{"kubeletconfig":{"evictionHard":{"nodefs.available":"5%"},"systemReserved":{"memory":"1Gi"}}}"#;
    let url = serve(vec![("/configz".to_owned(), configz.to_owned()), ("/pods".to_owned(), state.pods.to_string())])?;
    let root = root.path().to_str().ok_or("no path")?;
    let report = json(&["node", "--host-root", root, "--interval=0s", "--kubelet-url", &url])?;
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("never evicts for memory") && warnings.contains("Sources differ"), "{warnings}");
    let hard = &report["budget"]["hard"];
    assert_eq!((&hard["value"], &hard["others"][0]["from"]), (&Value::Null, &Value::from("/lab/kubelet.yaml")));
    assert_eq!(report["budget"]["system_reserved"]["from"], format!("{url}/configz"));
    assert!(report["missing"].to_string().contains("/stats/summary"), "{}", report["missing"]);
    Ok(())
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_shown() -> Outcome {
    let state = State::read("oomkill-1.36-systemd-mid")?;
    let root = tempfile::tempdir()?;
    state.write(root.path())?;
    std::fs::write(root.path().join("lab/kubelet.yaml"), "evictionHard: [\n")?;
    std::fs::write(root.path().join("sys/fs/cgroup/kubepods.slice/memory.current"), "lots\n")?;
    let root = root.path().to_str().ok_or("no path")?;
    let asked = ["node", "--host-root", root, "--interval=0s", "--kubelet-url", "http://127.0.0.1:1"];
    let report = json(&asked)?;
    let missing = report["missing"].to_string();
    for named in ["/lab/kubelet.yaml", "memory.current of /kubepods.slice", "does not answer at http://127.0.0.1:1"] {
        assert!(missing.contains(named), "{named} is not in {missing}");
    }
    assert_eq!(report["budget"]["capacity"]["bytes"], 2_020_528_u64 << 10);
    assert_eq!(report["now"]["signals"].as_array().map(Vec::len), Some(1), "the node's is still there");
    let text = oomtrace(&asked)?;
    assert!(text.status.success() && String::from_utf8_lossy(&text.stdout).contains("Not read"));
    Ok(())
}

#[test]
fn what_memory_qos_and_swap_set_stands_beside_what_the_formulas_make_of_it() -> Outcome {
    let state = State::read("evict-1.36-systemd-later")?;
    let root = tempfile::tempdir()?;
    state.write(root.path())?;
    let config = state.config()? + "featureGates: {MemoryQoS: true}\nmemorySwap: {swapBehavior: LimitedSwap}\n";
    std::fs::write(root.path().join("lab/kubelet.yaml"), config)?;
    let meminfo =
        "MemTotal: 2020528 kB\nMemFree: 9 kB\nMemAvailable: 9 kB\nSwapTotal: 1048576 kB\nSwapFree: 1048576 kB\n";
    std::fs::write(root.path().join("proc/meminfo"), meminfo)?;
    // bu-hog's container: 100Mi requested, no limit.
    let id = "cri-containerd-d29c88e42c03d1d7b7a6f6d7d3efcf6ce474471d4901650376c7366806dda467.scope";
    let (path, _) = state.cgroups.iter().find(|(path, _)| path.ends_with(id)).ok_or("no container")?;
    let folder = root.path().join("sys/fs/cgroup").join(path.trim_start_matches('/'));
    std::fs::write(folder.join("memory.high"), "1872601088\n")?;
    std::fs::write(folder.join("memory.swap.max"), "max\n")?;
    let root = root.path().to_str().ok_or("no path")?;
    let url = state.kubelet()?;
    let report = json(&["node", "--host-root", root, "--interval=0s", "--kubelet-url", &url])?;
    let set = report["guarantees"].as_array().ok_or("nothing set")?;
    let found = set.iter().find(|set| set["cgroup"] == path.as_str()).ok_or("not this container")?;
    assert_eq!((&found["high_bytes"], &found["high_computed_bytes"]), (&1_872_601_088.into(), &1_872_601_088.into()));
    assert_eq!((&found["swap_limit_bytes"], &found["swap_computed_bytes"]), (&Value::Null, &54_417_044.into()));
    assert!(report["warnings"].to_string().contains("memory.swap.max is max"), "{}", report["warnings"]);
    Ok(())
}
