//! What becomes of containers and pods: the sync loop, the PLEG, the killing, probes, back-offs, and what cAdvisor and the
//! runtime notice of OOMs.

mod preemption;
mod start;
mod status;

use std::borrow::Cow;

use jiff::Timestamp;
use oomtrace_model::{
    Cgroup, Container, ContainerAction as Action, ContainerChange, ContainerId, Pod, SystemOom,
    cgroup_path::CgroupIdentity, quantity,
};
use serde::Deserialize;

pub(super) use self::status::Ended;
use super::{
    klog::{Message, Value},
    pods,
};
use crate::envelope::when::{self, Wall};

/// What a line says.
pub(super) enum Said {
    /// Something became of a container, or of all of a pod's.
    Change(Box<ContainerChange>),
    /// A container is ended with another grace period than its own: V(3), and what is said at V(2) follows. But 1.21 says no
    /// more than this at V(2) either (`killContainer`, `kuberuntime_container.go`).
    KillOverridden(Box<ContainerChange>),
    /// The node was out of memory.
    SystemOom(SystemOom, Option<Timestamp>),
    /// It was at this time, by the line's own words.
    Dated(Timestamp, Box<Said>),
    /// The pod's status tells how containers ended: each at most once is news.
    Reported(Vec<Ended>),
    /// The pods were given to the kubelet.
    Added(Vec<Pod>),
    /// The pods are to go.
    Deleted(Vec<Pod>),
    /// The container, or the sandbox, runs.
    Started(Pod, ContainerId),
    /// It died; the sync loop names the pod.
    Died(Pod, ContainerId),
    /// It ended with this code; the PLEG knows the pod's uid.
    Finished(Pod, ContainerId, i32),
    /// Why the container will be killed.
    KillReason(Pod, Container, String),
    /// A container's names, and nothing more.
    Names(Pod, Container),
    /// The node shuts down, and the pod ends with it.
    Shutdown(Pod),
    /// A sandbox of the pod.
    Sandbox(Pod, ContainerId),
    /// The first process of the container was killed before it could become the container's program.
    StartKilled(ContainerId),
    /// The same, by the container's name.
    NotStarted(Pod, Container),
    /// Pods have to go for a critical one: 1.20 does not say which. With the words for why.
    Preempting(Vec<Pod>, String),
    /// The pod had to go, and has.
    Preempted(Pod),
}

/// Reads a message about a container or a pod. `None` for any other.
pub(super) fn read(message: &Message<'_>) -> Option<Said> {
    let pods = || message.key("pods").as_ref().map(pods::list_of_value).unwrap_or_default();
    Some(match &*message.text {
        "SyncLoop ADD" => Said::Added(pods()),
        "SyncLoop DELETE" => Said::Deleted(pods()),
        "SyncLoop (PLEG): event for pod" => {
            lifecycle(message.key("pod").as_ref().and_then(pods::of_value)?, &message.key("event")?)?
        }
        "Generic (PLEG): container finished" => {
            let pod = Pod { uid: message.word("podID")?.parse().ok(), ..Pod::default() };
            Said::Finished(pod, id_of(&message.word("containerID")?)?, message.word("exitCode")?.parse().ok()?)
        }
        "Killing container with a grace period" => Said::Change(killing(message, Action::Killing)),
        "Killing container with a grace period override" => Said::KillOverridden(killing(message, Action::Killing)),
        "Container termination failed with gracePeriod" => Said::Change(killing(message, Action::KillFailed)),
        "Killing container before removal" => names(message)?,
        "Message for Container of pod" => {
            let (pod, container) =
                (message.key("pod").as_ref().and_then(pods::of_value)?, container(message, "containerStatusID"));
            Said::KillReason(pod, container, message.word("containerMessage")?.into_owned())
        }
        "Probe failed" => probe_failed(message)?,
        "Error syncing pod, skipping" => start::failed(pod(message), &message.word("err")?)?,
        "StartContainer from runtime service failed" => {
            start::killed(&message.word("containerID")?, &message.word("err")?)?
        }
        "Event occurred" => event(message)?,
        "Got sys oom event" => {
            let (oom, at) = system_oom(&message.key("event")?);
            Said::SystemOom(oom, at)
        }
        "Patch status for pod" => Said::Reported(status::of_patch(&pod(message), &message.word("patch")?)),
        "Shutdown manager killing pod with gracePeriod" => Said::Shutdown(pod(message)),
        "Created PodSandbox for pod" => Said::Sandbox(pod(message), id_of(&message.word("podSandboxID")?)?),
        "Attempting to evict pods in order to free up resources" => {
            Said::Preempting(pods(), preemption::words(&message.word("insufficientResources")?))
        }
        "Pod evicted successfully" => Said::Preempted(pod(message)),
        _ => return printf(&message.text).or_else(|| names(message)),
    })
}

/// A runtime's own line: containerd's `TaskOOM event container_id:"…"`, to 1.6 `TaskOOM event &TaskOOM{ContainerID:…,}`.
pub(super) fn read_runtime(text: &str) -> Option<ContainerChange> {
    let rest = text.strip_prefix("TaskOOM event ")?;
    let (_, id) = rest.split_once("container_id:").or_else(|| rest.split_once("ContainerID:"))?;
    let digits = id.trim_start_matches('"').get(..64)?;
    let container = Container { id: Some(digits.parse().ok()?), ..Container::default() };
    Some(ContainerChange { container: Some(container), ..ContainerChange::new(Action::OomNoticed) })
}

/// conmon's word: how the container's id begins. `conmon 2f6e8a5a9d8b1f1b5b8e <ninfo>: OOM received` (its `cgroup.c`,
/// `write_oom_files`; of the id its `utils.h` writes the first 20 digits).
pub(super) fn read_conmon(text: &str) -> Option<&str> {
    let (id, words) = text.strip_prefix("conmon ")?.split_once(" <ninfo>: ")?;
    let digits = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (words.trim() == "OOM received" && id.len() >= 12 && digits).then_some(id)
}

/// What systemd says of a container's scope, or of another unit, from version 246 on: `cri-containerd-<64 digits>.scope: A process of
/// this unit has been killed by the OOM killer.` (`src/core/unit.c`, `unit_check_oom`).
///
/// It says so of every slice above it, too: these name nobody.
pub(super) fn read_systemd(text: &str) -> Option<ContainerChange> {
    let unit = text.strip_suffix(": A process of this unit has been killed by the OOM killer.")?;
    let noticed = ContainerChange::new(Action::OomNoticed);
    if let Some(container) = CgroupIdentity::parse(&format!("/{unit}")).container() {
        return Some(ContainerChange { container: Some(container), ..noticed });
    }
    let is_unit = [".service", ".scope"].iter().any(|kind| unit.ends_with(kind)) && !unit.contains([' ', '/']);
    is_unit.then(|| ContainerChange {
        cgroup: Some(Cgroup { unit: Some(unit.to_owned()), ..Cgroup::default() }),
        ..noticed
    })
}

fn pod(message: &Message<'_>) -> Pod {
    let mut pod = message.key("pod").as_ref().and_then(pods::of_value).unwrap_or_default();
    pod.uid = message.word("podUID").and_then(|uid| pods::by_uid(&uid)).or(pod.uid);
    pod
}

fn container(message: &Message<'_>, id: &str) -> Container {
    let name = message.word("containerName").map(Cow::into_owned);
    let id = message.key(id).and_then(|id| match id {
        Value::Text(text) => id_of(&text),
        _ => id_of(&id.field("ID")?),
    });
    Container { name, id, ..Container::default() }
}

/// `containerd://<64 digits>`, or the digits alone.
fn id_of(text: &str) -> Option<ContainerId> {
    text.rsplit_once("://").map_or(text, |(_, id)| id).parse().ok()
}

fn killing(message: &Message<'_>, action: Action) -> Box<ContainerChange> {
    let seconds = message.word("gracePeriod").and_then(|seconds| seconds.parse::<u64>().ok());
    Box::new(ContainerChange {
        pod: Some(pod(message)),
        container: Some(container(message, "containerID")),
        grace_period_ms: seconds.and_then(|seconds| seconds.checked_mul(1000)),
        message: message.word("err").map(Cow::into_owned),
        ..ContainerChange::new(action)
    })
}

/// Any line that has a pod's name and uid teaches which belongs to which, and perhaps a container's.
fn names(message: &Message<'_>) -> Option<Said> {
    let (pod, container) = (pod(message), container(message, "containerID"));
    (pod.name.is_some() && (pod.uid.is_some() || container.id.is_some())).then_some(Said::Names(pod, container))
}

/// `{"ID":"<uid>","Type":"ContainerDied","Data":"<container>"}`: `pleg.PodLifecycleEvent`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Lifecycle<'a> {
    #[serde(rename = "ID", borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "Type", borrow)]
    kind: Cow<'a, str>,
    /// Not a text where it is about the pod as a whole.
    #[serde(borrow)]
    data: Cow<'a, str>,
}

fn lifecycle(pod: Pod, event: &Value<'_>) -> Option<Said> {
    let Lifecycle { id, kind, data } = event.parsed().or_else(|| {
        let field = |name| event.field(name).map(Cow::Owned);
        Some(Lifecycle { id: field("ID")?, kind: field("Type")?, data: field("Data")? })
    })?;
    let pod = Pod { uid: pods::by_uid(&id).or(pod.uid), ..pod };
    let container = id_of(&data)?;
    match &*kind {
        "ContainerStarted" => Some(Said::Started(pod, container)),
        "ContainerDied" => Some(Said::Died(pod, container)),
        _ => None,
    }
}

/// `"Probe failed" probeType="Liveness" pod="ns/name" podUID="…" containerName="…" probeResult="failure" output="…"`, V(1).
fn probe_failed(message: &Message<'_>) -> Option<Said> {
    let probe = message.word("probeType")?.into_owned();
    Some(Said::Change(Box::new(ContainerChange {
        pod: Some(pod(message)),
        container: Some(container(message, "containerID")),
        reason: Some(probe),
        message: message.word("output").map(Cow::into_owned),
        ..ContainerChange::new(Action::ProbeFailed)
    })))
}

/// An Event that the kubelet recorded, at V(3): the reason for a kill, which no other line has.
fn event(message: &Message<'_>) -> Option<Said> {
    let pod = message
        .key("object")
        .as_ref()
        .and_then(pods::of_value)
        .filter(|_| message.word("kind").as_deref() == Some("Pod"))?;
    let path = message.word("fieldPath");
    let in_braces = path.as_deref().and_then(|path| path.split_once('{')?.1.strip_suffix('}'));
    let container = Container { name: in_braces.map(str::to_owned), ..Container::default() };
    let text = message.word("message")?.into_owned();
    match &*message.word("reason")? {
        "Killing" if text.contains(" failed ") || text.contains(" changed") => {
            Some(Said::KillReason(pod, container, text))
        }
        _ => None,
    }
}

/// Who was killed, and when, where the event tells.
fn system_oom(event: &Value<'_>) -> (SystemOom, Option<Timestamp>) {
    let field = |name| event.field(name);
    let pid = field("Pid").and_then(|pid| pid.parse().ok());
    let named = SystemOom { pid, comm: field("ProcessName"), of_any_limit: false };
    match event.text() {
        Some(text) if named.pid.is_none() => printed_oom(&text),
        _ => (named, field("TimeOfDeath").and_then(|at| at.parse().ok())),
    }
}

/// `2026-11-23 23:20:37.4 +0000 UTC m=+8`: as Go prints a time.
fn instant(text: &str) -> Option<Timestamp> {
    match when::in_field(text)? {
        Wall::Absolute(at) => Some(at),
        Wall::Local(_) => None,
    }
}

/// `&{801 memhog 2026-11-23 23:20:37.4 +0000 UTC m=+8 / / }`: the fields in their order (`OomInstance`, cAdvisor's
/// `utils/oomparser`). A process's name may hold blanks, so it ends before the last date.
fn printed_oom(text: &str) -> (SystemOom, Option<Timestamp>) {
    let (pid, rest) = text.trim_start_matches("&{").split_once(' ').unwrap_or((text, ""));
    let is_date =
        |word: &str| word.len() == 10 && quantity::bytes(&word.replace('-', "")).is_some() && word.contains('-');
    let date = rest.rmatch_indices(' ').find(|(at, _)| rest.get(at + 1..at + 11).is_some_and(is_date));
    let comm = date.map(|(at, _)| rest[..at].to_owned());
    let at = date.and_then(|(at, _)| instant(&rest[at + 1..]));
    (SystemOom { pid: pid.parse().ok(), comm, of_any_limit: false }, at)
}

/// The sentences of 1.20, and what never became structured.
fn printf(text: &str) -> Option<Said> {
    if let Some(rest) = text.strip_prefix("SyncLoop (") {
        return sync_loop(rest);
    }
    if let Some(rest) = text.strip_prefix("Created an OOM event in container \"") {
        let (path, at) = rest.rsplit_once("\" at ")?;
        return Some(match instant(at) {
            Some(at) => Said::Dated(at, Box::new(oom_noticed(path))),
            None => oom_noticed(path),
        });
    }
    if let Some(event) = text.strip_prefix("Got sys oom event: ") {
        let (oom, at) = system_oom(&Value::Raw(event));
        return Some(Said::SystemOom(SystemOom { of_any_limit: true, ..oom }, at));
    }
    if let Some(rest) = text.strip_prefix("Killing container \"") {
        let (id, rest) = rest.split_once("\" with a ")?;
        let seconds = rest.strip_suffix(" second grace period")?.parse::<u64>().ok()?;
        let container = Container { id: Some(id_of(id)?), ..Container::default() };
        return Some(Said::Change(Box::new(ContainerChange {
            container: Some(container),
            grace_period_ms: seconds.checked_mul(1000),
            ..ContainerChange::new(Action::Killing)
        })));
    }
    if let Some(rest) = text.strip_prefix("Error syncing pod ") {
        let (name, error) = rest.split_once("\"), skipping: ")?;
        return start::failed(pods::by_full_name(name.split_once("(\"")?.1)?, error);
    }
    if let Some(rest) = text.strip_prefix("StartContainer \"") {
        let (id, error) = rest.split_once("\" from runtime service failed: ")?;
        return start::killed(id, error);
    }
    if let Some(rest) = text.strip_prefix("Patch status for pod \"") {
        let (name, patch) = rest.split_once("\" with ")?;
        let (patch, _) = super::klog::unquote(patch)?;
        return Some(Said::Reported(status::of_patch(&pods::by_full_name(name)?, &patch)));
    }
    if let Some(rest) = text.strip_prefix("preemption: ") {
        return preemption::printf(rest);
    }
    printed_probe(text).or_else(|| printed_reason(text))
}

/// `ADD, "api"): "a_ns(uid), b_ns(uid)"`, `PLEG): "a_ns(uid)", event: &pleg.PodLifecycleEvent{…}`.
fn sync_loop(rest: &str) -> Option<Said> {
    if let Some(rest) = rest.strip_prefix("PLEG): \"") {
        let (name, event) = rest.split_once("\", event: ")?;
        return lifecycle(pods::by_full_name(name)?, &Value::Raw(event));
    }
    let (kind, rest) = rest.split_once(", \"")?;
    let names = rest.split_once("): \"")?.1.strip_suffix('"')?;
    let pods = pods::by_full_names(names);
    match kind {
        "ADD" => Some(Said::Added(pods)),
        "DELETE" => Some(Said::Deleted(pods)),
        _ => None,
    }
}

fn oom_noticed(path: &str) -> Said {
    let identity = CgroupIdentity::parse(path);
    Said::Change(Box::new(ContainerChange {
        pod: identity.pod(),
        container: identity.container(),
        cgroup: Some(Cgroup { path: Some(path.to_owned()), ..Cgroup::default() }),
        ..ContainerChange::new(Action::OomNoticed)
    }))
}

/// `Liveness probe for "a_ns(uid):c" failed (failure): output`, V(1).
fn printed_probe(text: &str) -> Option<Said> {
    let (probe, rest) = text.split_once(" probe for \"")?;
    let (who, rest) = rest.split_once("\" failed (")?;
    let (name, container) = who.rsplit_once(':')?;
    matches!(probe, "Liveness" | "Readiness" | "Startup").then_some(())?;
    Some(Said::Change(Box::new(ContainerChange {
        pod: pods::by_full_name(name),
        container: Some(Container { name: Some(container.to_owned()), ..Container::default() }),
        reason: Some(probe.to_owned()),
        message: rest.split_once("): ").map(|(_, output)| output.to_owned()),
        ..ContainerChange::new(Action::ProbeFailed)
    })))
}

/// `Container "c" ({"containerd" "<id>"}) of pod a_ns(uid): Container c failed liveness probe, will be restarted`, V(2).
fn printed_reason(text: &str) -> Option<Said> {
    let (name, rest) = text.strip_prefix("Container \"")?.split_once("\" (")?;
    let (id, rest) = rest.split_once(") of pod ")?;
    let (pod, reason) = rest.split_once(": ")?;
    let id = id.split(['"', ' ', '{', '}']).find_map(id_of);
    let container = Container { name: Some(name.to_owned()), id, ..Container::default() };
    Some(Said::KillReason(pods::by_full_name(pod)?, container, reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conmon_says_how_the_containers_id_begins() {
        assert_eq!(read_conmon("conmon 2f6e8a5a9d8b1f1b5b8e <ninfo>: OOM received"), Some("2f6e8a5a9d8b1f1b5b8e"));
        assert_eq!(read_conmon("conmon 2f6e8a5a9d8b1f1b5b8e <ninfo>: container exited"), None);
        assert_eq!(read_conmon("conmon 2f6e8a5a <ninfo>: OOM received"), None, "too short to tell containers apart");
        assert_eq!(read_conmon("conmon 2f6e8a5a9d8b1f1b5bzz <ninfo>: OOM received"), None);
    }

    #[test]
    fn a_probe_is_named() {
        let said =
            printed_probe(r#"Liveness probe for "a_ns(1ab823cb-c402-4c21-94aa-38e722342611):c" failed (failure): no"#);
        let Some(Said::Change(change)) = said else { unreachable!("it says nothing") };
        assert_eq!((change.reason.as_deref(), change.message.as_deref()), (Some("Liveness"), Some("no")));
    }
}
