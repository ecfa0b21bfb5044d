//! The logs of nodes with a real kubelet, against what really happened there: the same truth as for what was recorded of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{data, lines};

#[test]
fn logs_alone_tell_every_kill_and_eviction_of_a_real_node_once_and_nothing_else() {
    let truth: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(data("live/truth.json")).expect("the truth")).expect("JSON");
    for (name, expected) in truth {
        let (kernel, kubelet) = (format!("live/{name}.kmsg.zst"), format!("live/{name}.kubelet.log.zst"));
        let mut arguments = vec!["--kubelet-log", &kubelet];
        if data(&kernel).exists() {
            arguments.extend(["--kernel-log", &kernel]);
        }
        // A kubelet of 1.20 logs, when it starts, the kills from before once more: they are none of this capture's.
        let begins = if name == "k120-evict" { "2026-11-28T10:03:42" } else { "" };
        let mut found = lines(&arguments);
        found.retain(|line| line["started"].as_str().is_some_and(|started| started >= begins));
        let summaries: Vec<_> = found.iter().map(|line| &line["verdict"]["summary"]).collect();
        let by_pod = |incidents: &[Value], pod: &dyn Fn(&Value) -> String| {
            let mut kills: BTreeMap<String, u64> = BTreeMap::new();
            for incident in incidents {
                *kills.entry(pod(incident)).or_default() += incident["kills"].as_u64().unwrap_or(0);
            }
            kills
        };
        let reported = by_pod(&found, &|line| {
            let part = |field: &str| line["pod"][field].as_str().unwrap_or("?").to_owned();
            format!("{}/{}", part("namespace"), part("name"))
        });
        let truth = by_pod(expected.as_array().expect("incidents"), &|incident| {
            incident["pod"].as_str().unwrap_or_default().to_owned()
        });
        assert_eq!(reported, truth, "{name}: {summaries:#?}");
        assert!(found.iter().all(|line| line["severity"] == "memory"), "{name}: {summaries:#?}");
    }
}

#[test]
fn kills_that_a_kubelet_logs_again_at_each_start_are_counted_once() {
    // 1.20.2 was started six times within an hour; the kernel killed 24 times.
    let found = lines(&["--kubelet-log", "live/k120-restarts.kubelet.log.zst"]);
    let kills: u64 = found.iter().filter_map(|line| line["kills"].as_u64()).sum();
    assert_eq!(kills, 24, "{:#?}", found.iter().map(|line| &line["verdict"]["summary"]).collect::<Vec<_>>());
}
