//! Parts of what `kubectl` prints, as they are cut out and pasted: the end of a container without the pod around it, the
//! message of an eviction alone.

use std::{iter::Peekable, str::Lines};

use oomtrace_model::{Pod, quantity, snapshot::EndRecord};

use super::{
    super::{
        EvictionNotice, Snapshot,
        events::{Seen, add, enter_event, notice},
        objects::{container_id, entry},
    },
    describe::date,
    row::is_name,
};

/// How messages of evictions begin (`eviction/helpers.go`, and `localStorageEviction`).
const MESSAGES: [&str; 5] = [
    "The node was low on resource: ",
    "The node was low on compute resources.",
    "Pod ephemeral local storage usage exceeds the total limit of containers ",
    "Usage of EmptyDir volume ",
    " exceeded its local ephemeral storage limit ",
];
/// A message is cut into so many lines at most.
const MOST_LINES: usize = 6;

/// Whether there may be such a part in a text.
pub(super) fn may_be(text: &[u8]) -> bool {
    let words = [
        "OOMKilled",
        "OOMKilling",
        "Exit Code",
        "Evicted",
        "System OOM encountered",
        "ExitCode:",
        "Signal:",
        " container die ",
        " exited with code ",
        " Exited (",
        " container oom ",
        " failed liveness probe, will",
        " failed startup probe, will",
    ];
    words.iter().chain(&MESSAGES).any(|word| memchr::memmem::find(text, word.as_bytes()).is_some())
}

/// The pod that a command asks for: `kubectl describe pod -n shop cart-5`.
///
/// A sentence may speak of the command (`a kubectl describe of the failing pod shows …`): a name comes behind the kind, and in a
/// sentence it is one only where it looks like that of a pod.
pub(super) fn asked(line: &str) -> Option<Pod> {
    let (before, rest) = line.split_once("describe ")?;
    let in_prose = !is_command(before);
    let mut words = rest.split_whitespace().map(|word| word.trim_matches(['`', '*']));
    let mut before = before.split_whitespace();
    let (mut pod, mut is_pod) = (Pod::default(), false);
    let mut namespace_of = |word: &str, next: &mut dyn Iterator<Item = &str>| {
        if matches!(word, "-n" | "--namespace") {
            pod.namespace = next.next().map(str::to_owned);
        } else if let Some(name) = word.strip_prefix("--namespace=").or_else(|| word.strip_prefix("-n")) {
            pod.namespace = Some(name.trim_start_matches('=').to_owned()).filter(|name| !name.is_empty());
        } else {
            return false;
        }
        true
    };
    while let Some(word) = before.next() {
        namespace_of(word, &mut before);
    }
    let mut name = None;
    while let Some(word) = words.next() {
        if namespace_of(word, &mut words) {
            continue;
        }
        match word {
            "pod" | "pods" | "po" => is_pod = true,
            "|" | "&&" | ";" => break,
            _ if word.starts_with('-') => {}
            _ => match word.split_once('/') {
                Some(("pod" | "pods" | "po", of)) => (is_pod, name) = (true, Some(of)),
                _ if is_pod => name = name.or(Some(word)),
                _ => return None,
            },
        }
    }
    let may_be = |name: &&str| is_name(name) && (!in_prose || name.contains(|c: char| c == '-' || c.is_ascii_digit()));
    pod.name = name.filter(may_be).map(str::to_owned);
    (is_pod && pod.name.is_some()).then_some(pod)
}

/// Whether what stands before `describe` is a program and its options alone, behind a prompt or a mark of code.
fn is_command(before: &str) -> bool {
    let command = before.rsplit(['$', '#', '%', '>', '`', ';', '&', '|']).next().unwrap_or_default();
    let program = command.split_whitespace().find(|word| *word != "sudo").unwrap_or_default();
    let program = program.rsplit(['/', '\\']).next().unwrap_or_default();
    matches!(
        program,
        "kubectl" | "kubectl.exe" | "oc" | "k" | "k3s" | "k0s" | "microk8s" | "microk8s.kubectl" | "minikube"
    )
}

/// The message of an eviction, and what stands before it on its line.
pub(super) struct Message {
    head: String,
    text: String,
}

/// The message of an eviction in a line, which may go on in the next ones.
pub(super) fn eviction(line: &str, lines: &mut Peekable<Lines<'_>>) -> Option<Message> {
    // The kubelet's own log is read as such.
    if line.contains("eviction_manager.go") || line.contains("message=\"") || line.contains("event.go:") {
        return None;
    }
    let at = MESSAGES.iter().find_map(|words| {
        let at = line.find(words)?;
        // `Container c exceeded …`
        if words.starts_with(' ') { line[..at].rfind("Container ") } else { Some(at) }
    })?;
    if is_phrase(&line[..at], &line[at..]) {
        return None;
    }
    let mut text = line[at..].trim_end().to_owned();
    for _ in 0..MOST_LINES {
        let open = !text.trim_end_matches(['\'', '"', '*', '`', ' ']).ends_with('.');
        let goes_on = |next: &&str| {
            let next = next.trim();
            let is_key = next.split_once(':').is_some_and(|(key, _)| !key.contains(' ') && key != "available");
            !next.is_empty() && !is_key && !next.starts_with(['`', '#', '$', '>', '|'])
        };
        let sentence = |next: &&str| {
            let next = next.trim();
            next.starts_with("Threshold quantity: ") || next.starts_with("Container ") && next.contains(" was using ")
        };
        let Some(next) = lines.peek().filter(|next| if open { goes_on(next) } else { sentence(next) }) else { break };
        // YAML folds at a blank, a terminal anywhere.
        let blank = if next.starts_with(' ') || !open { " " } else { "" };
        text = format!("{text}{blank}{}", next.trim());
        lines.next();
    }
    let text = text.trim_end_matches(['\'', '"', '*', '`', ',']).trim_end().to_owned();
    Some(Message { head: line[..at].to_owned(), text })
}

/// Whether the words stand between quotes without the full stop that the kubelet writes, and not as the value of a message:
/// `look for "The node was low on resource: memory" in the events`.
fn is_phrase(head: &str, text: &str) -> bool {
    let Some(quote) = head.chars().last().filter(|quote| matches!(quote, '"' | '\'' | '`')) else { return false };
    let before = head[..head.len() - 1].trim_end().to_ascii_lowercase();
    let is_value = before.trim_end_matches([':', '=', '"', '\'', '\\', ' ']).ends_with("message");
    // Quotes of JSON within a string are escaped.
    let quoted = text.find(quote).map(|end| text[..end].trim_end_matches(['\\', ' ']));
    !is_value && quoted.is_some_and(|quoted| !quoted.ends_with('.'))
}

/// A kill on a node, by the message of its event alone: `node/worker-8 … System OOM encountered, victim process: ruby, pid: 812`.
pub(super) fn system_oom(line: &str, into: &mut Snapshot) -> bool {
    const MESSAGE: &str = "System OOM encountered, victim process: ";
    let Some(at) = line.find(MESSAGE).filter(|at| !line[..*at].contains("message=")) else { return false };
    let words = || line[..at].split_whitespace().map(|word| word.trim_matches('|'));
    // `node/worker-8`, or the event's own name: `worker-8.164b5861e041a60e`.
    let of_event = |word: &'_ str| {
        let (_, number) = word.rsplit_once('.')?;
        (number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| word.len() - 17)
    };
    let node = words().find_map(|word| word.strip_prefix("node/"));
    let node = node.or_else(|| words().find_map(|word| Some(&word[..of_event(word)?])));
    let seen = Seen {
        ts: words().find_map(|word| word.parse().ok()),
        node,
        reason: "SystemOOM",
        kind: "node",
        namespace: None,
        name: None,
        uid: None,
        message: line[at..].trim_end_matches(['"', '\'', '|', ',', '`', '*', ' ']),
    };
    enter_event(&seen, into);
    true
}

/// What is known so far of a pod, part by part.
#[derive(Default)]
pub(super) struct Part {
    pod: Pod,
    node: Option<String>,
    container: String,
    id: Option<String>,
    last: bool,
    end: Option<EndRecord>,
    ends: Vec<(String, Option<String>, EndRecord)>,
    restart_count: Option<u32>,
    limit_bytes: Option<u64>,
    under: String,
}

impl Part {
    /// Takes a line in; gives how many pods it has made complete.
    pub(super) fn line(&mut self, line: &str, asked: &Pod, into: &mut Snapshot) -> usize {
        let text =
            line.trim().trim_start_matches(['*', '>', '-', '|']).trim().trim_matches(['*', '`', '"', ',', '|']).trim();
        if text.starts_with("```") {
            return self.end(asked, into);
        }
        let Some((key, value)) = text.split_once(':').map(|(key, value)| (key.trim(), value.trim())) else { return 0 };
        match key {
            "Namespace" if !value.is_empty() => self.pod.namespace = Some(value.to_owned()),
            "Node" => self.node = value.split('/').next().filter(|node| !node.is_empty()).map(str::to_owned),
            "Container ID" => self.id = Some(value.to_owned()),
            "State" | "Last State" => {
                self.end_state();
                self.last = key == "Last State";
                if value.starts_with("Terminated") {
                    self.end = Some(EndRecord::default());
                    // `Terminated (OOMKilled)`
                    if value.contains("OOMKilled") {
                        self.set(|end| end.reason = Some("OOMKilled".to_owned()));
                    }
                }
            }
            "Reason" if self.end.is_some() => self.set(|end| end.reason = Some(value.to_owned())),
            "Reason" if value == "OOMKilled" => {
                self.end = Some(EndRecord { reason: Some(value.to_owned()), ..EndRecord::default() });
                self.last = true;
            }
            "Exit Code" | "ExitCode" => {
                let code = value.split_whitespace().next().and_then(|code| code.parse().ok());
                if code.is_some() {
                    self.last |= self.end.is_none();
                    self.end.get_or_insert_default();
                    self.set(|end| end.exit_code = code);
                }
            }
            "Finished" => self.set(|end| end.ended = date(value)),
            "Restart Count" => {
                self.restart_count = value.parse().ok();
                self.end_state();
            }
            "Ready" => self.end_state(),
            "memory" if self.under == "Limits" => self.limit_bytes = quantity::bytes(value),
            "Started" | "Reason" | "Message" | "Image" | "Image ID" | "Port" | "Host Port" | "cpu" | "memory" => {}
            _ if value.is_empty() => {
                key.clone_into(&mut self.under);
                if is_name(key) && line.trim() == format!("{key}:") && !HEADINGS.contains(&key) {
                    self.end_state();
                    (self.container, self.id) = (key.to_owned(), None);
                }
            }
            _ => {}
        }
        0
    }

    fn set(&mut self, set: impl FnOnce(&mut EndRecord)) {
        if let Some(end) = &mut self.end {
            set(end);
        }
    }

    fn end_state(&mut self) {
        if let Some(end) =
            self.end.take().filter(|end| end.exit_code.is_some() || end.reason.as_deref() == Some("OOMKilled"))
        {
            let id = self.id.clone().filter(|_| !self.last);
            self.ends.push((self.container.clone(), id, end));
        }
    }

    /// The part ends here. Gives how many pods it was of.
    pub(super) fn end(&mut self, asked: &Pod, into: &mut Snapshot) -> usize {
        self.end_state();
        let part = std::mem::take(self);
        if part.ends.is_empty() {
            return 0;
        }
        let pod = Pod { namespace: part.pod.namespace.or_else(|| asked.namespace.clone()), ..asked.clone() };
        let record = entry(into, pod);
        record.node = record.node.take().or(part.node);
        for (name, id, end) in part.ends {
            let container = record.containers.entry(name).or_default();
            container.restart_count = container.restart_count.or(part.restart_count);
            container.limit_bytes = container.limit_bytes.or(part.limit_bytes);
            match id.as_deref().and_then(container_id) {
                Some(id) => {
                    container.add_id(id.clone(), None);
                    container.ends.insert(id, end);
                }
                None => container.unnamed_ends.push(end),
            }
        }
        1
    }

    /// An eviction, of the pod that is named before its message, or that was asked for.
    pub(super) fn evicted(&self, message: &Message, asked: &Pod, into: &mut Snapshot) -> bool {
        let (named, node) = of_head(&message.head);
        let pod = Pod {
            namespace: self.pod.namespace.clone().or_else(|| asked.namespace.clone()),
            // None but the message is known of it.
            name: named.or_else(|| asked.name.clone()).or_else(|| Some(String::new())),
            ..Pod::default()
        };
        let Some(notice) = notice(pod, &message.text) else { return false };
        add(EvictionNotice { node: node.or_else(|| self.node.clone()), ..notice }, into);
        true
    }
}

/// The pod that is named before a message, and the node: `cart-5   Evicted   `, `event for cart-5: {kubelet node1} Evicted: `.
fn of_head(head: &str) -> (Option<String>, Option<String>) {
    let name = |word: &str| Some(word.to_owned()).filter(|word| is_name(word));
    if let Some((_, rest)) = head.split_once("event for ") {
        let (pod, rest) = rest.split_once(':').unwrap_or((rest, ""));
        let node = rest.split_once("{kubelet ").and_then(|(_, rest)| rest.split('}').next());
        return (name(pod), node.and_then(name));
    }
    if let Some((before, _)) = head.split_once("Evicted") {
        let word = before.split_whitespace().last().unwrap_or_default();
        return (name(word.rsplit('/').next().unwrap_or_default()).filter(|_| !word.ends_with(':')), None);
    }
    (None, None)
}

/// Headings of a description that have nothing behind them, in lower case where one of a container might.
const HEADINGS: [&str; 4] = ["status", "state", "terminated", "containers"];
