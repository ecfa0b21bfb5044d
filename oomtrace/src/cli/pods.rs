//! `oomtrace pods`: what is known of this node's pods and containers now, and who reported.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use textwrap::core::display_width;
use tokio::runtime;
use tracing::warn;

use super::{doctor::Format, names::Sources};
use crate::{
    event::{Cgroup, Container, ContainerRole, Level, Pod},
    node::{
        cgroup_path::CgroupIdentity,
        fact::{Fact, NameSource},
        hierarchy::Hierarchy,
        index::{Bounds, Index},
        names,
        processes::{self, Members},
    },
    sink::{BOLD, Look, PLAIN, escape, size},
};

/// Options of `oomtrace pods`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print: `text`, a table, or `json`, one array with an object for each cgroup.
    #[arg(long, value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    format: Format,
    /// Where the node's cgroups are mounted: in a container, where the host's /sys/fs/cgroup is.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    #[command(flatten)]
    sources: Sources,
}

/// A cgroup of a pod or a container, and whose it is.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) cgroup: Cgroup,
    level: Level,
    pub(super) pod: Option<Pod>,
    labels: Vec<(String, String)>,
    pub(super) container: Option<Container>,
    /// `memory.max`, `memory.limit_in_bytes`; `null` where there is none.
    limit_bytes: Option<u64>,
    /// The memory limit of the specification.
    spec_limit_bytes: Option<u64>,
    /// `memory.current`, `memory.usage_in_bytes`.
    usage_bytes: Option<u64>,
    /// Of the first process in it.
    pub(super) oom_score_adj: Option<i32>,
    /// The source of its name; `null` where it has none.
    source: Option<NameSource>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let rows = collected(&args.sources, &args.cgroup_root)?;
    let mut out = io::stdout().lock();
    let written = match args.format {
        Format::Json => {
            serde_json::to_string_pretty(&rows).map_err(Into::into).and_then(|json| writeln!(out, "{json}"))
        }
        Format::Text => out.write_all(table(&rows, Look::of_stdout()).as_bytes()),
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Asks all sources once.
pub(super) fn collected(sources: &Sources, cgroup_root: &Path) -> anyhow::Result<Vec<Row>> {
    let options = sources.options(cgroup_root);
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (facts, trouble) = runtime.block_on(names::collect_once(&options));
    for trouble in trouble {
        warn!("{trouble}");
    }
    let proc = processes::of_node(&options.host);
    Ok(rows(facts, Hierarchy::find(&options.cgroup_root).ok().as_ref(), proc.as_deref()))
}

/// Every cgroup that is there, a pod's before its containers'.
fn rows(facts: Vec<Fact>, hierarchy: Option<&Hierarchy>, proc: Option<&Path>) -> Vec<Row> {
    let mut members = proc.map(|proc| Members::new(proc.to_owned()));
    let cgroups = |fact: &Fact| match fact {
        Fact::Cgroup { id, path } => Some((path.clone(), *id)),
        _ => None,
    };
    let mut found: Vec<_> = facts.iter().filter_map(cgroups).collect();
    found.sort_unstable();
    let mut index = Index::new(Bounds { entries: found.len().max(Bounds::default().entries), ..Bounds::default() });
    for fact in facts {
        index.learn(fact, 0);
    }
    let row = |(path, id): (String, u64)| {
        let identity = CgroupIdentity::parse(&path);
        // What a container made inside itself is not the node's.
        let known = index.known_cgroup(id).filter(|_| identity.is_own())?;
        let folder = hierarchy.and_then(|hierarchy| hierarchy.folder(&path));
        let read = |names: [&str; 2]| names.iter().find_map(|name| number(&folder.as_ref()?.join(name)));
        Some(Row {
            level: identity.level,
            limit_bytes: read(["memory.max", "memory.limit_in_bytes"]),
            usage_bytes: read(["memory.current", "memory.usage_in_bytes"]),
            oom_score_adj: folder.as_deref().and_then(|folder| {
                let first = members.as_mut()?.of(folder).first().copied()?;
                oom_score_adj(proc?, first)
            }),
            cgroup: Cgroup { path: Some(path), id: Some(id), unit: identity.unit },
            pod: known.pod,
            labels: known.labels,
            container: known.container,
            spec_limit_bytes: known.limit_bytes,
            source: known.source,
        })
    };
    found.into_iter().filter_map(row).collect()
}

/// A limit or a usage. cgroup v1 has a number near the largest there is where there is no limit.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok().filter(|number| *number < 1 << 62)
}

fn oom_score_adj(proc: &Path, process: u32) -> Option<i32> {
    fs::read_to_string(proc.join(process.to_string()).join("oom_score_adj")).ok()?.trim().parse().ok()
}

/// A table as wide as the screen at most: paths of cgroups are left out where there is no room for them, and a pod's name that
/// is too long has a line of its own.
fn table(rows: &[Row], look: Look) -> String {
    let mut cells = vec![["POD", "CONTAINER", "LIMIT", "USAGE", "ADJ", "SOURCE", "CGROUP"].map(ToOwned::to_owned)];
    cells.extend(rows.iter().map(|row| row.cells().map(|cell| look.shown(&cell).into_owned())));
    let widest = |column: usize| cells.iter().map(|row| display_width(&row[column])).max().unwrap_or(0);
    let mut widths: Vec<_> = (0..7).map(widest).collect();
    let needed = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
    let columns = look.columns().unwrap_or(usize::MAX);
    if needed(&widths) > columns {
        widths.truncate(6);
        let others = needed(&widths) - widths[0];
        // Names that are a little longer than the rest make no table of two halves.
        widths[0] = widths[0].min(columns.saturating_sub(others).max("POD".len()));
    }
    let mut text = String::new();
    for (number, row) in cells.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line += cell;
            let mut used = display_width(cell);
            if used > *width {
                line.push('\n');
                used = 0;
            }
            if column + 1 < widths.len() {
                line.extend(std::iter::repeat_n(' ', width - used + 2));
            }
        }
        let style = if number == 0 { BOLD } else { PLAIN };
        for line in line.lines() {
            text += &look.paint(style, line.trim_end());
            text.push('\n');
        }
    }
    text
}

impl Row {
    fn cells(&self) -> [String; 7] {
        let unknown = || "?".to_owned();
        let pod = self.pod.as_ref().map_or_else(
            || "-".to_owned(),
            |pod| match (&pod.namespace, &pod.name, &pod.uid) {
                (Some(namespace), Some(name), _) => format!("{}/{}", escape(namespace), escape(name)),
                (_, _, Some(uid)) => format!("uid {uid}"),
                _ => unknown(),
            },
        );
        let container = self.container.as_ref().map_or_else(
            || "-".to_owned(),
            |container| match (container.role, &container.name) {
                (Some(ContainerRole::Sandbox), _) => "(sandbox)".to_owned(),
                (_, Some(name)) => escape(name),
                (_, None) => container.id.as_ref().map_or_else(unknown, |id| format!("id {:.12}", id.to_string())),
            },
        );
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| size(Some(bytes)));
        let source = self.source.and_then(|source| serde_json::to_value(source).ok());
        [
            pod,
            container,
            bytes(self.limit_bytes),
            bytes(self.usage_bytes),
            self.oom_score_adj.map_or_else(|| "-".to_owned(), |adj| adj.to_string()),
            source.and_then(|source| source.as_str().map(ToOwned::to_owned)).unwrap_or_else(unknown),
            escape(self.cgroup.path.as_deref().unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, container: Option<&str>) -> Row {
        let container = container.map(|name| Container { name: Some(name.to_owned()), ..Container::default() });
        let pod = Pod { namespace: Some("shop".to_owned()), name: Some(name.to_owned()), ..Pod::default() };
        let path =
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-2.scope".to_owned();
        Row {
            cgroup: Cgroup { path: Some(path), id: Some(1), unit: None },
            level: Level::Container,
            pod: Some(pod),
            labels: Vec::new(),
            container,
            limit_bytes: Some(128 << 20),
            spec_limit_bytes: None,
            usage_bytes: Some(64 << 20),
            oom_score_adj: Some(979),
            source: Some(NameSource::Cri),
        }
    }

    #[test]
    fn a_table_leaves_out_paths_and_breaks_after_a_long_name_where_the_screen_is_narrow() {
        let rows = [row("cart", Some("app")), row("a-deployment-with-a-long-name-7c9f8d6b5-x2abc", Some("app"))];
        let narrow = table(&rows, Look::plain().with_width(80));
        assert!(narrow.lines().all(|line| line.len() <= 80), "{narrow}");
        assert!(!narrow.contains("cri-containerd") && narrow.contains("x2abc\n"), "{narrow}");
        let wide = table(&rows, Look::plain());
        assert_eq!(wide.lines().count(), 3);
        assert!(wide.contains("cri-containerd"), "{wide}");
    }
}
