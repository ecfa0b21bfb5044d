//! The page of what is going on: its parts, by which a page that is open is brought up to date.

use maud::{Markup, PreEscaped, html};

use super::{SCRIPT, UNFOLDED, about, controls, document, list, one, policy, scenarios, title, workloads};
use crate::event::Incident;

/// Takes parts that are new from where the page is from.
const LIVE: &str = include_str!("live.js");
const SCRIPTS: [&str; 2] = [SCRIPT, LIVE];
/// How an article begins.
const BEGIN: &str = "<details";

/// An incident as [`page`] has it, folded, in one line.
pub(in crate::sink) fn article(node: &str, incident: &Incident) -> String {
    one(node, incident, false).into_string().replace('\n', "&#10;")
}

/// The page as a whole, with what [`article`] made of each incident.
pub(in crate::sink) fn page(incidents: &[(&str, &Incident)], articles: &[&str], let_go: u64, version: &str) -> String {
    let unfolded = if articles.len() <= UNFOLDED { " open" } else { "" };
    let articles = html! {
        @for article in articles {
            (PreEscaped(BEGIN)) (PreEscaped(unfolded)) (PreEscaped(article.strip_prefix(BEGIN).unwrap_or(article)))
        }
    };
    let content = html! {
        (about(incidents, Some(let_go)))
        p #live .where role="status" { "Load the page again for what is new." }
        main {
            (workloads(incidents))
            (controls(incidents))
            (list(&articles))
        }
    };
    document(&title(incidents), &content, Some(version), &SCRIPTS)
}

/// What of the page is about all incidents: each part replaces the one with the same id.
pub(in crate::sink) fn summary(incidents: &[(&str, &Incident)], let_go: u64) -> Markup {
    html! {
        (about(incidents, Some(let_go)))
        (workloads(incidents))
        (scenarios(incidents))
    }
}

/// What goes before the page in the answer: more than a page can say of itself.
pub(in crate::sink) fn content_security_policy() -> String {
    policy(&SCRIPTS, true) + "; frame-ancestors 'none'"
}
