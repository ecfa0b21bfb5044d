//! The kubelet's own counters on its `/metrics`: for which signal pods were evicted.
//!
//! At the default verbosity the log does not say which signal crossed its threshold, these counters do:
//! `kubelet_evictions{eviction_signal="allocatableMemory.available"} 2` (`pkg/kubelet/metrics/metrics.go`, 1.16 on). They
//! count from the kubelet's start, so two readings tell what happened between them, and one what happened since the start.
//!
//! Read is the Prometheus text format and `OpenMetrics`, which writes the name of a counter with `_total`.

mod watch;

use std::collections::BTreeMap;

pub use self::watch::{Access, Counters, MetricsError};

/// What the kubelet counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Evictions by signal: `memory.available`, `allocatableMemory.available`, `nodefs.available`.
    pub evictions: BTreeMap<String, u64>,
    /// `container_oom_events_total`, by container: `namespace/pod/container`. From cAdvisor, at `/metrics/cadvisor`.
    pub oom_events: BTreeMap<String, u64>,
    /// `process_start_time_seconds`: when the kubelet started, milliseconds since the epoch.
    pub started_ms: Option<u64>,
}

impl Metrics {
    /// Reads a body of `/metrics`. Whatever is not understood is passed over: it is another program's format that grows.
    #[must_use]
    pub fn read(body: &str) -> Self {
        let mut metrics = Self::default();
        for sample in body.lines().filter_map(Sample::read) {
            match sample.name {
                "kubelet_evictions" | "kubelet_evictions_total" => {
                    if let (Some(signal), Some(count)) = (sample.label("eviction_signal"), sample.count()) {
                        *metrics.evictions.entry(signal).or_default() += count;
                    }
                }
                "container_oom_events_total" => {
                    let labels = ["namespace", "pod", "container"].map(|name| sample.label(name).unwrap_or_default());
                    if let Some(count) = sample.count().filter(|_| labels.iter().all(|label| !label.is_empty())) {
                        *metrics.oom_events.entry(labels.join("/")).or_default() += count;
                    }
                }
                "process_start_time_seconds" => metrics.started_ms = sample.scaled(1000.0),
                _ => {}
            }
        }
        metrics
    }

    /// What was counted since `earlier`: all of it where the kubelet started anew meanwhile.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if self.started_ms != earlier.started_ms {
            return self.clone();
        }
        let difference = |now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            let before = |name: &String| before.get(name).copied().unwrap_or(0);
            now.iter()
                .map(|(name, count)| (name.clone(), count.saturating_sub(before(name))))
                .filter(|(_, count)| *count > 0)
                .collect()
        };
        Self {
            evictions: difference(&self.evictions, &earlier.evictions),
            oom_events: difference(&self.oom_events, &earlier.oom_events),
            started_ms: self.started_ms,
        }
    }

    /// The one signal of memory for which pods were evicted; `None` where there was none, or both.
    #[must_use]
    pub fn memory_signal(&self) -> Option<&'static str> {
        let counted = |signal: &str| self.evictions.get(signal).is_some_and(|count| *count > 0);
        match (counted("memory.available"), counted("allocatableMemory.available")) {
            (true, false) => Some("memory.available"),
            (false, true) => Some("allocatableMemory.available"),
            _ => None,
        }
    }
}

/// `name{label="value",…} value [timestamp]`.
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    labels: &'a str,
    value: f64,
    /// When it was taken, in milliseconds since the epoch; `None` where the line does not say.
    pub(crate) stamp_ms: Option<i64>,
}

impl<'a> Sample<'a> {
    pub(crate) fn read(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let end = line.find(['{', ' ', '\t'])?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inside) => {
                let end = closing(inside)?;
                (&inside[..end], &inside[end + 1..])
            }
            None => ("", rest),
        };
        let mut rest = rest.split_whitespace();
        let value = rest.next()?.parse().ok()?;
        let stamp_ms = rest.next().and_then(|stamp| stamp.parse().ok());
        Some(Self { name, labels, value, stamp_ms })
    }

    pub(crate) fn label(&self, wanted: &str) -> Option<String> {
        let mut rest = self.labels;
        loop {
            let (name, quoted) = rest.split_once("=\"")?;
            let end = quoted_end(quoted)?;
            if name.trim_matches([',', ' ']) == wanted {
                return Some(unescaped(&quoted[..end]));
            }
            rest = &quoted[end + 1..];
        }
    }

    pub(crate) fn count(&self) -> Option<u64> {
        self.scaled(1.0)
    }

    fn scaled(&self, by: f64) -> Option<u64> {
        let value = (self.value * by).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: exact below 2^53")]
        (0.0..9e15).contains(&value).then_some(value as u64)
    }
}

/// Where the labels end: a `}` outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text[at..].find(['"', '}'])?;
        if text.as_bytes()[at] == b'}' {
            return Some(at);
        }
        at += 1 + quoted_end(&text[at + 1..])? + 1;
    }
}

/// Undoes `\\`, `\"` and `\n`.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(escaped) => escaped,
                None => break,
            },
            character => character,
        });
    }
    plain
}

/// Where a quoted text ends.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    const BODY: &str = include_str!("../../tests/data/evict-1.36-systemd/metrics-evict.txt");

    #[test]
    fn a_nodes_counters_name_the_signal_that_its_log_does_not() {
        let metrics = Metrics::read(BODY);
        assert_eq!(metrics.evictions.iter().collect::<Vec<_>>(), [(&"allocatableMemory.available".to_owned(), &2)]);
        assert_eq!(metrics.memory_signal(), Some("allocatableMemory.available"));
    }

    #[test]
    fn the_forms_of_a_counter_are_the_same() {
        for line in [
            r#"kubelet_evictions{eviction_signal="memory.available"} 3"#,
            r#"kubelet_evictions_total{eviction_signal="memory.available"} 3"#,
            r#"kubelet_evictions{node="n",eviction_signal="memory.available",x="a}b\"c"} 3.0 1795476283001"#,
            r#"kubelet_evictions{ eviction_signal="memory.available", } 3e0"#,
            "kubelet_evictions{eviction_signal=\"memory.available\"} 3 1795476000000",
        ] {
            assert_eq!(Metrics::read(line).evictions.get("memory.available"), Some(&3), "{line}");
        }
    }

    #[test]
    fn what_is_no_counter_of_evictions_is_passed_over() {
        for line in [
            "",
            "# TYPE kubelet_evictions counter",
            "kubelet_evictions 3",
            r#"kubelet_evictions{eviction_signal="memory.available"} NaN"#,
            r#"kubelet_evictions{eviction_signal="memory.available"} -1"#,
            r#"kubelet_evictions{eviction_signal="memory.available"#,
            r#"kubelet_evictions{eviction_signal="memory.available"}"#,
            r#"kubelet_eviction_stats_age_seconds_count{eviction_signal="memory.available"} 2"#,
        ] {
            assert_eq!(Metrics::read(line), Metrics::default(), "{line}");
        }
    }

    #[test]
    fn two_readings_tell_what_happened_between_them() {
        let read = |start: u32, memory: u32, allocatable: u32| {
            Metrics::read(&format!(
                "process_start_time_seconds {start}\n\
                 kubelet_evictions{{eviction_signal=\"memory.available\"}} {memory}\n\
                 kubelet_evictions{{eviction_signal=\"allocatableMemory.available\"}} {allocatable}\n"
            ))
        };
        assert_eq!(read(1, 2, 5).memory_signal(), None, "both");
        assert_eq!(read(1, 2, 5).since(&read(1, 2, 4)).memory_signal(), Some("allocatableMemory.available"));
        assert_eq!(read(1, 2, 5).since(&read(1, 2, 5)).memory_signal(), None);
        assert_eq!(read(9, 1, 0).since(&read(1, 2, 5)).memory_signal(), Some("memory.available"), "it was restarted");
    }

    #[test]
    fn ooms_that_cadvisor_counted_are_reported_by_container() {
        let body = r#"container_oom_events_total{container="app",id="/kubepods/x",image="i",name="n",namespace="team-a",pod="p"} 4 1795476283001
container_oom_events_total{container="",id="/",namespace="",pod=""} 9"#;
        assert_eq!(Metrics::read(body).oom_events.into_iter().collect::<Vec<_>>(), [("team-a/p/app".to_owned(), 4)]);
    }
}
