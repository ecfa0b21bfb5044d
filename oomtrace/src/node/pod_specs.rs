//! What pods' specifications say of memory: requests, limits, priority. From the kubelet's `/pods`, or `kubectl get pods -o
//! json`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    budget::together,
    cgroup_path::{ContainerId, PodUid, QosClass},
};
use crate::quantity;

/// A pod's specification, as far as it concerns memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSpec {
    /// As its cgroup knows it: a static pod's is the hash of its manifest.
    pub uid: Option<PodUid>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its class.
    pub qos: Option<QosClass>,
    /// Its priority; 0 where it has none.
    pub priority: i32,
    /// Whether the kubelet never evicts it: static, a mirror of a static one, or of a critical priority.
    pub critical: bool,
    /// Whether it has ended: `Succeeded` or `Failed`.
    pub ended: bool,
    /// What it requests, in bytes; 0 for nothing.
    pub request_bytes: u64,
    /// Its limit in bytes, where every container has one, or the pod itself.
    pub limit_bytes: Option<u64>,
    /// Its containers by name, without those that have ended init.
    pub containers: BTreeMap<String, ContainerSpec>,
}

/// A container's specification, as far as it concerns memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Its id; `None` before it is made.
    pub id: Option<ContainerId>,
    /// What it requests, in bytes.
    pub request_bytes: Option<u64>,
    /// Its limit, in bytes.
    pub limit_bytes: Option<u64>,
    /// Whether it is an init container that ends before the others start.
    pub init: bool,
}

/// Reads a list of pods.
///
/// # Errors
///
/// Fails where it is none.
pub fn parse(json: &[u8]) -> Result<Vec<PodSpec>, String> {
    let list: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    match list.get("items") {
        Some(Value::Array(items)) => Ok(items.iter().map(pod).collect()),
        Some(Value::Null) => Ok(Vec::new()),
        _ => Err("not a list of pods: there are no items in it".to_owned()),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn pod(pod: &Value) -> PodSpec {
    let annotation = |key: &str| pod.pointer("/metadata/annotations")?.get(key)?.as_str();
    let mirror = annotation("kubernetes.io/config.mirror");
    let hash = mirror.or_else(|| annotation("kubernetes.io/config.hash"));
    let source = annotation("kubernetes.io/config.source");
    let is_static = mirror.is_some() || source.is_some_and(|source| source != "api");
    let priority =
        pod.pointer("/spec/priority").and_then(Value::as_i64).and_then(|priority| i32::try_from(priority).ok());
    let priority = priority.unwrap_or(0);
    let phase = text(pod, "/status/phase");
    let containers = containers(pod);
    PodSpec {
        uid: [hash, text(pod, "/metadata/uid")].into_iter().flatten().find_map(|uid| uid.parse().ok()),
        namespace: text(pod, "/metadata/namespace").unwrap_or("default").to_owned(),
        name: text(pod, "/metadata/name").unwrap_or_default().to_owned(),
        qos: pod.pointer("/status/qosClass").and_then(|qos| serde_json::from_value(qos.clone()).ok()),
        priority,
        critical: is_static || priority >= super::ranking::CRITICAL_PRIORITY,
        ended: matches!(phase, Some("Succeeded" | "Failed")),
        request_bytes: request(pod),
        limit_bytes: limit(pod, &containers),
        containers,
    }
}

fn memory(of: &Value, kind: &str) -> Option<u64> {
    amount(of.pointer(&format!("/resources/{kind}/memory"))?)
}

fn amount(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => quantity::bytes(text),
        number => number.as_u64(),
    }
}

fn list<'a>(pod: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    pod.pointer(&format!("/spec/{kind}")).and_then(Value::as_array).into_iter().flatten()
}

/// Whether an init container stays: a sidecar.
fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == Some("Always")
}

/// What the scheduler and the kubelet count (`GetResourceRequestQuantity`, `pkg/api/v1/resource/helpers.go`): the pod's own
/// request where it has one; else the containers' and sidecars' sum, or the most that init needs at a time; and the overhead.
fn request(pod: &Value) -> u64 {
    let of = |container: &Value| memory(container, "requests").or_else(|| memory(container, "limits")).unwrap_or(0);
    let mut sidecars = 0_u64;
    let mut peak = 0;
    for container in list(pod, "initContainers") {
        if is_sidecar(container) {
            sidecars = sidecars.saturating_add(of(container));
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars.saturating_add(of(container)));
        }
    }
    let sum = together(list(pod, "containers").map(of)).saturating_add(sidecars);
    let of_pod = pod.pointer("/spec/resources/requests/memory").and_then(amount);
    let overhead = pod.pointer("/spec/overhead/memory").and_then(amount).unwrap_or(0);
    of_pod.unwrap_or_else(|| sum.max(peak)).saturating_add(overhead)
}

/// The pod's own limit, or the sum of all containers' where each has one (`ResourceConfigForPod`).
fn limit(pod: &Value, containers: &BTreeMap<String, ContainerSpec>) -> Option<u64> {
    let of_pod = pod.pointer("/spec/resources/limits/memory").and_then(amount);
    let overhead = pod.pointer("/spec/overhead/memory").and_then(amount).unwrap_or(0);
    let bounded = containers.values().all(|container| container.limit_bytes.is_some()) && !containers.is_empty();
    let running = containers.values().filter(|container| !container.init).filter_map(|container| container.limit_bytes);
    let init = containers.values().filter(|container| container.init).filter_map(|container| container.limit_bytes);
    let sum = bounded.then(|| together(running).max(init.max().unwrap_or(0)));
    of_pod.or(sum).map(|limit| limit.saturating_add(overhead))
}

fn containers(pod: &Value) -> BTreeMap<String, ContainerSpec> {
    let mut found = BTreeMap::new();
    for (kind, init) in [("containers", false), ("initContainers", true)] {
        for container in list(pod, kind) {
            let Some(name) = text(container, "/name") else { continue };
            let spec = ContainerSpec {
                id: None,
                request_bytes: memory(container, "requests").or_else(|| memory(container, "limits")),
                limit_bytes: memory(container, "limits"),
                init: init && !is_sidecar(container),
            };
            found.insert(name.to_owned(), spec);
        }
    }
    for statuses in ["containerStatuses", "initContainerStatuses"] {
        for status in pod.pointer(&format!("/status/{statuses}")).and_then(Value::as_array).into_iter().flatten() {
            let id = text(status, "/containerID").and_then(|id| id.rsplit('/').next()?.parse().ok());
            if let Some(spec) = text(status, "/name").and_then(|name| found.get_mut(name)) {
                spec.id = id;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(spec: &str) -> PodSpec {
        let json =
            format!(r#"{{"items":[{{"metadata":{{"name":"p","namespace":"n"}},"spec":{spec},"status":{{}}}}]}}"#);
        parse(json.as_bytes()).expect("pods").remove(0)
    }

    #[test]
    fn a_pods_request_is_its_containers_or_what_init_needs_at_most_and_its_overhead() {
        let of = |memory: &str| format!(r#"{{"name":"c{memory}","resources":{{"requests":{{"memory":"{memory}"}}}}}}"#);
        let sum = only(&format!(r#"{{"containers":[{},{}]}}"#, of("100Mi"), of("50Mi")));
        assert_eq!((sum.request_bytes, sum.limit_bytes), (150 << 20, None));
        let init = only(&format!(
            r#"{{"containers":[{}],"initContainers":[{}],"overhead":{{"memory":"10Mi"}}}}"#,
            of("100Mi"),
            of("200Mi")
        ));
        assert_eq!(init.request_bytes, 210 << 20);
        let sidecar = r#"{"name":"s","restartPolicy":"Always","resources":{"requests":{"memory":"30Mi"}}}"#;
        let sidecar =
            only(&format!(r#"{{"containers":[{}],"initContainers":[{sidecar},{}]}}"#, of("100Mi"), of("90Mi")));
        assert_eq!(sidecar.request_bytes, 130 << 20);
        let own = only(&format!(r#"{{"resources":{{"requests":{{"memory":"1Gi"}}}},"containers":[{}]}}"#, of("1Mi")));
        assert_eq!(own.request_bytes, 1 << 30);
    }

    #[test]
    fn a_pod_is_limited_only_where_every_container_is() {
        let with = |memory: &str| format!(r#"{{"name":"c{memory}","resources":{{"limits":{{"memory":"{memory}"}}}}}}"#);
        let bare = r#"{"name":"bare"}"#;
        let both = only(&format!(r#"{{"containers":[{},{}]}}"#, with("100Mi"), with("50Mi")));
        assert_eq!((both.limit_bytes, both.request_bytes), (Some(150 << 20), 150 << 20));
        assert_eq!(only(&format!(r#"{{"containers":[{},{bare}]}}"#, with("100Mi"))).limit_bytes, None);
        let pod = only(&format!(r#"{{"resources":{{"limits":{{"memory":"1Gi"}}}},"containers":[{bare}]}}"#));
        assert_eq!(pod.limit_bytes, Some(1 << 30));
    }

    #[test]
    fn sizes_beyond_all_memory_are_the_largest_there_is() {
        let huge = r#"{"name":"c","resources":{"requests":{"memory":"15Ei"},"limits":{"memory":"15Ei"}}}"#;
        let pod = only(&format!(
            r#"{{"containers":[{huge},{huge}],"initContainers":[{huge}],"overhead":{{"memory":"15Ei"}},"priority":99999999999}}"#
        ));
        assert_eq!((pod.request_bytes, pod.limit_bytes, pod.priority), (u64::MAX, Some(u64::MAX), 0));
        let odd = only(r#"{"containers":[{"resources":7},null,"x"],"initContainers":{},"overhead":[]}"#);
        assert_eq!((odd.request_bytes, odd.containers.len()), (0, 0));
    }

    #[test]
    fn static_pods_and_critical_ones_are_never_evicted() {
        let json = br#"{"items":[
            {"metadata":{"name":"a","annotations":{"kubernetes.io/config.source":"file"}},"spec":{}},
            {"metadata":{"name":"b"},"spec":{"priority":2000001000}},
            {"metadata":{"name":"c","annotations":{"kubernetes.io/config.source":"api"}},"spec":{"priority":1000}}]}"#;
        let critical: Vec<_> = parse(json).expect("pods").into_iter().map(|pod| pod.critical).collect();
        assert_eq!(critical, [true, true, false]);
        assert!(parse(b"{}").is_err() && parse(b"no").is_err() && parse(br#"{"items":null}"#).is_ok());
    }
}
