//! Incidents to be shown, with what an attacker would call a container.

use oomtrace::event::{
    AffectedContainer, Container, Event, Incident, Level, Limit, Line, Mark, MemoryPoint, Pod, Scenario, Severity,
    Source, Step, Verdict,
};

/// Each runs a script where it is taken for markup, or is as long, or as hard to show, as a name can be.
pub(crate) const HOSTILE: [&str; 6] = [
    "</title></style></script><script>window.ran = 1; alert(1)</script>",
    "<img src=x onerror=\"window.ran = 1\"><svg onload='window.ran = 1'>",
    "\" onmouseover=\"window.ran = 1\" x='` autofocus onfocus=window.ran=1",
    "\u{202e}gpj.exe\u{2066}\u{200f}\u{1b}[31m\u{0}",
    "a-very-long-name-without-a-place-to-break-it-a-very-long-name-without-a-place-to-break-it-\
     aVeryLongNameWithoutAPlaceToBreakItAVeryLongNameWithoutAPlaceToBreakItAVeryLongNameWithoutAPlaceToBreakIt\
     xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "javascript:window.ran=1//]]>--><!--",
];

const MARKS: [Mark; 6] = [Mark::Failure, Mark::Signal, Mark::Kill, Mark::Exit, Mark::Eviction, Mark::Other];

/// One of many: number `n`, with hostile names.
pub(crate) fn hostile(n: usize) -> Incident {
    let words = HOSTILE[n % HOSTILE.len()];
    named(n, &format!("{words}-{n}"), words)
}

/// The same of this pod, with these words.
pub(crate) fn named(n: usize, pod: &str, words: &str) -> Incident {
    let words = || words.to_owned();
    let container = Container { name: Some(words()), ..Container::default() };
    let at = |second: usize| format!("2026-11-{:02}T{:02}:{:02}:{second:02}Z", n / 1440 % 28 + 1, n / 60 % 24, n % 60);
    let step = |(index, mark): (usize, Mark)| Step {
        ts: at(10 * index),
        since_ms: f64::from(u32::try_from(10 * index).unwrap_or_default()) * 1000.0,
        source: Source::Kernel,
        seq: 1,
        mark,
        what: words(),
    };
    let scenario = Scenario::ALL[n % Scenario::ALL.len()];
    Incident {
        id: format!("id-{n}"),
        severity: if n.is_multiple_of(3) { Severity::Other } else { Severity::Memory },
        started: at(0),
        ended: Some(at(59)),
        pod: Some(Pod { name: Some(pod.to_owned()), namespace: Some(words()), ..Pod::default() }),
        container: Some(container.clone()),
        containers: vec![AffectedContainer {
            container,
            request_bytes: Some(32 << 20),
            ..AffectedContainer::default()
        }],
        limit: Some(Limit { level: Some(Level::Container), ..Limit::default() }),
        kills: n as u64 % 5 + 1,
        verdict: Verdict {
            scenario,
            heading: words(),
            summary: words(),
            advice: words(),
            missing: vec![words()],
            kubernetes_shows: vec![words()],
            suggested_limit_bytes: Some(96 << 20),
            suggested_limit_basis: Some(words()),
            ..Verdict::default()
        },
        steps: MARKS.into_iter().enumerate().map(step).collect(),
        history: (0..60)
            .map(|second| MemoryPoint {
                ts: at(second),
                usage_bytes: (second as u64) << 20,
                limit_bytes: Some(64 << 20),
            })
            .collect(),
        ..Incident::default()
    }
}

pub(crate) fn line(incident: Incident) -> Line {
    Line {
        ts: incident.started.clone(),
        seq: 1,
        node: HOSTILE[0].to_owned(),
        source: Source::Oomtrace,
        boot_ns: None,
        event: Event::Incident(Box::new(incident)),
    }
}
