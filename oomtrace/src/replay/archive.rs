//! Archives: what `oomtrace collect` wrote, or any tar file of logs.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{
    Inputs,
    given::Given,
    input::{self, Input},
    taken::{Role, file_name},
};

/// The file of an archive that says what the rest is of.
pub(crate) const NODE: &str = "node.json";
/// A kernel log in it, of the journal and of `/dev/kmsg`; the kubelet's; and what is known of pods.
pub(crate) const KERNEL: &str = "kernel.log";
pub(crate) const KMSG: &str = "kmsg.log";
pub(crate) const KUBELET: &str = "kubelet.log";
pub(crate) const PODS: &str = "pods.json";
pub(crate) const NAMES: &str = "names.json";
pub(crate) const METRICS: &str = "kubelet-metrics.txt";
/// What could not be had, and what was left out of what could be.
pub(crate) const MISSING: &str = "MISSING.txt";
pub(crate) const LEFT_OUT: &str = "LEFT_OUT.txt";
pub(crate) const VERSIONS: &str = "versions.txt";
pub(crate) const CGROUPS: &str = "cgroups.json";
pub(crate) const CONFIG: &str = "kubelet-config.json";
pub(crate) const COMMAND_LINE: &str = "kubelet-command-line.txt";
/// Where a tar file says that it is one.
const MAGIC: (usize, &[u8]) = (257, b"ustar");
/// So much of an archive is held in memory.
const MOST_BYTES: u64 = 2 << 30;

/// A file that was kept together with others.
pub struct Kept {
    /// Its path there.
    pub path: String,
    /// What is in it.
    pub file: Given,
}

/// What an archive is of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Node {
    /// The node's name.
    #[serde(rename = "node")]
    pub(crate) name: Option<String>,
    /// When it booted, RFC 3339.
    pub(crate) boot_time: Option<String>,
    /// Its distance from UTC, in seconds.
    pub(crate) utc_offset_seconds: Option<i32>,
    /// When it was looked at, RFC 3339.
    pub(crate) collected: Option<String>,
}

/// Whether a file is a tar file, by how it begins.
pub(super) fn is_archive(start: &[u8]) -> bool {
    let (at, magic) = MAGIC;
    start.get(at..).is_some_and(|rest| rest.starts_with(magic))
}

/// The files of an archive.
pub(super) fn entries(file: &Given, input: Input) -> Result<Vec<Kept>> {
    let latest = input.latest;
    let mut archive = tar::Archive::new(input.reader);
    let (mut kept, mut left) = (Vec::new(), MOST_BYTES);
    let cut = || format!("{file} cannot be read to its end: was it cut?");
    for entry in archive.entries().with_context(|| format!("{file} cannot be read as an archive"))? {
        let entry = entry.with_context(cut)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().with_context(cut)?.to_string_lossy().trim_start_matches("./").to_owned();
        let written =
            entry.header().mtime().ok().and_then(|written| Timestamp::from_second(written.try_into().ok()?).ok());
        let mut bytes = Vec::new();
        entry.take(left + 1).read_to_end(&mut bytes).with_context(cut)?;
        left = left.checked_sub(bytes.len() as u64).with_context(|| {
            format!("{file} has more than 2 GiB in it: unpack it, and give what matters file by file")
        })?;
        let held = Given::held(format!("{file}: {path}"), bytes, written.unwrap_or(latest));
        kept.push(Kept { path: file_name_or_log(&path), file: held });
    }
    anyhow::ensure!(!kept.is_empty(), "{file}: the archive is empty");
    Ok(kept)
}

/// The path without the folder that all is in; of a container's log from `pods` on.
fn file_name_or_log(path: &str) -> String {
    match path.find("var/log/pods/") {
        Some(at) => path[at..].to_owned(),
        None => file_name(path).to_owned(),
    }
}

/// Whether a file of an archive is not read, but there for people.
pub(super) fn is_for_people(path: &str) -> bool {
    [MISSING, LEFT_OUT, VERSIONS, CGROUPS, CONFIG, COMMAND_LINE].contains(&path)
}

/// What a file of an archive is by its name, be it that nothing that matters is in it.
pub(super) fn role(path: &str) -> Option<Role> {
    match path {
        KERNEL | KMSG => Some(Role::KernelLog),
        KUBELET => Some(Role::KubeletLog),
        METRICS => Some(Role::KubeletMetrics),
        _ => None,
    }
}

/// Takes over what an archive says of its node, where the command line says nothing else.
pub(super) fn take_node(file: &Given, inputs: &mut Inputs) -> Result<()> {
    let (text, _) = input::read_whole(file)?;
    let node: Node = serde_json::from_slice(&text)
        .map_err(|_| anyhow::anyhow!("{file}: it does not say which node the archive is of: was it changed?"))?;
    let Node { name, boot_time, utc_offset_seconds, collected } = node;
    if let (Some(known), Some(name)) = (&inputs.node_name, &name)
        && inputs.of_archive
    {
        anyhow::ensure!(known == name, "archives of two nodes, {known} and {name}: give one at a time");
    }
    let words = name.clone().unwrap_or_else(|| "a node without a name".to_owned());
    let when = collected.map_or_else(String::new, |collected| format!(", collected {collected}"));
    info!("{file}: of {words}{when}");
    inputs.of_archive = true;
    inputs.node_name = inputs.node_name.take().or(name);
    inputs.boot_time = inputs.boot_time.or(boot_time.and_then(|boot_time| boot_time.parse().ok()));
    let zone = utc_offset_seconds.and_then(|seconds| Offset::from_seconds(seconds).ok()).map(TimeZone::fixed);
    inputs.time_zone = inputs.time_zone.take().or(zone);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_file_is_known_in_whatever_folder_it_was_packed() {
        assert_eq!(file_name_or_log("oomtrace-n1-2026/kernel.log"), "kernel.log");
        assert_eq!(file_name_or_log("a/var/log/pods/b_c_d/app/0.log"), "var/log/pods/b_c_d/app/0.log");
        assert!(is_archive(&[&[0; 257][..], b"ustar\x0000"].concat()) && !is_archive(b"ustar"));
    }
}
