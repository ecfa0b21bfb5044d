//! Words for people: sizes, names, places.

use crate::{
    event::{Container, Level, Limit, Pod, Task},
    quantity,
};

pub(super) fn who(task: &Task) -> String {
    format!("{} (pid {})", escape(task.comm.as_deref().unwrap_or("?")), number(task.pid))
}

pub(super) fn place(pod: Option<&Pod>, container: Option<&Container>) -> String {
    let pod = pod.map(|pod| match (&pod.namespace, &pod.name) {
        (Some(namespace), Some(name)) => format!("pod {}/{}", escape(namespace), escape(name)),
        (None, Some(name)) => format!("pod {}", escape(name)),
        _ => pod.uid.as_ref().map_or_else(|| "a pod".to_owned(), |uid| format!("pod {uid}")),
    });
    let container = container.map(|container| match &container.name {
        Some(name) => format!("container {}", escape(name)),
        // As runtimes' own tools shorten it.
        None => container
            .id
            .as_ref()
            .map_or_else(|| "a container".to_owned(), |id| format!("container {:.12}", id.to_string())),
    });
    match (pod, container) {
        (Some(pod), Some(container)) => format!("{pod}, {container}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "no container".to_owned(),
    }
}

pub(super) fn describe_limit(limit: &Limit) -> String {
    let whose = match limit.level {
        Some(Level::Container) => "the container's",
        Some(Level::Pod) => "the pod's",
        Some(Level::Qos) => "the QoS class's",
        Some(Level::Kubepods) => "kubepods': all pods together",
        Some(Level::Node) => "the node's: RAM and swap",
        Some(Level::Other) => "a cgroup outside of Kubernetes",
        None => "not known whose",
    };
    let used = limit.usage_bytes.map_or_else(String::new, |used| format!(", used {}", size(Some(used))));
    format!("{whose}: {}{used}", size(limit.limit_bytes))
}

pub(super) fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

/// Bytes in the unit that people would choose.
#[must_use]
pub fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), quantity::size)
}

/// Text from outside, safe for a terminal: control characters are shown as escapes.
#[must_use]
pub fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let hostile = is_hostile(c);
            let escaped = hostile.then(|| c.escape_default());
            let plain = (!hostile).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Whether a character does something to text instead of being read: bidirectional marks could make a line read as another.
pub(in crate::sink) fn is_hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_unit_that_people_would_choose() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (20 << 20, "20 MiB"),
            ((20 << 20) - 1, "19.9 MiB"),
            (3 << 30, "3 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(Some(bytes)), text);
        }
        assert_eq!(size(None), "?");
    }

    #[test]
    fn a_hostile_name_cannot_drive_the_terminal() {
        assert_eq!(escape("a\u{1b}[2J\nb\u{202e}c\"é"), "a\\u{1b}[2J\\nb\\u{202e}c\"é");
    }
}
