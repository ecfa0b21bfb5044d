//! Which incidents are asked for, and what is said where none of those that there are is.

use std::{collections::BTreeSet, str::FromStr};

use anyhow::Result;
use globset::{Glob, GlobMatcher};
use jiff::{Timestamp, tz::TimeZone};
use tracing::warn;

use super::{Args, asked::Asked};
use crate::event::{Incident, Pod, PodUid, Scenario};

/// What is asked for, and not.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "choice", multiple = true)]
pub(super) struct Options {
    /// Incidents that ended after this time: 30m, 2h, 1d (before now), `today`, `yesterday`, a date (2026-06-01), or a time
    /// (2026-06-01T10:00:00Z). Dates are those of --time-zone, else of UTC.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<Asked>,
    /// Incidents that began before this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<Asked>,
    /// The newest incident alone, of those that the other options choose.
    #[arg(long)]
    last: bool,
    /// Incidents in this namespace; may be given several times, as may the next four. `*` and `?` stand for any letters:
    /// `team-*`.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Vec<Pattern>,
    /// Incidents on this node: `pool-a-*`.
    #[arg(long, value_name = "NODE")]
    node: Vec<Pattern>,
    /// Incidents of this pod, by its name or its uid: `shop-*`, `shop/cart-*`.
    #[arg(long, value_name = "[NAMESPACE/]NAME|UID")]
    pod: Vec<PodPattern>,
    /// Incidents of this container.
    #[arg(long, value_name = "NAME")]
    container: Vec<Pattern>,
    /// Incidents of this scenario.
    #[arg(long, value_enum)]
    scenario: Vec<Scenario>,
}

/// A name, or a glob of names.
#[derive(Clone, Debug)]
struct Pattern(GlobMatcher);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let glob =
            Glob::new(text).map_err(|error| format!("it is no name and no pattern of names: {}", error.kind()))?;
        Ok(Self(glob.compile_matcher()))
    }
}

impl Pattern {
    fn is(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.0.is_match(name))
    }
}

/// A pod, or a glob of pods.
#[derive(Clone, Debug)]
enum PodPattern {
    Uid(PodUid),
    Name(Pattern),
    InNamespace(Pattern, Pattern),
}

impl FromStr for PodPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(uid) = text.parse() {
            return Ok(Self::Uid(uid));
        }
        Ok(match text.split_once('/') {
            Some((namespace, name)) => Self::InNamespace(namespace.parse()?, name.parse()?),
            None => Self::Name(text.parse()?),
        })
    }
}

impl PodPattern {
    fn is(&self, pod: &Pod) -> bool {
        let (namespace, name) = (pod.namespace.as_deref(), pod.name.as_deref());
        match self {
            Self::Uid(uid) => pod.uid.as_ref() == Some(uid),
            // A pod whose name is not known can be asked for by the start of its uid.
            Self::Name(asked) => asked.is(name) || pod.uid.as_ref().is_some_and(|uid| asked.is(Some(&uid.to_string()))),
            Self::InNamespace(space, asked) => space.is(namespace) && asked.is(name),
        }
    }
}

/// Chooses incidents, and remembers what it did not choose.
pub(super) struct Choice {
    options: Options,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    hidden: Hidden,
}

/// Incidents that were not asked for.
#[derive(Debug, Default)]
struct Hidden {
    count: u64,
    namespaces: BTreeSet<String>,
    nodes: BTreeSet<String>,
    first: Option<String>,
    last: Option<String>,
}

impl Options {
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// From when on incidents are asked for.
    pub(super) fn since(&self, zone: &TimeZone) -> Result<Option<Timestamp>> {
        self.since.map(|asked| asked.instant(Timestamp::now(), zone)).transpose()
    }
}

impl Choice {
    pub(super) fn new(args: &Args) -> Result<Self> {
        let zone = args.inputs.time_zone.clone().unwrap_or(TimeZone::UTC);
        let instant = |asked: Option<Asked>| asked.map(|asked| asked.instant(Timestamp::now(), &zone)).transpose();
        let options = args.choice.clone();
        Ok(Self { since: instant(options.since)?, until: instant(options.until)?, options, hidden: Hidden::default() })
    }

    /// Whether an incident is asked for.
    pub(super) fn takes(&mut self, incident: &Incident, node: &str) -> bool {
        let chosen = self.chooses(incident, node);
        if !chosen {
            self.hidden.add(incident, node);
        }
        chosen
    }

    fn chooses(&self, incident: &Incident, node: &str) -> bool {
        let Options { since: _, until: _, last: _, namespace, node: nodes, pod, container, scenario } = &self.options;
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let ended = incident.ended.as_deref().or(Some(&incident.started)).and_then(time);
        let after = self.since.is_none_or(|since| ended.is_none_or(|ended| ended >= since));
        let before = self.until.is_none_or(|until| time(&incident.started).is_none_or(|started| started <= until));
        let any = |asked: &[Pattern], name: Option<&str>| asked.is_empty() || asked.iter().any(|asked| asked.is(name));
        let of_pod = incident.pod.as_ref();
        let in_namespace = any(namespace, of_pod.and_then(|pod| pod.namespace.as_deref()));
        let is_pod = pod.is_empty() || of_pod.is_some_and(|of| pod.iter().any(|asked| asked.is(of)));
        let containers = incident.container.iter().chain(incident.containers.iter().map(|entry| &entry.container));
        let mut names = containers.filter_map(|container| container.name.as_deref());
        let is_container = container.is_empty() || names.any(|name| any(container, Some(name)));
        let verdict = &incident.verdict;
        let is_scenario = scenario.is_empty()
            || scenario.contains(&verdict.scenario)
            || verdict.also.is_some_and(|also| scenario.contains(&also));
        after && before && in_namespace && any(nodes, Some(node)) && is_pod && is_container && is_scenario
    }

    /// Says what was hidden, where nothing was chosen.
    pub(super) fn say(&self, chosen: u64) {
        if chosen == 0 && self.hidden.count > 0 {
            warn!("{}", self.hidden.in_words());
        }
    }
}

/// So many names are said.
const MOST_NAMES: usize = 8;

impl Hidden {
    fn add(&mut self, incident: &Incident, node: &str) {
        self.count += 1;
        let namespace = incident.pod.as_ref().and_then(|pod| pod.namespace.clone());
        self.namespaces.extend(namespace);
        self.nodes.insert(node.to_owned());
        let ended = incident.ended.as_ref().unwrap_or(&incident.started);
        if self.first.as_ref().is_none_or(|first| incident.started < *first) {
            self.first = Some(incident.started.clone());
        }
        if self.last.as_ref().is_none_or(|last| ended > last) {
            self.last = Some(ended.clone());
        }
    }

    fn in_words(&self) -> String {
        let names = |one: &str, several: &str, names: &BTreeSet<String>| {
            let shown: Vec<_> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
            let more = names.len() - shown.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            match names.len() {
                0 => String::new(),
                1 => format!(", {one} {}", shown.join("")),
                _ => format!(", {several} {}{more}", shown.join(", ")),
            }
        };
        let second = |time: &Option<String>| {
            let time = time.as_ref().and_then(|time| time.parse::<Timestamp>().ok());
            time.map_or_else(|| "?".to_owned(), |time| format!("{time:.0}"))
        };
        let (count, plural) = (self.count, if self.count == 1 { "" } else { "s" });
        format!(
            "no incident is left: the options that choose hid {count} incident{plural}, from {} to {}{}{}",
            second(&self.first),
            second(&self.last),
            names("namespace", "namespaces", &self.namespaces),
            names("node", "nodes", &self.nodes),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_asked_for_by_name_glob_namespace_or_uid() {
        let uid = "0ca9ec6b-5d5f-4dbd-8a36-3e5a6b7c8d9e";
        let pod = Pod {
            namespace: Some("shop".to_owned()),
            name: Some("cart-7c9f8d6b5-x2abc".to_owned()),
            uid: uid.parse().ok(),
            ..Pod::default()
        };
        for (asked, expected) in [
            ("cart-7c9f8d6b5-x2abc", true),
            ("cart-*", true),
            ("shop/cart-*", true),
            ("sh?p/*", true),
            ("cart", false),
            ("other/cart-*", false),
            (uid, true),
            ("0ca9ec6b-*", true),
            ("1ca9ec6b-5d5f-4dbd-8a36-3e5a6b7c8d9e", false),
        ] {
            assert_eq!(asked.parse::<PodPattern>().expect("a pattern").is(&pod), expected, "{asked}");
        }
        assert!("a[".parse::<PodPattern>().is_err());
    }

    #[test]
    fn what_is_hidden_is_said_with_namespaces_nodes_and_times() {
        let mut hidden = Hidden::default();
        for (namespace, node, started) in
            [("shop", "n1", "2026-06-01T10:00:00.5Z"), ("bank", "n2", "2026-06-01T09:00:00Z")]
        {
            let pod = Pod { namespace: Some(namespace.to_owned()), ..Pod::default() };
            let started = started.to_owned();
            hidden.add(&Incident { pod: Some(pod), started, ..Incident::default() }, node);
        }
        assert_eq!(
            hidden.in_words(),
            "no incident is left: the options that choose hid 2 incidents, from 2026-06-01T09:00:00Z to \
             2026-06-01T10:00:00Z, namespaces bank, shop, nodes n1, n2"
        );
    }
}
