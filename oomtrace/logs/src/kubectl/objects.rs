//! From JSON of any of the forms to the table.
//!
//! What an object is, it shows by what it has: a pod has a specification with containers, an event says what it involves,
//! a container of the CRI has a label with its name. So lists of any kind, single objects and the several answers that
//! tools print into one file are read alike. The CRI's names are written in both of its spellings.

use jiff::Timestamp;
use oomtrace_model::{ContainerId, ContainerRole, Owner, Pod, PodUid, QosClass, fact::names_image, quantity};
use serde::Deserialize as _;
use serde_json::Value;

mod snake;

use super::{
    EndRecord, EvictionNotice, PodRecord, Snapshot,
    events::{add, event, notice},
    heap::heap_settings,
    printed,
};

/// What a file held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Pods.
    pub pods: usize,
    /// Containers and sandboxes of the runtime.
    pub runtime: usize,
    /// Events.
    pub events: usize,
    /// Nodes.
    pub nodes: usize,
}

impl Found {
    /// Whether there was nothing of use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each = [
            (self.pods, "pods"),
            (self.runtime, "containers of the runtime"),
            (self.events, "events"),
            (self.nodes, "nodes"),
        ];
        let each: Vec<_> =
            each.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        f.write_str(&if each.is_empty() { "nothing of use".to_owned() } else { each.join(", ") })
    }
}

/// What a file could not be read as.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It begins as JSON does.
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It does not.
    #[error("it is neither JSON nor YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// Text of any kind.
    #[error("it is neither JSON nor YAML")]
    Text,
}

/// Reads a file's text: JSON values one after the other, YAML documents, or what kubectl prints for people.
///
/// # Errors
///
/// Fails where it is neither JSON nor YAML.
pub fn read(text: &[u8], into: &mut Snapshot) -> Result<Found, Unreadable> {
    let mut found = Found::default();
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_none_or(|first| b"[{".contains(first)) {
        for value in serde_json::Deserializer::from_slice(text).into_iter::<Value>() {
            match value {
                Ok(value) => walk(&value, into, &mut found),
                // A tool's last words behind the JSON do not spoil it.
                Err(_) if !found.is_empty() => break,
                // A line that begins with a bracket, and more below it.
                Err(_) if printed::has_part(text) => return Ok(printed::read(text, into)),
                Err(error) => return Err(error.into()),
            }
        }
        return Ok(found);
    }
    if first == Some(&b'"')
        && let Some(value) = member(text)
    {
        walk(&value, into, &mut found);
        return Ok(found);
    }
    if printed::is_printed(text) {
        return Ok(printed::read(text, into));
    }
    let yaml = yaml(text, into);
    match yaml {
        Ok(found) if !found.is_empty() => return Ok(found),
        _ => {}
    }
    // A part of what is printed, among anything else.
    let found = printed::read(text, into);
    if !found.is_empty() {
        return Ok(found);
    }
    match marked(text).and_then(|marked| read(&marked, into).ok()) {
        Some(found) => Ok(found),
        None => yaml,
    }
}

/// Whether what is quoted, or between fences, in a text of Markdown is JSON or YAML that is read.
#[must_use]
pub fn has_marked(text: &[u8]) -> bool {
    let words: [&[u8]; 4] = [b"involvedObject", b"containerStatuses", b"terminated", b"Evicted"];
    if !words.iter().any(|word| memchr::memmem::find(text, word).is_some()) {
        return false;
    }
    let Some(marked) = marked(text) else { return false };
    let is_json = marked.trim_ascii_start().starts_with(b"{") || marked.trim_ascii_start().starts_with(b"[");
    let mut into = Snapshot::default();
    let found = if is_json { read(&marked, &mut into) } else { yaml(&marked, &mut into) };
    found.is_ok_and(|found| !found.is_empty())
}

/// What is quoted, or between fences, in a text of Markdown.
fn marked(text: &[u8]) -> Option<Vec<u8>> {
    const FENCE: &[u8] = b"```";
    let lines = || text.split(|byte| *byte == b'\n');
    let written = |line: &&[u8]| !line.trim_ascii().is_empty();
    if lines().filter(written).all(|line| line.starts_with(b">")) && lines().any(|line| line.starts_with(b">")) {
        return Some(lines().map(unquoted).collect::<Vec<_>>().join(&b'\n'));
    }
    let fences = lines().filter(|line| line.trim_ascii_start().starts_with(FENCE)).count();
    let mut inside = false;
    let between = lines().filter(|line| {
        let is_fence = line.trim_ascii_start().starts_with(FENCE);
        inside ^= is_fence;
        inside && !is_fence
    });
    (fences > 1).then(|| between.collect::<Vec<_>>().join(&b'\n'))
}

/// A line without all marks of quotes, however deep.
fn unquoted(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_prefix(b">") {
        line = rest.strip_prefix(b" ").unwrap_or(rest);
    }
    line
}

/// A member of a JSON object, cut out of it: `"lastState": {…},`.
fn member(text: &[u8]) -> Option<Value> {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b",").unwrap_or(text);
    serde_json::from_slice(&[b"{", text, b"}"].concat()).ok()
}

/// Reads YAML documents.
fn yaml(text: &[u8], into: &mut Snapshot) -> Result<Found, Unreadable> {
    let mut found = Found::default();
    for document in serde_yaml_ng::Deserializer::from_slice(text) {
        match Value::deserialize(document) {
            // Any text is YAML of a kind: one long string.
            Ok(Value::String(_)) if found.is_empty() => return Err(Unreadable::Text),
            Ok(value) => walk(&value, into, &mut found),
            Err(_) if !found.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn walk(value: &Value, into: &mut Snapshot, found: &mut Found) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, into, found)),
        Value::Object(fields) => {
            if snake::is_written_so(value) {
                walk(&snake::as_the_api_writes(value), into, found);
            } else if value.pointer("/spec/containers").is_some() {
                found.pods += usize::from(pod(value, into).is_some());
            } else if value.get("involvedObject").or_else(|| value.get("regarding")).is_some() {
                found.events += 1;
                event(value, into);
            } else if value.pointer("/status/nodeInfo").is_some() {
                found.nodes += 1;
                node(value, into);
            } else if value.get("id").is_some() && pod_uid(value).is_some() {
                found.runtime += usize::from(of_runtime(value, into).is_some());
            } else if value.pointer("/State/OOMKilled").is_some() {
                found.runtime += usize::from(of_docker(value, into).is_some());
            } else if is_status(value) {
                found.pods += usize::from(status_alone(value, into));
            } else {
                fields.values().for_each(|field| walk(field, into, found));
            }
        }
        _ => {}
    }
}

fn pod(value: &Value, into: &mut Snapshot) -> Option<()> {
    let (metadata, spec, status) = (value.get("metadata")?, value.get("spec")?, value.get("status"));
    let shown: Option<PodUid> = text(metadata, "uid").and_then(|uid| uid.parse().ok());
    // A static pod's mirror: the node knows it by the hash.
    let hash = metadata.pointer("/annotations/kubernetes.io~1config.mirror").and_then(Value::as_str);
    let uid = hash.and_then(|hash| hash.parse().ok()).or_else(|| shown.clone());
    if let (Some(shown), Some(uid)) = (shown, &uid)
        && *uid != shown
    {
        into.mirrors.insert(shown, uid.clone());
    }
    let named = Pod {
        namespace: text(metadata, "namespace").map(str::to_owned),
        name: text(metadata, "name").map(str::to_owned),
        uid,
        qos: status.and_then(|status| text(status, "qosClass")).and_then(qos),
        owner: owner(metadata),
    };
    if let Some(node) = text(spec, "nodeName").filter(|node| !into.nodes.iter().any(|known| known == node)) {
        into.nodes.push(node.to_owned());
    }
    if named.uid.is_none() && named.name.is_none() {
        return None;
    }
    // Who posts a pod often leaves its uid out.
    let record = entry(into, named.clone());
    record.complete = true;
    record.node = text(spec, "nodeName").map(str::to_owned).or(record.node.take());
    record.created = metadata.get("creationTimestamp").filter(|_| hash.is_none()).and_then(moment);
    let lists = [
        ("containers", ContainerRole::App),
        ("initContainers", ContainerRole::Init),
        ("ephemeralContainers", ContainerRole::Ephemeral),
    ];
    for (list, role) in lists {
        for container in spec.get(list).and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = text(container, "name") else { continue };
            let memory = |kind: &str| {
                container
                    .pointer(&format!("/resources/{kind}/memory"))
                    .and_then(Value::as_str)
                    .and_then(quantity::bytes)
            };
            let entry = record.containers.entry(name.to_owned()).or_default();
            entry.role = Some(role.with_restart_policy(text(container, "restartPolicy")));
            entry.image = text(container, "image").map(str::to_owned).or(entry.image.take());
            entry.heap_settings = heap_settings(container);
            entry.limit_bytes = memory("limits").or(entry.limit_bytes);
            entry.request_bytes = memory("requests").or(entry.request_bytes);
        }
    }
    let Some(status) = status else { return Some(()) };
    record.reason = text(status, "reason").map(str::to_owned).or(record.reason.take());
    for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        for container in status.get(list).and_then(Value::as_array).into_iter().flatten() {
            container_status(container, record);
        }
    }
    let node = text(spec, "nodeName").map(str::to_owned);
    let evicted = eviction(named, status).map(|notice| EvictionNotice { node, ..notice });
    if evicted.is_some() && text(status, "phase") == Some("Succeeded") {
        record.reason = Some("Completed".to_owned());
    }
    if let Some(notice) = evicted {
        add(notice, into);
    }
    Some(())
}

/// What a pod's status says of its eviction. One whose containers all exited with 0 has no reason (kubernetes#105467), but the
/// condition of 1.26 on.
fn eviction(pod: Pod, status: &Value) -> Option<EvictionNotice> {
    let conditions = || status.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let by_kubelet = |condition: &&Value| {
        text(condition, "type") == Some("DisruptionTarget") && text(condition, "reason") == Some("TerminationByKubelet")
    };
    let message = match text(status, "reason") {
        Some("Evicted") => text(status, "message"),
        _ => conditions().find(by_kubelet).and_then(|condition| text(condition, "message")),
    };
    let ts = changed(status).map(|at| at.to_string());
    Some(EvictionNotice { ts, ..notice(pod, message?)? })
}

/// Whether an object is a pod's status, or a container's, without the pod around it.
fn is_status(value: &Value) -> bool {
    let evicted = || text(value, "reason") == Some("Evicted") && value.get("message").is_some();
    let ended = ["/lastState/terminated", "/state/terminated"];
    value.get("containerStatuses").is_some_and(Value::is_array)
        || evicted()
        || ended.iter().any(|at| value.pointer(at).is_some())
        || (value.get("exitCode").is_some() && value.get("reason").is_some() && value.get("finishedAt").is_some())
}

/// Takes in a status whose pod is not known.
fn status_alone(value: &Value, into: &mut Snapshot) -> bool {
    let evicted = eviction(Pod { name: Some(String::new()), ..Pod::default() }, value);
    let mut any = evicted.is_some();
    if let Some(notice) = evicted {
        add(notice, into);
    }
    let record = entry(into, Pod::default());
    record.node = record.node.take().or_else(|| text(value, "nodeName").map(str::to_owned));
    for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        for container in value.get(list).and_then(Value::as_array).into_iter().flatten() {
            // The name is the last key of the list, and what was cut out may end before.
            container_status(&with(container, "name", text(container, "name").unwrap_or_default()), record);
            any = true;
        }
    }
    if ["state", "lastState"].iter().any(|state| value.get(state).is_some()) {
        let name = text(value, "name").unwrap_or_default();
        container_status(&with(value, "name", name), record);
        any = true;
    } else if value.get("exitCode").is_some() {
        let state = serde_json::json!({"name": "", "lastState": {"terminated": value}});
        container_status(&state, record);
        any = true;
    }
    any
}

fn with(value: &Value, field: &str, text: &str) -> Value {
    let mut value = value.clone();
    if let Value::Object(fields) = &mut value {
        fields.insert(field.to_owned(), Value::from(text));
    }
    value
}

/// A container of Docker's, as `docker inspect` describes it: one of Kubernetes' has its names as labels.
fn of_docker(value: &Value, into: &mut Snapshot) -> Option<()> {
    let id = container_id(text(value, "Id").unwrap_or_default());
    let label = |name: &str| value.pointer("/Config/Labels")?.get(format!("io.kubernetes.{name}"))?.as_str();
    let pod = Pod {
        namespace: label("pod.namespace").map(str::to_owned),
        name: label("pod.name").map(str::to_owned),
        uid: label("pod.uid").and_then(|uid| uid.parse().ok()),
        ..Pod::default()
    };
    let name = label("container.name").or_else(|| Some(text(value, "Name")?.trim_start_matches('/')));
    let state = value.get("State")?;
    let record = entry(into, pod);
    let container = record.containers.entry(name.unwrap_or_default().to_owned()).or_default();
    let restarts = value.get("RestartCount").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
    if let Some(id) = &id {
        container.add_id(id.clone(), restarts);
    }
    container.image = value.pointer("/Config/Image").and_then(Value::as_str).map(str::to_owned);
    let limit = value.pointer("/HostConfig/Memory").and_then(Value::as_u64).filter(|limit| *limit > 0);
    container.limit_bytes = limit.or(container.limit_bytes);
    if state.get("Running").and_then(Value::as_bool) == Some(true) {
        return Some(());
    }
    let killed = state.get("OOMKilled").and_then(Value::as_bool) == Some(true);
    let code = state.get("ExitCode").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok());
    let reason = if killed { "OOMKilled" } else { "Error" };
    let end = EndRecord {
        exit_code: code,
        reason: Some(reason.to_owned()).filter(|_| killed || code != Some(0)),
        ended: state.get("FinishedAt").and_then(moment),
        finished: None,
    };
    match id {
        Some(id) => {
            container.ends.insert(id, end);
        }
        None => container.unnamed_ends.push(end),
    }
    Some(())
}

/// When the kubelet ended an evicted pod: the condition that says so (1.26 on), else the latest end of a container, the last
/// condition that changed, or at least when the pod was started.
fn changed(status: &Value) -> Option<Timestamp> {
    let conditions = || status.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let at = |condition: &Value| condition.get("lastTransitionTime").and_then(moment);
    let disrupted = conditions().find(|condition| text(condition, "type") == Some("DisruptionTarget")).and_then(at);
    let ends = status.get("containerStatuses").and_then(Value::as_array).into_iter().flatten();
    let ended =
        || ends.filter_map(|container| container.pointer("/state/terminated/finishedAt").and_then(moment)).max();
    disrupted
        .or_else(ended)
        .or_else(|| conditions().filter_map(at).max())
        .or_else(|| status.get("startTime").and_then(moment))
}

fn container_status(status: &Value, record: &mut PodRecord) {
    let Some(name) = text(status, "name") else { return };
    let entry = record.containers.entry(name.to_owned()).or_default();
    // Of the container that is there now, or was last.
    let count = status.get("restartCount").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
    entry.restart_count = entry.restart_count.max(count);
    let current = text(status, "containerID").and_then(container_id);
    if let Some(id) = &current {
        entry.add_id(id.clone(), count);
    }
    for state in ["state", "lastState"] {
        let Some(ended) = status.pointer(&format!("/{state}/terminated")) else { continue };
        let end = EndRecord {
            exit_code: ended.get("exitCode").and_then(Value::as_i64).and_then(|code| code.try_into().ok()),
            reason: text(ended, "reason").map(str::to_owned),
            ended: ended.get("finishedAt").and_then(moment),
            // Whole seconds: of no use to set a clock by.
            finished: None,
        };
        match text(ended, "containerID").and_then(container_id) {
            Some(id) => {
                // Another than the current one is the one before.
                let before = count.and_then(|count| count.checked_sub(1));
                entry.add_id(id.clone(), if current.as_ref() == Some(&id) { count } else { before });
                entry.ends.entry(id).or_insert(end);
            }
            None if !entry.unnamed_ends.contains(&end) => entry.unnamed_ends.push(end),
            None => {}
        }
    }
}

/// A container or a sandbox, as the CRI has it: `crictl ps -o json`, `crictl pods -o json`, `crictl inspect`.
fn of_runtime(value: &Value, into: &mut Snapshot) -> Option<()> {
    let id = container_id(text(value, "id")?)?;
    let of_pod = |field: &str| {
        let label = label(value, &format!("io.kubernetes.pod.{field}"));
        label.or_else(|| of_sandbox(value)?.get(field)?.as_str()).map(str::to_owned)
    };
    let named = Pod {
        namespace: of_pod("namespace"),
        name: of_pod("name"),
        uid: Some(pod_uid(value)?.parse().ok()?),
        ..Pod::default()
    };
    let name = label(value, "io.kubernetes.container.name");
    let record = enter(into, named)?;
    let Some(name) = name.filter(|name| *name != "POD") else {
        if !record.sandboxes.contains(&id) {
            record.sandboxes.push(id);
        }
        return Some(());
    };
    let entry = record.containers.entry(name.to_owned()).or_default();
    let count = value.pointer("/annotations/io.kubernetes.container.restartCount").and_then(Value::as_str);
    let count = count.and_then(|count| count.parse().ok());
    entry.add_id(id.clone(), count);
    entry.restart_count = entry.restart_count.max(count);
    if let Some(sandbox) =
        either(value, "pod_sandbox_id", "podSandboxId").and_then(Value::as_str).and_then(container_id)
        && !record.sandboxes.contains(&sandbox)
    {
        record.sandboxes.push(sandbox);
    }
    // The first is what the kubelet asked for: from CRI 1.29.
    let images = ["/image/user_specified_image", "/image/userSpecifiedImage", "/image/image"];
    let image = images.iter().filter_map(|at| value.pointer(at)?.as_str()).find(|image| names_image(image));
    entry.image = entry.image.take().or_else(|| image.map(str::to_owned));
    let linux = value.pointer("/resources/linux");
    let limit = linux.and_then(|linux| either(linux, "memory_limit_in_bytes", "memoryLimitInBytes")).and_then(number);
    entry.limit_bytes = entry.limit_bytes.or(limit.filter(|limit| *limit > 0));
    let finished = either(value, "finished_at", "finishedAt").and_then(moment);
    if let (Some(finished), Some(reason)) = (finished, text(value, "reason").filter(|reason| !reason.is_empty())) {
        let code = either(value, "exit_code", "exitCode").and_then(Value::as_i64).unwrap_or_default();
        let end = entry.ends.entry(id).or_insert_with(|| EndRecord {
            exit_code: code.try_into().ok(),
            reason: Some(reason.to_owned()),
            ended: None,
            finished: None,
        });
        end.finished = end.finished.or(Some(finished));
    }
    Some(())
}

fn node(value: &Value, into: &mut Snapshot) {
    let memory =
        |kind: &str| value.pointer(&format!("/status/{kind}/memory")).and_then(Value::as_str).and_then(quantity::bytes);
    into.capacity_bytes = into.capacity_bytes.or(memory("capacity"));
    into.allocatable_bytes = into.allocatable_bytes.or(memory("allocatable"));
    if let Some(name) = value.pointer("/metadata/name").and_then(Value::as_str)
        && !into.nodes.iter().any(|known| known == name)
    {
        into.nodes.push(name.to_owned());
    }
}

/// The pod's record, with what is new of its name.
pub(super) fn enter(into: &mut Snapshot, pod: Pod) -> Option<&mut PodRecord> {
    pod.uid.as_ref()?;
    Some(entry(into, pod))
}

/// The same of a pod whose uid may not be known: then it is that of its name, or of those of which nothing is known.
pub(super) fn entry(into: &mut Snapshot, pod: Pod) -> &mut PodRecord {
    let key = (pod.namespace.clone().unwrap_or_default(), pod.name.clone().unwrap_or_default());
    let record = match &pod.uid {
        Some(uid) => into.pods.entry(uid.clone()).or_default(),
        None => into.described.entry(key).or_default(),
    };
    let known = &mut record.pod;
    known.uid = pod.uid;
    known.namespace = known.namespace.take().or(pod.namespace);
    known.name = known.name.take().or(pod.name);
    known.qos = known.qos.or(pod.qos);
    known.owner = known.owner.take().or(pod.owner);
    record
}

/// `containerd://<id>`, or the id alone.
pub(super) fn container_id(text: &str) -> Option<ContainerId> {
    text.rsplit("://").next()?.parse().ok()
}

/// The controller among `metadata.ownerReferences`.
fn owner(metadata: &Value) -> Option<Owner> {
    let references = metadata.get("ownerReferences")?.as_array()?;
    let controller = references.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    Some(Owner { kind: text(controller, "kind")?.to_owned(), name: text(controller, "name")?.to_owned() })
}

fn qos(class: &str) -> Option<QosClass> {
    match class {
        "Guaranteed" => Some(QosClass::Guaranteed),
        "Burstable" => Some(QosClass::Burstable),
        "BestEffort" => Some(QosClass::BestEffort),
        _ => None,
    }
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

fn label<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get("labels")?.get(name)?.as_str()
}

/// A container has its pod's uid as a label, and so has a sandbox, if it is the kubelet's.
fn pod_uid(value: &Value) -> Option<&str> {
    label(value, "io.kubernetes.pod.uid").or_else(|| text(of_sandbox(value)?, "uid"))
}

/// What CRI itself says of a sandbox; a container has no uid there.
fn of_sandbox(value: &Value) -> Option<&Value> {
    value.get("metadata").filter(|metadata| metadata.get("uid").is_some())
}

fn either<'a>(value: &'a Value, snake: &str, camel: &str) -> Option<&'a Value> {
    value.get(snake).or_else(|| value.get(camel))
}

/// Nanoseconds since 1970, or RFC 3339; both have 0 or the year 1 for never.
pub(super) fn moment(value: &Value) -> Option<Timestamp> {
    let at = match value.as_str() {
        Some(text) => text.parse().ok()?,
        None => Timestamp::from_nanosecond(value.as_i64()?.into()).ok()?,
    };
    (at > Timestamp::UNIX_EPOCH).then_some(at)
}

/// `crictl` writes 64-bit numbers as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
