//! An incident in the form of an Event of Kubernetes' API, `events.k8s.io/v1`.

use std::hash::Hasher as _;

use jiff::Timestamp;
use serde_json::{Value, json};
use siphasher::sip::SipHasher24;

use crate::{
    event::{Confidence, Container, ContainerRole, Incident, IncidentState, Mark, Pod, Scenario, Severity, Step},
    sink::escape,
};

/// Who reports: a qualified name, as the API wants it.
pub(super) const CONTROLLER: &str = "oomtrace.dev/oomtrace";
/// The reason of an Event that takes back another one.
pub(super) const WITHDRAWN: &str = "IncidentWithdrawn";
/// Where Events go that are about what has no namespace: a node.
pub(super) const OF_NODES: &str = "default";
/// Where they have to go in an older Kubernetes, such as 1.20 (`legacyValidateEvent`, `pkg/apis/core/validation/events.go`).
pub(super) const OF_NODES_BEFORE: &str = "kube-system";
/// What the API takes of a note, in bytes (`NoteLengthLimit`, `pkg/apis/core/validation/events.go`).
const LONGEST_NOTE: usize = 1024;
/// The same of the reporting instance.
const LONGEST_INSTANCE: usize = 128;
/// What the API takes of a name is 253 bytes; a dot and 16 digits follow.
const LONGEST_STEM: usize = 200;

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    pub(super) kind: Kind,
    /// The pod's namespace.
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    /// By which `kubectl describe` looks for Events.
    uid: Option<String>,
    /// The container.
    field_path: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Pod,
    Node,
}

impl Object {
    /// The pod; `None` where its name or namespace is not known, or can be none.
    fn pod(pod: &Pod, container: Option<&Container>) -> Option<Self> {
        let (namespace, name) = (pod.namespace.clone()?, pod.name.clone()?);
        (is_label(&namespace) && is_subdomain(&name)).then(|| Self {
            kind: Kind::Pod,
            namespace: Some(namespace),
            name,
            uid: pod.uid.as_ref().map(ToString::to_string),
            field_path: container.and_then(field_path),
        })
    }

    /// The node. The kubelet gives its name for a uid as well, and `kubectl describe node` looks for that.
    pub(super) fn node(name: &str) -> Option<Self> {
        is_subdomain(name).then(|| Self {
            kind: Kind::Node,
            namespace: None,
            name: name.to_owned(),
            uid: Some(name.to_owned()),
            field_path: None,
        })
    }

    /// Whether it is the same, perhaps by another container, or before its uid was known.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.kind, &self.namespace, &self.name) == (other.kind, &other.namespace, &other.name)
    }

    /// Where its Events are; those of nodes in their namespace.
    pub(super) fn events_namespace<'a>(&'a self, of_nodes: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(of_nodes)
    }

    fn reference(&self) -> Value {
        let Self { kind, namespace, name, uid, field_path } = self;
        let kind = match kind {
            Kind::Pod => "Pod",
            Kind::Node => "Node",
        };
        let mut reference = json!({"apiVersion": "v1", "kind": kind, "name": name});
        for (key, value) in [("namespace", namespace), ("uid", uid), ("fieldPath", field_path)] {
            if let Some(value) = value {
                reference[key] = json!(value);
            }
        }
        reference
    }
}

/// Where the container stands in its pod, as the kubelet's own Events have it (`GenerateContainerRef`,
/// `pkg/kubelet/container/ref.go`).
fn field_path(container: &Container) -> Option<String> {
    let name = container.name.as_deref().filter(|name| is_label(name))?;
    let list = match container.role {
        Some(ContainerRole::Sandbox) => return None,
        Some(ContainerRole::Init | ContainerRole::Sidecar) => "initContainers",
        Some(ContainerRole::Ephemeral) => "ephemeralContainers",
        Some(ContainerRole::App) | None => "containers",
    };
    Some(format!("spec.{list}{{{name}}}"))
}

/// What a namespace and a container may be called (`IsDNS1123Label`).
fn is_label(text: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().last()];
    ends.into_iter().all(|end| end.is_some_and(of_name))
        && text.len() <= 63
        && text.bytes().all(|byte| of_name(byte) || byte == b'-')
}

/// What a pod and a node may be called: labels between dots.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// What is said of an object: Events that have the same are one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct What {
    /// Why: the scenario.
    pub(super) reason: &'static str,
    /// What was done to it.
    pub(super) action: &'static str,
}

impl What {
    fn of(incident: &Incident) -> Self {
        let verdict = &incident.verdict;
        let action = match verdict.scenario {
            _ if incident.kills > 0 && verdict.invisible == Some(true) => "InvisibleOOMKill",
            _ if incident.kills > 0 => "OOMKill",
            _ if incident.evicted => "Evict",
            Scenario::RuntimeRefused => "RefuseMemory",
            Scenario::Killed => "Kill",
            _ => "Stop",
        };
        Self { reason: reason(verdict.scenario), action }
    }
}

/// A scenario's name as the API writes reasons.
fn reason(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::ContainerLimit => "ContainerLimit",
        Scenario::PodLimit => "PodLimit",
        Scenario::AllocatableEvicted => "AllocatableEvicted",
        Scenario::NodePressureEvicted => "NodePressureEvicted",
        Scenario::AllocatableOom => "AllocatableOOM",
        Scenario::RuntimeRefused => "RuntimeRefused",
        Scenario::SystemOom => "SystemOOM",
        Scenario::UnknownLimit => "UnknownLimit",
        Scenario::Evicted => "Evicted",
        Scenario::OtherLimit => "OtherLimit",
        Scenario::Killed => "Killed",
        Scenario::Crashed => "Crashed",
    }
}

/// Whether it is the node's matter, and not only that of what was killed.
fn is_of_node(incident: &Incident) -> bool {
    let of_all = matches!(
        incident.verdict.scenario,
        Scenario::SystemOom | Scenario::AllocatableOom | Scenario::AllocatableEvicted | Scenario::NodePressureEvicted
    );
    of_all || incident.pod.is_none()
}

/// What a line of an incident says for Events, and no more of it: so many may wait.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// Something happened.
    Happened(Report),
    /// It is none, or a part of another one, or not about memory.
    Withdrawn { id: String, replaced_by: Option<String>, why: String },
}

#[derive(Clone, Debug)]
pub(super) struct Report {
    /// The incident's.
    pub(super) id: String,
    pub(super) what: What,
    pub(super) note: String,
    /// Whom Events are written on.
    pub(super) objects: Vec<Object>,
    /// Whether there should be another one, but nothing has said until the incident's end what its pod is called.
    pub(super) nameless: bool,
    /// The first time that it happened, and the last.
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// How often it happened that no earlier line has.
    pub(super) new: u64,
}

impl News {
    /// What an incident says; `None` where there is nothing for an Event, and was not before.
    pub(super) fn of(incident: &Incident, node: &str) -> Option<Self> {
        let id = incident.id.clone();
        if incident.withdrawn {
            let why = match &incident.replaced_by {
                Some(_) => "it turned out to be a part of something else",
                None => "it turned out to be no incident",
            };
            return Some(Self::Withdrawn { id, replaced_by: incident.replaced_by.clone(), why: why.to_owned() });
        }
        if incident.severity == Severity::Other {
            let why = format!("it turned out not to be about memory. {}", incident.verdict.summary);
            return (incident.revision > 1).then_some(Self::Withdrawn { id, replaced_by: None, why });
        }
        let pod = incident.pod.as_ref().map(|pod| Object::pod(pod, incident.container.as_ref()));
        let node = is_of_node(incident).then(|| Object::node(node));
        let closed = incident.state == IncidentState::Closed;
        let nameless = closed && [&pod, &node].iter().any(|object| matches!(object, Some(None)));
        let (first, last) = times(incident);
        Some(Self::Happened(Report {
            id,
            what: What::of(incident),
            note: note(incident),
            objects: [pod, node].into_iter().flatten().flatten().collect(),
            nameless,
            first,
            last,
            new: new(incident),
        }))
    }
}

/// How often it happened that no earlier line has: kills, else the eviction, else ends.
fn new(incident: &Incident) -> u64 {
    if incident.kills > 0 {
        incident.kills_new
    } else if incident.evicted {
        u64::from(incident.revision <= 1)
    } else {
        incident.deaths_new
    }
}

fn times(incident: &Incident) -> (Timestamp, Timestamp) {
    let parsed = |text: &str| text.parse::<Timestamp>().ok();
    let first = parsed(&incident.started).unwrap_or_else(Timestamp::now);
    let matters = |step: &&Step| !matches!(step.mark, Mark::Other);
    let last = incident.steps.iter().rev().find(matters).and_then(|step| parsed(&step.ts)).unwrap_or(first);
    (first, last.max(first))
}

/// What happened, how sure that is, and what would help: the end is what a limit cuts off.
fn note(incident: &Incident) -> String {
    let verdict = &incident.verdict;
    let sure = match verdict.confidence {
        Confidence::High => String::new(),
        Confidence::Medium => "Confidence: medium. ".to_owned(),
        Confidence::Low => {
            let missing = verdict.missing.first().map(|missing| format!(" (missing: {missing})")).unwrap_or_default();
            format!("Confidence: low, this is a guess{missing}. ")
        }
    };
    format!("{} {sure}{}", verdict.summary, verdict.advice)
}

/// A text that a terminal may print, as long as the API takes it.
fn fitting(text: &str) -> String {
    const MORE: &str = "…";
    let mut text = escape(text.trim());
    if text.len() > LONGEST_NOTE {
        text.truncate(text.floor_char_boundary(LONGEST_NOTE - MORE.len()));
        text += MORE;
    }
    text
}

/// An Event as it is created.
pub(super) struct Event<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) object: &'a Object,
    pub(super) what: What,
    pub(super) note: &'a str,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u64,
    /// The node that oomtrace runs on.
    pub(super) node: &'a str,
}

impl Event<'_> {
    pub(super) fn json(&self) -> Value {
        let Self { namespace, name, object, what: What { reason, action }, note, first, last, count, node } = self;
        let mut instance = node.to_string();
        instance.truncate(instance.floor_char_boundary(LONGEST_INSTANCE));
        let mut event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": micro_time(*first),
            "reportingController": CONTROLLER,
            "reportingInstance": instance,
            "action": action,
            "reason": reason,
            "regarding": object.reference(),
            "note": fitting(note),
            "type": if *reason == WITHDRAWN { "Normal" } else { "Warning" },
        });
        if object.kind == Kind::Pod
            && let Some(node) = Object::node(node)
        {
            event["related"] = node.reference();
        }
        // A series has at least two (`validateV1EventSeries`).
        if *count > 1 {
            event["series"] = series(*count, *last);
        }
        event
    }
}

/// What changes when it happens again: all else of an Event is immutable.
pub(super) fn series(count: u64, last: Timestamp) -> Value {
    // An `int32` there.
    json!({"count": count.min(i32::MAX as u64), "lastObservedTime": micro_time(last)})
}

/// As the API's `MicroTime` is written.
fn micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// A name that is the same whenever the same is said of the same, so that an Event is not made twice: not where an answer was
/// lost, and not after a restart.
pub(super) fn name(object: &Object, what: What, id: &str, generation: u64) -> String {
    let mut hash = SipHasher24::new();
    let [namespace, uid] = [&object.namespace, &object.uid].map(|part| part.as_deref().unwrap_or_default());
    for part in [id, what.reason, what.action, namespace, &object.name, uid] {
        hash.write(part.as_bytes());
        hash.write_u8(0);
    }
    hash.write_u64(generation);
    let stem = &object.name[..object.name.floor_char_boundary(LONGEST_STEM)];
    format!("{}.{:016x}", stem.trim_end_matches(['-', '.']), hash.finish())
}
