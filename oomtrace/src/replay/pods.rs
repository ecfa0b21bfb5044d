//! What files and folders say of pods, and the kubelet's counters.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tracing::{info, warn};

use super::{given::Given, input, what::What};
use crate::{
    event::{Event, Line, Pod},
    node::snapshot::{self, LastWords, Snapshot, lines::Happened, log_dir},
    source::{container_log, kubelet_metrics::Metrics},
};

/// How deep folders are looked into: `state/var/log/pods/<pod>/<container>`.
const DEPTH: u8 = 5;

/// Reads a file, or a folder of files or of logs.
pub(super) fn read(name: &Given, into: &mut Snapshot) -> anyhow::Result<()> {
    if let Some(path) = name.path().filter(|_| name.is_dir()) {
        let mut entered = Entered::default();
        folder(path, DEPTH, into, &mut entered)?;
        for (link, target) in &entered.links {
            entered.containers += u64::from(log_dir::enter_link(link, target.as_deref(), into));
        }
        info!(
            "{name}: {} folders of pods' logs, {} containers' logs, {} JSON files",
            entered.pods, entered.containers, entered.files
        );
        if entered.pods + entered.containers + entered.files == 0 {
            warn!("{name}: neither a copy of /var/log/pods nor a folder of JSON files");
        }
        return Ok(());
    }
    let (text, packing) = input::read_whole(name)?;
    let found =
        snapshot::read(&text, into).map_err(|_| anyhow::anyhow!("{name}: {}", What::of(&text).instead_of_pods()))?;
    let printed = snapshot::is_printed(&text) || snapshot::has_part(&text);
    let form = if printed && serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_err() {
        "what kubectl prints for people"
    } else {
        "JSON"
    };
    if found.is_empty() {
        warn!("{name}: {form}{packing}, but neither pods nor containers, events or nodes in it");
    } else {
        info!("{name}: {form}{packing}, {found}");
    }
    Ok(())
}

/// What the files say happened, where there is nothing else.
pub(super) fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let Happened { lines, untimed, lost, unreadable } = snapshot::lines::lines(snapshot);
    if lost > 0 {
        let (ends, they, their) = if lost == 1 { ("end", "it was", "its") } else { ("ends", "they were", "their") };
        info!(
            "{lost} {ends} of containers left out: how {they} is not known, as {their} containers were gone when the kubelet looked \
             (ContainerStatusUnknown; its exit code 137 says nothing)"
        );
    }
    if unreadable > 0 {
        let (events, their) = if unreadable == 1 { ("event", "its") } else { ("events", "their") };
        warn!(
            "{unreadable} {events} of a kill (OOMKilling) left out: {their} message is no line of the kernel's that says who was killed"
        );
    }
    if untimed > 0 {
        warn!(
            "{untimed} ends of containers and evictions have no time in the files: when they were is not known (ages count back \
             from when they were printed: --printed-at)"
        );
    }
    lines
}

/// What events and statuses say that no line of the logs which were pasted beside them may be of: evictions, where the logs have
/// none, and kills of processes that the logs do not name.
pub(super) fn beside(snapshot: &Snapshot, reported: &[&Event]) -> Vec<Line> {
    let evicts = reported.iter().any(|event| matches!(event, Event::Eviction(_)));
    let killed: Vec<u32> = reported
        .iter()
        .filter_map(|event| match event {
            Event::OomKill(kill) => kill.victim.task.pid.or(kill.victim.task.tgid),
            Event::SystemOom(oom) => oom.pid,
            _ => None,
        })
        .collect();
    let is_another = |line: &Line| match &line.event {
        Event::Eviction(_) => !evicts,
        Event::SystemOom(oom) => oom.pid.is_some_and(|pid| !killed.contains(&pid)),
        _ => false,
    };
    snapshot::lines::lines(snapshot).lines.into_iter().filter(is_another).collect()
}

/// What the ends of a container's logs say of memory that ran out: one file for each of its starts, and what was rotated is
/// over. A file that cannot be read is passed over: the names of the folders are what is needed.
fn last_words(folder: &Path, pod: &Pod, container: &str, into: &mut Snapshot) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let words = match container_log::tail(&path) {
            Ok(tail) => container_log::last_words(&tail),
            Err(error) => {
                warn!("{}: its end cannot be read: {error}", path.display());
                None
            }
        };
        if let Some(words) = words {
            let restart_count = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            let (pod, container) = (pod.clone(), container.to_owned());
            into.last_words.push(LastWords { pod, container, restart_count, words });
        }
    }
}

/// Whether a path is that of a container's log: `var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart count>.log`.
pub(super) fn is_log(path: &str) -> bool {
    parts_of_log(path).is_some()
}

fn parts_of_log(path: &str) -> Option<(&str, &str, &str)> {
    let mut parts = path.strip_prefix("var/log/pods/")?.split('/');
    let (pod, container, file) = (parts.next()?, parts.next()?, parts.next()?);
    (log_dir::pod(pod).is_some() && parts.next().is_none()).then_some((pod, container, file.strip_suffix(".log")?))
}

/// Takes in the log of a container, by its path and what is in it.
pub(super) fn enter_log(path: &str, text: &[u8], into: &mut Snapshot) {
    let Some((folder, container, count)) = parts_of_log(path) else { return };
    let Some(pod) = log_dir::pod(folder) else { return };
    log_dir::enter_pod(folder, std::iter::once(container), into);
    if let Some(words) = container_log::last_words(text) {
        let container = container.to_owned();
        into.last_words.push(LastWords { pod, container, restart_count: count.parse().ok(), words });
    }
}

#[derive(Default)]
struct Entered {
    pods: u64,
    containers: u64,
    files: u64,
    /// Names of files, and what they lead to.
    links: Vec<(String, Option<PathBuf>)>,
}

fn folder(path: &Path, depth: u8, into: &mut Snapshot, entered: &mut Entered) -> anyhow::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{} cannot be listed", path.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (file, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str() else { continue };
        // A link in /var/log/containers is of use for its name alone, and for what it leads to, even if that is not there.
        if !file.is_dir() {
            let json = [".json", ".json.gz", ".json.zst", ".yaml", ".yml"].iter().any(|end| name.ends_with(end));
            if json {
                let (text, _) = input::read_whole(&Given::Path(file.clone()))?;
                if let Ok(found) = snapshot::read(&text, into) {
                    entered.files += u64::from(!found.is_empty());
                } else {
                    warn!("{}: passed over, as {}", file.display(), What::of(&text).instead_of_pods());
                }
            } else {
                entered.links.push((name.to_owned(), fs::read_link(&file).ok()));
            }
            continue;
        }
        let containers: Vec<String> = match log_dir::pod(name) {
            Some(_) => fs::read_dir(&file)
                .with_context(|| format!("{} cannot be listed", file.display()))?
                .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir())?.file_name().into_string().ok())
                .collect(),
            None => Vec::new(),
        };
        if let Some(pod) = log_dir::pod(name) {
            for container in &containers {
                last_words(&file.join(container), &pod, container, into);
            }
        }
        if log_dir::enter_pod(name, containers.iter().map(String::as_str), into) {
            entered.pods += 1;
        } else if depth > 0 {
            folder(&file, depth - 1, into, entered)?;
        }
    }
    Ok(())
}

/// `kubelet_evictions` by signal, from the text of `/metrics`.
pub(super) fn evictions_by_signal(path: &Given) -> anyhow::Result<BTreeMap<String, u64>> {
    let (text, _) = input::read_whole(path)?;
    let counts = Metrics::read(&String::from_utf8_lossy(&text)).evictions;
    let reported: Vec<_> = counts.iter().map(|(signal, count)| format!("{signal} {count}")).collect();
    let reported = if reported.is_empty() { "no evictions".to_owned() } else { reported.join(", ") };
    info!("{path}: metrics of the kubelet, {reported}");
    Ok(counts)
}
