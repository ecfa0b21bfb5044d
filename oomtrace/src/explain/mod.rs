//! What people ask about memory, answered in a few lines: a code, a status, a metric, a scenario, a score, pasted lines, a pod.
//!
//! All texts are in [`topics`]; [`score`] decodes an `oom_score_adj`; [`here`] reads this node's numbers.

pub(crate) mod here;
pub(crate) mod score;
mod topics;

use serde::Serialize;

use crate::{
    event::Scenario,
    sink::{BOLD, Look, PLAIN, Page},
    timeline::words::heading_of,
};

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    /// What it is about.
    pub(crate) about: String,
    /// What kind of thing that is.
    pub(crate) kind: String,
    pub(crate) means: String,
    pub(crate) means_not: Option<String>,
    pub(crate) look_at: Vec<String>,
    /// The scenarios that it can belong to.
    pub(crate) scenarios: Vec<Named>,
    /// What of it can be read on this node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) here: Vec<here::Step>,
}

/// A scenario, with its heading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Named {
    pub(crate) scenario: Scenario,
    pub(crate) heading: String,
}

/// Nothing is known by this name.
#[derive(Debug, thiserror::Error)]
#[error("{what:?} cannot be explained. What can:\n{known}")]
pub(crate) struct Unknown {
    what: String,
    known: String,
}

/// Explains a thing by its name.
///
/// # Errors
///
/// Fails where nothing is known by it.
pub(crate) fn explain(what: &str, capacity_bytes: Option<u64>) -> Result<Explanation, Unknown> {
    if let Some(score) = score::asked(what) {
        return Ok(score::explain(score, capacity_bytes));
    }
    match topics::find(what) {
        Some(topic) => Ok(of_topic(topic)),
        None => Err(Unknown { what: what.to_owned(), known: known() }),
    }
}

/// What the words of pasted lines mean that are known.
pub(crate) fn in_text(text: &str) -> Vec<Explanation> {
    topics::in_text(text).map(of_topic).collect()
}

/// Explains a scenario.
pub(crate) fn of_scenario(scenario: Scenario) -> Option<Explanation> {
    topics::find(scenario.name()).map(of_topic)
}

fn of_topic(topic: &topics::Topic) -> Explanation {
    let name = |scenario: &Scenario| Named { scenario: *scenario, heading: heading_of(*scenario).to_owned() };
    Explanation {
        about: topic.names.first().copied().unwrap_or_default().to_owned(),
        kind: topic.kind.in_words().to_owned(),
        means: topic.means.to_owned(),
        means_not: Some(topic.means_not.to_owned()),
        look_at: topic.look_at.iter().map(|text| (*text).to_owned()).collect(),
        scenarios: topic.scenarios.iter().map(name).collect(),
        here: Vec::new(),
    }
}

/// All that can be explained, a line for each kind.
pub(crate) fn known() -> String {
    let mut lines = Vec::new();
    for kind in topics::Kind::ALL {
        let of_kind = topics::TOPICS.iter().filter(|topic| topic.kind == kind);
        let names: Vec<&str> = of_kind.filter_map(|topic| topic.names.first().copied()).collect();
        lines.push(format!("  {}: {}", kind.in_words(), names.join(", ")));
    }
    lines.push("  a score: `oom_score_adj 984`".to_owned());
    lines.push("  a pod: NAMESPACE/POD".to_owned());
    lines.push("  lines of a log, on standard input: `journalctl -k | oomtrace explain -`".to_owned());
    lines.join("\n")
}

impl Explanation {
    /// The answer for people.
    pub(crate) fn text(&self, look: Look) -> String {
        const HANG: usize = 4;
        let mut page = Page::new(look);
        page.paragraph(&[(&self.about, BOLD), ("  ", PLAIN)], 2, PLAIN, &self.kind);
        page.paragraph(&[("  Means: ", BOLD)], HANG, PLAIN, &self.means);
        if let Some(means_not) = &self.means_not {
            page.paragraph(&[("  Does not mean: ", BOLD)], HANG, PLAIN, means_not);
        }
        if !self.look_at.is_empty() {
            page.paragraph(&[("  Look at:", BOLD)], HANG, PLAIN, "");
            for text in &self.look_at {
                page.paragraph(&[("  - ", PLAIN)], HANG, PLAIN, text);
            }
        }
        let is_one = |named: &Named| named.scenario.name() == self.about;
        if !self.scenarios.is_empty() && !self.scenarios.iter().all(is_one) {
            page.paragraph(&[("  Can be:", BOLD)], HANG, PLAIN, "");
            for named in &self.scenarios {
                let name = named.scenario.name();
                page.paragraph(&[(&format!("  - {name:<22}"), PLAIN)], HANG, PLAIN, &named.heading);
            }
        }
        here::print(&self.here, &mut page);
        page.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed of each thing, word for word; `OOMTRACE_BLESS=1` writes it anew.
    #[test]
    fn all_texts_are_as_they_were_agreed_on() {
        let mut all = String::new();
        for topic in topics::TOPICS {
            all += &of_topic(topic).text(Look::plain());
            all.push('\n');
        }
        for score in [-1000, -999, -998, -997, 0, 2, 3, 984, 999, 1000] {
            all += &score::explain(score, Some(16 << 30)).text(Look::plain());
            all.push('\n');
        }
        all += &known();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/explain.txt");
        if std::env::var_os("OOMTRACE_BLESS").is_some() {
            std::fs::write(path, &all).expect("the texts are written");
        }
        let expected = std::fs::read_to_string(path).expect("the texts");
        assert!(
            all == expected,
            "what is explained has changed: run this test with OOMTRACE_BLESS=1 and look at the diff"
        );
    }

    #[test]
    fn every_scenario_can_be_explained_and_no_name_stands_for_two_things() {
        for scenario in Scenario::ALL {
            let explained = of_scenario(scenario).unwrap_or_else(|| unreachable!("{scenario:?}"));
            assert_eq!(explained.kind, "scenario of an incident", "{scenario:?}");
        }
        let mut names: Vec<&str> = topics::TOPICS.iter().flat_map(|topic| topic.names).copied().collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_thing_is_found_as_people_write_it() {
        for (what, about) in [
            ("137", "137"),
            ("Error  137", "137"),
            ("oomkilled", "OOMKilled"),
            ("Evicted", "Evicted"),
            ("evicted", "evicted"),
            ("OOM4", "allocatable_oom"),
            ("container_memory_working_set_bytes", "container_memory_working_set_bytes"),
            ("oom_score_adj 984", "oom_score_adj 984"),
            ("oom_score_adj=984", "oom_score_adj 984"),
        ] {
            assert_eq!(explain(what, None).map(|found| found.about).ok().as_deref(), Some(about), "{what}");
        }
        let unknown = explain("nonsense", None).expect_err("nothing").to_string();
        for name in ["OOMKilled", "allocatable_oom", "container_memory_rss", "oom_score_adj", "NAMESPACE/POD"] {
            assert!(unknown.contains(name), "{name}: {unknown}");
        }
    }

    #[test]
    fn words_of_pasted_lines_are_explained() {
        let found = in_text("pod web is in CrashLoopBackOff, last state OOMKilled (exit code 137)");
        let about: Vec<&str> = found.iter().map(|found| found.about.as_str()).collect();
        assert_eq!(about, ["OOMKilled", "CrashLoopBackOff"]);
    }
}
