//! Where `oomtrace run` reads the kubelet's log.

use std::path::{Path, PathBuf};

use crate::{
    node::names::{Host, KubeletAccess},
    source::{journal::Place, kubelet::Log, kubelet_metrics},
};

/// Options about the kubelet's log.
#[derive(Debug, clap::Args)]
#[group(id = "kubelet")]
#[command(next_help_heading = "The kubelet's log")]
pub(super) struct Args {
    /// Follow the kubelet's log in this file, across rotation, also where it comes later; `-` reads standard input. Default:
    /// the node's journal.
    #[arg(long, value_name = "FILE")]
    kubelet_log: Option<PathBuf>,
    /// The systemd unit that runs the kubelet; may be given several times. Default: all that are known (kubelet, k3s,
    /// RKE2, k0s and others).
    #[arg(long, value_name = "UNIT", conflicts_with = "kubelet_log")]
    kubelet_unit: Vec<String>,
    /// The folder with the journal's files, where it is not the node's own.
    #[arg(long, value_name = "FOLDER", conflicts_with = "kubelet_log")]
    journal: Option<PathBuf>,
    /// Do not read the kubelet's log.
    #[arg(long, conflicts_with_all = ["kubelet_log", "kubelet_unit", "journal"])]
    no_kubelet_log: bool,
    /// The kubelet's `/metrics`, which say for which signal pods are evicted when its log does not: the read-only port's
    /// `http://127.0.0.1:10255/metrics`; `https://NODE:10250/metrics`, with --kubelet-token and --kubelet-ca; or a file. Read
    /// every 10 s. Default: not read.
    #[arg(long, value_name = "URL|FILE")]
    kubelet_metrics: Option<kubelet_metrics::Access>,
}

impl Args {
    /// Its counters, if they are wanted, asked for as this one is.
    pub(super) fn metrics(&self, kubelet: KubeletAccess) -> Option<kubelet_metrics::Counters> {
        self.kubelet_metrics.clone().map(|access| kubelet_metrics::Counters::new(access, kubelet))
    }

    /// Where it is on this node, if it is wanted, with a folder to keep how far it was read; and whether it was asked for, so that its lack is said at once.
    pub(super) fn log(&self, host: &Host, state: Option<&Path>) -> (Option<Log>, bool) {
        let Self { kubelet_log, kubelet_unit, journal, no_kubelet_log, kubelet_metrics: _ } = self;
        let log = match kubelet_log {
            _ if *no_kubelet_log => return (None, false),
            Some(path) if path == Path::new("-") => Log::Stdin,
            Some(path) => Log::File(path.clone()),
            None => {
                let place = journal.clone().map_or_else(|| Place::Node(host.clone()), Place::Folder);
                Log::Journal { units: kubelet_unit.clone(), place, state: state.map(Path::to_path_buf) }
            }
        };
        (Some(log), kubelet_log.is_some() || journal.is_some() || !kubelet_unit.is_empty())
    }
}
