//! A log as kubelet 1.20 writes it: sentences, pods as `name_namespace(uid)`, and no exit codes.

use std::collections::BTreeMap;

use super::recast::structured;

/// A message in 1.20's words; `None` where 1.20 says nothing of the kind. `uids` are of pods by `namespace/name`.
pub(crate) fn sentence(rest: &str, uids: &BTreeMap<String, String>) -> Option<String> {
    let Some((message, keys)) = structured(rest) else { return Some(rest.to_owned()) };
    let message = message.trim_matches('"');
    let key = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'));
    let pod = || full(key("pod")?, uids);
    let pods = || {
        let names = key("pods")?.trim_matches(['[', ']']);
        let names = names.split(',').filter_map(|name| full(name.trim_matches('"'), uids));
        Some(names.collect::<Vec<_>>().join(", "))
    };
    Some(match message {
        "SyncLoop ADD" => format!(r#"SyncLoop (ADD, "{}"): "{}""#, key("source")?, pods()?),
        "SyncLoop DELETE" => format!(r#"SyncLoop (DELETE, "{}"): "{}""#, key("source")?, pods()?),
        "SyncLoop (PLEG): event for pod" => {
            let event = key("event")?.replace("\":", ":").replace("{\"", "{").replace(",\"", ", ");
            format!(r#"SyncLoop (PLEG): "{}", event: &pleg.PodLifecycleEvent{event}"#, pod()?)
        }
        "Generic (PLEG): container finished" | "Evicting pod" | "Message for Container of pod" => return None,
        "Killing container with a grace period" => {
            format!(r#"Killing container "{}" with a {} second grace period"#, key("containerID")?, key("gracePeriod")?)
        }
        "Error syncing pod, skipping" => {
            let error: String = serde_json::from_str(keys.iter().find(|(key, _)| *key == "err")?.1).ok()?;
            let pod = pod()?;
            format!(r#"Error syncing pod {} ("{pod}"), skipping: {error}"#, uids.get(key("pod")?)?)
        }
        "Probe failed" => {
            let (probe, container) = (key("probeType")?, key("containerName")?);
            format!(r#"{probe} probe for "{}:{container}" failed (failure): {}"#, pod()?, key("output")?)
        }
        "Failed to admit pod to node" => {
            let conditions = key("nodeCondition")?.replace(['"', ','], " ");
            format!("Failed to admit pod {} - node has conditions: {conditions}", pod()?)
        }
        "Got sys oom event" => {
            r"Got sys oom event: &{801 memhog 2026-11-23 23:20:20.1 +0000 UTC m=+82.299366634 / / }".to_owned()
        }
        "Creating Container Manager object based on Node Config" => {
            let config = keys.iter().find(|(key, _)| *key == "nodeConfig")?.1;
            format!("{message}: {{NodeName:node1 HardEvictionThresholds:[{}]}}", thresholds(config)?)
        }
        "Patch status for pod" => {
            let patch = keys.iter().find(|(key, _)| *key == "patch")?.1;
            format!(r#"Patch status for pod "{}" with {patch}"#, pod()?)
        }
        _ => match message.strip_prefix("Eviction manager: ") {
            Some(said) => format!("eviction manager: {}", of_manager(said, &key, &pod, &pods)?),
            None => message.to_owned(),
        },
    })
}

/// As Go's `%+v` prints them.
fn thresholds(config: &str) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(config).ok()?;
    let each = config["HardEvictionThresholds"].as_array()?.iter().map(|threshold| {
        let value = &threshold["Value"];
        format!(
            "{{Signal:{} Operator:LessThan Value:{{Quantity:{} Percentage:{}}} GracePeriod:0s MinReclaim:<nil>}}",
            threshold["Signal"].as_str().unwrap_or_default(),
            value["Quantity"].as_str().unwrap_or("<nil>"),
            value["Percentage"]
        )
    });
    Some(each.collect::<Vec<_>>().join(" "))
}

fn of_manager<'a>(
    said: &str,
    key: &impl Fn(&str) -> Option<&'a str>,
    pod: &impl Fn() -> Option<String>,
    pods: &impl Fn() -> Option<String>,
) -> Option<String> {
    Some(match said {
        "attempting to reclaim" | "must evict pod(s) to reclaim" => format!("{said} {}", key("resourceName")?),
        "pods ranked for eviction" => format!("{said}: {}", pods()?),
        "pod is evicted successfully" => format!("pod {} is evicted successfully", pod()?),
        "pods evicted, waiting for pod to be cleaned up" => {
            format!("pods {} evicted, waiting for pod to be cleaned up", pods()?)
        }
        "pods successfully cleaned up" => format!("pods {} successfully cleaned up", pods()?),
        "eviction criteria not yet met" => format!("{said} for {}, duration: {}", key("threshold")?, key("duration")?),
        "threshold observed resource" => format!(
            "{}: threshold [signal={}, quantity={}] observed {}",
            key("log")?,
            key("signal")?,
            key("quantity")?,
            key("available")?
        ),
        said => said.to_owned(),
    })
}

/// `name_namespace(uid)`.
fn full(name: &str, uids: &BTreeMap<String, String>) -> Option<String> {
    let uid = uids.get(name)?;
    let (namespace, name) = name.split_once('/')?;
    Some(format!("{name}_{namespace}({uid})"))
}

/// The uids that a log tells, by `namespace/name`.
pub(crate) fn uids(log: &str) -> BTreeMap<String, String> {
    let of_line = |line: &str| {
        let (_, name) = line.split_once(r#"pod=""#)?;
        let (_, uid) = line.split_once(r#"{"ID":""#)?;
        Some((name.split_once('"')?.0.to_owned(), uid.split_once('"')?.0.to_owned()))
    };
    log.lines().filter(|line| line.contains("(PLEG): event for pod")).filter_map(of_line).collect()
}
