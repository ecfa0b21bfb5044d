//! What `oomtrace node` and `oomtrace memory` read a node by: their common options, and the files that these name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::runtime;

use super::names::Sources;
use crate::node::{
    fact::Fact,
    index::{Bounds, Index},
    names::{self, Options},
    node_object::NodeObject,
    pod_specs::{self, PodSpec},
    survey::Places,
};

/// Where a node is read.
#[derive(Debug, clap::Args)]
pub(super) struct NodeInputs {
    /// Where the node's cgroups are mounted: in a container, where the host's /sys/fs/cgroup is. The default is that of
    /// `--host-root`, where it is there.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    /// The node's object, for its capacity and allocatable: what `kubectl get node NAME -o json` prints.
    #[arg(long, value_name = "FILE")]
    pub(super) node_object: Option<PathBuf>,
    /// The pods' objects, where the kubelet cannot be asked for them: what `kubectl get pods -A -o json` prints.
    #[arg(long, value_name = "FILE")]
    pub(super) pods: Option<PathBuf>,
    #[command(flatten)]
    sources: Sources,
}

impl NodeInputs {
    /// How names are asked for, and where files are. What is not there is `missing`.
    pub(super) fn places(&self, missing: &mut Vec<String>) -> (Options, Places) {
        let options = self.sources.options(&self.cgroup_root);
        let places = Places::below(options.host.clone(), &self.cgroup_root, missing);
        (Options { cgroup_root: places.cgroup_root.clone(), ..options }, places)
    }

    /// The node's object, if it was given.
    pub(super) fn object(&self, missing: &mut Vec<String>) -> Option<NodeObject> {
        let path = self.node_object.as_deref()?;
        read(path, NodeObject::parse).map_err(|error| missing.push(format!("the node's status: {error}"))).ok()
    }
}

/// The pods' objects of a file.
pub(super) fn pod_specs(path: &Path) -> Result<Vec<PodSpec>, String> {
    read(path, pod_specs::parse).map_err(|error| format!("the pods' objects: {error}"))
}

fn read<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T, String> {
    let read = fs::read(path).map_err(|error| error.to_string()).and_then(|json| parse(&json));
    read.map_err(|error| format!("{}: {error}", path.display()))
}

/// Names from where `oomtrace pods` has them, but for the kubelet, which was asked.
pub(super) fn names(options: &Options) -> anyhow::Result<Index> {
    let options = Options { kubelet: None, ..options.clone() };
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (facts, _) = runtime.block_on(names::collect_once(&options));
    let mut names = Index::new(Bounds::default());
    for fact in facts.into_iter().filter(|fact| !matches!(fact, Fact::Cgroup { .. })) {
        names.learn(fact, 0);
    }
    Ok(names)
}
