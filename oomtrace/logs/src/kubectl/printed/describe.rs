//! A pod as `kubectl describe pod` describes it.

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use oomtrace_model::{ContainerRole, Owner, Pod, QosClass, quantity, snapshot::EndRecord};

use super::super::{
    EvictionNotice, PodRecord, Snapshot,
    events::{add, notice},
    heap::{HEAP_VARIABLES, heap_flags, is_heap_flag},
    objects::container_id,
};

/// `Service Account`, `Topology Spread Constraints`: a longer one is the start of a sentence.
const LONGEST_KEY: usize = 32;

/// A pod that is being read, line by line.
#[derive(Default)]
pub(super) struct Description {
    pub(super) pod: Pod,
    record: PodRecord,
    message: Option<String>,
    /// The line before was of the message.
    is_message: bool,
    /// So far everything is indented.
    margin: usize,
    role: Option<ContainerRole>,
    container: Option<String>,
    id: Option<String>,
    /// The heading that deeper lines belong to: `Last State`, `Limits`, `Environment`.
    under: String,
    end: Option<EndRecord>,
    last: bool,
}

impl Description {
    /// Whether a line begins one.
    pub(super) fn begins(line: &str) -> bool {
        line.trim_start().strip_prefix("Name:").is_some_and(|name| !name.trim().is_empty())
    }

    pub(super) fn new(line: &str) -> Self {
        let text = line.trim_start();
        let name = text.strip_prefix("Name:").unwrap_or_default().trim();
        let pod = Pod { name: Some(name.to_owned()), ..Pod::default() };
        Self { pod, margin: line.len() - text.len(), ..Self::default() }
    }

    /// Whether a line may be of it, and is no sentence of somebody who writes about it.
    pub(super) fn takes(&self, line: &str) -> bool {
        self.is_message || line.starts_with(' ') || line.split_once(':').is_some_and(|(key, _)| key.len() < LONGEST_KEY)
    }

    /// Takes a line in.
    pub(super) fn line(&mut self, line: &str) {
        let text = line.trim();
        let indent = (line.len() - line.trim_start().len()).saturating_sub(self.margin);
        let (key, value) = text.split_once(':').map_or((text, ""), |(key, value)| (key, value.trim()));
        // A terminal, or a mailer, cut it.
        let goes_on = self.is_message && !text.is_empty() && (indent > 0 || !text.contains(':'));
        if let Some(message) = self.message.as_mut().filter(|_| goes_on) {
            message.push_str(if indent > 0 { " " } else { "" });
            message.push_str(text);
            return;
        }
        self.is_message = false;
        match (indent, self.role) {
            _ if text.is_empty() => {}
            (0, _) => self.of_pod(key, value),
            (2, Some(_)) if value.is_empty() => self.begin_container(key),
            (4, Some(_)) => self.of_container(key, value),
            (6.., Some(_)) => self.under_heading(text, key, value),
            _ => {}
        }
    }

    fn of_pod(&mut self, key: &str, value: &str) {
        self.end_container();
        self.role = match key {
            "Containers" => Some(ContainerRole::App),
            "Init Containers" => Some(ContainerRole::Init),
            "Ephemeral Containers" => Some(ContainerRole::Ephemeral),
            _ => None,
        };
        let text = || Some(value.to_owned()).filter(|value| !value.is_empty() && value != "<none>");
        match key {
            "Namespace" => self.pod.namespace = text(),
            "Node" => self.record.node = text().and_then(|node| node.split('/').next().map(str::to_owned)),
            "Reason" => self.record.reason = text(),
            "Message" => {
                self.message = text();
                self.is_message = true;
            }
            "Controlled By" => {
                let owner = value.split_once('/');
                self.pod.owner = owner.map(|(kind, name)| Owner { kind: kind.to_owned(), name: name.to_owned() });
            }
            "QoS Class" => {
                self.pod.qos = match value {
                    "Guaranteed" => Some(QosClass::Guaranteed),
                    "Burstable" => Some(QosClass::Burstable),
                    "BestEffort" => Some(QosClass::BestEffort),
                    _ => None,
                }
            }
            _ => {}
        }
    }

    fn begin_container(&mut self, name: &str) {
        self.end_container();
        self.container = Some(name.to_owned());
        let entry = self.record.containers.entry(name.to_owned()).or_default();
        entry.role = self.role;
    }

    fn of_container(&mut self, key: &str, value: &str) {
        self.end_state();
        key.clone_into(&mut self.under);
        let Some(entry) = self.container.as_ref().and_then(|name| self.record.containers.get_mut(name)) else { return };
        match key {
            "Container ID" => {
                self.id = Some(value.to_owned());
                if let Some(id) = container_id(value) {
                    entry.add_id(id, None);
                }
            }
            "Image" => entry.image = Some(value.to_owned()),
            "Restart Count" => entry.restart_count = value.parse().ok(),
            "State" | "Last State" if value == "Terminated" => {
                self.end = Some(EndRecord::default());
                self.last = key == "Last State";
            }
            _ => {}
        }
    }

    fn under_heading(&mut self, text: &str, key: &str, value: &str) {
        let Some(entry) = self.container.as_ref().and_then(|name| self.record.containers.get_mut(name)) else { return };
        if let Some(end) = &mut self.end {
            match key {
                "Reason" => end.reason = Some(value.to_owned()),
                "Exit Code" => end.exit_code = value.parse().ok(),
                "Finished" => end.ended = date(value),
                _ => {}
            }
            return;
        }
        match (self.under.as_str(), key) {
            ("Limits", "memory") => entry.limit_bytes = quantity::bytes(value),
            ("Requests", "memory") => entry.request_bytes = quantity::bytes(value),
            ("Command" | "Args", _) => {
                entry
                    .heap_settings
                    .extend(text.split_whitespace().filter(|word| is_heap_flag(word)).map(str::to_owned));
            }
            ("Environment", name) if HEAP_VARIABLES.contains(&name) => {
                entry.heap_settings.extend(heap_flags(name, value));
            }
            _ => {}
        }
    }

    fn end_state(&mut self) {
        let Some(end) = self.end.take() else { return };
        let Some(entry) = self.container.as_ref().and_then(|name| self.record.containers.get_mut(name)) else { return };
        // The id is that of the container that is there now.
        match self.id.as_deref().and_then(container_id).filter(|_| !self.last) {
            Some(id) => {
                entry.ends.insert(id, end);
            }
            None => entry.unnamed_ends.push(end),
        }
    }

    fn end_container(&mut self) {
        self.end_state();
        self.container = None;
        self.id = None;
        self.under.clear();
    }

    /// Takes the pod in; `false` where it turned out to be none.
    pub(super) fn enter(mut self, into: &mut Snapshot) -> bool {
        self.end_container();
        let (Some(namespace), Some(name)) = (self.pod.namespace.clone(), self.pod.name.clone()) else { return false };
        if self.record.containers.is_empty() && self.record.reason.is_none() {
            return false;
        }
        if self.record.reason.as_deref() == Some("Evicted") {
            let notice = match &self.message {
                Some(message) => notice(self.pod.clone(), message),
                None => Some(EvictionNotice { pod: self.pod.clone(), ..EvictionNotice::default() }),
            };
            if let Some(notice) = notice {
                add(EvictionNotice { node: self.record.node.clone(), ..notice }, into);
            }
        }
        if let Some(node) = self.record.node.clone().filter(|node| !into.nodes.contains(node)) {
            into.nodes.push(node);
        }
        self.record.complete = true;
        self.record.pod = self.pod;
        into.described.insert((namespace, name), self.record);
        true
    }
}

/// `Fri, 12 Jun 2026 09:59:30 +0200`; the year 1 for never.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    // A date that somebody changed keeps its day of the week.
    DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok().filter(|at| *at > Timestamp::UNIX_EPOCH)
}
