//! Incidents as one page that needs nothing else: nothing from the network, and no script to be read.
//!
//! The same page is served live ([`live`]): there an incident replaces what stood of it before.
//!
//! First the workloads, as that is what somebody can change, then the incidents, each folded. A script of the page's own adds
//! search, filters, an order and the reader's own time zone; a content security policy lets that one run by its hash and nothing
//! else, so that a hostile name stays text. Text is escaped by its type (maud); what is from outside is [`Outside`], which also
//! shows control characters and marks that turn the direction of writing as escapes.

mod chart;
pub(super) mod live;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use maud::{DOCTYPE, Escaper, Markup, PreEscaped, Render, html};
use sha2::{Digest as _, Sha256};

use self::chart::chart;
use super::text::{count, headline, is_hostile, offset, pod_and_container, shape, shows, since_boot, size};
use crate::event::{Confidence, Event, Incident, IncidentState, Line, Mark, Scenario, Severity, Workload};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/report.js");
/// Of so many incidents each is shown as a whole at once.
const UNFOLDED: usize = 3;

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
    let others = lines.iter().filter(|line| !matches!(line.event, Event::Incident(_)));
    let others: String = others.map(|line| super::text(line, super::Look::plain())).collect();
    let articles = html! {
        @for (node, incident) in &incidents { (one(node, incident, incidents.len() <= UNFOLDED)) }
    };
    let content = html! {
        (about(&incidents, None))
        main {
            @if incidents.len() > 1 {
                (workloads(&incidents))
                (controls(&incidents))
            }
            (list(&articles))
            @if !others.is_empty() {
                section {
                    h2 { "Events that are part of no incident" }
                    pre { (Outside(&others)) }
                }
            }
        }
    };
    document(&title(&incidents), &content, None, &[SCRIPT])
}

fn title(incidents: &[(&str, &Incident)]) -> String {
    format!("oomtrace: {}", count(incidents.len() as u64, "incident"))
}

/// The frame of every page. One that is served has a version, by which it asks for what is new.
fn document(title: &str, content: &Markup, version: Option<&str>, scripts: &[&str]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy(scripts, version.is_some()));
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body data-version=[version] {
                (content)
                @for script in scripts { script { (PreEscaped(script)) } }
            }
        }
    };
    page.into_string() + "\n"
}

/// What the page may do: draw by its own style, run its own scripts and, where it is served, ask who served it.
fn policy(scripts: &[&str], is_served: bool) -> String {
    let hash = |text: &&str| format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    let (style, scripts) = (hash(&STYLE), scripts.iter().map(hash).collect::<String>());
    let connect = if is_served { "; connect-src 'self'" } else { "" };
    format!("default-src 'none'; style-src{style}; script-src{scripts}{connect}; base-uri 'none'; form-action 'none'")
}

/// The page's head; `let_go` incidents were there before.
fn about(incidents: &[(&str, &Incident)], let_go: Option<u64>) -> Markup {
    html! {
        header #about {
            h1 { (title(incidents)) }
            (extent(incidents))
            @if let Some(let_go) = let_go.filter(|let_go| *let_go > 0) {
                p .where {
                    (count(let_go, "older incident")) " let go: the page keeps the last "
                    (incidents.len()) ", other outputs have all"
                }
            }
        }
    }
}

fn list(articles: &Markup) -> Markup {
    html! { section #incidents aria-label="Incidents" { (articles) } }
}

/// Text from outside.
struct Outside<'a>(&'a str);

impl Render for Outside<'_> {
    fn render_to(&self, to: &mut String) {
        use std::fmt::Write as _;
        for c in self.0.chars() {
            // Writing to a string does not fail.
            let _ = if c == '\n' || !is_hostile(c) {
                Escaper::new(to).write_char(c)
            } else {
                Escaper::new(to).write_fmt(format_args!("{}", c.escape_default()))
            };
        }
    }
}

/// What the page is about: how many kills, on how many nodes, from when to when.
fn extent(incidents: &[(&str, &Incident)]) -> Markup {
    let mut nodes: Vec<_> = incidents.iter().map(|(node, _)| *node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let kills = incidents.iter().map(|(_, incident)| incident.kills).sum();
    let timed = || incidents.iter().filter(|(_, incident)| !incident.time_unknown && !incident.boot_time_only);
    let first = timed().map(|(_, incident)| incident.started.as_str()).min();
    let last = timed().map(|(_, incident)| incident.ended.as_ref().unwrap_or(&incident.started).as_str()).max();
    html! {
        p .where {
            (count(kills, "kill"))
            @match nodes[..] {
                [] => {}
                [node] => { " · node " (Outside(node)) }
                _ => { " · " (count(nodes.len() as u64, "node")) }
            }
            @if let (Some(first), Some(last)) = (first, last) {
                " · " (time(first)) @if first != last { " to " (time(last)) }
            }
        }
    }
}

/// What is known of a workload's incidents.
#[derive(Default)]
struct Counts {
    incidents: u64,
    kills: u64,
    invisible: u64,
    evicted: u64,
    suggested_limit_bytes: Option<u64>,
    last: String,
    scenarios: BTreeMap<Scenario, u64>,
}

/// The workloads, those first that have most incidents.
fn workloads(incidents: &[(&str, &Incident)]) -> Markup {
    let mut counted: BTreeMap<(Option<&str>, Workload), Counts> = BTreeMap::new();
    for (_, incident) in incidents {
        let namespace = incident.pod.as_ref().and_then(|pod| pod.namespace.as_deref());
        let counts = counted.entry((namespace, incident.workload())).or_default();
        counts.incidents += 1;
        counts.kills += incident.kills;
        counts.invisible += u64::from(incident.verdict.invisible == Some(true));
        counts.evicted += u64::from(incident.evicted);
        counts.suggested_limit_bytes = counts.suggested_limit_bytes.max(incident.verdict.suggested_limit_bytes);
        *counts.scenarios.entry(incident.verdict.scenario).or_default() += 1;
        if incident.started > counts.last {
            counts.last.clone_from(&incident.started);
        }
    }
    let mut rows: Vec<_> = counted.into_iter().collect();
    rows.sort_by(|(_, a), (_, b)| b.incidents.cmp(&a.incidents).then_with(|| b.kills.cmp(&a.kills)));
    html! {
        section #of-workloads aria-labelledby="workloads" {
            h2 #workloads { "Workloads" }
            div .scrolls {
                table {
                    thead {
                        tr {
                            th scope="col" { "Workload" }
                            th scope="col" .number { "Incidents" }
                            th scope="col" .number { "Kills" }
                            th scope="col" .number title="Kubernetes shows nothing of the kill" { "Invisible" }
                            th scope="col" .number { "Evicted" }
                            th scope="col" { "What" }
                            th scope="col" .number { "Suggested limit" }
                            th scope="col" { "Last" }
                        }
                    }
                    tbody {
                        @for ((namespace, workload), counts) in &rows {
                            tr {
                                th scope="row" {
                                    button type="button" disabled data-search=(Outside(&workload.name)) {
                                        @if let Some(namespace) = namespace { (Outside(namespace)) "/" }
                                        (Outside(&workload.name))
                                    }
                                    @if let Some(kind) = &workload.kind { " " span .dim { (Outside(kind)) } }
                                }
                                td .number { (counts.incidents) }
                                td .number { (counts.kills) }
                                td .number { (counts.invisible) }
                                td .number { (counts.evicted) }
                                td {
                                    @for (index, (scenario, times)) in counts.scenarios.iter().enumerate() {
                                        @if index > 0 { ", " }
                                        code { (scenario.name()) }
                                        @if *times > 1 { " ×" (times) }
                                    }
                                }
                                td .number { @if let Some(bytes) = counts.suggested_limit_bytes { (size(Some(bytes))) } }
                                td { (time(&counts.last)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the script needs; hidden without it.
fn controls(incidents: &[(&str, &Incident)]) -> Markup {
    html! {
        div #controls hidden role="search" {
            label { "Search " input #search type="search" placeholder="pod, process, words" title="/ leads here"; }
            label {
                "Scenario "
                (scenarios(incidents))
            }
            label {
                "About "
                select #severity {
                    option value="" { "all" }
                    option value=(Severity::Memory.name()) { "memory" }
                    option value=(Severity::Other.name()) { "other ends" }
                }
            }
            label {
                "Order "
                select #order {
                    option value="time" { "oldest first" }
                    option value="latest" { "newest first" }
                    option value="kills" { "most kills" }
                    option value="workload" { "workload" }
                }
            }
            button #all type="button" { "Unfold or fold all" }
            output #shown aria-live="polite" {}
        }
    }
}

/// The scenarios to choose from.
fn scenarios(incidents: &[(&str, &Incident)]) -> Markup {
    let mut scenarios: Vec<_> = incidents.iter().map(|(_, incident)| incident.verdict.scenario).collect();
    scenarios.sort_unstable();
    scenarios.dedup();
    html! {
        select #scenario {
            option value="" { "all" }
            @for scenario in scenarios { option value=(scenario.name()) { (scenario.name()) } }
        }
    }
}

/// An incident.
fn one(node: &str, incident: &Incident, unfolded: bool) -> Markup {
    let verdict = &incident.verdict;
    let suggested = verdict.suggested_limit_bytes.zip(verdict.suggested_limit_basis.as_ref());
    let known = [
        ("What would help", verdict.advice.clone()),
        (
            "Suggested limit",
            suggested.map(|(bytes, basis)| format!("{}: {basis}", size(Some(bytes)))).unwrap_or_default(),
        ),
        ("Memory before", shape(verdict).unwrap_or_default()),
        ("Kubernetes shows", shows(incident)),
        ("Confidence", confidence(incident)),
    ];
    html! {
        details .incident id=(Outside(&incident.id)) open[unfolded]
            data-kills=(incident.kills) data-workload=(Outside(&incident.workload().name))
            data-scenario=(verdict.scenario.name()) data-severity=(incident.severity.name()) {
            summary {
                h2 { (Outside(headline(verdict))) }
                p .where {
                    (Outside(&pod_and_container(incident))) " · node " (Outside(node)) " · " (when(incident)) " · "
                    code { (verdict.scenario.name()) }
                    @if incident.kills > 1 { " · " (count(incident.kills, "kill")) }
                    @if incident.state == IncidentState::Open { " · open: more may come" }
                }
            }
            p .summary { (Outside(&verdict.summary)) }
            (chart(incident))
            dl {
                @for (term, text) in known.iter().filter(|(_, text)| !text.is_empty()) {
                    dt { (term) }
                    dd { (Outside(text)) }
                }
            }
            table .steps {
                thead { tr { th scope="col" { "From the kill" } th scope="col" { "What" } } }
                tbody {
                    @for step in &incident.steps {
                        tr class=(class(step.mark)) {
                            td { (offset(step.since_ms)) }
                            td { (Outside(&step.what)) }
                        }
                    }
                }
            }
            @if incident.steps_omitted > 0 {
                p .where { (count(incident.steps_omitted, "step")) " in between left out" }
            }
            p .where { "incident " a href={ "#" (Outside(&incident.id)) } { (Outside(&incident.id)) } }
        }
    }
}

fn confidence(incident: &Incident) -> String {
    let verdict = &incident.verdict;
    let sure = match verdict.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    };
    let missing = if verdict.missing.is_empty() { "" } else { "; missing: " };
    format!("{sure}{missing}{}", verdict.missing.join("; "))
}

fn when(incident: &Incident) -> Markup {
    if incident.time_unknown {
        html! { "at an unknown time" }
    } else if incident.boot_time_only {
        html! { (Outside(&since_boot(&incident.started))) }
    } else {
        time(&incident.started)
    }
}

/// A time, UTC, to the second; the script adds the reader's own.
fn time(ts: &str) -> Markup {
    let Ok(at) = ts.parse::<Timestamp>() else { return html! { (Outside(ts)) } };
    html! { time datetime=(format!("{at:.3}")) { (at.strftime("%Y-%m-%d %H:%M:%S")) " UTC" } }
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
