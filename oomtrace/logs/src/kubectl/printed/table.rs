//! A table of events: its head says where the columns are.

use oomtrace_model::Pod;

use super::{
    super::{
        Snapshot,
        events::{Seen, enter_event},
    },
    before,
};

/// Heads of columns, as kubectl writes them, and what is in them.
const HEADS: [(&str, Column); 15] = [
    ("NAMESPACE", Column::Namespace),
    ("LAST SEEN", Column::LastSeen),
    ("FIRST SEEN", Column::Other),
    ("TYPE", Column::Other),
    ("REASON", Column::Reason),
    ("SUBOBJECT", Column::Other),
    ("OBJECT", Column::Object),
    ("SOURCE", Column::From),
    ("MESSAGE", Column::Message),
    ("COUNT", Column::Other),
    ("NAME", Column::Name),
    ("KIND", Column::Kind),
    ("AGE", Column::LastSeen),
    ("FROM", Column::From),
    ("----", Column::Other),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Namespace,
    LastSeen,
    Reason,
    Object,
    From,
    Message,
    /// The event's own name: the object's, a dot and a number.
    Name,
    /// What the object is, as kubectl to 1.12 prints it.
    Kind,
    Other,
}

/// Where the columns of a table are.
#[derive(Debug)]
pub(super) struct Table(Vec<(usize, Column)>);

/// A line of the table.
pub(super) struct Row<'a>(Vec<(Column, &'a str)>);

impl Table {
    /// The head of a table; nothing where a line is none.
    pub(super) fn head(line: &str) -> Option<Self> {
        if !line.is_ascii() {
            return None;
        }
        let upper = line.to_ascii_uppercase();
        // Columns of a description are written as `Type`, those of a table as `TYPE`.
        let written = |name: &str, at: usize| {
            let as_it_is = line.get(at..at + name.len()).unwrap_or_default();
            as_it_is == name || as_it_is.chars().skip(1).all(|c| c.is_ascii_lowercase())
        };
        let mut columns = Vec::new();
        let mut at = 0;
        while at < upper.len() {
            if upper.as_bytes()[at] == b' ' {
                at += 1;
                continue;
            }
            let rest = &upper[at..];
            let known = HEADS.iter().find(|(name, _)| {
                rest.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
                    && written(name, at)
            });
            let (name, column) = known?;
            columns.push((at, *column));
            at += name.len();
        }
        let has = |column| columns.iter().any(|(_, known)| *known == column);
        (has(Column::LastSeen) && has(Column::Reason) && has(Column::Message)).then_some(Self(columns))
    }

    /// Whether each line says what it is about, as those of a description do not.
    pub(super) fn has_objects(&self) -> bool {
        self.0.iter().any(|(_, column)| matches!(column, Column::Object | Column::Kind))
    }

    /// The parts of a line; nothing where the table has ended.
    pub(super) fn row<'a>(&self, line: &'a str) -> Option<Row<'a>> {
        if line.trim().is_empty() {
            return None;
        }
        let starts = || self.0.iter().map(|(at, _)| *at);
        let aligned = starts().all(|at| {
            line.get(at..).is_some_and(|rest| !rest.starts_with(' ') || rest.trim().is_empty() || at > 0)
                && (at == 0 || line.as_bytes().get(at - 1) == Some(&b' '))
        });
        let parts: Vec<&str> = if aligned {
            let ends = starts().skip(1).map(Some).chain([None]);
            starts().zip(ends).map(|(at, end)| line.get(at..end.unwrap_or(line.len())).unwrap_or_default()).collect()
        } else {
            apart(line.trim_start(), self.0.len())
        };
        // An event's columns are never empty but for a few, so a line of prose has too few.
        (parts.len() == self.0.len())
            .then(|| Row(self.0.iter().zip(parts).map(|((_, column), part)| (*column, part.trim())).collect()))
    }
}

/// Parts with at least two blanks between them; the last is the rest of the line.
fn apart(line: &str, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = line;
    while parts.len() + 1 < most {
        let Some((part, behind)) = rest.split_once("  ") else { break };
        parts.push(part);
        rest = behind.trim_start();
    }
    parts.push(rest);
    parts
}

/// Whether events with this reason are about a node.
fn is_of_node(reason: &str) -> bool {
    reason == "SystemOOM" || reason.ends_with("OOMKilling")
}

impl Row<'_> {
    fn get(&self, column: Column) -> Option<&str> {
        self.0.iter().find(|(known, part)| *known == column && !part.is_empty()).map(|(_, part)| *part)
    }

    /// Whether it is about a node, whatever stands around it.
    pub(super) fn is_of_node(&self) -> bool {
        self.get(Column::Reason).is_some_and(is_of_node)
    }

    /// `----     ------   ----`
    pub(super) fn is_rule(&self) -> bool {
        self.0.iter().all(|(_, part)| part.bytes().all(|byte| byte == b'-'))
    }

    /// Takes the event in; in a description it is about that pod.
    pub(super) fn enter(&self, described: Option<&Pod>, into: &mut Snapshot) {
        let (Some(reason), Some(message)) = (self.get(Column::Reason), self.get(Column::Message)) else { return };
        let of_name = || Some((self.get(Column::Kind)?, self.get(Column::Name)?.rsplit_once('.')?.0));
        let object = self.get(Column::Object).and_then(|object| object.split_once('/')).or_else(of_name);
        let (kind, name) = match (object, described) {
            (Some((kind, name)), _) => (kind, Some(name)),
            // What is described, or was asked for: a node is by itself, and a pod without its name is one yet.
            (None, described) if is_of_node(reason) => ("node", described.and_then(|node| node.name.as_deref())),
            (None, described) => ("pod", Some(described.and_then(|pod| pod.name.as_deref()).unwrap_or_default())),
        };
        // `kubelet, node1` before 1.26.
        let node = self.get(Column::From).and_then(|from| Some(from.split_once(", ")?.1));
        let namespace = self.get(Column::Namespace).or_else(|| described?.namespace.as_deref());
        let seen = Seen {
            ts: self.get(Column::LastSeen).and_then(|age| before(into.printed, age)),
            node,
            reason,
            kind,
            namespace,
            name,
            uid: None,
            message,
        };
        enter_event(&seen, into);
    }
}
