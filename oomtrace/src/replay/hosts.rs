//! Logs of several hosts in one input: what a syslog server keeps, a query of a log stack for all nodes, files of several nodes.
//!
//! Each host's lines become logs of their own, and are read and judged by themselves: a kill on one host is never taken for what
//! the kubelet of another one says. A line that names no host is of the host of the line before.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use anyhow::Result;
use tracing::{info, warn};

use super::{
    Inputs,
    given::{Given, Held},
    input,
};
use crate::source::{
    kernel_log,
    kubelet_log::{self, Of},
};

/// Whether there may be several hosts shows in so many bytes of each log.
const SAMPLE_BYTES: u64 = 4 << 20;
/// The name of a host before it has one.
const NAMELESS: [&str; 3] = ["localhost", "localhost.localdomain", "(none)"];
/// So many names are listed in a message.
const MOST_NAMES: usize = 8;
/// The logs whose lines name no host.
pub(super) const NO_HOST: &str = "unknown";

/// Hosts by the names that lines have for them: the short one and the full one are the same.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<String, String>);

impl Hosts {
    /// Which names are the same host's.
    pub(super) fn of(names: impl IntoIterator<Item = String>) -> Self {
        let names: BTreeSet<String> = names.into_iter().collect();
        let first = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
        let full = |short: &str| {
            let mut full = names.iter().filter(|name| name.contains('.') && !is_address(name) && first(name) == short);
            full.next().filter(|_| full.next().is_none())
        };
        let canonical = |name: &String| match full(&first(name)) {
            Some(full) if !is_address(name) && (!name.contains('.') || name == full) => first(full),
            _ => name.clone(),
        };
        let has_name = names.iter().filter(|name| !is_nameless(name));
        Self(has_name.map(|name| (name.clone(), canonical(name))).collect())
    }

    /// The name that is used for a host.
    fn name<'a>(&'a self, host: &str) -> Option<&'a str> {
        self.0.get(host).map(String::as_str)
    }

    /// The hosts, each once.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.0.values().map(String::as_str).collect()
    }

    /// Whether there are several.
    pub(super) fn are_several(&self) -> bool {
        self.names().len() > 1
    }
}

fn is_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

fn is_nameless(name: &str) -> bool {
    NAMELESS.contains(&name)
}

/// The hosts that the beginnings of the logs name.
pub(super) fn of_samples(inputs: &Inputs) -> Result<Hosts> {
    let mut names = BTreeSet::new();
    for file in inputs.kernel_log.iter().chain(&inputs.kubelet_log).filter(|file| file.is_file()) {
        let start = input::open(file)?.peek(file, SAMPLE_BYTES)?;
        if !kernel_log::is_export(&start) {
            names.extend(start.split(|byte| *byte == b'\n').filter_map(of_node));
        }
    }
    Ok(Hosts::of(names))
}

/// The host of a line that a node's logs are made of.
fn of_node(line: &[u8]) -> Option<String> {
    kubelet_log::host(line).filter(|(_, of)| *of != Of::Other).map(|(host, _)| host)
}

/// The logs of each host, by its name.
pub(super) fn split(inputs: &Inputs) -> Result<BTreeMap<String, Inputs>> {
    let mut names = BTreeSet::new();
    for file in inputs.kernel_log.iter().chain(&inputs.kubelet_log) {
        let mut input = input::open(file)?;
        input::lines(file, &mut input, |_, line| names.extend(of_node(line.trim_ascii_end())))?;
    }
    let hosts = Hosts::of(names);
    let known = hosts.names();
    let shown: Vec<&str> = known.iter().take(MOST_NAMES).copied().collect();
    let more = known.len() - shown.len();
    info!(
        "lines of the logs name {} hosts ({}{}): each is read by itself",
        known.len(),
        shown.join(", "),
        if more > 0 { format!(" and {more} more") } else { String::new() }
    );
    let mut split: BTreeMap<String, Inputs> = BTreeMap::new();
    let rest = Inputs { kernel_log: Vec::new(), kubelet_log: Vec::new(), ..inputs.clone() };
    let lists: [(&[Given], Of, Put); 2] = [
        (&inputs.kernel_log, Of::Kernel, |inputs, log| inputs.kernel_log.push(log)),
        (&inputs.kubelet_log, Of::Kubelet, |inputs, log| inputs.kubelet_log.push(log)),
    ];
    for (files, of, put) in lists {
        for file in files {
            for (host, log) in split_file(file, of, &hosts)? {
                put(split.entry(host).or_insert_with(|| rest.clone()), log);
            }
        }
    }
    if split.contains_key(NO_HOST) {
        warn!("some logs name no host: their incidents are reported without one (--node-name says which it is)");
    }
    Ok(split)
}

type Put = fn(&mut Inputs, Given);

/// A log's lines, by host: of those hosts that such lines are of.
fn split_file(file: &Given, wanted: Of, hosts: &Hosts) -> Result<Vec<(String, Given)>> {
    let mut input = input::open(file)?;
    let written = input.latest;
    let mut parts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (mut before, mut headless) = (None::<String>, Vec::new());
    let mut has_wanted = BTreeSet::new();
    input::lines(file, &mut input, |_, line| {
        let host = kubelet_log::host(line.trim_ascii_end());
        match host.as_ref().map(|(host, _)| (hosts.name(host), host)) {
            Some((Some(name), _)) => {
                before = Some(name.to_owned());
                if host.as_ref().is_some_and(|(_, of)| *of == wanted) {
                    has_wanted.insert(name.to_owned());
                }
            }
            // Somebody's who is no node, or of a node that had no name yet.
            Some((None, other)) if !is_nameless(other) => before = Some(String::new()),
            _ => {}
        }
        match &before {
            Some(host) if host.is_empty() => {}
            Some(host) => parts.entry(host.clone()).or_insert_with(|| std::mem::take(&mut headless)).extend(line),
            None => headless.extend(line),
        }
    })?;
    if parts.is_empty() {
        return Ok(vec![(NO_HOST.to_owned(), file.clone())]);
    }
    let held = |host: &str, bytes| Given::Held(Arc::new(Held { name: format!("{file} ({host})"), bytes, written }));
    let parts = parts.into_iter().filter(|(host, _)| has_wanted.contains(host));
    Ok(parts.map(|(host, bytes)| (host.clone(), held(&host, bytes))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &[&str]) -> Vec<String> {
        let hosts = Hosts::of(given.iter().map(|name| (*name).to_owned()));
        hosts.names().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_short_name_and_its_full_one_are_the_same_host() {
        assert_eq!(names(&["node1", "node1.example.com"]), ["node1"]);
        assert_eq!(names(&["node1.a", "node1.b", "node1"]), ["node1", "node1.a", "node1.b"]);
        assert_eq!(names(&["10.0.0.1", "10.0.0.2"]), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(names(&["localhost", "node1"]), ["node1"]);
    }

    #[test]
    fn a_line_is_of_the_host_that_it_names_wherever_that_stands() {
        for (line, host) in [
            ("Mar  2 04:05:06 node1 kernel: a", Some("node1")),
            ("2026-03-02T04:05:06.000001+00:00 node2 kubelet[7]: I0302", Some("node2")),
            ("node3.rack2 Mar  2 04:05:06 node3 kernel: a", Some("node3")),
            ("<4>1 2026-03-02T04:05:06Z node4 kernel - - - a", Some("node4")),
            (
                "{\"MESSAGE\":\"a\",\"_HOSTNAME\":\"node5\",\"SYSLOG_IDENTIFIER\":\"kernel\",\"_TRANSPORT\":\"kernel\"}",
                Some("node5"),
            ),
            ("Mar  2 04:05:06 router1 sshd[7]: a", None),
            ("[   12.5] Out of memory: Killed process 7 (a)", None),
        ] {
            assert_eq!(of_node(line.as_bytes()).as_deref(), host, "{line}");
        }
    }
}
