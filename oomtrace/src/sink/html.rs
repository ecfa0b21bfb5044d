//! Incidents as one page that needs nothing else: no script, nothing from the network. A browser is instructed so, too, by a
//! content security policy, which also keeps a hostile name from becoming more than text.

mod picture;

use std::fmt::Write as _;

use self::picture::picture;
use super::text::{headline, offset, pod_and_container, shows, since_boot};
use crate::event::{Confidence, Event, Incident, Line, Mark};

const STYLE: &str = include_str!("html/style.css");

/// The page: all incidents of `lines` in their order, and what else there is in them.
#[must_use]
pub fn html(lines: &[Line]) -> String {
    let incidents: Vec<_> = lines
        .iter()
        .filter_map(|line| match &line.event {
            Event::Incident(incident) => Some((line.node.as_str(), &**incident)),
            _ => None,
        })
        .collect();
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut page, &incidents, lines);
    page
}

fn write_page(page: &mut String, incidents: &[(&str, &Incident)], lines: &[Line]) -> std::fmt::Result {
    let count = incidents.len();
    let title = if count == 1 { "1 incident".to_owned() } else { format!("{count} incidents") };
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>oomtrace: {title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>oomtrace: {title}</h1>"
    )?;
    if count > 1 {
        write_contents(page, incidents)?;
    }
    for (node, incident) in incidents {
        write_incident(page, node, incident)?;
    }
    let others: Vec<_> = lines.iter().filter(|line| !matches!(line.event, Event::Incident(_))).collect();
    if !others.is_empty() {
        writeln!(page, "<h2>Events that came to no incident</h2>\n<pre>")?;
        for line in others {
            write!(page, "{}", escape(&super::text(line, super::Look::plain())))?;
        }
        writeln!(page, "</pre>")?;
    }
    writeln!(page, "</body>\n</html>")
}

fn write_contents(page: &mut String, incidents: &[(&str, &Incident)]) -> std::fmt::Result {
    writeln!(page, "<table>\n<tr><th>When</th><th>Node</th><th>Who</th><th>What</th><th>Kills</th></tr>")?;
    for (node, incident) in incidents {
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td><a href=\"#{}\">{}</a></td><td>{}</td><td>{}</td></tr>",
            escape(&when(incident)),
            escape(node),
            escape(&incident.id),
            escape(&pod_and_container(incident)),
            escape(headline(&incident.verdict)),
            incident.kills,
        )?;
    }
    writeln!(page, "</table>")
}

fn write_incident(page: &mut String, node: &str, incident: &Incident) -> std::fmt::Result {
    let verdict = &incident.verdict;
    writeln!(
        page,
        "<article id=\"{}\">\n<h2>{}</h2>\n<p class=\"where\">{} · node {} · {} · <code>{}</code></p>\n<p class=\"summary\">{}</p>",
        escape(&incident.id),
        escape(headline(verdict)),
        escape(&pod_and_container(incident)),
        escape(node),
        escape(&when(incident)),
        verdict.scenario.name(),
        escape(&verdict.summary),
    )?;
    picture(page, incident)?;
    writeln!(page, "<dl>")?;
    let sure = match verdict.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    };
    let missing =
        if verdict.missing.is_empty() { String::new() } else { format!("; missing: {}", verdict.missing.join("; ")) };
    for (term, text) in [
        ("What would help", verdict.advice.clone()),
        ("Kubernetes shows", shows(incident)),
        ("Confidence", format!("{sure}{missing}")),
    ] {
        if !text.is_empty() {
            writeln!(page, "<dt>{term}</dt><dd>{}</dd>", escape(&text))?;
        }
    }
    writeln!(page, "</dl>\n<table class=\"steps\">")?;
    for step in &incident.steps {
        writeln!(
            page,
            "<tr class=\"{}\"><td>{}</td><td>{}</td></tr>",
            class(step.mark),
            escape(&offset(step.since_ms)),
            escape(&step.what),
        )?;
    }
    writeln!(page, "</table>\n</article>")
}

fn when(incident: &Incident) -> String {
    if incident.time_unknown {
        "at an unknown time".to_owned()
    } else if incident.boot_time_only {
        since_boot(&incident.started)
    } else {
        incident.started.clone()
    }
}

/// How a mark is drawn: a class of the style sheet.
fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::Failure => "failure",
        Mark::Kill => "kill",
        Mark::Signal => "signal",
        Mark::Exit => "exit",
        Mark::Eviction => "eviction",
        Mark::Other => "other",
    }
}

/// Text from outside, safe in HTML text and in quoted attributes. Control characters and those that turn the direction of
/// writing are shown as escapes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' => out.push('\n'),
            c if c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                out.extend(c.escape_default());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{MemoryPoint, Pod, Source, Step, Verdict};

    const HOSTILE: &str = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'\u{202e}\u{1b}";

    fn hostile() -> Line {
        let step = |ms, mark| Step {
            ts: format!("2026-11-23T23:20:3{}Z", ms / 1000),
            since_ms: f64::from(ms),
            source: Source::Kmsg,
            seq: 1,
            mark,
            what: HOSTILE.to_owned(),
        };
        let point = |second, mib: u64| MemoryPoint {
            ts: format!("2026-11-23T23:20:3{second}Z"),
            usage_bytes: mib << 20,
            limit_bytes: Some(64 << 20),
        };
        let incident = Incident {
            id: HOSTILE.to_owned(),
            started: HOSTILE.to_owned(),
            pod: Some(Pod { name: Some(HOSTILE.to_owned()), ..Pod::default() }),
            verdict: Verdict {
                summary: HOSTILE.to_owned(),
                advice: HOSTILE.to_owned(),
                missing: vec![HOSTILE.to_owned()],
                kubernetes_shows: vec![HOSTILE.to_owned()],
                ..Verdict::default()
            },
            steps: vec![step(0, Mark::Kill), step(2000, Mark::Exit)],
            history: vec![point(0, 30), point(1, 64)],
            ..Incident::default()
        };
        Line {
            ts: String::new(),
            seq: 1,
            node: HOSTILE.to_owned(),
            source: Source::Oomtrace,
            boot_ns: None,
            event: Event::Incident(Box::new(incident)),
        }
    }

    #[test]
    fn hostile_names_stay_text() {
        let page = html(&[hostile(), hostile()]);
        for tag in ["<script", "<img", "</title></style>"] {
            assert!(!page.contains(tag), "{tag} in {page}");
        }
        assert!(page.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'));
        // Every quote in text is escaped: what is left are the page's own, in pairs.
        assert_eq!(page.matches('"').count() % 2, 0);
    }

    #[test]
    fn the_page_needs_nothing_else_and_runs_nothing() {
        let page = html(&[hostile()]);
        for outside in ["http:", "https:", "url(", "@import", "<link", "<script", "src="] {
            let own = page.replace(&escape(HOSTILE), "");
            assert!(!own.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn each_incident_has_a_picture_of_memory_and_marks() {
        let page = html(&[hostile()]);
        assert_eq!(page.matches("<svg").count(), 1);
        for part in ["class=\"usage\"", "class=\"limit\"", "class=\"mark kill\"", "class=\"mark exit\"", "64 MiB"] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
